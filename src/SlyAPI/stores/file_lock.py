"""A lock between processes that its holder's death frees: `flock` on a file.

The rule: asked for without blocking, so that a waiting task can be cancelled and nothing hangs for ever.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from ..json_file import StrPath
from .contract import real_path
from .locks import ThreadLocks, poll_until

fcntl: Any = None
with suppress(ImportError):  # Windows has none: there a lock holds within the process alone
    import fcntl

_within_process = ThreadLocks()
_Handle = tuple[int, int]
"""The process that opened a lock's file, and its number there: a forked child may use the number again."""
_held: set[_Handle] = set()


@asynccontextmanager
async def file_lock(path: StrPath, *, temporary: bool = False) -> AsyncGenerator[None, None]:
    """Holds the lock on the file at `path`; goes on without it after `LOCK_TIMEOUT`.

    A `temporary` file is made for the lock and taken away after it. Another one is not made: where it
    does not exist, or its folder knows no locks (some NFS), the lock holds within this process alone.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with _within_process.lock(real_path(path)):
        handles: list[_Handle] = []
        await poll_until(lambda: _try(path, temporary, handles), loop.time() - began)
        try:
            yield
        finally:
            for handle in handles:
                _release(path, handle, temporary)


def _release(path: StrPath, handle: _Handle, temporary: bool) -> None:
    if handle not in _held:
        return  # a fork has let go of it
    if temporary:
        with suppress(OSError):  # before the handle closes: who waits finds that the name is gone, and asks anew
            os.unlink(path)
    _close(handle)


def _open(path: StrPath, temporary: bool) -> _Handle:
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    if temporary:
        number = os.open(path, flags | os.O_NOFOLLOW | os.O_CREAT | os.O_RDWR, 0o600)
    else:
        try:
            number = os.open(path, flags | os.O_RDWR)  # NFS locks only what is open for writing (flock(2))
        except OSError:
            number = os.open(path, flags | os.O_RDONLY)
    handle = os.getpid(), number
    _held.add(handle)
    return handle


def _close(handle: _Handle) -> None:
    _held.discard(handle)
    with suppress(OSError):  # it is closed whatever close() says (close(2))
        os.close(handle[1])


def _try(path: StrPath, temporary: bool, handles: list[_Handle]) -> bool:
    """Whether there is nothing to wait for: the lock is had (its handle in `handles`), or none can be had.

    A file may be replaced or taken away while its lock is waited for; a lock on what has lost the
    name counts for nothing.
    """
    if fcntl is None:
        return True
    try:
        handle = _open(path, temporary)
    except OSError:
        return True
    try:
        fcntl.flock(handle[1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle[1]), os.stat(path)):
            handles.append(handle)
            return True
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        _close(handle)
        return True
    _close(handle)
    return False


def _let_go_after_fork() -> None:
    """A child shares its parent's locks as long as it holds their handles: it must not."""
    for handle in list(_held):
        _close(handle)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_after_fork)
