"""The time that a whole call may take: its limits, repetitions and token refresh included."""

import asyncio
from collections.abc import Awaitable
from math import isfinite
from typing import TypeVar

from ..errors import ConfigError, RequestTimeoutError
from ..web.messages import Request

T = TypeVar("T")


def checked_seconds(timeout: float) -> float:
    """`timeout` if it is a number of seconds. Raises `ConfigError`."""
    if isinstance(timeout, int | float) and not isinstance(timeout, bool) and isfinite(timeout) and timeout > 0:
        return float(timeout)
    raise ConfigError("timeout is a number of seconds greater than 0.", next_step="Give, for example, timeout=10.")


async def within(seconds: float, request: Request, sending: Awaitable[T]) -> T:
    """What `sending` gives. Raises `RequestTimeoutError` if it takes longer."""
    scope = asyncio.timeout(seconds)
    try:
        async with scope:
            return await sending
    except TimeoutError:
        if not scope.expired():
            raise
    raise RequestTimeoutError(
        f"{request.name}: no whole reply within {seconds:g} s.", next_step="Try again later, or give a longer timeout."
    )
