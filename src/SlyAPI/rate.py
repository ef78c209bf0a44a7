"""How fast an API may be called: a bucket that drips, and what providers say in headers.

The rule: pure arithmetic; now is an argument, in seconds of whatever clock the caller goes by.
"""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from .web import retry_after

_EPOCH = 1e9
"""A reset beyond this is a moment, not a number of seconds to wait."""
_MILLISECONDS = 1e11
"""A moment beyond this is in milliseconds."""
_LONGEST = 86400.0 * 366
"""No provider means a longer wait: a `Retry-After` is cut to it, a reset beyond it is not believed."""
_INSTANT = 1e-6
"""A shorter wait is none: a sum of times is not exact, and a timer would go off at once."""
_ITEM = re.compile(r'"[^"]*"|[^,]')  # a quoted string may hold the comma that ends an item


class Told(NamedTuple):
    """What a provider says: `left` more requests within the next `reset` seconds."""

    left: int
    reset: float


class Bucket:
    """So many requests per second, and `burst` of them at once after a rest (a leaky bucket as a meter)."""

    __slots__ = ("_burst", "_full_at", "_interval", "_left", "_resets_at")

    def __init__(self, per_second: float | None, burst: int) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._burst = burst
        self._full_at = -math.inf  # when a bucket that nobody takes from will be full again
        self._left: int | None = None  # of what the provider told, until `_resets_at`
        self._resets_at = -math.inf

    def wait(self, now: float, ahead: int = 0) -> float:
        """Seconds until one more may be taken, after the `ahead` that are waiting."""
        paced = max(now, self._full_at) + (ahead + 1 - self._burst) * self._interval - now if self._interval else 0.0
        held = self._resets_at - now if self._left is not None and self._left <= ahead else 0.0
        wait = max(paced, held)
        return wait if wait > _INSTANT else 0.0

    def take(self, now: float) -> None:
        """Notes that a request goes out now."""
        self._full_at = max(now, self._full_at) + self._interval
        if self._resets_at <= now:
            self._left = None
        if self._left is not None:
            self._left -= 1

    def hear(self, told: Told, now: float, out: int) -> None:
        """Notes what a reply said, while `out` further requests are on their way, which it may not know of."""
        left, resets_at = max(0, told.left - out), now + told.reset
        if self._left is not None and self._resets_at > now and self._left <= 0 < left and resets_at <= self._resets_at:
            return  # an older reply that came late
        self._left, self._resets_at = left, resets_at


def told_by(headers: Mapping[str, str], status: int, wall: float) -> Told | None:
    """What a reply says of the provider's limit, the scarcest where it says several; None where it says nothing.

    Reads `Retry-After` of a 429 or 503; `RateLimit` (draft-ietf-httpapi-ratelimit-headers, and its elder form
    with `remaining=`); `RateLimit-Remaining` and `-Reset`; `X-RateLimit-Remaining` with `-Reset-After` (Discord)
    or `-Reset`, in seconds or as a moment (GitHub, X). `wall` (epoch seconds) is for a reply without `Date`.
    """
    wait = retry_after(headers, None if "Date" in headers else wall) if status in (429, 503) else None
    told = [] if wait is None else [Told(0, min(wait, _LONGEST))]
    told += _structured(headers.get("RateLimit", ""))
    for prefix in ("RateLimit", "X-RateLimit", "X-Rate-Limit"):
        left = _number(headers.get(f"{prefix}-Remaining"))
        reset = _number(headers.get(f"{prefix}-Reset-After"))
        if reset is None:
            reset = _from_now(_number(headers.get(f"{prefix}-Reset")), headers, wall)
        told += _believed(left, reset)
    return min(told, key=lambda one: (one.left, -one.reset), default=None)


def _structured(value: str) -> list[Told]:
    """The items of `RateLimit: "burst";r=5;t=30, "daily";r=900;t=4000`, or of `limit=10, remaining=5, reset=30`."""
    if not value:
        return []
    elder = {name: _number(number) for name, number in re.findall(r"\b(remaining|reset)=([^,;\s]{1,20})", value[:1000])}
    pairs = [(elder.get("remaining"), elder.get("reset"))]
    for item in re.findall(rf"(?:{_ITEM.pattern})+", value[:1000]):
        named = {name: _number(number) for name, number in re.findall(r";\s*([rt])=([^,;\s]{1,20})", item)}
        pairs.append((named.get("r"), named.get("t")))
    return [one for left, reset in pairs for one in _believed(left, reset)]


def _believed(left: float | None, reset: float | None) -> list[Told]:
    return [Told(int(left), reset)] if left is not None and reset is not None and reset <= _LONGEST else []


def _number(text: str | None) -> float | None:
    """A number that is not negative, as a header has it."""
    found = re.match(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*(?:$|[,;])", text) if text else None
    return float(found[1]) if found else None


def _from_now(reset: float | None, headers: Mapping[str, str], wall: float) -> float | None:
    if reset is None or reset < _EPOCH:
        return reset
    with suppress(KeyError, ValueError, TypeError, OverflowError):
        wall = parsedate_to_datetime(headers["Date"]).timestamp()  # the reset is by the server's clock
    return max(0.0, (reset / 1000 if reset > _MILLISECONDS else reset) - wall)
