"""The index of a folder of users: when the tokens in each file end, so that not every file has to be read.

The rule: a line of it counts only while the file is the very one that it was written for. What is missing or stale, as
after a crash between two writes or an edit by hand, is read from the file, and noted anew.
"""

import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from ..json_file import NO_LINK, is_trusted
from .token_ends import KEYS, UNKNOWN, Token, check_token, end_of

_INDEX = ".slyapi-index"
_SPARE = 100
"""Lines that the index may have beyond twice the number of files before it is written anew."""


class Line(NamedTuple):
    """What the index has of one file."""

    mark: str
    """Which file it was: replaced or changed, it has another."""
    ends: tuple[float, ...]
    """Of the access token and of the refresh token."""


def note(folder: str, file: str, value: Mapping[str, Any]) -> None:
    """Adds the line of a file that was written, if the folder has an index. Whatever fails, the next reader heals."""
    with suppress(OSError):
        handle = _opened(folder, os.O_WRONLY | os.O_APPEND)
        try:
            line = Line(_mark(os.stat(os.path.join(folder, file))), _ends(value))
            os.write(handle, _written(file, line))
        finally:
            os.close(handle)


def files_ending(
    folder: str, token: Token, before: float, after: float, is_user: Callable[[str], bool], read: Callable[[str], Any]
) -> list[str]:
    """The files of the users whose token ends in this time, or may do so; the soonest first.

    `is_user` knows the files of users by their names; `read` gives a file's value, None if it cannot be read. Makes
    the index if there is none.
    """
    lines, size = _read_index(folder)
    number, found, new = list(KEYS).index(check_token(token)), list[tuple[float, str]](), dict[str, Line]()
    files: dict[str, Line] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            line = lines.get(entry.name)
            if line is None and not is_user(entry.name):
                continue
            mark = ""
            with suppress(OSError):
                mark = _mark(entry.stat())
            if line is None or line.mark != mark:
                line = new[entry.name] = Line(mark, _ends(read(entry.name)))
            files[entry.name] = line
            end = line.ends[number]
            if end == UNKNOWN or after < end <= before:
                found.append((end, entry.name))
    with suppress(OSError):
        if size is None or size + len(new) > 2 * len(files) + _SPARE:
            _write_index(folder, files)
        elif new:
            _append(folder, new)
    return [file for _, file in sorted(found)]


def _ends(value: Mapping[str, Any] | None) -> tuple[float, ...]:
    return tuple(UNKNOWN if value is None else end_of(value, token) for token in KEYS)


def _mark(status: os.stat_result) -> str:
    """A file that was replaced has another inode; one that was changed in place, another time of change."""
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_ctime_ns:x}"


def _written(file: str, line: Line) -> bytes:
    return " ".join((line.mark, *map(repr, line.ends), file)).encode() + b"\n"


def _read_index(folder: str) -> tuple[dict[str, Line], int | None]:
    """The last line of each file, and how many there are; None if there is no index to be trusted.

    A line that a crash cut short, and the next one with it, has another number of parts or a mark of no file.
    """
    try:
        with open(_opened(folder, os.O_RDONLY), "rb") as index:
            raw = index.read()
    except OSError:
        return {}, None
    lines: dict[str, Line] = {}
    texts = raw.decode("ascii", "replace").split("\n")
    for text in texts:
        with suppress(ValueError):
            mark, access, refresh, file = text.split(" ")
            lines[file] = Line(mark, (float(access), float(refresh)))
    return lines, len(texts)


def _append(folder: str, lines: Mapping[str, Line]) -> None:
    with open(_opened(folder, os.O_WRONLY | os.O_APPEND), "ab") as index:
        index.write(b"".join(_written(file, line) for file, line in lines.items()))


def _write_index(folder: str, lines: Mapping[str, Line]) -> None:
    """Replaces the index. A line that a save adds to the old one meanwhile is lost, so its file is read once more."""
    temporary = os.path.join(folder, f"{_INDEX}.{os.urandom(6).hex()}.tmp")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as index:
            index.write(b"".join(_written(file, line) for file, line in lines.items()))
        os.replace(temporary, os.path.join(folder, _INDEX))
    finally:
        with suppress(OSError):
            os.unlink(temporary)


def _opened(folder: str, how: int) -> int:
    """The open index. Raises `OSError` if there is none, or one that another account left: it could hide users."""
    path = os.path.join(folder, _INDEX)
    handle = os.open(path, how | NO_LINK)
    status = os.fstat(handle)
    # with a second name it may be any file of ours, which a line of the index would spoil
    if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1 and is_trusted(path, status.st_uid):
        return handle
    os.close(handle)
    raise PermissionError(path)
