"""One user's tokens as this process holds them: one state for each entry of a store, whichever signers use it.

The rule: tokens are replaced as one value, and only a change in the store since we last read or wrote it is another
program's doing, and is adopted.
"""

import math
from collections import deque
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from ...errors import SaveError
from ...tokens.times import as_utc
from ...tokens.user import OAuth2User
from ...web.secret_values import Secrets
from .failures import Failures

T = TypeVar("T")

NOT_LOADED = OAuth2User("", expires_at=datetime.fromtimestamp(0, UTC))
"""Stands for the user of a store's entry, or of a source that needs no grant, until the first request."""
NEW = 5.0
"""Seconds for which a token counts as new: if an API refuses it, another refresh would not help."""
REFUSED_AGAIN = 60.0
"""Seconds for which it counts as new if it replaced a token that an API had refused."""
RETRY_PAUSE = 5.0
"""Seconds until a refresh that failed while the token is still good is tried again."""


class TokenState:
    """The tokens in use, when they end, what the store has, what went wrong, and the flights."""

    __slots__ = (
        *("__weakref__", "ends", "failures", "flights", "granted", "new_since", "not_saved", "ours", "quiet_until"),
        *("refreshed_for_refusal", "stored", "tenth", "timed", "unsaved", "user"),
    )

    def __init__(self, user: OAuth2User = NOT_LOADED) -> None:
        self.stored: Secrets | None = None
        """The fingerprint of what the store held when we last read or wrote it."""
        self.unsaved: OAuth2User | None = None
        """The newest tokens while the store does not have them yet; in use only if `user` is the same object."""
        self.ours: tuple[Secrets, ...] = ()
        """The fingerprints of tokens of ours that the store may have although it refused them or its reply was lost."""
        self.not_saved: SaveError | None = None
        """Why the tokens in use are only in memory, if they are."""
        self.failures: Failures = Failures()
        self.flights: list[Any] = []
        """The `Flight`s that have not ended, of all event loops."""
        self.new_since: float | None = None
        """When the token in use was granted, in an event loop's time, until an API accepts it."""
        self.refreshed_for_refusal: bool = False
        """Whether it replaced a token that an API had refused."""
        self.granted: bool = False
        """Whether this process asked for the token in use, so that another request would bring no longer life."""
        self.take(user)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.user,)  # of tokens in memory; those of an entry are found by its key

    def take(self, user: OAuth2User) -> None:
        """Uses the user's tokens from now on."""
        self.user: OAuth2User = user
        self.timed: datetime | None = NOT_LOADED.expires_at if user is not NOT_LOADED else None
        self.quiet_until: float = -math.inf
        self.granted = False

    def note_end(self, clock: float, skew: float, renewable: bool) -> None:
        """Notes when the token ends by our clock, and a tenth of what is left, so that short lives work too."""
        self.timed = self.user.expires_at
        self.ends: float = as_utc(self.timed).timestamp() - skew if self.timed is not None else math.inf
        if not self.user.token:
            self.ends = -math.inf
        self.tenth: float = max(0.0, self.ends - clock) / 10 if renewable else 0.0

    def note_granted(self, now: float, after_refusal: bool) -> None:
        """Notes when new tokens were granted (an event loop's time), and whether for a token that an API refused."""
        self.refreshed_for_refusal = after_refusal or (self.refreshed_for_refusal and self.is_new(now))
        self.new_since = now

    def is_new(self, now: float) -> bool:
        """Whether no API has accepted the token since the refresh that brought it, so that another would not help."""
        if self.new_since is None:
            return False
        if now < self.new_since + (REFUSED_AGAIN if self.refreshed_for_refusal else NEW):
            if not self.refreshed_for_refusal:
                self.refreshed_for_refusal, self.new_since = True, now
            return True
        return False

    def adopt(self, stored: OAuth2User, *, fits: bool) -> None:
        """Takes over what the store has, if another program saved it since we last looked."""
        found = fingerprint(stored)
        if self.unsaved is not None and found == fingerprint(self.unsaved):  # saved after all: the reply was lost
            self.saved(self.unsaved)
        elif found in self.ours:
            self.stored = found
        elif found != self.stored:
            self.stored, self.not_saved, self.new_since = found, None, None
            self.forget_unsaved()
            if fits:
                self.take(stored)

    def keep(self, renewed: OAuth2User) -> None:
        """New tokens that the store does not have yet: whatever ends now, they are kept until it does."""
        self.unsaved = renewed
        self.ours += (fingerprint(renewed),)
        registry.unsaved.add(self)

    def use(self, renewed: OAuth2User) -> None:
        """Uses new tokens, saved or not."""
        if self.user is not renewed:
            self.take(renewed)
            self.granted = True

    def saved(self, user: OAuth2User) -> None:
        """The store has the user's tokens, which are in use from now on."""
        self.use(user)
        self.stored, self.not_saved = fingerprint(user), None
        self.forget_unsaved()

    def forget_unsaved(self) -> None:
        """The store needs no tokens of ours any more."""
        self.unsaved, self.ours = None, ()
        registry.unsaved.discard(self)


class Registry:
    """What signers of one process share: one object for each key, for as long as something holds it."""

    def __init__(self) -> None:
        self._shared: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
        self.unsaved: set[TokenState] = set()
        """Those whose newest tokens are in memory alone."""
        self.recent: deque[Any] = deque(maxlen=1000)
        """The last that were renewed, so that a program with a signer for each request forgets no failure."""

    def one(self, key: Hashable, make: Callable[[], T]) -> T:
        """The object with this key, made if there is none."""
        found: T | None = self._shared.get(key)
        return found if found is not None else self._shared.setdefault(key, make())


registry: Registry = Registry()


def fingerprint(user: OAuth2User) -> Secrets:
    """A value that identifies this state of a user's tokens, although the program may change the object."""
    return Secrets((user.token, user.refresh_token or "", str(user.expires_at)))
