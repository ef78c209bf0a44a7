"""Failures on demand: what a test asks for happens, once, and then the provider works again."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from SlyAPI.testing import GRANT_TYPES, PracticeProvider

if TYPE_CHECKING:
    from .conftest import Start

DATE = "Fri, 15 Jan 2027 08:00:30 GMT"


@pytest.mark.parametrize(
    ("arguments", "status", "error", "retry_after"),
    [
        ({}, 429, "temporarily_unavailable", None),
        ({"retry_after": 2}, 429, "temporarily_unavailable", "2"),
        ({"retry_after": 0.1}, 429, "temporarily_unavailable", "1"),
        ({"retry_after": DATE}, 429, "temporarily_unavailable", DATE),
        ({"status": 503, "retry_after": 9}, 503, "temporarily_unavailable", "9"),
        ({"status": 500}, 500, "server_error", None),
        ({"status": 400, "error": "slow_down"}, 400, "slow_down", None),
        ({"status": 400, "error": "access_denied"}, 400, "access_denied", None),
    ],
    ids=str,
)
async def test_the_next_request_fails_as_asked_and_costs_no_token(
    start: Start, arguments: dict[str, Any], status: int, error: str, retry_after: str | None
) -> None:
    async with start() as practice:
        token = (await practice.tokens())["refresh_token"]
        practice.provider.fail_next("token", **arguments)
        reply = await practice.refresh(token)
        assert (reply.status, reply.error, reply.headers.get("Retry-After")) == (status, error, retry_after)
        assert practice.provider.log[-1].outcome == error
        assert (await practice.refresh(token)).status == 200


async def test_a_fault_is_for_its_endpoint_and_those_below_it_a_number_of_times(start: Start) -> None:
    async with start() as practice:
        token = (await practice.tokens())["access_token"]
        practice.provider.fail_next("api", 503, times=2)
        practice.provider.fail_next("api/me", 429)
        statuses = [(await practice.call(path, token)).status for path in ("/me", "/notes", "/notes", "/me", "/me")]
        assert statuses == [503, 503, 200, 429, 200]


async def test_a_fault_may_have_a_challenge(start: Start) -> None:
    async with start() as practice:
        practice.provider.fail_next("api", 401, error="invalid_token", headers={"WWW-Authenticate": "Bearer, Odd x=1"})
        assert (await practice.call("/me")).headers["WWW-Authenticate"] == "Bearer, Odd x=1"


async def test_tokens_expire_on_demand(start: Start) -> None:
    async with start() as practice:
        tokens = await practice.tokens()
        practice.provider.expire_access_tokens()
        assert (await practice.call("/me", tokens["access_token"])).error == "invalid_token"
        fresh = (await practice.refresh(tokens["refresh_token"])).json
        practice.provider.expire_refresh_tokens()
        assert await practice.works(fresh["access_token"])
        assert (await practice.refresh(fresh["refresh_token"])).error == "invalid_grant"


@pytest.mark.parametrize("leeway", [0.0, 30.0])
async def test_a_refresh_token_is_spent_by_somebody_else_on_demand(start: Start, leeway: float) -> None:
    async with start(reuse_leeway=leeway) as practice:
        tokens = await practice.tokens()
        practice.provider.spend_refresh_tokens()
        assert (await practice.refresh(tokens["refresh_token"])).error == "invalid_grant"
        assert practice.provider.reuses == 1
        assert not await practice.works(tokens["access_token"])


async def test_a_person_says_no_on_demand(start: Start) -> None:
    async with start(grant_types=GRANT_TYPES) as practice:
        practice.provider.consent = "deny"
        assert (await practice.authorize()).sent_back["error"] == "access_denied"
        practice.provider.consent = "allow"
        assert "code" in (await practice.authorize()).sent_back


@pytest.mark.parametrize("endpoint", ["ap", "tokens", "api/calendar", "jwks", ""])
def test_a_fault_for_an_endpoint_that_does_not_exist_is_refused_with_those_that_do(endpoint: str) -> None:
    with pytest.raises(ValueError, match="api/forecast"):
        PracticeProvider().fail_next(endpoint)


def test_a_fault_may_be_for_one_registration() -> None:
    PracticeProvider(registration=True).fail_next("register/client-1", 503)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("consent", "maybe"),
        ("client_auth", "header"),
        ("dpop", True),
        ("signed_requests", "on"),
        ("resource_metadata", "yes"),
        ("grant_types", ["device"]),
        ("metadata_places", ["anywhere"]),
    ],
)
def test_a_setting_that_means_nothing_is_refused_at_the_start_and_while_it_runs(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} .*not "):
        PracticeProvider(**{name: value})
    with pytest.raises(ValueError, match=f"{name} .*not "):
        setattr(PracticeProvider(), name, value)


@pytest.mark.parametrize("settings", [{"people": []}, {"dpop_nonces": True}, {"signed_responses": True}], ids=str)
def test_settings_that_do_not_fit_together_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"need|person"):
        PracticeProvider(**settings)
