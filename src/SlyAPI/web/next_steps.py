"""The commands that messages name: the program as it was run, and words quoted for the user's shell. Pure.

The rule: every command in a message is made here, so that it can be copied as it is.
"""

import re
import sys

_PLAIN_ON_WINDOWS = re.compile(r"[\w.:/\\+=~-]+")


def program_name(started: str, platform: str, *, in_venv: bool) -> str:
    """How to run this command line again. `started` is `sys.argv[0]`, `platform` is `sys.platform`."""
    name = re.split(r"[/\\]", started)[-1].lower()
    if name.removesuffix(".exe") in ("slyapi", "slyapi-script.py"):
        return "slyapi"
    # without a virtual environment, the installer of Windows puts only the launcher `py` on the PATH
    return "py -m SlyAPI" if platform == "win32" and not in_venv else "python -m SlyAPI"


PROGRAM = program_name((getattr(sys, "argv", None) or [""])[0], sys.platform, in_venv=sys.prefix != sys.base_prefix)
"""`slyapi`, or `python -m SlyAPI`."""
PYTHON = PROGRAM.partition(" -m ")[0] if " " in PROGRAM else "python"
"""The interpreter that runs it: `python` or `py`."""
PUBLISHED = False
"""Whether `pip install SlyAPI` brings this SlyAPI. On the day it does, set this to True: messages and new projects
follow, and `tests/docs/test_install_lines.py` lists the lines of the pages that change."""


def quoted(*words: str, windows: bool = sys.platform == "win32") -> str:
    """The words as a shell takes them: of POSIX, or both of Windows (cmd.exe and PowerShell)."""
    if windows:
        return " ".join(map(_quoted_on_windows, words))
    import shlex  # shell prompts run `show`

    return shlex.join(words)


def command(*words: str) -> str:
    """A command line of this program."""
    return f"{PROGRAM} {quoted(*words)}".rstrip()


def install(extra: str, package: str) -> str:
    """The next step where `package`, which the `extra` of SlyAPI brings, is missing."""
    return f"Install it with: pip install {quoted(f'SlyAPI[{extra}]' if PUBLISHED else package)}"


def _quoted_on_windows(word: str) -> str:
    if _PLAIN_ON_WINDOWS.fullmatch(word):
        return word
    # a backslash before a quotation mark escapes it (CommandLineToArgvW)
    return '"' + re.sub(r'(\\*)("|$)', lambda at: at[1] * 2 + at[2].replace('"', '\\"'), word) + '"'
