"""How many token requests are sent at once, however many users' tokens expire together.

The rule: each event loop has a count of its own, and a request that waits too long is not sent.
"""

import asyncio
from typing import Self

from ...errors import RequestTimeoutError
from ...web.urls import bare_url

TOKEN_REQUESTS = 20
"""Token requests that one event loop sends at once."""
AHEAD = 2
"""Refreshes that one event loop has at work, for each of these requests: others lock and load, or save, meanwhile."""
TURN = 2.0
"""Seconds after which a refresh that is still at work, such as for another program's lock, keeps nobody waiting."""


class RequestSlots:
    """A semaphore for each event loop."""

    def __init__(self) -> None:
        self._loops: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()  # a copy counts for itself

    def slot(self, uri: str, most: int, timeout: float, longest: float | None = None) -> "Slot":
        """Waits until fewer than `most` are under way; gives the seconds left of `timeout`.

        It counts for `longest` seconds at most (None: for its whole block). Raises `RequestTimeoutError`.
        """
        loop = asyncio.get_running_loop()
        slots = self._loops.get(loop)
        if slots is None:
            for ended in [other for other in list(self._loops) if other.is_closed()]:
                self._loops.pop(ended, None)
            slots = self._loops[loop] = asyncio.Semaphore(most)
        return Slot(slots, uri, most, timeout, longest)


class Slot:
    """One place among those under way, while its block runs."""

    def __init__(
        self, slots: asyncio.Semaphore, uri: str, most: int, timeout: float, longest: float | None = None
    ) -> None:
        self._slots, self._uri, self._most, self._timeout, self._longest = slots, uri, most, timeout, longest
        self._end: asyncio.TimerHandle | None = None
        self._counts = False

    async def __aenter__(self) -> float:
        loop = asyncio.get_running_loop()
        left = self._timeout
        if self._slots.locked():
            end = loop.time() + self._timeout
            try:
                async with asyncio.timeout_at(end):
                    await self._slots.acquire()
            except TimeoutError:
                asked = f"POST {bare_url(self._uri)}"
                message = f"{asked} was not sent: for {self._timeout:g} s, {self._most} others were under way."
                raise RequestTimeoutError(message, next_step="Try again later.") from None
            left = max(end - loop.time(), self._timeout / 10)
        else:
            await self._slots.acquire()  # at once
        self._counts = True
        if self._longest is not None:
            self._end = loop.call_later(self._longest, self._leave)
        return left

    async def __aexit__(self, *_: object) -> None:
        self._leave()
        if self._end is not None:
            self._end.cancel()

    def _leave(self) -> None:
        if self._counts:
            self._counts = False
            self._slots.release()
