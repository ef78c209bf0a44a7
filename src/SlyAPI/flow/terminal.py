"""What the terminal of a stream can show: its width, colours, lines and tables laid out for it.

The rule: a pipe has no width and gets plain text; so does a person who asks for it by `SLYAPI_PLAIN` or `TERM=dumb`.
"""

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ..web.next_steps import PROGRAM

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


_NARROWEST = 20
"""Columns: a text is not broken into shorter lines than this."""
HARD_SPACE = "\xa0"
"""A space at which no line breaks."""
_COMMAND = re.escape(PROGRAM) + r"(?: [\w./-]+(?!\S))*"


def wrapped(line: str, width: int | None, indent: str | None = None) -> list[str]:
    """The line in pieces that fit, with `indent`; one indented by four spaces, or without a space, stays whole."""
    if width is None or len(line) <= width or line.startswith("    ") or " " not in line.strip():
        return [line]
    kept = re.sub(_COMMAND, lambda found: found[0].replace(" ", HARD_SPACE), line)
    if indent is None:
        indent = line[: len(line) - len(line.lstrip())]
    pieces = [""]
    for word in re.findall(" *[^ ]+", kept):  # not textwrap, whose import takes longer than `--help`
        if pieces[-1] and len(pieces[-1]) + len(word) > max(width, _NARROWEST):
            pieces.append(indent + word.lstrip(" "))
        else:
            pieces[-1] += word
    return [piece.replace(HARD_SPACE, " ") for piece in pieces]


def table(rows: Sequence[tuple[str, str]], column: int, width: int | None, *, plain: bool = False) -> list[str]:
    """Rows as lines, texts at `column` or, where that is narrow, below their label; `plain`: each row is a sentence."""
    lines: list[str] = []
    for label, text in rows:
        line = f"{label} {text}".strip() if plain else f"{label:<{column}}{text}"
        longest = max(map(len, text.split()), default=0)
        if plain or width is None or len(line) <= width:
            lines += wrapped(line, width)
        elif width - column >= max(longest, _NARROWEST):
            padded = f"{label:<{column}}".replace(" ", HARD_SPACE)
            lines += wrapped(padded + text, width, " " * column)
        else:
            lines += [*([label] if label else []), *(f"  {piece}" for piece in wrapped(text, width - 2))]
    return [line.replace(HARD_SPACE, " ") for line in lines]
