"""The command that has one user consent and writes the user file: grant."""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from ..errors import ConfigError, CredentialsError, SaveError, UnavailableError, WouldOverwriteError
from ..flow.client_check import client_in, oauth1_client_in
from ..flow.console import Console, unchanged
from ..flow.grant import GrantOptions, Way
from ..flow.signals import run
from ..flow.wizard import (
    ask_scopes,
    check_user_path,
    confirm_replacing,
    grant_oauth1_to_file,
    grant_to_file,
    needs_scopes,
)
from ..json_file import display_path
from ..oauth1 import OAuth1App, OAuth1User
from ..oauth2 import OAuth2App, OAuth2User
from ..oauth2.from_url.resource_login import ResourceLogin
from ..stores import user_file
from ..tokens.client_auth import read_client_auth
from ..web.next_steps import quoted
from .chosen_user import ChosenUser
from .grant_to_store import grant_to_store
from .refreshing import still_valid, with_scopes_of
from .results import print_json, print_result
from .user_summary import summary


def grant(args: Any, console: Console) -> int:
    """Has one user consent, and writes the user file or the entry of a store."""
    words, options = list(args.words), _options(args)
    if args.kind == "oauth1":
        _check_oauth1(args, options)
    app_path = args.app or (words.pop(0) if words else "")
    app_path = app_path or _ask_path(console, "Client file", "--app APP.json", "app.json")
    if args.resource:
        options.resource = ResourceLogin.of(args.resource, app_path)
        app: OAuth1App | OAuth2App = options.resource.app
    else:
        app = oauth1_client_in(app_path) if args.kind == "oauth1" else client_in(app_path, console)
    if isinstance(app, OAuth2App):
        app.client_auth = options.client_auth or app.client_auth
        if args.store or args.name:
            return grant_to_store(args, app, words, options, console)
    if words and not args.user and not args.older:
        _check_file_word(words[0])
    named = args.user or (words.pop(0) if words else "")
    user_path = named or _ask_path(console, "User file to write", "--user USER.json", "user.json")
    _check_user_path(user_path, app_path, console)
    scopes = [scope for text in (*words, *args.scope) for scope in text.split()]
    user = _kept(args, console, app, user_path, scopes)
    if user is None:
        if not _may_write(args, console, user_path):
            return 0
        if isinstance(app, OAuth1App):
            user = run(grant_oauth1_to_file(app, user_path, options, console))
        else:
            before = _user_before(user_path)
            if args.if_needed and before is not None:
                scopes = with_scopes_of(before, scopes)
            if not scopes and needs_scopes(app, options) and (console.interactive or not named):
                scopes = ask_scopes(console, before)
            user = run(grant_to_file(app, user_path, scopes, options, console))
    fields = asdict(user) if isinstance(user, OAuth1User) else user.to_dict()
    if user_path == "-":
        print_result(*json.dumps(fields, indent=4).splitlines())
    else:
        print_json(args.json, {"user": user_path, **({} if isinstance(user, OAuth1User) else summary(user))})
    return 0


def _check_file_word(word: str) -> None:
    """Raises `ConfigError` for a word in the place of the user file that looks like a scope."""
    is_path = word.endswith(".json") or ("://" not in word and any(mark in word for mark in "/\\"))
    if not (word == "-" or is_path or os.path.lexists(word)):
        step = f"Name the user file before the scopes, or give --user {quoted(display_path(word))}."
        raise ConfigError(f"{display_path(word)} does not look like a user file.", next_step=step)


def _check_oauth1(args: Any, options: GrantOptions) -> None:
    """Raises `ConfigError` for what OAuth 1 does not have: scopes, `--client-auth`, users in a store."""
    if args.store or args.name:
        raise ConfigError("A store does not apply to OAuth 1.", next_step="Give a user file.")
    if options.client_auth or args.scope or len(args.words) > 2 - bool(args.app) - bool(args.user):
        what = "--client-auth does" if options.client_auth else "A scope does"
        raise ConfigError(f"{what} not apply to OAuth 1.", next_step="Leave it out.")


def _check_user_path(user_path: str, app_path: str, console: Console) -> None:
    if user_path == "-":
        if sys.stdout is None:
            raise SaveError("stdout could not be written: it is closed.")
    else:
        console.status = unchanged(user_path)
        check_user_path(user_path, app_path)


def _ask_path(console: Console, question: str, flag: str, usual: str) -> str:
    """The answer; a default is offered only on a terminal, so that scripts name their files."""
    return console.ask(question, flag, usual if console.interactive else None)


def _user_before(user_path: str) -> OAuth2User | None:
    """The user in the file that is replaced, if there is one."""
    if user_path != "-":
        with suppress(CredentialsError, UnavailableError):
            return OAuth2User.from_json_file(user_path)
    return None


def _kept(
    args: Any, console: Console, app: OAuth1App | OAuth2App, user_path: str, scopes: list[str]
) -> OAuth1User | OAuth2User | None:
    """The user that `--if-needed` keeps, refreshed if it was due; None if a grant is needed."""
    if not args.if_needed or user_path == "-" or not os.path.lexists(user_path) or not getattr(app, "id", app):
        return None
    with suppress(CredentialsError):
        if isinstance(app, OAuth2App):
            before = OAuth2User.from_json_file(user_path)
            args.force = True  # if it is no longer valid
            return still_valid(app, console, ChosenUser(user_file(user_path), user_path), before, scopes)
        user = OAuth1User.from_json_file(user_path)
        console.say(f"{display_path(user_path)} exists; nothing to do.")
        return user
    return None


def _may_write(args: Any, console: Console, user_path: str) -> bool:
    """Whether the user file may be written; says so if an existing one is kept."""
    if user_path == "-" or not os.path.lexists(user_path) or _may_replace(args, console, user_path):
        return True
    console.say(f"{display_path(user_path)} was kept.")
    return False


def _may_replace(args: Any, console: Console, user_path: str) -> bool:
    """Whether the existing file may be replaced. Raises `WouldOverwriteError` where nobody can be asked."""
    if args.force or (os.path.isfile(user_path) and os.path.getsize(user_path) == 0):
        return True
    if (console.interactive or args.bare) and confirm_replacing(user_path, console):
        return True
    if args.bare:
        return False
    raise WouldOverwriteError(
        f"{display_path(user_path)} exists.", next_step="Give another --user, --force or --if-needed."
    )


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


def _options(args: Any) -> GrantOptions:
    params: dict[str, str] = {}
    for pair in args.param:
        name, mark, value = pair.partition("=")
        if not mark or not name:
            raise ConfigError("--param does not have the form K=V.")
        params[name] = value
    return GrantOptions(
        redirect_uri=args.redirect_uri,
        port=args.port,
        bind=args.bind,
        timeout=args.timeout or 300.0,
        way=_way(args),
        device_timeout=args.timeout,
        browser=not args.no_browser,
        paste=args.paste,
        auth_params=params,
        client_auth=None if args.client_auth == "auto" else read_client_auth(args.client_auth),
    )
