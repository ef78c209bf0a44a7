"""The types of JSON values, and JSON bytes as values: with orjson where the extra `[fast]` is installed.

The rule: the values are the same with orjson and without, because json reads whatever the two read differently.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import errors
from .messages import Request

# Plain unions, because users of 0.6 walk them at run time (`typing.get_args`).
JsonType = int | float | bool | str | None | list["JsonType"] | dict[str, "JsonType"]
"""What `json.loads` gives."""
JsonTypeCo = int | float | bool | str | None | Sequence["JsonTypeCo"] | Mapping[str, "JsonTypeCo"]
"""What `json.dumps` takes; read-only, so that `list[str]` and a `TypedDict` fit."""
JsonMap = dict[str, JsonType]
"""A JSON object."""
JsonScalar = int | float | bool | str | None
JsonMapCo = Mapping[str, JsonTypeCo]

Loads = Callable[[bytes], Any]

_read = json.JSONDecoder().raw_decode


def _with_json(body: bytes) -> Any:
    """The value of JSON in UTF-8 without leading space: at a third of the cost of `json.loads` for a short one."""
    text = body.decode()
    value, end = _read(text)
    if end < len(text) and text[end:].strip(" \t\r\n"):
        raise ValueError("extra data after the value")
    return value


# Digits as 0; the characters before the digits of a string or a fraction as 1; everything else as a space.
_SHAPE = bytes(48 if c in b"0123456789" else 49 if c in b'".' else 32 for c in range(256))
_LONG = b" " + 19 * b"0"


def _has_long_integer(body: bytes) -> bool:
    """Whether there is an integer that may need more than 64 bits, which orjson reads as a float.

    19 digits cover at least two of every ninth byte, so a ninth of the body is enough to rule it out.
    """
    return b"00" in body[::9].translate(_SHAPE) and _LONG in b" " + body.translate(_SHAPE)


def _with_orjson(read: Loads) -> Loads:
    def with_orjson(body: bytes) -> Any:
        if not _has_long_integer(body):
            try:
                return read(body)
            except ValueError:  # json reads some of these: NaN, an unpaired surrogate, 1e400, deep nesting
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
    """Chooses at the first reply, so that importing SlyAPI loads no optional library."""
    global loads
    loads = _choose()
    return loads(body)


loads: Loads = _first
"""The value of JSON in UTF-8 without leading space. Raises `ValueError` or `RecursionError` for anything else."""


@errors.clean_traceback
def read_json(body: bytes, request: Request) -> Any:
    """The JSON value in the reply to `request`. Raises `BadReplyError`, which quotes nothing of the body."""
    return read_value(body, request)


def read_value(body: bytes, request: Request) -> Any:
    """As `read_json`, for a caller that is decorated itself: the decorator costs 0.5 % of a GET's instructions."""
    try:
        return loads(body)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(body)  # knows a byte order mark, and UTF-16 and UTF-32 (RFC 4627 §3)
    except (ValueError, RecursionError) as error:
        problem = _problem(body, error)
    raise BadReplyError(
        f"{request.name}: the body of the reply is {problem}.",
        next_step="Check the address; if it is right, try again later.",
    )


def _problem(body: bytes, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not text in a known encoding"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    beginning = body[:200].lstrip()
    if beginning.startswith(b"<"):
        return "HTML or XML, not JSON"
    return "not JSON, or cut short" if beginning else "empty"


class _JsonError(json.JSONDecodeError):
    """With a message alone, without the text that is not JSON."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "", 0)
        self.args = (message,)


class BadReplyError(errors.BadReplyError, _JsonError):
    """`BadReplyError` that is json's error too: programs written for 0.6 catch that one."""

    __module__ = errors.__name__
