"""The command that has one user consent and writes the user file: grant."""

import asyncio
import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from ..errors import ConfigError, CredentialsError, GrantEndedError, SaveError, WouldOverwriteError
from ..flow.console import Console
from ..flow.grant import GrantOptions
from ..flow.wizard import (
    check_user_path,
    client_in,
    confirm_replacing,
    grant_oauth1_to_file,
    grant_to_file,
    oauth1_client_in,
    say_missing,
    unchanged,
)
from ..json_file import display_path
from ..oauth1 import OAuth1User
from ..oauth2 import OAuth2App, OAuth2User
from ..stores import user_file
from ..tokens.client_auth import read_client_auth
from .chosen_user import ChosenUser
from .results import print_json, print_result
from .show_command import described
from .token_commands import run_with_tokens, signing


def grant(args: Any, console: Console) -> int:
    """Has one user consent, and writes the user file."""
    if args.kind == "oauth1":
        return _grant_oauth1(args, console)
    words = list(args.words)
    app_path = _app_path(args, words, console)
    options = _options(args)
    app = client_in(app_path, console)
    app.client_auth = options.client_auth or app.client_auth
    given = args.user or (words.pop(0) if words else "")
    user_path = given or _ask_path(console, "User file to write", "--user USER.json", "user.json")
    scopes = [scope for text in (*words, *args.scope) for scope in text.split()]
    _check_user_path(user_path, app_path, console)
    user = _kept(args, console, app, user_path, scopes)
    if user is None:
        scopes = scopes or _scopes_before(args, user_path)
        if not _may_write(args, console, user_path):
            return 0
        if not given and not scopes:
            scopes = console.ask("Scopes, with spaces between; Enter for none", "--scope", "").split()
        user = asyncio.run(grant_to_file(app, user_path, scopes, options, console))
    if user_path == "-":
        print_result(json.dumps(user.to_dict(), indent=4))
    else:
        print_json(args.json, {"user": user_path, **described(user)})
    return 0


def _grant_oauth1(args: Any, console: Console) -> int:
    """As `_grant`, for a protocol without scopes, whose tokens do not expire."""
    words, options = list(args.words), _options(args)
    if options.client_auth or args.scope or len(words) > 2 - bool(args.app) - bool(args.user):
        what = "--client-auth has" if options.client_auth else "A scope has"
        raise ConfigError(f"{what} no place in OAuth 1.", next_step="Leave it out.")
    app_path = _app_path(args, words, console)
    app = oauth1_client_in(app_path)
    given = args.user or (words.pop(0) if words else "")
    user_path = given or _ask_path(console, "User file to write", "--user USER.json", "user.json")
    _check_user_path(user_path, app_path, console)
    if args.if_needed and user_path != "-" and os.path.lexists(user_path):
        with suppress(CredentialsError):
            OAuth1User.from_json_file(user_path)
            console.say(f"{display_path(user_path)} is there; nothing to do.")
            print_json(args.json, {"user": user_path})
            return 0
    if _may_write(args, console, user_path):
        user = asyncio.run(grant_oauth1_to_file(app, user_path, options, console))
        if user_path == "-":
            print_result(json.dumps(asdict(user), indent=4))
        else:
            print_json(args.json, {"user": user_path})
    return 0


def _app_path(args: Any, words: list[str], console: Console) -> str:
    path: str = args.app or (words.pop(0) if words else "")
    return path or _ask_path(console, "Client file", "--app APP.json", "app.json")


def _check_user_path(user_path: str, app_path: str, console: Console) -> None:
    if user_path == "-":
        if sys.stdout is None:
            raise SaveError("stdout could not be written: it is closed.")
    else:
        console.so_far = unchanged(user_path)
        check_user_path(user_path, app_path)


def _ask_path(console: Console, question: str, flag: str, usual: str) -> str:
    """A default is offered to a person; a program has to name its files."""
    return console.ask(question, flag, usual if console.interactive else None)


def _scopes_before(args: Any, user_path: str) -> list[str]:
    """What `--if-needed` asks for anew where no scopes are given: what the ended grant was asked for."""
    if args.if_needed and user_path != "-":
        with suppress(CredentialsError):
            user = OAuth2User.from_json_file(user_path)
            return user.requested_scopes or user.scopes
    return []


def _kept(args: Any, console: Console, app: OAuth2App, user_path: str, scopes: list[str]) -> OAuth2User | None:
    """The user in the existing file if `--if-needed` says that it stays, refreshed if it was due.

    Where the grant is over, or a scope was never asked for, `--if-needed` means a new one: as `--force`.
    """
    if not args.if_needed or user_path == "-" or not os.path.lexists(user_path):
        return None
    with suppress(CredentialsError):
        chosen = ChosenUser(user_file(user_path), user_path)
        auth = chosen.signer(app)
        args.force = True
        asked_before = {*auth.user.scopes, *(auth.user.requested_scopes or ())}
        if set(scopes) <= asked_before:
            with suppress(GrantEndedError):
                if auth.due:
                    chosen.check_writable()
                run_with_tokens(auth, signing(auth), console, chosen, auth.user)
                console.say(f"{display_path(user_path)} is good; nothing to do.")
                say_missing(auth.user, console)
                return auth.user
    return None


def _may_write(args: Any, console: Console, user_path: str) -> bool:
    """Whether the user file may be written; says so if the person keeps an existing one."""
    if user_path == "-" or not os.path.lexists(user_path) or _may_replace(args, console, user_path):
        return True
    console.say(f"{display_path(user_path)} was kept.")
    return False


def _may_replace(args: Any, console: Console, user_path: str) -> bool:
    """Whether the existing file may go. Raises `WouldOverwriteError` where nothing asks."""
    if args.force or (os.path.isfile(user_path) and os.path.getsize(user_path) == 0):
        return True
    if (console.interactive or args.bare) and confirm_replacing(user_path, console):
        return True
    if args.bare:
        return False
    raise WouldOverwriteError(
        f"{display_path(user_path)} exists.", next_step="Give another --user, or --force, or --if-needed."
    )


def _options(args: Any) -> GrantOptions:
    params: dict[str, str] = {}
    for pair in args.param:
        name, mark, value = pair.partition("=")
        if not mark or not name:
            raise ConfigError("--param is not of the form K=V.")
        params[name] = value
    return GrantOptions(
        redirect_uri=args.redirect_uri,
        port=args.port,
        bind=args.bind,
        timeout=args.timeout,
        browser=not args.no_browser,
        paste=args.paste,
        auth_params=params,
        client_auth=None if args.client_auth == "auto" else read_client_auth(args.client_auth),
    )
