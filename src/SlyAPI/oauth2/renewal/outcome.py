"""What the callers of a refresh wait for.

The rule: each caller may be cancelled by itself, and none of them ends the refresh.
"""

import asyncio


class Outcome:
    """What any number of callers wait for; each may be cancelled by itself.

    Wakes them in the next turn of the event loop, which `asyncio.shield` does in the second.
    """

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []
        self._ended = False
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Whether it is known."""
        return self._ended

    def cancelled(self) -> bool:
        """Whether nobody will know it."""
        return isinstance(self._error, asyncio.CancelledError)

    def end(self, error: BaseException | None = None) -> None:
        """Wakes the callers; their `wait` raises the error."""
        self._ended, self._error = True, error
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def ended(self) -> None:
        """Waits for the end, whatever it is."""
        if not self._ended:
            self._waiters.append(asyncio.get_running_loop().create_future())
            await self._waiters[-1]

    async def wait(self) -> None:
        """Waits for the end. Raises its error."""
        await self.ended()
        if self._error is not None:
            raise self._error
