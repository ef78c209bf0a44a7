"""Whether git would commit a credentials file, and the line in `.gitignore` that prevents it."""

import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Literal

from ..json_file import StrPath, display_path
from .console import Console


def would_commit(path: StrPath) -> Literal["tracked", "untracked"] | None:
    """`tracked` if git has the file already, `untracked` if the next `git add` would take it, else None."""
    target = Path(os.path.abspath(path))
    if _git(target.parent, "--literal-pathspecs", "ls-files", "--error-unmatch", "--", target.name) == 0:
        return "tracked"
    if _git(target.parent, "rev-parse", "--is-inside-work-tree") != 0:
        return None
    return "untracked" if _git(target.parent, "check-ignore", "-q", "--", target.name) == 1 else None


def _git(folder: Path, *words: str) -> int:
    """git's exit code; -1 where there is no git, no such folder or no answer."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    with suppress(OSError, subprocess.SubprocessError):
        ran = subprocess.run(
            ["git", "-C", str(folder), *words],
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
    """Says so if git would commit the file, and on a terminal offers to have it ignored."""
    found = would_commit(path)
    if found == "tracked":
        console.say(f"Careful: git tracks {display_path(path)}, which holds a secret. Take it out with:")
        console.say(f"    git rm --cached {display_path(path)}")
    elif found == "untracked":
        line = "/" + re.sub(r"([\\\[*?]| +$)", r"\\\1", Path(path).name)  # gitignore(5): what is no plain character
        if console.interactive and console.confirm(f"git would commit {display_path(path)}. Add {line} to .gitignore?"):
            _ignore(Path(os.path.abspath(path)).parent / ".gitignore", line, console)
        else:
            console.say(f"Careful: git would commit {display_path(path)}; add the line {line} to .gitignore.")


def _ignore(file: Path, line: str, console: Console) -> None:
    try:
        before = file.read_text() if file.exists() else ""
        with file.open("a") as out:
            out.write(("" if before.endswith("\n") or not before else "\n") + line + "\n")
        console.say(f"{display_path(file)} has the line {line} now.")
    except (OSError, ValueError):
        console.say(f"{display_path(file)} could not be written; add the line {line} to it.")
