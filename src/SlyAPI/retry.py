"""Whether and when to try a call again: a policy as a value, which a `WebAPI` follows when it is given one.

The rule: only what may be repeated without harm, never for longer than was agreed to, and the last error is
the one that is told. Pure: what it knows of the world (chance, clock, sleep) are fields that a test replaces.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from .errors import ApiError, ConfigError, NetworkError, SlyError

__all__ = ["IDEMPOTENT", "Retry"]

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods that change nothing more when they are sent twice (RFC 9110 §9.2.2)."""
_MAY_BE_RETRIED = {408, 425, 429}
"""Statuses below 500 that mean "not now" (RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and how long a call is tried; `WebAPI(auth, retry=Retry())` or a class attribute `retry`.

    `tries`: requests in all. `total`: seconds after the first request within which the last one begins.
    `first` and `longest`: bounds in seconds of a pause, which doubles from one to the other and of which a
    random part is waited (full jitter). `statuses`: those that are tried again, beside connections that
    broke. `methods`: those that may be; add `"POST"` where the API says that it does not act twice.
    A `Retry-After` is waited out and a random part of `first` with it, if `total` has room for it; else the
    error comes at once. Raises `ConfigError` for numbers that make no sense and for statuses of a refusal.
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
            raise ConfigError("Retry wants tries >= 1, total >= 0 and 0 <= first <= longest.")
        if isinstance(self.methods, str):
            raise ConfigError("Retry.methods is a collection of methods, such as {'GET', 'POST'}.")
        if refused := sorted(s for s in self.statuses if not (s in _MAY_BE_RETRIED or 500 <= s <= 599)):
            raise ConfigError(
                f"Retry.statuses has {', '.join(map(str, refused))}, which the same request gets again.",
                next_step="Leave 408, 425, 429 and 5xx in it.",
            )

    def delay(self, tried: int, elapsed: float, method: str, failure: SlyError) -> float | None:
        """Seconds to wait before the request is sent once more; None where `failure` is final.

        `tried` requests were sent, the first one `elapsed` seconds ago; `failure` is what the last came to.
        """
        if tried >= self.tries or method not in self.methods or not self._is_passing(failure):
            return None
        told = failure.retry_after
        # min: 2.0**n overflows for a count of tries that nobody means
        pause = min(self.longest, self.first * 2.0 ** min(tried - 1, 60)) if told is None else self.first
        wait = (told or 0.0) + pause * self.chance()
        return wait if elapsed + wait <= self.total else None

    def _is_passing(self, failure: SlyError) -> bool:
        if isinstance(failure, ApiError):
            return failure.status in self.statuses
        return isinstance(failure, NetworkError) and failure.kind == "transient"
