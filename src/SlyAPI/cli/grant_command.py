"""The command that has one user consent and writes the user file: grant."""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from ..errors import (
    ConfigError,
    CredentialsError,
    CredentialsNotFoundError,
    SaveError,
    SupersededError,
    UnavailableError,
    WouldOverwriteError,
)
from ..flow.client_check import client_in, oauth1_client_in
from ..flow.console import Console, unchanged
from ..flow.git_guard import guard
from ..flow.grant import GrantOptions, Way
from ..flow.signals import run
from ..flow.ways import grant_by_chosen_way
from ..flow.wizard import (
    ask_scopes,
    check_user_path,
    confirm_replacing,
    grant_oauth1_to_file,
    grant_to_file,
    needs_scopes,
    say_limits,
)
from ..json_file import display_path
from ..oauth1 import OAuth1App, OAuth1User
from ..oauth2 import OAuth2App, OAuth2User
from ..oauth2.from_url.resource_login import ResourceLogin
from ..oauth2.messages.token_request import check_token_params
from ..stores import user_file
from ..stores.at import command_words
from ..tokens.client_auth import read_client_auth
from ..web.next_steps import quoted
from .chosen_user import ChosenUser, entry_to_make
from .refreshing import still_valid, with_scopes_of
from .results import print_json, print_result
from .user_summary import summary


def grant(args: Any, console: Console) -> int:
    """Has one user consent, and writes the user file or the entry of a store."""
    words, options = list(args.words), grant_options(args)
    if args.kind == "oauth1":
        _check_oauth1(args, options)
    app_path = args.app or (words.pop(0) if words else "")
    app_path = app_path or _ask_path(console, "Client file", "--app APP.json", "app.json")
    if args.resource:
        options.resource = ResourceLogin.of(args.resource, app_path)
        app: OAuth1App | OAuth2App = options.resource.app
    else:
        app = oauth1_client_in(app_path) if args.kind == "oauth1" else client_in(app_path, console)
    to_store = bool(args.store or args.name)
    named = to_store or bool(args.user or words)
    chosen = entry_to_make(args) if to_store else _file(args, words, app_path, console)
    console.status = chosen.status if chosen else ""
    if isinstance(app, OAuth1App):
        return _grant_oauth1(app, chosen, args, options, console)
    app.client_auth = options.client_auth or app.client_auth
    scopes = [scope for text in (*words, *args.scope) for scope in text.split()]
    taken, before = _stored(chosen, args) if chosen else (False, None)
    if chosen and before is not None and args.if_needed and app.id:
        if kept := still_valid(app, console, chosen, before, scopes):
            print_json(args.json, {**chosen.result, **summary(kept)})
            return 0
        args.force, scopes = True, with_scopes_of(before, scopes)
    if chosen and taken and not _may_replace(args, console, chosen):
        return 0
    if chosen:
        chosen.check_writable()
    if not scopes and needs_scopes(app, options) and (console.interactive or not named):
        scopes = ask_scopes(console, before)
    if chosen is None or chosen.path:
        user = run(grant_to_file(app, chosen.path if chosen else "-", scopes, options, console))
    else:
        user = run(_to_store(app, chosen, scopes, options, console, replace=taken))
    if chosen:
        print_json(args.json, {**chosen.result, **summary(user)})
    else:
        print_result(*json.dumps(user.to_dict(), indent=4).splitlines())
    return 0


def _file(args: Any, words: list[str], app_path: str, console: Console) -> ChosenUser | None:
    """The user file to write, which is no other file of the grant; None for stdout."""
    if words and not args.user and not args.older:
        _check_file_word(words[0])
    path = args.user or (words.pop(0) if words else "")
    path = path or _ask_path(console, "User file to write", "--user USER.json", "user.json")
    if path == "-":
        if sys.stdout is None:
            raise SaveError("stdout could not be written: it is closed.")
        return None
    console.status = unchanged(path)
    check_user_path(path, app_path)
    return ChosenUser(user_file(path), path)


def _check_file_word(word: str) -> None:
    """Raises `ConfigError` for a word in the place of the user file that looks like a scope."""
    is_path = word.endswith(".json") or ("://" not in word and any(mark in word for mark in "/\\"))
    if not (word.startswith("-") or is_path or os.path.lexists(word)):
        step = f"Name the user file before the scopes, or give --user {quoted(display_path(word))}."
        raise ConfigError(f"{display_path(word)} does not look like a user file.", next_step=step)


def _check_oauth1(args: Any, options: GrantOptions) -> None:
    """Raises `ConfigError` for what OAuth 1 does not have: scopes, `--client-auth`, users in a store."""
    if args.store or args.name:
        raise ConfigError("A store does not apply to OAuth 1.", next_step="Give a user file.")
    if options.client_auth or args.scope or len(args.words) > 2 - bool(args.app) - bool(args.user):
        what = "--client-auth does" if options.client_auth else "A scope does"
        raise ConfigError(f"{what} not apply to OAuth 1.", next_step="Leave it out.")


def _grant_oauth1(
    app: OAuth1App, chosen: ChosenUser | None, args: Any, options: GrantOptions, console: Console
) -> int:
    path = chosen.path if chosen else "-"
    result = {"user": path}
    if chosen and os.path.lexists(path):
        with suppress(CredentialsError):
            if args.if_needed and OAuth1User.from_json_file(path):
                console.say(f"{display_path(path)} exists; nothing to do.")
                print_json(args.json, result)
                return 0
        if not _may_replace(args, console, chosen):
            return 0
    user = run(grant_oauth1_to_file(app, path, options, console))
    if chosen is None:
        print_result(*json.dumps(asdict(user), indent=4).splitlines())
    else:
        print_json(args.json, result)
    return 0


def _ask_path(console: Console, question: str, flag: str, usual: str) -> str:
    """The answer; a default is offered only on a terminal, so that scripts name their files."""
    return console.ask(question, flag, usual if console.interactive else None)


def _stored(chosen: ChosenUser, args: Any) -> tuple[bool, OAuth2User | None]:
    """Whether there is a user, and its tokens if they can be read; in a store `--force` replaces one that cannot."""
    path = chosen.path or chosen.store_path
    if path and not os.path.lexists(path):  # loading would make some stores
        return False, None
    try:
        return True, chosen.load()
    except CredentialsNotFoundError:
        return bool(chosen.path), None
    except (CredentialsError, UnavailableError):
        if not (chosen.path or args.force):
            raise
        return True, None


def _may_replace(args: Any, console: Console, chosen: ChosenUser) -> bool:
    """Whether the user there may be replaced; says so if it is kept. Raises `WouldOverwriteError` if nobody answers."""
    path = chosen.path
    if args.force or (path and os.path.isfile(path) and os.path.getsize(path) == 0):
        return True
    if path and (console.interactive or args.bare):
        if confirm_replacing(path, console):
            return True
        if args.bare:
            console.say(f"{chosen.label} was kept.")
            return False
    elif console.interactive and console.confirm(f"{chosen.label} exists. Replace it?"):
        return True
    step = f"Give another {'--user' if path else '--name'}, --force or --if-needed."
    raise WouldOverwriteError(f"{chosen.label} exists.", next_step=step)


async def _to_store(
    app: OAuth2App, chosen: ChosenUser, scopes: list[str], options: GrantOptions, console: Console, *, replace: bool
) -> OAuth2User:
    """Grants, and saves the tokens in the store, which is made if there is none."""

    async def save(user: OAuth2User) -> None:
        await (chosen.entry.save(user) if replace else chosen.entry.replace(None, user))
        console.status = f"{chosen.label} was saved."

    try:
        user = await grant_by_chosen_way(app, scopes, options, console, save)
    except SupersededError:
        step = "Run it again with --force to replace it."
        raise WouldOverwriteError(f"Another program saved {chosen.label} meanwhile.", next_step=step) from None
    finally:
        await chosen.entry.store.close()
    console.say(f"Granted. {chosen.label} was saved.")
    app_path = "APP.json" if app._path is None else display_path(app._path)
    say_limits(user, console, ["grant", app_path, *command_words(chosen.entry)])
    if chosen.store_path:
        guard(chosen.store_path, console)
    return user


def _way(args: Any) -> Way:
    """By flag, else the browser; a device's code only where nothing speaks of a redirect, which a browser follows."""
    ways = {"--device": args.device, "--client-credentials": args.client_credentials}
    flags = {"--redirect-uri": args.redirect_uri, "--port": args.port is not None, "--bind": args.bind}
    flags |= {"--paste": args.paste, "--no-browser": args.no_browser, "--param": args.param}
    chosen = [flag for flag, given in ways.items() if given]
    if args.resource:
        if chosen or args.kind == "oauth1":
            other = chosen[0] if chosen else "OAuth 1"
            raise ConfigError(f"--resource and {other} exclude each other.", next_step="Leave one of them out.")
        return "browser"
    others = [*chosen[1:], *(flag for flag, given in flags.items() if given)]
    if chosen and (others or args.kind == "oauth1"):
        other = others[0] if others else "OAuth 1"
        raise ConfigError(f"{chosen[0]} and {other} exclude each other.", next_step="Leave one of them out.")
    if chosen:
        return "device" if args.device else "machine"
    return "browser" if others or args.older else "browser or device"


def _pairs(flag: str, pairs: list[str]) -> dict[str, str]:
    params: dict[str, str] = {}
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not mark or not name:
            raise ConfigError(f"{flag} does not have the form K=V.")
        params[name] = value
    return params


def grant_options(args: Any) -> GrantOptions:
    """How to reach the person, by the flags. Raises `ConfigError`."""
    if args.token_param and (args.resource or args.kind == "oauth1"):
        other = "--resource" if args.resource else "OAuth 1"
        raise ConfigError(f"--token-param and {other} exclude each other.", next_step="Leave one of them out.")
    token_params = _pairs("--token-param", args.token_param)
    check_token_params(token_params)
    return GrantOptions(
        redirect_uri=args.redirect_uri,
        port=args.port,
        bind=args.bind,
        timeout=args.timeout or 300.0,
        way=_way(args),
        device_timeout=args.timeout,
        browser=not args.no_browser,
        paste=args.paste,
        auth_params=_pairs("--param", args.param),
        token_params=token_params,
        client_auth=None if args.client_auth == "auto" else read_client_auth(args.client_auth),
    )
