"""When the tokens in a stored value end, as the indexes of stores have it: in Python and in SQL. Pure.

The rule: an index may name a user too many, never one too few; the stored value decides.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from zlib import crc32

from ..errors import ConfigError
from ..tokens.times import from_epoch, read_time, write_time

Token = Literal["access", "refresh"]
"""Which of a user's tokens."""
Page = list[tuple[str, dict[str, Any] | None]]
"""Users by name, each with its stored value; None where that was not read, or cannot be."""

KEYS: dict[Token, str] = {"access": "expires_at", "refresh": "refresh_expires_at"}
"""Under which key a value has the end of each token."""
PAGE = 200
"""Users that a store reads at once."""
NAMES = 10_000
"""Names that a store reads at once."""
NEVER, UNKNOWN = math.inf, -math.inf
"""The end of a token whose provider reported none; one that only a whole load of the user can show."""

SQL_UNKNOWN = "!"
"""`UNKNOWN` in SQL: it sorts before all times."""


def check_token(token: Token) -> Token:
    """The argument, which a caller may have given as any text. Raises `ConfigError`, which does not repeat it."""
    if token not in (*KEYS,):
        raise ConfigError("`token` is neither access nor refresh.", next_step="Give one of these two words.")
    return token


def end_of(value: Mapping[str, Any], token: Token) -> float:
    """When the token ends, in epoch seconds, `NEVER`, or `UNKNOWN` for a token reply stored unchanged."""
    try:
        end = _time(value, token)
    except (ConfigError, LookupError):
        return UNKNOWN
    return NEVER if end is None else end.timestamp()


def ends_in_clear(value: Mapping[str, Any]) -> dict[str, str | None]:
    """The members of a value that say when its tokens end, for an encrypted value; empty if one is `UNKNOWN`."""
    try:
        ends = {KEYS[token]: _time(value, token) for token in KEYS}
    except (ConfigError, LookupError):
        return {}
    return {key: None if end is None else write_time(end) for key, end in ends.items()}


def _time(value: Mapping[str, Any], token: Token) -> datetime | None:
    key = KEYS[token]
    if key not in value and "token" not in value:
        raise LookupError
    return read_time(value.get(key))


def sql_end(token: Token, piece: str) -> str:
    """An SQL expression for the end of a token in the column `value`, which an index can be made of.

    Gives the text of `write_time`, NULL for `NEVER`, and `SQL_UNKNOWN` for what is not exactly as we write it. Works
    on the text alone, since a database's JSON functions raise errors for text that they cannot read. `piece` gives the
    text that follows the quoted key in `KEYS`, without spaces before it, 31 characters or more, and NULL where there is
    none.
    """
    # `to_dict` begins with the token, and leaves the end of a refresh token out where it has none
    own = "'{\"token\":'"
    absent = f"CASE WHEN substr(value, 1, 9) = {own} THEN NULL ELSE '{SQL_UNKNOWN}' END"
    end = f"ltrim(substr({piece}, 2))"
    return (
        f"(CASE WHEN {piece} IS NULL THEN {absent} WHEN substr({piece}, 1, 1) <> ':' THEN '{SQL_UNKNOWN}'"
        f" WHEN {end} LIKE '\"____-__-__T__:__:__.______Z\"%' THEN substr({end}, 2, 27)"
        f" WHEN {end} LIKE 'null%' THEN NULL ELSE '{SQL_UNKNOWN}' END)"
    )


def sql_time(at: float) -> str:
    """Epoch seconds as the text that `sql_end` gives, to compare with; beyond the calendar, a text beyond all."""
    time = from_epoch(at)
    return write_time(time) if time is not None else "0" if at < 0 else "9999-12-31"


def score(end: float, name: str) -> str:
    """A user's place in a sorted set: the second in which the token ends, with a fraction by the name.

    Sorted sets are read by score alone. The fraction keeps apart users whose tokens end in the same second, so that a
    page can end between them.
    """
    if end == NEVER:
        return "+inf"
    second = 0 if end == UNKNOWN else max(0, math.floor(end))
    return repr(second + crc32(name.encode("utf-8", "surrogatepass")) / 2**32)


def score_ranges(before: float, after: float) -> list[tuple[float, float]]:
    """Where to look for tokens that end in this time: from and below which scores. `UNKNOWN` is second 0."""
    low, high = (min(max(1.0, at), 1e15) for at in (after, before))
    return [(0, 1), (math.floor(low), math.floor(high) + 1)]
