"""The protected API: what a token opens, and how a refusal is worded (RFC 6750)."""
from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

if TYPE_CHECKING:
    from tests.testing.conftest import Start

FORM = "application/x-www-form-urlencoded"


async def test_the_forecast_needs_its_scope_and_names_the_city(start: Start) -> None:
    async with start() as practice:
        token = (await practice.tokens())["access_token"]
        reply = await practice.call("/forecast?city=Troms%C3%B8", token)
        assert reply.status == 200
        assert reply.json["city"] == "Tromsø"
        assert [day["sky"] for day in reply.json["days"]] == ["sunny", "rain", "cloudy"]
        assert reply.headers["Cache-Control"] == "no-store"
        assert (await practice.call("/forecast", token)).json["city"] == "Bergen"


async def test_notes_are_written_as_json_and_as_a_form(start: Start) -> None:
    async with start() as practice:
        token = (await practice.tokens())["access_token"]
        first = await practice.call(
            "/notes", token, "POST", body=json.dumps({"text": "één"}), Content_Type="application/json"
        )
        second = await practice.call(
            "/notes", token, "POST", body=urlencode({"text": "zwei & drei"}), Content_Type=FORM
        )
        assert (first.status, first.json) == (201, {"id": 1, "text": "één"})
        assert (second.status, second.json) == (201, {"id": 2, "text": "zwei & drei"})
        assert (await practice.call("/notes", token)).json == {"items": [first.json, second.json]}


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", "text=x", 415),
        ("application/json", "{", 400),
        ("application/json", "[]", 400),
        ("application/json", "[" * 60_000, 400),
        ("application/json", '{"text": 1}', 400),
        ("application/json", '{"text": ""}', 400),
        ("application/json", "\udcff", 400),
        (FORM, "note=x", 400),
        (FORM, "text=%ff", 400),
        (FORM, "text=é", 400),
    ],
)
async def test_what_is_no_note_is_refused(start: Start, content_type: str, body: str, status: int) -> None:
    async with start() as practice:
        token = (await practice.tokens())["access_token"]
        reply = await practice.send(
            "POST",
            practice.provider.api_url + "/notes",
            body.encode("utf-8", "surrogateescape"),
            Content_Type=content_type,
            Authorization=f"Bearer {token}",
        )
        assert reply.status == status
        assert practice.provider.notes == {}


async def test_me_tells_whose_token_it_is(start: Start) -> None:
    async with start() as practice:
        token = (await practice.tokens(scope="notes"))["access_token"]
        told = (await practice.call("/me", token)).json
        assert told.pop("id")
        assert told == {"name": "Robin Practice", "client_id": "practice-client", "scopes": ["notes"]}


@pytest.mark.parametrize(("path", "method"), [("/forecast", "GET"), ("/notes", "GET"), ("/notes", "POST")])
async def test_a_token_without_the_scope_is_told_which_one_it_needs(
    start: Start, path: str, method: str
) -> None:
    needed = "weather.read" if path == "/forecast" else "notes"
    other = "notes" if path == "/forecast" else "weather.read"
    async with start() as practice:
        reply = await practice.call(path, (await practice.tokens(scope=other))["access_token"], method)
        assert reply.status == 403
        assert 'error="insufficient_scope"' in reply.headers["WWW-Authenticate"]
        assert reply.headers["WWW-Authenticate"].endswith(f'scope="{needed}"')


@pytest.mark.parametrize("path", ["/forecast", "/notes", "/me"])
async def test_without_a_token_the_scheme_is_named_and_no_error(start: Start, path: str) -> None:
    async with start() as practice:
        reply = await practice.call(path)
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="practice"'


async def test_an_access_token_is_good_until_the_second_it_expires(start: Start) -> None:
    async with start(access_token_lifetime=5) as practice:
        token = (await practice.tokens())["access_token"]
        practice.clock.now += 4.99
        assert await practice.works(token)
        practice.clock.now += 0.01
        reply = await practice.call("/me", token)
        assert reply.status == 401
        assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]


async def test_unknown_and_refresh_tokens_open_nothing(start: Start) -> None:
    async with start() as practice:
        for token in ("never-given", (await practice.tokens())["refresh_token"]):
            reply = await practice.call("/me", token)
            assert (reply.status, reply.error) == (401, "invalid_token")


async def test_a_token_in_the_url_or_in_the_body_is_refused_even_if_good(start: Start) -> None:
    async with start() as practice:
        token = (await practice.tokens())["access_token"]
        for header in (None, token):
            reply = await practice.call(f"/me?access_token={token}", header)
            assert (reply.status, reply.error) == (400, "invalid_request")
        body = urlencode({"access_token": token, "text": "x"})
        assert (await practice.call("/notes", None, "POST", body=body, Content_Type=FORM)).status == 401


@pytest.mark.parametrize("form", ["bearer {}", "BEARER {}", "Bearer  {}", "Bearer", "Basic {}", "{}", "Bearer {},x"])
async def test_only_bearer_spelled_so_is_a_token(start: Start, form: str) -> None:
    async with start() as practice:
        token = (await practice.tokens())["access_token"]
        reply = await practice.call("/me", Authorization=form.format(token))
        assert (reply.status, reply.error) == (400, "invalid_request")


async def test_what_is_not_there_is_not_found(start: Start) -> None:
    async with start() as practice:
        assert (await practice.call("/nothing")).status == 404
