"""The users of a store whose tokens end soon.

The rule: a user that cannot be read does not hide the others.
"""

import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from ..errors import CredentialsError, CredentialsNotFoundError, UnavailableError
from ..tokens.user import OAuth2User
from .contract import StoredUser, TokenStore
from .token_ends import UNKNOWN, Token

log: logging.Logger = logging.getLogger("SlyAPI")

_DAY = 86_400.0


async def expiring(
    store: TokenStore, days: float, *, clock: Callable[[], float] = time.time
) -> AsyncGenerator[tuple[StoredUser, OAuth2User], None]:
    """Each user whose refresh token ends within `days`, or has ended: the store's entry, and what it holds.

    Leaves out users whose provider sent no end, and those that cannot be read, which the log names. The stores of
    SlyAPI find them by an index and read a page of users at a time; of another store every user is read, one after
    the other. `clock` returns epoch seconds.
    """
    async with aclosing(users_ending(store, "refresh", clock() + days * _DAY)) as users:
        async for found in users:
            yield found


async def users_ending(
    store: TokenStore, token: Token, before: float, after: float = UNKNOWN
) -> AsyncGenerator[tuple[StoredUser, OAuth2User], None]:
    """Each user whose access or refresh token ends later than `after`, up to `before` (epoch seconds)."""
    async with aclosing(store.ending(token, before, after)) as pages:
        async for page in pages:
            for name, value in page:
                entry = store.user(name)
                user = await _read(entry, value)
                if user is None:
                    continue
                end = user.expires_at if token == "access" else user.refresh_expires_at
                if end is not None and after < end.timestamp() <= before:
                    yield entry, user


async def _read(entry: StoredUser, value: dict[str, Any] | None) -> OAuth2User | None:
    """The user in the value, or in the store; None for one that was deleted or cannot be read."""
    try:
        return await entry.load() if value is None else OAuth2User.from_json_obj(value, repr(entry))
    except CredentialsNotFoundError:
        return None  # deleted since the index was read
    except (CredentialsError, UnavailableError) as error:
        if error.kind == "transient":
            raise
        log.warning("Skipped a user: %s", error)
        return None
