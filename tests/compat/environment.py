"""The environment of published libraries: SlySheets and SlyYTDAPI from PyPI, SlyAPI from the working tree.

The rule: made once, kept in `.tests/`, and mended when our source changes. No package index is a failure, never a skip.
"""
from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARIES = ("SlySheets==0.2.3", "SlyYTDAPI==0.4.12")
_BUILD = ("hatchling>=1.26",)


def python_of_the_libraries() -> Path:
    """The interpreter of that environment, which is made where it is missing."""
    place = ROOT / ".tests" / "venv-compat-{}.{}".format(*sys.version_info[:2])
    place.parent.mkdir(exist_ok=True)
    with open(f"{place}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = place / "bin" / "python"
        _unless_done(place / "libraries", " ".join((*LIBRARIES, *_BUILD, sys.version, str(ROOT))), lambda: _make(place))
        _unless_done(place / "ours", _source(), lambda: _install_ours(python))
    return python


def _unless_done(mark: Path, recipe: str, do: object) -> None:
    assert callable(do)
    if not mark.exists() or mark.read_text() != recipe:
        do()
        mark.write_text(recipe)


def _make(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(place))
    # SlySheets and SlyYTDAPI bring a SlyAPI of PyPI along, which ours takes the place of
    _run(str(place / "bin" / "python"), "-m", "pip", "install", "-q", *LIBRARIES, *_BUILD)


def _install_ours(python: Path) -> None:
    """As a user has it: built as a wheel, so that a file which is missing in it is missing here."""
    options = ("--no-build-isolation", "--force-reinstall", "--no-deps")
    _run(str(python), "-m", "pip", "install", "-q", *options, str(ROOT))
    _run(str(python), "-m", "pip", "install", "-q", "SlyAPI")  # what it requires


def _source() -> str:
    told = hashlib.sha256((ROOT / "pyproject.toml").read_bytes())
    for path in sorted((ROOT / "src" / "SlyAPI").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            told.update(f"{path}\0".encode() + path.read_bytes())
    return told.hexdigest()


def _run(*command: str) -> None:
    env = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
