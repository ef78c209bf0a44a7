"""Python values as the JSON of a body: dataclasses, enums, dates, and lists and dicts of them. Pure.

The rule: what `answers` reads from JSON becomes the same JSON again.
"""

from collections.abc import Mapping, Set
from dataclasses import Field, fields, is_dataclass
from datetime import date
from enum import Enum
from math import isfinite
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
    if isinstance(value, float):  # numpy's, for one
        return _finite(value)
    return value.isoformat() if isinstance(value, date) else value  # a datetime is a date


def _finite(number: float) -> float:
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
