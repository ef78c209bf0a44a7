"""Limits: how many calls of one API may be under way, and how fast they may follow each other.

The rule: who came first goes first; who is cancelled leaves nothing taken; nobody waits longer than `max_wait`.
"""

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from .errors import ConfigError, LimitError
from .events import waits
from .rate import Bucket, told_by
from .web import Request

__all__ = ["Limits"]

_WORTH_TELLING = 1.0


class Limits:
    """One budget of requests, shared by all that have this object: clients, tasks, threads with loops of their own.

    `concurrent`: requests under way at once. `per_second`: requests per second, `burst` of them at once after
    a rest. `obey`: also what the provider's headers say is left (`rate.told_by`). `max_wait`: seconds that a
    request waits for its turn at most; longer is a `LimitError`, at once where the wait can be foretold.
    Each request counts, the repetition after a 401 too; those to the token endpoint do not.
    A forked child begins anew: processes do not share a budget.
    """

    def __init__(
        self,
        *,
        concurrent: int | None = None,
        per_second: float | None = None,
        burst: int = 1,
        obey: bool = False,
        max_wait: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        if (concurrent is not None and concurrent < 1) or burst < 1 or not max_wait >= 0:
            raise ConfigError("Limits wants concurrent >= 1, burst >= 1 and max_wait >= 0.")
        if per_second is not None and not per_second > 0:
            raise ConfigError("Limits wants per_second > 0; 0.1 is one request in ten seconds.")
        if concurrent is None and per_second is None and not obey:
            raise ConfigError("Limits limits nothing: give concurrent, per_second or obey=True.")
        self.concurrent, self.per_second, self.burst = concurrent, per_second, burst
        self.obey, self.max_wait = obey, max_wait
        self._clock, self._wall, self._sleep = clock, wall, sleep
        self._begin()

    def __repr__(self) -> str:
        told = f"concurrent={self.concurrent}, per_second={self.per_second}, burst={self.burst}"
        return f"Limits({told}, obey={self.obey}, max_wait={self.max_wait:g})"

    def _begin(self) -> None:
        # re-entrant: the garbage collector may close a coroutine that is in line, in the midst of ours
        self._guard = threading.RLock()
        self._process = os.getpid()
        self._bucket = Bucket(self.per_second, self.burst)
        self._line: deque[_Place] = deque()
        self._out = 0

    async def wait(self, request: Request) -> None:
        """Waits for a turn; whoever got it owes one `release`. `request` is for messages.

        Raises `LimitError`.
        """
        if os.getpid() != self._process:
            self._begin()
        with self._guard:
            first = self._first() is None
            wait = self._bucket.wait(self._clock(), len(self._line))
            if wait > self.max_wait:
                raise self._refusal(request, wait)
            if first and not wait and self._free():
                return self._take()
            place = _Place()
            self._line.append(place)
        if wait >= _WORTH_TELLING:
            waits(request, wait)
        try:
            async with asyncio.timeout(self.max_wait):
                return await self._stand(place)
        except TimeoutError:
            pass
        raise self._refusal(request, None)

    def release(self) -> None:
        """Ends a turn."""
        if self._process == os.getpid():  # else it was the parent's, and a thread of its may hold the guard for ever
            with self._guard:
                self._out -= 1
                self._call_first()

    def hear(self, headers: Mapping[str, str], status: int) -> None:
        """Notes what a reply says of the provider's own limit, if it is to be obeyed; called before `release`."""
        if self.obey and self._process == os.getpid() and (told := told_by(headers, status, self._wall())) is not None:
            with self._guard:
                self._bucket.hear(told, self._clock(), self._out - 1)

    async def _stand(self, place: "_Place") -> None:
        """Waits in line; only the first one waits for time to pass or a turn to end."""
        try:
            while True:
                place.called.clear()
                with self._guard:
                    first = self._first() is place
                    wait = self._bucket.wait(self._clock()) if first else 0.0
                    if first and not wait and self._free():
                        return self._take()
                await (self._sleep(wait) if wait else place.called.wait())
        finally:
            with self._guard:
                if place in self._line:
                    self._line.remove(place)
                self._call_first()

    def _free(self) -> bool:
        return self.concurrent is None or self._out < self.concurrent

    def _take(self) -> None:
        self._bucket.take(self._clock())
        self._out += 1

    def _first(self) -> "_Place | None":
        while self._line and self._line[0].loop.is_closed():
            self._line.popleft()  # nobody goes on there
        return self._line[0] if self._line else None

    def _call_first(self) -> None:
        while (first := self._first()) is not None:
            with suppress(RuntimeError):  # the loop is closed in this moment
                first.loop.call_soon_threadsafe(first.called.set)
                return

    def _refusal(self, request: Request, wait: float | None) -> LimitError:
        told = f"would have to wait {wait:.1f} s" if wait is not None else f"had no turn within {self.max_wait:g} s"
        return LimitError(
            f"{request.name} {told} by the limits of this client (max_wait={self.max_wait:g}); it was not sent.",
            next_step="Ask for less at once, or raise Limits.max_wait.",
            retry_after=wait,
        )


class _Place:
    """One who waits in line, in its own event loop."""

    __slots__ = ("called", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.called = asyncio.Event()
