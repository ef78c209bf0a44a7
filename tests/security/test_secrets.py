"""No secret is shown by any failure: the library's objects and errors, with every hostile echo of what was sent."""
from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from SlyAPI import (
    AsyncLazy,
    Auth,
    HeaderApiKey,
    OAuth1,
    OAuth1App,
    OAuth1User,
    OAuth2,
    OAuth2App,
    OAuth2User,
    SlyError,
    UrlApiKey,
    WebAPI,
    errors,
)
from SlyAPI.limits import Limits
from SlyAPI.oauth1.user import TemporaryCredentials
from SlyAPI.paging import CursorPages, NextUrlPages, NumberedPages
from SlyAPI.retry import Retry
from SlyAPI.tokens.client_auth import ClientAuth
from tests.support.combinations import meeting
from tests.support.echoing_server import SHAPES, Answer, Sent, echoing, raw
from tests.support.secret_search import (
    ACCESS,
    API_KEY,
    CLIENT_SECRET,
    CODE,
    KEPT,
    OURS,
    REFRESH,
    VERIFIER,
    shows_nothing,
)


def app_at(origin: str, client_auth: ClientAuth | None = None) -> OAuth2App:
    app = OAuth2App("client@id", CLIENT_SECRET, f"{origin}/auth", f"{origin}/token", client_auth=client_auth)
    app.revoke_uri = f"{origin}/revoke"
    return app


def user() -> OAuth2User:
    return OAuth2User(ACCESS, REFRESH, scopes=["a"])


def expired() -> OAuth2User:
    return OAuth2User.from_json_obj({"token": ACCESS, "refresh_token": REFRESH, "expires_at": 1, "scopes": []})


def one_at(origin: str) -> OAuth1App:
    return OAuth1App("key", CLIENT_SECRET, f"{origin}/request", f"{origin}/authorize", f"{origin}/access")


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


@pytest.mark.parametrize(("shape", "call", "client_auth"), meeting(SHAPES, TOKEN_CALLS, ["post", "basic"]))
async def test_a_token_endpoint_that_echoes_what_it_was_sent_shows_no_secret(
    shape: str, call: str, client_auth: ClientAuth
) -> None:
    async with echoing(SHAPES[shape]) as server:
        app = app_at(server.origin, client_auth)
        app.token_timeout = 0.2 if shape == "never" else 30.0
        error = await shows_nothing(TOKEN_CALLS[call](app), app)
        if shape != "never":
            assert "client secret" in KEPT.shown_in(server.sent[0].text)
    if call != "revoke" and shape != "as the token's type":
        assert isinstance(error, SlyError)
    assert error is None or isinstance(error, SlyError)


OAUTH1_CALLS: dict[str, Callable[[OAuth1App], Awaitable[Any]]] = {
    "ask": lambda app: app.ask("http://localhost"),
    "exchange_verifier": lambda app: app.exchange_verifier(CODE, TemporaryCredentials(ACCESS, REFRESH)),
}


@pytest.mark.parametrize("call", OAUTH1_CALLS)
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "never"])
async def test_an_oauth_1_server_that_echoes_what_it_was_sent_shows_no_secret(shape: str, call: str) -> None:
    async with echoing(SHAPES[shape]) as server:
        app = one_at(server.origin)
        error = await shows_nothing(OAUTH1_CALLS[call](app), app, kept=OURS)
        assert server.sent
        assert isinstance(error, SlyError)


AUTHS: dict[str, Callable[[str], Auth]] = {
    "OAuth2": lambda origin: OAuth2(app_at(origin), OAuth2User(ACCESS)),
    "OAuth2 that refreshes": lambda origin: OAuth2(app_at(origin), user()),
    "OAuth1": lambda origin: OAuth1(one_at(origin), OAuth1User(ACCESS, REFRESH)),
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
    "get_json, tried again": lambda api: _patient(api).get_json("/things", {"q": 1}),
}


def _patient(api: WebAPI) -> WebAPI:
    api.retry = Retry(tries=2, first=0, longest=0)
    api.limits = Limits(concurrent=1, respect_headers=True)
    return api


@pytest.mark.parametrize(("shape", "auth", "call"), meeting(SHAPES, AUTHS, API_CALLS))
async def test_an_api_that_echoes_what_it_was_sent_shows_no_secret(shape: str, auth: str, call: str) -> None:
    timeout = aiohttp.ClientTimeout(total=0.2 if shape == "never" else 30.0)
    async with echoing(SHAPES[shape]) as server, aiohttp.ClientSession(timeout=timeout) as session:
        signer = AUTHS[auth](server.origin)
        api = _api(server.origin, signer, session=session)
        error = await shows_nothing(API_CALLS[call](api), api, signer, kept=OURS)
        assert server.sent or shape == "never"
    assert error is None or isinstance(error, SlyError)


def _page(sent: Sent, **members: Any) -> bytes:
    told = {"items": [{"n": sent.text}], **members}
    return raw(200, json.dumps(told), "Content-Type: application/json", f"X-Told: {' '.join(sent.text.split())}")


def _next(sent: Sent, origin: str = "") -> str:
    """The URL of the next page, which has in it what was sent, as those of many APIs have the key."""
    return f"{origin}/next?{urlencode({'told': sent.text})}"


PAGES: dict[str, Answer] = {
    "that ask on": lambda sent: raw(503, sent.text) if "/next?" in sent.head else _page(sent, next=_next(sent)),
    "that end in no JSON": lambda sent: raw(200, sent.text) if "/next?" in sent.head else _page(sent, next=_next(sent)),
    "that lead away": lambda sent: _page(sent, next=_next(sent, "http://elsewhere.invalid")),
    "that lead nowhere": lambda sent: _page(sent, next=_next(sent, "http://\\elsewhere")),
    "that name a list as the next": lambda sent: _page(sent, next=[sent.text]),
    "that name themselves": lambda sent: _page(sent, next="/next"),
    "without items": lambda sent: _page(sent, items=sent.text),
    "with items elsewhere": lambda sent: _page(sent, items=None, **{sent.values[0]: [{"n": 1}]}),
}
WALKS: dict[str, Callable[[WebAPI], Awaitable[Any]]] = {
    "to a list": lambda api: api.paginated("/things", pages=NextUrlPages()),
    "one by one": lambda api: _one_by_one(api.paginated("/things", pages=NextUrlPages(), prefetch=True)),
    "counted": lambda api: api.paginated("/things", pages=NumberedPages(last="next")),
    "of a type": lambda api: api.paginated("/things", pages=NextUrlPages(), returns=Song),
    "with items misspelt": lambda api: api.paginated("/things", pages=NextUrlPages(), items="thinsg"),
    "with a cursor": lambda api: api.paginated("/things", pages=CursorPages("next")),
}


@dataclass
class Song:
    n: int


async def _one_by_one(lazy: AsyncLazy[Any]) -> None:
    async for _ in lazy:
        pass


@pytest.mark.parametrize(("shape", "auth", "walk"), meeting(PAGES, ["OAuth2", "UrlApiKey", "HeaderApiKey"], WALKS))
async def test_pages_that_echo_what_was_sent_show_no_secret(shape: str, auth: str, walk: str) -> None:
    async with echoing(PAGES[shape]) as server, aiohttp.ClientSession() as session:
        api = _api(server.origin, AUTHS[auth](server.origin), session=session)
        error = await shows_nothing(WALKS[walk](api), api, kept=OURS)
        assert server.sent
    assert isinstance(error, SlyError) or "items" in shape  # there, or not known to be missing


HAPPENS: dict[type[SlyError], tuple[str, str, str]] = {
    errors.ApiError: ("as plain text", "HeaderApiKey", "get_json"),
    errors.TokenError: ("described with 401", "OAuth2 that refreshes", "get_json"),
    errors.GrantEndedError: ("described", "OAuth2 that is due", "get_json"),
    errors.BadReplyError: ("as a page with 200", "UrlApiKey", "get_json"),
    errors.NetworkError: ("cut short", "UrlApiKey", "post_form"),
    errors.RequestTimeoutError: ("never", "OAuth2", "get_json"),
    errors.OriginError: ("in a redirect", "UrlApiKey", "get_json"),
    errors.ConfigError: ("in a redirect to no http", "OAuth2", "get_json"),
}


@pytest.mark.parametrize(("kind", "how"), HAPPENS.items(), ids=lambda value: getattr(value, "__name__", ""))
async def test_each_error_of_a_call_happens_in_this_sweep(kind: type[SlyError], how: tuple[str, str, str]) -> None:
    shape, auth, call = how
    timeout = aiohttp.ClientTimeout(total=0.2 if shape == "never" else 30.0)
    async with echoing(SHAPES[shape]) as server, aiohttp.ClientSession(timeout=timeout) as session:
        signer = OAuth2(app_at(server.origin), expired()) if "due" in auth else AUTHS[auth](server.origin)
        error = await shows_nothing(API_CALLS[call](_api(server.origin, signer, session=session)), kept=OURS)
    assert repr(type(error)) == repr(kind)  # a NetworkError is aiohttp's kind of error too
