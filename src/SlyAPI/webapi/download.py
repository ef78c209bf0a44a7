"""Downloads a reply's body into a file, complete or not at all; a try continues the one before within the same call.

The rule: what came is continued only if a validator proves that the server's body is the same (RFC 9110 §13.1.5); a
file gets its name when it is complete on disk.
"""

import asyncio
import os
import re
import stat
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

from ..errors import ApiError, BadReplyError, ConfigError, NetworkError, SaveError, SlyError
from ..json_file import NO_LINK, display_path, sync_folder
from ..json_file.owners import is_trusted, refuse_unsafe_path
from ..transport.bodies import Progress, Total
from ..transport.streaming import Streamed

T = TypeVar("T")
Open = Callable[[Mapping[str, str]], AbstractAsyncContextManager[Streamed]]
"""Requests the body, with these headers."""
LONGEST_PAUSE = 30.0
"""Seconds between two tries, at most."""
_IDENTITY = {"Accept-Encoding": "identity"}  # a range of compressed bytes is not a range of the file
_STRONG_AFTER = 60.0
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")

if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())  # Python 3.11 cannot derive from `Path`


class Downloaded(_Path):
    """The path of a complete file, with `status` and `headers` of the reply that completed it."""

    __module__ = "SlyAPI.webapi"

    status: int
    headers: Mapping[str, str]


class Mark(NamedTuple):
    """The validator of a body (empty without one), and its size in bytes."""

    validator: str
    size: int | None


class NewFile:
    """A file that comes in pieces, next to its target; as a context: without `finish` it is removed."""

    def __init__(self, target: str | os.PathLike[str]) -> None:
        path = os.fsdecode(target)
        try:
            self.target: Path = Path(os.path.realpath(path))  # the caller's symbolic link stays one
        except ValueError:  # NUL, or an unpaired surrogate
            self.target = Path()
        if "\0" in path or not self.target.name:
            raise ConfigError(f"{display_path(path)} is not the path of a file.")
        self.size: int = 0
        self.mark: Mark = Mark("", None)
        self._path = path
        self._part = self.target.with_name(f".{self.target.name[:40]}.{os.urandom(6).hex()}.part")
        self._handle = -1

    def __enter__(self) -> Self:
        self._do(self._open)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()  # first: Windows removes no open file
        with suppress(OSError):
            os.unlink(self._part)

    def begin(self, mark: Mark) -> None:
        """Starts at the first byte of the body that `mark` describes."""
        self.cut(0)
        self.mark = mark

    def write(self, piece: bytes) -> None:
        """Appends a piece. Raises `SaveError`."""
        self._do(lambda: self._write(piece))

    def cut(self, size: int) -> None:
        """Removes what is behind the first `size` bytes."""
        self._do(lambda: os.ftruncate(self._handle, size))
        self.size = self._do(lambda: os.lseek(self._handle, size, os.SEEK_SET))

    async def finish(self) -> None:
        """Renames the file to its name, once it is on disk."""
        copy = self._do(lambda: os.dup(self._handle))  # a cancelled caller closes the other one
        await asyncio.to_thread(self._do, lambda: _sync(copy))
        self._do(self._rename)

    def _do(self, act: Callable[[], T]) -> T:
        try:
            return act()
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
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_LINK | getattr(os, "O_BINARY", 0)
        self._handle = os.open(self._part, flags, 0o666)
        self._take_mode()

    def _write(self, piece: bytes) -> None:
        left = memoryview(piece)
        while left:
            written = os.write(self._handle, left)
            self.size += written
            left = left[written:]

    def _take_mode(self) -> None:
        """Takes the replaced file's mode; of another account's file no right of others, and never set-user-ID."""
        with suppress(OSError, AttributeError):  # there is no file, or the system has no modes
            was = os.stat(self.target)
            os.fchmod(self._handle, was.st_mode & (0o777 if is_trusted(self.target, was.st_uid) else 0o700))

    def _rename(self) -> None:
        self._take_mode()
        self._close()
        os.replace(self._part, self.target)
        sync_folder(self.target.parent)

    def _close(self) -> None:
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)


def _sync(handle: int) -> None:
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _OtherBodyError(Exception):
    """The server's body has changed, or it cannot continue it."""


async def download(
    open_reply: Open,
    target: str | os.PathLike[str],
    *,
    tries: int = 1,
    limit: int | None = None,
    progress: Progress | None = None,
    total: Total | None = None,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Downloaded:
    """The path of the complete file.

    `tries`: requests in all, while failures are transient. `limit` in bytes. Raises `SaveError` if the file
    cannot be written, `BadReplyError` for a body that is too large or not a file, and what `open_reply`
    raises; `target` is then unchanged.
    """
    if tries < 1:
        raise ConfigError("A download needs tries >= 1.")
    with NewFile(target) as file:
        tried = 0
        while True:
            tried += 1
            before = file.size
            try:
                reply = await _once(open_reply, file, limit, progress, total)
                break
            except SlyError as error:
                wait = _wait(error, tried, file.size > before)
                if tried >= tries or wait is None:
                    raise
            await pause(wait)
        await file.finish()
    done = Downloaded(file.target)
    done.status, done.headers = reply.status, reply.headers
    return done


def _wait(error: SlyError, tried: int, got_further: bool) -> float | None:
    """Seconds before the next try; None for no further try."""
    if error.kind != "transient" or (error.retry_after or 0) > LONGEST_PAUSE:
        return None
    if error.retry_after is not None:
        return error.retry_after
    return 0.0 if got_further else min(LONGEST_PAUSE, 0.5 * 2.0**tried)


async def _once(
    open_reply: Open, file: NewFile, limit: int | None, progress: Progress | None, total: Total | None
) -> Streamed:
    """The reply to one request for what is missing; to a second one for all of it if the file cannot be continued."""
    if file.size and not file.mark.validator:
        file.cut(0)
    if file.size and file.size == file.mark.size:
        file.cut(file.size - 1)  # an empty range is not a valid request (RFC 9110 §14.1.1)
    if file.size:
        resume = {**_IDENTITY, "Range": f"bytes={file.size}-", "If-Range": file.mark.validator}
        try:
            async with open_reply(resume) as reply:
                _check_continues(reply, file)
                return await _receive(reply, file, limit, progress, total)
        except _OtherBodyError:
            pass
        except ApiError as error:
            if error.status not in (412, 416):
                raise
    file.begin(Mark("", None))
    async with open_reply(_IDENTITY) as reply:
        return await _receive(reply, file, limit, progress, total)


def _check_continues(reply: Streamed, file: NewFile) -> None:
    """Raises `_OtherBodyError` for a 206 (RFC 9110 §15.3.7) that does not begin where the file ends."""
    if reply.status != 206:
        return
    mark = file.mark
    sent = _RANGE.fullmatch(reply.headers.get("Content-Range", ""))
    if sent is None or int(sent[1]) != file.size or reply.packed:
        raise _OtherBodyError
    whole = mark.size if sent[3] == "*" else int(sent[3])
    named = reply.headers.get("ETag" if mark.validator.startswith('"') else "Last-Modified", mark.validator)
    if named != mark.validator or whole is None or mark.size not in (None, whole):
        raise _OtherBodyError  # without its size nobody knows whether it is complete
    file.mark = Mark(mark.validator, whole)


async def _receive(
    reply: Streamed, file: NewFile, limit: int | None, progress: Progress | None, total: Total | None
) -> Streamed:
    if reply.status == 206 and not file.size:
        raise _not_a_file(reply, "a part of a body, although the request was for all of it")
    if reply.status not in (200, 203, 206):
        raise _not_a_file(reply, f"HTTP {reply.status}, which is not a file")
    if reply.status != 206:
        file.begin(Mark(_validator(reply), reply.size))
    size = file.mark.size
    if limit is not None and size is not None and size > limit:
        raise _too_large(reply, limit)
    if total is not None:
        total(size)
    if progress is not None and file.size:
        progress(file.size)
    async for piece in reply:
        if limit is not None and file.size + len(piece) > limit:
            raise _too_large(reply, limit)
        file.write(piece)
        if progress is not None:
            progress(len(piece))
    _check_whole(reply, file)
    return reply


def _check_whole(reply: Streamed, file: NewFile) -> None:
    size = file.mark.size
    if size is None or file.size == size:
        return
    if file.size > size:
        raise _not_a_file(reply, f"more than the announced {size} bytes")
    raise NetworkError(f"GET {reply.url}: the body ended after {file.size} of {size} bytes.", next_step="Try again.")


def _too_large(reply: Streamed, limit: int) -> BadReplyError:
    return BadReplyError(f"GET {reply.url}: the file is larger than {limit} bytes.", kind="permanent")


def _not_a_file(reply: Streamed, what: str) -> BadReplyError:
    return BadReplyError(f"GET {reply.url} was answered with {what}.", kind="permanent")


def _validator(reply: Streamed) -> str:
    """The strong validator of this body (RFC 9110 §8.8); empty without one."""
    headers = reply.headers
    if reply.packed or headers.get("Accept-Ranges", "").strip().lower() == "none":
        return ""
    etag = headers.get("ETag", "")
    if etag:
        return etag if re.fullmatch(r'"[\x21\x23-\x7e]{0,500}"', etag) else ""
    try:
        changed, date = (parsedate_to_datetime(headers[name]) for name in ("Last-Modified", "Date"))
        # RFC 9110 §8.8.2.2: a recent change may be followed by another within the same second
        strong = (date - changed).total_seconds() >= _STRONG_AFTER
    except (KeyError, ValueError, TypeError, OverflowError):
        return ""
    return headers["Last-Modified"] if strong else ""
