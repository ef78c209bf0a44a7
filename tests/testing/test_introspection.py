"""Introspection (RFC 7662): what a client learns of its own tokens, and that it learns nothing of others."""
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Practice, Reply, Start


async def introspect(practice: Practice, token: str) -> Reply:
    return await practice.ask(practice.provider.origin + "/introspect", token=token)


async def test_an_access_token_is_described(start: Start) -> None:
    async with start() as practice:
        api = practice.provider.api_url
        token = (await practice.tokens(scope="notes", resource=api))["access_token"]
        reply = (await introspect(practice, token)).json
        assert reply == {
            "active": True,
            "iss": practice.provider.issuer,
            "client_id": "practice-client",
            "username": "Robin Practice",
            "sub": (await practice.call("/me", token)).json["id"],
            "scope": "notes",
            "token_type": "Bearer",
            "iat": 1_800_000_000,
            "exp": 1_800_000_005,
            "aud": [api],
        }


async def test_a_refresh_token_is_described_until_it_is_used(start: Start) -> None:
    async with start() as practice:
        token = (await practice.tokens())["refresh_token"]
        assert (await introspect(practice, token)).json["scope"] == "weather.read notes"
        await practice.refresh(token)
        assert (await introspect(practice, token)).json == {"active": False}


@pytest.mark.parametrize("way", ["unknown", "expired", "revoked", "ended", "another client's"])
async def test_every_other_token_is_inactive_without_a_reason(start: Start, way: str) -> None:
    async with start() as practice:
        token = (await practice.tokens())["access_token"]
        if way == "unknown":
            token = "x"
        elif way == "expired":
            practice.provider.expire_access_tokens()
        elif way == "revoked":
            practice.provider.revoke_access_tokens()
        elif way == "ended":
            practice.provider.end_all_grants()
        else:
            practice.provider.add_client("other", "secret", [])
            practice.client_id, practice.secret = "other", "secret"
        reply = await introspect(practice, token)
        assert (reply.status, reply.json) == (200, {"active": False})


async def test_only_a_client_that_authenticates_may_ask(start: Start) -> None:
    async with start(client_secret=None) as practice:
        assert (await introspect(practice, "x")).error == "invalid_client"
    async with start() as practice:
        reply = await practice.post(practice.provider.origin + "/introspect", [("token", "x")])
        assert reply.status == 401
        assert (await practice.ask(practice.provider.origin + "/introspect")).error == "invalid_request"
