"""What the simulation has found and nobody has repaired yet, each class with a run that shows it.

The rule: a run may break an invariant only as a row here says; `test_findings.py` holds each row as a strict
expected failure, so that a repair fails there until its row is deleted, and then no run may break it any more.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.explore import PLAIN, Found
from tests.simulation.scenario import Plan


@dataclass(frozen=True)
class Known:
    """A class of findings; `point` is the one of the plan that repairs it."""

    name: str
    point: int
    explains: Callable[[Found, str], bool]
    plan: Plan = PLAIN
    choices: tuple[int, ...] = ()
    seed: int | None = None


def _struck(found: Found, *prefixes: str) -> bool:
    return any(name.startswith(prefixes) for name in found.result.faults)


def _disk(*calls: str) -> Callable[[Found, str], bool]:
    """Whether an error (not the death of a process) struck one of the system calls."""

    def explains(found: Found, problem: str) -> bool:
        struck = [name.split() for name in found.result.faults if name.startswith("disk")]
        return any(name[1] in calls and "kill" not in name and "power" not in name for name in struck)

    return explains


KNOWN: tuple[Known, ...] = ()


def unknown(found: Found) -> list[str]:
    """The broken invariants of a run that no row explains."""
    return [problem for problem in found.result.problems if not any(known.explains(found, problem) for known in KNOWN)]


def known_as(found: Found) -> str:
    """The first row that explains a failing run; empty where some of it is new."""
    if unknown(found):
        return ""
    return next((known.name for known in KNOWN if any(known.explains(found, p) for p in found.result.problems)), "")
