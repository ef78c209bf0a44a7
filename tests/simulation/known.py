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
    """A class of findings; `point` is the one of the plan that repairs it, `plan` and `choices` a run that shows it."""

    name: str
    point: int
    explains: Callable[[Found, str], bool]
    plan: Plan = PLAIN
    choices: tuple[int, ...] = ()


def _struck(found: Found, *prefixes: str) -> bool:
    return any(name.startswith(prefixes) for name in found.result.faults)


def _disk(*calls: str) -> Callable[[Found, str], bool]:
    """Whether an error (not the death of a process) struck one of the system calls."""

    def explains(found: Found, problem: str) -> bool:
        struck = [name.split() for name in found.result.faults if name.startswith("disk")]
        return any(name[1] in calls and "kill" not in name and "power" not in name for name in struck)

    return explains


def _save_refused(found: Found, problem: str) -> bool:
    return any(
        name.startswith("save ") and "transient" not in name and "Cancelled" not in name and "lost" not in name
        for name in found.result.faults
    )


def _cut_at_the_end(found: Found, problem: str) -> bool:
    late = problem.endswith("ended before the save") and _struck(found, "late", "pause", "save transient")
    return problem.endswith("ended before the reply") or late


SAVES = ("save transient", "redis swap")
KNOWN: tuple[Known, ...] = (
    Known(
        "a save refused by any error but a transient SaveError is given up",
        2,
        _save_refused,
        Plan(fault="save SaveError x1", at=7),
    ),
    Known(
        "a save refused for longer than the lock is kept lets another send the spent token",
        2,
        lambda found, problem: any(name.startswith(SAVES) and name.endswith("70s") for name in found.result.faults),
        Plan(fault="save transient 70s", at=7),
    ),
    Known(
        "a program that ends gives a refresh less time than its token request has",
        2,
        _cut_at_the_end,
        Plan(fault="end run after", at=4, latency=20.0),
    ),
    *(
        Known(
            f"a file that cannot be replaced ({error}) is noticed only after the provider was asked",
            3,
            lambda found, problem: problem.startswith("unwritable"),
            Plan(store="disk", starts=((0.0,),), disk_fault="always", disk_error=error),
        )
        for error in ("EBUSY", "EROFS", "EACCES")
    ),
    Known(
        "a read that fails leads to an older token being sent, or to new ones not being saved",
        4,
        lambda found, problem: _struck(found, "load "),
        Plan(fault="load CredentialsError x1", at=6),
    ),
    Known(
        "Redis out of memory: the save is given up",
        2,
        lambda found, problem: _struck(found, "redis swap memory"),
        Plan(store="redis", fault="redis swap memory x1", at=7),
        (0, 0, 0, 1, 1, 1, 1, 1, 1),
    ),
    Known(
        "a system call that fails for a moment while the file is written: the save is given up",
        2,
        _disk("write", "fsync", "replace", "close", "open", "stat", "unlink"),
        Plan(store="disk", disk_fault="once", disk_error="EBUSY", at=25),
    ),
    Known(
        "a system call that fails for a moment while the file is read: new tokens are not saved",
        4,
        _disk("open", "read", "fstat", "close"),
        Plan(store="disk", disk_fault="once", disk_error="EIO", at=15),
    ),
    Known(
        "a lock that the system refuses is taken for one that was had",
        4,
        _disk("flock", "open", "fstat", "stat"),
        Plan(store="disk", disk_fault="once", disk_error="ENOLCK", at=6),
    ),
    Known(
        "a lock on a file that is held for longer than others wait is taken for one that was had",
        4,
        lambda found, problem: found.plan.store == "disk" and _struck(found, "pause 100", "late"),
        Plan(store="disk", fault="pause 100 after", at=2),
    ),
    Known(
        "compare-and-set of a store like a file is two steps",
        5,
        lambda found, problem: problem.startswith("older") and _struck(found, "admin"),
        Plan(fault="admin grants", at=7),
    ),
    Known(
        "CancelledError from a store: spins, or loses the new tokens",
        6,
        lambda found, problem: any("CancelledError" in name for name in found.result.faults),
        Plan(fault="save CancelledError x1", at=7),
    ),
    Known(
        "a refresh is cut short while it saves, by a cancel that comes from no task",
        6,
        lambda found, problem: _struck(found, "cancel task"),
        Plan(fault="cancel task", at=6),
    ),
    Known(
        "an API that refuses new tokens too is answered by refreshes without end",
        6,
        lambda found, problem: "refuses new tokens too" in problem,
        Plan(fault="storm", at=8),
    ),
    Known(
        "a hook that calls the API refreshes from within the refresh, without end",
        6,
        lambda found, problem: bool(found.plan.hook) and ("requests" in problem or problem.startswith("busy")),
        Plan(store="leased", starts=((0.0,),), hook="other", fault="storm", at=8),
    ),
    Known(
        "a program that died with a lock in hand holds up the others for longer than 10 s",
        7,
        lambda found, problem: problem.startswith("dead holder"),
        Plan(store="redis", fault="crash after", at=2),
    ),
    Known(
        "a refusal that may pass is taken for the end of the grant",
        8,
        lambda found, problem: "may pass" in problem,
        Plan(starts=((0.0,),), fault="token passing 400 rate limit", at=4),
    ),
    Known(
        "the end of a grant in a provider's own words is not understood",
        8,
        lambda found, problem: "does not understand" in problem,
        Plan(starts=((0.0,),), fault="token ending Fitbit", at=4),
    ),
    Known(
        "Retry-After of the token endpoint is not remembered",
        6,
        lambda found, problem: "before Retry-After" in problem,
        Plan(starts=((0.0, 3.0),), fault="token 429", at=4),
    ),
    Known(
        "a grant that has ended is asked for again",
        6,
        lambda found, problem: "heard that its grant has ended" in problem,
        Plan(starts=((0.0,), (3.0, 6.0)), fault="crash after", at=4),
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
