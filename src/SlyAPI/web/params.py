"""Python values as query text: enums, lists, sets, booleans and None; and headers as they can be sent. Pure.

The rule: a value without a text form is a `TypeError` before anything is sent, never a Python repr on the wire.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date, time
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any, TypeGuard

from .. import errors
from ..errors import printable

Params = Mapping[str, Any] | Iterable[tuple[str, Any]]
Query = dict[str, str | int | list[str]]


def as_mapping(params: Params) -> dict[str, Any]:
    """Parameters by name, `Repeated` where one occurs more than once. Raises `ConfigError` for anything but those."""
    if isinstance(params, Mapping):
        given: Any = params
        return dict(given)
    found: dict[str, Any] = {}
    try:
        for name, value in () if isinstance(params, str | bytes) else params:
            found.setdefault(name, Repeated()).append(value)
    except (TypeError, ValueError):
        found = {}
    if not found and params not in ([], ()):
        raise ConfigError("params is not a mapping or pairs.", next_step='Write params={"name": "value"}')
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


class Repeated(list[Any]):
    """Values of a parameter whose name is sent once for each."""


def as_query(params: Params, delimiter: str | None = ",") -> Query:
    """Query parameters ready to be URL-encoded once.

    `None`, an enum whose value is `None` and an empty list are left out; an enum gives its value; a
    list, tuple or set becomes one parameter, its members joined by `delimiter`, or one for each member where
    that is None; booleans are `true` and `false`. A `Decimal` keeps its digits, dates are ISO 8601, UUIDs and paths
    are their text. Raises `ConfigError`, which is a `TypeError` too, for anything else.
    """
    query: dict[str, Any] = as_mapping(params)
    for name, value in list(query.items()):
        if type(name) is not str or not name.isascii():
            _check_name(name)
        if (type(value) is str and value.isascii()) or (type(value) is int and -_FAR < value < _FAR):
            continue  # as most are
        if _is_list(value) and (delimiter is None or type(value) is Repeated):
            text: Any = [str(one) for each in value if (one := _as_text(name, each, ",")) is not None] or None
        else:
            text = _as_text(name, value, delimiter or ",")
        if text is None:
            del query[name]
        else:
            query[name] = text
    return query


def as_form(data: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """Form fields by the rules of query parameters, except that a list gives one field for each member.

    Raises `ConfigError`, which is a `TypeError` too, for data that is not a mapping, and for other values.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"form data is a {type(data).__name__}, not a mapping")
    fields: dict[str, str | list[str]] = {}
    for name, value in data.items():
        if _is_list(value):
            texts = [text for _, text in as_pairs((name, member) for member in value)]
            if texts:
                fields[name] = texts
        else:
            fields.update(as_pairs([(name, value)]))
    return fields


def as_pairs(data: Iterable[tuple[str, Any]]) -> list[tuple[str, str]]:
    """Form fields in their order; a name may occur more than once."""
    pairs: list[tuple[str, str]] = []
    for name, value in data:
        _check_name(name)
        if (text := _as_text(name, value, ",")) is not None:
            pairs.append((name, str(text)))
    return pairs


def _check_name(name: Any) -> None:
    """Raises `ConfigError` for a name with an unpaired surrogate, which would be sent without it."""
    if isinstance(name, str):
        _encodable(name, name)


def as_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The caller's headers without those that say where the body ends, which is known from what is sent.

    Raises `ConfigError` for one with an unpaired surrogate, which would be sent without it.
    """
    copied: dict[str, str] = {}
    try:
        given = dict(headers)
    except (TypeError, ValueError):
        raise ConfigError("headers is not a mapping.", next_step='Write headers={"Name": "value"}') from None
    for name, value in given.items():
        for text in (name, value):
            if not isinstance(text, str):
                raise ConfigError(f"header {printable(name, 60)!r} is a {type(text).__name__}. Give a text.")
            if not text.isascii():
                _encodable(name, text, "header")
        if name.lower() not in _FRAMING:
            copied[name] = value
    return copied


class ConfigError(errors.ConfigError, TypeError):
    """`ConfigError` that is a `TypeError` too, which programs written for 0.6 may catch."""

    __module__ = errors.__name__


_FRAMING = ("content-length", "transfer-encoding")
"""A wrong one makes the server read a part of the body, or of the next request (RFC 9112 §6.3)."""
_LISTS = (list, tuple, set, frozenset, Sequence, Set)  # the last two take ten times as long to check
_BYTES = (str, bytes, bytearray, memoryview)
_FAR = 1 << 63
"""Integers below it are always written; Python may refuse those of thousands of digits."""


def _is_list(value: object) -> TypeGuard[Sequence[Any] | Set[Any]]:
    return isinstance(value, _LISTS) and not isinstance(value, _BYTES)


def _as_text(name: str, value: Any, delimiter: str) -> str | int | None:
    if type(value) is str:
        return value if value.isascii() else _encodable(name, value)
    if type(value) is list:
        return _joined(name, value, delimiter)
    if isinstance(value, Enum):
        value = value.value
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return _writable(name, int(value))
    if isinstance(value, str):
        return _encodable(name, str(value))
    if isinstance(value, float) and isfinite(value):
        return repr(value)
    if _is_list(value):
        return _joined(name, value, delimiter)
    if isinstance(value, Decimal) and value.is_finite():
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if type(value).__name__ == "UUID" or hasattr(value, "__fspath__"):
        return _encodable(name, str(value))
    raise ConfigError(
        f"parameter {name!r} is a {type(value).__name__}, which cannot be written as query text",
        next_step="Give a text, a number, a date, or a list of these.",
    )


def _joined(name: str, value: Iterable[Any], delimiter: str) -> str | None:
    texts = [str(text) for member in value if (text := _as_text(name, member, delimiter)) is not None]
    return delimiter.join(texts) if texts else None


def _encodable(name: str, text: str, what: str = "parameter") -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{what} {name!r} contains an unpaired surrogate (U+D800 to U+DFFF).") from None
    return text


def _writable(name: str, number: int) -> int:
    try:
        str(number)
    except ValueError:
        raise ConfigError(f"parameter {name!r} is an integer of too many digits to be written.") from None
    return number
