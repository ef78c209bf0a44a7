"""What went wrong at a token endpoint, for one user or for one client, and for how long it counts.

The rule: of many callers and users one asks again, the others fail at once with what is remembered. Nothing but an
ended grant and the provider's own Retry-After is refused for longer than a minute.
"""

import copy
from dataclasses import dataclass

from ...errors import BadReplyError, GrantEndedError, SlyError, TokenError

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
    """The last failure of one user, or of one client at its token endpoint; their pauses grow until a success.

    A first failure alone is tried again at once."""

    __slots__ = ("__weakref__", "failure", "row")

    def __init__(self) -> None:
        self.failure: Failure | None = None
        self.row = 0

    def note(self, error: SlyError, now: float, refresh_token: str | None = None) -> None:
        """Remembers a failure; one that ended the grant, for that refresh token alone."""
        self.row += 1
        if isinstance(error, GrantEndedError):
            lasts = ENDED_FOR
        elif error.retry_after is not None:
            lasts = min(error.retry_after, LONGEST_RETRY_AFTER)
        elif error.kind == "transient" and not isinstance(error, BadReplyError):
            lasts = min(2.0 ** min(self.row - 2, 10), LONGEST_PAUSE) if self.row > 1 else 0.0
        else:
            lasts = LONGEST_PAUSE
        self.failure = Failure(_alone(error), now + lasts, refresh_token)

    def note_of_endpoint(self, error: SlyError, now: float) -> None:
        """Remembers what a failure of one user says of the endpoint, and so of all users of this client."""
        if error.retry_after is not None or is_client_refused(error):
            self.note(error, now)
        elif error.kind != "transient":
            self.clear()  # it works, for this client too
        elif self.row + 1 < IN_A_ROW:
            self.row += 1
        else:
            self.note(error, now)

    def clear(self) -> None:
        """A request succeeded."""
        self.failure, self.row = None, 0

    def raise_known(self, now: float, refresh_token: str | None = None) -> None:
        """Raises a copy of the failure that still counts, which reports that it is remembered and for how long."""
        failure = self.failure
        if failure is None or failure.until <= now or failure.refresh_token not in (None, refresh_token):
            return
        error = copy.copy(failure.error)
        error.retry_after = failure.until - now
        error.next_step = f"{error.next_step} (Remembered: no request for {error.retry_after:.0f} s.)".lstrip()
        raise error


def is_client_refused(error: SlyError) -> bool:
    """Whether the token endpoint refused the client itself."""
    return isinstance(error, TokenError) and error.error in ("invalid_client", "unauthorized_client")


def _alone(error: SlyError) -> SlyError:
    """A copy without traceback, cause and context, whose frames hold tokens."""
    kept = copy.copy(error)
    kept.__traceback__ = kept.__context__ = kept.__cause__ = None
    return kept
