"""A simulated disk: the system's calls that `FileStore` makes, over files in memory.

The rule: what the kernel promises holds and no more. A killed process loses nothing that it wrote; a power cut
loses the content that was not synced and the names whose folder was not, or leaves half of the content. Each call
is told to `strike` first, which may make it fail.
"""

import builtins
import fcntl as real_fcntl
import io
import os as real_os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from tests.simulation.worlds import World

ROOT = "/simulated"
FOLDER = f"{ROOT}/users"
FILE = f"{FOLDER}/alice.json"
FIRST_HANDLE = 1_000_000


class Killed(BaseException):
    """The process of this frame has died."""


@dataclass(eq=False)
class Inode:
    """A file or a folder: what programs see of it, and what a power cut leaves."""

    mode: int
    data: bytes = b""
    synced: bytes = b""
    locked_by: "Handle | None" = None
    number: int = 0


@dataclass(eq=False)
class Handle:
    """An open file of one process."""

    world: World
    inode: Inode
    path: str
    position: int = 0


@dataclass
class Disk:
    """The files of a machine, shared by its processes."""

    wrote: Callable[[object, str, str | None, str | None], None]
    strike: Callable[[World, str], None] = lambda world, call: None
    locked: Callable[[World], None] = lambda world: None
    names: dict[str, Inode] = field(default_factory=dict)
    synced_names: dict[str, Inode] = field(default_factory=dict)
    handles: dict[int, Handle] = field(default_factory=dict)
    calls: int = 0
    file_is_mounted: bool = False
    """Whether the user's file is a mount of its own, as in a container."""

    def __post_init__(self) -> None:
        for path in (ROOT, FOLDER):
            self.names[path] = self.synced_names[path] = Inode(stat.S_IFDIR | 0o700)

    def put(self, owner: object, text: str | None) -> None:
        """Writes the user's file, durably and at once, as an administrator does who takes no lock."""
        old = self.text()
        if text is None:
            self.names.pop(FILE, None)
            self.synced_names.pop(FILE, None)
        else:
            data = text.encode()
            self.names[FILE] = self.synced_names[FILE] = Inode(stat.S_IFREG | 0o600, data, data)
        self.wrote(owner, "alice", old, text)

    def put_in_place(self, owner: object, text: str) -> None:
        """As `put`, into the file that is there: a lock on it stays."""
        old, inode = self.text(), self.names[FILE]
        inode.data = inode.synced = text.encode()
        self.wrote(owner, "alice", old, text)

    def text(self) -> str | None:
        """What programs read in the user's file."""
        inode = self.names.get(FILE)
        return None if inode is None else inode.data.decode()

    def close_all_of(self, world: World) -> None:
        """What the death of a process does."""
        for number, handle in list(self.handles.items()):
            if handle.world is world:
                self.close(number)

    def close(self, number: int) -> None:
        handle = self.handles.pop(number)
        if handle.inode.locked_by is handle:
            handle.inode.locked_by = None

    def cut_power(self, choose: Callable[[int], int]) -> None:
        """Leaves what was synced; of the rest some is there and some is not, as `choose(n)` has it."""
        for path in sorted(self.names.keys() | self.synced_names.keys()):
            now, before = self.names.get(path), self.synced_names.get(path)
            if now is not before and choose(2):
                self.synced_names.pop(path, None)
                if now is not None:
                    self.synced_names[path] = now
        self.names = dict(self.synced_names)
        for _, inode in sorted(self.names.items(), key=lambda item: item[0]):
            if inode.data != inode.synced:
                inode.data = (inode.synced, inode.data[: len(inode.data) // 2], inode.data)[choose(3)]
            inode.synced = inode.data


class _Path:
    """`os.path` for the simulated paths; for all others the system's."""

    def __init__(self, calls: "Calls") -> None:
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        return getattr(real_os.path, name)

    def realpath(self, path: Any, **_: Any) -> Any:
        return path if _simulated(path) else real_os.path.realpath(path)

    def isdir(self, path: Any) -> bool:
        if not _simulated(path):
            return real_os.path.isdir(path)
        inode = self._calls.disk.names.get(path)
        return inode is not None and stat.S_ISDIR(inode.mode)

    def exists(self, path: Any) -> bool:
        return path in self._calls.disk.names if _simulated(path) else real_os.path.exists(path)

    lexists = exists

    def samestat(self, one: Any, other: Any) -> bool:
        return bool(one.st_ino == other.st_ino)


class Calls:
    """The `os` of one world."""

    def __init__(self, disk: Disk, world: World) -> None:
        self.disk, self.world = disk, world
        self.path = _Path(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(real_os, name)

    def _call(self, name: str) -> None:
        if not self.world.alive:
            raise Killed
        self.disk.calls += 1
        self.disk.strike(self.world, name)
        if not self.world.alive:
            raise Killed

    def getpid(self) -> int:
        return 1_000_000 + self.world.number

    def geteuid(self) -> int:
        return 0

    getegid = geteuid

    def open(self, path: Any, flags: int, mode: int = 0o777, **_: Any) -> int:
        if not _simulated(path):
            return real_os.open(path, flags, mode)
        self._call("open")
        inode = self.disk.names.get(path)
        if inode is None:
            if not flags & real_os.O_CREAT:
                raise FileNotFoundError(2, "No such file", path)
            self.disk.strike(self.world, "create")
            inode = self.disk.names[path] = Inode(stat.S_IFREG | mode)
        elif flags & real_os.O_EXCL:
            raise FileExistsError(17, "File exists", path)
        number = FIRST_HANDLE + self.disk.calls
        self.disk.handles[number] = Handle(self.world, inode, path)
        return number

    def close(self, number: int) -> None:
        if number < FIRST_HANDLE:
            return real_os.close(number)
        try:
            self._call("close")
        finally:
            if self.world.alive and number in self.disk.handles:
                self.disk.close(number)
        return None

    def access(self, path: Any, *_: Any, **__: Any) -> bool:
        return True

    def fsync(self, number: int) -> None:
        self._call("fsync")
        handle = self.disk.handles[number]
        handle.inode.synced = handle.inode.data
        if stat.S_ISDIR(handle.inode.mode):
            here = f"{handle.path}/"
            for path in [path for path in self.disk.synced_names if path.startswith(here)]:
                del self.disk.synced_names[path]
            self.disk.synced_names |= {p: inode for p, inode in self.disk.names.items() if p.startswith(here)}

    def fstat(self, number: int) -> Any:
        self._call("fstat")
        return _status(self.disk.handles[number].inode)

    def stat(self, path: Any, **more: Any) -> Any:
        if not _simulated(path):
            return real_os.stat(path, **more)
        self._call("stat")
        return _status(self._at(path))

    def _at(self, path: str) -> Inode:
        inode = self.disk.names.get(path)
        if inode is None:
            raise FileNotFoundError(2, "No such file", path)
        return inode

    def replace(self, source: str, target: str) -> None:
        self._call("replace")
        inode, old = self._at(source), self.disk.text()
        del self.disk.names[source]
        self.disk.names[target] = inode
        if target == FILE:
            self.disk.wrote(self.world, "alice", old, self.disk.text())

    rename = replace

    def unlink(self, path: Any, **_: Any) -> None:
        self._call("unlink")
        self._at(path)
        old = self.disk.text()
        del self.disk.names[path]
        if path == FILE:
            self.disk.wrote(self.world, "alice", old, None)

    remove = unlink

    def mkdir(self, path: Any, mode: int = 0o777) -> None:
        self._call("mkdir")
        self.disk.names[path] = Inode(stat.S_IFDIR | mode)

    def listdir(self, path: Any) -> list[str]:
        self._call("listdir")
        return [name.rpartition("/")[2] for name in self.disk.names if name.startswith(f"{path}/")]

    @contextmanager
    def scandir(self, path: Any) -> Iterator[Any]:
        self._call("scandir")
        yield [
            SimpleNamespace(name=name.rpartition("/")[2], path=name, stat=lambda inode=inode, **_: _status(inode))
            for name, inode in list(self.disk.names.items())
            if name.startswith(f"{path}/")
        ]

    def chmod(self, path: Any, mode: int, **_: Any) -> None:
        self._call("chmod")

    def chown(self, path: Any, *_: Any, **__: Any) -> None:
        self._call("chown")

    fchmod, fchown = chmod, chown

    def read_file(self, handle: Handle, size: int = -1) -> bytes:
        self._call("read")
        end = None if size < 0 else handle.position + size
        got = handle.inode.data[handle.position : end]
        handle.position += len(got)
        return got

    def write_file(self, handle: Handle, data: bytes) -> int:
        self._call("write")
        handle.inode.data += data
        return len(data)

    def write(self, number: int, data: bytes) -> int:
        return self.write_file(self.disk.handles[number], data)

    def read(self, number: int, size: int) -> bytes:
        return self.read_file(self.disk.handles[number], size)

    # --- beside `os` ---

    def open_file(self, file: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
        """`open`: of a handle of ours, of a name by an opener, or whatever the system has."""
        if isinstance(file, int) and file >= FIRST_HANDLE:
            return _File(self, file)
        if _simulated(file):
            return _File(self, options["opener"](file, real_os.O_RDONLY))
        number = str(file).removeprefix("/proc/self/fdinfo/")
        if number.isdigit() and int(number) >= FIRST_HANDLE:  # proc(5): which mount an open file is on
            mounted = self.disk.file_is_mounted and self.disk.handles[int(number)].path == FILE
            return io.BytesIO(b"pos:\t0\nmnt_id:\t2\n" if mounted else b"pos:\t0\nmnt_id:\t1\n")
        return builtins.open(file, mode, *more, **options)

    def flock(self, number: int, how: int) -> None:
        self._call("flock")
        handle = self.disk.handles[number]
        if how & real_fcntl.LOCK_UN:
            handle.inode.locked_by = None
        elif handle.inode.locked_by not in (None, handle):
            raise BlockingIOError(11, "locked")
        else:
            handle.inode.locked_by = handle
            if handle.path != FOLDER and "slyapi" not in handle.path:  # which are locked for a write
                self.disk.locked(self.world)

    @property
    def fcntl(self) -> Any:
        return SimpleNamespace(
            flock=self.flock,
            LOCK_EX=real_fcntl.LOCK_EX,
            LOCK_NB=real_fcntl.LOCK_NB,
            LOCK_UN=real_fcntl.LOCK_UN,
            LOCK_SH=real_fcntl.LOCK_SH,
        )


class _File:
    """What `open(handle, ...)` gives."""

    def __init__(self, calls: Calls, number: int) -> None:
        self._calls, self._number = calls, number
        self._handle = calls.disk.handles[number]

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.close(self._number)

    def fileno(self) -> int:
        return self._number

    def read(self, size: int = -1) -> bytes:
        return self._calls.read_file(self._handle, size)

    def write(self, data: bytes) -> int:
        return self._calls.write_file(self._handle, data)

    def flush(self) -> None:
        return None


def _simulated(path: Any) -> bool:
    return isinstance(path, str) and path.startswith(ROOT)


def _status(inode: Inode) -> Any:
    return SimpleNamespace(
        st_mode=inode.mode, st_uid=0, st_gid=0, st_ino=id(inode), st_dev=1, st_mtime=0.0, st_size=len(inode.data)
    )
