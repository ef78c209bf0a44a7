"""RFC 7009: a grant is ended at the provider, whatever it says of a token that is dead already."""
from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from SlyAPI import GrantEndedError, OAuth2, OAuth2App, OAuth2User, TokenError
from SlyAPI.errors import ConfigError, CredentialsNotFoundError, NetworkError
from SlyAPI.oauth2.messages.revocation import read_revocation_reply, revocation_form
from SlyAPI.stores import MemoryStore, user_file
from SlyAPI.testing import PracticeProvider
from SlyAPI.web import Method, Reply, Request
from SlyAPI.web.secret_values import Secrets

if TYPE_CHECKING:
    from tests.conftest import Practice, Practise, Serve

USER = OAuth2User("access-token-1", "refresh-token-1")


def test_the_refresh_token_is_what_is_revoked() -> None:
    assert revocation_form(USER) == {"token": "refresh-token-1", "token_type_hint": "refresh_token"}


def test_without_a_refresh_token_the_access_token_is() -> None:
    assert revocation_form(OAuth2User("access-token-1")) == {
        "token": "access-token-1",
        "token_type_hint": "access_token",
    }


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, ""),
        (200, "{}"),
        (204, ""),
        (200, "<html>thanks</html>"),
        (400, '{"error": "invalid_token"}'),
        (400, '{"error":"invalid_grant"}'),
    ],
)
def test_a_token_that_is_dead_now_or_was_before_is_no_error(status: int, body: str) -> None:
    read_revocation_reply(Reply(status, {}, body.encode()), Secrets())


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"error": "invalid_client"}, "configuration"),
        (400, {"error": "unsupported_token_type"}, "permanent"),
        (503, {"error": "temporarily_unavailable"}, "transient"),
        (404, {}, "configuration"),
    ],
)
def test_a_refused_revocation_says_what_helps(status: int, body: dict[str, str], kind: str) -> None:
    reply = Reply(status, {}, json.dumps(body).encode(), "https://provider.example/revoke")
    with pytest.raises(TokenError, match="revocation endpoint") as caught:
        read_revocation_reply(reply, Secrets(("refresh-token-1",)))
    assert caught.value.kind == kind


def test_an_echoed_token_is_masked() -> None:
    body = b'{"error": "unsupported_token_type", "error_description": "refresh-token-1"}'
    with pytest.raises(TokenError) as caught:
        read_revocation_reply(Reply(400, {}, body), Secrets(("refresh-token-1",)))
    assert "refresh-token-1" not in str(caught.value)


async def test_a_revoked_grant_is_over_at_the_provider(practise: Practise) -> None:
    practice = await practise()
    user = await practice.grant()
    practice.app.revoke_uri = practice.provider.revoke_url
    await practice.app.revoke(user)
    await practice.app.revoke(user)
    with pytest.raises(TokenError, match="invalid_grant"):
        await practice.app.refresh(None, user)


async def test_a_provider_without_a_known_revocation_endpoint_is_named_as_such() -> None:
    app = OAuth2App("id", "secret", "https://own.example/auth", "https://own.example/token")
    with pytest.raises(ConfigError, match="No revocation endpoint"):
        await app.revoke(USER)


async def test_the_table_and_the_client_file_know_revocation_endpoints() -> None:
    google = OAuth2App("id", "s", "https://accounts.google.com/o/oauth2/v2/auth", "https://oauth2.googleapis.com/token")
    assert google.provider is not None
    assert google.provider.revoke_uri == "https://oauth2.googleapis.com/revoke"
    told = {"client_id": "id", "auth_uri": "https://a.example/a", "token_uri": "https://a.example/t"}
    assert OAuth2App.from_json_obj({**told, "revocation_endpoint": "https://a.example/r"}).revoke_uri == "https://a.example/r"


async def test_a_revocation_endpoint_that_cannot_be_reached_is_transient(unused_port: int) -> None:
    app = OAuth2App("id", "secret", "http://localhost/auth", "http://localhost/token")
    app.revoke_uri = f"http://127.0.0.1:{unused_port}/revoke"
    with pytest.raises(NetworkError) as caught:
        await app.revoke(USER)
    assert caught.value.kind == "transient"


async def test_what_the_grant_learned_of_the_client_goes_before_the_table() -> None:
    provider = PracticeProvider(client_secret="client-secret", client_auth="basic")
    async with provider.running():
        app = OAuth2App("practice-client", "client-secret", "https://discord.com/oauth2/authorize", provider.token_url)
        app.revoke_uri = provider.revoke_url
        await app.revoke(OAuth2User("a-token", "r-token", client_auth="basic"))
    assert [seen.client_auth for seen in provider.log] == ["basic"]


@pytest.mark.parametrize("body", [{"ok": False, "error": "invalid_auth"}, {"error": "invalid_client"}])
def test_a_refusal_with_status_200_ends_no_grant(body: dict[str, object]) -> None:
    with pytest.raises(TokenError):
        read_revocation_reply(Reply(200, {}, json.dumps(body).encode()), Secrets())


def test_a_wrong_address_is_told_by_the_member_that_holds_it() -> None:
    with pytest.raises(TokenError) as caught:
        read_revocation_reply(Reply(404, {}, b""), Secrets())
    assert "revoke_uri" in caught.value.next_step


# Ended for good: at the provider, and in the store.


async def revocable(practise: Practise) -> Practice:
    practice = await practise()
    practice.app.revoke_uri = practice.provider.revoke_url
    return practice


async def test_a_user_who_is_revoked_is_forgotten_by_the_store_too(practise: Practise) -> None:
    practice, store = await revocable(practise), MemoryStore()
    user = await practice.grant()
    await store.user("alice").save(user)
    await OAuth2(practice.app, store.user("alice")).revoke()
    assert await store.names() == []
    with pytest.raises(GrantEndedError):
        await practice.auth(user).refresh_now()


async def test_a_revocation_goes_by_the_clock_of_its_signer(practise: Practise) -> None:
    practice = await revocable(practise)
    await practice.auth(await practice.grant()).revoke()
    assert abs(practice.app.clock_skew) < 2, "the provider's clock is the same"


async def test_what_another_process_rotated_is_what_is_revoked(practise: Practise) -> None:
    practice, store = await revocable(practise), MemoryStore()
    await store.user("alice").save(await practice.grant())
    ours, theirs = (OAuth2(practice.app, store.user("alice")) for _ in range(2))
    await ours.sign(None, Request(Method.GET, practice.app.token_uri))
    rotated = await theirs.refresh_now()
    await ours.revoke()
    with pytest.raises(GrantEndedError):
        await practice.auth(rotated).refresh_now()


async def test_nothing_is_forgotten_while_the_provider_cannot_be_told(practise: Practise) -> None:
    practice, store = await revocable(practise), MemoryStore()
    await store.user("alice").save(await practice.grant())
    practice.app.revoke_uri = "http://127.0.0.1:1/revoke"
    with pytest.raises(NetworkError):
        await OAuth2(practice.app, store.user("alice")).revoke()
    assert await store.names() == ["alice"]


async def test_a_grant_that_was_over_already_is_forgotten_all_the_same(practise: Practise) -> None:
    practice, store = await revocable(practise), MemoryStore()
    user = await practice.grant()
    await store.user("alice").save(user)
    await practice.app.revoke(user)
    await OAuth2(practice.app, store.user("alice")).revoke()
    assert await store.names() == []


async def test_a_user_whom_the_store_does_not_know_is_told_so(practise: Practise) -> None:
    practice = await revocable(practise)
    with pytest.raises(CredentialsNotFoundError):
        await OAuth2(practice.app, MemoryStore().user("nobody")).revoke()


async def test_a_refresh_under_way_ends_first_and_its_tokens_are_those_revoked(practise: Practise) -> None:
    practice, store = await revocable(practise), MemoryStore()
    await store.user("alice").save(await practice.grant())
    auth = OAuth2(practice.app, store.user("alice"))
    refreshed, _ = await asyncio.gather(auth.refresh_now(), auth.revoke())
    assert await store.names() == []
    with pytest.raises(GrantEndedError):
        await practice.auth(refreshed).refresh_now()


@pytest.mark.parametrize("kind", ["store", "file"])
async def test_a_login_during_a_revocation_stays(practise: Practise, serve: Serve, kind: str) -> None:
    practice, store = await revocable(practise), MemoryStore()
    entry = store.user("alice") if kind == "store" else user_file(practice.folder / "user.json")
    await entry.save(await practice.grant())
    again = await practice.grant()

    async def revoke(request: web.Request) -> web.StreamResponse:
        await entry.save(again)
        return web.Response()

    practice.app.revoke_uri = f"{(await serve(revoke)).origin}/revoke"
    await OAuth2(practice.app, entry, clock=practice.clock).revoke()
    assert (await entry.load()).refresh_token == again.refresh_token


async def test_another_member_that_changes_during_a_revocation_keeps_no_ended_grant(
    practise: Practise, serve: Serve
) -> None:
    practice, store = await revocable(practise), MemoryStore()
    await store.user("alice").save(await practice.grant())

    async def revoke(request: web.Request) -> web.StreamResponse:
        await store.save("alice", {**await store.load("alice"), "note": "theirs"})
        return web.Response()

    practice.app.revoke_uri = f"{(await serve(revoke)).origin}/revoke"
    await OAuth2(practice.app, store.user("alice"), clock=practice.clock).revoke()
    assert await store.names() == []
