"""The arguments of each command, read by argparse. Pure.

The rule: every question of a wizard has a flag, and a usage error is two lines that repeat no value.
"""

import argparse
import re
from collections.abc import Sequence
from difflib import get_close_matches
from types import SimpleNamespace
from typing import Any, NoReturn

from ..errors import ConfigError, printable
from ..flow.terminal import wrapped
from ..oauth2.client.providers import PROVIDERS
from ..tokens.client_auth import METHODS
from ..web.next_steps import PROGRAM
from .commands import COMMANDS, OFFLINE, TOKEN_FORMS, exit_codes, help_width

_OLD_NAMES = {"oauth1-flow": ["grant", "oauth1"], "oauth2-flow": ["grant", "oauth2"]}
_CLIENT_AUTH = ["auto", *METHODS]
_METHODS = f"how the client authenticates itself: {', '.join(_CLIENT_AUTH)}"
_JSON = "one JSON object on stdout"
_USAGES = {
    "scaffold": "[APP.json]",
    "grant": "[APP.json [USER.json [SCOPE ...]]]",
    "login": "NAME [SCOPE ...]",
    "accounts": "",
    "logout": "NAME",
    "show": "[NAME | USER.json]",
    "call": "NAME | [APP.json] USER.json [METHOD] URL",
    "serve": "NAME",
    "exec": "NAME [options] -- PROGRAM [ARGUMENT ...]",
    "doctor": "NAME | APP.json [USER.json]",
    "completion": "bash|zsh|fish|powershell",
    "demo": "",
    "new": "NAME",
}
"""The words of a command in its usage line; of the others an account, or client file and user."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def _split_lines(self, text: str, width: int) -> list[str]:
        """A flag's words in lines that break at spaces alone; argparse would break a long word."""
        return wrapped(text, width)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raises `ConfigError`; argparse would print the whole usage, and repeat values that may be secret."""
        problem, _, words = _without_value(message).partition("unrecognized arguments: ")
        flags = [word.partition("=")[0] for word in words.split() if word.startswith("-")]
        if words:
            problem = f"Unknown argument {' '.join(flags)}" if flags else "There are more words than this command takes"
        known = [name for action in self._actions for name in action.option_strings]
        near = get_close_matches(flags[0], known, 1, 0.7) if flags else []
        hint = f"Did you mean {near[0]}? " if near else ""
        if words and not flags:
            hint = f"Use: {' '.join((self.usage or '').split())}. "
        raise ConfigError(f"{problem[:1].upper()}{problem[1:]}.", next_step=f"{hint}See: {self.prog} --help")


def _without_value(message: str) -> str:
    """argparse's message without the value that it repeats."""
    message = re.sub(r"(?s)invalid choice: .*(?=\(choose from )", "the value is none of its choices ", message)
    return re.sub(r"(?s)ignored explicit argument .*", "it takes no value", message)


def read_arguments(argv: Sequence[str]) -> SimpleNamespace:
    """The arguments, with `command`, `kind` (oauth1 or oauth2) `bare` (no arguments) and `only_words` (no flags).

    `after_dashes` are the words after `--`: files. Flags may stand anywhere before. Raises `ConfigError`, and
    `SystemExit` for a command's `--help`.
    """
    words = [*_OLD_NAMES.get(argv[0], [argv[0]]), *argv[1:]]
    if words[0] not in COMMANDS:
        raise _no_such_command(words[0])
    kind, older = "oauth2", words[0] in ("scaffold", "grant") and words[1:2] in (["oauth1"], ["oauth2"])
    if older:
        kind = words.pop(1)
    end = words.index("--") if "--" in words else len(words)
    # argparse reads flags behind `--` too (3.11). A NUL, which no argument contains, makes a plain word of each.
    plain = [f"\0{word}" for word in words[end + 1 :]]
    args = parser_of(words[0]).parse_intermixed_args([*words[1:end], *plain], SimpleNamespace())
    for name, value in vars(args).items():
        setattr(args, name, _without_nul(value))
    args.command = words[0]
    args.after_dashes = words[end + 1 :]
    args.kind = kind
    args.older = older
    args.bare = len(words) == 1
    args.only_words = not any(word.startswith("-") for word in words[1:end])
    return args


def _without_nul(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nul(word) for word in value]
    return value.removeprefix("\0") if isinstance(value, str) else value


def _no_such_command(word: str) -> ConfigError:
    see = f"See: {PROGRAM} --help"
    if word.startswith("-"):
        return ConfigError(f"Unknown argument {printable(word.partition('=')[0], 40)}.", next_step=see)
    near = get_close_matches(word.lower(), COMMANDS, 1)
    hint = f"Did you mean {near[0]}? " if near else ""
    return ConfigError(f"Unknown command {printable(word, 40)!r}.", next_step=hint + see)


def parser_of(command: str, width: int | None = None) -> _Parser:
    """The parser of one command; `width` is for its help, by default the terminal's."""
    text, width = COMMANDS[command], width or help_width()
    made = _Parser(
        prog=f"{PROGRAM} {command}",
        description="\n".join(wrapped(f"{text[:1].upper()}{text[1:]}.", width)),
        epilog=exit_codes(width),
        formatter_class=lambda prog: _Formatter(prog, width=width, max_help_position=24 if width > 60 else 8),
        allow_abbrev=False,
    )
    usage = f"{made.prog} {_USAGES.get(command, 'NAME | APP.json [USER.json]')}".rstrip()
    usage = usage if "[options]" in usage else f"{usage} [options]"
    made.usage = "\n       ".join(wrapped(usage, width - len("usage: ")))
    if command == "scaffold":
        _add_scaffold(made)
    elif command == "grant":
        _add_grant(made)
    elif command in ("login", "logout", "accounts"):
        _add_account(made, command)
    elif command == "call":
        _add_call(made)
    elif command in ("serve", "exec"):
        _add_broker(made, command)
    elif command in ("demo", "new"):
        _add_project(made, command)
    elif command == "completion":
        made.add_argument("shell", choices=["bash", "zsh", "fish", "powershell"], help="the shell")
    else:
        if command != "show":
            made.add_argument("app", metavar="APP.json", help="the client file, or the name of an account")
        _add_user(made)
        if command == "token":
            _add_token(made)
        if command == "doctor":
            made.add_argument("--refresh", action="store_true", help="refresh the user's tokens now, and save them")
        if command == "show":
            made.add_argument("--expiring", type=_days, metavar="DAYS", help="in a store: whose grant ends within DAYS")
    if command not in OFFLINE:
        help = "send all requests through this proxy"
        made.add_argument("--proxy", type=_proxy, metavar="URL", help=help)
    return made


def _add_user(parser: _Parser) -> None:
    parser.add_argument("user", nargs="?", metavar="USER.json", help="the user file (show: or an account)")
    _add_store(parser)
    parser.add_argument("--json", action="store_true", help=_JSON)


def _add_token(parser: _Parser) -> None:
    add = parser.add_argument
    add("operation", nargs="?", help=argparse.SUPPRESS)  # what git adds
    help = "the form: text, json, header (curl), git, xoauth2 (mail), exec-credential (kubectl)"
    add("--as", dest="form", choices=TOKEN_FORMS, default="text", metavar="FORM", help=help)
    add("--user", dest="address", metavar="ADDRESS", help="whose mailbox, with --as xoauth2")


def _add_store(parser: _Parser) -> None:
    parser.add_argument("--store", metavar="URL", help="or a store, such as sqlite:users.db (default $SLYAPI_STORE)")
    parser.add_argument("--name", metavar="NAME", help="the user's name in the store")


def _add_call(parser: _Parser) -> None:
    add = parser.add_argument
    help = "NAME: an account, and /path; APP.json: an expired token is refreshed"
    add("words", nargs="+", metavar="APP.json USER.json METHOD URL", help=help)
    _add_store(parser)
    add("-X", "--request", type=_method, dest="method", metavar="METHOD", help="the method, instead of as a word")
    add("-d", "--data", action="append", default=[], metavar="BODY", help="JSON, NAME=VALUE&..., @FILE, or @- (stdin)")
    add("-H", "--header", action="append", default=[], metavar="NAME:VALUE", help="send this header (repeatable)")
    add("--paginate", action="store_true", help="the items of every page, as JSON lines")
    add("--items", metavar="PATH", help="the path of a page's items (default: the page, items or data)")
    add("-o", "--output", metavar="FILE", help="download into this file; continues an interrupted download")
    add("-i", "--include", action="store_true", help="write the reply's status and headers before its body")
    add("-v", "--verbose", action="store_true", help="show requests and replies on stderr, secrets masked")
    add("--timeout", type=_seconds, metavar="SEC", help="give up after SEC seconds")


def _add_project(parser: _Parser, command: str) -> None:
    add = parser.add_argument
    if command == "new":
        add("name", metavar="NAME", help="the name of the project, such as weather")
        add("--folder", metavar="DIR", help="the folder to write (default: the name, here)")
        add("--provider", metavar="NAME", help="fill in the addresses of a provider, as scaffold does")
        add("--json", action="store_true", help=_JSON)
    else:
        add("--folder", metavar="DIR", help="the folder for the files (default: a new one here)")
        add("--no-browser", action="store_true", help="consent without a browser")
        add("--device", action="store_true", help="a second act: a device, and a token without a person")


def _add_broker(parser: _Parser, command: str) -> None:
    add = parser.add_argument
    add("account_name", metavar="NAME", help="the account")
    if command == "exec":
        add("program", nargs="*", metavar="PROGRAM", help="the program and its arguments, behind --")
    add("--port", type=_port, metavar="N", help="listen on this port (default: any free one)")
    add("--socket", metavar="PATH", help="listen at this Unix socket, which only you may use")
    add("--read-only", action="store_true", help="let GET and HEAD through, and nothing else")
    help = "let only this through (repeatable), such as GET:/repos/*/issues; ** ends a path"
    add("--allow", action="append", default=[], metavar="METHOD:PATH", help=help)
    if command == "exec":
        add("-v", "--verbose", action="store_true", help="write a line for each request to stderr")
    else:
        add("--json", action="store_true", help=_JSON)


def _add_scaffold(parser: _Parser) -> None:
    add = parser.add_argument
    add("app", nargs="?", metavar="APP.json", help="the client file to write (default app.json)")
    _add_client(parser)
    add("--register", action="store_true", help="register a new client with the issuer (RFC 7591)")
    add("--client-name", metavar="NAME", help="the name that the consent page shows, with --register (SlyAPI)")
    add("--initial-token-file", metavar="PATH", help="a token that allows --register, from a file, or - for stdin")
    add("--from", dest="source", metavar="FILE", help="convert Google's download or an RFC 7591 file")
    add("--auth-uri", metavar="URI", help="the authorization endpoint (the consent page)")
    add("--token-uri", metavar="URI", help="the token endpoint")
    add("--redirect-uri", metavar="URI", help="the registered redirect URI")
    add("--client-auth", choices=_CLIENT_AUTH, metavar="METHOD", help=_METHODS)
    add("--machine", action="store_true", help="a client without users: no consent page, no auth_uri")
    add("--blank", action="store_true", help="write the empty template")
    add("--force", action="store_true", help="replace values of a filled-in file")
    add("--json", action="store_true", help=_JSON)


def _add_client(parser: _Parser) -> None:
    add = parser.add_argument
    add("--provider", metavar="NAME", help=f"fill in the URIs of one of: {', '.join(PROVIDERS)}")
    add("--issuer", metavar="URL", help="find the URIs in the issuer's metadata (RFC 8414, OpenID)")
    add("--id", metavar="ID", help="the client id")
    add("--secret-file", metavar="PATH", help="read the client secret from a file, or - for stdin")


def _add_account(parser: _Parser, command: str) -> None:
    add = parser.add_argument
    if command != "accounts":
        add("word", metavar="NAME", help="the account; login fills in the URIs where it is the name of a provider")
    if command == "accounts":
        add("--names", action="store_true", help="only the names, one on a line")
    elif command == "logout":
        add("--client", action="store_true", help="forget the client too: delete the whole account")
        add("--force", action="store_true", help="forget the tokens even if the provider cannot be asked")
    else:
        add("scopes", nargs="*", metavar="SCOPE", help="what the program may do, in addition to what was granted")
        help = "where the API is, and tokens may go (repeatable; paths begin at the first one)"
        add("--api", action="append", default=[], metavar="URL", help=help)
        add("--app", metavar="FILE", help="take over the client in this file")
        _add_client(parser)
        _add_consent(parser)
        add("--force", action="store_true", help="replace the account's client by another one")
    add("--json", action="store_true", help=_JSON)


def _add_grant(parser: _Parser) -> None:
    add = parser.add_argument
    add("words", nargs="*", metavar="APP.json USER.json SCOPE ...", help="what the flags below do not set")
    add("--app", metavar="APP.json", help="the client file")
    add("--user", metavar="USER.json", help="the user file to write; - for stdout")
    add("--store", metavar="URL", help="save in this store instead of a user file, such as sqlite:users.db")
    add("--name", metavar="NAME", help="the user's name in the store")
    _add_consent(parser)
    add("--if-needed", action="store_true", help="keep a valid user, refresh an expired one")
    add("--force", action="store_true", help="replace an existing user")
    add("--json", action="store_true", help=_JSON)


def _add_consent(parser: _Parser) -> None:
    """The flags of how a person is reached."""
    add = parser.add_argument
    add("--scope", action="append", default=[], metavar="SCOPE", help="request this scope (repeatable)")
    add("--redirect-uri", metavar="URI", help="the registered redirect URI, sent byte for byte")
    add("--port", type=_port, metavar="N", help="listen on this port (0: any free one)")
    add("--bind", metavar="ADDR", help="listen on this address, such as 0.0.0.0 in a container")
    add("--timeout", type=_seconds, metavar="SEC", help="give up after SEC seconds (300; a device's code: its life)")
    add("--no-browser", action="store_true", help="print the address of the consent page, do not open it")
    add("--paste", action="store_true", help="do not listen; read the final address from stdin")
    add("--param", action="append", default=[], metavar="K=V", help="add to the URL of the consent page (repeatable)")
    add("--token-param", action="append", default=[], metavar="K=V", help="add to each token request (repeatable)")
    add("--client-auth", choices=_CLIENT_AUTH, metavar="METHOD", help=_METHODS)
    add("--device", action="store_true", help="show a code to enter on another device (RFC 8628)")
    add("--resource", metavar="URL", help="find provider and client from this API's URL; APP.json is made if missing")
    add("--client-credentials", action="store_true", help="a token of the program itself, without a user")


def _method(text: str) -> str:
    if not re.fullmatch("[A-Za-z]+", text):
        raise argparse.ArgumentTypeError("a method is a word such as GET")
    return text.upper()


def _proxy(text: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+/?", text):
        raise argparse.ArgumentTypeError("a proxy is an address such as http://proxy.example:3128")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _days(text: str) -> float:
    return _number(text, "a number of days is 0 or more", 0, 1e6)


def _seconds(text: str) -> float:
    return _number(text, "a time is a number of seconds above 0", 1e-9, 1e9)


def _number(text: str, rule: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not low <= value < high:
        raise argparse.ArgumentTypeError(rule)
    return value
