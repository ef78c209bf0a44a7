"""Saves new tokens, however long the store refuses them, and by whatever error.

The rule: the caller keeps the user's lock until then, so that nobody sends the refresh token that is used up.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ...errors import SaveError, SlyError
from .uncancellable import SHORT_PAUSE, is_cancelled, uncancellable

T = TypeVar("T")

LONG_PAUSE = 15.0
"""Seconds between two tries, at most, where waiting will hardly help: a full disk, a read-only folder."""


async def with_retries(
    attempt: Callable[[], Awaitable[T]], steps: uncancellable, give_up: Callable[[SaveError], bool]
) -> T | SaveError:
    """The result of `attempt`, once it succeeds; the last error where `give_up` wants no more tries."""
    pause = 0.05
    while True:
        try:
            return await attempt()
        except (Exception, asyncio.CancelledError) as raised:
            error = _save_error(raised)
        if is_cancelled():  # whatever the store made of that
            raise asyncio.CancelledError
        if give_up(error):
            return error
        await steps.pause(pause)
        pause = min(pause * 1.5, SHORT_PAUSE if error.kind == "transient" else LONG_PAUSE)


def _save_error(raised: BaseException) -> SaveError:
    """The error for one of a store's, also of somebody's own, whose words may hold tokens."""
    if isinstance(raised, SaveError):
        return raised
    kind = raised.kind if isinstance(raised, SlyError) else None
    return SaveError(f"The store failed ({type(raised).__name__}).", kind=kind)
