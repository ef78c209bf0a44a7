"""How many token requests are sent at once, however many users' tokens expire together.

The rule: each event loop has a count of its own, and a request that waits too long is not sent.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
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

    @asynccontextmanager
    async def slot(self, request: Request, most: int, timeout: float) -> AsyncGenerator[float, None]:
        """Waits until fewer than `most` are sent; yields the seconds left. Raises `RequestTimeoutError`."""
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            for ended in [other for other in list(self._loops) if other.is_closed()]:
                self._loops.pop(ended, None)
            self._loops[loop] = asyncio.Semaphore(most)
        slots = self._loops[loop]
        left = timeout
        if slots.locked():
            end = loop.time() + timeout
            try:
                async with asyncio.timeout_at(end):
                    await slots.acquire()
            except TimeoutError:
                message = f"{request.name} was not sent: for {timeout:g} s, {most} others were under way."
                raise RequestTimeoutError(message, next_step="Try again later.") from None
            left = max(end - loop.time(), timeout / 10)
        else:
            await slots.acquire()  # at once
        try:
            yield left
        finally:
            slots.release()
