"""argv in, exit code out. Results go to stdout, talk to stderr; whatever a wizard asks has a flag.

The rule: every foreseeable failure is one or two lines: what happened, what was not changed, what to run next.
"""

import argparse
import asyncio
import json
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from .errors import ConfigError, CredentialsError, SlyError, WouldOverwriteError
from .flow.console import Console, Interrupted, ctrl_c_as_interrupted, report
from .flow.git_guard import guard
from .flow.grant import GrantOptions
from .flow.scaffold import TEMPLATES, ScaffoldOptions, client_json, read_secret, write_client
from .flow.wizard import check_user_path, confirm_replacing, grant_to_file, say_written, scaffold_by_asking
from .json_file import shown, write_json_file
from .oauth2 import OAuth2, OAuth2App, OAuth2User
from .oauth2.client_auth import read_client_auth
from .oauth2.providers import PROVIDERS
from .web import Method, Request

EXIT_CODES = """\
exit codes: 0 done; 1 internal error; 2 usage, or a value is missing and there is no terminal to ask at;
3 client or user file unusable; 4 denied by the person or the provider; 5 timed out; 6 the token endpoint
refused; 7 network or TLS; 8 cannot listen on the port; 9 would overwrite a file; 130 Ctrl-C."""

_OLD_NAMES = {"oauth1-flow": ["grant", "oauth1"], "oauth2-flow": ["grant", "oauth2"]}


def main(argv: Sequence[str]) -> int:
    """Runs one command and gives its exit code; prints no traceback for what can be foreseen."""
    console = Console()
    try:
        with ctrl_c_as_interrupted():
            return _run(list(argv), console)
    except SystemExit as leave:  # argparse: usage and --help
        return leave.code if isinstance(leave.code, int) else 2
    except BrokenPipeError:
        with suppress(OSError):  # the reader of stdout went away; its flush at exit must not complain
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except (SlyError, Interrupted) as error:
        return report(console, error)
    except Exception as error:
        if os.environ.get("SLYAPI_TRACEBACK"):
            raise
        return report(console, error, "Please report it, with what SLYAPI_TRACEBACK=1 shows.")


def _run(argv: list[str], console: Console) -> int:
    parser = _parser()
    if argv and argv[0] in _OLD_NAMES:
        argv = _OLD_NAMES[argv[0]] + argv[1:]
    if not argv:
        parser.print_help()
        return 0
    kind = "oauth2"
    if argv[0] in ("scaffold", "grant") and argv[1:2] in (["oauth1"], ["oauth2"]):
        kind = argv.pop(1)
    args = parser.parse_args(argv)
    args.kind = kind
    args.bare = len(argv) == 1
    run: Callable[[argparse.Namespace, Console], int] = args.run
    return run(args, console)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m SlyAPI",
        description="Call web APIs as a user: make a client file, have the user consent once, keep the grant.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace, Console], int], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, epilog=EXIT_CODES, allow_abbrev=False)
        made.formatter_class = argparse.RawDescriptionHelpFormatter
        made.set_defaults(run=run)
        return made

    _add_scaffold(command("scaffold", _scaffold, "write a client file to fill in (asks when given nothing)"))
    _add_grant(command("grant", _grant, "have one user consent in a browser (asks when given nothing)"))
    show = command("show", _show, "show a user file's scopes and expiry; no network, no secret")
    show.add_argument("user", metavar="USER.json")
    show.add_argument("--json", action="store_true", help="one JSON object on stdout")
    for name, run, text in (
        ("token", _token, "print a valid access token, refreshed if it is due (for curl)"),
        ("refresh", _refresh, "refresh the tokens in a user file now"),
    ):
        made = command(name, run, text)
        made.add_argument("app", metavar="APP.json")
        made.add_argument("user", metavar="USER.json")
        made.add_argument("--json", action="store_true", help="one JSON object on stdout")
    demo = command("demo", _demo, "scaffold, grant and a first call against the built-in practice provider")
    demo.add_argument("--folder", metavar="DIR", help="where to leave the files (default: a new folder here)")
    demo.add_argument("--no-browser", action="store_true", help="consent by itself, also where a browser is at hand")
    return parser


def _add_scaffold(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("app", nargs="?", metavar="APP.json", help="the file to write (default app.json)")
    parser.add_argument("--provider", metavar="NAME", help=f"fill in the URIs of: {', '.join(PROVIDERS)}")
    parser.add_argument("--issuer", metavar="URL", help="find the URIs by the issuer's metadata (RFC 8414, OpenID)")
    parser.add_argument("--from", dest="source", metavar="FILE", help="convert Google's download or an RFC 7591 file")
    parser.add_argument("--id", metavar="ID", help="the client id")
    parser.add_argument("--secret-file", metavar="PATH", help="read the client secret from a file, or - for stdin")
    parser.add_argument("--auth-uri", metavar="URI")
    parser.add_argument("--token-uri", metavar="URI")
    parser.add_argument("--redirect-uri", metavar="URI", help="the redirect URI that is registered")
    parser.add_argument("--client-auth", choices=["auto", "basic", "post", "none"], help="how the secret is sent")
    parser.add_argument("--blank", action="store_true", help="write the empty template, ask nothing")
    parser.add_argument("--force", action="store_true", help="overwrite a filled-in file")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _add_grant(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("app_file", nargs="?", metavar="APP.json")
    parser.add_argument("user_file", nargs="?", metavar="USER.json")
    parser.add_argument("scopes", nargs="*", metavar="SCOPE")
    parser.add_argument("--app", metavar="APP.json", help="the client file")
    parser.add_argument("--user", metavar="USER.json", help="the user file to write; - for stdout")
    parser.add_argument("--scope", action="append", default=[], metavar="SCOPE", help="ask for it (repeatable)")
    parser.add_argument("--redirect-uri", metavar="URI", help="the registered redirect URI, sent byte for byte")
    parser.add_argument("--port", type=_port, metavar="N", help="listen on this port (0: any free one)")
    parser.add_argument("--bind", metavar="ADDR", help="listen on this address, as 0.0.0.0 in a container")
    parser.add_argument("--timeout", type=_seconds, default=300.0, metavar="SEC", help="give up after (300)")
    parser.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    parser.add_argument("--paste", action="store_true", help="listen on nothing, take the final address pasted")
    parser.add_argument("--param", action="append", default=[], metavar="K=V", help="for the consent page (repeatable)")
    parser.add_argument("--client-auth", choices=["auto", "basic", "post", "none"], help="how the secret is sent")
    parser.add_argument("--if-needed", action="store_true", help="keep a valid user file, refresh an expired one")
    parser.add_argument("--force", action="store_true", help="replace an existing user file")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError("a time is a number of seconds above 0")
    return value


def _result(as_json: bool, result: dict[str, Any]) -> None:
    if as_json:
        print(json.dumps(result), flush=True)


def _scaffold(args: argparse.Namespace, console: Console) -> int:
    if args.bare and args.kind == "oauth2":
        asked = scaffold_by_asking(console)
        _result(args.json, asked or {})
        return 0
    path = args.app or "app.json"
    if os.path.isdir(path):
        raise CredentialsError(f"{shown(path)} is a folder, not a file.")
    if args.kind == "oauth1":
        client: dict[str, Any] = dict(TEMPLATES["OAuth1"])
    elif args.blank:
        client = dict(TEMPLATES["OAuth2"])
    else:
        secret = read_secret(args.secret_file) if args.secret_file else None
        given = {"id": args.id, "secret": secret, "auth_uri": args.auth_uri, "token_uri": args.token_uri}
        given["redirect_uri"] = args.redirect_uri
        given["client_auth"] = None if args.client_auth == "auto" else args.client_auth
        client = client_json(ScaffoldOptions(args.provider, args.issuer, args.source, given))
    try:
        write_client(path, client, force=args.force)
    except WouldOverwriteError:
        if not console.interactive or not console.confirm(f"{shown(path)} is filled in. Overwrite it?"):
            raise
        write_client(path, client, force=True)
    say_written(path, console)
    guard(path, console)
    _result(args.json, {"app": path, "missing": [key for key, value in client.items() if value == ""]})
    return 0


def _grant(args: argparse.Namespace, console: Console) -> int:
    if args.kind == "oauth1":
        raise ConfigError("Granting by OAuth 1 is not there yet in this version of SlyAPI.")
    app_path = args.app or args.app_file or console.ask("Client file", "--app APP.json", _offer("app.json", console))
    app = OAuth2App.from_json_file(app_path)
    if args.client_auth and args.client_auth != "auto":
        app.client_auth = read_client_auth(args.client_auth)
    user_path = args.user or args.user_file or _ask_user(args, console)
    if user_path != "-":
        check_user_path(user_path, app_path)
    scopes = [scope for text in (*args.scopes, *args.scope) for scope in text.split()]
    if args.bare and not scopes:
        scopes = console.ask("Scopes, with spaces between; Enter for none", "--scope", "").split()
    user = _kept(args, console, app, user_path, scopes)
    if user is None:
        options = _options(args)
        user = asyncio.run(grant_to_file(app, user_path, scopes, options, console))
        if args.client_auth in ("basic", "post") and user_path != "-":
            user.client_auth = read_client_auth(args.client_auth)  # so that a refresh asks the same way
            write_json_file(user_path, user.to_dict())
    if user_path == "-":
        print(json.dumps(user.to_dict(), indent=4), flush=True)
    else:
        _result(args.json, {"user": user_path, **_described(user)})
    return 0


def _offer(name: str, console: Console) -> str | None:
    """A default is offered to a person; a program has to name its files."""
    return name if console.interactive else None


def _ask_user(args: argparse.Namespace, console: Console) -> str:
    return console.ask("User file to write", "--user USER.json", _offer("user.json", console))


def _kept(
    args: argparse.Namespace, console: Console, app: OAuth2App, user_path: str, scopes: list[str]
) -> OAuth2User | None:
    """The user in an existing file that stays, None to go on and grant. Raises `WouldOverwriteError`."""
    if user_path == "-" or not os.path.lexists(user_path):
        return None
    if args.if_needed:
        with suppress(SlyError):
            auth = OAuth2(app, user_path)
            if not set(scopes) - set(auth.user.scopes):
                asyncio.run(auth.sign(None, Request(Method.GET, app.token_uri)))
                console.say(f"{shown(user_path)} is good; nothing to do.")
                return auth.user
        return None
    if args.force or (os.path.isfile(user_path) and os.path.getsize(user_path) == 0):
        return None
    if (console.interactive or args.bare) and confirm_replacing(user_path, console):
        return None
    raise WouldOverwriteError(
        f"{shown(user_path)} exists; it was not touched.", next_step="Give another --user, or --force, or --if-needed."
    )


def _options(args: argparse.Namespace) -> GrantOptions:
    params: dict[str, str] = {}
    for pair in args.param:
        name, mark, value = pair.partition("=")
        if not mark or not name:
            raise ConfigError(f"--param {pair!r} is not of the form K=V.")
        params[name] = value
    return GrantOptions(
        redirect_uri=args.redirect_uri,
        port=args.port,
        bind=args.bind,
        timeout=args.timeout,
        browser=not args.no_browser,
        paste=args.paste,
        auth_params=params,
    )


def _described(user: OAuth2User) -> dict[str, Any]:
    return {
        "scopes": user.scopes,
        "missing_scopes": user.missing_scopes,
        "expires_at": None if user.expires_at is None else user.expires_at.isoformat(),
        "refreshable": bool(user.refresh_token),
    }


def _show(args: argparse.Namespace, console: Console) -> int:
    user = OAuth2User.from_json_file(args.user)
    mode = stat.S_IMODE(os.stat(args.user).st_mode)
    facts = {"user": args.user, **_described(user), "mode": f"{mode:04o}"}
    if args.json:
        _result(True, facts)
        return 0
    print(f"user file:   {shown(args.user)} (mode {mode:04o})")
    print(f"scopes:      {' '.join(user.scopes) or 'none named'}")
    if user.missing_scopes:
        print(f"not granted: {' '.join(user.missing_scopes)}")
    print(f"expires:     {_when(user.expires_at)}")
    print(f"refreshable: {'yes' if user.refresh_token else 'no'}", flush=True)
    if mode & 0o077:
        console.say(f"Careful: others on this machine may read {shown(args.user)}. Mend it with: chmod 600 FILE")
    return 0


def _when(at: datetime | None) -> str:
    if at is None:
        return "not told by the provider"
    left = at - datetime.now(UTC)
    shown_at = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    if left < timedelta(0):
        return f"{shown_at} (expired)"
    hours, rest = divmod(int(left.total_seconds()), 3600)
    if hours >= 48:
        return f"{shown_at} (in {hours // 24} days)"
    return f"{shown_at} (in {hours} h {rest // 60} min)" if hours else f"{shown_at} (in {rest // 60} min {rest % 60} s)"


def _token(args: argparse.Namespace, console: Console) -> int:
    auth = OAuth2(args.app, args.user)
    asyncio.run(auth.sign(None, Request(Method.GET, auth.app.token_uri)))
    if args.json:
        _result(True, {"token": auth.user.token, **_described(auth.user)})
    else:
        print(auth.user.token, flush=True)
    return 0


def _refresh(args: argparse.Namespace, console: Console) -> int:
    auth = OAuth2(args.app, args.user)
    asyncio.run(auth.refresh_now())
    console.say(f"{shown(args.user)} has new tokens; they expire: {_when(auth.user.expires_at)}.")
    _result(args.json, {"user": args.user, **_described(auth.user)})
    return 0


def _demo(args: argparse.Namespace, console: Console) -> int:
    from .flow.demo import demo

    asyncio.run(demo(console, folder=args.folder, browser=not args.no_browser))
    return 0
