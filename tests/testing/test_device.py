"""The device flow (RFC 8628): each state of a device code, and each poll's answer."""
from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from SlyAPI.testing import GRANT_TYPES, PracticeProvider

if TYPE_CHECKING:
    from .conftest import Practice, Reply, Start

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


async def begin(practice: Practice, **more: str | None) -> Reply:
    url = practice.provider.origin + "/device_authorization"
    return await practice.ask(url, **{"scope": "weather.read notes", **more})


async def poll(practice: Practice, device_code: str) -> Reply:
    return await practice.ask(practice.provider.token_url, grant_type=DEVICE_CODE, device_code=device_code)


async def answer(practice: Practice, user_code: str, decision: str = "allow", **more: str) -> Reply:
    pairs = [("user_code", user_code), ("decision", decision)]
    return await practice.post(practice.provider.origin + "/device", pairs, **more)


async def test_a_device_gets_its_codes_and_where_to_type_them(start: Start) -> None:
    async with start(grant_types=GRANT_TYPES, consent="ask") as practice:
        reply = (await begin(practice)).json
        assert re.fullmatch("[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", reply["user_code"])
        assert reply["verification_uri"] == practice.provider.origin + "/device"
        assert reply["verification_uri_complete"].endswith("?user_code=" + reply["user_code"])
        assert (reply["expires_in"], reply["interval"]) == (600, 5.0)


async def test_a_device_has_tokens_once_the_person_allowed_it(start: Start) -> None:
    async with start(grant_types=GRANT_TYPES, consent="ask", people=("Ada", "Bo")) as practice:
        device = (await begin(practice)).json
        assert (await poll(practice, device["device_code"])).error == "authorization_pending"
        practice.provider.decide_device(device["user_code"], person="Bo")
        practice.clock.now += 5
        tokens = (await poll(practice, device["device_code"])).json
        assert tokens["scope"] == "weather.read notes"
        assert (await practice.call("/me", tokens["access_token"])).json["name"] == "Bo"
        assert (await practice.refresh(tokens["refresh_token"])).status == 200
        practice.clock.now += 5
        assert (await poll(practice, device["device_code"])).error == "invalid_grant"


async def test_a_poll_that_comes_too_early_makes_the_interval_longer_for_good(start: Start) -> None:
    async with start(grant_types=GRANT_TYPES, consent="ask") as practice:
        device = (await begin(practice)).json
        answers = []
        for wait in (0, 4, 9, 10, 15):
            practice.clock.now += wait
            answers.append((await poll(practice, device["device_code"])).error)
        pending, slow = "authorization_pending", "slow_down"
        assert answers == [pending, slow, slow, slow, slow]
        practice.clock.now += 25
        assert (await poll(practice, device["device_code"])).error == pending


@pytest.mark.parametrize(("consent", "error"), [("deny", "access_denied"), ("ask", "expired_token")])
async def test_a_device_learns_that_it_was_denied_or_too_late(start: Start, consent: str, error: str) -> None:
    async with start(grant_types=GRANT_TYPES, consent=consent) as practice:
        device = (await begin(practice)).json
        practice.clock.now += 600 if consent == "ask" else 0
        reply = await poll(practice, device["device_code"])
        assert (reply.status, reply.error) == (400, error)


@pytest.mark.parametrize("typed", ["{}", " {} ", "lower", "without"])
async def test_the_person_types_the_code_in_any_spelling(start: Start, typed: str) -> None:
    async with start(grant_types=GRANT_TYPES, consent="ask") as practice:
        device = (await begin(practice)).json
        code = device["user_code"]
        spelling = {"lower": code.lower(), "without": code.replace("-", "")}.get(typed, typed.format(code))
        assert (await answer(practice, spelling)).status == 200
        assert (await poll(practice, device["device_code"])).status == 200


async def test_the_page_names_the_app_and_the_code_before_it_asks(start: Start) -> None:
    async with start(grant_types=GRANT_TYPES, consent="ask", client_name="<TV>") as practice:
        device = (await begin(practice)).json
        empty = await practice.send("GET", device["verification_uri"])
        page = await practice.send("GET", device["verification_uri_complete"])
        wrong = await practice.send("GET", device["verification_uri"] + "?user_code=XXXX-XXXX")
        assert [reply.status for reply in (empty, page, wrong)] == [200, 200, 200]
        assert "&lt;TV&gt;" in page.text
        assert f"<b>{device['user_code']}</b>" in page.text
        assert "unknown" in wrong.text
        assert "unknown" not in empty.text
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}])
async def test_another_site_cannot_answer_for_the_person(start: Start, headers: dict[str, str]) -> None:
    async with start(grant_types=GRANT_TYPES, consent="ask") as practice:
        device = (await begin(practice)).json
        assert (await answer(practice, device["user_code"], **headers)).status == 403
        assert (await poll(practice, device["device_code"])).error == "authorization_pending"


@pytest.mark.parametrize("decision", ["", "perhaps"])
async def test_a_device_is_answered_by_allow_or_deny_and_once(start: Start, decision: str) -> None:
    async with start(grant_types=GRANT_TYPES, consent="ask") as practice:
        device = (await begin(practice)).json
        assert (await answer(practice, device["user_code"], decision)).status == 400
        assert (await answer(practice, device["user_code"], "deny")).status == 200
        assert (await answer(practice, device["user_code"], "allow")).status == 400
        assert (await poll(practice, device["device_code"])).error == "access_denied"


async def test_a_device_code_is_of_no_use_to_another_client(start: Start) -> None:
    async with start(grant_types=GRANT_TYPES) as practice:
        device = (await begin(practice)).json
        practice.provider.add_client("other", None, [])
        pairs = [("grant_type", DEVICE_CODE), ("client_id", "other"), ("device_code", device["device_code"])]
        assert (await practice.post(practice.provider.token_url, pairs)).error == "invalid_grant"
        assert (await poll(practice, device["device_code"])).status == 200


@pytest.mark.parametrize(
    ("settings", "form", "error"),
    [
        ({}, {"scope": "admin"}, "invalid_scope"),
        ({}, {"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"client_metadata": {"grant_types": ["authorization_code"]}}, {}, "unauthorized_client"),
        ({"client_metadata": {"scope": "notes"}}, {}, "invalid_scope"),
    ],
)
async def test_a_device_request_that_is_not_allowed_is_refused(
    start: Start, settings: dict[str, object], form: dict[str, str], error: str
) -> None:
    async with start(grant_types=GRANT_TYPES, **settings) as practice:
        assert (await begin(practice, **form)).error == error


async def test_without_the_grant_type_there_is_no_device_endpoint(start: Start) -> None:
    async with start() as practice:
        assert (await begin(practice)).status == 404
        assert (await poll(practice, "x")).error == "unsupported_grant_type"


def test_a_code_that_no_device_shows_cannot_be_decided() -> None:
    with pytest.raises(LookupError):
        PracticeProvider().decide_device("XXXX-XXXX")
