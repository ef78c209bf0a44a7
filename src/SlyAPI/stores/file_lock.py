"""A lock between processes that its holder's death frees: `flock` on a file.

The rule: asked for without blocking, so that a waiting task can be cancelled and nothing hangs for ever.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from ..json_file import StrPath
from .contract import ThreadLocks, patiently

fcntl: Any = None
with suppress(ImportError):  # Windows has none: there a lock holds within the process alone
    import fcntl

_within_process = ThreadLocks()
_held: set[int] = set()
"""Handles of locks held by this process."""


@asynccontextmanager
async def file_lock(path: StrPath, *, temporary: bool = False) -> AsyncGenerator[None, None]:
    """Holds the lock on the file at `path`; goes on without it after `LOCK_PATIENCE`.

    A `temporary` file is made for the lock and taken away after it. Another one is not made: where it
    does not exist, or its folder knows no locks (some NFS), the lock holds within this process alone.
    """
    async with _within_process.lock(os.path.realpath(path)):  # noqa: ASYNC240 - a look at names, no wait
        handles: list[int] = []
        await patiently(lambda: _try(path, temporary, handles))
        _held.update(handles)
        try:
            yield
        finally:
            for handle in handles:
                if handle in _held:  # else a fork has let go of it
                    _held.discard(handle)
                    _release(path, handle, temporary)


def _release(path: StrPath, handle: int, temporary: bool) -> None:
    if temporary:
        with suppress(OSError):  # before the handle closes: who waits finds that the name is gone, and asks anew
            os.unlink(path)
    os.close(handle)


def _try(path: StrPath, temporary: bool, handles: list[int]) -> bool:
    """Whether there is nothing to wait for: the lock is had (its handle in `handles`), or none can be had.

    A file may be replaced or taken away while its lock is waited for; a lock on what has lost the
    name counts for nothing.
    """
    if fcntl is None:
        return True
    flags = os.O_CLOEXEC | os.O_NONBLOCK | (os.O_RDWR | os.O_CREAT if temporary else os.O_RDONLY)
    try:
        handle = os.open(path, flags, 0o600)
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), os.stat(path)):
            handles.append(handle)
            return True
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(handle)
        return True
    os.close(handle)
    return False


def _let_go_after_fork() -> None:
    """A child shares its parent's locks as long as it holds their handles: it must not."""
    for handle in _held:
        with suppress(OSError):
            os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_after_fork)
