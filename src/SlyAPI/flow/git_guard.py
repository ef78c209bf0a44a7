"""Warns when git would commit a credentials file, and offers the line in `.gitignore` that prevents it.

The rule: the repository may be a stranger's, so nothing that it configures is run.
"""

import os
import re
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

from ..json_file import NO_LINK, StrPath, display_path
from ..redirect.browser import child_environment, find_program
from ..web.next_steps import quoted
from .console import Console

_TRUST_NOTHING = (
    *("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}"),  # programs that git would run
    *("-c", "safe.bareRepository=explicit", "--no-optional-locks"),  # a bare repository inside an unpacked archive
)


def would_commit(path: StrPath) -> Literal["tracked", "untracked"] | None:
    """`tracked` if git has the file already, `untracked` if the next `git add` would add it, else None."""
    target = Path(os.path.abspath(path))
    if _git(target.parent, "--literal-pathspecs", "ls-files", "--error-unmatch", "--", target.name) == 0:
        return "tracked"
    if _git(target.parent, "rev-parse", "--is-inside-work-tree") != 0:
        return None
    return "untracked" if _git(target.parent, "check-ignore", "-q", "--", target.name) == 1 else None


def _git(folder: Path, *words: str) -> int:
    """git's exit code; -1 if there is no git or no such folder, or it does not answer."""
    environ = child_environment(os.environ, "GIT_")
    environ["GIT_ALLOW_PROTOCOL"] = ""  # else git runs a remote's programs for objects that a partial clone lacks
    program = find_program("git", environ, sys.platform)
    if program is None:
        return -1
    with suppress(OSError, subprocess.SubprocessError):
        ran = subprocess.run(
            [program, *_TRUST_NOTHING, "-C", str(folder), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environ,
            timeout=10,
            check=False,
        )
        return ran.returncode
    return -1


def guard(path: StrPath, console: Console) -> None:
    """Warns if git would commit the file, and on a terminal offers to ignore it."""
    found = would_commit(path)
    if found == "tracked":
        console.say(f"Warning: git tracks {display_path(path)}, which contains a secret. Remove it with:")
        console.say(f"    git rm --cached {quoted(display_path(path))}")
    elif found == "untracked":
        line = ignore_line(path)
        if console.interactive and console.confirm(f"git would commit {display_path(path)}. Add {line} to .gitignore?"):
            _ignore(Path(os.path.abspath(path)).parent / ".gitignore", line, console)
        else:
            console.say(f"Warning: git would commit {display_path(path)}. Add the line {line} to .gitignore.")


def ignore_line(path: StrPath) -> str:
    """The line of `.gitignore`, in the file's own folder, that ignores this one file (gitignore(5))."""
    return "/" + re.sub(r"([\\\[*?]| +$)", r"\\\1", Path(path).name)


def _ignore(file: Path, line: str, console: Console) -> None:
    try:
        with os.fdopen(_opened(file), "r+b") as out:
            before = out.read()
            out.write((b"\n" if before and not before.endswith(b"\n") else b"") + os.fsencode(line) + b"\n")
        console.say(f"Added the line {line} to {display_path(file)}.")
    except (OSError, ValueError):
        console.say(f"{display_path(file)} could not be written. Add the line {line} to it.")


def _opened(file: Path) -> int:
    """The open file, made if there is none. Raises `OSError` for a link, and anything else that is another file's."""
    handle = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | NO_LINK, 0o666)
    status = os.fstat(handle)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        return handle
    os.close(handle)
    raise OSError
