"""Requests of httpx and httpx2 that an `Auth` signs: the tokens, their refresh, and what leaves the origin."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

import SlyAPI.httpx
import SlyAPI.httpx2
from SlyAPI import Auth, ClientCredentials, HeaderApiKey, OAuth2, OAuth2App, OAuth2User, UrlApiKey
from SlyAPI.errors import ConfigError, GrantEndedError, OriginError
from SlyAPI.testing import GRANT_TYPES
from SlyAPI.web import Request
from tests.oauth2.test_for_resource import Person, asked, resource, signer
from tests.support.renewing import Renewing

if TYPE_CHECKING:
    from tests.conftest import Practise, Serve

LIBRARIES = {"httpx": SlyAPI.httpx.signed, "httpx2": SlyAPI.httpx2.signed}
each_library = pytest.mark.parametrize("library", LIBRARIES)


def client_of(library: str, auth: Auth, **settings: Any) -> Any:
    return importlib.import_module(library).AsyncClient(auth=LIBRARIES[library](auth), trust_env=False, **settings)


@each_library
async def test_a_machines_token_is_requested_once_and_renewed_when_due(practise: Practise, library: str) -> None:
    practice = await practise(grant_types=GRANT_TYPES)
    auth = ClientCredentials(practice.app, ["notes"], practice.folder / "machine.json", clock=practice.clock)
    url = f"{practice.provider.api_url}/notes"
    async with client_of(library, auth) as client:
        replies = await asyncio.gather(*(client.get(url) for _ in range(10)))
        assert {reply.status_code for reply in replies} == {200}
        assert len(asked(practice)) == 1
        practice.clock.now += 95
        assert (await client.post(url, json={"text": "hello"})).status_code == 201
        assert len(asked(practice)) == 2


@each_library
async def test_a_login_from_a_url_alone(practise: Practise, library: str) -> None:
    practice, person = await resource(practise), Person()
    async with client_of(library, signer(practice, person)) as client:
        assert (await client.post(f"{practice.provider.api_url}/notes", json={"text": "hi"})).status_code == 201
        assert (await client.get(f"{practice.provider.api_url}/forecast")).status_code == 200
    assert len(person.asked) == 2


@each_library
async def test_a_proof_of_possession_whose_nonce_the_servers_choose(practise: Practise, library: str) -> None:
    practice, person = await resource(practise, dpop="required", dpop_nonces=True), Person()
    async with client_of(library, signer(practice, person)) as client:
        reply = await client.get(f"{practice.provider.api_url}/notes")
    assert (reply.status_code, len(person.asked)) == (200, 1), reply.text


@each_library
async def test_a_refused_token_is_refreshed_once_and_a_stream_is_not_sent_twice(
    practise: Practise, library: str
) -> None:
    practice, person = await resource(practise), Person()
    url = f"{practice.provider.api_url}/notes"
    async with client_of(library, signer(practice, person)) as client:
        await client.get(url)
        practice.provider.revoke_access_tokens()

        async def body() -> Any:
            yield b'{"text": "a stream"}'

        headers = {"Content-Type": "application/json"}
        assert (await client.post(url, content=body(), headers=headers)).status_code == 401
        assert practice.provider.refreshes == 0
        assert (await client.post(url, content=b'{"text": "bytes"}', headers=headers)).status_code == 201
        assert practice.provider.refreshes == 1


@each_library
async def test_a_grant_that_has_ended_is_the_error_of_the_auth(practise: Practise, library: str) -> None:
    practice = await practise()
    user = OAuth2User("token", "unknown-refresh-token")
    auth = OAuth2(practice.app, user, clock=practice.clock)
    async with client_of(library, auth) as client:
        with pytest.raises(GrantEndedError):
            await client.get(f"{practice.provider.api_url}/notes")


@each_library
async def test_no_credential_follows_a_redirect_to_another_origin(serve: Serve, library: str) -> None:
    seen: list[Any] = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        seen.append((str(request.url), dict(request.headers)))
        return web.Response()

    there = (await serve(elsewhere)).origin

    async def here(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(f"{there}/away")

    origin = (await serve(here)).origin
    for auth in (OAuth2(_app(), OAuth2User("token-1F9C")), UrlApiKey("key", "token-1F9C")):
        async with client_of(library, auth, follow_redirects=True) as client:
            await client.get(f"{origin}/?a=b")
    assert len(seen) == 2
    assert "token-1F9C" not in repr(seen)
    async with client_of(library, HeaderApiKey("X-Api-Key", "token-1F9C"), follow_redirects=True) as client:
        with pytest.raises(ConfigError, match="redirect"):
            await client.get(origin)
    assert len(seen) == 2


@each_library
@pytest.mark.parametrize("relative", [False, True])
async def test_a_redirect_that_repeats_the_key_of_the_query_is_followed_at_its_origin_only(
    serve: Serve, library: str, relative: bool
) -> None:
    other, home = await serve(), await serve()

    async def repeats(request: web.Request) -> web.StreamResponse:
        to = "" if relative else other.origin
        if request.path == "/end":
            return web.Response()
        return web.Response(status=302, headers={"Location": f"{to}/end?{request.query_string}"})

    home.handler = repeats
    async with client_of(library, UrlApiKey("key", "token-1F9C"), follow_redirects=True) as client:
        if relative:
            assert (await client.get(home.origin)).status_code == 200
        else:
            with pytest.raises(OriginError) as refused:
                await client.get(home.origin)
            assert "token-1F9C" not in str(refused.value)
    assert other.seen == []


@each_library
async def test_a_client_of_httpx_is_signed_for_at_the_origins_of_the_auth(serve: Serve, library: str) -> None:
    home, other, auth = await serve(), await serve(), OAuth2(_app(), OAuth2User("token-1F9C"))
    async with client_of(library, auth.at(home.origin)) as client:
        for server in (other, home):
            await client.get(server.origin)
    assert ["Authorization" in server.last.headers for server in (home, other)] == [True, False]


@each_library
def test_what_cannot_be_signed_is_said_at_once(library: str) -> None:
    with pytest.raises(ConfigError):
        LIBRARIES[library]("app.json")  # type: ignore[arg-type]
    auth = LIBRARIES[library](OAuth2(_app(), OAuth2User("token-1F9C")))
    assert "token-1F9C" not in repr(auth)
    with importlib.import_module(library).Client(auth=auth, trust_env=False) as client:
        with pytest.raises(ConfigError, match="synchronous"):
            client.get("http://127.0.0.1:9/")


def _app() -> OAuth2App:
    return OAuth2App("id", "secret", "https://auth.example/a", "https://auth.example/t")


STRANGERS = {
    "a 401": 'Bearer error="invalid_token"',
    "a nonce": 'DPoP error="use_dpop_nonce"',
    "metadata": 'Bearer resource_metadata="https://attacker.example/.well-known/oauth-protected-resource"',
}


@pytest.mark.parametrize("back", [False, True], ids=["there", "and back"])
@pytest.mark.parametrize("answer", STRANGERS)
@each_library
async def test_what_a_stranger_answers_behind_a_redirect_changes_nothing(
    serve: Serve, library: str, answer: str, back: bool
) -> None:
    class Hears(Auth):
        heard: tuple[str, ...] = ()

        async def sign(self, client: Any, request: Request) -> Request:
            request.headers["Authorization"] = "Bearer token-1F9C"
            return request

        async def sign_again(self, client: Any, request: Request, headers: Any) -> bool:
            self.heard += ("sign_again",)
            return True

        def note_reply(self, url: str, status: int, headers: Any) -> None:
            self.heard += (url,)

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/start":
            raise web.HTTPFound(f"{stranger.origin}/away")
        if request.path == "/away" and back:
            raise web.HTTPFound(f"{home.origin}/chosen")
        headers = {"WWW-Authenticate": STRANGERS[answer], "DPoP-Nonce": "chosen"}
        return web.Response(status=401, headers=headers)

    home, stranger, auth = await serve(handler), await serve(handler), Hears()
    async with client_of(library, auth, follow_redirects=True) as client:
        assert (await client.get(f"{home.origin}/start")).status_code == 401
    assert auth.heard == ()
    assert len(home.seen) == 1 + back


@pytest.mark.parametrize("status", [302, 303, 307])
@each_library
async def test_a_refusal_behind_a_redirect_within_the_origin_is_answered_there(
    serve: Serve, library: str, status: int
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/start":
            return web.Response(status=status, headers={"Location": "/end"})
        good = request.headers["Authorization"] == "2"
        return web.Response(status=200 if good else 401, headers={"WWW-Authenticate": "Level"})

    server = await serve(handler)
    async with client_of(library, Renewing("Authorization"), follow_redirects=True) as client:
        assert (await client.post(f"{server.origin}/start", content=b"once")).status_code == 200
    assert [seen.path for seen in server.seen] == ["/start", "/end", "/end"], "what acted is not sent again"
    assert server.last.body == (b"once" if status == 307 else b"")


@pytest.mark.parametrize("nonces", [False, True])
@each_library
async def test_a_proof_is_of_the_url_that_a_redirect_leads_to(practise: Practise, library: str, nonces: bool) -> None:
    practice, person = await resource(practise, dpop="required", dpop_nonces=nonces), Person()
    notes = f"{practice.provider.api_url}/notes"
    async with client_of(library, signer(practice, person), follow_redirects=True) as client:
        assert (await client.get(notes)).status_code == 200
        before = len(asked(practice))
        practice.provider.fail_next("api/forecast", 302, headers={"Location": notes})
        assert (await client.get(f"{practice.provider.api_url}/forecast")).status_code == 200
    assert len(asked(practice)) == before, "a good token is not refreshed for it"
    assert len(person.asked) == 1
