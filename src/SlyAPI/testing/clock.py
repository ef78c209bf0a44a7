"""A clock that a test moves ahead, for the practice provider and the program under test."""
from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Seconds since 1970: the machine's clock, plus what `advance` added.

    It goes on by itself, so that a program that reads the machine's clock agrees with it until `advance` is called.
    """

    __module__ = "SlyAPI.testing"

    def __init__(self, machine: Callable[[], float] = time.time) -> None:
        self._machine = machine
        self._ahead = 0.0

    def __call__(self) -> float:
        return self._machine() + self._ahead

    def __repr__(self) -> str:
        return f"Clock(ahead={self._ahead:g})"

    def advance(self, seconds: float) -> None:
        """Let this much time pass at once."""
        self._ahead += seconds

    async def sleep(self, seconds: float) -> None:
        """`advance`, for code that takes its `sleep` as an argument."""
        self.advance(seconds)
