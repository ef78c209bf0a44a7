"""How many token requests are sent at once, however many users' tokens expire together.

The rule: each event loop has a count of its own, a request that waits too long is not sent, and an endpoint that has
not answered lately gets a few requests first.
"""

import asyncio
from collections import deque
from contextvars import ContextVar
from time import get_clock_info
from typing import Self

from ...errors import RequestTimeoutError
from ...web.urls import bare_url

TOKEN_REQUESTS = 20
"""Token requests that one event loop sends at once."""
FIRST = 4
"""Requests that are sent at once to an endpoint that has not answered well for `ANSWERED` seconds."""
ANSWERED = 10.0
FIRST_ANSWER = 1.0
"""Seconds for which the others wait for one of these."""
_TICK = get_clock_info("monotonic").resolution
"""Seconds by which an event loop runs a timer early at most: 1/64 on Windows."""
WITHOUT_REQUEST = 2.0
"""Seconds after which a refresh that still waits for another program's lock keeps nobody waiting."""


class RequestSlots:
    """The slots of one client, for each event loop."""

    def __init__(self) -> None:
        self._loops: dict[asyncio.AbstractEventLoop, _Slots] = {}

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()  # a copy counts for itself

    def slot(self, uri: str, most: int, timeout: float) -> "Slot":
        """Waits for one of `most` places, unless inside `within`. Raises `RequestTimeoutError` after `timeout` s."""
        return Slot(self._of_loop(), uri, most, timeout)

    def within(self) -> None:
        """Says that the current task has a slot, which was taken for it."""
        _has_slot.set(True)

    def succeeded(self) -> None:
        """The endpoint answered well."""
        slots = self._of_loop()
        slots.answered_at = slots.loop.time()

    def _of_loop(self) -> "_Slots":
        loop = asyncio.get_running_loop()
        slots = self._loops.get(loop)
        if slots is None:
            for ended in [other for other in list(self._loops) if other.is_closed()]:
                self._loops.pop(ended, None)
            slots = self._loops[loop] = _Slots(loop)
        return slots


class _Slots:
    """The requests of one client that are under way in one event loop, and those that wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        self.under_way: int = 0
        self.waiting: deque[asyncio.Future[bool]] = deque()
        self.answered_at: float = -ANSWERED
        self.began_at: float = -ANSWERED

    def limit(self, most: int) -> int:
        now = self.loop.time()
        waited = self.under_way > 0 and now + _TICK >= self.began_at + FIRST_ANSWER
        known = waited or now < self.answered_at + ANSWERED
        return most if known else min(FIRST, most)

    async def wait(self, most: int, end: float) -> bool:
        """Takes a slot; False where there is none until `end`."""
        if self.under_way < self.limit(most):
            self._take(most)
            return True
        waiter: asyncio.Future[bool] = self.loop.create_future()
        self.waiting.append(waiter)
        timer = self.loop.call_at(end, _answer, waiter, False)
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and waiter.result():  # it got the slot just now
                self.leave(most)
            raise
        finally:
            timer.cancel()

    def leave(self, most: int) -> None:
        self.under_way -= 1
        self._give(most)

    def _take(self, most: int) -> None:
        if self.under_way == 0:
            self.began_at = self.loop.time()
            self.loop.call_at(self.began_at + FIRST_ANSWER, self._give, most)
        self.under_way += 1

    def _give(self, most: int) -> None:
        """Gives the free slots to those who wait, the longest first."""
        while self.waiting and self.under_way < self.limit(most):
            waiter = self.waiting.popleft()
            if not waiter.done():
                self._take(most)
                waiter.set_result(True)


def _answer(waiter: "asyncio.Future[bool]", answer: bool) -> None:
    if not waiter.done():
        waiter.set_result(answer)


class Slot:
    """One place among the requests under way, while its block runs or until `leave`."""

    def __init__(self, slots: _Slots, uri: str, most: int, timeout: float) -> None:
        self._slots, self._uri, self._most, self._timeout = slots, uri, most, timeout
        self._counts = False
        self._timer: asyncio.TimerHandle | None = None
        self.left: float = timeout
        """Seconds left of the timeout when the slot was taken."""

    async def __aenter__(self) -> "Slot":
        if _has_slot.get():
            return self
        loop = self._slots.loop
        end = loop.time() + self._timeout
        if not await self._slots.wait(self._most, end):
            asked = f"POST {bare_url(self._uri)}"
            message = f"{asked} was not sent: for {self._timeout:g} s, {self._slots.under_way} others were under way."
            raise RequestTimeoutError(message, next_step="Try again later.")
        self._counts = True
        self.left = max(end - loop.time(), self._timeout / 10)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def leave_after(self, seconds: float) -> None:
        """Gives the place back in a while, unless `stay` comes first."""
        self._timer = self._slots.loop.call_later(seconds, self.leave)

    def stay(self) -> None:
        """Keeps the place until `leave`."""
        if self._timer is not None:
            self._timer.cancel()

    def leave(self) -> None:
        """Gives the place back, once the reply is here."""
        self.stay()
        if self._counts:
            self._counts = False
            self._slots.leave(self._most)


_has_slot: ContextVar[bool] = ContextVar("has_slot", default=False)
