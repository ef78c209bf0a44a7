"""With the extra `[fast]` and without it, an answer is read as the same values, or refused alike."""
from __future__ import annotations

import base64
import json
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI.errors import BadReplyError
from SlyAPI.web import Method, Reply, Request, read_json
from SlyAPI.web import json as fast_json
from SlyAPI.web.json import check_density, read_reply
from tests.support.shared_data import vectors

ASKED = Request(Method.GET, "https://api.example/x")

DIFFERENT_IN_ORJSON = [
    *("NaN", "[Infinity, -Infinity]", "1e400", r'"\ud800"', r'{"\udfff": 1}'),
    *("18446744073709551616", "-9223372036854775809", '{"id":123456789012345678901234567890}'),
    "[1, 98765432109876543210]",
]
SAME_IN_ORJSON = [
    *("-0", "-0.0", "9223372036854775807", "18446744073709551615", "12345678901234567890.5"),
    *("1.12345678901234567890123", '{"a": 1, "b": 2, "a": 3}', '"12345678901234567890"', r'"\ud83d\ude00"'),
    *(" 1 ", "[" * 300 + "]" * 300, '""', "5e-324"),
]
REFUSED = ["", "[1,]", "01", '"\t"', "{'a': 1}", "1 2", "nul", "1\x0b", "\xa01", "<p>", "[" * 100_000, '{"a":1}garbage']

TAKEN_ALL_THE_SAME = [f"n_number_{name}.json" for name in ("NaN", "infinity", "minus_infinity")]
"""No JSON, but json's own reader takes them, and some servers write them."""


@pytest.fixture(params=["orjson", "json"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of both ways, chosen as by the first answer that is read."""
    if request.param == "json":
        monkeypatch.setitem(sys.modules, "orjson", None)
    monkeypatch.setattr(fast_json, "loads", fast_json._first)
    return str(request.param)


def same(one: Any, other: Any) -> bool:
    """Equal in value and in the type of every part; NaN is NaN."""
    return repr(one) == repr(other)


@pytest.mark.usefixtures("reader")
def test_each_document_of_jsontestsuite_is_read_or_refused_as_its_name_says() -> None:
    documents = {name: base64.b64decode(text) for name, text in vectors("vectors_json.json").items()}
    assert len(documents) > 300
    wrong = []
    for name, body in documents.items():
        try:
            read_json(body, ASKED)
        except BadReplyError:
            refused = True
        else:
            refused = False
        if name[0] != "i" and refused is not (name[0] == "n"):
            wrong.append(name)
    assert sorted(wrong) == TAKEN_ALL_THE_SAME


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("text", DIFFERENT_IN_ORJSON + SAME_IN_ORJSON)
def test_an_answer_is_what_json_makes_of_it(text: str) -> None:
    assert same(read_json(text.encode(), ASKED), json.loads(text))


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32-le"])
def test_other_encodings_of_unicode_are_read(encoding: str) -> None:
    assert read_json('{"é": "\U0001f600"}'.encode(encoding), ASKED) == {"é": "\U0001f600"}


WORDS = {
    "é": ["iso-8859-1", "ISO_8859-15", "windows-1252", "latin1", "cp850", "macintosh"],
    "ж": ["koi8-r", "windows-1251", "iso-8859-5"],
    "日本": ["shift_jis", "euc-jp", "gbk", "big5", "gb18030"],
}
DECLARED = [(word, charset) for word, charsets in WORDS.items() for charset in charsets]


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(("word", "charset"), DECLARED)
@pytest.mark.parametrize("kind", ["application/json;charset={}", 'text/plain; charset="{}"'])
def test_the_encoding_that_a_reply_names_counts_where_it_is_none_of_unicode(
    word: str, charset: str, kind: str
) -> None:
    headers, text = {"Content-Type": kind.format(charset)}, f'{{"{word}": ["{word}"]}}'
    assert read_reply(Reply(200, headers, text.encode(charset)), ASKED) == {word: [word]}
    assert read_reply(Reply(200, headers, text.encode()), ASKED) == {word: [word]}, "as RFC 8259 says"
    with pytest.raises(BadReplyError):
        read_reply(Reply(200, headers, text.encode(charset)[:-1]), ASKED)


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("text", REFUSED)
def test_what_json_refuses_is_refused(text: str) -> None:
    with pytest.raises(BadReplyError):
        read_json(text.encode(), ASKED)


def test_the_messages_do_not_tell_one_from_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def messages() -> list[str]:
        monkeypatch.setattr(fast_json, "loads", fast_json._first)
        told: list[str] = []
        for body in (*(text.encode() for text in REFUSED), b'"\xff"', b"\x80"):
            with pytest.raises(BadReplyError) as caught:
                read_json(body, ASKED)
            told.append(str(caught.value))
        return told

    with_orjson = messages()
    monkeypatch.setitem(sys.modules, "orjson", None)
    assert with_orjson == messages()


def test_orjson_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loaded(Exception):
        pass

    def loads(body: bytes) -> Any:
        raise Loaded

    monkeypatch.setattr("orjson.loads", loads)
    monkeypatch.setattr(fast_json, "loads", fast_json._first)
    with pytest.raises(Loaded):
        read_json(b"{}", ASKED)
    with pytest.raises(Loaded):
        read_json(b"1234567890123456.5", ASKED)
    assert read_json(b"[-12345678901234567890]", ASKED) == [-12345678901234567890], "orjson was asked"


class Raw:
    """A number in just this spelling."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


_NUMBER = r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?"
NUMBERS = st.one_of(
    st.integers(min_value=-(10**25), max_value=10**25),
    st.floats(allow_nan=False),
    st.from_regex(_NUMBER, fullmatch=True).map(Raw),
)
VALUES = st.recursive(
    st.one_of(NUMBERS, st.booleans(), st.none(), st.text(), st.text("0123456789.- ", max_size=40)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def written(value: Any, space: str) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, list):
        return "[" + f",{space}".join(written(part, space) for part in value) + "]"
    if isinstance(value, dict):
        pairs = (f"{json.dumps(name)}:{space}{written(part, space)}" for name, part in value.items())
        return "{" + f"{space},".join(pairs) + "}"
    return json.dumps(value)


@given(VALUES, st.sampled_from(["", " ", "\n\t"]))
def test_whatever_can_be_written_is_read_alike(value: Any, space: str) -> None:
    body = written(value, space).encode()
    assert same(read_json(body, ASKED), json.loads(body))


@given(st.binary(max_size=40) | st.text('{}[]",:0123456789.eE+- \\udtrueNa', max_size=40).map(str.encode))
def test_whatever_is_sent_is_read_or_refused_as_json_does(body: bytes) -> None:
    try:
        expected = json.loads(body)
    except (ValueError, RecursionError):
        with pytest.raises(BadReplyError):
            read_json(body, ASKED)
    else:
        assert same(read_json(body, ASKED), expected)


@pytest.mark.parametrize("piece", [b'\\"', b"\\\\", b'\\\n"', b'""'])
def test_the_work_for_a_dense_reply_grows_with_its_length_and_not_with_its_square(piece: bytes) -> None:
    def work(pieces: int) -> float:
        body = b"," * 101 + b'"' + piece * pieces
        began = time.process_time()
        with pytest.raises(BadReplyError, match="values"):
            check_density(body, ASKED, 1600)
        return time.process_time() - began

    once, eightfold = (min(work(pieces) for _ in range(3)) for pieces in (8_000, 64_000))
    assert eightfold < 24 * max(once, 1 / 64)  # the clock of Windows goes in steps of that; a square takes a minute
