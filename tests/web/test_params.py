"""Python values as query text."""
from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI.errors import ConfigError
from SlyAPI.params import as_form, as_pairs, as_query


class Part(Enum):
    SNIPPET = "snippet"
    DETAILS = "contentDetails"
    NOTHING = None
    NUMBER = 7
    BOTH = ("a", "b")


class Order(StrEnum):
    DATE = "date"


class Level(IntEnum):
    HIGH = 3


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("text", "text"),
        ("", ""),
        ("a b&c=d%20", "a b&c=d%20"),
        (0, 0),
        (-5, -5),
        (True, "true"),
        (False, "false"),
        (1.5, "1.5"),
        (1e22, "1e+22"),
        (Part.SNIPPET, "snippet"),
        (Part.NUMBER, 7),
        (Part.BOTH, "a,b"),
        (Order.DATE, "date"),
        (Level.HIGH, 3),
        (["a", "b"], "a,b"),
        (("a",), "a"),
        ({"a"}, "a"),
        (frozenset({"a"}), "a"),
        (deque(["a", "b"]), "a,b"),
        ([1, 2.5, True, Part.DETAILS, Order.DATE, Level.HIGH], "1,2.5,true,contentDetails,date,3"),
        ([Part.NUMBER, Part.NUMBER], "7,7"),
        (["a", None, Part.NOTHING, "b"], "a,b"),
        (["", "a"], ",a"),
        ([["a", "b"], ["c"]], "a,b,c"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (PurePosixPath("/a b/c"), "/a b/c"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00"),
        (time(3, 4), "03:04:00"),
        (Decimal("1.10"), "1.10"),
        ([Decimal("1E+2"), date(2026, 1, 2)], "1E+2,2026-01-02"),
    ],
)
def test_a_value_is_sent_as_an_api_reads_it(value: Any, sent: str | int) -> None:
    assert as_query({"p": value}) == {"p": sent}
    assert type(as_query({"p": value})["p"]) is type(sent), "a plain str or int, for the URL"


@pytest.mark.parametrize("value", [None, Part.NOTHING, [], (), set(), frozenset(), [None], [Part.NOTHING]])
def test_nothing_to_say_is_left_out(value: Any) -> None:
    assert as_query({"a": "1", "p": value, "b": "2"}) == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    "value",
    [
        *(b"x", bytearray(b"x"), memoryview(b"x"), {"a": 1}, object(), Point(1), Decimal("nan")),
        *(iter("ab"), 1j, float("nan"), float("inf"), ["a", b"x"], [{}], str),
    ],
)
def test_what_cannot_be_written_is_a_type_error_before_anything_is_sent(value: Any) -> None:
    with pytest.raises(TypeError, match="'p'"):
        as_query({"p": value})


_TOO_LONG = 10 ** (sys.get_int_max_str_digits() + 1)
UNWRITABLE: dict[str, dict[str, Any]] = {
    "an integer of too many digits": {"p": _TOO_LONG},
    "a negative one": {"p": -_TOO_LONG},
    "one in a list": {"p": ["a", [_TOO_LONG]]},
    "half a character": {"p": "\ud800"},
    "half a character in a name": {"p\udfff": "a"},
    "half a character in the name of a number": {"é\udfff": 1},
}


@pytest.mark.parametrize(
    "write", [as_query, as_form, lambda params: as_pairs(params.items())], ids=["query", "form", "pairs"]
)
@pytest.mark.parametrize("what", UNWRITABLE)
def test_what_python_does_not_write_is_refused_in_our_words(what: str, write: Callable[[Any], object]) -> None:
    with pytest.raises(ConfigError, match="parameter"):
        write(UNWRITABLE[what])


@pytest.mark.parametrize("data", [[("a", "b")], "a=b", 5, object()])
def test_a_form_has_to_be_a_mapping(data: Any) -> None:
    with pytest.raises(TypeError):
        as_form(data)


def test_the_delimiter_is_the_apis() -> None:
    assert as_query({"p": ["a", "b"]}, "|") == {"p": "a|b"}


def test_the_callers_parameters_are_left_alone() -> None:
    params = {"a": None, "b": ["x"]}
    as_query(params)
    assert params == {"a": None, "b": ["x"]}


def test_form_fields_are_texts_by_the_same_rules() -> None:
    assert as_form({"n": 5, "b": False, "none": None, "list": [1, None, True]}) == {
        "n": "5",
        "b": "false",
        "list": ["1", "true"],
    }


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.sampled_from(list(Part)),
    st.lists,
)


@pytest.mark.slow
@given(st.dictionaries(st.text(), values))
def test_any_value_is_query_text_or_a_type_error(params: dict[str, Any]) -> None:
    try:
        sent = as_query(params)
    except TypeError:
        return
    assert all(type(value) in (str, int) for value in sent.values())
    assert sent.keys() <= params.keys()
