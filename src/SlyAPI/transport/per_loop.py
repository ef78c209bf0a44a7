"""What belongs to one event loop, as connections do: made on first use in it, closed when the loop ends.

The rule: nobody has to close anything where the loop ends as `asyncio.run` ends it. What another process made is left
alone after a fork.
"""

import asyncio
import atexit
import contextlib
import os
import sys
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Generic, TypeVar

from ..errors import ConfigError

T = TypeVar("T")


def without_asyncio() -> ConfigError:
    """The error for a call where no event loop of asyncio runs; names the library that runs instead."""
    known = sys.modules.get("sniffio")
    try:
        running = str(known.current_async_library()) if known else ""
    except Exception:  # sniffio has an error of its own for "none"
        running = ""
    what = f"{running} runs here" if running else "no event loop runs here"
    step = "Run this part on asyncio, for example by trio-asyncio or in a thread of its own with asyncio.run."
    return ConfigError(
        f"SlyAPI needs an event loop of asyncio, but {what}.",
        next_step=step if running else "Call it from a coroutine that asyncio.run runs.",
    )


class PerLoop(Generic[T]):
    """One `T` per event loop; `over`: whether to make it anew; `drop`: ends it where its loop was closed by hand."""

    def __init__(
        self,
        make: Callable[[], T],
        close: Callable[[T], Awaitable[None]],
        over: Callable[[T], bool] = lambda _: False,
        drop: Callable[[T], None] | None = None,
    ) -> None:
        self._make, self._close, self._over, self._drop = make, close, over, drop
        self._held: dict[asyncio.AbstractEventLoop, _Open[T]] = {}
        # `_held` outlives us: the garbage collector would otherwise find what is open in a cycle
        # (error -> traceback -> frame -> api) together with us, and call it unclosed.
        weakref.finalize(self, _close_soon, self._held).atexit = False

    def get(self) -> T:
        """The running loop's. Raises `ConfigError` where no asyncio loop runs."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise without_asyncio() from None
        held = self._held.get(loop)
        if held is None or self._over(held.it) or held.process != os.getpid():
            for ended in [other for other in list(self._held) if other.is_closed()]:
                self._held.pop(ended, None)  # None: another thread's loop may do the same now
            held = self._held[loop] = _Open(loop, self._make, self._close)
            if self._drop is not None:
                held.on_closed_loop(self._drop)
        return held.it

    def held(self) -> T | None:
        """The running loop's, if this process has made one."""
        held = self._held.get(asyncio.get_running_loop())
        return held.it if held is not None and held.process == os.getpid() else None

    async def close(self) -> None:
        """Closes the running loop's; the next use makes a new one."""
        held = self._held.pop(asyncio.get_running_loop(), None)
        if held is not None and held.process == os.getpid():
            await held.close()


class _Open(Generic[T]):
    """One `T` from its first use to its end."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, make: Callable[[], T], close: Callable[[T], Awaitable[None]]
    ) -> None:
        self.loop, self.process, self._close = loop, os.getpid(), close
        self.closing: asyncio.Task[None] | None = None
        self._timer: weakref.ref[asyncio.TimerHandle] | None = None
        # asyncio closes every begun async generator at the end of its loop (`shutdown_asyncgens`). Begun by hand,
        # since nobody can await here.
        self._holder = _hold(make, close)
        try:
            self._holder.__anext__().send(None)
        except StopIteration as begun:
            self.it: T = begun.value
        _OPEN.add(self)

    def on_closed_loop(self, drop: Callable[[T], None]) -> None:
        """Calls `drop` when the loop is closed while this is open: then the loop lets its timers go."""
        it, loop = self.it, self.loop

        def on_gone() -> None:
            if loop.is_closed():
                _OPEN.discard(self)
                drop(it)

        timer = _NeverDue()
        weakref.finalize(timer, on_gone).atexit = False
        self._timer = weakref.ref(loop.call_later(_NEVER, timer))

    async def close(self) -> None:
        if self._timer is not None and (timer := self._timer()) is not None:
            timer.cancel()
        await self._close(self.it)
        with contextlib.suppress(RuntimeError):  # asyncio is closing it just now
            await self._holder.aclose()
        _OPEN.discard(self)

    def close_as_task(self) -> None:
        self.closing = self.loop.create_task(self.close())


async def _hold(make: Callable[[], T], close: Callable[[T], Awaitable[None]]) -> AsyncGenerator[T, None]:
    it = make()
    try:
        yield it
    finally:
        await close(it)


class _NeverDue:
    """Held by nobody but a timer of the loop."""

    def __call__(self) -> None:
        pass


_NEVER = 3e8  # seconds

_OPEN: set[_Open[Any]] = set()


def _close_soon(held: dict[asyncio.AbstractEventLoop, _Open[Any]]) -> None:
    """Closes what nobody can reach any more; called by the garbage collector, so in any thread."""
    for loop, left in held.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(left.close_as_task)


@atexit.register
def _close_all() -> None:
    """Closes what is open in loops that were never closed (`get_event_loop().run_until_complete(...)`)."""
    for left in list(_OPEN):
        # after a fork the loop's selector is the parent's too, who goes on with it
        if left.process == os.getpid() and not left.loop.is_running() and not left.loop.is_closed():
            left.loop.run_until_complete(_close_last(left))


async def _close_last(left: _Open[Any]) -> None:
    if left.closing is not None:
        await asyncio.wait([left.closing])
    await left.close()
