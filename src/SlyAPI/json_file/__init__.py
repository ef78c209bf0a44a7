"""Credentials files: read with every mistake named, written so that a crash leaves the old or the new one.

The rule: nothing of a file's content is printed, and nothing on disk changes before its successor is complete.
"""

import errno
import os
import stat
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, BinaryIO

from ..errors import (
    CredentialsError,
    CredentialsNotFoundError,
    SaveError,
    SlyError,
    UnavailableError,
    clean_traceback,
    printable,
)
from ..web.next_steps import quoted
from ..web.pem import is_body
from .owners import PLANTED, is_foreign, refuse_planted_file, refuse_planted_folder, refuse_unsafe_path
from .windows import IN_USE, LONG_PREFIX, InUseError, followed, patiently, system_path
from .windows import StrPath as StrPath

NO_WAIT = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_BINARY"))
"""Flags of `os.open`: a pipe is opened without waiting for who writes into it; Windows changes no line end."""
NO_LINK = NO_WAIT | getattr(os, "O_NOFOLLOW", 0)
"""The same, and a symbolic link is an error."""
MACOS = sys.platform == "darwin"
_LARGEST = 1 << 20  # a megabyte: credentials files have a few hundred bytes


@clean_traceback
def read_json_file(path: StrPath, *, made_with: str = "", is_client: bool = False) -> Any:
    """The JSON value in the file at `path`; `made_with` is the command that writes such a file, for its absence.

    A client's file, which names where codes and tokens go, is not taken from an account that could leave it there.

    Raises `CredentialsNotFoundError` if there is no file; `CredentialsError` for a folder, a pipe, an empty or huge
    file, bytes that are not UTF-8, text that is not JSON, and another account's link in a shared folder;
    `UnavailableError` if the system cannot read it at this moment (too many open files, a disk error), or does not let
    this account read it (kind `configuration`).
    """
    try:
        raw = read_regular(path, is_client=is_client)
    except FileNotFoundError:
        step = f"Make one with: {made_with} {quoted(display_path(path))}" if made_with else ""
        raise CredentialsNotFoundError(f"{display_path(path)} does not exist.", next_step=step) from None
    except (OSError, ValueError) as error:
        if _may_pass(error):
            raise unavailable(path, "read", error) from None
        if isinstance(error, OSError) and error.errno in _NO_RIGHT:  # what it holds may be newer than what is in memory
            message, step = f"{display_path(path)} {_why(error)}.", "Give it to the account that runs the program."
            raise UnavailableError(message, next_step=step, kind="configuration") from None
        raise CredentialsError(f"{display_path(path)} {_why(error)}.") from None
    value, problem = _parsed(raw)
    if problem:
        raise CredentialsError(f"{display_path(path)} {problem}.")
    return value


def written_at(path: StrPath) -> float | None:
    """When the file was last written, in epoch seconds; None where that is not known."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def _parsed(raw: bytes) -> tuple[Any, str]:
    """The value and "", or None and what is wrong: a decoder's error would carry the file's content."""
    import json  # `--help` reads no file

    try:
        return json.loads(raw.decode("utf-8-sig")), ""
    except UnicodeDecodeError:
        return None, "is not UTF-8 text"
    except RecursionError:
        return None, "is nested too deeply for a credentials file"
    except json.JSONDecodeError as error:
        if not raw.removeprefix(b"\xef\xbb\xbf").strip():
            return None, "is empty"
        return None, f"is not JSON, or only half of it (line {error.lineno}, column {error.colno})"
    except ValueError:  # a number with too many digits
        return None, "is not JSON that can be read"


def read_regular(path: StrPath, *, is_client: bool = False) -> bytes:
    """What a regular file contains, a megabyte at most. Raises `OSError`, or `ValueError` for any other file.

    Also for a client's file that `refuse_planted_file` refuses.
    """
    refuse_unsafe_path(path)
    path = system_path(path)
    if is_client:
        path = os.path.realpath(path)
    handle = patiently(os.open, path, NO_WAIT)  # to read it
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        raise ValueError(_NOT_REGULAR)
    with open(handle, "rb") as file:
        if is_client and is_foreign(status.st_uid):  # the owner of what is read: the name may be another file's by now
            refuse_planted_folder(os.fspath(path), status.st_uid)
        raw = file.read(_LARGEST)
        if file.read(1):
            raise ValueError("is larger than 1 MiB, too large for a credentials file")
    return raw


def read_problem(error: OSError | ValueError) -> str:
    """Why `read_regular` failed: the system's words, or ours."""
    said = getattr(error, "strerror", None) or str(error)
    return said.removeprefix("is ") if "null" not in said else "not a path"


@clean_traceback
def write_json_file(path: StrPath, value: Any, *, turn: AbstractContextManager[None] | None = None) -> None:
    """Replaces the file at `path` by `value` as JSON, mode 0600, complete on disk before it has the name.

    Written to a temporary file, flushed, fsync, renamed; a symbolic link stays one and its target is replaced. The
    rename happens inside `turn`, and not at all if that raises a `SlyError`. Raises `SaveError`, of kind
    `transient` where trying again may help; what was there is then untouched.
    """
    import json

    try:
        text = json.dumps(value, indent=4, ensure_ascii=False) + "\n"
    except (ValueError, TypeError, RecursionError) as error:
        problem = "would contain itself" if "Circular" in str(error) else "would contain a value other than JSON"
    else:
        # an unpaired surrogate, which JSON may hold and UTF-8 may not, becomes JSON's escape for it
        _write(path, text.encode("utf-8", "backslashreplace"), turn or nullcontext(), os.replace)
        return
    raise SaveError(f"{display_path(path)} could not be written: it {problem}. The file is unchanged.")


@clean_traceback
def check_writable(path: StrPath, *, turn: AbstractContextManager[None] | None = None) -> None:
    """Does all that `write_json_file` does but the rename, and raises `SaveError` as it does; leaves nothing."""
    _write(path, b"\n", turn or nullcontext(), lambda *_: None)


def _write(
    path: StrPath, raw: bytes, turn: AbstractContextManager[None], put: Callable[[str, str], None]
) -> None:
    try:
        target, temporary = _places(path)
        try:
            _write_new(temporary, raw, target)
            with turn:
                patiently(put, temporary, target)
        finally:
            with suppress(OSError):
                patiently(os.unlink, temporary)
        sync_folder(os.path.dirname(target))
    except SlyError:
        raise
    except (OSError, ValueError) as error:
        raise _save_error(path, error, " The file is unchanged.") from None


def _places(path: StrPath) -> tuple[str, str]:
    """The file that `path` leads to, and a temporary name in its folder; refuses what cannot be replaced."""
    refuse_unsafe_path(path)
    target = followed(path)
    with suppress(FileNotFoundError):
        _check_replaceable(target, os.stat(target))
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # whose new file goes to the owner of the old one
        refuse_planted_file(target)
    folder, name = os.path.split(target)
    return target, os.path.join(folder, f".{name}.{os.urandom(6).hex()}.tmp")


def _check_replaceable(target: str, status: os.stat_result) -> None:
    """Raises `OSError` or `ValueError` for what cannot be renamed over, although its folder can be written."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(_NOT_REGULAR)
    if getattr(status, "st_file_attributes", 0) & stat.FILE_ATTRIBUTE_READONLY:
        raise ValueError(_MARKED_READ_ONLY)
    if is_mounted_alone(target):
        raise ValueError(MOUNTED)
    place = os.stat(os.path.dirname(target))
    sticky = place.st_mode & stat.S_ISVTX
    if sticky and hasattr(os, "geteuid") and os.geteuid() not in (0, status.st_uid, place.st_uid):
        raise ValueError(_STICKY)


def is_mounted_alone(path: str) -> bool:
    """Whether the file is mounted, and not its folder, so that what is made next to it is not where the file is."""
    mounts = {_mount(path), _mount(os.path.dirname(path))}
    return len(mounts) == 2 and b"" not in mounts


def _write_new(path: str, raw: bytes, target: str) -> None:
    with _created(path) as file:
        file.write(raw)
        _keep_owner_and_mode(target, file.fileno())
        file.flush()
        _sync_file(file.fileno())


def _created(path: str) -> BinaryIO:
    """A new file that only its owner can read; neither another's file nor one behind a link (O_EXCL)."""
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, 0o600), "wb")


def _keep_owner_and_mode(target: str, handle: int) -> None:
    # root refreshing a user's file (sudo, cron) must not take it away from its owner
    with suppress(OSError, AttributeError):
        was = os.stat(target)
        os.fchmod(handle, was.st_mode & 0o600)
        os.fchown(handle, was.st_uid, was.st_gid)


def _sync_file(handle: int) -> None:
    """Returns when the disk has the file; on macOS, fsync(2) leaves it in the disk's cache."""
    if MACOS:
        import fcntl

        with suppress(OSError):  # a file system of a network has no such call
            fcntl.fcntl(handle, getattr(fcntl, "F_FULLFSYNC", 51))
            return
    os.fsync(handle)


def sync_folder(folder: StrPath) -> None:
    """Lets the names in a folder survive a power cut, as far as the system can: Windows and some networks cannot.

    A failure is not an error: the file has its name, with which the lock on the one before has ended.
    """
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _mount(path: str) -> bytes:
    """The mount that holds a path (Linux, proc(5): fdinfo); empty if that is not known."""
    with suppress(OSError, AttributeError):
        handle = os.open(path, os.O_PATH)
        try:
            with open(f"/proc/self/fdinfo/{handle}", "rb") as lines:
                return next((line for line in lines if line.startswith(b"mnt_id")), b"")
        finally:
            os.close(handle)
    return b""


def unavailable(path: StrPath, what: str, error: Exception) -> UnavailableError:
    """The error for a file that cannot be `what` (read, locked) at this moment."""
    problem = getattr(error, "strerror", None) or type(error).__name__
    message = f"{display_path(path)} cannot be {what} at this moment ({problem})."
    return UnavailableError(message, next_step="Try again.")


def may_write_in(folder: StrPath) -> bool:
    """Whether this account may make files in the folder, as access(2) reports it."""
    return os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def display_path(path: StrPath) -> str:
    """A path as text for a message; nothing of a key or a JSON text that was given in the place of a path."""
    return "<text, not a path>" if is_content(path) else printable(os.fsdecode(path).removeprefix(LONG_PREFIX))


def is_content(path: StrPath) -> bool:
    """Whether this is what a file contains, PEM (also without its first line) or a JSON object, and not a path."""
    text = os.fsdecode(path)
    return "-----BEGIN" in text or is_body(text) or (text.lstrip("\ufeff \t\r\n").startswith("{") and '"' in text)


_NOT_REGULAR = "is not a regular file"
_NO_FOLDER = "lies in a folder that does not exist"
_FORBIDDEN = "may not be opened by this user (permission denied)"
_OF_SYSTEM = "causes a system error"
_READ_ONLY = f"{_OF_SYSTEM} ({os.strerror(errno.EROFS)})"
MOUNTED = "is mounted by itself, without its folder, so that no new file can take its place"
_IN_USE = f"is in use ({IN_USE})"
_MARKED_READ_ONLY = "is marked as read-only"
_STICKY = "belongs to another account, in a folder where only the owner of a file may replace it"
_WAYS_OUT = {
    _NO_FOLDER: "Make that folder",
    _FORBIDDEN: "Make its folder writable",
    _READ_ONLY: "Mount its folder writable",
    _OF_SYSTEM: "Free some space",
    MOUNTED: "Mount its folder instead of the file (docker run -v ./state:/state)",
    _IN_USE: "Close the program that has it open",
    _MARKED_READ_ONLY: "Remove that attribute (attrib -R)",
    _STICKY: "Give the file to the account that runs the program",
    PLANTED: "Remove the file",
}
_NO_RIGHT = {errno.EACCES, errno.EPERM, errno.EROFS}
_FINAL = {errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP}


def _save_error(path: StrPath, error: OSError | ValueError, effect: str = "") -> SaveError:
    why = _why(error)
    step = next((step for problem, step in _WAYS_OUT.items() if why.startswith(problem)), "")
    return SaveError(
        f"{display_path(path)} could not be written: it {why}.{effect}",
        next_step=f"{step}, or choose another path." if step else "Choose another path.",
        kind="transient" if _may_pass(error) else "configuration",
    )


def _may_pass(error: Exception) -> bool:
    """Whether the same call may succeed later: a full disk, too many open files, a device that is busy."""
    final = FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError
    return isinstance(error, OSError) and not isinstance(error, final) and error.errno not in _FINAL


def _why(error: Exception) -> str:
    if isinstance(error, IsADirectoryError):
        return "is a folder, not a file"
    if isinstance(error, FileNotFoundError):
        return _NO_FOLDER
    if isinstance(error, PermissionError):
        return _FORBIDDEN
    if isinstance(error, InUseError):
        return _IN_USE
    if isinstance(error, OSError):
        return MOUNTED if error.errno == errno.EBUSY else f"{_OF_SYSTEM} ({error.strerror or type(error).__name__})"
    return "is not a path (it contains a NUL)" if "null" in str(error) else str(error)
