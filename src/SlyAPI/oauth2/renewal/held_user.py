"""One user's tokens as this process holds them: when they are due, and what the user's store has.

The rule: only a change in the store since we last read or wrote it is another program's doing, and is taken over.
"""

import asyncio
import math
import time
from collections.abc import Callable, Generator, Hashable
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from ...errors import (
    CredentialsError,
    CredentialsNotFoundError,
    DecryptionError,
    SaveError,
    SlyError,
    UnavailableError,
)
from ...stores.contract import StoredUser
from ...stores.locks import ThreadLocks
from ...tokens.times import as_utc
from ...tokens.user import OAuth2User
from ...web.events import refresh_log as log
from ...web.secret_values import SecretJson, Secrets
from ..client.app import OnRefresh
from ..client.client import check_leeway
from .token_source import TokenSource
from .uncancellable import is_cancelled

if TYPE_CHECKING:
    from ..messages.jose import SigningKey

RETRY_PAUSE = 5.0
"""Seconds until a refresh that failed while the token is still good is tried again."""
NOT_LOADED = OAuth2User("", expires_at=datetime.fromtimestamp(0, UTC))
"""Stands for the user of a store's entry, or of a source that needs no grant, until the first request."""
BROKEN = SecretJson()
"""Stands for a stored user that cannot be read, so that nothing is lost if it is replaced."""


@dataclass(slots=True, eq=False)
class Rare:
    """What only some users have: an entry in a store, a hook, a refresh in flight."""

    entry: StoredUser | None = None
    in_file: bool = False
    """Whether the entry is a user file of the program's own, which is written anew if it is gone."""
    stored: Secrets | None = None
    """The tokens that the store held when we last read or wrote it."""
    on_refresh: OnRefresh | None = None
    not_saved: SaveError | None = None
    """Why the tokens in use are only in memory, if they are."""
    fallback: OAuth2User | None = None
    """Tokens of ours that another program's save superseded, in case the provider refuses the very ones saved."""
    number: int = field(default_factory=count().__next__)
    """Stands for a user in no store; an id() would be that of another object later."""
    leeway: float | None = None
    """Seconds before expiry at which a token counts as due; None for the client's."""
    proof_key: "tuple[SecretJson, SigningKey] | None" = None
    """The user's `dpop_key`, and that key ready to sign."""
    refreshes: list[Any] = field(default_factory=list[Any])
    """Each `Refresh` that has not ended, at most one in an event loop before its hooks."""


_NOTHING = Rare()
"""What most users have of that; never changed."""


class HeldUser:
    """The user, when the token is due, and in one slot whatever is rare."""

    __slots__ = ("accepted", "clock", "due_at", "rare", "source", "timed", "user")

    def __init__(
        self,
        source: TokenSource,
        user: OAuth2User = NOT_LOADED,
        clock: Callable[[], float] = time.time,
        leeway: float | None = None,
    ) -> None:
        self.source, self.clock = source, clock
        self.rare = _NOTHING
        if leeway is not None:
            self.own().leeway = check_leeway(leeway)
        self.take(user)

    @property
    def key(self) -> Hashable:
        """What all objects of the same user in this process have in common."""
        entry = self.rare.entry
        return entry.key if entry is not None else self.own().number

    def proof_key(self) -> "SigningKey | None":
        """The key to which the user's token is bound (RFC 9449), if it is."""
        jwk = self.user.dpop_key
        if jwk is None:
            return None
        ready = self.rare.proof_key
        if ready is None or ready[0] is not jwk:
            from ..messages.jose import load_signing_key  # few need it

            ready = self.own().proof_key = (jwk, load_signing_key(jwk))
        return ready[1]

    def own(self) -> Rare:
        """The slot for what is rare, to be changed."""
        if self.rare is _NOTHING:
            self.rare = Rare()
        return self.rare

    def take(self, user: OAuth2User) -> None:
        """Uses the user's tokens from now on."""
        self.user = user
        self.accepted = False
        """Whether a reply showed that the token is good."""
        self._note_due()

    def is_due(self) -> bool:
        """Whether the token has to be refreshed before the next call."""
        if self.user.expires_at is not self.timed:  # the program may change it
            self._note_due()
        return self.due_at <= self.clock()

    def ends(self) -> float:
        """When the token expires, in epoch seconds by our clock; an empty one has done so."""
        if not self.user.token:
            return -math.inf
        return as_utc(self.timed).timestamp() - self.source.app.clock_skew if self.timed is not None else math.inf

    def _note_due(self) -> None:
        """Computes when the token is due. The leeway depends on what is left of its life, so short lives work too."""
        self.timed = self.user.expires_at
        self.due_at = self.ends()
        if self.source.can_renew(self.user):
            leeway = self.source.app.leeway if self.rare.leeway is None else self.rare.leeway
            self.due_at -= min(leeway, max(0.0, self.due_at - self.clock()) / 10)

    def keep_valid_token(self, error: SlyError) -> bool:
        """Whether to keep using a token that is due but still valid, because the refresh failed temporarily."""
        if error.kind != "transient" or self.clock() >= self.ends():
            return False
        log.warning("The refresh failed, and the token, which is still valid, stays in use: %s", error)
        self.due_at = min(self.ends(), self.clock() + RETRY_PAUSE)
        return True

    def lock(self) -> AbstractAsyncContextManager[object]:
        """The user's lock: in the store, or among this process's threads for a user in memory."""
        entry = self.rare.entry
        return self.source.lock(entry) if entry is not None else _locks.lock(str(self.own().number))

    async def load(self) -> SecretJson | None:
        """Takes over what another program saved. The stored value, None if there is none, `BROKEN` if it is garbage.

        A file that is gone or broken leaves the tokens in memory. Raises `DecryptionError`, and
        `UnavailableError` or another transient error: what cannot be read now may be newer.
        """
        rare, entry = self.rare, self.rare.entry
        if entry is None:
            return None
        try:
            loaded = await entry.store.load(entry.name)
            value = SecretJson(loaded if isinstance(loaded, dict) else {})
            stored = OAuth2User.from_json_obj(value, repr(entry))
        except (DecryptionError, UnavailableError):
            raise
        except CredentialsError as error:
            gone = isinstance(error, CredentialsNotFoundError)
            if self.user is NOT_LOADED and (self.source.needs_grant or not gone):
                raise
            if gone:
                return None
            log.warning("The stored user cannot be read, so the tokens held in memory are used: %s", error)
            return BROKEN
        except Exception as error:
            raise error if isinstance(error, SlyError) else unavailable(self, error) from None
        if mark_of(stored) != rare.stored:
            rare.stored, rare.fallback = mark_of(stored), None
            if self.source.fits(stored):
                self.take(stored)
        return value


class Locked:
    """The user's lock, while its block runs. Raises `UnavailableError` for a lock that fails in a way of its own.

    One that cannot be released is logged: what was done in it is done, and an error of the block is the one to raise.
    """

    def __init__(self, held: HeldUser) -> None:
        self._held = held

    async def __aenter__(self) -> None:
        with store_errors(self._held):
            self._lock = self._held.lock()
            await self._lock.__aenter__()

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> bool | None:
        try:
            return await self._lock.__aexit__(kind, error, traceback)
        except (Exception, asyncio.CancelledError) as raised:
            problem = unavailable(self._held, raised) if raised is not error else None
        if is_cancelled():  # whatever the store made of that
            raise asyncio.CancelledError
        if problem is not None:
            log.warning("The user's lock could not be released: %s", problem)
        return False


@contextmanager
def store_errors(held: HeldUser) -> Generator[None, None, None]:
    """Raises `UnavailableError` in the place of a store's error that is not a `SlyError`."""
    try:
        yield
    except Exception as error:
        raise error if isinstance(error, SlyError) else unavailable(held, error) from None


def unavailable(held: HeldUser, error: BaseException) -> UnavailableError:
    """The error for a store that failed in a way of its own, whose words may hold tokens."""
    return UnavailableError(f"{held.rare.entry!r} failed ({type(error).__name__}).")


def mark_of(user: OAuth2User) -> Secrets:
    """A value that identifies this state of a user's tokens, although the program may change the object."""
    return Secrets((user.token, user.refresh_token or "", str(user.expires_at)))


_locks = ThreadLocks()
"""The locks of users that are in no store."""
