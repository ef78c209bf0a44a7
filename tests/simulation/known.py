"""What the simulation has found and nobody has repaired yet, each class with a run that shows it.

The rule: a run may break an invariant only as a row here says; `test_orders.py` holds each row as a strict
expected failure, so that a repair fails there until its row is deleted, and then no run may break it any more.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.explore import Found
from tests.simulation.scenario import Plan


@dataclass(frozen=True)
class Known:
    """A class of findings; `point` is the one of the plan that repairs it, `plan` and `choices` a run that shows it."""

    name: str
    point: int
    explains: Callable[[Found, str], bool]
    plan: Plan | None = None
    """None for what takes two faults at once: no run of one fault shows it."""
    choices: tuple[int, ...] = ()


def _struck(found: Found, *prefixes: str) -> bool:
    return any(name.startswith(prefixes) for name in found.result.faults)


# Why it stays: a refresh that is cancelled cannot know whether its program ends or goes on. To go on for longer would
# let a program that waits for its cancelled tasks (`await asyncio.gather(*asyncio.all_tasks())`) hang on a store that
# never works again; to go on beyond the cancelled task, with the lock, would leave it to nobody when the loop closes.
KNOWN: tuple[Known, ...] = (
    Known(
        "a program that cancels all tasks and goes on while its store refuses the save gives up the lock after 5 s",
        2,
        lambda found, problem: (
            problem.startswith(("sent twice", "stored"))
            and _struck(found, "cancel task")
            and _struck(found, "save", "load", "disk", "late", "pause", "redis")
        ),
    ),
    # To report it as a failed save would be worse: the refresh would go on with a lock that ended with the old file.
    Known(
        "a folder cannot be synced after the rename, and the power is cut before the system has written it",
        2,
        lambda found, problem: (
            problem.startswith("stored")
            and _struck(found, "disk open", "disk fsync", "disk close")
            and any(name.endswith("power cut") for name in found.result.faults)
        ),
    ),
)


def unknown(found: Found) -> list[str]:
    """The broken invariants of a run that no row explains."""
    return [problem for problem in found.result.problems if not any(known.explains(found, problem) for known in KNOWN)]


def known_as(found: Found) -> str:
    """The first row that explains a failing run; empty where some of it is new."""
    if unknown(found):
        return ""
    return next((known.name for known in KNOWN if any(known.explains(found, p) for p in found.result.problems)), "")
