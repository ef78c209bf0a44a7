"""docs/errors.md: the kinds that single cases have are those that the code gives them."""
from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from SlyAPI import ApiError, GrantEndedError, OAuth2User, SlyError, TokenError
from SlyAPI.oauth2.messages.token_endpoint import read_token_reply
from SlyAPI.web import Reply
from SlyAPI.web.secret_values import Secrets

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
_ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| `(\w+)` \|$", re.MULTILINE)


def cases() -> list[tuple[str, str, str]]:
    """`(class, status or code, kind)` for each case of the second table."""
    found = []
    for name, told, kind in _ROW.findall(PAGE.read_text(encoding="utf-8")):
        found += [(name, case, kind) for case in re.findall(r"\b\d{3}\b|(?<=`)\w+(?=`)", told)]
    return found


def made(name: str, case: str) -> SlyError:
    if name == "ApiError":
        return ApiError(int(case))
    reply = Reply(int(case), {}, b"{}") if case.isdecimal() else Reply(400, {}, json.dumps({"error": case}).encode())
    previous = OAuth2User("old", "refresh") if name == "GrantEndedError" else None
    with pytest.raises(SlyError) as caught:
        read_token_reply(reply, now=0.0, previous=previous, secrets=Secrets())
    return caught.value


def test_the_page_has_cases() -> None:
    assert len(cases()) > 30


@pytest.mark.parametrize(("name", "case", "kind"), cases())
def test_a_case_has_the_kind_that_the_page_says(name: str, case: str, kind: str) -> None:
    error = made(name, case)
    assert type(error).__name__ == name
    assert error.kind == kind
    assert name == "ApiError" or error.next_step


def test_retry_after_is_on_those_that_the_page_names() -> None:
    told = PAGE.read_text(encoding="utf-8").partition("`retry_after` is set")[2].partition("On all others")[0]
    assert re.findall(r"`(\w+Error)`", told) == ["ApiError", "TokenError", "GrantEndedError"]
    for previous, kind in ((None, TokenError), (OAuth2User("old", "refresh"), GrantEndedError)):
        reply = Reply(400, {"Retry-After": "7"}, b'{"error": "invalid_grant"}')
        with pytest.raises(kind) as caught:
            read_token_reply(reply, now=0.0, previous=previous, secrets=Secrets())
        assert caught.value.retry_after == 7.0
