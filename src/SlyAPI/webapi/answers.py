"""JSON as the type that the caller names: dataclasses, TypedDicts, lists and unions of them. Pure.

The rule: what does not fit is named by its path and by the kind found there; no value of a reply is ever told.
"""

import sys
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from contextvars import ContextVar
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from functools import cache, lru_cache, partial
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ..errors import BadReplyError, ConfigError, SlyError, printable

Read = Callable[[Any], Any]
Known = Mapping[Any, Any]
"""What the type variables of a generic class stand for."""

_PLAIN: dict[Any, str] = {str: "str", int: "int", bool: "bool", list: "list", dict: "object", NoneType: "null"}
_KINDS = {**_PLAIN, float: "float"}
_LISTS: dict[Any, Callable[[list[Any]], Any]] = {
    **dict.fromkeys((list, Sequence, Collection, Iterable), list),
    **dict.fromkeys((set, Set), set),
    frozenset: frozenset,
}
_WRONG = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What a class of the caller's raises when a value is not for it."""


class _Misfit(Exception):
    """A value that is not what was expected; `path` grows while the error climbs out of the structure."""

    def __init__(self, expected: str, value: Any, found: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.found = found or _KINDS.get(type(value), "another value")
        self.path: list[str] = []

    def copy(self) -> "_Misfit":
        """The same from here on, without the way that it came."""
        other = _Misfit(self.expected, None, self.found)
        other.path = [*self.path]
        return other

    def told(self, place: str) -> str:
        """As `items[3].name: expected str, found null`."""
        where = f"{place}{''.join(reversed(self.path))}".lstrip(".") or "the answer"
        return f"{where}: expected {self.expected}, found {self.found}"


def read_answer(returns: Any, value: Any, asked: str, place: str = "") -> Any:
    """`value`, which is JSON, as `returns` says; `asked` names the request in messages, `place` where the value stood.

    Raises `BadReplyError` for a value of another shape, `ConfigError` for a type that JSON cannot become.
    """
    problem = "the answer is nested too deeply"
    trouble: SlyError | None = None
    try:
        return reader_of(returns)(value)
    except SlyError as error:
        trouble = error.with_traceback(None)  # its frames have the value
    except _Misfit as misfit:
        problem = misfit.told(place)
    except RecursionError:
        pass
    del value  # so that no traceback shows what a server sent
    raise trouble or BadReplyError(
        f"{asked} was answered with JSON of another shape. {printable(problem, 500)}.",
        next_step="Check what the API promises; a member that may be absent needs a default.",
        kind="configuration",
    )


def admits_nothing(returns: Any) -> bool:
    """Whether None is one of the values that `returns` stands for."""
    return returns is NoneType or (get_origin(returns) in (Union, UnionType) and NoneType in get_args(returns))


def reader_of(hint: Any, known: Known = types.MappingProxyType({})) -> Read:
    """What turns JSON into the type. Raises `ConfigError` for one that JSON cannot become."""
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
    if hint.__module__ == "builtins":  # bytes(10**9) is no way to read a number
        raise ConfigError(f"JSON cannot become {_name(hint)}.", next_step="Use str, or a class with from_json.")
    return partial(_made, hint, _name(hint))


def _form_reader(hint: Any, known: Known) -> Read:
    """Reads what is more than a class: `list[X]`, `X | None`, `Literal[...]`, a generic dataclass."""
    origin, args = get_origin(hint), get_args(hint)
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
    # the plain ones last but exact: "red" of `Colour | str` is a Colour, and 1 of `float | int` an int
    members = [reader_of(arg, known) for arg in others if arg not in plain]
    fit = partial(_fit, tuple(plain), members, " or ".join(map(_name, args)))
    return partial(_union, fit, _mark((args, frozenset(known.items())))) if len(members) > 1 else fit


def _mark(what: object) -> object:
    """What tells one union from others: the same each time that its reader is made, if what it is of has a hash."""
    try:
        hash(what)
    except TypeError:
        return object()
    return what


def _tuple_reader(args: tuple[Any, ...], known: Known) -> Read:
    if len(args) == 2 and args[1] is Ellipsis:
        return partial(_list, reader_of(args[0], known), tuple)
    return partial(_tuple, [reader_of(arg, known) for arg in args])


# --- reading: one function for each kind of type ---


def _as_it_is(value: Any) -> Any:
    return value


def _plain(kind: Any, value: Any) -> Any:
    if type(value) is not kind:  # so that true is no int
        raise _Misfit(_PLAIN[kind], value)
    return value


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is not int:
        raise _Misfit("float", value)
    try:
        return float(value)
    except OverflowError:
        pass
    raise _Misfit("float", value, "an int too large for it")


def _list(read: Read, build: Callable[[list[Any]], Any], value: Any) -> Any:
    if type(value) is not list:
        raise _Misfit("list", value)
    at, items = -1, []
    try:
        for at, item in enumerate(value):  # noqa: B007 - told in the error
            items.append(read(item))
    except _Misfit as misfit:
        misfit.path.append(f"[{at}]")
        raise
    return items if build is list else _made(build, build.__name__, items)  # a set of what cannot be in one


def _tuple(reads: list[Read], value: Any) -> Any:
    if type(value) is not list:
        raise _Misfit("list", value)
    if len(value) != len(reads):
        raise _Misfit(f"a list of {len(reads)}", value, f"a list of {len(value)}")
    return tuple(_list(lambda pair: pair[0](pair[1]), list, [*map(list, zip(reads, value, strict=True))]))


def _dict(read_key: Read, read: Read, value: Any) -> Any:
    if type(value) is not dict:
        raise _Misfit("object", value)
    at, found = -1, {}
    try:
        for at, (key, item) in enumerate(value.items()):  # noqa: B007 - told in the error
            found[read_key(key)] = read(item)
    except _Misfit as misfit:
        misfit.path.append(f"[key {at + 1}]")  # its name is the server's
        raise
    return found


def _optional(read: Read, value: Any) -> Any:
    return None if value is None else read(value)


_in_unions: ContextVar[dict[Any, Any] | None] = ContextVar("_in_unions", default=None)
"""What came of the values within the outermost union, by union and value."""


def _union(fit: Read, mark: object, value: Any) -> Any:
    """The value as the member that it fits; read once, however many members around it are tried in vain."""
    if type(value) not in (dict, list):
        return fit(value)
    known, begun = _in_unions.get(), None
    if known is None:
        known = {}
        begun = _in_unions.set(known)
    try:
        at = mark, id(value)
        if at not in known:
            misfit: _Misfit | None = None
            found = None
            try:
                found = fit(value)
            except _Misfit as trouble:
                misfit = trouble.copy()
            known[at] = found, misfit, value  # which keeps its id from being another's
        found, misfit, _ = known[at]
    finally:
        if begun is not None:
            _in_unions.reset(begun)
    if misfit is not None:
        raise misfit.copy()  # whose path grows
    return found


def _fit(plain: tuple[Any, ...], members: list[Read], names: str, value: Any) -> Any:
    deepest: _Misfit | None = None
    for read in members:
        try:
            return read(value)
        except _Misfit as misfit:
            if deepest is None or len(misfit.path) > len(deepest.path):
                deepest = misfit
    if type(value) in plain:
        return value
    if type(value) is int and float in plain:
        return _float(value)
    # with one class of the name's kind its own trouble tells more than the list of all
    if deepest is not None and len(members) == 1 and deepest.path:
        raise deepest
    raise _Misfit(names, value)


def _literal(args: tuple[Any, ...], value: Any) -> Any:
    for arg in args:
        told = arg.value if isinstance(arg, Enum) else arg
        if type(told) is type(value) and told == value:
            return arg
    raise _Misfit(f"one of {', '.join(map(repr, args))}", value, _another(value))


def _enum(kind: Any, value: Any) -> Any:
    try:
        member = kind(value)
        if isinstance(member.value, bool) == isinstance(value, bool):  # true == 1
            return member
    except _WRONG:
        pass
    raise _Misfit(f"a value of {kind.__name__}", value, _another(value))


def _another(value: Any) -> str:
    return f"another {_KINDS[type(value)]}" if type(value) in (str, int, float) else ""


def _time(kind: Any, value: Any) -> Any:
    try:
        if type(value) is str:
            return kind.fromisoformat(value)
    except ValueError:
        pass
    raise _Misfit(f"a {kind.__name__} in ISO 8601", value, _another(value))


def _made(build: Callable[[Any], Any], name: str, value: Any) -> Any:
    problem = ""
    try:
        return build(value)
    except (_Misfit, SlyError):
        raise
    except _WRONG as error:
        problem = type(error).__name__
    raise _Misfit(f"what {name} takes", value, f"{_KINDS.get(type(value), 'a value')} ({problem})")


def _later(hint: Any, known: Known, value: Any) -> Any:
    """Reads a type that may have itself inside."""
    return reader_of(hint, known)(value)


Member = tuple[str, str, Read, bool]
"""A member's name in Python, its name in JSON, what reads it, and whether it must be there."""
Plan = Callable[[], list[Member]]


def _dataclass(kind: Any, plan: Plan, value: Any) -> Any:
    members = _members(kind, plan, value)
    return _made(lambda given: kind(**given), kind.__name__, members)


def _members(kind: Any, plan: Plan, value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise _Misfit(kind.__name__, value)
    members: dict[str, Any] = {}
    key = ""
    try:
        for name, key, read, required in plan():
            if key in value:
                members[name] = read(value[key])
            elif required:
                raise _Misfit("a value", value, "nothing")
    except _Misfit as misfit:
        misfit.path.append(f".{key}")
        raise
    return members


def _plan_of(kind: Any, known: Known) -> Plan:
    """The members of a class, found when first asked for: it may have itself inside."""
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
            (field.name, field.metadata.get("json", field.name), _has_no_default(field))
            for field in fields(kind)
            if field.init
        ]
    plan: list[Member] = []
    for name, key, required in names:
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
        told = getattr(get_origin(hint), "_name", "")
        if told in ("Required", "NotRequired"):
            return bool(told == "Required")
        if told != "ReadOnly" and get_origin(hint) is not Annotated:
            break
        hint = get_args(hint)[0]
    return name in kind.__required_keys__


def _hints(kind: Any) -> dict[str, Any]:
    try:
        return get_type_hints(kind, include_extras=True)
    except Exception as error:  # whatever evaluating the text of an annotation raises
        named = type(error).__name__
    try:
        # as it is written in `SlyAPI.web`: a name that a caller's module need not have
        return get_type_hints(kind, None, {**vars(kind), "JsonType": Any}, include_extras=True)
    except Exception:
        pass
    raise ConfigError(
        f"{_unresolved(kind)}: its type cannot be found ({named}).",
        next_step="Import the name at the top of the module, outside TYPE_CHECKING.",
    )


def _unresolved(kind: Any) -> str:
    """The class and the field whose annotation means nothing."""
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
