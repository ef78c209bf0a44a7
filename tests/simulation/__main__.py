"""`python -m tests.simulation`: random runs by the thousand, or one of them again.

    --seeds N     runs seeds 0 to N-1 (from --first), prints each that fails and is not known
    --seed N      runs one seed again, and prints its story
    --all         all orders of two worlds, one refresh and one fault
    --processes N how many processes share the work (2)

Each two thousand seeds are a line, so that a log shows how far a long run is.
"""

import argparse
import logging
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.crowd import run_of
from tests.simulation.explore import Found, all_orders, plans
from tests.simulation.known import known_as, unknown
from tests.simulation.quiet import quiet

CHUNK = 2000
SPINS = 60
"""Seconds after which a run has met a loop that awaits nothing."""
MOST = 100
"""Failures that are printed."""


def run_seeds(first: int, last: int) -> tuple[int, Counter[str], list[tuple[int, str]]]:
    """How many runs there were, the known findings among them, and what is new: the seed and the problems."""
    known: Counter[str] = Counter()
    new: list[tuple[int, str]] = []
    signal.signal(signal.SIGALRM, _spins)
    with quiet():
        for seed in range(first, last):
            signal.alarm(SPINS)
            try:
                found = run_of(seed)
            except Spins as error:
                new.append(
                    (seed, f"busy: a loop that awaits nothing, in {traceback.extract_tb(error.__traceback__)[-2]}")
                )
                continue
            finally:
                signal.alarm(0)
            if not found.result.problems:
                continue
            name = known_as(found)
            if name:
                known[name] += 1
            else:
                new.append((seed, f"{'; '.join(unknown(found))} ({', '.join(found.result.faults)})"))
    return last - first, known, new


class Spins(BaseException):
    """A run does not end, and awaits nothing; the package catches no such error."""


def _spins(*_: object) -> None:
    raise Spins


def _print(found: Found) -> None:
    name = known_as(found)
    print(found)
    print(f"known: {name}" if name else "not known" if found.result.problems else "all invariants hold")


def _chunks(first: int, count: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + count, CHUNK):
        yield start, min(start + CHUNK, first + count)


def _all() -> int:
    runs, known, bad = 0, Counter[str](), 0
    with quiet():
        for found in (found for plan in plans() for found in all_orders(plan)):
            runs += 1
            if found.result.problems:
                name = known_as(found)
                known[name] += 1
                if not name:
                    bad += 1
                    if bad <= 10:
                        print(found)
    print(f"{runs} orders; known findings: {dict(known)}")
    return 1 if bad else 0


def main() -> int:
    """Exit code 1 where an invariant was broken in a way that is not known."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--all", action="store_true")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)  # the copies of the package report at exit what their stores refused
    if given.seed is not None:
        found = run_of(given.seed)
        _print(found)
        return 1 if found.result.problems else 0
    if given.all:
        return _all()
    began, runs, known, bad = time.monotonic(), 0, Counter[str](), 0
    with ProcessPoolExecutor(given.processes) as pool:
        waiting = [pool.submit(run_seeds, *chunk) for chunk in _chunks(given.first, given.seeds)]
        for future in waiting:
            count, some_known, new = future.result()
            runs, bad = runs + count, bad + len(new)
            known += some_known
            for seed, problems in new[: max(0, MOST - bad + len(new))]:
                print(f"--seed {seed}: {problems}", flush=True)
            print(f"{runs} seeds in {time.monotonic() - began:.0f} s, {bad} failed", flush=True)
    seconds = time.monotonic() - began
    print(f"{runs} seeds in {seconds:.0f} s, {bad} failed; known findings met: {dict(known.most_common())}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
