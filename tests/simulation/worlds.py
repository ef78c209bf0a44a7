"""A world: one program with its memory, its clock, its calls, and the ways in which it pauses, dies or ends."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.simulation.loop import VirtualLoop
from tests.simulation.packages import Package

if TYPE_CHECKING:
    from tests.simulation.universe import Universe


@dataclass(eq=False)
class Call:
    """One call of the program's, as its author sees it."""

    number: int
    task: "asyncio.Task[Any] | None" = None
    started: float = 0.0
    ended: float | None = None
    outcome: str = ""
    token_requests: int = 0


EPOCH = 1_800_000_000.0
"""Epoch seconds at the moment 0 of a universe, as the provider has them."""
OUTSIDE_CALL: contextvars.ContextVar[Call | None] = contextvars.ContextVar("OUTSIDE_CALL", default=None)
"""The call on whose behalf something is done."""


@dataclass(eq=False)
class Process:
    """What the event loops of one process share: a copy of the package, a clock, and their end by a crash."""

    package: Package
    clock_offset: float = 0.0
    worlds: "list[World]" = field(default_factory=list)


@dataclass(eq=False)
class World:
    """One program: an event loop in a process, of its own or shared with others (threads, or loops one by one)."""

    universe: "Universe"
    process: Process
    number: int
    name: str = ""
    alive: bool = True
    crashed: bool = False
    paused_until: float = 0.0
    paused_for: float = 0.0
    suspended_for: float = 0.0
    """Seconds by which the loop's clock is behind: it stands still while the machine is suspended."""
    trace: Any = None
    """Is told each line that the world runs (`sys.settrace`), while there is one."""
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
        self.sly = self.process.package.sly
        self.process.worlds.append(self)
        self.tasks: list[asyncio.Task[Any]] = []
        self._stage = 0
        self._closing: asyncio.Task[Any] | None = None
        self.universe.worlds.append(self)

    @property
    def awake(self) -> bool:
        return self.alive and self.paused_until <= self.universe.now

    def clock(self) -> float:
        """Epoch seconds as this program's machine has them."""
        return EPOCH + self.universe.now + self.process.clock_offset

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = self.context.run(self.loop.create_task, coroutine)
        self.tasks.append(task)
        return task

    def moments(self) -> list[float]:
        """When time alone changes something here."""
        if not self.alive:
            return []
        timer, resumes = self.loop.next_timer(), self.paused_until
        if resumes > self.universe.now:
            return [resumes]
        return [] if timer is None else [timer]

    def pause(self, seconds: float, *, suspended: bool = False) -> None:
        """Stands still with its process, as a stopped process or a suspended machine does."""
        for world in self.process.worlds:
            if world.alive:
                self.universe.say(f"{world.name} pauses for {seconds:g} s{', suspended' * suspended}")
                world.paused_until = self.universe.now + seconds
                world.paused_for += seconds
                world.suspended_for += seconds * suspended

    def crash(self) -> None:
        """Ends at once with its process: nothing of it runs any more."""
        for world in self.process.worlds:
            if world.alive:
                self.universe.say(f"{world.name} crashes")
                world.crashed = True
                world._leave()

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

    def interrupt(self) -> None:
        """A second Ctrl-C: `asyncio.run` waits no longer, closes the loop, and the interpreter ends."""
        if self.alive and self.asked_to_end is not None:
            self.universe.say(f"{self.name} is interrupted once more")
            self._stage, self.loop.running = 0, False
            self.loop.close()
            self._end_interpreter()
            self._leave()

    def _end_interpreter(self) -> None:
        for function in reversed(self.process.package.at_exit):
            function()

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
            self._end_interpreter()
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
        self.loop.remains += [*self.universe.ops, *self.loop.ready, *self.loop.timers]
        self.universe.ops[:] = [op for op in self.universe.ops if op.world is not self]
        self.loop.ready.clear()
        for told in self.on_gone:
            told(self)

    def sweep(self) -> None:
        """Ends what is left of its coroutines, unheard: the run is over."""
        self.alive, closed = False, set[Any]()
        asyncio._set_running_loop(self.loop)
        try:
            while left := [task for task in self.loop.created if not task.done() and task not in closed]:
                closed.update(left)
                for task in left:
                    _close(task)
        finally:
            asyncio._set_running_loop(None)
        self.loop.ready.clear()
        self.loop.timers.clear()
        self.loop.close_for_good()
        self.loop.remains.clear()
        self.loop.over = True
        del self.loop.world  # the package keeps what is open by its loop, for as long as its client lives


def _close(task: Any) -> None:
    """Ends the coroutine of a task, though it awaits again while it is closed."""
    task._log_destroy_pending = False
    for _ in range(20):
        try:
            return task.get_coro().close()  # type: ignore[no-any-return]
        except BaseException:  # what it makes of that is not part of the run
            continue
