"""Running the provider, what a test sees of it, and what of it outlives a restart."""
from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from SlyAPI.testing import PracticeProvider, kept_provider

if TYPE_CHECKING:
    from tests.testing.conftest import Start


async def test_it_listens_on_this_computer_only_and_says_where(start: Start) -> None:
    provider = PracticeProvider()
    async with provider.running() as origin:
        assert origin.startswith("http://127.0.0.1:")
        assert provider.origin == origin
        assert provider.authorize_url == origin + "/authorize"
        assert provider.token_url == origin + "/token"
        assert provider.revoke_url == origin + "/revoke"
        assert provider.api_url == origin + "/api"
    with pytest.raises(RuntimeError, match="not running"):
        _ = provider.token_url


async def test_it_runs_once_at_a_time_and_again_on_the_same_port() -> None:
    provider = PracticeProvider()
    async with provider.running() as origin:
        with pytest.raises(RuntimeError, match="runs already"):
            async with provider.running():
                pass
        assert provider.origin == origin
    async with provider.running(int(origin.rpartition(":")[2])) as again:
        assert again == origin


async def test_a_taken_port_is_an_oserror_and_another_still_works() -> None:
    first, second = PracticeProvider(), PracticeProvider()
    async with first.running() as origin:
        with pytest.raises(OSError):
            async with second.running(int(origin.rpartition(":")[2])):
                pass
        async with second.running() as other:
            assert other != origin


@pytest.mark.parametrize("uri", ["/back", "localhost", "http://localhost/#x", "http://localhost/a b", ""])
def test_a_redirect_uri_that_cannot_be_registered_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="redirect_uri"):
        PracticeProvider(redirect_uris=[uri])


async def test_the_log_tells_what_each_endpoint_saw(start: Start) -> None:
    async with start() as practice:
        tokens = await practice.tokens()
        await practice.refresh(tokens["refresh_token"], scope="admin")
        await practice.call("/forecast?city=Oslo", tokens["access_token"])
        seen = [
            (s.endpoint, s.method, s.client_auth, s.status, s.outcome) for s in practice.provider.log
        ]
        assert seen == [
            ("authorize", "GET", "", 303, "ok"),
            ("token", "POST", "basic", 200, "ok"),
            ("token", "POST", "basic", 400, "invalid_scope"),
            ("api/forecast", "GET", "", 200, "ok"),
        ]
        assert practice.provider.log[1].parameters["code_verifier"] == "v" * 43
        assert practice.provider.log[2].parameters["scope"] == "admin"
        assert practice.provider.log[3].parameters == {"city": "Oslo"}


async def test_neither_the_provider_nor_its_log_prints_a_secret(start: Start) -> None:
    async with start() as practice:
        tokens = await practice.tokens()
        printed = repr(practice.provider) + repr(practice.provider.log)
        secrets = [*practice.provider.log[1].parameters.values(), tokens["access_token"], "s3 cret"]
        assert not [secret for secret in secrets if len(secret) > 20 and secret in printed]


async def test_access_tokens_can_be_ended_before_their_time(start: Start) -> None:
    async with start() as practice:
        tokens = await practice.tokens()
        practice.provider.revoke_access_tokens()
        assert (await practice.call("/me", tokens["access_token"])).error == "invalid_token"
        fresh = (await practice.refresh(tokens["refresh_token"])).json
        assert await practice.works(fresh["access_token"])


async def test_all_grants_can_be_ended_at_once(start: Start) -> None:
    async with start() as practice:
        tokens = await practice.tokens()
        practice.provider.end_all_grants()
        assert not await practice.works(tokens["access_token"])
        assert (await practice.refresh(tokens["refresh_token"])).error == "invalid_grant"
        assert practice.provider.reuses == 0


@pytest.mark.parametrize(
    ("settings", "methods"),
    [
        ({}, ["client_secret_basic", "client_secret_post"]),
        ({"client_auth": "basic"}, ["client_secret_basic"]),
        ({"client_auth": "post"}, ["client_secret_post"]),
        ({"client_secret": None}, ["client_secret_basic", "client_secret_post", "none"]),
    ],
)
async def test_the_metadata_tells_where_and_how(
    start: Start, settings: dict[str, str | None], methods: list[str]
) -> None:
    async with start(**settings) as practice:
        provider = practice.provider
        url = provider.origin + "/.well-known/oauth-authorization-server"
        told = (await practice.send("GET", url)).json
        assert told["issuer"] == provider.origin
        assert told["authorization_endpoint"] == provider.authorize_url
        assert told["token_endpoint"] == provider.token_url
        assert told["revocation_endpoint"] == provider.revoke_url
        assert told["token_endpoint_auth_methods_supported"] == methods
        assert told["code_challenge_methods_supported"] == ["S256"]
        assert told["authorization_response_iss_parameter_supported"] is True
        assert told["scopes_supported"] == ["weather.read", "notes"]


# Over a restart.


async def test_tokens_work_on_after_a_restart_and_reuse_is_still_noticed(start: Start) -> None:
    async with start(client_auth="basic", access_token_lifetime=7.0) as practice:
        tokens, ended = await practice.tokens(), await practice.tokens()
        fresh = (await practice.refresh(tokens["refresh_token"])).json
        await practice.ask(practice.provider.revoke_url, token=ended["refresh_token"])
        practice.provider.notes["Robin Practice"] = ["x"]
        kept = json.loads(json.dumps(practice.provider.to_json()))
        assert len(kept["grants"]) == 1  # what has ended is not kept
        again = PracticeProvider.from_json(kept, consent="allow", clock=practice.clock)
        practice.provider = again
        async with again.running():
            assert json.loads(json.dumps(again.to_json())) == kept
            assert await practice.works(fresh["access_token"])
            assert not await practice.works(ended["access_token"])
            assert again.notes == {"Robin Practice": ["x"]}
            third = (await practice.refresh(fresh["refresh_token"])).json
            assert third["expires_in"] == 7
            assert (await practice.refresh(tokens["refresh_token"])).error == "invalid_grant"
            assert again.reuses == 1
            assert (await practice.tokens())["scope"] == "weather.read notes"


async def test_what_is_kept_holds_no_token_and_no_secret(start: Start) -> None:
    async with start() as practice:
        tokens = await practice.tokens()
        kept = json.dumps(practice.provider.to_json(), ensure_ascii=False)
        for secret in (tokens["access_token"], tokens["refresh_token"], "s3 cret/ü+%:"):
            assert secret not in kept


@pytest.mark.parametrize(
    "kept",
    [
        {},
        [],
        None,
        {"practice_provider": 2},
        {"practice_provider": 1},
        {**PracticeProvider().to_json(), "clients": [{}]},
        {**PracticeProvider().to_json(), "rules": {"odd": 1}},
        {**PracticeProvider().to_json(), "grants": []},
        {**PracticeProvider().to_json(), "refresh_tokens": {"d": {"grant_id": "g", "expires_at": None}}},
    ],
)
def test_anything_else_is_not_taken_for_a_providers_memory(kept: Any) -> None:
    with pytest.raises(ValueError, match="to_json"):
        PracticeProvider.from_json(kept)


async def test_a_kept_provider_that_is_not_there_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="python -m SlyAPI demo"):
        async with kept_provider(tmp_path / "provider.json"):
            raise AssertionError("there is none")
