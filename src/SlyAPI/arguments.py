"""What the command line takes: the commands, their flags, and the words of `--help`. Pure.

The rule: whatever a wizard asks has a flag, and wrong usage is told in two lines, without repeating values.
"""

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from .errors import ConfigError, printable
from .oauth2.providers import PROVIDERS

EXIT_CODES = """\
exit codes:
  0 done; 1 internal error; 2 usage, or a value is missing and nobody can be
  asked; 3 client or user file (or stdout) unusable; 4 denied by the person or
  the provider; 5 timed out; 6 the token endpoint refused; 7 network or TLS;
  8 cannot listen on the port; 9 would overwrite a file; 130 Ctrl-C."""

COMMANDS = {
    "scaffold": "write a client file to fill in (asks when given nothing)",
    "grant": "have one user consent in a browser (asks when given nothing)",
    "show": "show a user's scopes and expiry, without any secret",
    "token": "print a valid access token, refreshed if it is due (for curl)",
    "refresh": "refresh a user's tokens now",
    "revoke": "end the grant at the provider and forget the user",
    "demo": "scaffold, grant and call: all of it against a practice provider",
}
_OLD_NAMES = {"oauth1-flow": ["grant", "oauth1"], "oauth2-flow": ["grant", "oauth2"]}
_CLIENT_AUTH = ["auto", "basic", "post", "none"]
_JSON = "one JSON object on stdout"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raises `ConfigError`; argparse would print the whole usage, and repeat what may be a secret."""
        problem, _, words = message.partition("unrecognized arguments: ")
        flags = [word.partition("=")[0] for word in words.split() if word.startswith("-")]
        if words:
            problem = f"There is no {' '.join(flags) or words} here"
        raise ConfigError(f"{problem[:1].upper()}{problem[1:]}.", next_step=f"See: {self.prog} --help")


def read_arguments(argv: Sequence[str]) -> argparse.Namespace | None:
    """What was asked for, `command` and `kind` (oauth1, oauth2) among it; None after the help of a bare call.

    Flags may stand anywhere among the words. Raises `ConfigError`, and `SystemExit` for `--help`.
    """
    words = [*_OLD_NAMES.get(argv[0], [argv[0]]), *argv[1:]] if argv else []
    parser, commands = _parsers()
    if not words:
        parser.print_help()
        return None
    kind = "oauth2"
    if words[0] in ("scaffold", "grant") and words[1:2] in (["oauth1"], ["oauth2"]):
        kind = words.pop(1)
    if words[0] not in commands and not words[0].startswith("-"):
        near = get_close_matches(words[0], commands, 1)
        hint = f"Did you mean {near[0]}? " if near else ""
        problem = f"There is no command {printable(words[0], 40)!r}."
        raise ConfigError(problem, next_step=f"{hint}See: {parser.prog} --help")
    known = commands.get(words[0])
    args = parser.parse_args(words) if known is None else known.parse_intermixed_args(words[1:])
    args.command = words[0]
    args.kind = kind
    args.bare = len(words) == 1
    return args


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    parser = _Parser(
        prog="python -m SlyAPI",
        description="Call web APIs as a user: make a client file, have the user consent\nonce, keep the grant.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    several = parser.add_subparsers(metavar="COMMAND", required=True)
    made: dict[str, _Parser] = {}
    for name, text in COMMANDS.items():
        made[name] = several.add_parser(
            name,
            help=text,
            description=f"{text[:1].upper()}{text[1:]}.",
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
    _add_scaffold(made["scaffold"])
    _add_grant(made["grant"])
    for name in ("token", "refresh", "revoke"):
        made[name].add_argument("app", metavar="APP.json", help="the client file")
    for name in ("show", "token", "refresh", "revoke"):
        _add_user(made[name])
    made["show"].add_argument(
        "--expiring", type=_days, metavar="DAYS", help="of a store: whose refresh token ends within so many days"
    )
    demo = made["demo"]
    demo.add_argument("--folder", metavar="DIR", help="where to leave the files (default: a new folder here)")
    demo.add_argument("--no-browser", action="store_true", help="consent by itself, also where a browser is at hand")
    return parser, made


def _add_user(parser: _Parser) -> None:
    parser.add_argument("user", nargs="?", metavar="USER.json", help="the user file")
    parser.add_argument("--store", metavar="URL", help="or the store (by default $SLYAPI_STORE), as sqlite:users.db")
    parser.add_argument("--name", metavar="NAME", help="the user's name in the store")
    parser.add_argument("--json", action="store_true", help=_JSON)


def _add_scaffold(parser: _Parser) -> None:
    parser.usage = "%(prog)s [APP.json] [options]"
    add = parser.add_argument
    add("app", nargs="?", metavar="APP.json", help="the file to write (default app.json)")
    add("--provider", metavar="NAME", help=f"fill in the URIs of: {', '.join(PROVIDERS)}")
    add("--issuer", metavar="URL", help="find the URIs by the issuer's metadata (RFC 8414, OpenID)")
    add("--from", dest="source", metavar="FILE", help="convert Google's download or an RFC 7591 file")
    add("--id", metavar="ID", help="the client id")
    add("--secret-file", metavar="PATH", help="read the client secret from a file, or - for stdin")
    add("--auth-uri", metavar="URI", help="the authorization endpoint, where the person consents")
    add("--token-uri", metavar="URI", help="the token endpoint")
    add("--redirect-uri", metavar="URI", help="the redirect URI that is registered")
    add("--client-auth", choices=_CLIENT_AUTH, help="how the secret is sent to the token endpoint")
    add("--blank", action="store_true", help="write the empty template, ask nothing")
    add("--force", action="store_true", help="overwrite a filled-in file")
    add("--json", action="store_true", help=_JSON)


def _add_grant(parser: _Parser) -> None:
    parser.usage = "%(prog)s [APP.json [USER.json [SCOPE ...]]] [options]"
    add = parser.add_argument
    add("words", nargs="*", metavar="APP.json USER.json SCOPE ...", help="what the flags below do not give")
    add("--app", metavar="APP.json", help="the client file")
    add("--user", metavar="USER.json", help="the user file to write; - for stdout")
    add("--scope", action="append", default=[], metavar="SCOPE", help="ask for it (repeatable)")
    add("--redirect-uri", metavar="URI", help="the registered redirect URI, sent byte for byte")
    add("--port", type=_port, metavar="N", help="listen on this port (0: any free one)")
    add("--bind", metavar="ADDR", help="listen on this address, as 0.0.0.0 in a container")
    add("--timeout", type=_seconds, default=300.0, metavar="SEC", help="give up after so many seconds (300)")
    add("--no-browser", action="store_true", help="print the address, open nothing")
    add("--paste", action="store_true", help="listen on nothing, take the final address pasted")
    add("--param", action="append", default=[], metavar="K=V", help="for the consent page (repeatable)")
    add("--client-auth", choices=_CLIENT_AUTH, help="how the secret is sent to the token endpoint")
    add("--if-needed", action="store_true", help="keep a valid user file, refresh an expired one")
    add("--force", action="store_true", help="replace an existing user file")
    add("--json", action="store_true", help=_JSON)


def _port(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _days(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError("a number of days is 0 or more")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError("a time is a number of seconds above 0")
    return value
