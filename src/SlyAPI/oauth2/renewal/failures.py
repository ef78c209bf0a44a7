"""What went wrong at a token endpoint, for one user or for one client, and for how long it counts.

The rule: of many callers and users one asks again, the others fail at once with what is remembered. Nothing but an
ended grant and the provider's own Retry-After is refused for longer than a minute.
"""

import copy
from dataclasses import dataclass

from ...errors import BadReplyError, GrantEndedError, IdentityError, SlyError, TokenError

ENDED_FOR = 600.0
"""Seconds until an ended grant is asked for again, unless the stored tokens change: a provider may take it back."""
LONGEST_RETRY_AFTER = 3600.0
"""Seconds for which the token endpoint's Retry-After counts, at most."""
LONGEST_PAUSE = 60.0
"""Seconds of the longest pause after any other failure, and of the only one after a refused client or reply."""
IN_A_ROW = 3
"""Failures without a success between them after which the endpoint counts as down for all its users."""


@dataclass(slots=True)
class Failure:
    """An error, until when it counts (an event loop's time), and for which refresh token (None: for any)."""

    error: SlyError
    until: float
    refresh_token: str | None

    def __repr__(self) -> str:
        return f"Failure({type(self.error).__name__})"


class Failures:
    """The last failure of one user, or of one client at its token endpoint.

    Pauses begin with the failure number `first` in a row, and grow until a success.
    """

    __slots__ = ("__weakref__", "failure", "first", "row")

    def __init__(self, first: int = 2) -> None:
        self.first: int = first
        self.failure: Failure | None = None
        self.row: int = 0

    def note(self, error: SlyError, now: float, lasts: float | None = None, refresh_token: str | None = None) -> None:
        """Remembers a failure for `lasts` seconds, else for a pause that grows; failures at once count as one."""
        if self.failure is None or now >= self.failure.until:
            self.row += 1
        if lasts is None:
            lasts = min(2.0 ** min(self.row - self.first, 10), LONGEST_PAUSE) if self.row >= self.first else 0.0
        self.failure = Failure(_alone(error), now + lasts, refresh_token)

    def note_of_user(self, error: SlyError, now: float, refresh_token: str | None) -> None:
        """Remembers the failure of one user's request; one that ended the grant, for that refresh token alone."""
        if isinstance(error, GrantEndedError):
            return self.note(error, now, ENDED_FOR, refresh_token or "")
        unusable = isinstance(error, BadReplyError | IdentityError)
        self.note(error, now, _retry_after(error) or (LONGEST_PAUSE if unusable else None))

    def note_of_endpoint(self, error: SlyError, now: float) -> None:
        """Remembers what a failure of one user's request says of the endpoint, and so of all users of this client."""
        if isinstance(error, TokenError) and error.error == "invalid_client":
            self.note(error, now, LONGEST_PAUSE)
        elif error.kind == "transient" or isinstance(error, BadReplyError):
            self.note(error, now, _retry_after(error))
        else:
            self.clear()  # it works, for this client too

    def clear(self) -> None:
        """A request succeeded."""
        self.failure, self.row = None, 0

    def raise_known(self, now: float, refresh_token: str | None = None) -> None:
        """Raises a copy of the failure that still counts, which reports that it is remembered and for how long."""
        failure = self.failure
        if failure is None or failure.until <= now or failure.refresh_token not in (None, refresh_token or ""):
            return
        error = copy.copy(failure.error)
        error.retry_after, error.tries = failure.until - now, 0
        error.next_step = f"{error.next_step} (Remembered: no request for {error.retry_after:.0f} s.)".lstrip()
        raise error


def _retry_after(error: SlyError) -> float | None:
    return None if error.retry_after is None else min(error.retry_after, LONGEST_RETRY_AFTER)


def _alone(error: SlyError) -> SlyError:
    """A copy without traceback, cause and context, whose frames hold tokens."""
    kept = copy.copy(error)
    kept.__traceback__ = kept.__context__ = kept.__cause__ = None
    return kept
