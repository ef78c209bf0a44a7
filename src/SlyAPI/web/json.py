"""What JSON is made of, and JSON bytes as values: with orjson where the extra `[fast]` is installed.

The rule: what is read is the same with orjson and without, because whatever the two read differently is left to json.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import BadReplyError
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


def read_json(body: bytes, request: Request) -> Any:
    """The JSON value in the answer to `request`. Raises `BadReplyError`, which quotes nothing of the body."""
    try:
        return loads(body)
    except (ValueError, RecursionError):
        pass
    problem = ""
    try:
        return json.loads(body)  # knows a byte order mark, and UTF-16 and UTF-32 (RFC 4627 §3)
    except UnicodeDecodeError:
        problem = "not text in a known encoding"
    except RecursionError:
        problem = "nested too deeply"
    except ValueError:
        problem = "not JSON, or cut short" if body[:200].strip() else "empty"
        if body[:200].lstrip().startswith(b"<"):
            problem = "HTML or XML, not JSON"
    del body  # so that no traceback shows what a server echoed
    raise _NotJsonError(
        f"{request.name} was answered with a body that is {problem}.",
        next_step="Check the address; if it is right, try again later.",
    )


class _JsonError(json.JSONDecodeError):
    """Of a message alone, without the text that is no JSON."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "", 0)
        self.args = (message,)


class _NotJsonError(BadReplyError, _JsonError):
    """`BadReplyError` as the error of `json` too: programs written for 0.6 catch that one, for want of ours."""

    def __reduce__(self) -> tuple[Any, ...]:
        again, (_, *told) = super().__reduce__()
        return again, (BadReplyError, *told)


_NotJsonError.__module__, _NotJsonError.__qualname__ = BadReplyError.__module__, BadReplyError.__qualname__
_NotJsonError.__name__ = BadReplyError.__name__
