"""JSON as the type that the caller names: dataclasses, TypedDicts, lists and unions of them. Pure.

The rule: an error names the path and the kind found there, never a value of the reply.
"""

import sys
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from functools import cache, lru_cache, partial
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ..errors import BadReplyError, ConfigError, SlyError, printable
from .sent_json import json_name

Read = Callable[[Any, "_Failures"], Any]
Known = Mapping[Any, Any]
"""The type arguments of a generic class by their type variables."""

_PLAIN: dict[Any, str] = {str: "str", int: "int", bool: "bool", list: "list", dict: "object", NoneType: "null"}
_KINDS = {**_PLAIN, float: "float"}
_LISTS: dict[Any, Callable[[list[Any]], Any]] = {
    **dict.fromkeys((list, Sequence, Collection, Iterable), list),
    **dict.fromkeys((set, Set), set),
    frozenset: frozenset,
}
_WRONG = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What the caller's own classes raise for a value that they cannot take."""
_MOST_TRIES = 500


class _Failures:
    """Counts how often union members failed inside the same value, so that no reply takes exponential time.

    In a union whose members contain the union again, each level doubles the tries of the values below it.
    """

    def __init__(self) -> None:
        self._tries: dict[int, int] = {}  # by the value's id, which is its own as long as the reply is being read

    def add(self, value: Any) -> None:
        self._tries[id(value)] = tries = self._tries.get(id(value), 0) + 1
        if tries > _MOST_TRIES:
            raise RecursionError


class _Misfit(Exception):
    """A value that does not fit its type; `path` grows while the error propagates out of the structure."""

    def __init__(self, expected: str, value: Any, found: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.found = found or _KINDS.get(type(value), "another value")
        self.path: list[str] = []

    def describe(self, place: str) -> str:
        """As `items[3].name: expected str, found null`."""
        where = f"{place}{''.join(reversed(self.path))}".lstrip(".") or "the reply"
        return f"{where}: expected {self.expected}, found {self.found}"


def read_answer(returns: Any, value: Any, request_name: str, place: str = "") -> Any:
    """`value`, which is JSON, as the type `returns`; messages contain `request_name`, and `place` before the path.

    Raises `BadReplyError` for a value of another shape, `ConfigError` for a type that JSON cannot become.
    """
    try:
        return reader_of(returns)(value, _Failures())
    except _Misfit as misfit:
        problem = misfit.describe(place)
    except RecursionError:
        problem = "the reply is nested too deeply"
    raise BadReplyError(
        f"{request_name} was answered with JSON of another shape. {printable(problem, 500)}.",
        next_step="Check the API's documentation; a member that may be absent needs a default.",
        kind="configuration",
    )


def admits_none(returns: Any) -> bool:
    """Whether None is a value of the type `returns`."""
    return returns is NoneType or (get_origin(returns) in (Union, UnionType) and NoneType in get_args(returns))


def reader_of(hint: Any, known: Known = types.MappingProxyType({})) -> Read:
    """The function that converts JSON to the type. Raises `ConfigError` for a type that JSON cannot become."""
    hint = known.get(hint, hint) if isinstance(hint, TypeVar) else hint
    if hint in (Any, object, "JsonType") or (isinstance(hint, TypeVar | ForwardRef) and _is_open(hint)):
        return _as_it_is
    if hint is None or _is_plain(hint):
        return _float if hint is float else partial(_plain, hint or NoneType)
    if isinstance(hint, type) and get_origin(hint) is None:
        return _class_reader(hint, known)
    return _form_reader(hint, known)


def _is_plain(hint: Any) -> bool:
    return isinstance(hint, type) and get_origin(hint) is None and hint in _KINDS


def _is_open(hint: Any) -> bool:
    if isinstance(hint, TypeVar):
        return hint.__bound__ is None and not hint.__constraints__
    return bool(hint.__forward_arg__ == "JsonType")


def _class_reader(hint: Any, known: Known) -> Read:
    if hasattr(hint, "from_json"):
        return partial(_made, hint.from_json, _name(hint))
    if is_dataclass(hint):
        return partial(_dataclass, hint, _plan_of(hint, known))
    if issubclass(hint, dict) and hasattr(hint, "__required_keys__"):
        return partial(_members, hint, _plan_of(hint, known))
    if issubclass(hint, Enum):
        return partial(_enum, hint)
    if hint in (datetime, date):
        return partial(_time, hint)
    if hint in _LISTS:
        return partial(_list, _as_it_is, _LISTS[hint])
    if hint is Mapping:
        return partial(_plain, dict)
    if hint.__module__ == "builtins":  # bytes(10**9) would be a gigabyte
        raise ConfigError(f"JSON cannot become {_name(hint)}.", next_step="Use str, or a class with from_json.")
    for kind in (str, int, float, list, dict):
        if issubclass(hint, kind):  # else null would be the text "None"
            return partial(_derived, hint, reader_of(kind))
    return partial(_made, hint, _name(hint))


def _form_reader(hint: Any, known: Known) -> Read:
    """The reader for a type that is not a plain class: `list[X]`, `X | None`, `Literal[...]`, a generic dataclass."""
    origin, args = get_origin(hint), get_args(hint)
    if isinstance(origin, type) and not args and origin is not tuple:  # `typing.List` without a member's type
        return reader_of(origin, known)
    if origin in (Union, UnionType):
        return _union_reader(args, known)
    if origin is Literal:
        return partial(_literal, args)
    if origin in _LISTS:
        return partial(_list, reader_of(args[0], known), _LISTS[origin])
    if origin is tuple:
        return _tuple_reader(args, known)
    if origin in (dict, Mapping):
        return partial(_dict, reader_of(args[0], known), reader_of(args[1], known))
    if origin is Annotated or getattr(origin, "_name", "") in ("Required", "NotRequired", "ReadOnly", "Final"):
        return reader_of(args[0], known)
    if isinstance(origin, type):
        names = getattr(origin, "__parameters__", ())
        given = {name: known.get(arg, arg) for name, arg in zip(names, args, strict=False)}
        return _class_reader(origin, {**known, **given})
    for inner in ("__supertype__", "__value__", "__bound__"):  # NewType, `type X = ...`, a bound type variable
        if getattr(hint, inner, None) is not None:
            return partial(_later, getattr(hint, inner), known)
    raise ConfigError(f"JSON cannot become {_name(hint)}.", next_step="Use a dataclass or a class with from_json.")


def _union_reader(args: tuple[Any, ...], known: Known) -> Read:
    others = [arg for arg in args if arg is not NoneType]
    if len(others) == 1:
        return partial(_optional, reader_of(others[0], known))
    plain = [arg for arg in others if _is_plain(arg)]
    # plain types last, and exactly: "red" is a Colour in `Colour | str`, and 1 an int in `float | int`
    members = [reader_of(arg, known) for arg in others if arg not in plain]
    return partial(_union, tuple(plain), members, " or ".join(map(_name, args)))


def _tuple_reader(args: tuple[Any, ...], known: Known) -> Read:
    if len(args) == 2 and args[1] is Ellipsis:
        return partial(_list, reader_of(args[0], known), tuple)
    return partial(_tuple, [reader_of(arg, known) for arg in args])


# --- reading: one function for each kind of type ---


def _as_it_is(value: Any, failures: _Failures) -> Any:
    return value


def _plain(kind: Any, value: Any, failures: _Failures) -> Any:
    if type(value) is not kind:  # not isinstance: true is not an int
        raise _Misfit(_PLAIN[kind], value)
    return value


def _float(value: Any, failures: _Failures) -> float:
    if type(value) is float:
        return value
    if type(value) is not int:
        raise _Misfit("float", value)
    try:
        return float(value)
    except OverflowError:
        raise _Misfit("float", value, "an int too large for it") from None


def _list(read: Read, build: Callable[[list[Any]], Any], value: Any, failures: _Failures) -> Any:
    if type(value) is not list:
        raise _Misfit("list", value)
    at, items = -1, []
    try:
        for at, item in enumerate(value):  # noqa: B007 - used in the path
            items.append(read(item, failures))
    except _Misfit as misfit:
        misfit.path.append(f"[{at}]")
        raise
    return items if build is list else _made(build, build.__name__, items, failures)  # a set refuses some items


def _tuple(reads: list[Read], value: Any, failures: _Failures) -> Any:
    if type(value) is not list:
        raise _Misfit("list", value)
    if len(value) != len(reads):
        raise _Misfit(f"a list of {len(reads)}", value, f"a list of {len(value)}")
    left = iter(reads)
    return tuple(_list(lambda item, failures: next(left)(item, failures), list, value, failures))


def _dict(read_key: Read, read: Read, value: Any, failures: _Failures) -> Any:
    if type(value) is not dict:
        raise _Misfit("object", value)
    at, found = -1, {}
    try:
        for at, (key, item) in enumerate(value.items()):  # noqa: B007 - used in the path
            found[read_key(key, failures)] = read(item, failures)
    except _Misfit as misfit:
        misfit.path.append(f"[key {at + 1}]")  # by number: its name is a value of the reply
        raise
    return found


def _optional(read: Read, value: Any, failures: _Failures) -> Any:
    return None if value is None else read(value, failures)


def _union(plain: tuple[Any, ...], members: list[Read], names: str, value: Any, failures: _Failures) -> Any:
    """The value as the first member that it fits; one of another kind of JSON fails at once, with an empty path."""
    inside: list[_Misfit] = []
    for read in members:
        try:
            return read(value, failures)
        except _Misfit as misfit:
            if misfit.path:
                inside.append(misfit)
                failures.add(value)
    if type(value) in plain:
        return value
    if type(value) is int and float in plain:
        return _float(value, failures)
    raise inside[0] if len(inside) == 1 else _Misfit(names, value)


def _literal(args: tuple[Any, ...], value: Any, failures: _Failures) -> Any:
    for arg in args:
        plain = arg.value if isinstance(arg, Enum) else arg
        if type(plain) is type(value) and plain == value:
            return arg
    raise _Misfit(f"one of {', '.join(map(repr, args))}", value, _another(value))


def _enum(kind: Any, value: Any, failures: _Failures) -> Any:
    try:
        member = kind(value)
        if isinstance(member.value, bool) == isinstance(value, bool):  # true == 1
            return member
    except _WRONG:
        pass
    raise _Misfit(f"a value of {kind.__name__}", value, _another(value))


def _another(value: Any) -> str:
    return f"another {_KINDS[type(value)]}" if type(value) in (str, int, float) else ""


def _time(kind: Any, value: Any, failures: _Failures) -> Any:
    try:
        if type(value) is str:
            return kind.fromisoformat(value)
    except ValueError:
        pass
    raise _Misfit(f"a {kind.__name__} in ISO 8601", value, _another(value))


def _made(build: Callable[[Any], Any], name: str, value: Any, failures: _Failures) -> Any:
    try:
        return build(value)
    except SlyError:
        raise
    except _WRONG as error:
        found = f"{_KINDS.get(type(value), 'a value')} ({type(error).__name__})"
        raise _Misfit(f"what {name} takes", value, found) from None


def _derived(hint: Any, read: Read, value: Any, failures: _Failures) -> Any:
    return _made(hint, _name(hint), read(value, failures), failures)


def _later(hint: Any, known: Known, value: Any, failures: _Failures) -> Any:
    """Reads a type that may contain itself."""
    return reader_of(hint, known)(value, failures)


Member = tuple[str, str, Read, bool]
"""A member's name in Python, its name in JSON, its reader, and whether it is required."""
Plan = Callable[[], list[Member]]


def _dataclass(kind: Any, plan: Plan, value: Any, failures: _Failures) -> Any:
    members = _members(kind, plan, value, failures)
    return _made(lambda given: kind(**given), kind.__name__, members, failures)


def _members(kind: Any, plan: Plan, value: Any, failures: _Failures) -> dict[str, Any]:
    if type(value) is not dict:
        raise _Misfit(kind.__name__, value)
    members: dict[str, Any] = {}
    key = ""
    try:
        for name, key, read, required in plan():
            if key in value:
                members[name] = read(value[key], failures)
            elif required:
                raise _Misfit("a value", value, "nothing")
    except _Misfit as misfit:
        misfit.path.append(f".{key}")
        raise
    return members


def _plan_of(kind: Any, known: Known) -> Plan:
    """The members of a class, found at first use: it may contain itself."""
    return cache(partial(_planned, kind, known)) if known else partial(_plan, kind)


@lru_cache(1000)
def _plan(kind: Any) -> list[Member]:
    return _planned(kind, {})


def _planned(kind: Any, known: Known) -> list[Member]:
    hints = _hints(kind)
    if not is_dataclass(kind):
        names: Iterable[tuple[str, str, bool]] = [(name, name, _is_required(kind, name, hints)) for name in hints]
    else:
        names = [
            (field.name, json_name(field), _has_no_default(field))
            for field in fields(kind)
            if field.init
        ]
    plan: list[Member] = []
    # literals first: they tell the members of a union apart, before anything nested is read
    for name, key, required in sorted(names, key=lambda each: get_origin(hints[each[0]]) is not Literal):
        try:
            plan.append((name, key, reader_of(hints[name], known), required))
        except ConfigError as error:
            raise ConfigError(f"{_name(kind)}.{name}: {error.args[0]}", next_step=error.next_step) from None
    return plan


def _has_no_default(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _is_required(kind: Any, name: str, hints: Mapping[str, Any]) -> bool:
    hint = hints[name]
    while get_origin(hint) is not None:
        qualifier = getattr(get_origin(hint), "_name", "")
        if qualifier in ("Required", "NotRequired"):
            return bool(qualifier == "Required")
        if qualifier != "ReadOnly" and get_origin(hint) is not Annotated:
            break
        hint = get_args(hint)[0]
    return name in kind.__required_keys__


def _hints(kind: Any) -> dict[str, Any]:
    try:
        return get_type_hints(kind, include_extras=True)
    except Exception as error:  # evaluating an annotation may raise anything
        problem = type(error).__name__
    try:
        # `JsonMap` contains this forward reference, which the caller's module need not define
        return get_type_hints(kind, None, {**vars(kind), "JsonType": Any}, include_extras=True)
    except Exception:
        pass
    raise ConfigError(
        f"{_unresolved(kind)}: its type cannot be found ({problem}).",
        next_step="Import the name at the top of the module, outside TYPE_CHECKING.",
    )


def _unresolved(kind: Any) -> str:
    """The class and the field whose annotation cannot be resolved."""
    for owner in kind.__mro__:
        space = vars(sys.modules.get(owner.__module__, SimpleNamespace()))
        for name, hint in vars(owner).get("__annotations__", {}).items():
            try:
                get_type_hints(SimpleNamespace(__annotations__={name: hint}), space, dict(vars(owner)))
            except Exception:
                return f"{kind.__name__}.{name}"
    return str(kind.__name__)


def _name(hint: Any) -> str:
    if hint is NoneType:
        return "null"
    return getattr(hint, "__name__", None) or printable(hint, 100)
