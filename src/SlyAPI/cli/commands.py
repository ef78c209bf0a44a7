"""The commands, the words of `--help`, and calls that name nothing but files; `arguments` reads all others. Pure.

The rule: imports nothing, for it is what `python -m SlyAPI --help` and `show` wait for.
"""

from collections.abc import Sequence
from types import SimpleNamespace

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
FILES = {"show": ("user",), "token": ("app", "user"), "refresh": ("app", "user"), "revoke": ("app", "user")}
"""The files that a command may be called with alone."""
ME = "python -m SlyAPI"
_DESCRIPTION = "Call web APIs as a user: make a client file, have the user consent\nonce, keep the grant."


def plain_call(argv: Sequence[str]) -> SimpleNamespace | str | None:
    """The help or the version that is asked for, or a command with its files; None for all else.

    argparse takes longer to get ready than `show` to read a file and tell of it. What it would read
    another way is left to it: a test compares the two.
    """
    command = argv[0] if argv else "--help"
    if command in ("-h", "--help"):
        return _help()
    if command == "--version":
        from importlib.metadata import version  # looks through what is installed

        return f"SlyAPI {version('SlyAPI')}"
    names, files = FILES.get(command, ()), [word for word in argv[1:] if word != "--json"]
    if not names or len(files) != len(names) or any(word.startswith("-") for word in files):
        return None
    told = dict(zip(names, files, strict=True)) | dict.fromkeys(("store", "name"))
    told |= {"expiring": None} if command == "show" else {}
    return SimpleNamespace(command=command, kind="oauth2", bare=False, json="--json" in argv, **told)


def _help() -> str:
    """The help of the whole; written here since argparse would make seven parsers for it."""
    lines = [f"usage: {ME} COMMAND ...", "", _DESCRIPTION, "", "commands:"]
    lines += [f"  {name:<10}{text}" for name, text in COMMANDS.items()]
    lines += ["", "options:", "  -h, --help  this help; behind a command, its own", "  --version   the version"]
    return "\n".join([*lines, "", EXIT_CODES])
