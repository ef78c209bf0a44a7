"""One user in one JSON file, with a lock that other processes respect and that dies with its holder."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from ..json_file import StrPath, read_json_file, write_json_file

LOCK_PATIENCE = 45.0
"""Seconds to wait for another process's refresh (longer than a token request may take), then go on without it."""


class FileEntry:
    """The user file that `grant` wrote and `OAuth2(app, "user.json")` keeps current."""

    def __init__(self, path: StrPath) -> None:
        self.path = os.fspath(path)

    def __repr__(self) -> str:
        return f"FileEntry({self.path!r})"

    async def load(self) -> Any:
        """The JSON value in the file; raises what `read_json_file` raises."""
        return read_json_file(self.path)

    async def save(self, value: dict[str, Any]) -> None:
        """Replaces the file, off the event loop because fsync waits for the disk. Raises `SaveError`."""
        await asyncio.to_thread(write_json_file, self.path, value)

    @asynccontextmanager
    async def lock(self) -> AsyncGenerator[None, None]:
        """Holds the file's lock; goes on without after `LOCK_PATIENCE`, or where files cannot be locked (some NFS)."""
        handle = await self._acquire()
        try:
            yield
        finally:
            if handle is not None:
                os.close(handle)

    async def _acquire(self) -> int | None:
        loop = asyncio.get_running_loop()
        give_up, pause = loop.time() + LOCK_PATIENCE, 0.002
        while True:
            handle = self._try_lock()
            if handle is not None or loop.time() >= give_up:
                return None if handle == _UNLOCKABLE else handle
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.1)

    def _try_lock(self) -> int | None:
        """A handle that holds the lock, None while another process does, `_UNLOCKABLE` where none can be had.

        The lock is on the file itself: no second file is left behind. A save replaces the file, so a
        lock won on what has meanwhile been replaced counts for nothing.
        """
        if fcntl is None:
            return _UNLOCKABLE
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return _UNLOCKABLE
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(self.path)):
                return handle
        except BlockingIOError:
            pass
        except OSError:
            os.close(handle)
            return _UNLOCKABLE
        os.close(handle)
        return None


_UNLOCKABLE = -1

fcntl: Any = None
with suppress(ImportError):  # Windows has none; there one process is the supported case until a store is used
    import fcntl
