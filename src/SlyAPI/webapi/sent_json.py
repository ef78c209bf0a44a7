"""Python values as the JSON of a body: dataclasses, enums, dates, and lists and dicts of them. Pure.

The rule: what `answers` reads from JSON becomes the same JSON again.
"""

import json
from collections.abc import Mapping, Set
from dataclasses import Field, fields, is_dataclass
from datetime import date, time
from decimal import Decimal
from enum import Enum
from math import isfinite
from pathlib import PurePath
from types import NoneType
from typing import Any

from ..errors import ConfigError

_PLAIN = {str, int, bool, NoneType}


def as_json(value: Any) -> Any:
    """The value as `json.dumps` takes it; a value that has no JSON form stays. Raises `ConfigError`."""
    try:
        return _as_json(value)
    except RecursionError:
        pass
    raise ConfigError("The JSON body is nested too deeply, or contains itself.")


def json_body(value: Any) -> tuple[Any, bool]:
    """The value as the JSON of a body, and whether it is text already, as it is with a `Decimal` in it."""
    value = as_json(value)
    return (dumps(value), True) if _has_decimal(value) else (value, False)


def dumps(value: Any) -> str:
    """JSON text; a `Decimal` with the digits that it has, which `json.dumps` would refuse."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, list) and _has_decimal(value):
        return f"[{', '.join(map(dumps, value))}]"
    if isinstance(value, dict) and _has_decimal(value):
        members = (f"{json.dumps({key: 0})[1:-2]}{dumps(member)}" for key, member in value.items())
        return f"{{{', '.join(members)}}}"
    return json.dumps(value)


def _has_decimal(value: Any) -> bool:
    if type(value) is dict:
        value = value.values()
    elif type(value) is not list:
        return isinstance(value, Decimal)
    return any(map(_has_decimal, value))


def _as_json(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    if type(value) is float:
        return _finite(value)
    to_json = getattr(value, "to_json", None)
    if callable(to_json):
        return _as_json(to_json())
    if isinstance(value, list | tuple | Set):
        return [_as_json(member) for member in value]
    if isinstance(value, Mapping):
        return {_as_json(key): _as_json(member) for key, member in value.items()}
    if is_dataclass_instance(value):
        return {json_name(field): _as_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return _as_json(value.value)
    if isinstance(value, float | Decimal):  # numpy's floats too
        return _finite(value)
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, PurePath) or type(value).__name__ == "UUID":
        return str(value)
    dump = getattr(value, "model_dump", None)  # pydantic's
    if callable(dump):
        return _as_json(dump(mode="json", by_alias=True))
    names = getattr(value, "__attrs_attrs__", None) or getattr(value, "__struct_fields__", None)  # attrs, msgspec
    if names is None or isinstance(value, type):
        return value
    names = [getattr(each, "name", each) for each in names]
    keys = getattr(value, "__struct_encode_fields__", names)
    return {key: _as_json(getattr(value, name)) for key, name in zip(keys, names, strict=True)}


def _finite(number: float | Decimal) -> float | Decimal:
    if not isfinite(number):
        raise ConfigError("NaN and infinity have no form in JSON (RFC 8259 §6).", next_step="Send null or a text.")
    return number


def json_name(field: "Field[Any]") -> str:
    """The key of a dataclass's field in JSON."""
    name: str = field.metadata.get("json", field.name)
    return name


def is_dataclass_instance(value: object) -> bool:
    """Whether `value` is an instance of a dataclass."""
    return is_dataclass(value) and not isinstance(value, type)
