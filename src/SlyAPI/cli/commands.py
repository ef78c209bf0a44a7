"""The commands, the text of `--help`, and calls with only file names; `arguments` reads all others. Pure.

The rule: imports nothing expensive, because `--help` and `show` wait for it.
"""

import re
import sys
from collections.abc import Sequence
from types import SimpleNamespace

from ..flow.terminal import HARD_SPACE, columns, table, wrapped
from ..web.next_steps import PROGRAM

EXIT_CODES = """\
exit codes:
  0 done; 1 internal error; 2 usage, or a value is missing and nobody can be
  asked; 3 client or user file (or stdout) unusable; 4 denied by the user or
  the provider; 5 timed out; 6 the token endpoint refused; 7 network or TLS;
  8 cannot listen on the port; 9 would overwrite a file; 10 an API answered
  with a 4xx status (call); 11 an API answered with a 5xx status, or with
  what cannot be read (call); 130 Ctrl-C or SIGTERM."""
_HELP_WIDTH = 79

COMMANDS = {
    "scaffold": "write a client file (a wizard without arguments)",
    "grant": "have one user consent in a browser (a wizard without arguments)",
    "login": "make an account: client, person and API by one name",
    "accounts": "list the accounts",
    "logout": "end an account's grant at the provider and forget its tokens",
    "show": "show a user's scopes and expiry, without secrets",
    "token": "print a valid access token, refreshed if due",
    "call": "make one signed request; the reply goes to stdout",
    "serve": "sign requests of other programs, which get a pass and no token",
    "exec": "run a program with such a pass in its environment",
    "refresh": "refresh a user's tokens now",
    "revoke": "end the grant at the provider and delete the user's tokens",
    "doctor": "check a set-up point by point: files, network, clock, scopes",
    "completion": "print a script that completes commands and flags in a shell",
    "demo": "scaffold, grant and call an API, against a practice provider",
    "new": "write the project of a new API client, with tests",
}
FILES: dict[str, tuple[str, ...]] = {
    "show": ("user",),
    "token": ("app", "user"),
    "refresh": ("app", "user"),
    "revoke": ("app", "user"),
}
"""The files of the commands that need nothing but files."""
TOKEN_FORMS = ("text", "json", "header", "git", "xoauth2", "exec-credential")
OFFLINE = ("show", "accounts", "completion", "demo", "new")
_DESCRIPTION = "Call web APIs as a user: write a client file, have the user consent once, keep the grant."


def plain_call(argv: Sequence[str]) -> SimpleNamespace | str | None:
    """Help, version, or a command with file names alone, without argparse, which takes long to set up; else None."""
    command = argv[0] if argv else "--help"
    if command in ("-h", "--help") or argv == ["help"]:
        return _help()
    if command == "--version":
        from importlib.metadata import version  # expensive: searches the installed packages

        return f"SlyAPI {version('SlyAPI')}"
    names, files = FILES.get(command, ()), [word for word in argv[1:] if word != "--json"]
    if not names or len(files) != len(names) or any(word.startswith("-") for word in files):
        return None
    values = dict(zip(names, files, strict=True)) | dict.fromkeys(("store", "name"))
    values |= {"expiring": None} if command == "show" else {"proxy": None}
    values |= {"form": "text", "address": None, "operation": None} if command == "token" else {}
    values |= {"json": "--json" in argv, "only_words": "--json" not in argv}
    return SimpleNamespace(command=command, kind="oauth2", older=False, bare=False, after_dashes=[], **values)


def _help() -> str:
    """The help of the whole program; argparse would make a parser for each command."""
    width = help_width()
    rows = [(f"  {name}", text) for name, text in COMMANDS.items()]
    lines = [f"usage: {PROGRAM} COMMAND ...", "", *wrapped(_DESCRIPTION, width), ""]
    lines += ["commands:", *table(rows, 14, width)]
    rows = [("  -h, --help", "this help; after a command, its own help"), ("  --version", "the version")]
    return "\n".join([*lines, "", "options:", *table(rows, 14, width), "", exit_codes(width)])


def help_width() -> int:
    """The columns for a page of help: the terminal's, at most 79."""
    return min(columns(sys.stdout) or _HELP_WIDTH, _HELP_WIDTH)


def exit_codes(width: int) -> str:
    """The exit codes as the end of a page of help."""
    heading, *lines = EXIT_CODES.split("\n")
    text = "  " + " ".join(line.strip() for line in lines)
    kept = re.sub(r"( \d+) ", rf"\1{HARD_SPACE}", text)  # a code and its meaning on one line
    return "\n".join([heading, *(line.replace(HARD_SPACE, " ") for line in wrapped(kept, width))])
