"""The test server and the browser themselves, by hand: so that a red end-to-end test accuses the right one.

The rule: nothing of SlyAPI is imported here.
"""
from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.end_to_end.chromium import Person
from tests.end_to_end.oidc_server import Client, OidcServer
from tests.support.serving import all_by, served

VERIFIER = "a-verifier-that-is-long-enough-for-rfc-7636-0123456789"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


class Listener:
    """Answers every GET with a page and keeps the query of the last one."""

    def __init__(self) -> None:
        self.query: dict[str, str] = {}
        self.uri = ""

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == "/":
            self.query = dict(request.query)
        return web.Response(text="<title>Done</title><p>You may close this tab.", content_type="text/html")


@pytest_asyncio.fixture
async def listener() -> AsyncIterator[Listener]:
    """A trivial loopback listener; `uri` is its redirect URI."""
    it = Listener()
    async with served(all_by(it.answer)) as origin:
        it.uri = f"{origin}/"
        yield it


def link(oidc: OidcServer, client: Client, uri: str, **more: str) -> str:
    asked = {
        "client_id": client.id,
        "response_type": "code",
        "redirect_uri": uri,
        "scope": "openid profile offline_access",
        "state": "some state",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "prompt": "consent",
        **more,
    }
    return f"{oidc.authorization_endpoint}?{urlencode(asked)}"


def exchange_of(listener: Listener, **more: str) -> dict[str, str]:
    code, uri = listener.query["code"], listener.uri
    return {"grant_type": "authorization_code", "code": code, "redirect_uri": uri, **more}


async def token(oidc: OidcServer, client: Client, **form: str) -> tuple[int, dict[str, Any]]:
    """One call of the token endpoint in the client's own way: status and answer."""
    headers: dict[str, str] = {}
    if client.auth == "client_secret_basic":
        pair = f"{quote_plus(client.id)}:{quote_plus(client.secret or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    else:
        form |= {"client_id": client.id} | ({"client_secret": client.secret} if client.secret else {})
    async with aiohttp.ClientSession() as session:
        async with session.post(oidc.token_endpoint, data=form, headers=headers) as reply:
            return reply.status, await reply.json()


async def me(oidc: OidcServer, access_token: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {access_token}"}
        async with session.get(oidc.userinfo_endpoint, headers=headers) as reply:
            return reply.status, await reply.json()


@pytest.mark.parametrize("name", ["public", "basic", "post"])
async def test_each_client_consents_exchanges_and_rotates(
    oidc: OidcServer, person: Person, listener: Listener, name: str
) -> None:
    client = oidc.clients[name]
    landing = await person.consents(link(oidc, client, listener.uri), login="bob")
    assert (landing.status, landing.title, landing.text) == (200, "Done", "You may close this tab.")
    assert landing.address.startswith(listener.uri)
    assert (listener.query["state"], listener.query["iss"]) == ("some state", oidc.issuer)

    status, first = await token(oidc, client, **exchange_of(listener, code_verifier=VERIFIER))
    assert (status, first["token_type"], first["expires_in"]) == (200, "Bearer", 60)
    assert await me(oidc, first["access_token"]) == (200, {"sub": "bob", "name": "bob of the tests"})

    refresh = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    status, second = await token(oidc, client, **refresh)
    assert status == 200
    assert second["refresh_token"] != first["refresh_token"]
    status, refused = await token(oidc, client, **refresh)
    assert (status, refused["error"]) == (400, "invalid_grant")
    assert (await me(oidc, second["access_token"]))[0] == 401, "reuse must end the whole grant"

    log = await oidc.log()
    assert [entry["grant_type"] for entry in log] == ["authorization_code", "refresh_token", "refresh_token"]
    assert {(entry["client"], entry["client_auth"]) for entry in log} == {(client.id, client.auth)}
    assert [entry["error"] for entry in log] == [None, None, "invalid_grant"]


async def test_a_wrong_secret_and_a_missing_verifier_are_refused(
    oidc: OidcServer, person: Person, listener: Listener
) -> None:
    client = oidc.clients["post"]
    await person.consents(link(oidc, client, listener.uri))
    exchange = exchange_of(listener)
    status, refused = await token(oidc, Client(client.id, "wrong", client.auth), **exchange)
    assert (status, refused["error"]) == (401, "invalid_client")
    status, refused = await token(oidc, client, **exchange)
    assert (status, refused["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("login", ["alice", None])
async def test_a_denial_reaches_the_listener(
    oidc: OidcServer, person: Person, listener: Listener, login: str | None
) -> None:
    landing = await person.denies(link(oidc, oidc.clients["public"], listener.uri), login=login)
    assert landing.title == "Done"
    assert (listener.query["error"], listener.query["state"]) == ("access_denied", "some state")
    assert await oidc.log() == []


async def test_an_access_token_dies_when_its_seconds_are_over(
    start_oidc: Callable[..., Awaitable[OidcServer]], person: Person, listener: Listener
) -> None:
    oidc = await start_oidc(access_token_seconds=20)
    client = oidc.clients["public"]
    await person.consents(link(oidc, client, listener.uri))
    exchange = exchange_of(listener, code_verifier=VERIFIER)
    _, answer = await token(oidc, client, **exchange)
    assert answer["expires_in"] == 20
    await oidc.later(10)
    assert (await me(oidc, answer["access_token"]))[0] == 200
    await oidc.later(10)
    assert (await me(oidc, answer["access_token"]))[0] == 401


async def test_what_a_program_hands_to_browser_arrives_as_it_was(person: Person) -> None:
    url = "http://127.0.0.1:9/?a=b&c=%20+d#" + quote("é")
    program = f"import webbrowser; raise SystemExit(not webbrowser.open({url!r}))"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, env=person.env)
    assert await person.asked() == url
    assert await child.wait() == 0
