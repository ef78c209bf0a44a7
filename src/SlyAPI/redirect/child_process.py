"""Other programs that are started: which file runs, and which environment it gets.

The rule: never a program of the current folder, and never our secrets.
"""
from __future__ import annotations

import ntpath
import os
import posixpath
from collections.abc import Callable, Mapping


def child_environment(environ: Mapping[str, str], *more_prefixes: str) -> dict[str, str]:
    """The environment without `SLYAPI_...`, whose values may be keys and passwords, and without `more_prefixes`.

    In a program frozen by PyInstaller, without the path of the program's own libraries, with which others fail.
    """
    hidden = tuple(prefix.upper() for prefix in ("SLYAPI_", *more_prefixes))
    kept = {name: value for name, value in environ.items() if not name.upper().startswith(hidden)}
    if "_PYI_ARCHIVE_FILE" in environ:  # PyInstaller 6; it keeps the value of before under another name
        before = environ.get("LD_LIBRARY_PATH_ORIG")
        kept = {name: value for name, value in kept.items() if not name.startswith("LD_LIBRARY_PATH")}
        kept |= {"LD_LIBRARY_PATH": before} if before is not None else {}
    return kept


def find_program(
    name: str, environ: Mapping[str, str], platform: str, is_program: Callable[[str], bool] | None = None
) -> str | None:
    """The path of a program in $PATH; None if there is none. A name with a folder in it stays as it is.

    Skips relative folders in $PATH; Windows would even search the current folder first. `platform` is `sys.platform`.
    """
    is_program = is_program or _is_program
    windows = platform == "win32"
    flavour = ntpath if windows else posixpath
    if flavour.dirname(name):
        return name
    endings = ("",) if not windows or name.lower().endswith((".exe", ".com")) else (".exe", ".com")
    for folder in environ.get("PATH", "").split(";" if windows else ":"):
        for ending in endings:
            path: str = flavour.join(folder, name + ending)
            if flavour.isabs(folder) and is_program(path):
                return path
    return None


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
