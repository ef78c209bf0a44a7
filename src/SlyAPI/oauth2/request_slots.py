"""How many token requests are sent at once, however many users' tokens expire together.

The rule: each event loop has a count of its own, and a request that waits too long is not sent.
"""

import asyncio
from typing import Self

from ..errors import RequestTimeoutError
from ..web.messages import Request

TOKEN_REQUESTS = 20
"""Token requests that one event loop sends at once."""


class RequestSlots:
    """A semaphore for each event loop."""

    def __init__(self) -> None:
        self._loops: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()  # a copy counts for itself

    def slot(self, request: Request, most: int, timeout: float) -> "Slot":
        """Waits until fewer than `most` are sent; gives the seconds left. Raises `RequestTimeoutError`."""
        loop = asyncio.get_running_loop()
        slots = self._loops.get(loop)
        if slots is None:
            for ended in [other for other in list(self._loops) if other.is_closed()]:
                self._loops.pop(ended, None)
            slots = self._loops[loop] = asyncio.Semaphore(most)
        return Slot(slots, request, most, timeout)


class Slot:
    """One place among the requests under way, while its block runs."""

    def __init__(self, slots: asyncio.Semaphore, request: Request, most: int, timeout: float) -> None:
        self._slots, self._request, self._most, self._timeout = slots, request, most, timeout

    async def __aenter__(self) -> float:
        if not self._slots.locked():
            await self._slots.acquire()  # at once
            return self._timeout
        now = asyncio.get_running_loop().time
        end = now() + self._timeout
        try:
            async with asyncio.timeout_at(end):
                await self._slots.acquire()
        except TimeoutError:
            message = f"{self._request.name} was not sent: for {self._timeout:g} s, {self._most} others were under way."
            raise RequestTimeoutError(message, next_step="Try again later.") from None
        return max(end - now(), self._timeout / 10)

    async def __aexit__(self, *_: object) -> None:
        self._slots.release()
