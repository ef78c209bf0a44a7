"""Refreshing and revoking: which tokens live on, and which take others with them."""
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.testing.conftest import Start

SECRET = "s3 cret/ü+%:"


async def test_a_refresh_rotates_the_refresh_token(start: Start) -> None:
    async with start() as practice:
        tokens = await practice.tokens()
        fresh = (await practice.refresh(tokens["refresh_token"])).json
        assert fresh["refresh_token"] != tokens["refresh_token"]
        assert fresh["scope"] == "weather.read notes"
        assert await practice.works(fresh["access_token"])
        assert (await practice.refresh(fresh["refresh_token"])).status == 200
        assert (practice.provider.refreshes, practice.provider.reuses) == (2, 0)


async def test_a_rotated_refresh_token_that_comes_back_ends_the_whole_grant(start: Start) -> None:
    async with start() as practice:
        tokens, others = await practice.tokens(), await practice.tokens()
        fresh = (await practice.refresh(tokens["refresh_token"])).json
        reply = await practice.refresh(tokens["refresh_token"])
        assert (reply.status, reply.error) == (400, "invalid_grant")
        assert (practice.provider.refreshes, practice.provider.reuses) == (1, 1)
        assert not await practice.works(fresh["access_token"])
        assert not await practice.works(tokens["access_token"])
        assert (await practice.refresh(fresh["refresh_token"])).error == "invalid_grant"
        assert await practice.works(others["access_token"])
        assert (await practice.refresh(tokens["refresh_token"])).error == "invalid_grant"
        assert practice.provider.reuses == 1  # there was nothing left to end


async def test_within_the_leeway_only_the_refresh_token_rotated_last_may_come_back(start: Start) -> None:
    async with start(reuse_leeway=10.0) as practice:
        first = (await practice.tokens())["refresh_token"]
        await practice.refresh(first)  # and the client died before it kept the reply
        practice.clock.now += 9
        second = (await practice.refresh(first)).json["refresh_token"]
        practice.clock.now += 9
        await practice.refresh(second)
        assert (practice.provider.refreshes, practice.provider.reuses, practice.provider.forgiven) == (3, 0, 1)
        assert (await practice.refresh(first)).error == "invalid_grant"  # two rotations ago
        assert (practice.provider.reuses, practice.provider.forgiven) == (1, 1)


async def test_after_the_leeway_a_rotated_refresh_token_ends_the_grant(start: Start) -> None:
    async with start(reuse_leeway=10.0) as practice:
        token = (await practice.tokens())["refresh_token"]
        fresh = (await practice.refresh(token)).json
        practice.clock.now += 10
        assert (await practice.refresh(token)).error == "invalid_grant"
        assert not await practice.works(fresh["access_token"])
        assert practice.provider.reuses == 1


async def test_without_rotation_the_same_refresh_token_goes_on(start: Start) -> None:
    async with start(rotation=False) as practice:
        token = (await practice.tokens())["refresh_token"]
        for _ in range(3):
            reply = await practice.refresh(token)
            assert reply.status == 200
            assert "refresh_token" not in reply.json
        assert (practice.provider.refreshes, practice.provider.reuses) == (3, 0)


@pytest.mark.parametrize("revoke_old", [False, True])
async def test_the_old_access_token_lives_on_unless_told_otherwise(start: Start, revoke_old: bool) -> None:
    async with start(revoke_old_access_token=revoke_old) as practice:
        tokens = await practice.tokens()
        fresh = (await practice.refresh(tokens["refresh_token"])).json
        assert await practice.works(tokens["access_token"]) is not revoke_old
        assert await practice.works(fresh["access_token"])
        practice.clock.now += 5
        assert not await practice.works(tokens["access_token"])


async def test_a_refresh_may_ask_for_less_and_later_again_for_all(start: Start) -> None:
    async with start() as practice:
        tokens = await practice.tokens()
        less = (await practice.refresh(tokens["refresh_token"], scope="notes")).json
        assert less["scope"] == "notes"
        assert (await practice.call("/forecast", less["access_token"])).status == 403
        assert (await practice.refresh(less["refresh_token"])).json["scope"] == "weather.read notes"


@pytest.mark.parametrize("scope", ["weather.read notes", "admin", "notes  notes"])
async def test_a_refresh_for_more_is_refused_and_costs_nothing(start: Start, scope: str) -> None:
    async with start() as practice:
        token = (await practice.tokens(scope="notes"))["refresh_token"]
        assert (await practice.refresh(token, scope=scope)).error == "invalid_scope"
        assert (await practice.refresh(token)).status == 200


async def test_a_refresh_token_expires_when_told_to(start: Start) -> None:
    async with start(refresh_token_lifetime=100) as practice:
        assert (await practice.tokens())["refresh_token_expires_in"] == 100
        early, late = (await practice.tokens())["refresh_token"], (await practice.tokens())["refresh_token"]
        practice.clock.now += 99
        assert (await practice.refresh(early)).status == 200
        practice.clock.now += 1
        assert (await practice.refresh(late)).error == "invalid_grant"


async def test_without_a_lifetime_a_refresh_token_never_expires(start: Start) -> None:
    async with start() as practice:
        token = (await practice.tokens())["refresh_token"]
        practice.clock.now += 10 * 365 * 24 * 3600
        assert (await practice.refresh(token)).status == 200


async def test_unknown_and_missing_refresh_tokens_are_refused(start: Start) -> None:
    async with start() as practice:
        tokens = await practice.tokens()
        assert (await practice.refresh("never given")).error == "invalid_grant"
        assert (await practice.refresh(tokens["access_token"])).error == "invalid_grant"
        assert (await practice.refresh("")).error == "invalid_request"


async def test_another_clients_refresh_token_is_refused_and_survives(start: Start) -> None:
    async with start() as practice:
        practice.provider.add_client("other", None, ["http://localhost:8080/back"])
        token = (await practice.tokens())["refresh_token"]
        pairs = [("client_id", "other"), ("grant_type", "refresh_token"), ("refresh_token", token)]
        assert (await practice.post(practice.provider.token_url, pairs)).error == "invalid_grant"
        assert (await practice.refresh(token)).status == 200


@pytest.mark.parametrize(
    "credentials",
    [
        {"client_id": "practice-client"},
        {"client_id": "practice-client", "client_secret": "wrong"},
        {"client_id": "practice-client", "client_secret": SECRET},  # right, but by the wrong method
        {},
    ],
)
async def test_wrong_client_authentication_ends_the_refresh_token_shown_with_it(
    start: Start, credentials: dict[str, str]
) -> None:
    async with start(client_auth="basic") as practice:
        tokens = await practice.tokens()
        pairs = [
            ("grant_type", "refresh_token"),
            ("refresh_token", tokens["refresh_token"]),
            *credentials.items(),
        ]
        reply = await practice.post(practice.provider.token_url, pairs)
        assert (reply.status, reply.error) == (401, "invalid_client")
        assert (await practice.refresh(tokens["refresh_token"])).error == "invalid_grant"
        assert await practice.works(tokens["access_token"])
        assert practice.provider.reuses == 0


async def test_a_request_that_is_merely_malformed_costs_no_refresh_token(start: Start) -> None:
    async with start() as practice:
        token = (await practice.tokens())["refresh_token"]
        assert (await practice.refresh(token, client_secret=SECRET)).error == "invalid_request"
        assert (await practice.refresh(token)).status == 200


async def test_a_reply_lost_on_its_way_leaves_the_token_rotated(start: Start) -> None:
    async with start(delay_after_rotation=3600.0) as practice:
        token = (await practice.tokens())["refresh_token"]
        reached = asyncio.Event()

        def clock() -> float:  # the provider looks at it once per refresh, then rotates, then delays
            reached.set()
            return practice.clock.now

        practice.provider.clock = clock
        lost = asyncio.create_task(practice.refresh(token))
        await reached.wait()
        assert practice.provider.refreshes == 1
        practice.provider.delay_after_rotation = 0.0
        assert (await practice.refresh(token)).error == "invalid_grant"
        assert practice.provider.reuses == 1
        assert not lost.done()
        lost.cancel()


# Revocation (RFC 7009).


async def test_revoking_a_refresh_token_ends_its_grant(start: Start) -> None:
    async with start() as practice:
        tokens, others = await practice.tokens(), await practice.tokens()
        reply = await practice.ask(practice.provider.revoke_url, token=tokens["refresh_token"])
        assert (reply.status, reply.text) == (200, "")
        assert not await practice.works(tokens["access_token"])
        assert (await practice.refresh(tokens["refresh_token"])).error == "invalid_grant"
        assert await practice.works(others["access_token"])


@pytest.mark.parametrize("hint", [None, "access_token", "refresh_token", "odd"])
async def test_revoking_an_access_token_ends_it_alone_whatever_the_hint(start: Start, hint: str | None) -> None:
    async with start() as practice:
        tokens = await practice.tokens()
        url = practice.provider.revoke_url
        reply = await practice.ask(url, token=tokens["access_token"], token_type_hint=hint)
        assert reply.status == 200
        assert not await practice.works(tokens["access_token"])
        assert (await practice.refresh(tokens["refresh_token"])).status == 200


async def test_revoking_what_is_unknown_or_revoked_is_fine(start: Start) -> None:
    async with start() as practice:
        tokens = await practice.tokens()
        for token in ("never given", tokens["refresh_token"], tokens["refresh_token"]):
            assert (await practice.ask(practice.provider.revoke_url, token=token)).status == 200


async def test_revoking_needs_the_client_itself_and_a_token(start: Start) -> None:
    async with start() as practice:
        practice.provider.add_client("other", None, ["http://localhost:8080/back"])
        tokens = await practice.tokens()
        url, pair = practice.provider.revoke_url, ("token", tokens["refresh_token"])
        assert (await practice.post(url, [pair])).status == 401
        assert (await practice.post(url, [pair, ("client_id", "other")])).error == "invalid_grant"
        assert (await practice.ask(url)).error == "invalid_request"
        assert (await practice.send("GET", url)).status == 405
        assert (await practice.refresh(tokens["refresh_token"])).status == 200
