"""argv in, exit code out. Results go to stdout, talk to stderr; `arguments` says what may be given.

The rule: every foreseeable failure is one or two lines: what happened, what was not changed, what to run next.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from .arguments import EXIT_CODES, read_arguments
from .chosen_user import ChosenUser
from .errors import (
    ConfigError,
    CredentialsError,
    GrantEndedError,
    SaveError,
    SlyError,
    WouldOverwriteError,
)
from .flow.console import Console, Interrupted, ctrl_c_as_interrupted, report
from .flow.git_guard import guard
from .flow.grant import GrantOptions
from .flow.scaffold import TEMPLATES, ScaffoldOptions, client_json, is_filled_in, read_secret, write_client
from .flow.wizard import (
    check_user_path,
    client_in,
    confirm_replacing,
    grant_oauth1_to_file,
    grant_to_file,
    oauth1_client_in,
    say_missing,
    say_written,
    scaffold_by_asking,
    unchanged,
)
from .json_file import shown
from .oauth1 import OAuth1User
from .oauth2 import OAuth2App, OAuth2User
from .oauth2.client_auth import read_client_auth
from .results import print_json, print_result
from .stores import user_file
from .token_commands import described, refresh, revoke, run_with_tokens, show, signing, token

__all__ = ["EXIT_CODES", "main"]


def main(argv: Sequence[str]) -> int:
    """Runs one command and gives its exit code; prints no traceback for what can be foreseen."""
    console = Console()
    try:
        with ctrl_c_as_interrupted():
            args = read_arguments(argv)
            return 0 if args is None else _COMMANDS[args.command](args, console)
    except SystemExit as leave:  # argparse: --help
        return leave.code if isinstance(leave.code, int) else 2
    except (SlyError, Interrupted) as error:
        return report(console, error)
    except Exception as error:
        if os.environ.get("SLYAPI_TRACEBACK"):
            raise
        return report(console, error)
    finally:
        _flush()


def _flush() -> None:
    """Flushes for good, so that the interpreter's exit has nothing to complain of a full or closed stream."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _scaffold(args: Any, console: Console) -> int:
    if args.bare and args.kind == "oauth2":
        scaffold_by_asking(console)
        return 0
    path = args.app or "app.json"
    if os.path.isdir(path):
        raise CredentialsError(f"{shown(path)} is a folder, not a file.")
    console.so_far = unchanged(path)
    may_replace = args.force or not is_filled_in(path)
    if not may_replace and console.interactive:
        may_replace = console.confirm(f"{shown(path)} is filled in. Overwrite it?")
    if not may_replace:
        raise WouldOverwriteError(f"{shown(path)} is filled in.", next_step="Choose another name, or --force.")
    client = _client(args, console)
    write_client(path, client, force=True)
    say_written(path, console)
    guard(path, console)
    print_json(args.json, {"app": path, "missing": [key for key, value in client.items() if value == ""]})
    return 0


def _client(args: Any, console: Console) -> dict[str, Any]:
    """The content of the client file that the flags tell. Raises `ConfigError` where two of them clash."""
    given = {"id": args.id, "secret": None, "auth_uri": args.auth_uri, "token_uri": args.token_uri}
    given |= {"redirect_uri": args.redirect_uri}
    given["client_auth"] = None if args.client_auth == "auto" else args.client_auth
    template = "OAuth1" if args.kind == "oauth1" else "OAuth2" if args.blank else ""
    if template:
        sources = {"--provider": args.provider, "--issuer": args.issuer, "--from": args.source}
        sources |= {"--secret-file": args.secret_file} | {f"--{k.replace('_', '-')}": v for k, v in given.items()}
        clash = next((flag for flag, value in sources.items() if value), None)
        if clash:
            what = "an empty OAuth 1 template" if args.kind == "oauth1" else "--blank"
            raise ConfigError(f"{clash} has no place in {what}.", next_step=f"Leave {clash} out.")
        return dict(TEMPLATES[template])
    if args.secret_file == "-" and console.interactive:
        given["secret"] = console.ask("Client secret (not shown)", "--secret-file", hidden=True)
    elif args.secret_file:
        given["secret"] = read_secret(args.secret_file)
    return client_json(ScaffoldOptions(args.provider, args.issuer, args.source, given))


def _grant(args: Any, console: Console) -> int:
    if args.kind == "oauth1":
        return _grant_oauth1(args, console)
    words = list(args.words)
    app_path = _app_path(args, words, console)
    options = _options(args)
    app = client_in(app_path)
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
            console.say(f"{shown(user_path)} is there; nothing to do.")
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
                console.say(f"{shown(user_path)} is good; nothing to do.")
                say_missing(auth.user, console)
                return auth.user
    return None


def _may_write(args: Any, console: Console, user_path: str) -> bool:
    """Whether the user file may be written; says so if the person keeps an existing one."""
    if user_path == "-" or not os.path.lexists(user_path) or _may_replace(args, console, user_path):
        return True
    console.say(f"{shown(user_path)} was kept.")
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
        f"{shown(user_path)} exists.", next_step="Give another --user, or --force, or --if-needed."
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


def _demo(args: Any, console: Console) -> int:
    from .flow.demo import demo

    asyncio.run(demo(console, folder=args.folder, browser=not args.no_browser))
    return 0


_COMMANDS: dict[str, Callable[[Any, Console], int]] = {
    "scaffold": _scaffold,
    "grant": _grant,
    "show": show,
    "token": token,
    "refresh": refresh,
    "revoke": revoke,
    "demo": _demo,
}
