"""One reading function for each kind of type: JSON values as dataclasses, lists, unions and the rest. Pure.

The rule: an error names the path and the kind found there, never a value of the reply.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any, NamedTuple

from ..errors import SlyError
from ..web.json import Digits

Read = Callable[[Any, "Failures"], Any]

PLAIN: dict[Any, str] = {str: "str", int: "int", bool: "bool", list: "list", dict: "object", NoneType: "null"}
KINDS: dict[Any, str] = {**PLAIN, float: "float", Digits: "float"}
_WRONG = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What the caller's own classes raise for a value that they cannot take."""
_MOST_TRIES = 500
_INTEGER = re.compile(r"-?\d{1,4000}")
_NUMBER = re.compile(r"-?\d{1,4000}(?:\.\d{1,4000})?(?:[eE][+-]?\d{1,6})?")


class Failures:
    """Counts how often union members failed inside the same value, so that no reply takes exponential time.

    In a union whose members contain the union again, each level doubles the tries of the values below it.
    """

    def __init__(self) -> None:
        self._tries: dict[int, int] = {}  # by the value's id, which is its own as long as the reply is being read

    def add(self, value: Any) -> None:
        self._tries[id(value)] = tries = self._tries.get(id(value), 0) + 1
        if tries > _MOST_TRIES:
            raise RecursionError


class Misfit(Exception):
    """A value that does not fit its type; `path` grows while the error propagates out of the structure."""

    def __init__(self, expected: str, value: Any, found: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.found: str = found or KINDS.get(type(value), "another value")
        self.path: list[str] = []

    def describe(self, place: str) -> str:
        """As `items[3].name: expected str, found null`."""
        where = f"{place}{''.join(reversed(self.path))}".lstrip(".") or "the reply"
        return f"{where}: expected {self.expected}, found {self.found}"


def read_as_it_is(value: Any, failures: Failures) -> Any:
    return value


def read_plain(kind: Any, value: Any, failures: Failures) -> Any:
    if type(value) is not kind:  # not isinstance: true is not an int
        raise Misfit(PLAIN[kind], value)
    return value


def read_float(value: Any, failures: Failures) -> float:
    if type(value) is float:
        return value
    if type(value) is Digits:
        return float(value)
    if type(value) is not int:
        raise Misfit("float", value)
    try:
        return float(value)
    except OverflowError:
        raise Misfit("float", value, "an int too large for it") from None


def read_list(read: Read, build: Callable[[list[Any]], Any], value: Any, failures: Failures) -> Any:
    if type(value) is not list:
        raise Misfit("list", value)
    at, items = -1, []
    try:
        for at, item in enumerate(value):  # noqa: B007 - used in the path
            items.append(read(item, failures))
    except Misfit as misfit:
        misfit.path.append(f"[{at}]")
        raise
    return items if build is list else read_made(build, build.__name__, items, failures)  # a set refuses some items


def read_tuple(reads: list[Read], value: Any, failures: Failures) -> Any:
    if type(value) is not list:
        raise Misfit("list", value)
    if len(value) != len(reads):
        raise Misfit(f"a list of {len(reads)}", value, f"a list of {len(value)}")
    left = iter(reads)
    return tuple(read_list(lambda item, failures: next(left)(item, failures), list, value, failures))


def read_dict(read_key: Read, read: Read, value: Any, failures: Failures) -> Any:
    if type(value) is not dict:
        raise Misfit("object", value)
    at, found = -1, {}
    try:
        for at, (key, item) in enumerate(value.items()):  # noqa: B007 - used in the path
            found[read_key(key, failures)] = read(item, failures)
    except Misfit as misfit:
        misfit.path.append(f"[key {at + 1}]")  # by number: its name is a value of the reply
        raise
    return found


def read_optional(read: Read, value: Any, failures: Failures) -> Any:
    return None if value is None else read(value, failures)


def read_union(plain: tuple[Any, ...], members: list[Read], names: str, value: Any, failures: Failures) -> Any:
    """The value as the first member that it fits; one of another kind of JSON fails at once, with an empty path."""
    inside: list[Misfit] = []
    for read in members:
        try:
            return read(value, failures)
        except Misfit as misfit:
            if misfit.path:
                inside.append(misfit)
                failures.add(value)
    if type(value) in plain:
        return value
    if type(value) in (int, Digits) and float in plain:
        return read_float(value, failures)
    raise inside[0] if len(inside) == 1 else Misfit(names, value)


def read_literal(args: tuple[Any, ...], value: Any, failures: Failures) -> Any:
    for arg in args:
        plain = arg.value if isinstance(arg, Enum) else arg
        if type(plain) is type(value) and plain == value:
            return arg
    raise Misfit(f"one of {', '.join(map(repr, args))}", value, _another(value))


def read_enum(kind: Any, value: Any, failures: Failures) -> Any:
    try:
        member = kind(value)
        if isinstance(member.value, bool) == isinstance(value, bool):  # true == 1
            return member
    except _WRONG:
        pass
    raise Misfit(f"a value of {kind.__name__}", value, _another(value))


def _another(value: Any) -> str:
    return f"another {KINDS[type(value)]}" if type(value) in (str, int, float) else ""


def read_time(kind: Any, value: Any, failures: Failures) -> Any:
    try:
        if type(value) is str:
            return kind.fromisoformat(value.upper())  # RFC 3339 §5.6: also in lower case
    except ValueError:
        pass
    raise Misfit(f"a {kind.__name__} in ISO 8601", value, _another(value))


def read_made(build: Callable[[Any], Any], name: str, value: Any, failures: Failures) -> Any:
    try:
        return build(value)
    except SlyError:
        raise
    except _WRONG as error:
        member = _refused_member(build, error)
        found = "another value" if member else KINDS.get(type(value), "a value")
        misfit = Misfit(f"what {name} takes", value, f"{found} ({type(error).__name__})")
        misfit.path += member
        raise misfit from None


def _refused_member(build: Any, error: Exception) -> list[str]:
    """The first member of a pydantic class that its error names; names of the reply's own stay unsaid."""
    known = getattr(getattr(build, "__self__", None), "model_fields", ())
    places = [wrong["loc"] for wrong in getattr(error, "errors", list)()] if known else []
    return [f".{place[0]}" for place in places[:1] if place and place[0] in known]


def read_struct(msgspec: Any, hint: Any, value: Any, failures: Failures) -> Any:
    """What msgspec makes of it, whose errors are no `ValueError` before its version 0.21."""
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError:
        raise Misfit(f"what {hint.__name__} takes", value) from None


def read_derived(hint: Any, read: Read, value: Any, failures: Failures) -> Any:
    return read_made(hint, hint.__name__, read(value, failures), failures)


def read_decimal(value: Any, failures: Failures) -> Decimal:
    """A number with the digits that its text has; or the text of a number."""
    if type(value) is int:
        return Decimal(value)
    text = value.text if type(value) is Digits else repr(value) if type(value) is float else value
    if type(text) is str and _NUMBER.fullmatch(text):
        return Decimal(text)
    raise Misfit("a number", value, _another(value))


def read_int_key(value: str, failures: Failures) -> int:
    """A member's name, which is always text in JSON."""
    if _INTEGER.fullmatch(value):
        return int(value)
    raise Misfit("an int", value, "another str")


def read_text(build: Callable[[str], Any], name: str, value: Any, failures: Failures) -> Any:
    """A text as what a class makes of it: a UUID, a path."""
    return read_made(build, name, read_plain(str, value, failures), failures)


class Member(NamedTuple):
    """A member of a class: the keyword of its constructor, its key in JSON, its reader, whether it is required."""

    name: str
    key: str
    read: Read
    required: bool


class Members:
    """Gives the members of an object to `build` by name; `by_position`: also a list, as for a NamedTuple."""

    def __init__(self, name: str, build: Callable[..., Any], *, by_position: bool = False) -> None:
        self.name: str = name
        self._build, self._by_position = build, by_position
        self.plan: list[Member] = []
        self.order: list[str] = []

    def __call__(self, value: Any, failures: Failures) -> Any:
        if self._by_position and type(value) is list and len(value) <= len(self.order):
            value = dict(zip(self.order, value, strict=False))
        members = self._read(value, failures)
        if self._build is dict:
            return members
        return read_made(lambda given: self._build(**given), self.name, members, failures)

    def _read(self, value: Any, failures: Failures) -> dict[str, Any]:
        if type(value) is not dict:
            raise Misfit(self.name, value)
        members: dict[str, Any] = {}
        key = ""
        try:
            for name, key, read, required in self.plan:
                if key in value:
                    members[name] = read(value[key], failures)
                elif required:
                    raise Misfit("a value", value, "nothing")
        except Misfit as misfit:
            misfit.path.append(f".{key}")
            raise
        return members


class Later:
    """The reader of a type that may contain itself; `read` is filled in later."""

    read: Read

    def __call__(self, value: Any, failures: Failures) -> Any:
        return self.read(value, failures)
