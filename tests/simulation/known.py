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
)


# What `heart.md` mends: each row goes when its plan does not fail any more.
def _broken(*invariants: str, by: tuple[str, ...] = ()) -> Callable[[Found, str], bool]:
    return lambda found, problem: problem.startswith(invariants) and (not by or _struck(found, *by))


PAUSES = ("line", "pause 100", "suspend", "pause 8")
KNOWN += (
    Known(
        "a pause between lock and request, longer than the lease, is not noticed",
        3,
        _broken("sent twice", "older", "stored", "bounded", by=PAUSES),
        Plan(store="leased", line=1),
    ),
    Known(
        "a suspended machine does not notice that its lease is over",
        3,
        _broken("sent twice", "older", "stored", "bounded", by=PAUSES),
        Plan(store="redis", line=1, suspended=True),
    ),
    Known(
        "a file that is rewritten by a program without a lock ends the lock",
        3,
        _broken("sent twice", "stored", "older", by=("admin", "other")),
        Plan(store="disk", fault="admin rewrites", latency=2.0),
    ),
    Known(
        "a user file that is deleted amid a refresh ends the lock",
        3,
        _broken("sent twice", "stored", "older", by=("admin", "other")),
        Plan(store="disk", objects="file", fault="admin deletes"),
    ),
    Known(
        "programs that begin with the same missing machine token all ask",
        3,
        _broken("bounded"),
        Plan(store="disk", objects="machine", starts=((0.0,),) * 4),
    ),
    *(
        Known(
            f"a refresh is sent though the store refuses to save: {plan.fault or plan.disk_error}",
            3,
            _broken("unwritable", by=("full", "disk")),
            plan,
        )
        for plan in (
            Plan(fault="full ENOSPC"),
            Plan(store="leased", fault="full EROFS"),
            Plan(store="redis", fault="full memory"),
            *(Plan(store="disk", disk_fault=FULL, disk_error=error) for error in REFUSED_BY if error != "EROFS"),
        )
    ),
    Known(
        "the first person's tokens replace those of another who signed in amid the refresh",
        6,
        _broken("person"),
        Plan(fault="other person ended", starts=((0.0, 20.0), (0.0,))),
    ),
    *(
        Known(f"tokens are sent by a client file of another {client}", 6, _broken("client"), Plan(client=client))
        for client in ("id", "endpoint")
    ),
    *(
        Known(f"a signer made by {how} sends an empty token", 2, _broken("no credential"), plan)
        for how in ("deepcopy", "pickle", "pickled list")
        for plan in [Plan(objects=how, works=("revoke",), starts=((0.0, 3.0),))]
    ),
    Known("many calls or users ask a failing endpoint too often", 4, _broken("crowd", "bounded")),
    Known(
        "a second Ctrl-C loses a refresh in flight",
        7,
        _broken("stored", "sent twice", by=("end twice",)),
        Plan(fault="end twice", latency=2.0),
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
