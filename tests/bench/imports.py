"""What starting costs: `python -m tests.bench.imports` prints what docs/architecture.md tells of.

Instructions of the whole process under valgrind's callgrind, without which the least CPU of some runs counts.
A first run writes the .pyc files, where Python may.
"""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

NAMES = "WebAPI, OAuth2, OAuth2App, OAuth2User"
RUNS = 15


Row = tuple[str, float, float]
"""What is run, its cost, and how many times that of what it is compared with, which is the row with 1."""


def rows() -> tuple[str, list[Row]]:
    """The unit, and the table."""
    unit, cost = ("million instructions", _instructions) if shutil.which("valgrind") else ("ms of CPU", _cpu)
    table: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        user = Path(folder, "user.json")
        user.write_text(json.dumps({"token": "t", "refresh_token": "r", "expires_at": "2030-01-01T00:00:00Z"}))
        user.chmod(0o600)
        for group in (
            [["-c", "pass"], ["-m", "SlyAPI", "--help"], ["-m", "SlyAPI", "show", str(user)]],
            [["-c", "import aiohttp"], ["-c", "import SlyAPI"], ["-c", f"from SlyAPI import {NAMES}"]],
        ):
            costs = [cost(words) for words in group]
            names = [" ".join(["python", *words]).replace(str(user), "USER.json") for words in group]
            table += [(name, spent, spent / costs[0]) for name, spent in zip(names, costs, strict=True)]
    return unit, table


def _instructions(words: Sequence[str]) -> float:
    _run([sys.executable, *words])
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, *words]
    told = re.search(r"Collected : (\d+)", _run(command))
    assert told
    return int(told[1]) / 1e6


def _cpu(words: Sequence[str]) -> float:
    return min(_cpu_once([sys.executable, *words]) for _ in range(RUNS))


def _cpu_once(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _run(command: list[str]) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONHASHSEED"] = "0"
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120).stderr


def main() -> None:
    """Prints the table, as Markdown."""
    unit, table = rows()
    lines = [f"| what is run | {unit} | times |", "| --- | ---: | ---: |"]
    lines += [f"| `{name}` | {cost:.1f} | {times:.2f} |" for name, cost, times in table]
    sys.stdout.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
