"""How many token requests are under way at once, however many users' tokens expire together.

The rule: an event loop has a count of its own, and who waits too long hears that nothing was sent.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Self

from ..errors import RequestTimeoutError

TOKEN_REQUESTS = 20
"""Token requests that are under way at once in one event loop."""


class Turns:
    """Each event loop's count of what is under way in it."""

    def __init__(self) -> None:
        self._loops: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()  # a copy counts for itself

    @asynccontextmanager
    async def turn(self, name: str, most: int, timeout: float) -> AsyncGenerator[float, None]:
        """Waits until fewer than `most` are under way; gives the seconds left. Raises `RequestTimeoutError`."""
        loop = asyncio.get_running_loop()
        turns = self._loops.get(loop)
        if turns is None:
            for ended in [other for other in list(self._loops) if other.is_closed()]:
                self._loops.pop(ended, None)
            turns = self._loops[loop] = asyncio.Semaphore(most)
        end, waits = loop.time() + timeout, turns.locked()
        try:
            async with asyncio.timeout_at(end):
                await turns.acquire()
        except TimeoutError:
            problem = RequestTimeoutError(
                f"{name} was not sent: for {timeout:g} s, {most} others were under way.", next_step="Try again later."
            )
            raise problem from None
        try:
            yield max(end - loop.time(), timeout / 10) if waits else timeout
        finally:
            turns.release()
