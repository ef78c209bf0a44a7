"""Whether and when to repeat a call: a policy as a value, given to a `WebAPI`.

The rule: only requests that are safe to repeat, never beyond the agreed time, and the last error is raised.
Pure: chance, clock and sleep are fields that a test replaces.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from .errors import PASSES_WITH_TIME, ApiError, ConfigError, NetworkError, SlyError

__all__ = ["IDEMPOTENT", "Retry"]

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods whose repetition has no further effect (RFC 9110 §9.2.2)."""
_REFUSED = PASSES_WITH_TIME - {408, 425, 429}
"""Statuses of a refusal, which passes only where the server says when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and how long a call is tried; `WebAPI(auth, retry=Retry())` or a class attribute `retry`.

    `tries`: requests in all. `total`: seconds after the first request within which the last one starts.
    `first` and `longest`: the pause in seconds doubles from one to the other; a random part of it is waited
    (full jitter). `statuses`: those that are retried; broken connections are too, and 403, 409, 413, 421 and 423 with
    a `Retry-After`. `methods`: those that are
    retried; add `"POST"` if the API promises not to act twice. After a `Retry-After` the pause is that long
    plus a random part of `first`; if that exceeds `total`, the error is raised at once. Raises `ConfigError`
    for numbers out of range and for statuses of a refusal.
    """

    tries: int = 4
    total: float = 60.0
    first: float = 0.5
    longest: float = 20.0
    statuses: Collection[int] = frozenset({429, 502, 503, 504})
    methods: Collection[str] = IDEMPOTENT
    chance: Callable[[], float] = field(default=random.random, repr=False, compare=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)
    sleep: Callable[[float], Awaitable[object]] = field(default=asyncio.sleep, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.tries < 1 or not (self.total >= 0 and 0 <= self.first <= self.longest):  # `not`: NaN too
            raise ConfigError("Retry needs tries >= 1, total >= 0 and 0 <= first <= longest.")
        if isinstance(self.methods, str):
            raise ConfigError("Retry.methods is a collection of methods, such as {'GET', 'POST'}.")
        if refused := sorted(s for s in self.statuses if not (s in PASSES_WITH_TIME or 500 <= s <= 599)):
            raise ConfigError(
                f"Retry.statuses has {', '.join(map(str, refused))}, for which a repeated request does not help.",
                next_step="Give only 403, 408, 409, 413, 421, 423, 425, 429 and 5xx.",
            )

    def delay(self, tried: int, elapsed: float, method: str, failure: SlyError) -> float | None:
        """Seconds to wait before the request is sent again; None if `failure` is final.

        `tried` requests were sent, the first one `elapsed` seconds ago; `failure` is the last one's error.
        """
        if tried >= self.tries or method not in self.methods or not self._is_temporary(failure):
            return None
        asked = failure.retry_after
        # min: 2.0**n overflows for a very large n
        pause = min(self.longest, self.first * 2.0 ** min(tried - 1, 60)) if asked is None else self.first
        wait = (asked or 0.0) + pause * self.chance()
        return wait if elapsed + wait <= self.total else None

    def _is_temporary(self, failure: SlyError) -> bool:
        if isinstance(failure, ApiError):
            return failure.status in self.statuses or (failure.retry_after is not None and failure.status in _REFUSED)
        return isinstance(failure, NetworkError) and failure.kind == "transient"
