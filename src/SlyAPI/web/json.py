"""The types of JSON values, and JSON bytes as values: with orjson where that is installed.

The rule: the values are the same with orjson and without, because json reads whatever the two read differently.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import errors
from .messages import Reply, Request

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


_read_digits = json.JSONDecoder(parse_float=lambda text: Digits(text)).decode


class Digits(float):
    """A number of JSON with a fraction or an exponent, and its text, which a float does not keep."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> "Digits":
        number = super().__new__(cls, text)
        number.text = text
        return number


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
def read_json(body: bytes, request: Request, encoding: str = "utf-8", status: int = 200) -> Any:
    """The JSON value in a reply; `encoding` counts outside Unicode. Raises `BadReplyError`, which quotes nothing."""
    try:
        return loads(body)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(in_unicode(body, encoding))
    except (ValueError, RecursionError) as error:
        problem = _problem(body, error)
    shown = "" if status == 200 else f" (HTTP {status})"
    raise BadReplyError(
        f"{request.name}: the body of the reply{shown} is {problem}.",
        next_step="Check the address; if it is right, try again later.",
    )


def read_reply(reply: Reply, request: Request, *, digits: bool = False) -> Any:
    """As `read_json`, in the encoding that the reply names; with `digits`, fractions are `Digits`."""
    # not `read_json`, whose decorator is 0.5 % of a GET
    try:
        return _read_digits(reply.body.decode()) if digits else loads(reply.body)
    except (ValueError, RecursionError):
        pass
    return read_json(reply.body, request, reply.encoding, reply.status)


def present(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members of an object that are not null or empty text, which many servers write for what is absent."""
    return {name: value for name, value in members.items() if value is not None and value != ""}


_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.S)  # one that has no end too, else each quote in it is tried
_BYTES_PER_VALUE = 16


def check_density(body: bytes, request: Request, limit: int) -> None:
    """Raises `BadReplyError` for JSON of so many values that they need far more memory than its text.

    `[],[],` takes 60 bytes of memory for three of text. A body up to `limit` bytes may have a value per 16 of them.
    """
    most = limit // _BYTES_PER_VALUE
    if len(body) <= most or _values(body) <= most:
        return
    if _values(_STRINGS.sub(b"", body)) > most:
        raise errors.BadReplyError(
            f"{request.name}: the JSON has more than {most} values.",
            next_step="Ask for less at once, or set reply_limit, in bytes: a value may take 16 of them.",
            kind="permanent",
        )


def _values(body: bytes) -> int:
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def in_unicode(body: bytes, encoding: str) -> str | bytes:
    """JSON as json takes it: with a byte order mark, in UTF-16 or UTF-32 too (RFC 4627 §3), else in `encoding`.

    RFC 8259 §8.1 knows UTF-8 alone; many servers name ISO-8859-1, and write it.
    """
    try:
        body.decode(json.detect_encoding(body), "surrogatepass")
    except UnicodeDecodeError:
        return body.decode(encoding)
    return body


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
        self.args: tuple[Any, ...] = (message,)


class BadReplyError(errors.BadReplyError, _JsonError):
    """`BadReplyError` that is json's error too: programs written for 0.6 catch that one."""

    __module__ = errors.__name__
