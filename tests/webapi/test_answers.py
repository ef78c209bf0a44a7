"""JSON as the type that the caller names, and what is said where it does not fit."""
from __future__ import annotations

import collections.abc
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field, make_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    NewType,
    NotRequired,
    Required,
    TypedDict,
    TypeVar,
)

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import Auth, WebAPI
from SlyAPI.errors import BadReplyError, ConfigError, SlyError
from SlyAPI.web import JsonMap, JsonType
from SlyAPI.webapi.answers import answer_type

if TYPE_CHECKING:
    from tests.conftest import Serve

Item = TypeVar("Item")
UserId = NewType("UserId", int)


class Sky(Enum):
    SUNNY = "sunny"
    RAIN = "rain"


class Level(IntEnum):
    LOW = 1


@dataclass
class Place:
    name: str
    people: int = 0
    height: float | None = None
    parts: list[Place] = field(default_factory=list)


@dataclass
class Mail:
    _: KW_ONLY
    sender: str = field(metadata={"json": "from"})
    id: UserId
    at: datetime | None = None
    read: bool = False
    length: int = field(init=False, default=7)


class Base(TypedDict):
    id: Annotated[int, []]
    title: NotRequired[str]


class Day(Base, total=False):
    sky: Required[Sky]
    wind: Literal["n", "s", 3] | None


@dataclass
class Page(Generic[Item]):
    items: Sequence[Item]
    next: Page[Item] | None = None


class Temperature:
    def __init__(self, celsius: float) -> None:
        self.celsius = celsius

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Temperature:
        return cls(float(told["c"]))


@dataclass
class Checked:
    least: int
    most: int

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise ValueError("a secret 77777 in a message")


@dataclass
class Anything:
    a: JsonMap
    b: JsonType = None
    c: Any = None
    d: dict[str, Any] = field(default_factory=dict)


def read(returns: Any, value: Any) -> Any:
    return answer_type(returns).read(value, "GET https://api.example/x")


def trouble(returns: Any, value: Any) -> str:
    """What is said about the shape, without the words around it."""
    with pytest.raises(BadReplyError) as caught:
        read(returns, value)
    assert caught.value.kind == "configuration"
    assert caught.value.next_step
    said = str(caught.value.args[0])
    assert said.startswith("GET https://api.example/x was answered with JSON of another shape. ")
    return said.partition("shape. ")[2].removesuffix(".")


GOOD: list[tuple[Any, Any, Any]] = [
    (Place, {"name": "Oslo", "unknown": 1}, Place("Oslo")),
    (Place, {"name": "x", "height": 3, "parts": [{"name": "y"}]}, Place("x", 0, 3.0, [Place("y")])),
    (Mail, {"from": "a", "id": 5}, Mail(sender="a", id=UserId(5))),
    (
        Mail,
        {"from": "a", "id": 5, "at": "2026-01-02T03:04:05Z", "length": 9},
        Mail(sender="a", id=UserId(5), at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ),
    (Day, {"id": 1, "sky": "rain", "unknown": 2}, {"id": 1, "sky": Sky.RAIN}),
    (Day, {"id": 1, "sky": "rain", "title": "t", "wind": 3}, {"id": 1, "sky": Sky.RAIN, "title": "t", "wind": 3}),
    (Page[int], {"items": [1, 2]}, Page([1, 2])),
    (Page[Place], {"items": [], "next": {"items": [{"name": "x"}]}}, Page([], Page([Place("x")]))),
    (list[Place], [{"name": "x"}], [Place("x")]),
    (dict[str, list[float]], {"a": [1, 2.5]}, {"a": [1.0, 2.5]}),
    (dict[Sky, int], {"sunny": 1}, {Sky.SUNNY: 1}),
    (Mapping[str, int], {"a": 1}, {"a": 1}),
    (tuple[int, str], [1, "a"], (1, "a")),
    (tuple[int, ...], [1, 2, 3], (1, 2, 3)),
    (set[int], [1, 1], {1}),
    (frozenset[str], ["a"], frozenset("a")),
    (Place | None, None, None),
    (Place | list[Place], [{"name": "x"}], [Place("x")]),
    (int | float, 1, 1),
    (float | int, 1, 1),
    (float | str, 1, 1.0),
    (Sky | str, "sunny", Sky.SUNNY),
    (str | Sky, "fog", "fog"),
    (Level, 1, Level.LOW),
    (Literal[Sky.RAIN, "x"], "rain", Sky.RAIN),
    (date, "2026-01-02", date(2026, 1, 2)),
    (datetime, "2026-01-02t03:04:05.5z", datetime(2026, 1, 2, 3, 4, 5, 500_000, UTC)),
    (Decimal, "1.5", Decimal("1.5")),
    (Anything, {"a": {"x": [1]}, "b": [None], "c": 1}, Anything({"x": [1]}, [None], 1)),
    (JsonMap, {"a": [1, {}]}, {"a": [1, {}]}),
    (JsonType, [1], [1]),
    (Any, [1], [1]),
    (dict, {"a": 1}, {"a": 1}),
    (list, [1], [1]),
    (bool, True, True),
    (None, None, None),
]


@pytest.mark.parametrize(("returns", "value", "expected"), GOOD, ids=[str(row[0]) for row in GOOD])
def test_json_becomes_what_was_named(returns: Any, value: Any, expected: Any) -> None:
    found = read(returns, value)
    assert found == expected
    assert type(found) is type(expected)


def test_a_class_with_from_json_is_asked_wherever_it_stands() -> None:
    found = read(dict[str, list[Temperature]], {"oslo": [{"c": 3}]})
    assert found["oslo"][0].celsius == 3.0
    assert trouble(list[Temperature], [{"c": 3}, {}]) == "[1]: expected what Temperature takes, found object (KeyError)"


BAD: list[tuple[Any, Any, str]] = [
    (Place, {"name": None}, "name: expected str, found null"),
    (Place, {}, "name: expected a value, found nothing"),
    (Place, [], "the reply: expected Place, found list"),
    (Place, {"name": "x", "people": True}, "people: expected int, found bool"),
    (Place, {"name": "x", "people": 1.0}, "people: expected int, found float"),
    (Place, {"name": "x", "height": "3"}, "height: expected float, found str"),
    (Place, {"name": "x", "height": True}, "height: expected float, found bool"),
    (Place, {"name": "x", "parts": [{"name": "y"}, {"name": 1}]}, "parts[1].name: expected str, found int"),
    (Page[Place], {"items": [{"name": "x"}, {"name": {}}]}, "items[1].name: expected str, found object"),
    (Mail, {"from": 1, "id": 1}, "from: expected str, found int"),
    (Mail, {"from": "x", "id": 1, "at": "yesterday"}, "at: expected a datetime in ISO 8601, found another str"),
    (Day, {"id": 1}, "sky: expected a value, found nothing"),
    (Day, {"id": 1, "sky": "77777"}, "sky: expected a value of Sky, found another str"),
    (Day, {"id": 1, "sky": "rain", "wind": "w"}, "wind: expected one of 'n', 's', 3, found another str"),
    (dict[str, Place], {"a": {"name": "x"}, "77777": {}}, "[key 2].name: expected a value, found nothing"),
    (tuple[int, str], [1], "the reply: expected a list of 2, found a list of 1"),
    (tuple[int, str], [1, 2], "[1]: expected str, found int"),
    (set[Any], [[77777]], "the reply: expected what set takes, found list (TypeError)"),
    (Place | list[int], "77777", "the reply: expected Place or list, found str"),
    (int | str, 1.5, "the reply: expected int or str, found float"),
    (Level, True, "the reply: expected a value of Level, found bool"),
    (Sky, [], "the reply: expected a value of Sky, found list"),
    (float, 10**400, "the reply: expected float, found an int too large for it"),
    (Decimal, "77777x", "the reply: expected a number, found another str"),
    (Checked, {"least": 77777, "most": 1}, "the reply: expected what Checked takes, found object (ValueError)"),
]


@pytest.mark.parametrize(("returns", "value", "said"), BAD, ids=[row[2] for row in BAD])
def test_what_does_not_fit_is_named_by_its_path_and_its_kind(returns: Any, value: Any, said: str) -> None:
    assert trouble(returns, value) == said


class _Str(str): ...


class _Int(int): ...


class _Float(float): ...


class _List(list[Any]): ...


class _Dict(dict[str, Any]): ...


DERIVED: dict[type, type] = {str: _Str, int: _Int, float: _Float, list: _List, dict: _Dict}


@pytest.mark.parametrize("kind", DERIVED)
@pytest.mark.parametrize("value", [None, True, 5, 1.9, "5", "text", [], [["a", 1]], {}, {"a": 1}], ids=repr)
def test_a_class_derived_from_a_kind_of_json_takes_that_kind(kind: type, value: Any) -> None:
    try:
        expected = read(kind, value)
    except BadReplyError:
        with pytest.raises(BadReplyError):
            read(DERIVED[kind], value)
    else:
        found = read(DERIVED[kind], value)
        assert (type(found), found) == (DERIVED[kind], expected)


@dataclass
class Odd:
    raw: bytes


WITH_VALUES = [row[:2] for row in BAD if "77777" in str(row[1])]


@pytest.mark.parametrize(("returns", "value"), [*WITH_VALUES, (Odd, {"raw": "77777"})])
async def test_no_value_of_a_reply_is_told_by_an_error(
    serve: Serve, returns: Any, value: Any, told_by: Callable[[BaseException], str]
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"items": [value]} if request.path == "/pages" else value)

    api = WebAPI(Auth.none())
    api.base_url = (await serve(answer)).origin
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: api.get("/x", returns=returns),
        lambda: api.paginated("/pages", returns=returns).__aiter__().__anext__(),
        lambda: api.paginated("/pages", returns=returns)._list(),
    ]
    for call in calls:
        with pytest.raises(SlyError) as caught:
            await call()
        assert "77777" not in told_by(caught.value)


def test_an_error_of_ours_out_of_from_json_goes_on_as_it_is() -> None:
    class Refusing:
        @classmethod
        def from_json(cls, value: Any) -> Refusing:
            raise ConfigError("Not this one.")

    with pytest.raises(ConfigError, match="Not this one"):
        read(list[Refusing], [1])


@pytest.mark.parametrize("returns", [bytearray, complex, list[bytes], dict[str, range], "Place"])
def test_a_type_that_json_cannot_become_is_a_mistake_of_the_program(returns: Any) -> None:
    with pytest.raises(ConfigError, match="cannot become"):
        read(returns, [])


def test_a_hint_that_means_nothing_is_named_with_its_class_and_field() -> None:
    @dataclass
    class Odd:
        good: int
        bad: Nowhere  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore

    with pytest.raises(ConfigError, match=r"Odd\.bad: its type cannot be found \(NameError\)"):
        read(list[Odd], [{"good": 77777}])


def test_a_field_whose_type_json_cannot_become_is_named() -> None:
    with pytest.raises(ConfigError, match=r"Odd\.raw: JSON cannot become bytes"):
        read(Odd, {"raw": "77777"})


def test_hints_are_looked_up_once_for_a_class() -> None:
    class Once:
        number: int

    dataclass(Once)
    assert read(list[Once], [{"number": 1}] * 3) == [read(Once, {"number": 1})] * 3
    Once.__annotations__["number"] = "Nowhere"  # which a second look would not find
    assert read(list[Once], [{"number": 1}] * 3) == [read(Once, {"number": 1})] * 3


@dataclass
class Sum(Generic[Item]):
    left: Sum[Item] | Difference[Item] | Item
    sign: Literal["+"]


@dataclass
class Difference(Generic[Item]):
    left: Sum[Item] | Difference[Item] | Item
    sign: Literal["-"]


@dataclass
class Both:
    left: Both | Neither | int
    sign: Literal["+"]


@dataclass
class Neither:
    left: Both | Neither | int
    sign: Literal["-"]


@pytest.mark.parametrize(("returns", "kind"), [(Both | Neither, Neither), (Sum[int] | Difference[int], Difference)])
def test_unions_whose_members_have_a_literal_are_read_in_one_go_however_deep(returns: Any, kind: type) -> None:
    deep: Any = 1
    for _ in range(60):  # else 2 ** 60 ways to try them
        deep = {"left": deep, "sign": "-"}
    found = answer_type(returns).read(deep, "GET /x")
    for _ in range(60):
        assert isinstance(found, kind)
        found = found.left  # type: ignore[attr-defined]
    assert found == 1
    assert trouble(returns, {**deep, "sign": "*"}).startswith("the reply: expected")


@dataclass
class Short:
    inner: Short | Long | int


@dataclass
class Long:
    inner: Short | Long | int
    last: int


def test_nested_unions_whose_members_differ_too_late_are_an_error_in_bounded_time() -> None:
    deep: Any = "x"
    for _ in range(60):  # 2 ** 60 ways to try them
        deep = {"inner": deep, "last": 1}
    assert trouble(Short | Long, deep) == "the reply is nested too deeply"


def test_an_answer_that_is_nested_without_end_is_an_error_of_ours() -> None:
    deep: dict[str, Any] = {"name": "x"}
    for _ in range(100_000):
        deep = {"name": "x", "parts": [deep]}
    assert trouble(Place, deep) == "the reply is nested too deeply"
    while deep.get("parts"):  # lest the interpreter does it, all at once
        deep = deep.pop("parts")[0]


@pytest.mark.parametrize(
    ("returns", "admits"), [(Place | None, True), (None, False), (Place, False), (type(None), True)]
)
def test_an_empty_answer_is_none_where_the_type_has_none(returns: Any, admits: bool) -> None:
    assert answer_type(returns).admits_none is admits


def error_of(returns: Any, value: Any) -> SlyError | None:
    """What reading raises; nothing but our errors is caught."""
    try:
        read(returns, value)
    except SlyError as error:
        return error
    return None


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400)
KEYS = st.sampled_from(["name", "people", "height", "parts", "items", "next", "from", "id", "at", "sky", "wind", "c"])
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6))
KINDS = st.sampled_from([row[0] for row in GOOD] + [Temperature, Checked])


@given(KINDS, JSON)
def test_any_json_is_the_type_or_our_error(returns: Any, value: Any) -> None:
    error = error_of(returns, value)
    assert error is None or (isinstance(error, BadReplyError) and len(str(error)) < 1000)


@given(st.text(min_size=6, alphabet="hunter2!"))
def test_no_text_of_a_reply_is_in_an_error(secret: str) -> None:
    for returns in (int, Place, Day, dict[str, int], list[Sky], datetime, Decimal, Literal["a"], tuple[int]):
        for value in (secret, [secret], {secret: secret}, {"name": [secret]}, {"id": secret, "sky": secret}):
            assert secret not in str(error_of(returns, value))


BARE: dict[str, tuple[type, Any]] = {
    "List": (list, [1]),
    "Dict": (dict, {"a": 1}),
    "Set": (set, [1]),
    "FrozenSet": (frozenset, [1]),
    "Mapping": (Mapping, {"a": 1}),
    "Sequence": (Sequence, [1]),
}


@pytest.mark.parametrize("name", BARE)
def test_a_name_of_typing_without_a_members_type_is_its_class(name: str) -> None:
    kind, value = BARE[name]
    read = answer_type(getattr(typing, name)).read(value, "GET /")
    assert read == answer_type(kind).read(value, "GET /")
    assert [*read] == [*value]
    holder = make_dataclass("Holder", [("of", getattr(typing, name))])
    assert answer_type(holder).read({"of": value}, "GET /").of == read


@pytest.mark.parametrize("name", [*typing.__all__, *collections.abc.__all__])
def test_every_name_of_typing_reads_json_or_is_an_error_of_ours(name: str) -> None:
    hint = getattr(typing, name) if hasattr(typing, name) else getattr(collections.abc, name)
    for value in (None, 1, "a", [], [1], {}, {"a": 1}):
        with suppress(SlyError):
            answer_type(hint).read(value, "GET /")
