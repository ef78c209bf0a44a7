"""Measures calls in processes of their own: CPU in turn, and instructions under callgrind.

The rule: what is compared is measured in the same run, in turn, and of every figure the least of the rounds counts,
because other load only ever adds.
"""

import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = (sys.executable, "-m", "tests.bench.calls")

Command = Sequence[str]
Case = tuple[str, str]
"""A worker's name, and the mode in it."""


@contextmanager
def server() -> Iterator[str]:
    """A server in a process of its own; its URL."""
    with _process([sys.executable, "-m", "tests.bench.server"]) as process:
        yield _line(process).strip()


def cpu(workers: dict[str, Command], cases: dict[Case, int], rounds: int) -> dict[Case, float]:
    """The least CPU seconds of one call in each case, which is made so many times a round."""
    least: dict[Case, float] = {}
    with ExitStack() as stack:
        url = stack.enter_context(server())
        running = {name: stack.enter_context(_process([*command, url])) for name, command in workers.items()}
        for round_ in range(rounds + 1):
            for case, calls in list(cases.items())[:: -1 if round_ % 2 else 1]:
                spent = _spent(running[case[0]], case[1], calls if round_ else max(1, calls // 10)) / calls
                if round_:  # the first only warms up
                    least[case] = min(spent, least.get(case, spent))
    return {case: least[case] for case in cases}


def has_callgrind() -> bool:
    return shutil.which("valgrind") is not None


def instructions(worker: Command, mode: str, calls: int) -> float:
    """What one call in a mode adds to the instructions of a process, under valgrind.

    The difference of two runs, so that imports and the first call's connection are no part of it.
    """
    with server() as url, ThreadPoolExecutor() as both:
        few, many = both.map(lambda count: _counted([*worker, url, mode, str(count)]), (calls, 3 * calls))
    return (many - few) / (2 * calls)


def peak(run: Callable[[], object]) -> int:
    """Bytes that Python had allocated at most while it ran, beyond those before."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        run()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def _counted(command: Command) -> int:
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    ran = subprocess.run(
        [*valgrind, *command], cwd=ROOT, env=_environment(), capture_output=True, text=True, check=True, timeout=500
    )
    told = re.search(r"Collected : (\d+)", ran.stderr)
    assert told, "callgrind did not tell its count"
    return int(told[1])


def _spent(worker: "subprocess.Popen[str]", mode: str, calls: int) -> float:
    assert worker.stdin
    worker.stdin.write(f"{mode} {calls}\n")
    worker.stdin.flush()
    return float(json.loads(_line(worker))["cpu"])


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended without an answer.")
    return line


@contextmanager
def _process(command: Command) -> Iterator["subprocess.Popen[str]"]:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=_environment(), stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin
        try:
            yield process
        finally:
            process.stdin.close()  # which ends it


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": ""}
