"""A lock between processes that is released when its holder dies: an open file that the system locks.

The rule: a lock is polled for without blocking, so that a waiting task can be cancelled; a lock that cannot be taken
is an error. Only where there is nothing to lock does it hold within the process alone.
"""

import asyncio
import errno
import os
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ..errors import SaveError, UnavailableError
from ..json_file import NO_LINK, NO_WAIT, StrPath, display_path, is_trusted, may_write_in, unavailable
from .contract import real_path
from .locks import LOCK_TIMEOUT, ThreadLocks, poll_until

fcntl: Any = None
msvcrt: Any = None
with suppress(ImportError):
    import fcntl
with suppress(ImportError):
    import msvcrt

WRITE_TRIES, WRITE_PAUSE = 5000, 0.002
"""How often to try for the turn to write in a folder, which others have for milliseconds; seconds between two tries."""


@dataclass(frozen=True)
class SystemLocks:
    """How a system locks open files."""

    take: Callable[[int], None]
    """Locks an open file; raises an `OSError` of `held` if another handle has it."""
    held: frozenset[int]
    beside: bool
    """Whether the lock needs a file of its own, since a locked file cannot be read or replaced."""


def _flock(handle: int) -> None:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def system_locks(fcntl: Any, msvcrt: Any) -> SystemLocks | None:
    """The locks of a system that has these modules: `flock` on Unix, the first byte of a file on Windows."""
    if fcntl is not None:
        return SystemLocks(_flock, frozenset({errno.EWOULDBLOCK, errno.EAGAIN}), beside=False)
    if msvcrt is not None:
        held = frozenset({errno.EACCES, errno.EDEADLK})
        return SystemLocks(lambda handle: msvcrt.locking(handle, msvcrt.LK_NBLCK, 1), held, beside=True)
    return None


SYSTEM = system_locks(fcntl, msvcrt)
_NO_FILE = {errno.ENOENT, errno.ENOTDIR}
"""There is nothing to lock."""
_NO_RIGHT = {errno.EACCES, errno.EPERM, errno.EROFS}
"""No file can be made here, for a lock or for a save (`check_writable`)."""
_NO_LOCKS = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EINVAL}
"""The file system does not support locks, as some NFS."""

_within_process = ThreadLocks()
_Handle = tuple[int, int]
"""The process that opened a lock's file, and its number there: a forked child may use the number again."""
_held: set[_Handle] = set()


@asynccontextmanager
async def file_lock(
    path: StrPath, *, temporary: bool = False, timeout: float = LOCK_TIMEOUT, system: SystemLocks | None = SYSTEM
) -> AsyncGenerator[None, None]:
    """Holds the lock on the file at `path`.

    A `temporary` file is made for the lock and removed after it; another one is not made. Raises
    `UnavailableError` if the lock cannot be taken within `timeout` seconds or if the system refuses it, of kind
    `configuration` for a file or link of another account in its place.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    if system is not None and system.beside and not temporary:
        path, temporary = f"{real_path(path)}.lock", True
    async with _within_process.lock(real_path(path), timeout):
        lock = _Lock(path, temporary, system)
        try:
            await poll_until(lock.take, display_path(path), timeout - (loop.time() - began))
            yield
        finally:
            lock.release()


@contextmanager
def write_turn(folder: str, *, system: SystemLocks | None = SYSTEM) -> Generator[None, None, None]:
    """Held while a file in `folder` is compared and renamed, or deleted; blocks its thread.

    The lock is on the folder itself, or on a temporary file in it. Raises `SaveError` of kind `transient` if it
    cannot be taken.
    """
    beside = system is not None and system.beside
    lock = _Lock(os.path.join(folder, ".slyapi.lock") if beside else folder, beside, system)
    try:
        for _ in range(WRITE_TRIES):
            if lock.take():
                break
            time.sleep(WRITE_PAUSE)
        else:
            raise SaveError(f"{display_path(folder)} is locked by another program.", kind="transient")
    except UnavailableError as error:
        raise SaveError(str(error.args[0]), next_step=error.next_step, kind=error.kind) from None
    try:
        yield
    finally:
        lock.release()


class _Lock:
    """One lock of a file, taken or not."""

    def __init__(self, path: StrPath, temporary: bool, system: SystemLocks | None) -> None:
        self.path, self.temporary, self.system = path, temporary, system
        self.handle: _Handle | None = None

    def take(self) -> bool:
        """Whether there is nothing to wait for: the lock is taken, or there is nothing to lock.

        A file may be replaced or removed while its lock is waited for; a lock on a file that has lost the name does
        not count. Raises `UnavailableError`.
        """
        if self.system is None:
            return True
        try:
            handle = _open(self.path, self.temporary)
        except OSError as error:
            denied = self.temporary and error.errno in _NO_RIGHT
            if error.errno == errno.ELOOP or (denied and os.path.lexists(self.path)):
                raise _foreign(self.path) from None
            if (denied and not may_write_in(os.path.dirname(os.path.abspath(self.path)))) or error.errno in _NO_FILE:
                return True
            raise unavailable(self.path, "locked", error) from None
        try:
            if self._locks(handle[1], self.system):
                self.handle = handle
            return self.handle is not None
        except FileNotFoundError:
            return False
        except _NoLocksError:
            return True
        except OSError as error:
            raise error if isinstance(error, UnavailableError) else unavailable(self.path, "locked", error) from None
        finally:
            if self.handle is None:
                _close(handle)

    def _locks(self, number: int, system: SystemLocks) -> bool:
        """Whether the open file is locked now, and is the one that has the name."""
        try:
            system.take(number)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise _NoLocksError from None
            if error.errno in system.held:
                return False
            raise
        opened = os.fstat(number)
        if self.temporary and not is_trusted(self.path, opened.st_uid):
            raise _foreign(self.path)
        return system.beside or os.path.samestat(opened, os.stat(self.path))

    def release(self) -> None:
        """Releases the lock, unless a fork has done so."""
        if self.handle not in _held or self.handle is None or self.system is None:
            return
        if self.system.beside:  # Windows removes no open file
            _close(self.handle)
        if self.temporary:
            # on Unix before the handle closes: a process that waits finds the name gone, and opens the file anew
            with suppress(OSError):
                os.unlink(self.path)
        if not self.system.beside:
            _close(self.handle)


class _NoLocksError(OSError):
    """The file system does not support locks."""


def _open(path: StrPath, temporary: bool) -> _Handle:
    if temporary:
        number = os.open(path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o600)
    else:
        try:
            number = os.open(path, os.O_RDWR | NO_WAIT)  # NFS locks only what is open for writing (flock(2))
        except OSError:
            number = os.open(path, NO_WAIT)  # to read it
    handle = os.getpid(), number
    _held.add(handle)
    return handle


def _close(handle: _Handle) -> None:
    _held.discard(handle)
    with suppress(OSError):  # it is closed whatever close() reports (close(2))
        os.close(handle[1])


def _foreign(path: StrPath) -> UnavailableError:
    return UnavailableError(
        f"{display_path(path)} is not a lock of this account, but lies in the place of one.",
        next_step="Remove it, or keep the users in a folder of their own.",
        kind="configuration",
    )


def _release_after_fork() -> None:
    """A child shares its parent's locks as long as it holds their handles: it must not."""
    for handle in list(_held):
        _close(handle)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_after_fork)
