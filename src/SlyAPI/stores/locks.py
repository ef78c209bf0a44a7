"""Locks by name within one process, and how long to wait for a lock.

The rule: a lock is released when its holder ends, and a task that waits can be cancelled.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable

from ..errors import UnavailableError, printable

LOCK_TIMEOUT = 75.0
"""Seconds to wait for the refresh of another task or process, which sends up to two token requests."""


async def poll_until(attempt: Callable[[], bool | Awaitable[bool]], what: str, timeout: float = LOCK_TIMEOUT) -> None:
    """Polls until `attempt` returns true. Raises `UnavailableError`, which names `what`, after `timeout` seconds."""
    loop = asyncio.get_running_loop()
    give_up, pause = loop.time() + timeout, 0.002
    while True:
        taken = attempt()
        if taken if isinstance(taken, bool) else await taken:
            return
        if loop.time() >= give_up:
            raise UnavailableError(f"{what} is still locked by another task or process.", next_step="Try again later.")
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

    def lock(self, name: str, timeout: float = LOCK_TIMEOUT) -> "_Held":
        """Holds the lock of `name`. Raises `UnavailableError` after `timeout` seconds."""
        return _Held(self, name, timeout)

    def _take(self, name: str) -> bool:
        if os.getpid() != self._process:
            self._forget()  # after a fork the holders run in the parent only
        with self._guard:
            if name in self._held:
                return False
            self._held.add(name)
            return True

    def _free(self, name: str) -> None:
        self._held.discard(name)


class _Held:
    """One lock by name, while its block runs; a class, which costs half of what a generator does."""

    def __init__(self, locks: ThreadLocks, name: str, timeout: float) -> None:
        self._locks, self._name, self._timeout = locks, name, timeout

    async def __aenter__(self) -> None:
        if not self._locks._take(self._name):
            await poll_until(lambda: self._locks._take(self._name), printable(self._name, 80), self._timeout)
        self._process = os.getpid()

    async def __aexit__(self, *_: object) -> None:
        if self._process == os.getpid():  # in a forked child the name may be held by the child itself
            self._locks._free(self._name)
