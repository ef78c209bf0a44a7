"""An event loop of one simulated program: real asyncio tasks, virtual time, no selector.

The rule: within a program the loop keeps asyncio's promise (callbacks run in the order in which they were
scheduled); everything else, time above all, is decided by the `Universe` that owns the loop.
"""

import asyncio
import heapq
import sys
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.worlds import World


_Loop: Any = asyncio.AbstractEventLoop


class VirtualLoop(_Loop):  # type: ignore[misc]
    """The loop of one world. It runs nothing by itself: `step` runs what is ready, and the universe calls it."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.ready: deque[asyncio.Handle] = deque()
        self.timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self.running = True
        self.remains: list[Any] = []
        """What would have run: kept until the run is judged, for a coroutine that is freed runs on to its end."""
        self._count = 0
        self._closed = False
        self.over = False
        """Whether the run is over, and the loop has lost its world."""
        self.created: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        """All tasks, also those that `asyncio.all_tasks` does not list."""
        self._asyncgens: weakref.WeakSet[Any] = weakref.WeakSet()

    # --- run by the universe ---

    def step(self) -> bool:
        """Runs the oldest ready callback; False where none is ready."""
        if not self.ready:
            return False
        handle = self.ready.popleft()
        if handle.cancelled():
            return True
        before, hooks, tracing = asyncio._get_running_loop(), sys.get_asyncgen_hooks(), sys.gettrace()
        asyncio._set_running_loop(self)
        if self.world.trace is not None:
            sys.settrace(self.world.trace)
        sys.set_asyncgen_hooks(self._asyncgens.add, self._finalize)
        try:
            handle._run()
        finally:
            sys.settrace(tracing)
            sys.set_asyncgen_hooks(*hooks)
            asyncio._set_running_loop(before)
        return True

    def next_timer(self) -> float | None:
        """When the next timer is due, in the universe's seconds."""
        while self.timers and self.timers[0][2].cancelled():
            heapq.heappop(self.timers)
        return self.timers[0][0] + self.world.suspended_for if self.timers else None

    def fire(self) -> None:
        """Makes ready what is due."""
        while (due := self.next_timer()) is not None and due <= self.world.universe.now:
            self.ready.append(heapq.heappop(self.timers)[2])

    def _finalize(self, generator: Any) -> None:
        if not self.over and not self._closed and self.world.alive:
            self.create_task(generator.aclose())

    # --- asyncio's interface ---

    def time(self) -> float:
        return self.world.universe.now - self.world.suspended_for

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:
        if self._closed:
            raise RuntimeError("Event loop is closed")
        handle = asyncio.Handle(callback, args, self, context)
        self.ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        if self._closed:
            raise RuntimeError("Event loop is closed")
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self.timers, (when, self._count, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        if self._closed:
            coro.close()
            raise RuntimeError("Event loop is closed")
        task = asyncio.Task(coro, loop=self, **options)
        self.created.add(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        """A thread's work is one step, which the universe schedules."""
        return self.world.universe.gate(self.world, "thread", {"disk": True}, lambda: func(*args)).future

    def set_default_executor(self, executor: Any) -> None:
        """Has no effect: no world has threads."""

    def run_until_complete(self, future: Any) -> Any:
        """For what runs a loop while it closes it (`loop.close` of a program that called no `asyncio.run`)."""
        if self.running:
            raise RuntimeError("This event loop is already running")
        task = asyncio.ensure_future(future, loop=self)
        self.running = True
        try:
            self.world.universe.run(lambda: task.done() or not self.world.alive)
        finally:
            self.running = False
        return task.result() if task.done() else None

    async def shutdown_asyncgens(self) -> None:
        left = list(self._asyncgens)
        self._asyncgens.clear()
        await asyncio.gather(*(generator.aclose() for generator in left), return_exceptions=True)

    def is_running(self) -> bool:
        return self.running

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        self.remains += [*self.ready, *self.timers]
        self.ready.clear()
        self.timers.clear()

    def close_for_good(self) -> None:
        """Closes it, though the package may have its own `close` in the place of ours."""
        VirtualLoop.close(self)

    def stop(self) -> None:
        self.running = False

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.over:
            self.world.complaints.append(str(context.get("message")))

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)
