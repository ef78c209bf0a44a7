"""Credentials files: read with every mistake named, written so that a crash leaves the old or the new one.

The rule: nothing of a file's content is printed, and nothing on disk changes before its successor is complete.
"""

import json
import os
import stat
from contextlib import suppress
from typing import Any

from .errors import (
    CredentialsError,
    CredentialsNotFoundError,
    CredentialsUnavailableError,
    Kind,
    SaveError,
    clean_traceback,
    printable,
)

StrPath = str | os.PathLike[str]

_LARGEST = 1 << 20  # a megabyte: credentials files have a few hundred bytes


@clean_traceback
def read_json_file(path: StrPath) -> Any:
    """The JSON value in the file at `path`.

    Raises `CredentialsNotFoundError` where there is no file, `CredentialsError` for a folder, a pipe,
    an empty or huge file, bytes that are not UTF-8 and text that is not JSON, and `CredentialsUnavailableError` where
    the system refuses to read it.
    """
    value, problem = _read(path)
    if problem is None:
        raise CredentialsNotFoundError(f"{display_path(path)} does not exist.")
    if problem.startswith((_OF_SYSTEM, _FORBIDDEN)):
        kind: Kind = "transient" if problem.startswith(_OF_SYSTEM) else "configuration"
        raise CredentialsUnavailableError(f"{display_path(path)} {problem}.", kind=kind)
    if problem:
        raise CredentialsError(f"{display_path(path)} {problem}.")
    return value


def _read(path: StrPath) -> tuple[Any, str | None]:
    """The value and "", or None and what is wrong with the file (None: it does not exist).

    Returns the problem, since the errors of the decoders carry the file's content.
    """
    try:
        raw = _read_regular(path)
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError) as error:
        return None, _why(error)
    try:
        return json.loads(raw.decode("utf-8-sig")), ""
    except UnicodeDecodeError:
        return None, "is not UTF-8 text"
    except RecursionError:
        return None, "is nested too deeply for a credentials file"
    except ValueError:
        empty = not raw.removeprefix(b"\xef\xbb\xbf").strip()
        return None, "is empty" if empty else "is not JSON, or only half of it"


def _read_regular(path: StrPath) -> bytes:
    # O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused below
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(handle, "rb") as file:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError
        if not stat.S_ISREG(mode):
            raise ValueError("is not a regular file")
        raw = file.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise ValueError("is larger than 1 MiB, which no credentials file is")
    return raw


@clean_traceback
def write_json_file(path: StrPath, value: Any) -> None:
    """Replaces the file at `path` by `value` as JSON, mode 0600, complete on disk before it has the name.

    Written beside, flushed, fsync, renamed; a symbolic link stays one and its target is replaced.
    Raises `SaveError`; what was there is then untouched.
    """
    problem = _write(path, value)
    if problem:
        raise SaveError(
            f"{display_path(path)} could not be written: it {problem}. The file is as it was.",
            next_step=_way_out(problem),
        )


def _write(path: StrPath, value: Any) -> str:
    """What kept the value from being written; empty where nothing did."""
    try:
        text = json.dumps(value, indent=4, ensure_ascii=False) + "\n"
        # a lone surrogate, which JSON may hold and UTF-8 may not, becomes the escape that JSON has for it
        _replace(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        return _why(error)
    except (TypeError, RecursionError):
        return "would hold a value that JSON cannot"
    except ValueError as error:
        return "would hold itself" if "Circular" in str(error) else _why(error)
    return ""


def _replace(path: StrPath, raw: bytes) -> None:
    target, beside = _places(path)
    try:
        _write_new(beside, raw)
        _keep_owner_and_mode(target, beside)
        os.replace(beside, target)
    finally:
        with suppress(OSError):
            os.unlink(beside)
    sync_folder(os.path.dirname(target))


def _places(path: StrPath) -> tuple[str, str]:
    """The file that `path` leads to, and the name beside it for its successor; refuses what is no file."""
    target = os.path.realpath(os.fsdecode(path))
    with suppress(FileNotFoundError):
        mode = os.stat(target).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError
        if not stat.S_ISREG(mode):
            raise ValueError("is not a regular file")
    folder, name = os.path.split(target)
    return target, os.path.join(folder, f".{name}.{os.urandom(6).hex()}.tmp")


def _write_new(path: str, raw: bytes) -> None:
    # O_EXCL: neither into another's file nor through a link
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _keep_owner_and_mode(old: str, new: str) -> None:
    # root refreshing a user's file (sudo, cron) must not take it away from its owner
    with suppress(OSError, AttributeError):
        was = os.stat(old)
        os.chmod(new, was.st_mode & 0o600)
        if (was.st_uid, was.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(new, was.st_uid, was.st_gid)


def sync_folder(folder: StrPath) -> None:
    # the new name itself must survive a power cut; Windows and some network folders can't, and need not
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_writable(path: StrPath) -> None:
    """Raises `SaveError` if `write_json_file` could not replace `path`; leaves nothing behind."""
    why = ""
    try:
        _, beside = _places(path)
        try:
            _write_new(beside, b"\n")
        finally:
            with suppress(OSError):
                os.unlink(beside)
    except (OSError, ValueError) as error:
        why = _why(error)
    if why:
        raise SaveError(f"{display_path(path)} could not be written: it {why}.", next_step=_way_out(why))


def display_path(path: StrPath) -> str:
    """A path as text for a message."""
    return printable(os.fsdecode(path))


_NO_FOLDER = "lies in a folder that does not exist"
_FORBIDDEN = "may not be opened by this user (permission denied)"
_OF_SYSTEM = "gives an error of the system"
_WAYS_OUT = {_NO_FOLDER: "Make that folder", _FORBIDDEN: "Make its folder writable", _OF_SYSTEM: "Free some space"}


def _way_out(why: str) -> str:
    """What helps where a file could not be written."""
    for problem, step in _WAYS_OUT.items():
        if why.startswith(problem):
            return f"{step}, or choose another path."
    return "Choose another path."


def _why(error: Exception) -> str:
    if isinstance(error, IsADirectoryError):
        return "is a folder, not a file"
    if isinstance(error, FileNotFoundError):
        return _NO_FOLDER
    if isinstance(error, PermissionError):
        return _FORBIDDEN
    if isinstance(error, OSError):
        return f"{_OF_SYSTEM} ({error.strerror or type(error).__name__})"
    if "null" in str(error):
        return "is not a path (it holds a NUL)"
    return str(error)
