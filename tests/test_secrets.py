"""No secret is shown by any failure: the library's objects and errors, with every hostile echo of what was sent."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from SlyAPI import Auth, HeaderApiKey, OAuth2, OAuth2App, OAuth2User, SlyError, UrlApiKey, WebAPI
from SlyAPI.oauth2.client_auth import ClientAuth

from .echoing_server import NEW, SHAPES, echoing
from .secret_search import Kept, told_by, watching

KEPT = Kept(
    {
        "client secret": "C1ientSecretCore",
        "code": "C0deCore00000000",
        "verifier": "Ver1fierCore0000",
        "state": "StateC0re0000000",
        "access token": "AccessT0kenCore0",
        "refresh token": "RefreshT0kenCore",
        "API key": "ApiKeyC0re000000",
        "new token": NEW,
    }
)


def secret(name: str, before: str, after: str) -> str:
    return f"{before}{KEPT.cores[name]}{after}"


CLIENT_SECRET = secret("client secret", "GOCSPX-/+ü", "\"<&>='% x")
CODE = secret("code", "4/0+", "=& %'\"<")
VERIFIER = secret("verifier", "~.", "-_" * 14)
STATE = secret("state", "/+", "=&<")
ACCESS = secret("access token", "ya29.a0/+", "==~<&")
REFRESH = secret("refresh token", "1//0+ ", "=&%<")
API_KEY = secret("API key", "AIza/+", "=&%<\"'")


def app_at(origin: str, client_auth: ClientAuth | None = None) -> OAuth2App:
    app = OAuth2App("client@id", CLIENT_SECRET, f"{origin}/auth", f"{origin}/token", client_auth=client_auth)
    app.revoke_uri = f"{origin}/revoke"
    return app


def user() -> OAuth2User:
    return OAuth2User(ACCESS, REFRESH, scopes=["a"])


def expired() -> OAuth2User:
    return OAuth2User.from_json_obj({"token": ACCESS, "refresh_token": REFRESH, "expires_at": 1, "scopes": []})


OURS = Kept({name: core for name, core in KEPT.cores.items() if name != "new token"})
"""Those that the client knows."""


async def shows_nothing(call: Awaitable[Any], *objects: object, kept: Kept = KEPT) -> BaseException | None:
    """Makes a call and looks at all that it shows, and that the objects show after it; gives its error."""
    caught: BaseException | None = None
    with watching() as watched:
        try:
            await call
        except (Exception, asyncio.CancelledError) as error:
            caught = error
        await asyncio.sleep(0)
    texts = [*watched.texts, *(repr(one) for one in objects)]
    if caught is not None:
        texts += told_by(caught)
    kept.assert_hidden(texts)
    return caught


TOKEN_CALLS: dict[str, Callable[[OAuth2App], Awaitable[Any]]] = {
    "exchange_code": lambda app: app.exchange_code(CODE, VERIFIER, ["a"], "http://localhost:8080"),
    "refresh": lambda app: app.refresh(None, user()),
    "revoke": lambda app: app.revoke(user()),
    "refresh by signing": lambda app: _api(app.auth_uri, OAuth2(app, expired())).get_json("/"),
    "refresh_now": lambda app: OAuth2(app, user()).refresh_now(),
}


def _api(origin: str, auth: Auth, **more: Any) -> WebAPI:
    api = WebAPI(auth, **more)
    api.base_url = origin
    return api


@pytest.mark.parametrize("client_auth", ["post", "basic"])
@pytest.mark.parametrize("call", TOKEN_CALLS)
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_token_endpoint_that_echoes_what_it_was_sent_shows_no_secret(
    shape: str, call: str, client_auth: ClientAuth
) -> None:
    async with echoing(SHAPES[shape]) as server:
        app = app_at(server.origin, client_auth)
        app.token_timeout = 0.2 if shape == "never" else 30.0
        error = await shows_nothing(TOKEN_CALLS[call](app), app)
        assert server.sent
        assert {"client secret"} <= KEPT.shown_in(server.sent[0].text)
    if call != "revoke" and shape != "as the token's type":
        assert isinstance(error, SlyError)
    assert error is None or isinstance(error, SlyError)


AUTHS: dict[str, Callable[[str], Auth]] = {
    "OAuth2": lambda origin: OAuth2(app_at(origin), OAuth2User(ACCESS)),
    "OAuth2 that refreshes": lambda origin: OAuth2(app_at(origin), user()),
    "UrlApiKey": lambda origin: UrlApiKey("key", API_KEY),
    "HeaderApiKey": lambda origin: HeaderApiKey("X-Api-Key", API_KEY),
}


class Thing:
    """What an answer should be, and is not."""

    @classmethod
    def from_json(cls, told: Any) -> Thing:
        raise KeyError(str(told))


API_CALLS: dict[str, Callable[[WebAPI], Awaitable[Any]]] = {
    "get_json": lambda api: api.get_json("/things", {"q": 1}),
    "post_form": lambda api: api.post_form("/things", data={"q": "1"}),
    "delete_json": lambda api: api.delete_json("/things"),
    "_get": lambda api: api._get(Thing, "/things"),
    "_post": lambda api: api._post(int, "/things", data=[1]),
}


@pytest.mark.parametrize("call", API_CALLS)
@pytest.mark.parametrize("auth", AUTHS)
@pytest.mark.parametrize("shape", SHAPES)
async def test_an_api_that_echoes_what_it_was_sent_shows_no_secret(shape: str, auth: str, call: str) -> None:
    timeout = aiohttp.ClientTimeout(total=0.2 if shape == "never" else 30.0)
    async with echoing(SHAPES[shape]) as server, aiohttp.ClientSession(timeout=timeout) as session:
        signer = AUTHS[auth](server.origin)
        api = _api(server.origin, signer, session=session)
        error = await shows_nothing(API_CALLS[call](api), api, signer, kept=OURS)
        assert server.sent
    assert error is None or isinstance(error, SlyError)
