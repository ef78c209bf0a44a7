"""Scopes in every spelling."""
from __future__ import annotations

import inspect
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI.errors import ConfigError
from SlyAPI.oauth2 import requires_scopes
from SlyAPI.tokens.scopes import join_scopes, missing_scopes, split_scopes

names = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1)


class Scope(StrEnum):
    READ = "read"


@pytest.mark.parametrize(
    ("written", "listed"),
    [
        ("a b", ["a", "b"]),
        ("a,b", ["a", "b"]),
        ("a, b\tc\n", ["a", "b", "c"]),
        (" ", []),
        ("", []),
        (None, []),
        (["a", "b", "a", ""], ["a", "b"]),
        (("a", "b"), ["a", "b"]),
        ("a a", ["a"]),
        ([Scope.READ], ["read"]),
        ((scope for scope in "ab"), ["a", "b"]),
        (["https://www.googleapis.com/auth/drive"], ["https://www.googleapis.com/auth/drive"]),
    ],
)
def test_scopes_are_split_however_they_are_written(written: Any, listed: list[str]) -> None:
    assert split_scopes(written) == listed


@pytest.mark.parametrize("wrong", [5, True, 2.5, {"a": 1}, ["a", 5], [None], [["a"]]])
def test_what_is_no_scope_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError):
        split_scopes(wrong)


@given(st.lists(names, unique=True), st.sampled_from([" ", ","]))
def test_what_is_joined_is_split_again(scopes: list[str], delimiter: str) -> None:
    assert split_scopes(join_scopes(scopes, delimiter)) == scopes


def test_text_is_sent_as_the_caller_wrote_it() -> None:
    assert join_scopes("a,b  c", " ") == "a,b  c"


def test_missing_scopes_keep_the_order_of_the_request() -> None:
    assert missing_scopes(["d", "a", "c"], ["a"]) == ["d", "c"]


def test_offline_access_is_not_missing_where_there_is_a_refresh_token() -> None:
    assert missing_scopes(["openid", "offline_access", "a"], ["openid"], renewable=True) == ["a"]
    assert missing_scopes(["openid", "offline_access", "a"], ["openid"]) == ["offline_access", "a"]


async def test_a_decorated_method_is_still_a_coroutine_function_with_its_name() -> None:
    @requires_scopes("read", "write")
    async def rename(name: str) -> str:
        """Renames it."""
        return name.upper()

    assert inspect.iscoroutinefunction(rename)
    assert (rename.__name__, rename.__doc__) == ("rename", "Renames it.")
    assert getattr(rename, "required_scopes", None) == ("read", "write")
    assert await rename("a") == "A"
