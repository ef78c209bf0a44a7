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
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = (sys.executable, "-m", "tests.bench.calls")

Command = Sequence[str]
MARK = "getsid"
"""The function of libc that `driving.py` calls before and after a mode's calls."""

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


def instructions(worker: Command, cases: dict[str, int], rounds: int = 3) -> dict[str, float]:
    """Instructions of one call in each mode, which is made so many times a round; all in one process under valgrind."""
    asked = [f"{mode}={count}" for _ in range(rounds) for mode, count in cases.items()]
    with server() as url, tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--dump-before={MARK}"]
        command = [*valgrind, *worker, url, *asked]
        subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, check=True, timeout=1000)
        # odd numbers end what comes before a mode's calls, even ones the calls
        counted = [_total(out.with_suffix(f".{2 * number + 2}")) for number in range(len(asked))]
    least = [min(counted[at :: len(cases)]) for at in range(len(cases))]
    return {mode: each / count for (mode, count), each in zip(cases.items(), least, strict=True)}


def _total(dump: Path) -> int:
    found = re.search(r"^(?:totals|summary): (\d+)", dump.read_text("utf-8"), re.MULTILINE)
    assert found, f"{dump} has no total"
    return int(found[1])


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
