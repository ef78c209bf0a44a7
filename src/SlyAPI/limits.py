"""Limits: how many calls of one API may be under way, and how fast they may follow each other.

The rule: who came first goes first; who is cancelled leaves nothing taken; nobody waits longer than `max_wait`.
"""

import asyncio
import math
import os
import re
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from .errors import ConfigError, LimitError
from .web.events import waits
from .web.messages import Request, retry_after

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


_EPOCH = 1e9
"""A reset beyond this is a moment, not a number of seconds to wait."""
_MILLISECONDS = 1e11
"""A moment beyond this is in milliseconds."""
_LONGEST = 86400.0 * 366
"""No provider means a longer wait: a `Retry-After` is cut to it, a reset beyond it is not believed."""
_INSTANT = 1e-6
"""A shorter wait is none: a sum of times is not exact, and a timer would go off at once."""
_ITEM = re.compile(r'"[^"]*"|[^,]')  # a quoted string may hold the comma that ends an item


class Told(NamedTuple):
    """What a provider says: `left` more requests within the next `reset` seconds."""

    left: int
    reset: float


class Bucket:
    """So many requests per second, and `burst` of them at once after a rest (a leaky bucket as a meter)."""

    __slots__ = ("_burst", "_full_at", "_interval", "_left", "_resets_at")

    def __init__(self, per_second: float | None, burst: int) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._burst = burst
        self._full_at = -math.inf  # when a bucket that nobody takes from will be full again
        self._left: int | None = None  # of what the provider told, until `_resets_at`
        self._resets_at = -math.inf

    def wait(self, now: float, ahead: int = 0) -> float:
        """Seconds until one more may be taken, after the `ahead` that are waiting."""
        paced = max(now, self._full_at) + (ahead + 1 - self._burst) * self._interval - now if self._interval else 0.0
        held = self._resets_at - now if self._left is not None and self._left <= ahead else 0.0
        wait = max(paced, held)
        return wait if wait > _INSTANT else 0.0

    def take(self, now: float) -> None:
        """Notes that a request goes out now."""
        self._full_at = max(now, self._full_at) + self._interval
        if self._resets_at <= now:
            self._left = None
        if self._left is not None:
            self._left -= 1

    def hear(self, told: Told, now: float, out: int) -> None:
        """Notes what a reply said, while `out` further requests are on their way, which it may not know of."""
        left, resets_at = max(0, told.left - out), now + told.reset
        if self._left is not None and self._resets_at > now and self._left <= 0 < left and resets_at <= self._resets_at:
            return  # an older reply that came late
        self._left, self._resets_at = left, resets_at


def told_by(headers: Mapping[str, str], status: int, wall: float) -> Told | None:
    """What a reply says of the provider's limit, the scarcest where it says several; None where it says nothing.

    Reads `Retry-After` of a 429 or 503; `RateLimit` (draft-ietf-httpapi-ratelimit-headers, and its elder form
    with `remaining=`); `RateLimit-Remaining` and `-Reset`; `X-RateLimit-Remaining` with `-Reset-After` (Discord)
    or `-Reset`, in seconds or as a moment (GitHub, X). `wall` (epoch seconds) is for a reply without `Date`.
    """
    wait = retry_after(headers, None if "Date" in headers else wall) if status in (429, 503) else None
    told = [] if wait is None else [Told(0, min(wait, _LONGEST))]
    told += _structured(headers.get("RateLimit", ""))
    for prefix in ("RateLimit", "X-RateLimit", "X-Rate-Limit"):
        left = _number(headers.get(f"{prefix}-Remaining"))
        reset = _number(headers.get(f"{prefix}-Reset-After"))
        if reset is None:
            reset = _from_now(_number(headers.get(f"{prefix}-Reset")), headers, wall)
        told += _believed(left, reset)
    return min(told, key=lambda one: (one.left, -one.reset), default=None)


def _structured(value: str) -> list[Told]:
    """The items of `RateLimit: "burst";r=5;t=30, "daily";r=900;t=4000`, or of `limit=10, remaining=5, reset=30`."""
    if not value:
        return []
    elder = {name: _number(number) for name, number in re.findall(r"\b(remaining|reset)=([^,;\s]{1,20})", value[:1000])}
    pairs = [(elder.get("remaining"), elder.get("reset"))]
    for item in re.findall(rf"(?:{_ITEM.pattern})+", value[:1000]):
        named = {name: _number(number) for name, number in re.findall(r";\s*([rt])=([^,;\s]{1,20})", item)}
        pairs.append((named.get("r"), named.get("t")))
    return [one for left, reset in pairs for one in _believed(left, reset)]


def _believed(left: float | None, reset: float | None) -> list[Told]:
    return [Told(int(left), reset)] if left is not None and reset is not None and reset <= _LONGEST else []


def _number(text: str | None) -> float | None:
    """A number that is not negative, as a header has it."""
    found = re.match(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*(?:$|[,;])", text) if text else None
    return float(found[1]) if found else None


def _from_now(reset: float | None, headers: Mapping[str, str], wall: float) -> float | None:
    if reset is None or reset < _EPOCH:
        return reset
    with suppress(KeyError, ValueError, TypeError, OverflowError):
        wall = parsedate_to_datetime(headers["Date"]).timestamp()  # the reset is by the server's clock
    return max(0.0, (reset / 1000 if reset > _MILLISECONDS else reset) - wall)
