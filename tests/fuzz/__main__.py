"""A long fuzz run with atheris: `python -m tests.fuzz [--inputs EACH | --total ALL] [TARGET...]`, from the root.

Each target runs in a process of its own, guided by coverage of SlyAPI and begun with its samples. Ends with a
table; exits 1 if there is a finding, whose input is then in .tests/fuzz.
"""
from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FINDINGS = Path(".tests") / "fuzz"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--inputs", type=int, default=150_000, help="how many for each target (default: %(default)s)")
    parser.add_argument("--total", type=int, help="how many for all targets together")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        fuzz(given.targets[0], given.inputs)
    return report(given.targets, given.inputs, given.total)


def fuzz(name: str, inputs: int) -> None:
    """Runs one target; does not come back, because libFuzzer ends the process."""
    atheris: Any = importlib.import_module("atheris")  # not needed for anything else, so not in every environment
    with atheris.instrument_imports(include=["SlyAPI"]):
        targets = importlib.import_module("tests.fuzz.targets")
    target = targets.TARGETS[name]
    corpus = tempfile.mkdtemp()
    for number, sample in enumerate(target.samples):
        Path(corpus, str(number)).write_bytes(sample)
    longest = max(2048, *(2 * len(sample) for sample in target.samples))
    flags = [f"-runs={inputs}", f"-max_len={longest}", "-timeout=10", f"-artifact_prefix={FINDINGS}/{name}-"]
    atheris.Setup([sys.argv[0], *flags, corpus], target.check)
    atheris.Fuzz()


def report(names: list[str], inputs: int, wanted: int | None) -> int:
    """Runs the targets one after the other and prints how each went."""
    from tests.fuzz.targets import TARGETS

    FINDINGS.mkdir(parents=True, exist_ok=True)
    names = names or [*TARGETS]
    if wanted is not None:
        inputs = -(-wanted // len(names))
    total, failed, begun = 0, list[str](), time.monotonic()
    for name in names:
        start = time.monotonic()
        code, output = run(name, inputs)
        done = max(map(int, re.findall(r"^#(\d+)", output, re.M)), default=0)
        covered = max(map(int, re.findall(r"\bcov: (\d+)", output)), default=0)
        seconds, total = time.monotonic() - start, total + done
        outcome = f"FAILED ({code})" if code else "no finding"
        say(f"{name:15} {done:9} inputs {seconds:7.1f} s {covered:5} branches  {outcome}")
        if code:
            failed.append(name)
            say(output[:2000] + output[-2000:])
    say(f"{'total':15} {total:9} inputs {time.monotonic() - begun:7.1f} s, findings in {len(failed)} targets")
    return 1 if failed else 0


def run(name: str, inputs: int) -> tuple[int, str]:
    """The exit code of one target's process, and what it said."""
    words = [sys.executable, "-m", "tests.fuzz", "--alone", "--inputs", str(inputs), name]
    with tempfile.TemporaryDirectory() as place:  # libFuzzer leaves without tidying up
        environ = {**os.environ, "TMPDIR": place}
        ran = subprocess.run(words, env=environ, capture_output=True, text=True, errors="replace", check=False)
    return ran.returncode, ran.stdout + ran.stderr


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
