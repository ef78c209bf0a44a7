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
        return sys.platform != "win32" or _console(stream.fileno())
    return False


def can_draw(stream: Any) -> bool:
    """Whether the stream is a terminal that knows escape sequences."""
    if is_plain() or not is_terminal(stream):
        return False
    return sys.platform != "win32" or _console(stream.fileno(), escapes=True)


def _console(handle: int, *, escapes: bool = False) -> bool:
    """Whether this is a console of Windows, not another device; with `escapes`, one that takes escape sequences now."""
    import ctypes
    import msvcrt

    system: Any = ctypes  # whose names depend on the system
    crt: Any = msvcrt
    mode = ctypes.c_ulong()
    kernel, console = system.windll.kernel32, system.c_void_p(crt.get_osfhandle(handle))
    if not kernel.GetConsoleMode(console, ctypes.byref(mode)):
        return False
    # ENABLE_VIRTUAL_TERMINAL_PROCESSING, which an old console refuses
    return not escapes or bool(kernel.SetConsoleMode(console, mode.value | 4))


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
