"""What belongs to one event loop, as connections do: made on first use in it, closed when the loop ends.

The rule: nobody has to close anything, and there is no ResourceWarning, whichever way a loop ends; what
another process made is left alone after a fork.
"""

import asyncio
import atexit
import contextlib
import os
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One `T` for each event loop: made by `make`, closed by `close`, made anew where it is `over`."""

    def __init__(
        self, make: Callable[[], T], close: Callable[[T], Awaitable[None]], over: Callable[[T], bool] = lambda _: False
    ) -> None:
        self._make, self._close, self._over = make, close, over
        self._held: dict[asyncio.AbstractEventLoop, _Open[T]] = {}
        # A finalizer, which keeps `_held` alive: the garbage collector would otherwise find what is open
        # in a cycle (error -> traceback -> frame -> api) together with us, and call it unclosed.
        weakref.finalize(self, _close_soon, self._held).atexit = False

    def get(self) -> T:
        """The running loop's. Raises `RuntimeError` where no loop runs."""
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None or self._over(held.it) or held.process != os.getpid():
            for ended in [other for other in list(self._held) if other.is_closed()]:
                self._held.pop(ended, None)  # None: another thread's loop may do the same now
            held = self._held[loop] = _Open(loop, self._make, self._close)
        return held.it

    async def close(self) -> None:
        """Closes the running loop's; the next use makes a new one."""
        held = self._held.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held.close()


class _Open(Generic[T]):
    """One `T` on its way from first use to its end, whoever brings that about."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, make: Callable[[], T], close: Callable[[T], Awaitable[None]]
    ) -> None:
        self.loop = loop
        self.process = os.getpid()
        self.closing: asyncio.Task[None] | None = None
        self._close = close
        # asyncio closes every begun async generator at the end of its loop (`shutdown_asyncgens`): so is
        # what it holds. Begun by hand, since nobody can await here.
        self._holder = _hold(make, close)
        try:
            self._holder.__anext__().send(None)
        except StopIteration as begun:
            self.it: T = begun.value
        _OPEN.add(self)
        _finish_before_close(loop)

    async def close(self) -> None:
        await self._close(self.it)
        with contextlib.suppress(RuntimeError):  # asyncio is closing it just now
            await self._holder.aclose()
        _OPEN.discard(self)

    def close_as_task(self) -> None:
        self.closing = self.loop.create_task(self.close())


_OPEN: set[_Open[Any]] = set()
_LAST: dict[asyncio.Task[Any], int] = {}
"""What no loop is closed without, and in which process it runs."""
LAST_WAIT = 10.0
"""Seconds for which a loop that is closed runs on for these, at most."""
_WATCHED: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


async def _hold(make: Callable[[], T], close: Callable[[T], Awaitable[None]]) -> AsyncGenerator[T, None]:
    it = make()
    try:
        yield it
    finally:
        await close(it)


def _close_soon(held: dict[asyncio.AbstractEventLoop, _Open[Any]]) -> None:
    """Closes what nobody can reach any more; called by the garbage collector, so in any thread."""
    for loop, left in held.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(left.close_as_task)


def _finish_before_close(loop: asyncio.AbstractEventLoop) -> None:
    """Has a loop that is closed without `shutdown_asyncgens` finish first; afterwards nobody could."""
    if loop in _WATCHED:
        return
    _WATCHED.add(loop)
    close = loop.close

    def finish_and_close() -> None:
        _finish(loop)
        close()

    with contextlib.suppress(AttributeError):  # uvloop's lets nobody in
        loop.close = finish_and_close  # type: ignore[method-assign]


def finish_before_close(task: asyncio.Task[Any]) -> None:
    """Has the task's loop run on for it where a program closes the loop sooner."""
    for ended in [other for other in list(_LAST) if other.get_loop().is_closed()]:
        _LAST.pop(ended, None)
    _LAST[task] = os.getpid()
    task.add_done_callback(_forget)
    _finish_before_close(task.get_loop())


def _forget(task: asyncio.Task[Any]) -> None:
    _LAST.pop(task, None)


def _finish(loop: asyncio.AbstractEventLoop) -> None:
    left = [it for it in list(_OPEN) if it.loop is loop]
    last = {task: process for task, process in list(_LAST.items()) if task.get_loop() is loop}
    _OPEN.difference_update(left)
    if any(process != os.getpid() for process in (*last.values(), *(it.process for it in left))):
        return  # after a fork: the loop's selector is the parent's too, who goes on with it
    if (left or last) and not loop.is_running() and not loop.is_closed():
        loop.run_until_complete(_close_each(left, last))


async def _close_each(left: list[_Open[Any]], last: Collection[asyncio.Task[Any]]) -> None:
    if last:
        await asyncio.wait(last, timeout=LAST_WAIT)
    for it in left:
        if it.closing is not None:
            await asyncio.wait([it.closing])
        await it.close()


@atexit.register
def _finish_all() -> None:
    """Closes what is open in loops that were never closed (`get_event_loop().run_until_complete(...)`)."""
    for loop in {it.loop for it in _OPEN} | {task.get_loop() for task in _LAST}:
        with contextlib.suppress(RuntimeError):
            _finish(loop)
