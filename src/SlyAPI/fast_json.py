"""JSON bytes as values: with orjson where the extra `[fast]` is installed, else with json.

The rule: what is read is the same with orjson and without, because whatever the two read differently is left to json.
"""

import json
from collections.abc import Callable
from typing import Any

__all__ = ["loads"]

Loads = Callable[[bytes], Any]

_read = json.JSONDecoder().raw_decode


def _with_json(body: bytes) -> Any:
    """The value of JSON in UTF-8 that begins with it: at a third of the cost of `json.loads` for a short one."""
    text = body.decode()
    value, end = _read(text)
    if text[end:].strip(" \t\r\n"):
        raise ValueError("there is more behind the value")
    return value


# Digits as 0, what may stand before the digits of a text or a fraction as 1, all else as a space.
_SHAPE = bytes(48 if c in b"0123456789" else 49 if c in b'".' else 32 for c in range(256))
_LONG = b" " + 19 * b"0"


def _has_long_integer(body: bytes) -> bool:
    """Whether there is an integer that may be beyond 64 bits, of which orjson makes a float.

    19 digits are in two of the places that are nine apart, so a ninth of the body tells whether to search.
    """
    return b"00" in body[::9].translate(_SHAPE) and _LONG in b" " + body.translate(_SHAPE)


def _with_orjson(read: Loads) -> Loads:
    def with_orjson(body: bytes) -> Any:
        if not _has_long_integer(body):
            try:
                return read(body)
            except ValueError:  # of what json takes: NaN, half a character, 1e400, depth
                pass
        return _with_json(body)

    return with_orjson


def _choose() -> Loads:
    try:
        import orjson
    except ImportError:
        return _with_json
    return _with_orjson(orjson.loads)


def _first(body: bytes) -> Any:
    """Chooses with the first answer, so that an import of SlyAPI loads no optional library."""
    global loads
    loads = _choose()
    return loads(body)


loads: Loads = _first
"""The value of JSON in UTF-8. Raises `ValueError` or `RecursionError` for anything else, or what begins with space."""
