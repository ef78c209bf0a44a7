"""What the terminal of a stream can show: its width, colours, and lines that are replaced.

The rule: a pipe has no width and gets plain text; so does a person who asks for it by `SLYAPI_PLAIN` or `TERM=dumb`.
"""

import os
import sys
from contextlib import suppress
from typing import Any

PLAIN_VARIABLE = "SLYAPI_PLAIN"
"""The environment variable for screen readers: no colours, no columns, no pictures, and no line that changes."""


def is_plain() -> bool:
    """Whether a person asked for text that can be read aloud, from top to bottom."""
    return bool(os.environ.get(PLAIN_VARIABLE)) or os.environ.get("TERM") == "dumb"


def is_terminal(stream: Any) -> bool:
    """Whether a person reads this stream; False for one that is closed."""
    with suppress(ValueError, OSError, AttributeError):
        if not stream.isatty():
            return False
        # on Windows `isatty` is true for each device, NUL among them
        return sys.platform != "win32" or _console_mode(stream.fileno()) is not None
    return False


def can_draw(stream: Any) -> bool:
    """Whether the stream is a terminal that knows escape sequences."""
    return is_terminal(stream) and not is_plain() and (sys.platform != "win32" or _takes_escapes(stream.fileno()))


def _console_mode(handle: int) -> int | None:
    """The mode of a console of Windows; None for a device that is not one."""
    import ctypes
    import msvcrt

    mode = ctypes.c_ulong()
    system: Any = ctypes
    there = system.windll.kernel32.GetConsoleMode(system.c_void_p(_os_handle(msvcrt, handle)), ctypes.byref(mode))
    return mode.value if there else None


def _takes_escapes(handle: int) -> bool:
    """Whether a console of Windows knows escape sequences, which are switched on; an old one does not."""
    import ctypes
    import msvcrt

    mode, system = _console_mode(handle), ctypes  # type: Any, Any
    if mode is None:
        return False
    os_handle = system.c_void_p(_os_handle(msvcrt, handle))
    return bool(mode & _ESCAPES or system.windll.kernel32.SetConsoleMode(os_handle, mode | _ESCAPES))


def _os_handle(msvcrt: Any, handle: int) -> int:
    return int(msvcrt.get_osfhandle(handle))


_ESCAPES = 0x4  # ENABLE_VIRTUAL_TERMINAL_PROCESSING


def has_colour(stream: Any) -> bool:
    """Whether text may be coloured or bold (no-color.org)."""
    return can_draw(stream) and not os.environ.get("NO_COLOR")


def columns(stream: Any) -> int | None:
    """The columns of a line on the stream's terminal, or those of `COLUMNS`; None for anything but a terminal."""
    if not is_terminal(stream):
        return None
    width = os.environ.get("COLUMNS", "")
    if width.isdecimal() and 0 < int(width) < 1000:
        return int(width) - 1
    with suppress(ValueError, OSError, AttributeError):
        # one less, because some terminals begin a new line behind the last column
        return (os.get_terminal_size(stream.fileno()).columns or 80) - 1
    return 79
