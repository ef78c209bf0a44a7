"""`authorization_details` (RFC 9396): in each request that carries them, and the granted ones in the user."""
from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from SlyAPI import AssertionGrant, ClientCredentials, OAuth2App, OAuth2User, TokenExchange
from SlyAPI.errors import ConfigError
from SlyAPI.web import Method, Request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve

DETAILS = [{"type": "payment_initiation", "instructedAmount": {"currency": "EUR", "amount": "123.50"}, "über": [1]}]
GRANTED = [{**DETAILS[0], "status": "granted"}]
URI = "http://127.0.0.1:8080"


class Server:
    """Answers each form, and grants what it was asked for in its own words."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.grants: Any = GRANTED

    async def handle(self, request: web.Request) -> web.Response:
        self.forms.append({name: str(text) for name, text in (await request.post()).items()})
        more = {"request_uri": "urn:x:1", "device_code": "d", "user_code": "u", "verification_uri": "https://p.example"}
        tokens = {"access_token": "t", "refresh_token": "r", "token_type": "Bearer", "expires_in": 300}
        if self.grants is not None:
            tokens["authorization_details"] = self.grants
        return web.json_response({**more, **tokens})


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def app(serve: Serve, server: Server) -> OAuth2App:
    origin = (await serve(server.handle)).origin
    uris: dict[str, Any] = {"par_uri": f"{origin}/par", "device_uri": f"{origin}/device"}
    return OAuth2App("id", "secret", f"{origin}/authorize", f"{origin}/token", client_auth="post", **uris)


CALLS: dict[str, Callable[[OAuth2App, Any], Awaitable[object]]] = {
    "push_login": lambda app, details: app.push_login(URI, "pay", authorization_details=details),
    "begin_device": lambda app, details: app.begin_device("pay", authorization_details=details),
    "request_token": lambda app, details: app.request_token(authorization_details=details),
    "exchange_token": lambda app, details: app.exchange_token("s", authorization_details=details),
    "exchange_assertion": lambda app, details: app.exchange_assertion("a", authorization_details=details),
    "ClientCredentials": lambda app, details: ClientCredentials(app, authorization_details=details).refresh_now(),
    "TokenExchange": lambda app, details: TokenExchange(app, "s", authorization_details=details).refresh_now(),
    "AssertionGrant": lambda app, details: AssertionGrant(app, "a", authorization_details=details).refresh_now(),
}


@pytest.mark.parametrize("call", CALLS)
async def test_each_request_carries_them_and_the_granted_ones_are_kept(
    app: OAuth2App, server: Server, call: str
) -> None:
    made = await CALLS[call](app, iter(DETAILS))
    assert json.loads(server.forms[-1]["authorization_details"]) == DETAILS
    if isinstance(made, OAuth2User):
        assert made.authorization_details == GRANTED
        assert OAuth2User.from_json_obj(json.loads(json.dumps(made.to_dict()))).authorization_details == GRANTED


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "wrong", ["text", {}, [], [{}], [{"type": 1}], ["x"], [{"type": "a", "b": {1}}], [{"type": "a", "b": 1e999}]]
)
async def test_what_are_no_details_is_refused_before_anything_is_sent(
    app: OAuth2App, server: Server, call: str, wrong: Any
) -> None:
    with pytest.raises(ConfigError):
        await CALLS[call](app, wrong)
    assert server.forms == []


async def test_a_login_has_them_in_its_address_and_a_refresh_keeps_or_replaces_the_granted_ones(
    app: OAuth2App, server: Server
) -> None:
    login = app.begin_login(URI, "pay", authorization_details=DETAILS)
    (text,) = parse_qs(urlsplit(login.url).query)["authorization_details"]
    assert json.loads(text) == DETAILS
    user = await app.finish_login(login.to_dict(), f"{URI}?state={login.state}&code=c")
    assert user.authorization_details == GRANTED
    for grants, expected in ((None, GRANTED), (DETAILS, DETAILS), ("text", DETAILS), ([], [])):
        server.grants = grants
        user = await app.refresh(None, user)
        assert user.authorization_details == expected
    assert OAuth2User("t").authorization_details == []


async def test_a_stored_machine_token_for_other_details_is_another_one(
    app: OAuth2App, server: Server, tmp_path: Path
) -> None:
    path = str(tmp_path / "machine.json")
    for details, asked in ((DETAILS, 1), (DETAILS, 1), (GRANTED, 2), (None, 3)):
        signer = ClientCredentials(app, user=path, authorization_details=details)
        await signer.sign(None, Request(Method.GET, "https://api.example"))
        assert len(server.forms) == asked
    assert "authorization_details" not in server.forms[-1]
