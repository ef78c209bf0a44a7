"""The partial file of a download, and the note that makes it possible to continue later.

The rule: `NAME.part` exists only with `NAME.part.json` that describes it, and only one download writes to it.
"""

import asyncio
import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from ..errors import ConfigError, SaveError
from ..json_file import NO_LINK, display_path, sync_folder
from ..json_file.owners import is_trusted, refuse_unsafe_path

fcntl: Any = None
with suppress(ImportError):  # Windows has no fcntl: it refuses to replace a file that another process has open
    import fcntl

T = TypeVar("T")

_LONGEST_NOTE = 1 << 16


class Mark(NamedTuple):
    """The validator of a body (empty without one), and its size in bytes."""

    validator: str
    size: int | None


class PartFile:
    """One download's file, as a context: without `finish`, it stays only if it can be continued."""

    def __init__(self, target: str | os.PathLike[str], key: str) -> None:
        path = os.fsdecode(target)
        try:
            self.target = Path(os.path.realpath(path))  # the caller's symbolic link stays one
        except ValueError:  # NUL, or an unpaired surrogate
            self.target = Path()
        if "\0" in path or not self.target.name:
            raise ConfigError(f"{display_path(path)} is not the path of a file.")
        self.size = 0
        self.mark = Mark("", None)
        self._path = path
        self._key = key
        self._part = self.target.with_name(f"{self.target.name}.part")
        self._note = self.target.with_name(f"{self.target.name}.part.json")
        self._handle: int | None = None

    def __enter__(self) -> Self:
        self._do(self._open)
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None and not (self.size and self.mark.validator):
            with suppress(SaveError):
                self.forget()
            with suppress(OSError):
                os.unlink(self._part)
        self._close()

    def begin(self, mark: Mark) -> None:
        """Starts at the first byte of the body that `mark` describes."""
        self.forget()
        self.mark = mark
        if mark.validator:
            self._do(self._write_note)

    def write(self, piece: bytes) -> None:
        """Appends a piece. Raises `SaveError`; the pieces before it are kept."""
        self._do(lambda: self._write(piece))

    def keep_one_byte_missing(self) -> None:
        """Removes the last byte of a complete part: an empty range is not a valid request (RFC 9110 §14.1.1)."""
        if self.size and self.size == self.mark.size:
            self._do(lambda: self._cut(self.size - 1))

    def forget(self) -> None:
        """Discards what was received."""
        self.mark = Mark("", None)
        with suppress(OSError):
            os.unlink(self._note)
        self._do(lambda: self._cut(0))

    async def finish(self) -> Path:
        """Renames the file to its name, once it is on disk."""
        copy = self._do(lambda: os.dup(self._opened))  # a cancelled caller closes the other one
        await asyncio.to_thread(self._do, lambda: _sync(copy))
        self._do(self._finish)
        return self.target

    def _do(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except BlockingIOError:
            why = "another download is writing to it"
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SaveError(
            f"{display_path(self.target)} could not be written: {why}. An existing file is unchanged.",
            next_step="Free some space, or choose another path, then try again.",
        )

    def _open(self) -> None:
        refuse_unsafe_path(self._path)
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(os.stat(self.target).st_mode):
                raise ValueError("it is not a regular file")
        handle = os.open(self._part, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
        try:
            self._lock(handle)
            self._take_mode(handle, stat.S_IRUSR | stat.S_IWUSR)  # with which it can be continued
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        self._read_note(os.fstat(handle).st_size)

    def _lock(self, handle: int) -> None:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise ValueError(f"{self._part.name} is not a regular file, or it has another hard link")
        if not is_trusted(self._part, found.st_uid):  # who could change the file later
            raise ValueError(f"{self._part.name} belongs to another account")
        if fcntl is None:
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            return  # a file system without locks
        if not os.path.samestat(os.fstat(handle), os.stat(self._part)):
            raise BlockingIOError  # another download just finished

    def _read_note(self, size: int) -> None:
        """Continues the part if its note is of the same request."""
        with suppress(OSError, ValueError, RecursionError, TypeError, KeyError):
            with open(self._note, "rb", opener=lambda name, flags: os.open(name, flags | NO_LINK)) as file:
                note = json.loads(file.read(_LONGEST_NOTE))
            mark = Mark(str(note["validator"]), note["size"])
            sound = mark.size is None or (type(mark.size) is int and size <= mark.size)
            if note["key"] == self._key and mark.validator.isprintable() and mark.validator and sound:
                self._cut(size)
                self.mark = mark
                return
        self.forget()

    def _write_note(self) -> None:
        new = self._note.with_name(f"{self._note.name}.new")  # nobody else writes it: we hold the lock
        with suppress(FileNotFoundError):
            os.unlink(new)
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, 0o666)
        with open(handle, "w", encoding="utf-8") as file:
            json.dump({"key": self._key, "validator": self.mark.validator, "size": self.mark.size}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._note)

    def _write(self, piece: bytes) -> None:
        left = memoryview(piece)
        while left:
            written = os.write(self._opened, left)
            self.size += written
            left = left[written:]

    def _cut(self, size: int) -> None:
        os.ftruncate(self._opened, size)
        os.lseek(self._opened, size, os.SEEK_SET)
        self.size = size

    def _take_mode(self, handle: int, more: int = 0) -> None:
        """Gives the part the mode of the file that it replaces, so that nobody else can read it meanwhile.

        Of another account's file the part takes no right of others, and never set-user-ID, with which others run it.
        """
        with suppress(OSError, AttributeError):  # there is no file, or the system has no modes
            was = os.stat(self.target)
            rights = 0o777 if is_trusted(self.target, was.st_uid) else 0o700
            os.fchmod(handle, was.st_mode & rights | more)

    def _finish(self) -> None:
        self._take_mode(self._opened)
        with suppress(OSError):
            os.unlink(self._note)  # before another download can take the lock
        if fcntl is None:
            self._close()  # Windows cannot rename an open file
        os.replace(self._part, self.target)
        self._close()
        sync_folder(self.target.parent)

    @property
    def _opened(self) -> int:
        if self._handle is None:
            raise ValueError("the download has ended")
        return self._handle

    def _close(self) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle)


def _sync(handle: int) -> None:
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
