"""What this process learned of a user at the provider: an ended grant, Retry-After, a new token that was refused.

The rule: it is kept by entry, whichever object asks, until the stored tokens change or its time is over.
"""

import copy
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass

from ...errors import BadReplyError, GrantEndedError, IdentityError, TokenError
from ...web.secret_values import Secrets

ENDED_FOR = 600.0
"""Seconds until an ended grant is asked for again: a provider may take a mistake back."""
LONGEST_RETRY_AFTER = 3600.0
"""Seconds for which the token endpoint's Retry-After is obeyed, at most."""
REFUSED_FOR = 60.0
"""Seconds until another refresh for a token that was refused though a refresh for a refused token had brought it, or
after a reply whose tokens were refused."""
Failure = TokenError | IdentityError | BadReplyError
"""What a token request may bring."""
NEW = 5.0
"""Seconds for which a token counts as new: if it is refused, another refresh would not help."""
_MOST = 10_000


@dataclass(slots=True)
class Learned:
    """Something about one token (None: about all of the user's), until a moment in an event loop's time."""

    token: Secrets | None
    until: float
    error: Failure | None = None
    strict: bool = False


_learned: dict[Hashable, Learned] = {}


def _learn(key: Hashable, learned: Learned) -> None:
    _learned.pop(key, None)
    with suppress(RuntimeError, StopIteration):  # another thread changes it just now
        while len(_learned) >= _MOST:
            _learned.pop(next(iter(_learned)), None)  # the oldest
    _learned[key] = learned


def _lookup(key: Hashable, token: str | None, now: float) -> Learned | None:
    found = _learned.get(key)
    if found is None or found.until <= now or (found.token and (token or "") not in found.token):
        return None  # kept all the same: an object that holds an older token may have asked
    return found


def learn_error(key: Hashable, refresh_token: str | None, error: Failure, now: float, *, ready: bool = False) -> None:
    """Remembers a failure that will not change soon: a refusal, or a reply that may not be used.

    With `ready` the refresh token is that of such a reply, which may be sent.
    """
    # after the latter the refresh token may be used up: to send it again may end the grant
    ended = isinstance(error, GrantEndedError) or (not isinstance(error, TokenError) and error.kind != "transient")
    lasts = REFUSED_FOR if ready else ENDED_FOR if ended else min(error.retry_after or 0.0, LONGEST_RETRY_AFTER)
    if lasts > 0:
        kept = copy.copy(error)
        kept.__traceback__ = kept.__context__ = kept.__cause__ = None
        token = Secrets((refresh_token or "",)) if ended else None
        _learn((key, "error"), Learned(token, now + lasts, kept))


def known_error(key: Hashable, refresh_token: str | None, now: float) -> Failure | None:
    """The error that a token request would bring again."""
    found = _lookup((key, "error"), refresh_token, now)
    if found is None or found.error is None:
        return None
    error = copy.copy(found.error)
    if error.retry_after is not None:
        error.retry_after = found.until - now
    return error


def learn_renewed(key: Hashable, token: str, after_refusal: bool, now: float) -> None:
    """Remembers that a token is new; for longer if the one before it was refused."""
    before = _learned.get((key, "new"))
    strict = after_refusal or (before is not None and before.strict and before.until > now)
    until = now + (REFUSED_FOR if strict else NEW)
    _learn((key, "new"), Learned(Secrets((token,)), until, strict=strict))


def forget_new(key: Hashable) -> None:
    """Forgets that the user's token is new: an API accepted it."""
    _learned.pop((key, "new"), None)


def is_new(key: Hashable, token: str, now: float) -> bool:
    """Whether no API has accepted the token since the refresh that brought it, so that another would not help."""
    found = _lookup((key, "new"), token, now)
    if found is None:
        return False
    if not found.strict:
        found.strict, found.until = True, now + REFUSED_FOR
    return True
