"""What the simulation has found and nobody has repaired yet, each class with a run that shows it.

The rule: a run may break an invariant only as a row here says; `test_orders.py` holds each row as a strict
expected failure, so that a repair fails there until its row is deleted, and then no run may break it any more.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.explore import Found
from tests.simulation.faults import FULL, REFUSED_BY
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
    # No clock of Python's counts the sleep, cannot be set, and is there on all systems.
    Known(
        "a machine sleeps between lock and request while its clock is set back, so that no clock shows the lease's end",
        3,
        lambda found, problem: (
            problem.startswith(("sent twice", "stored"))
            and _struck(found, "line suspend", "suspend")
            and _struck(found, "clock -")
        ),
    ),
    # A mistake of the judge: the later of two faults at one system call takes the place of the first, which is over.
    Known(
        "a disk that refuses writes works again because another fault of the same call took the place of that one",
        3,
        lambda found, problem: (
            problem.startswith("unwritable") and sum(name.startswith("disk") for name in found.result.faults) > 1
        ),
    ),
)


MENDED: dict[str, Plan] = {
    "a pause between lock and request, longer than the lease": Plan(store="leased", line=1),
    "a machine that is suspended between lock and request": Plan(store="redis", line=1, suspended=True),
    "a file that a program without a lock rewrites": Plan(store="disk", fault="admin rewrites", latency=2.0),
    "a user file that is deleted amid a refresh": Plan(store="disk", objects="file", fault="admin deletes"),
    "programs that lack the same machine token": Plan(store="disk", objects="machine", starts=((0.0,),) * 4),
    "another person's login amid a refresh": Plan(fault="other person ended", starts=((0.0, 20.0), (0.0,))),
    "a client file of another client": Plan(client="id"),
    "a client file of another provider": Plan(client="endpoint"),
    **{
        f"a store that refuses to save: {plan.store} {plan.fault or plan.disk_error}": plan
        for plan in (
            Plan(fault="full ENOSPC"),
            Plan(store="leased", fault="full EROFS"),
            Plan(store="redis", fault="full memory"),
            *(Plan(store="disk", disk_fault=FULL, disk_error=error) for error in REFUSED_BY if error != "EROFS"),
        )
    },
    **{
        f"a signer made by {how}": Plan(objects=how, works=("revoke",), starts=((0.0, 3.0),))
        for how in ("deepcopy", "pickle", "pickled list")
    },
}
"""What was found once, with a plan that showed it."""


def unknown(found: Found) -> list[str]:
    """The broken invariants of a run that no row explains."""
    return [problem for problem in found.result.problems if not any(known.explains(found, problem) for known in KNOWN)]


def known_as(found: Found) -> str:
    """The first row that explains a failing run; empty where some of it is new."""
    if unknown(found):
        return ""
    return next((known.name for known in KNOWN if any(known.explains(found, p) for p in found.result.problems)), "")
