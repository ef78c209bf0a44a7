"""Shows how far a download is, on a terminal.

The rule: silent in pipes; a line is replaced only when its text changes.
"""

from typing import Self

from ..flow.console import Console

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


class DownloadProgress:
    """The progress of one download, as a context that clears its line at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._received = 0
        self._size: int | None = None
        self._shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._console.progress("")

    def begin(self, size: int | None) -> None:
        """A body of this many bytes begins (None: unknown)."""
        self._received, self._size = 0, size

    def add(self, received: int) -> None:
        """So many bytes more were received."""
        self._received += received
        text = progress_text(self._received, self._size)
        if text != self._shown:
            self._console.progress(text)
            self._shown = text


def progress_text(received: int, size: int | None) -> str:
    """How far it is: `3.1 MB of 12.0 MB, 25 %`."""
    if not size:
        return size_text(received)
    return f"{size_text(received)} of {size_text(size)}, {received * 100 // size} %"


def size_text(size: int) -> str:
    """A number of bytes in decimal units."""
    if size < 1000:
        return f"{size} bytes"
    value, unit = float(size), 0
    while value >= 999.95 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_UNITS[unit]}"
