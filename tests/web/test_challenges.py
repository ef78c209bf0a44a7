"""`WWW-Authenticate` by its grammar, as servers write it, and whatever else may stand there."""
from __future__ import annotations

import pickle
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from SlyAPI import ApiError
from SlyAPI.web import Challenge, Reply
from SlyAPI.web.challenges import challenges_in, needs_scope, next_step, read_challenges

TOKENS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        # RFC 9110 §11.6.1's own example
        (
            'Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""',
            [
                Challenge("Basic", {"realm": "simple"}),
                Challenge("Newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
            ],
        ),
        ("Negotiate", [Challenge("Negotiate")]),
        ("Negotiate, Basic realm=x", [Challenge("Negotiate"), Challenge("Basic", {"realm": "x"})]),
        ("Negotiate YIIB/+==, Bearer", [Challenge("Negotiate", {}, "YIIB/+=="), Challenge("Bearer")]),
        ("Bearer abc", [Challenge("Bearer", {}, "abc")]),
        ('Bearer realm = "a, b" , Scope="c d"', [Challenge("Bearer", {"realm": "a, b", "scope": "c d"})]),
        (", ,Bearer,,realm=x,,", [Challenge("Bearer", {"realm": "x"})]),
        ('Bearer realm="x", realm="y"', [Challenge("Bearer", {"realm": "x"})]),
        ('Bearer realm=""', [Challenge("Bearer", {"realm": ""})]),
        # as servers write it against the grammar
        ('Bearer realm="x" error="y"', [Challenge("Bearer", {"realm": "x", "error": "y"})]),
        (
            "Bearer resource_metadata=https://a.example/.well-known/x?a=b",
            [Challenge("Bearer", {"resource_metadata": "https://a.example/.well-known/x?a=b"})],
        ),
        ('Bearer realm="without an end', [Challenge("Bearer", {"realm": "without an end"})]),
        ('Bearer realm="x\\', [Challenge("Bearer", {"realm": "x"})]),
        (
            'Bearer realm="x"junk, DPoP algs="ES256"',
            [Challenge("Bearer", {"realm": "x"}), Challenge("DPoP", {"algs": "ES256"})],
        ),
        ('"quoted", Bearer', [Challenge("Bearer")]),
        ("realm=x", []),
        ("B\u00e9arer realm=x", []),
        ("", []),
    ],
)
def test_a_header_is_read_as_its_challenges(header: str, challenges: list[Challenge]) -> None:
    assert read_challenges(header) == challenges


names = st.text(TOKENS, min_size=1)
quoted = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"))
parameters = st.dictionaries(names.map(str.lower), quoted, max_size=4)
challenges = st.builds(Challenge, names, parameters) | st.builds(
    Challenge, names, st.just({}), st.from_regex(r"[A-Za-z0-9._~+/-]+={0,2}", fullmatch=True)
)


def written(challenge: Challenge, space: str) -> str:
    escaped = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in challenge.params.items()}
    params = f"{space},{space}".join(f'{name}{space}={space}"{value}"' for name, value in escaped.items())
    return f"{challenge.scheme} {challenge.token68 or params}" if challenge.token68 or params else challenge.scheme


@given(st.lists(challenges, max_size=4), st.sampled_from(["", " ", "\t "]))
def test_what_the_grammar_writes_is_read_back(written_ones: list[Challenge], space: str) -> None:
    header = f",{space}".join(written(challenge, space) for challenge in written_ones)
    assert read_challenges(header) == written_ones


pieces = st.sampled_from([*' \t,="\\aB/~\u00e9\x00\r\n\udcff', "Bearer ", 'realm="', "a=b"])


@given(st.lists(pieces).map("".join))
def test_any_text_is_challenges_and_no_error(header: str) -> None:
    for challenge in read_challenges(header):
        assert challenge.scheme
        assert all(name == name.lower() for name in challenge.params)
        assert challenge.max_age is None or challenge.max_age >= 0


@pytest.mark.parametrize("part", ["a", "a=", '"', 'a="\\', "a=b,", "a,", "a b,", " ", "\\", ",", "a=b ", '="'])
def test_hostile_text_takes_linear_time(part: str) -> None:
    header = f"Bearer {part * 300_000}"
    begun = time.process_time()
    read_challenges(header)
    assert time.process_time() - begun < 20  # a guard against hours, not a measure


def test_the_challenges_of_all_headers_of_a_reply_are_on_its_error() -> None:
    headers = CIMultiDict([("www-authenticate", "Basic realm=a"), ("WWW-Authenticate", "Bearer, DPoP algs=ES256")])
    error = ApiError(401, None, Reply(401, headers, b""))
    assert [challenge.scheme for challenge in error.challenges] == ["Basic", "Bearer", "DPoP"]
    assert error.challenges[0].is_scheme("BASIC")
    assert pickle.loads(pickle.dumps(error)).challenges == error.challenges
    assert challenges_in({"WWW-Authenticate": "Basic"}) == [Challenge("Basic")]
    assert ApiError(401).challenges == []
    without: Any = object()
    assert ApiError(401, None, without).challenges == []


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ('Bearer error="insufficient_scope", scope="notes weather.read"', ["notes weather.read"]),
        ('Bearer error="insufficient_scope"', ["scope"]),
        (
            'Bearer error="insufficient_user_authentication", acr_values="gold silver", max_age="5"',
            ["acr_values='gold silver'", "max_age=5"],
        ),
        ("Bearer error=insufficient_user_authentication, max_age=0", ["max_age=0"]),
        ("Bearer error=insufficient_user_authentication, max_age=-1", ["sign in again."]),
        ('Bearer error="invalid_token"', []),
        ("", []),
    ],
)
def test_the_next_step_names_what_the_resource_wants(header: str, words: list[str]) -> None:
    step = next_step(read_challenges(header))
    assert bool(step) == bool(words)
    for word in words:
        assert word in step


def test_a_challenge_for_scope_is_found_among_others() -> None:
    found = needs_scope(read_challenges('Basic realm="x", Bearer error="insufficient_scope", scope="a b"'))
    assert found is not None
    assert found.scopes == ("a", "b")
    assert needs_scope(read_challenges("Bearer error=invalid_token")) is None
