"""The scheduler: which world's operation happens next, and when time passes.

The rule: the only freedom is the order of operations on what worlds share (store, disk, provider), and a
`Chooser` has all of it, so that the list of its choices replays a run.
"""

import asyncio
import contextlib
import contextvars
import math
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.loop import VirtualLoop
from tests.simulation.packages import Package

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
        moments = [*self.alarms, *(moment for world in self.worlds if world.alive for moment in world.moments())]
        for op in self.ops:
            if op.world.alive:
                start = max(op.not_before, op.world.paused_until)
                woken = op.wake() if op.wake is not None and op.ready is not None and not op.ready() else None
                moments.append(max(start, woken) if woken is not None else start)
        later = [moment for moment in moments if self.now < moment < math.inf]
        if not later:
            return False
        self.now, self._busy = min(later), 0
        for world in self.worlds:
            if world.awake:
                world.loop.fire()
        return True


def _nothing() -> None:
    return None


@dataclass(eq=False)
class Call:
    """One call of the program's, as its author sees it."""

    number: int
    task: "asyncio.Task[Any] | None" = None
    started: float = 0.0
    ended: float | None = None
    outcome: str = ""
    token_requests: int = 0


OUTSIDE_CALL: contextvars.ContextVar[Call | None] = contextvars.ContextVar("OUTSIDE_CALL", default=None)
"""The call on whose behalf something is done."""


@dataclass(eq=False)
class World:
    """One program: a copy of the package, an event loop, a clock of its own."""

    universe: Universe
    package: Package
    number: int
    name: str = ""
    alive: bool = True
    crashed: bool = False
    paused_until: float = 0.0
    paused_for: float = 0.0
    clock_offset: float = 0.0
    op_count: int = 0
    asked_to_end: float | None = None
    gone: float | None = None
    how: str = "run"
    calls: list[Call] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    before_close: Callable[[], Coroutine[Any, Any, Any]] | None = None
    """What a program that closes its loop by itself runs first: it closes its clients."""
    on_gone: list[Callable[["World"], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = self.name or "ABCDEFGH"[self.number]
        self.loop = VirtualLoop(self)
        self.idle = self.loop.create_future()
        self.context = contextvars.Context()
        self.sly = self.package.sly
        self.tasks: list[asyncio.Task[Any]] = []
        self._stage = 0
        self._closing: asyncio.Task[Any] | None = None
        self.stop: asyncio.Future[Any] = self.loop.create_future()
        self.universe.worlds.append(self)

    @property
    def awake(self) -> bool:
        return self.alive and self.paused_until <= self.universe.now

    def clock(self) -> float:
        """Epoch seconds as this program's machine has them."""
        return 1_800_000_000.0 + self.universe.now + self.clock_offset

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = self.context.run(self.loop.create_task, coroutine)
        self.tasks.append(task)
        return task

    def moments(self) -> list[float]:
        """When time alone changes something here."""
        timer, resumes = self.loop.next_timer(), self.paused_until
        if resumes > self.universe.now:
            return [resumes]
        return [] if timer is None else [timer]

    def pause(self, seconds: float) -> None:
        """Stands still, as a stopped process or a suspended machine does."""
        self.universe.say(f"{self.name} pauses for {seconds:g} s")
        self.paused_until = self.universe.now + seconds
        self.paused_for += seconds

    def crash(self) -> None:
        """Ends at once: nothing of it runs any more."""
        if self.alive:
            self.universe.say(f"{self.name} crashes")
            self.crashed = True
            self._leave()

    def end(self, how: str = "run") -> None:
        """Its main function returns: what follows is what `asyncio.run`, `loop.close` or the interpreter does."""
        if self.alive and self.asked_to_end is None:
            self.universe.say(f"{self.name} ends ({how})")
            self.asked_to_end, self.how = self.universe.now, how
            if how == "run":
                self.loop.running = False  # `asyncio.run` cancels what is left between two runs of its loop
                for task in self._left():
                    task.cancel()
                self.loop.running = True
            self._stage = 2 if how == "run" else 4

    def advance_end(self) -> bool:
        """Takes the next step of an ending program; False where it waits for something, or does not end."""
        if not self._stage or not self.awake or self.loop.ready:
            return False
        if self._stage == 2:
            if self._left():
                return False
            self._closing = self.context.run(self.loop.create_task, self.loop.shutdown_asyncgens())
            self._stage = 3
            return True
        if self._stage == 3 and self._closing is not None and not self._closing.done():
            return False
        self._stage, self.loop.running = 0, False
        self._close()
        return True

    def _close(self) -> None:
        if self.how == "exit":
            for function in reversed(self.package.at_exit):
                function()
        else:
            if self.before_close is not None:
                self.loop.run_until_complete(self.before_close())
            if self.alive:
                self.loop.close()
        if self.alive:
            self.universe.say(f"{self.name} has ended")
            self._leave()

    def _left(self) -> "list[asyncio.Task[Any]]":
        """The tasks that are not done, the oldest first."""
        return sorted(asyncio.all_tasks(self.loop), key=lambda task: (len(task.get_name()), task.get_name()))

    def _leave(self) -> None:
        self.alive, self.gone = False, self.universe.now
        self.universe.ops[:] = [op for op in self.universe.ops if op.world is not self]
        self.loop.ready.clear()
        for told in self.on_gone:
            told(self)

    def sweep(self) -> None:
        """Ends what is left of its coroutines, unheard: the run is over."""
        self.alive = False
        left: list[Any] = [task for task in self.loop.created if not task.done()]
        for task in left:
            task._log_destroy_pending = False
            for _ in range(20):
                try:
                    task.get_coro().close()
                    break
                except BaseException:
                    continue
        self.loop.ready.clear()
        self.loop.timers.clear()
        self.loop._closed = True
