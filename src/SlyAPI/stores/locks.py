"""Locks by name within one process, and how long to wait for a lock.

The rule: a lock is freed when its holder ends, and a thread that waits can be cancelled.
"""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

LOCK_TIMEOUT = 75.0
"""Seconds to wait for the refresh of another task or process, which sends up to two token requests."""


async def poll_until(attempt: Callable[[], bool | Awaitable[bool]], waited: float = 0.0) -> bool:
    """Whether `attempt` returned true within `LOCK_TIMEOUT`, `waited` seconds of which are over; with growing pauses.

    Polling, because a thread that blocks in a lock cannot be cancelled.
    """
    loop = asyncio.get_running_loop()
    give_up, pause = loop.time() + LOCK_TIMEOUT - waited, 0.002
    while True:
        had = attempt()
        if had if isinstance(had, bool) else await had:
            return True
        if loop.time() >= give_up:
            return False
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.1)


class ThreadLocks:
    """A lock for each name, between the tasks, event loops and threads of one process."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._held: set[str] = set()
        self._guard = threading.Lock()
        self._process = os.getpid()

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[None, None]:
        """Holds the lock of `name`; goes on without it after `LOCK_TIMEOUT`."""
        mine, process = await poll_until(lambda: self._take(name)), os.getpid()
        try:
            yield
        finally:
            if mine and process == os.getpid():  # in a forked child the name may be held by the child itself
                self._held.discard(name)

    def _take(self, name: str) -> bool:
        if os.getpid() != self._process:
            self._forget()  # after a fork the holders run in the parent only
        with self._guard:
            if name in self._held:
                return False
            self._held.add(name)
            return True
