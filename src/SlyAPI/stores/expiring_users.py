"""The users of a store who will soon have to grant again.

The rule: a user that cannot be read does not hide the others.
"""

import logging
import time
from collections.abc import AsyncGenerator, Callable

from ..errors import CredentialsError, CredentialsNotFoundError
from ..tokens.user import OAuth2User
from .contract import StoredUser, TokenStore

log = logging.getLogger("SlyAPI")

_DAY = 86_400.0


async def expiring(
    store: TokenStore, days: float, *, clock: Callable[[], float] = time.time
) -> AsyncGenerator[tuple[StoredUser, OAuth2User], None]:
    """Each user whose refresh token ends within `days`, or has ended: the store's entry, and what it holds.

    Leaves out users whose provider sent no end, and those that cannot be read, which the log names. Reads every
    user of the store, one after the other. `clock` returns epoch seconds.
    """
    end = clock() + days * _DAY
    for name in await store.names():
        entry = store.user(name)
        try:
            user = await entry.load()
        except CredentialsNotFoundError:
            continue  # deleted since the names were read
        except CredentialsError as error:
            log.warning("Skipped a user: %s", error)
            continue
        if user.refresh_expires_at is not None and user.refresh_expires_at.timestamp() <= end:
            yield entry, user
