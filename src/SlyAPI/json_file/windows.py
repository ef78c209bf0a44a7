"""What is different about files on Windows: devices, long paths, and files that another program has open.

The rule: on other systems nothing here does anything.
"""

import errno
import os
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

StrPath = str | os.PathLike[str]
T = TypeVar("T")

WINDOWS = os.name == "nt"
SHARING_TRIES, SHARING_PAUSE = 250, 0.02
"""Attempts, and the seconds between two of them."""
IN_USE = "another program has it open, or this account may not open it"
_DEVICES = re.compile("con|prn|aux|nul|conin[$]|conout[$]|(com|lpt)[0-9\u00b9\u00b2\u00b3]", re.IGNORECASE)
LONG_PREFIX = "\\\\?\\"
DEVICE = "has a name that Windows reserves for a device"
_LONG = 200  # of 259 characters; temporary files and locks have longer names


def is_device(path: StrPath) -> bool:
    """Whether Windows takes a file of this name for a device, such as `con` and `aux.json`."""
    name = re.split(r"[\\/]", os.fsdecode(path))[-1]
    return _DEVICES.fullmatch(name.partition(".")[0].rstrip()) is not None


def system_path(path: StrPath) -> StrPath:
    """The path as the system takes it: on Windows, one that is too long for its older functions has a prefix."""
    if not WINDOWS or len(absolute := os.path.abspath(os.fsdecode(path))) < _LONG or absolute.startswith(LONG_PREFIX):
        return path
    return f"{LONG_PREFIX}UNC{absolute[1:]}" if absolute.startswith("\\\\") else LONG_PREFIX + absolute


def followed(path: StrPath) -> str:
    """Where all symbolic links lead, as a path that the system takes."""
    here = os.fsdecode(system_path(path))
    try:
        return os.fsdecode(system_path(os.path.realpath(here)))
    except OSError:  # the working directory was deleted; Wine has no such answer for a long path
        return here


def patiently(call: Callable[..., T], *arguments: Any) -> T:
    """The result of the call, which Windows refuses while another program has the file open; tried for five seconds.

    Raises `InUseError` after that, and `IsADirectoryError` for a folder, which Windows does not name as one.
    """
    if not WINDOWS:
        return call(*arguments)
    for _ in range(SHARING_TRIES):
        try:
            return call(*arguments)
        except PermissionError:
            if os.path.isdir(arguments[0]):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)) from None
            time.sleep(SHARING_PAUSE)
    raise InUseError(errno.EACCES, IN_USE)


class InUseError(OSError):
    """Another program has the file open, or this account may not open it: Windows does not say which."""
