"""Limits: how many calls of one API may be under way, and how fast they may follow each other.

The rule: first come, first served; a cancelled waiter takes nothing; nobody waits longer than `max_wait`.
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

from .errors import PASSES_WITH_TIME, ConfigError, LimitError
from .web.events import waits
from .web.messages import Request, retry_after

__all__ = ["Limits"]

_LOGGED_WAIT = 1.0
"""Seconds from which on a wait is logged."""


class Limits:
    """One budget of requests, shared by all that hold this object: clients, tasks, threads with loops of their own.

    `concurrent`: requests under way at once. `per_second`: requests per second, `burst` of them at once after
    a rest. `respect_headers`: also apply what the provider's headers report (`quota_from_headers`). `max_wait`:
    seconds that a request waits for its turn at most; longer is a `LimitError`, at once if the wait is known.
    Each request counts, also the one repeated after a 401; token requests do not.
    A forked child starts with a new budget: processes do not share one.
    """

    def __init__(
        self,
        *,
        concurrent: int | None = None,
        per_second: float | None = None,
        burst: int = 1,
        respect_headers: bool = False,
        max_wait: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.concurrent: int | None = concurrent
        self.per_second: float | None = per_second
        self.burst: int = burst
        self.respect_headers: bool = respect_headers
        self.max_wait: float = max_wait
        if (concurrent is not None and concurrent < 1) or burst < 1 or not max_wait >= 0:  # `not`: NaN too
            raise ConfigError("Limits needs concurrent >= 1, burst >= 1 and max_wait >= 0.")
        if per_second is not None and not per_second > 0:
            raise ConfigError("Limits needs per_second > 0; 0.1 is one request in ten seconds.")
        if concurrent is None and per_second is None and not respect_headers:
            raise ConfigError("Limits limits nothing: give concurrent, per_second or respect_headers=True.")
        self._clock, self._wall, self._sleep = clock, wall, sleep
        self._start()

    def __repr__(self) -> str:
        rate = f"concurrent={self.concurrent}, per_second={self.per_second}, burst={self.burst}"
        return f"Limits({rate}, respect_headers={self.respect_headers}, max_wait={self.max_wait:g})"

    def _start(self) -> None:
        # re-entrant: the garbage collector may close a waiting coroutine while this thread holds the guard
        self._guard = threading.RLock()
        self._process = os.getpid()
        self._bucket = Bucket(self.per_second, self.burst)
        self._named = NamedQuotas()
        self._queue: deque[_Waiter] = deque()
        self._under_way = 0

    async def wait(self, request: Request) -> None:
        """Waits for a turn; call `release` once for each. `request` is for messages. Raises `LimitError`."""
        if os.getpid() != self._process:
            self._start()
        if self._named:
            await self._pass_named(request)
        with self._guard:
            first = self._first() is None
            wait = self._bucket.wait(self._clock(), len(self._queue))
            if wait > self.max_wait:
                raise self._refusal(request, wait)
            if first and not wait and self._free():
                return self._take()
            waiter = _Waiter()
            self._queue.append(waiter)
        if wait >= _LOGGED_WAIT:
            waits(request, wait)
        try:
            async with asyncio.timeout(self.max_wait):
                return await self._take_in_turn(waiter)
        except TimeoutError:
            raise self._refusal(request, None) from None

    def release(self) -> None:
        """Ends a turn."""
        if self._process == os.getpid():  # else the parent's turn, whose guard another thread may hold for ever
            with self._guard:
                self._under_way -= 1
                self._wake_first()

    async def _pass_named(self, request: Request) -> None:
        """Waits for the quota of the request's endpoint, outside the queue: no other endpoint waits for it."""
        last = self._clock() + self.max_wait
        while True:
            with self._guard:
                now = self._clock()
                bucket = self._named.of(request)
                wait = bucket.wait(now) if bucket is not None else 0.0
                if bucket is not None and not wait:
                    bucket.take(now)
            if not wait:
                return
            if now + wait > last:
                raise self._refusal(request, wait)
            if wait >= _LOGGED_WAIT:
                waits(request, wait)
            await self._sleep(wait)

    def update(self, headers: Mapping[str, str], status: int, request: Request | None = None) -> None:
        """Applies the quota that a reply to `request` reports, with `respect_headers`; call it before `release`."""
        if not self.respect_headers or self._process != os.getpid():
            return
        quota = quota_from_headers(headers, status, self._wall())
        name = quota_name(headers, quota)
        with self._guard:
            if request is not None and name:
                self._named.learn(request, name).update(quota, self._clock(), 0)
            else:
                self._bucket.update(quota, self._clock(), self._under_way - 1)

    async def _take_in_turn(self, waiter: "_Waiter") -> None:
        """Waits in the queue; only the first waiter waits for time to pass or a turn to end."""
        try:
            while True:
                waiter.woken.clear()
                with self._guard:
                    first = self._first() is waiter
                    wait = self._bucket.wait(self._clock()) if first else 0.0
                    if first and not wait and self._free():
                        return self._take()
                await (self._sleep(wait) if wait else waiter.woken.wait())
        finally:
            with self._guard:
                if waiter in self._queue:
                    self._queue.remove(waiter)
                self._wake_first()

    def _free(self) -> bool:
        return self.concurrent is None or self._under_way < self.concurrent

    def _take(self) -> None:
        self._bucket.take(self._clock())
        self._under_way += 1

    def _first(self) -> "_Waiter | None":
        while self._queue and self._queue[0].loop.is_closed():
            self._queue.popleft()
        return self._queue[0] if self._queue else None

    def _wake_first(self) -> None:
        while (first := self._first()) is not None:
            with suppress(RuntimeError):  # its loop closed just now
                first.loop.call_soon_threadsafe(first.woken.set)
                return

    def _refusal(self, request: Request, wait: float | None) -> LimitError:
        problem = f"would have to wait {wait:.1f} s" if wait is not None else f"had no turn within {self.max_wait:g} s"
        return LimitError(
            f"{request.name} {problem} by the limits of this client (max_wait={self.max_wait:g}); it was not sent.",
            next_step="Send fewer requests at once, or raise Limits.max_wait.",
            retry_after=wait,
        )


class _Waiter:
    """A place in the queue, in its own event loop."""

    __slots__ = ("loop", "woken")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.woken = asyncio.Event()


# --- the rate ---

_LONGEST_HOLD = 3600.0
"""Seconds that a provider's quota holds requests back at most: a header may be wrong."""
_INSTANT = 1e-6
"""Shorter waits count as none: sums of times are inexact, and a timer would fire at once."""


class Quota(NamedTuple):
    """What a provider reports: `left` more requests within the next `reset` seconds."""

    left: int
    reset: float


class Bucket:
    """So many requests per second, and `burst` of them at once after a rest (a leaky bucket as a meter).

    A provider's quota holds requests back until it resets, but no longer than an hour.
    """

    __slots__ = ("_burst", "_full_at", "_interval", "_left", "_resets_at")

    def __init__(self, per_second: float | None, burst: int) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._burst = burst
        self._full_at = -math.inf  # when an unused bucket is full again
        self._left: int | None = None  # of the provider's quota, until `_resets_at`
        self._resets_at = -math.inf

    def wait(self, now: float, ahead: int = 0) -> float:
        """Seconds until one more may be taken, after the `ahead` that are waiting."""
        paced = max(now, self._full_at) + (ahead + 1 - self._burst) * self._interval - now if self._interval else 0.0
        held = self._resets_at - now if self._left is not None and self._left <= ahead else 0.0
        wait = max(paced, held)
        return wait if wait > _INSTANT else 0.0

    def take(self, now: float) -> None:
        """Counts a request that goes out now."""
        self._full_at = max(now, self._full_at) + self._interval
        if self._resets_at <= now:
            self._left = None
        if self._left is not None:
            self._left -= 1

    def update(self, quota: Quota | None, now: float, under_way: int) -> None:
        """Applies a reply's quota, which may not yet count `under_way` further requests."""
        if quota is None:
            return
        left, resets_at = max(0, quota.left - under_way), now + min(quota.reset, _LONGEST_HOLD)
        if self._left is not None and self._resets_at > now and self._left <= 0 < left and resets_at <= self._resets_at:
            return  # an older reply that arrived late
        self._left, self._resets_at = left, resets_at


class NamedQuotas:
    """The quotas that an API names, and which endpoints count to each, as its replies say.

    An endpoint that is new counts to the quota that a reply below the same path named last.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], tuple[str, Bucket]] = {}
        """The quota of each endpoint, and of each beginning of its path, by its name."""

    def __len__(self) -> int:
        return len(self._known)

    def of(self, request: Request) -> Bucket | None:
        """The quota of the request's endpoint; None where nothing is known of its path."""
        return next((self._known[one][1] for one in _beginnings(request) if one in self._known), None)

    def learn(self, request: Request, name: str) -> Bucket:
        """The quota to which the request's endpoint counts."""
        bucket = next((bucket for known, bucket in self._known.values() if known == name), None) or Bucket(None, 1)
        for one in _beginnings(request):
            self._known.pop(one, None)
            self._known[one] = name, bucket
        while len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return bucket


_MOST_KNOWN = 1000


def _beginnings(request: Request) -> list[tuple[str, ...]]:
    """The segments of the request's path with its method, then its beginnings, the longest first."""
    path = request.url.partition("?")[0].partition("://")[2].partition("/")[2]
    endpoint = (*path.split("/"), request.method.value)
    return [endpoint[:end] for end in range(len(endpoint), 0, -1)]


# --- what a provider reports ---

_EPOCH = 1e9
"""A larger reset is a point in time, not a number of seconds."""
_MILLISECONDS = 1e11
"""A larger point in time is in milliseconds."""
_LONGEST = 86400.0 * 366
"""Seconds: a longer `Retry-After` is cut to this, a longer reset ignored."""


def quota_from_headers(headers: Mapping[str, str], status: int, wall: float) -> Quota | None:
    """The quota that a reply reports, the scarcest if it reports several; None without one.

    Reads `Retry-After` of a 503 or a 4xx that passes; `RateLimit-Remaining` and `-Reset`, with `X-` or without;
    `X-RateLimit-Remaining` with `-Reset-After` (Discord) or `-Reset`, in seconds or as a point in time (GitHub, X).
    `wall` (epoch seconds) is for a reply without `Date`.
    """
    wait = retry_after(headers, wall)
    refused = status in PASSES_WITH_TIME or status == 503
    quotas = [] if wait is None or not refused else [Quota(0, min(wait, _LONGEST))]
    for prefix in ("RateLimit", "X-RateLimit", "X-Rate-Limit"):
        left = _number(headers.get(f"{prefix}-Remaining"))
        reset = _number(headers.get(f"{prefix}-Reset-After"))
        if reset is None:
            reset = _from_now(_number(headers.get(f"{prefix}-Reset")), headers, wall)
        quotas += _plausible(left, reset)
    return min(quotas, key=lambda quota: (quota.left, -quota.reset), default=None)


def quota_name(headers: Mapping[str, str], quota: Quota | None) -> str | None:
    """The name of the quota that a reply reports (GitHub's resource, Discord's bucket); None for one of all endpoints.

    A refusal although something is left of the named quota is about another limit, such as GitHub's secondary one.
    """
    everywhere = "global" in headers.get("X-RateLimit-Scope", "").lower() or "X-RateLimit-Global" in headers
    if everywhere or (quota is not None and quota.left < (_number(headers.get("X-RateLimit-Remaining")) or 0)):
        return None
    return headers.get("X-RateLimit-Resource") or headers.get("X-RateLimit-Bucket")


def _plausible(left: float | None, reset: float | None) -> list[Quota]:
    return [Quota(int(left), reset)] if left is not None and reset is not None and reset <= _LONGEST else []


def _number(text: str | None) -> float | None:
    """A header's number, if it is not negative."""
    found = re.match(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*(?:$|[,;])", text) if text else None
    return float(found[1]) if found else None


def _from_now(reset: float | None, headers: Mapping[str, str], wall: float) -> float | None:
    if reset is None or reset < _EPOCH:
        return reset
    with suppress(KeyError, ValueError, TypeError, OverflowError):
        wall = parsedate_to_datetime(headers["Date"]).timestamp()  # the reset is by the server's clock
    return max(0.0, (reset / 1000 if reset > _MILLISECONDS else reset) - wall)
