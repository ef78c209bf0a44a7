"""Saves new tokens, however long the store is away.

The rule: until they are saved, nobody gets the lock who would ask with the refresh token that is used up.
"""

import asyncio
import math
from collections.abc import Callable
from contextlib import AsyncExitStack

from ..errors import SaveError
from ..stores import StoredUser
from ..tokens.user import OAuth2User
from ..web.events import refresh_log as log
from ..web.masking import SecretJson
from .held_user import BROKEN

LEASE_PATIENCE = 30.0
"""Seconds for which `save_in_background` keeps the lock; by then a lease in the store has run out anyway."""
LONGEST_PAUSE = 0.25
"""Seconds between two tries."""


async def save_with_retries(entry: StoredUser, fresh: OAuth2User, known: SecretJson | None, patience: float) -> None:
    """Saves where the store holds what is `known`, trying again for `patience` seconds while it is away.

    Raises `SaveError`, `SupersededError` where somebody saved meanwhile, and what a store of one's own raises.
    """
    loop, pause = asyncio.get_running_loop(), 0.05
    give_up = loop.time() + patience
    while True:
        try:
            return await (entry.save(fresh) if known is BROKEN else entry.replace(known, fresh))
        except SaveError as error:
            if error.kind != "transient" or loop.time() >= give_up:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


def save_in_background(
    entry: StoredUser, fresh: OAuth2User, known: SecretJson | None, lock: AsyncExitStack, saved: Callable[[], None]
) -> asyncio.Task[None]:
    """Saves in a task of its own, as long as the event loop runs; gives `lock` back, and calls `saved` after it."""
    for ended in [saving for saving in _savings if saving.get_loop().is_closed()]:
        _savings.discard(ended)
    saving = asyncio.create_task(_save_at_last(entry, fresh, known, lock, saved))
    _savings.add(saving)
    saving.add_done_callback(_savings.discard)
    return saving


async def _save_at_last(
    entry: StoredUser, fresh: OAuth2User, known: SecretJson | None, lock: AsyncExitStack, saved: Callable[[], None]
) -> None:
    try:
        async with lock:
            there = await _saves(entry, fresh, known, LEASE_PATIENCE)
        if not there:
            await _saves(entry, fresh, known, math.inf)
    except Exception as error:  # waiting does not help, or somebody saved newer ones
        return log.error("New tokens could not be saved later either: %s", type(error).__name__)
    saved()
    log.warning("The store is there again, and the new tokens are saved.")


async def _saves(entry: StoredUser, fresh: OAuth2User, known: SecretJson | None, patience: float) -> bool:
    try:
        await save_with_retries(entry, fresh, known, patience)
    except SaveError as error:
        if error.kind != "transient":
            raise
        return False
    return True


def as_save_error(error: Exception) -> SaveError:
    """What a store raised, as the error of ours that says so."""
    if isinstance(error, SaveError):
        return error
    return SaveError(f"The store failed ({type(error).__name__}).")  # its words may quote the value


_savings: set[asyncio.Task[None]] = set()
"""A loop holds its tasks but weakly."""
