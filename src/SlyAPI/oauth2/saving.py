"""Saves new tokens, however long the store refuses them, and by whatever error.

The rule: the caller keeps the user's lock until then, so that nobody sends the refresh token that is used up.
"""

import asyncio
from collections.abc import Callable

from ..errors import SaveError, SupersededError
from ..stores.contract import StoredUser
from ..tokens.user import OAuth2User
from ..web.secret_values import SecretJson
from .held_user import BROKEN
from .uncancellable import SHORT_PAUSE, is_cancelled, uncancellable

LONG_PAUSE = 15.0
"""Seconds between two tries, at most, where waiting will hardly help: a full disk, a read-only folder."""


async def save_with_retries(
    entry: StoredUser,
    user: OAuth2User,
    known: SecretJson | None,
    steps: uncancellable,
    give_up: Callable[[SaveError], bool],
) -> SaveError | None:
    """None once the user is saved in the place of what is `known`; the last error where `give_up` wants no more tries.

    Raises `SupersededError` where somebody else saved meanwhile.
    """
    pause = 0.05
    while True:
        try:
            await (entry.save(user) if known is BROKEN else entry.replace(known, user))
            return None
        except SupersededError:
            raise
        except (Exception, asyncio.CancelledError) as raised:  # also of somebody's own store; its words may hold tokens
            if is_cancelled():
                raise
            error = raised if isinstance(raised, SaveError) else SaveError(f"The store failed ({_name(raised)}).")
        if give_up(error):
            return error
        await steps.pause(pause)
        pause = min(pause * 1.5, SHORT_PAUSE if error.kind == "transient" else LONG_PAUSE)


def _name(error: BaseException) -> str:
    return type(error).__name__
