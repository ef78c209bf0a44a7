"""The scheduler: which world's operation happens next, and when time passes.

The rule: the only freedom is the order of operations on what worlds share (store, disk, provider), and a
`Chooser` has all of it, so that the list of its choices replays a run.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.simulation.worlds import World

BUSY = 1500
"""Callbacks that may run without time passing; beyond, a program is taken for one that spins."""
Footprint = Mapping[str, bool]
"""The shared objects that an operation touches, and whether it changes them."""
EVERYTHING: Footprint = {"*": True}


@dataclass(eq=False, slots=True)
class Op:
    """One operation on something shared, that waits for the universe to let it happen."""

    world: "World"
    number: int
    label: str
    footprint: Footprint
    act: Callable[[], Any]
    future: "asyncio.Future[Any]"
    task: "asyncio.Task[Any] | None"
    ready: Callable[[], bool] | None = None
    wake: Callable[[], float | None] | None = None
    """When it may become ready by time alone."""
    not_before: float = 0.0
    struck: bool = False

    @property
    def key(self) -> tuple[int, int]:
        return self.world.number, self.number

    def __repr__(self) -> str:
        return f"{self.world.name}.{self.label}#{self.number}"


Chooser = Callable[[list[Op]], int]


class Stopped(Exception):
    """A run that cannot go on: all wait for ever, or somebody spins."""


class Universe:
    """Virtual time, the worlds in it, and the operations that wait."""

    def __init__(self, choose: Chooser, now: float = 1_000.0) -> None:
        self.choose = choose
        self.now = now
        self.worlds: list[World] = []
        self.ops: list[Op] = []
        self.trace: list[str] = []
        self.over = False
        self.alarms: list[float] = []
        """Moments at which time must not be passed over."""
        self.strike: Callable[[Op], None] = lambda op: None
        """Called before an operation happens; may change its `act`, delay it, or end its world."""
        self.after: Callable[[Op], None] = lambda op: None
        self.will_strike: Callable[[Op], bool] = lambda op: False
        self.later: list[tuple[float, Callable[[], None]]] = []
        """What happens at a moment by itself."""
        self.stopped: Stopped | None = None
        """Why a run cannot go on, found by a `run` within the run."""
        self.each_callback = False
        """Whether the chooser also decides which world's callback runs: for code that works on shared things itself."""
        self._busy = 0

    def say(self, what: str) -> None:
        """Adds a line to the run's story, which ends when it was judged."""
        if self.over:
            return
        self.trace.append(f"{self.now - 1000.0:8.3f}  {what}")

    # --- operations ---

    def gate(
        self,
        world: "World",
        label: str,
        footprint: Footprint,
        act: Callable[[], Any],
        ready: Callable[[], bool] | None = None,
        wake: Callable[[], float | None] | None = None,
    ) -> Op:
        """Queues an operation; its future has the result once it happened."""
        world.op_count += 1
        task = None
        with contextlib.suppress(RuntimeError):
            task = asyncio.current_task()
        op = Op(world, world.op_count, label, footprint, act, world.loop.create_future(), task, ready, wake)
        if self.will_strike(op):
            op.footprint = EVERYTHING
        self.ops.append(op)
        return op

    async def do(self, world: "World", label: str, footprint: Footprint, act: Callable[[], Any], **more: Any) -> Any:
        """Waits until the operation happened; gives its result, or raises its error."""
        op = self.gate(world, label, footprint, act, **more)
        try:
            good, result = await op.future
        finally:
            if op in self.ops:
                self.ops.remove(op)
        if not good:
            raise result
        return result

    def _perform(self, op: Op) -> None:
        self.strike(op)
        if op not in self.ops or op.not_before > self.now or not op.world.awake:
            return  # its world is gone or pauses, or it is late
        self.ops.remove(op)
        self.say(f"{op!r}")
        try:
            result = True, op.act()
        except BaseException as error:
            result = False, error
            self.say(f"  {op!r} fails: {type(error).__name__}")
        if op.future.done():
            pass
        elif op.label != "thread":
            op.future.set_result(result)
        elif result[0]:
            op.future.set_result(result[1])
        else:
            op.future.set_exception(result[1])
        self.after(op)

    # --- running ---

    def run(self, until: Callable[[], bool]) -> None:
        """Runs everything until the condition holds. Raises `Stopped`."""
        while not until():
            if self.stopped is not None:
                raise self.stopped
            if self._step():
                self._busy += 1
                if self._busy > BUSY:
                    raise Stopped("busy: a program goes round without end while no time passes")
                continue
            if any(world.advance_end() for world in self.worlds):
                continue
            enabled = self._enabled()
            if enabled:
                self._busy += 1
                self._perform(enabled[self.choose(enabled)] if len(enabled) > 1 else enabled[0])
                continue
            if not self._pass_time():
                raise Stopped("for ever: something is awaited that nothing will bring")

    def _step(self) -> bool:
        """Runs callbacks of worlds, which nobody else can see; one only, where the chooser says of which world."""
        if self.each_callback:
            able = [world for world in self.worlds if world.awake and world.loop.ready]
            if able:
                steps = [Op(w, 0, "step", EVERYTHING, _nothing, w.idle, None) for w in able]
                able[self.choose(steps) if len(able) > 1 else 0].loop.step()
            return bool(able)
        ran = False
        for world in self.worlds:
            ready = world.loop.ready
            while ready and world.awake:
                world.loop.step()
                ran = True
                self._busy += 1
                if self._busy > BUSY:
                    return True
        return ran

    def _enabled(self) -> list[Op]:
        now = self.now
        found = [
            op
            for op in self.ops
            if op.world.awake and op.not_before <= now and not op.future.done() and (op.ready is None or op.ready())
        ]
        for op in found:
            if not op.footprint:  # it commutes with all others: no order to choose
                return [op]
        return found

    def _pass_time(self) -> bool:
        moments = [*self.alarms, *(moment for moment, _ in self.later)]
        moments += [moment for world in self.worlds for moment in world.moments()]
        for op in self.ops:
            if op.world.alive:
                start = max(op.not_before, op.world.paused_until)
                woken = op.wake() if op.wake is not None and op.ready is not None and not op.ready() else None
                moments.append(max(start, woken) if woken is not None else start)
        later = [moment for moment in moments if self.now < moment < math.inf]
        if not later:
            return False
        self.now, self._busy = min(later), 0
        for what in [what for what in self.later if what[0] <= self.now]:
            self.later.remove(what)
            what[1]()
        for world in self.worlds:
            if world.awake:
                world.loop.fire()
        return True


def _nothing() -> None:
    return None
