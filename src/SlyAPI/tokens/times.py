"""Times as files and providers write them. Pure: now is an argument, in epoch seconds; a naive time is UTC."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..errors import ConfigError

_LAST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


def seconds(value: Any) -> float | None:
    """A number of seconds as providers write it: int, float, digits in text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def from_epoch(at: float) -> datetime | None:
    """Epoch seconds as a time in UTC; None beyond the calendar."""
    return datetime.fromtimestamp(at, UTC) if 0 <= at < _LAST else None


def as_utc(time: datetime) -> datetime:
    """The same moment in UTC; a naive time is UTC already."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def read_time(value: Any) -> datetime | None:
    """ISO 8601 text (naive is UTC), epoch seconds or a `datetime`; None for null. Raises `ConfigError`."""
    if value is None:
        return None
    number = seconds(value)
    if number is not None:
        return from_epoch(number)
    try:
        return as_utc(value if isinstance(value, datetime) else datetime.fromisoformat(value.upper()))
    except (ValueError, TypeError, AttributeError, OverflowError):
        pass  # raised below: datetime's own error, which quotes the value, must not be its context
    raise ConfigError("a time in it is neither ISO 8601 text nor epoch seconds.")


def write_time(at: datetime) -> str:
    """A time in UTC as user files have it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at.year >= 1000 else at.isoformat()


def expiry(reply: Mapping[str, Any], now: float) -> datetime | None:
    """When the access token of a token reply expires; None if the reply does not say."""
    life = seconds(reply.get("expires_in"))
    if life is None:
        end, start = seconds(reply.get("exp")), seconds(reply.get("iat"))
        # The server's clock may be off: the difference of its two times is a lifetime, which begins at our time.
        life = end - (now if start is None else start) if end is not None else None
    # Providers write 0 or less for "unknown"; no token is expired when it is issued.
    return from_epoch(now + life) if life is not None and life > 0 else None


_REFRESH_LIVES = ("refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in")  # in no RFC


def refresh_expiry(reply: Mapping[str, Any], now: float, unit: float) -> datetime | None:
    """When the refresh token of a token reply expires; None if the reply does not say. `unit` in seconds."""
    for name in _REFRESH_LIVES:
        life = seconds(reply[name]) if name in reply else None
        if life is not None and life > 0:  # Keycloak sends 0 for an offline token, which does not expire
            return from_epoch(now + life * unit)
    return None
