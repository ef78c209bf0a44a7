"""A lock between processes: a file `.NAME.lock` next to the data, which the system locks while its holder has it open.

The rule: the lock file is never removed and holds nothing, so that everybody locks the same file, whatever happens to
the data. It is polled for without blocking, so that a waiting task can be cancelled. A lock that cannot be taken is an
error; only where no lock file can be made, and so no tokens can be saved, does it hold within the process alone.
"""

import asyncio
import errno
import os
import stat
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ..errors import SaveError, UnavailableError
from ..json_file import NO_LINK, StrPath, display_path, may_write_in, unavailable
from ..json_file.owners import is_trusted, refuse_unsafe_path
from .contract import real_path
from .locks import LOCK_TIMEOUT, ThreadLocks, poll_until

fcntl: Any = None
msvcrt: Any = None
with suppress(ImportError):
    import fcntl
with suppress(ImportError):
    import msvcrt

WRITE_TIMEOUT, WRITE_PAUSE = 10.0, 0.002
"""Seconds to wait for the lock of a folder, which others hold for milliseconds; seconds between two attempts."""
DENIED_TIMEOUT = 5.0
"""Seconds for which a lock file that may not be opened counts as held: root makes it before it gives it to its owner,
and on Windows another program may have it open."""


@dataclass(frozen=True)
class SystemLocks:
    """How a system locks open files."""

    take: Callable[[int], None]
    """Locks an open file; raises an `OSError` of `held` if another handle has it."""
    held: frozenset[int]


def _flock(handle: int) -> None:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def system_locks(fcntl: Any, msvcrt: Any) -> SystemLocks | None:
    """The locks of a system that has these modules: `flock` on Unix, the first byte of a file on Windows."""
    if fcntl is not None:
        return SystemLocks(_flock, frozenset({errno.EWOULDBLOCK, errno.EAGAIN}))
    if msvcrt is not None:
        held = frozenset({errno.EACCES, errno.EDEADLK})
        return SystemLocks(lambda handle: msvcrt.locking(handle, msvcrt.LK_NBLCK, 1), held)
    return None


SYSTEM = system_locks(fcntl, msvcrt)
_NO_PLACE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}
"""There cannot be a file of this name, so nothing can be saved either."""
_NO_RIGHT = {errno.EACCES, errno.EPERM, errno.EROFS}
_NOT_A_LOCK = {errno.ELOOP, errno.EISDIR, errno.ENXIO}
"""A link, a folder or a socket has the name."""
_NO_LOCKS = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EINVAL}
"""The file system does not support locks, as some NFS."""

_within_process = ThreadLocks()
_Handle = tuple[int, int]
"""The process that opened a lock file, and its number there: a forked child may use the number again."""
_held: set[_Handle] = set()


@asynccontextmanager
async def file_lock(
    path: StrPath, *, timeout: float = LOCK_TIMEOUT, system: SystemLocks | None = SYSTEM
) -> AsyncGenerator[None, None]:
    """Holds the lock of the file at `path`, which need not exist: `.NAME.lock` in its folder, where all links lead.

    Raises `UnavailableError` if the lock cannot be taken within `timeout` seconds or if the system refuses it, of kind
    `configuration` for a file or link of another account in its place.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    real = _followed(path)
    async with _within_process.lock(real, timeout):
        lock = _Lock(real, system)
        try:
            left = timeout - (loop.time() - began)
            await poll_until(lambda: lock.take(loop.time() - began), display_path(path), left)
            yield
        finally:
            lock.release()


@contextmanager
def folder_lock(folder: str, *, system: SystemLocks | None = SYSTEM) -> Generator[None, None, None]:
    """Held while a file in `folder` is compared and replaced; blocks its thread. Raises a `transient` `SaveError`."""
    lock = _Lock(os.path.join(folder, "slyapi"), system)
    waited = 0.0
    try:
        while not lock.take(waited):
            if waited > WRITE_TIMEOUT:
                raise SaveError(f"{display_path(folder)} is locked by another program.", kind="transient")
            time.sleep(WRITE_PAUSE)
            waited += WRITE_PAUSE
    except UnavailableError as error:
        raise SaveError(str(error.args[0]), next_step=error.next_step, kind=error.kind) from None
    try:
        yield
    finally:
        lock.release()


def _followed(path: StrPath) -> str:
    """Where all links lead. Raises `UnavailableError` for another account's link, which could lead anywhere."""
    try:
        refuse_unsafe_path(path)
    except ValueError as error:
        raise UnavailableError(f"{display_path(path)} {error}.", kind="configuration") from None
    return real_path(path)


class _Lock:
    """The lock of one file, taken or not."""

    def __init__(self, path: str, system: SystemLocks | None) -> None:
        folder, name = os.path.split(path)
        self.folder, self.data, self.path = folder or ".", path, os.path.join(folder, f".{name}.lock")
        self.system = system
        self.handle: _Handle | None = None

    def take(self, waited: float) -> bool:
        """Whether it is taken, or cannot exist, after `waited` seconds. Raises `UnavailableError`."""
        if self.system is None:
            return True
        try:
            handle = self._opened()
        except OSError as error:
            return self._has_no_lock(error, waited)
        try:
            self.system.take(handle[1])
            self.handle = handle
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return True
            if error.errno not in self.system.held:
                raise unavailable(self.data, "locked", error) from None
        finally:
            if self.handle is None:
                _close(handle)
        return self.handle is not None

    def _opened(self) -> _Handle:
        """The lock file, open for writing, since NFS locks only what is (flock(2)); made if it is missing."""
        try:
            handle = _open(self.path)
        except FileNotFoundError:
            try:
                handle = _open(self.path, os.O_CREAT | os.O_EXCL)
                self._give_to_owner(handle[1])
            except FileExistsError:  # another program made it
                handle = _open(self.path)
        with suppress(OSError):
            status = os.fstat(handle[1])
            if stat.S_ISREG(status.st_mode) and self._is_ours(status.st_uid):
                return handle
        _close(handle)
        raise OSError(errno.ELOOP, "not a lock")

    def _give_to_owner(self, number: int) -> None:
        """A lock that root makes belongs to the owner of the data, who has to be able to take it too."""
        with suppress(OSError, AttributeError):
            if os.geteuid() == 0:
                owner = os.stat(self.data if os.path.exists(self.data) else self.folder)
                os.fchown(number, owner.st_uid, owner.st_gid)

    def _is_ours(self, owner: int) -> bool:
        """Whether the lock belongs to this account, root, or the owner of the folder or of the data."""
        with suppress(OSError):
            return is_trusted(self.path, owner) or owner == os.stat(self.data).st_uid
        return False

    def _has_no_lock(self, error: OSError, waited: float) -> bool:
        """Whether the lock cannot exist, by the error at its opening; false while the error may pass soon."""
        if error.errno in _NO_PLACE:
            return True
        denied = error.errno in _NO_RIGHT
        if denied and not may_write_in(self.folder):
            return True
        if error.errno in _NOT_A_LOCK or (denied and os.path.lexists(self.path)):
            if denied and waited < DENIED_TIMEOUT:
                return False
            raise UnavailableError(
                f"{display_path(self.path)} is not a lock of this account, but lies in the place of one.",
                next_step="Remove it, or keep the users in a folder of their own.",
                kind="configuration",
            )
        raise unavailable(self.data, "locked", error)

    def release(self) -> None:
        """Releases the lock, unless a fork has done so."""
        if self.handle is not None and self.handle in _held:
            _close(self.handle)


def _open(path: str, flags: int = 0) -> _Handle:
    handle = os.getpid(), os.open(path, os.O_RDWR | NO_LINK | flags, 0o600)
    _held.add(handle)
    return handle


def _close(handle: _Handle) -> None:
    _held.discard(handle)
    with suppress(OSError):  # it is closed whatever close() reports (close(2))
        os.close(handle[1])


def _release_after_fork() -> None:
    """A child shares its parent's locks as long as it holds their handles: it must not."""
    for handle in list(_held):
        _close(handle)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_after_fork)
