"""Values that a caller sends as JSON: what `returns` reads goes out as it came."""
from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import Enum, IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import Auth, WebAPI
from SlyAPI.errors import ConfigError
from SlyAPI.webapi.answers import answer_type
from SlyAPI.webapi.sent_json import as_json

if TYPE_CHECKING:
    from tests.conftest import Serve


class Sky(Enum):
    SUNNY = "sunny"
    NONE = None


class Level(IntEnum):
    LOW = 1


class Unit(StrEnum):
    METRIC = "metric"


class Place(TypedDict):
    at: date


@dataclass
class Day:
    sender: str = field(metadata={"json": "from"})
    sky: Sky
    level: Level
    begins: datetime
    place: Place
    kind: Literal["day"] = "day"


@dataclass
class Week:
    days: list[Day]
    by_name: dict[str, Day]
    by_unit: dict[Unit, list[tuple[int, Day]]]
    units: frozenset[Unit]
    before: Week | None = None
    more: tuple[float, ...] = ()


days = st.builds(Day, st.text(), place=st.fixed_dictionaries({"at": st.dates()}))
st.register_type_strategy(Day, days)
weeks = st.recursive(st.none(), lambda before: st.builds(Week, before=before), max_leaves=3)
values: dict[Any, st.SearchStrategy[Any]] = {
    Day: days,
    Week: weeks.filter(bool),
    list[Day]: st.lists(days),
    dict[str, list[Day] | None]: st.dictionaries(st.text(), st.none() | st.lists(days)),
    tuple[Sky, datetime]: st.tuples(st.sampled_from(Sky), st.datetimes(timezones=st.just(UTC))),
}


@given(st.sampled_from([*values]).flatmap(lambda hint: st.tuples(st.just(hint), values[hint])))
def test_what_is_read_can_be_sent_and_read_again(of: tuple[Any, Any]) -> None:
    hint, value = of
    sent = json.loads(json.dumps(as_json(value)))
    again = answer_type(hint).read(sent, "GET /")
    assert again == value
    assert json.loads(json.dumps(as_json(again))) == sent


class Own:
    def to_json(self) -> dict[str, int]:
        return {"own": 1}


DAY = Day("Robin", Sky.SUNNY, Level.LOW, datetime(2026, 11, 27, 12), {"at": date(2026, 11, 27)})
SENT = {"from": "Robin", "sky": "sunny", "level": 1, "begins": "2026-11-27T12:00:00"}
SENT |= {"place": {"at": "2026-11-27"}, "kind": "day"}
NESTED: dict[str, Callable[[Any], Any]] = {
    "the value": lambda it: it,
    "in a list": lambda it: [it],
    "in an object": lambda it: {"a": [{"b": it}]},
}


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("where", NESTED)
async def test_objects_go_out_wherever_they_are(serve: Serve, where: str, compress: bool) -> None:
    server, nest = await serve(), NESTED[where]
    api = WebAPI(Auth.none())
    api.base_url = server.origin
    for value, sent in ((DAY, SENT), (Own(), {"own": 1})):
        await api.put("/", json=nest(value), compress=compress)
        assert server.last.json == nest(sent)


class Float(float):
    """As numpy's."""


class Limit(Enum):
    NONE = math.nan
    MOST = math.inf
    LEAST = -math.inf


class Gauge:
    def __init__(self, value: float) -> None:
        self.value = value

    def to_json(self) -> list[float]:
        return [self.value]


@dataclass
class Measured:
    value: float


NUMBERS: dict[str, Callable[[float], Any]] = {
    "a number": lambda number: number,
    "a number of a subclass": Float,
    "a key": lambda number: {number: 1},
    "a member of an Enum": lambda number: next(limit for limit in Limit if str(limit.value) == str(number)),
    "a dataclass": Measured,
    "an object with to_json": Gauge,
}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("where", NESTED)
async def test_a_number_that_json_does_not_have_is_an_error_before_anything_is_sent(
    serve: Serve, where: str, kind: str, number: float
) -> None:
    """`json.dumps` writes `NaN`, which few servers read."""
    server = await serve()
    api = WebAPI(Auth.none())
    api.base_url = server.origin
    with pytest.raises(ConfigError, match="NaN and infinity"):
        await api.post("/", json=NESTED[where](NUMBERS[kind](number)))
    assert server.seen == []


@pytest.mark.parametrize("value", [[], {}], ids=["list", "object"])
async def test_a_value_that_contains_itself_is_an_error_before_anything_is_sent(serve: Serve, value: Any) -> None:
    value.append(value) if isinstance(value, list) else value.update(a=value)
    server = await serve()
    api = WebAPI(Auth.none())
    api.base_url = server.origin
    with pytest.raises(ConfigError, match="contains itself"):
        await api.post("/", json=value)
    assert server.seen == []


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "packed"])
async def test_an_integer_that_python_does_not_write_is_an_error_before_anything_is_sent(
    serve: Serve, compress: bool
) -> None:
    server = await serve()
    api = WebAPI(Auth.none())
    api.base_url = server.origin
    with pytest.raises(ConfigError):
        await api.put("/", json=[10**5000], compress=compress)
    assert server.seen == []
