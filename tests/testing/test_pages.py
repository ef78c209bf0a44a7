"""The consent page: what it says, and that nothing in it can be made to act."""
from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.testing.conftest import Start


async def test_the_page_names_the_app_the_scopes_and_where_the_answer_goes(start: Start) -> None:
    async with start(consent="ask", client_name="Weather Diary") as practice:
        text = (await practice.authorize()).text
        assert "<b>Weather Diary</b> wants" in text
        for words in ("Read the weather forecast", "weather.read", "Read and write your notes", "localhost:8080"):
            assert words in text
        buttons = re.findall(r'<button name="decision" value="(\w+)"[^>]*>(\w+)</button>', text)
        assert sorted(buttons) == [("allow", "Allow"), ("deny", "Deny")]


async def test_only_what_is_asked_for_is_listed(start: Start) -> None:
    async with start(consent="ask") as practice:
        assert "notes" not in (await practice.authorize(scope="weather.read")).text


async def test_names_and_descriptions_are_escaped(start: Start) -> None:
    hostile = "<script>alert(1)</script>\"'&$style"
    async with start(consent="ask", client_name=hostile, scopes={"a<b": hostile}) as practice:
        text = (await practice.authorize(scope="a<b")).text
        assert "<script" not in text
        assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;$style") == 3
        assert "<code>a&lt;b</code>" in text


async def test_the_pages_may_load_nothing_and_are_never_cached_or_framed(start: Start) -> None:
    async with start(consent="ask") as practice:
        for reply in (await practice.authorize(), await practice.authorize(client_id="x")):
            policy = reply.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert reply.headers["Cache-Control"] == "no-store"
            assert reply.headers["X-Frame-Options"] == "DENY"
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
            assert "prefers-color-scheme: dark" in reply.text


@pytest.mark.parametrize(
    ("redirect_uri", "source"),
    [
        ("http://localhost:8080/back", "http://localhost:8080"),
        ("https://app.example/back", "https://app.example"),
        ("http://[::1]:8080/", "http:"),
        ("com.example.app:/back", "com.example.app:"),
    ],
)
async def test_the_form_may_lead_to_the_app_and_nowhere_else(
    start: Start, redirect_uri: str, source: str
) -> None:
    async with start(consent="ask", redirect_uris=[redirect_uri]) as practice:
        policy = (await practice.authorize(redirect_uri=redirect_uri)).headers["Content-Security-Policy"]
        assert f"; form-action 'self' {source};" in policy
