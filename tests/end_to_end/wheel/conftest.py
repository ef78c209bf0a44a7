"""The wheel and the sdist as they would be published, and what was installed from them.

The rule: built once and installed once; a package index that cannot be reached is a failure, never a skip.
"""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_SECONDS = 300


@dataclass(frozen=True)
class Built:
    """The two files; the wheel was built from the sdist."""

    sdist: Path
    wheel: Path


@dataclass(frozen=True)
class Installed:
    """A Python that finds the installed package with `env`, and the console script of the installation."""

    python: Path
    script: Path
    env: Mapping[str, str]

    def slyapi(self, *argv: str, folder: Path, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """`python OPTIONS -m SlyAPI ARGV`, to its end."""
        return ran(str(self.python), *options, "-m", "SlyAPI", *argv, folder=folder, env=self.env)


def ran(*command: str, folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A program that has ended, whatever its exit code."""
    return subprocess.run(
        command, cwd=folder, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS
    )


def install(*command: str, folder: Path, **more: str) -> None:
    """Runs an installer with the machine's settings for package indexes, but without a compiler."""
    env = os.environ | {"CC": "/bin/false", "CXX": "/bin/false"} | more
    done = ran(*command, folder=folder, env=env)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def base_python() -> str:
    """The interpreter from which the one of the tests was made, with the standard library alone."""
    return str(getattr(sys, "_base_executable", sys.executable))


def empty_env(home: Path, **more: str) -> dict[str, str]:
    """The environment of a new account; nothing of the checkout is on any path."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **more}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """`python -m build`, which builds the wheel from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    install(sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT), folder=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Built(sdist, wheel)


@pytest.fixture(scope="session")
def target(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package and what it requires, made by `pip install --target` without a compiler."""
    folder = tmp_path_factory.mktemp("target")
    pip = (base_python(), "-m", "pip", "install", "-q", "--only-binary", ":all:")
    install(*pip, "--target", str(folder), str(built.wheel), folder=folder)
    return folder


@pytest.fixture(scope="session")
def uv_venv(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the package, made by uv."""
    folder = tmp_path_factory.mktemp("uv")
    uv = (sys.executable, "-m", "uv")
    install(*uv, "venv", "-q", "--python", base_python(), str(folder / "venv"), folder=folder)
    python = folder / "venv" / "bin" / "python"
    install(*uv, "pip", "install", "-q", "--python", str(python), "--no-build", str(built.wheel), folder=folder)
    return folder / "venv"
