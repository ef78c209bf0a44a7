"""An event loop whose time jumps to the next timer, so that a test of hours takes milliseconds.

The rule: it is real asyncio; only the waiting is left out. A loop with nothing to wait for is an error, and threads are
not waited for.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = 1_800_000_000.0
"""Epoch seconds when such a loop starts."""


class _Jumping(selectors.DefaultSelector):  # type: ignore[misc, valid-type, unused-ignore]
    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("Nothing will ever happen here.")
        ready = super().select(0)
        if not ready and timeout > 0:
            self.now += timeout
        return ready


class VirtualTime(asyncio.SelectorEventLoop):
    """The loop; `clock` gives epoch seconds by its time."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def stand_still(self, seconds: float) -> None:
        """Lets time pass in which nothing runs, as in a program that computes."""
        self._jumping.now += seconds

    def clock(self) -> float:
        return EPOCH + self.time()


def run(work: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(work)


def clock() -> float:
    """Epoch seconds in the running loop's virtual time."""
    return EPOCH + asyncio.get_running_loop().time()
