"""How much of a download or upload is done, as text and for `Progress`.

The rule: sizes are in decimal units, as file managers show them.
"""

from ...flow.progress import Progress

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


class ByteCount:
    """Counts the bytes of one download or upload, and shows how many there are."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._done = 0
        self._size: int | None = None

    def begin(self, size: int | None) -> None:
        """A body of this many bytes begins (None: unknown)."""
        self._done, self._size = 0, size

    def add(self, count: int) -> None:
        """So many bytes more are through."""
        self._done += count
        self._shown.show(progress_text(self._done, self._size), self._done, self._size)


def progress_text(done: int, size: int | None) -> str:
    """How far it is: `3.1 MB of 12.0 MB, 25 %`."""
    if not size:
        return size_text(done)
    return f"{size_text(done)} of {size_text(size)}, {done * 100 // size} %"


def size_text(size: int) -> str:
    """A number of bytes in decimal units."""
    if size < 1000:
        return f"{size} bytes"
    value, unit = float(size), 0
    while value >= 999.95 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_UNITS[unit]}"
