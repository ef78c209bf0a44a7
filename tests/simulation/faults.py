"""What goes wrong: each fault by a name, so that a failing run can be told in words and replayed.

The rule: a fault strikes one operation, just before it happens or (`after`) between its effect and the moment
when the program hears of it.
"""

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.simulation import redis_seam
from tests.simulation.universe import Op

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

STORE = ("load", "save", "replace", "lock")
WRITES = ("save", "replace", "set", "swap")
REDIS = ("get", "set", "swap", "lease", "release")
ALL = (*STORE, *REDIS, "token", "reply", "api", "thread", "delete", "revoke")
LEASE = 30.0
"""Seconds for which a leased lock outlives a holder that does not renew it."""
Strike = Callable[["Scenario", Op], None]


@dataclass(frozen=True)
class Fault:
    """One kind of fault, and the operations that it can strike."""

    name: str
    labels: tuple[str, ...]
    strike: Strike
    after: bool = False


@dataclass
class Refusal:
    """Operations that fail: the next `times`, or all until `until`."""

    labels: tuple[str, ...]
    error: Callable[[Any], BaseException]
    times: int = 0
    until: float = 0.0

    def applies(self, op: Op, now: float) -> bool:
        if op.label not in self.labels or (self.times <= 0 and now >= self.until):
            return False
        self.times -= 1
        return True


def os_error(name: str) -> OSError:
    """The error of the system's by that name."""
    number = getattr(errno, name)
    return OSError(number, name)


def _raising(make: Callable[[Any], BaseException]) -> Callable[[Op], Callable[[], Any]]:
    def act(op: Op) -> Callable[[], Any]:
        def fail() -> None:
            raise make(op.world.sly)

        return fail

    return act


SAVE_ERRORS: dict[str, Callable[[Any], BaseException]] = {
    "transient": lambda sly: sly.errors.SaveError("The store is away.", kind="transient"),
    "SaveError": lambda sly: sly.errors.SaveError("The disk is full."),
    "ENOSPC": lambda sly: os_error("ENOSPC"),
    "EBUSY": lambda sly: os_error("EBUSY"),
    "EROFS": lambda sly: os_error("EROFS"),
    "RuntimeError": lambda sly: RuntimeError("a store's own"),
    "CancelledError": lambda sly: asyncio.CancelledError(),
}
LOAD_ERRORS: dict[str, Callable[[Any], BaseException]] = {
    "NetworkError": lambda sly: sly.errors.NetworkError("The store is away."),
    "UnavailableError": lambda sly: sly.errors.UnavailableError("The file gives an error of the system."),
    "EIO": lambda sly: os_error("EIO"),
    "RuntimeError": lambda sly: RuntimeError("a store's own"),
    "CancelledError": lambda sly: asyncio.CancelledError(),
}
LOCK_ERRORS: dict[str, Callable[[Any], BaseException]] = {
    "EMFILE": lambda sly: os_error("EMFILE"),
    "NetworkError": lambda sly: sly.errors.NetworkError("The store is away."),
    "CancelledError": lambda sly: asyncio.CancelledError(),
}


def _refuse(labels: tuple[str, ...], make: Callable[[Any], BaseException], times: int, seconds: float) -> Strike:
    def strike(scenario: "Scenario", op: Op) -> None:
        refusal = Refusal(labels, make, times, scenario.universe.now + seconds if seconds else 0.0)
        scenario.refusals.append(refusal)
        if seconds:
            scenario.saves_work_from = max(scenario.saves_work_from, refusal.until)

    return strike


def refused(scenario: "Scenario", op: Op) -> bool:
    """Whether a refusal in force strikes the operation, which then fails."""
    for refusal in scenario.refusals:
        if refusal.applies(op, scenario.universe.now):
            if op.label in (*STORE, *REDIS):
                scenario.saves_work_from = max(scenario.saves_work_from, scenario.universe.now)
            op.act = _raising(refusal.error)(op)
            return True
    return False


def _call(fail: Callable[[], Exception], sly: Any) -> Exception:
    return fail()


def _crash(scenario: "Scenario", op: Op) -> None:
    op.world.crash()


def _cancel_call(scenario: "Scenario", op: Op) -> None:
    for call in op.world.calls:
        if call.task is not None and not call.task.done() and call.started:
            scenario.universe.say(f"{op.world.name}: call {call.number} is cancelled")
            call.task.cancel()
            return


def _cancel_task(scenario: "Scenario", op: Op) -> None:
    # a task that `all_tasks` does not list is out of reach; what can be cancelled then is every task of the library
    listed = asyncio.all_tasks(op.world.loop)
    library = [task for task in listed if task.get_coro().__qualname__.startswith("Refresh")]  # type: ignore[union-attr]
    tasks = [op.task] if op.task in listed else sorted(library, key=lambda task: task.get_name())
    for task in tasks:
        if task is not None:
            scenario.universe.say(f"{op.world.name}: a task is cancelled at {op!r}")
            scenario.provider.cancelled_tasks += 1
            task.cancel()


def _end(how: str) -> Strike:
    def strike(scenario: "Scenario", op: Op) -> None:
        op.world.end(how)

    return strike


def _pause(seconds: float, *, suspended: bool = False) -> Strike:
    def strike(scenario: "Scenario", op: Op) -> None:
        scenario.pause(op.world, seconds, suspended=suspended)

    return strike


def _late(seconds: float) -> Strike:
    def strike(scenario: "Scenario", op: Op) -> None:
        op.not_before = scenario.universe.now + seconds
        if op.label in (*STORE, *REDIS, "thread"):
            scenario.saves_work_from = max(scenario.saves_work_from, op.not_before)

    return strike


def _reply_lost(scenario: "Scenario", op: Op) -> None:
    act = op.act

    def lose() -> None:
        _, rotation = act()
        if rotation is not None:
            rotation.excuse = "its reply was lost"
        raise aiohttp.ServerDisconnectedError

    op.act = lose


def _not_sent(scenario: "Scenario", op: Op) -> None:
    op.act = _raising(lambda sly: aiohttp.ServerDisconnectedError())(op)


def answer(status: int, body: bytes, wait: float = 0.0) -> Strike:
    def strike(scenario: "Scenario", op: Op) -> None:
        def answer() -> Any:
            if (status, body) in ENDING.values():
                scenario.provider.ended.add(op.world.name)
            reply = status, {"Retry-After": f"{wait:g}"} if wait else {}, body
            return (reply, None) if op.label == "token" else reply

        op.act = answer

    return strike


def _storm(scenario: "Scenario", op: Op) -> None:
    scenario.provider.storm_until = scenario.universe.now + 60.0


def _save_answer_lost(scenario: "Scenario", op: Op) -> None:
    act = op.act

    def lose() -> None:
        act()
        raise op.world.sly.errors.SaveError("No answer. Whether it was carried out is not known.", kind="transient")

    op.act = lose


def _save_answer_lost_and_away(seconds: float) -> Strike:
    """The store saves, and is away before it answers."""

    def strike(scenario: "Scenario", op: Op) -> None:
        act = op.act
        fail = partial(_call, redis_seam.ERRORS["connection"])

        def lose() -> None:
            act()
            _refuse((op.label,), fail, 0, seconds)(scenario, op)
            raise fail(op.world.sly)

        op.act = lose

    return strike


def _jump(seconds: float) -> Strike:
    def strike(scenario: "Scenario", op: Op) -> None:
        scenario.universe.say(f"{op.world.name}: the clock jumps by {seconds:g} s")
        op.world.process.clock_offset += seconds

    return strike


def _admin_deletes(scenario: "Scenario", op: Op) -> None:
    scenario.admin_deletes()


def _admin_grants(scenario: "Scenario", op: Op) -> None:
    scenario.admin_grants()


def _admin_notes(scenario: "Scenario", op: Op) -> None:
    scenario.admin_notes()


def _admin_rewrites(scenario: "Scenario", op: Op) -> None:
    scenario.admin_rewrites()


def _other_person(*, ended: bool) -> Strike:
    def strike(scenario: "Scenario", op: Op) -> None:
        scenario.other_person(ended=ended)

    return strike


def _full(make: Callable[[Any], BaseException], seconds: float) -> Strike:
    def strike(scenario: "Scenario", op: Op) -> None:
        scenario.full(seconds)
        scenario.refusals.append(Refusal(WRITES, make, 0, scenario.full_until))

    return strike


def _end_twice(scenario: "Scenario", op: Op) -> None:
    op.world.end("run")
    scenario.universe.later.append((scenario.universe.now + 1.0, op.world.interrupt))


PASSING: dict[str, tuple[int, bytes]] = {
    "400 rate limit": (400, b'{"error":"rate_limit_exceeded","error_description":"Too many requests"}'),
    "403 rate limit": (403, b'{"error":{"code":403,"message":"Rate limit exceeded"}}'),
    "408": (408, b""),
    "413 page": (413, b"<html>"),
    "421": (421, b""),
    "431": (431, b""),
    "502 page": (502, b"<html>"),
    "internal error": (200, b'{"ok":false,"error":"internal_error"}'),
}
"""Refusals of a refresh that may pass: none of them says that the grant is over."""
ENDING: dict[str, tuple[int, bytes]] = {
    "plain": (400, b'{"error":"invalid_grant"}'),
    "Fitbit": (400, b'{"errors":[{"errorType":"invalid_grant","message":"Refresh token invalid"}],"success":false}'),
    "Strava": (400, b'{"message":"Bad Request","errors":[{"resource":"RefreshToken","code":"invalid"}]}'),
}
"""Refusals that say that it is."""
DISK_ERRORS: dict[str, tuple[str, ...]] = {
    "open": ("EMFILE", "EIO", "EACCES"),
    "read": ("EIO",),
    "write": ("ENOSPC", "EIO"),
    "fsync": ("ENOSPC", "EIO"),
    "close": ("EIO",),
    "replace": ("EBUSY", "ENOSPC", "EACCES", "EROFS"),
    "flock": ("ENOLCK", "EIO"),
    "stat": ("EIO", "EACCES"),
    "fstat": ("EIO",),
    "unlink": ("EIO", "EROFS"),
}
"""Which errors a system call may fail with."""
FULL = "refuses writes"
DISK_FAULTS = ("once", "3 times", "for 3 s", "for 70 s", "kill", "power cut", FULL)
"""How a system call goes wrong; the first four by an error of `DISK_ERRORS`, the last by one of `REFUSED_BY`."""
REFUSED_BY = {"ENOSPC": ("write",), "EDQUOT": ("create", "write"), "EROFS": ("create",), "EBUSY": ("replace",)}
"""The calls by which a disk refuses to save for a while, by their error."""


def _all() -> list[Fault]:
    faults: list[Fault] = []

    def add(name: str, labels: tuple[str, ...], strike: Strike, *, both: bool = False) -> None:
        faults.append(Fault(name, labels, strike))
        if both:
            faults.append(Fault(f"{name} after", labels, strike, after=True))

    add("crash", ALL, _crash, both=True)
    add("cancel call", ALL, _cancel_call, both=True)
    add("cancel task", ALL, _cancel_task, both=True)
    add("end run", ALL, _end("run"), both=True)
    add("end twice", ALL, _end_twice)
    add("end close", ALL, _end("close"))
    add("end exit", ALL, _end("exit"))
    add("pause 8", ALL, _pause(8.0))
    add("pause 100", ALL, _pause(100.0), both=True)
    add("suspend 100", ALL, _pause(100.0, suspended=True), both=True)
    for seconds in (8.0, 20.0, 40.0):
        add(f"late {seconds:g}", ("token", "reply", *STORE), _late(seconds))
    add("late thread 20", ("thread", *REDIS), _late(20.0))
    for kinds, labels, what in (
        (SAVE_ERRORS, ("save", "replace"), "save"),
        (LOAD_ERRORS, ("load",), "load"),
        (LOCK_ERRORS, ("lock",), "lock"),
    ):
        for kind, make in kinds.items():
            for times in (1, 3):
                add(f"{what} {kind} x{times}", labels, _refuse(labels, make, times, 0.0))
            for seconds in (3.0,) if kind == "CancelledError" else (3.0, 25.0, 70.0):
                add(f"{what} {kind} {seconds:g}s", labels, _refuse(labels, make, 0, seconds))
    for kind, fail in redis_seam.ERRORS.items():
        for label in REDIS if kind == "connection" else ("set", "swap"):
            make = partial(_call, fail)
            add(f"redis {label} {kind} x1", (label,), _refuse((label,), make, 1, 0.0))
            for seconds in (3.0, 25.0, 70.0):
                add(f"redis {label} {kind} {seconds:g}s", (label,), _refuse((label,), make, 0, seconds))
    add("save answer lost", ("save", "replace"), _save_answer_lost)
    for seconds in (25.0, 70.0):
        # only of a server: the lock on a file ends when it is replaced
        add(f"save answer lost, away {seconds:g}s", ("swap",), _save_answer_lost_and_away(seconds))
    add("reply lost", ("token",), _reply_lost)
    add("not sent", ("token",), _not_sent)
    add("token 429", ("token",), answer(429, b'{"error":"slow_down"}', 60.0))
    add("token 503", ("token",), answer(503, b"<html>", 0.0))
    for kind, (status, body) in PASSING.items():
        add(f"token passing {kind}", ("token",), answer(status, body))
    for kind, (status, body) in ENDING.items():
        add(f"token ending {kind}", ("token",), answer(status, body))
    add("api 429", ("api",), answer(429, b"{}", 60.0))
    add("api 401", ("api",), answer(401, b"{}"))
    add("storm", ("api",), _storm)
    add("clock +7200", ALL, _jump(7200.0))
    add("clock -7200", ALL, _jump(-7200.0))
    add("admin deletes", ALL, _admin_deletes, both=True)
    add("admin grants", ALL, _admin_grants, both=True)
    add("admin notes", ALL, _admin_notes, both=True)
    add("admin rewrites", ALL, _admin_rewrites, both=True)
    add("other person", ALL, _other_person(ended=False), both=True)
    add("other person ended", ALL, _other_person(ended=True), both=True)
    for kind in ("ENOSPC", "EROFS", "EBUSY"):
        add(f"full {kind}", ("lock", "load"), _full(SAVE_ERRORS[kind], 70.0))
    add("full memory", ("lease", "get"), _full(partial(_call, redis_seam.ERRORS["memory"]), 70.0))
    return faults


FAULTS: dict[str, Fault] = {fault.name: fault for fault in _all()}
