"""Shows how far something is that takes longer than a second, by the package tqdm.

The rule: silent in pipes and in the first second; nothing of it stays on the screen.
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from .console import Console
from .terminal import can_draw

_DELAY = 1.0
_BETWEEN_LINES = 10.0
"""Seconds between two lines where no bar can be drawn."""


class Progress:
    """Something under way: a bar that is cleared at the end or, without one, a line now and then (`lines`)."""

    def __init__(self, console: Console, *, lines: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._lines = lines
        self._begin = clock() + _DELAY
        self._next_line = clock() + _BETWEEN_LINES
        self._bar: Any = None
        self._tried = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
            self._console.bar = None

    def show(self, text: str, done: float = 0, total: float | None = None) -> None:
        """`text` says how far it is; with a `total` a bar shows it too."""
        now = self._clock()
        if now < self._begin or not self._console.shows_progress:
            return
        first, self._tried = not self._tried, True
        if first:  # not before: most commands are done within the first second
            self._bar = self._console.bar = _bar()
        if self._bar is not None:
            self._bar.total = total
            self._bar.bar_format = "{bar} {desc}" if total else "{desc}"
            self._bar.set_description_str(text, refresh=first)
            self._bar.update(done - self._bar.n)
        elif self._lines and now >= self._next_line:
            self._next_line = now + _BETWEEN_LINES
            self._console.say(text)


@asynccontextmanager
async def waiting(console: Console, what: str) -> AsyncGenerator[None]:
    """Shows `what` is waited for, and for how long already."""
    with Progress(console) as shown:
        began = time.monotonic()

        async def count() -> None:
            while True:
                await asyncio.sleep(_DELAY)
                shown.show(f"{what} ... {time.monotonic() - began:.0f} s")

        counting = asyncio.create_task(count())
        try:
            yield
        finally:
            counting.cancel()


def _bar() -> Any:
    """A bar, if stderr can draw one and tqdm is installed; else None."""
    if not can_draw(sys.stderr):
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None

    class Bar(tqdm):  # type: ignore[type-arg]
        monitor_interval = 0  # no thread that watches it

    return Bar(file=sys.stderr, leave=False, dynamic_ncols=True, miniters=0, mininterval=0.1, bar_format="{desc}")
