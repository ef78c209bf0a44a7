"""The type that a caller names as a reader of JSON: dataclasses, TypedDicts, lists and unions of them. Pure.

The rule: the whole type is checked when the call is written, before anything is sent.
"""

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path, PurePath
from types import MappingProxyType, NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ..errors import BadReplyError, ConfigError, printable
from . import answer_readers as readers
from .answer_readers import KINDS, Failures, Later, Member, Members, Misfit, Read
from .sent_json import json_name

Known = Mapping[Any, Any]
"""The type arguments of a generic class by their type variables."""

_LISTS: dict[Any, Callable[[list[Any]], Any]] = {
    **dict.fromkeys((list, Sequence, Collection, Iterable), list),
    **dict.fromkeys((set, Set), set),
    frozenset: frozenset,
}
_NONE_KNOWN: Known = MappingProxyType({})
_USE = "Use a dataclass, a TypedDict, or a class with a classmethod from_json."


class AnswerType:
    """What a call returns, checked. Raises `ConfigError` for a type that JSON cannot become.

    `admits_none`: whether None is a value of it. `digits`: whether it needs the text of numbers, for a `Decimal`.
    """

    __slots__ = ("_read", "admits_none", "digits", "hint")

    def __init__(self, returns: Any) -> None:
        self.hint: Any = returns
        self.admits_none: bool = _admits_none(returns)
        compiler = _Compiler()
        try:
            self._read = readers.read_as_it_is if returns is bytes else compiler.reader(returns)
        except RecursionError:
            raise ConfigError(f"{_name(returns)} contains itself without end.", next_step=_USE) from None
        self.digits: bool = compiler.digits

    def read(self, value: Any, request_name: str, place: str = "") -> Any:
        """`value` (JSON) as the type. Raises `BadReplyError`, which names the request and the path from `place`."""
        try:
            return self._read(value, Failures())
        except Misfit as misfit:
            problem = misfit.describe(place)
        except RecursionError:
            problem = "the reply is nested too deeply"
        raise BadReplyError(
            f"{request_name} was answered with JSON of another shape. {printable(problem, 500)}.",
            next_step="Check the API's documentation; a member that may be absent needs a default.",
            kind="configuration",
        )


def answer_type(returns: Any) -> AnswerType:
    """The checked type; cached."""
    try:
        return _cached(returns, repr(returns))
    except TypeError:  # metadata of `Annotated` that cannot be hashed
        return AnswerType(returns)


@lru_cache(1000)
def _cached(returns: Any, order: str) -> AnswerType:
    """By its text too: `A | B` equals `B | A`, but tries A first."""
    return AnswerType(returns)


def _admits_none(returns: Any) -> bool:
    return returns is NoneType or (get_origin(returns) in (Union, UnionType) and NoneType in get_args(returns))


class _Compiler:
    """Makes the reader of one type; classes and aliases that contain themselves are made once."""

    def __init__(self) -> None:
        self.digits = False
        self._made: dict[Any, Read] = {}

    def reader(self, hint: Any, known: Known = _NONE_KNOWN) -> Read:
        """The function that converts JSON to the type. Raises `ConfigError` for a type that JSON cannot become."""
        hint = known.get(hint, hint) if isinstance(hint, TypeVar) else hint
        if hint in (Any, object, "JsonType") or (isinstance(hint, TypeVar | ForwardRef) and _is_open(hint)):
            return readers.read_as_it_is
        if hint is None or _is_plain(hint):
            return readers.read_float if hint is float else partial(readers.read_plain, hint or NoneType)
        if isinstance(hint, type) and get_origin(hint) is None:
            return self._class(hint, known)
        return self._form(hint, known)

    def _class(self, hint: Any, known: Known) -> Read:
        if hasattr(hint, "from_json"):
            return partial(readers.read_made, hint.from_json, _name(hint))
        if hasattr(hint, "model_validate"):  # pydantic
            return partial(readers.read_made, hint.model_validate, _name(hint))
        if hasattr(hint, "__struct_fields__"):
            return partial(readers.read_struct, import_module("msgspec"), hint)
        if (
            is_dataclass(hint)
            or hasattr(hint, "__attrs_attrs__")
            or (issubclass(hint, dict) and hasattr(hint, "__required_keys__"))
            or (issubclass(hint, tuple) and hasattr(hint, "_fields"))
        ):
            return self._members(hint, known)
        if issubclass(hint, Enum):
            return partial(readers.read_enum, hint)
        if hint in (datetime, date, time):
            return partial(readers.read_time, hint)
        if hint is Decimal:
            self.digits = True
            return readers.read_decimal
        if hint in _LISTS:
            return partial(readers.read_list, readers.read_as_it_is, _LISTS[hint])
        if hint is Mapping:
            return partial(readers.read_plain, dict)
        if hint in (Path, PurePath) or (hint.__module__, hint.__name__) == ("uuid", "UUID"):
            build: Any = hint
            return partial(readers.read_text, build, _name(hint))
        if hint.__module__ != "builtins":
            for kind in (str, int, float, list, dict):
                if issubclass(hint, kind):
                    return partial(readers.read_derived, hint, self.reader(kind))
        raise ConfigError(f"JSON cannot become {_name(hint)}.", next_step=_USE)  # bytes(10**9) would be a gigabyte

    def _form(self, hint: Any, known: Known) -> Read:
        """The reader for a type that is not a plain class: `list[X]`, `X | None`, `Literal[...]`, a generic class."""
        origin, args = get_origin(hint), get_args(hint)
        if isinstance(origin, type) and not args and origin is not tuple:  # `typing.List` without a member's type
            return self.reader(origin, known)
        if origin in (Union, UnionType):
            return self._union(args, known)
        if origin is Literal:
            return partial(readers.read_literal, args)
        if origin in _LISTS:
            return partial(readers.read_list, self.reader(args[0], known), _LISTS[origin])
        if origin is tuple:
            return self._tuple(args, known)
        if origin in (dict, Mapping):
            key = readers.read_int_key if args[0] is int else self.reader(args[0], known)
            return partial(readers.read_dict, key, self.reader(args[1], known))
        if origin is Annotated or getattr(origin, "_name", "") in ("Required", "NotRequired", "ReadOnly", "Final"):
            return self.reader(args[0], known)
        if isinstance(origin, type):
            names = getattr(origin, "__parameters__", ())
            given = {name: known.get(arg, arg) for name, arg in zip(names, args, strict=False)}
            return self._class(origin, {**known, **given})
        for inner in ("__supertype__", "__value__", "__bound__"):  # NewType, `type X = ...`, a bound type variable
            if getattr(hint, inner, None) is not None:
                return self._named(hint, getattr(hint, inner), known)
        raise ConfigError(f"JSON cannot become {_name(hint)}.", next_step=_USE)

    def _named(self, hint: Any, inner: Any, known: Known) -> Read:
        made = self._made.get(key := (hint, *known.items()))
        if made is None:
            self._made[key] = made = Later()
            made.read = self.reader(inner, known)
        return made

    def _union(self, args: tuple[Any, ...], known: Known) -> Read:
        others = [arg for arg in args if arg is not NoneType]
        if len(others) == 1:
            return partial(readers.read_optional, self.reader(others[0], known))
        plain = [arg for arg in args if _is_plain(arg) or arg is NoneType]
        # plain types last, and exactly: "red" is a Colour in `Colour | str`, and 1 an int in `float | int`
        members = [self.reader(arg, known) for arg in others if arg not in plain]
        return partial(readers.read_union, tuple(plain), members, " or ".join(map(_name, args)))

    def _tuple(self, args: tuple[Any, ...], known: Known) -> Read:
        if len(args) == 2 and args[1] is Ellipsis:
            return partial(readers.read_list, self.reader(args[0], known), tuple)
        return partial(readers.read_tuple, [self.reader(arg, known) for arg in args])

    def _members(self, kind: Any, known: Known) -> Read:
        """The reader of a class with named members; it is known before they are, because it may contain itself."""
        made = self._made.get(key := (kind, *known.items()))
        if made is not None:
            return made
        self._made[key] = made = Members(
            kind.__name__, dict if issubclass(kind, dict) else kind, by_position=issubclass(kind, tuple)
        )
        hints = _hints(kind)
        for name, json_key, required in _names_of(kind, hints):
            made.order.append(json_key)
            hint = hints[json_key if json_key in hints else name]
            try:
                made.plan.append(Member(name, json_key, self.reader(hint, known), required))
            except ConfigError as error:
                raise ConfigError(f"{_name(kind)}.{name}: {error.args[0]}", next_step=error.next_step) from None
        # literals first: they distinguish the members of a union, before anything nested is read
        made.plan.sort(key=lambda member: getattr(member.read, "func", None) is not readers.read_literal)
        return made


def _is_plain(hint: Any) -> bool:
    return isinstance(hint, type) and get_origin(hint) is None and hint in KINDS


def _is_open(hint: Any) -> bool:
    if isinstance(hint, TypeVar):
        return hint.__bound__ is None and not hint.__constraints__
    return bool(hint.__forward_arg__ == "JsonType")


def _names_of(kind: Any, hints: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """For each member the keyword of the constructor, the key in JSON, and whether it is required."""
    if is_dataclass(kind):
        return [(field.name, json_name(field), _has_no_default(field)) for field in fields(kind) if field.init]
    if hasattr(kind, "__attrs_attrs__"):
        nothing = import_module("attr").NOTHING
        return [(each.alias, each.name, each.default is nothing) for each in kind.__attrs_attrs__ if each.init]
    if issubclass(kind, tuple):
        named: Any = kind
        return [(name, name, name not in named._field_defaults) for name in named._fields]
    return [(name, name, _is_required(kind, name, hints)) for name in hints]


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
