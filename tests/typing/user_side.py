# pyright: strict
"""What a type checker tells a user of SlyAPI. Checked by mypy and pyright, never run."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Generic, NotRequired, TypedDict, TypeVar, assert_type

import aiohttp
import httpx

from SlyAPI import (
    ApiError,
    AsyncLazy,
    AsyncTrans,
    GrantEndedError,
    HeaderApiKey,
    OAuth1,
    OAuth1App,
    OAuth1User,
    OAuth2,
    OAuth2App,
    OAuth2User,
    TokenError,
    UrlApiKey,
    WebAPI,
    keep_fresh,
    requires_scopes,
)
from SlyAPI.httpx import signed
from SlyAPI.oauth2 import KeepFresh, ServiceAccount, browser_consent
from SlyAPI.paging import CursorPages, LinkPages, Page, Pages
from SlyAPI.stores import SqliteStore, StoredUser, expiring
from SlyAPI.web import JsonMap, JsonType, ParamsDict, Request
from SlyAPI.webapi import Downloaded

Item = TypeVar("Item")


@dataclass
class Song:
    """An API's own type, made from its JSON."""

    name: str

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Song":
        return cls(told["name"])


class Music(WebAPI):
    """A library built on SlyAPI, as its author writes it."""

    base_url = "https://api.example.com/v1"

    def __init__(self, auth: str | OAuth2 | UrlApiKey) -> None:
        super().__init__(OAuth2("app.json", auth) if isinstance(auth, str) else auth)

    @requires_scopes("read")
    async def song(self, number: int) -> Song:
        assert_type(await self._get(str, "/lyrics"), str)
        assert_type(await self._get(None, "/ping"), None)
        assert_type(await self._post(Song, "/songs", data={"name": "x"}), Song)
        song = await self._get(Song, f"/songs/{number}", params={"fields": ["name", "year"], "full": True})
        assert_type(song, Song)
        return song

    @AsyncLazy.wrap
    async def songs(self) -> AsyncGenerator[Song, None]:
        """Every song."""
        yield Song("x")


async def call(music: Music) -> None:
    params: ParamsDict = {"q": "x", "limit": 5, "order": None, "tags": ("a", "b")}
    assert_type(await music.get_json("/me", params), dict[str, Any])
    assert_type(await music.post_json("/me", json={"a": [1, None]}), dict[str, Any])
    assert_type(await music.get_text("/me"), str)
    await music.post_json_empty("/me", json=None)
    assert_type(await music.song(5), Song)
    assert_type(music.songs(), AsyncLazy[Song])


class Tags(TypedDict):
    """An answer as a TypedDict."""

    names: list[str]
    more: NotRequired[bool]


@dataclass
class Album(Generic[Item]):
    """An answer as a generic dataclass."""

    title: str
    items: list[Item]
    by: str | None = field(default=None, metadata={"json": "from"})


async def typed(music: Music, picture: BinaryIO, pieces: AsyncGenerator[bytes, None]) -> None:
    """What comes back is what `returns` says."""
    assert_type(await music.get("/tags", returns=Tags), Tags)
    assert_type(await music.get("/albums/1", params={"full": True}, returns=Album[Song]), Album[Song])
    assert_type(await music.get("/albums", returns=list[Album[int]]), list[Album[int]])
    assert_type(await music.get("/songs", returns=dict[str, Song]), dict[str, Song])
    assert_type(await music.get("/songs/1", returns=Song | None), Song | None)
    assert_type(await music.get("/lyrics", returns=str), str)
    assert_type(await music.get("/cover", returns=bytes), bytes)
    assert_type(await music.get("/any"), Any)
    assert_type(await music.post("/songs", json={"name": "x"}, returns=Song), Song)
    assert_type(await music.put("/songs/1", data={"name": "x"}, returns=None), None)
    assert_type(await music.patch("/songs/1", data=pieces, headers={"X-Kind": "y"}, returns=None), None)
    assert_type(await music.post("/cover", files={"cover": picture, "b": ("b.png", Path("b.png"))}, returns=Tags), Tags)
    assert_type(await music.delete("/songs/1", returns=None), None)
    assert_type(music.paginated("/songs", returns=Song), AsyncLazy[Song])
    assert_type(await music.paginated("/songs", {}, 5, returns=Tags, prefetch=True), list[Tags])
    assert_type(music.paginated("/songs", returns=Song | None, items="a.b"), AsyncLazy[Song | None])
    await music.get("/songs", returns=Song, date={})  # type: ignore[call-overload]  # pyright: ignore


async def piecewise(music: Music, sizes: list[int]) -> None:
    async with music.stream("/events", method="POST", json={}) as events:
        assert_type(events.size, int | None)
        async for piece in events:
            assert_type(piece, bytes)
        async for line in events.lines():
            assert_type(line, str)
    file = await music.download("/song.ogg", "song.ogg", progress=sizes.append, tries=3, limit=1 << 30)
    assert_type(file, Downloaded)


async def lazily(numbers: AsyncLazy[int], old: AsyncTrans[str]) -> None:
    assert_type(numbers.map(str), AsyncLazy[str])
    assert_type(await numbers.map(lambda number: number > 0), list[bool])
    assert_type(await old, list[str])
    async for text in old:
        assert_type(text, str)


class HeaderPages(Pages):
    """A style of paging of one's own."""

    reads_headers = True

    def after(self, page: Page) -> Mapping[str, str | int] | None:
        number = page.headers.get("X-Next-Page")
        return {"page": number} if number else None


async def pages(music: Music) -> None:
    params: ParamsDict = {"q": "x"}
    assert_type(music.paginated("/songs", params, 5), AsyncLazy[dict[str, Any]])
    assert_type(music.paginated("/songs", {}, None).map(Song.from_json), AsyncLazy[Song])
    assert_type(await music.paginated("/songs", pages=LinkPages(), prefetch=True), list[dict[str, Any]])
    async for song in music.paginated("/songs", pages=CursorPages("next", more="more"), items="a.b"):
        assert_type(song, dict[str, Any])
    music.paginated("/songs", pages=HeaderPages())


async def grant(app: OAuth2App) -> OAuth2User:
    url, verifier, challenge = app.auth_url_with_pkce("http://localhost:8080", "state", ["read"])
    assert_type(url, str)
    assert_type(verifier, str)
    assert_type(challenge, str)
    link = app.auth_url_with_pkce("http://localhost:8080", "state", "read write", auth_params={"prompt": None})
    assert_type(link.state, str)
    user = await app.exchange_code("code", verifier, ["read"], "http://localhost:8080")
    assert_type(user, OAuth2User)
    async with aiohttp.ClientSession() as session:
        assert_type(await app.exchange_code("code", verifier, "read", "http://localhost:8080", session), OAuth2User)
        assert_type(await app.refresh(session, user), OAuth2User)
    return user


async def sign(data: bytes) -> bytes:
    return data


async def grant_by_the_profile(auth: OAuth2) -> OAuth2User:
    app = await OAuth2App.discover(
        "https://p.example", "id", key=sign, key_alg="ES256", profile="fapi2", sign_requests=True, response_mode="jwt"
    )
    assert_type(app, OAuth2App)
    login = await app.push_login("https://app.example/back", ["read"], prompt="consent", max_age=60)
    assert_type(login.url, str)
    assert_type((await app.sign_login("https://app.example/back", "read", resource="https://a.example")).url, str)
    assert_type(login.expires_at, datetime | None)
    ServiceAccount("robot@p.example", "", sign, "", "https://p.example/token", "key-1", key_alg="PS256")
    assert_type(signed(auth, presents_certificate=True), httpx.Auth)
    return await app.finish_login(login.to_dict(), "https://app.example/back?response=x")


def heard(user: OAuth2User) -> None:
    assert_type(user.token, str)
    assert_type(user.refresh_token, str | None)
    assert_type(user.expires_at, datetime | None)
    assert_type(user.scopes, list[str])
    assert_type(user.missing_scopes, list[str])
    assert_type(user.subject, str | None)


async def heard_later(user: OAuth2User) -> None:
    heard(user)


async def natively(app: OAuth2App) -> OAuth2User:
    async with browser_consent() as page:
        login = await app.push_login(page.redirect_uri, "read", login_hint="robin")
        redirect = await page.ask(login)
        assert_type(redirect, str)
        return await app.finish_login(login, redirect)


def credentials(app: OAuth2App, user: OAuth2User) -> None:
    assert_type(OAuth2("app.json", "user.json"), OAuth2)
    assert_type(OAuth2(app, user, on_refresh=heard), OAuth2)
    assert_type(OAuth2(app, user, heard_later).user, OAuth2User)
    assert_type(OAuth2App("id", None, "https://p.example/a", "https://p.example/t", heard), OAuth2App)
    assert_type(OAuth2App.from_json_file("app.json"), OAuth2App)
    assert_type(OAuth2User.from_json_obj({"token": "x"}), OAuth2User)
    Music(HeaderApiKey("X-Key", "k"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def by_oauth1(app: OAuth1App, session: aiohttp.ClientSession) -> None:
    temporary = await app.ask("http://localhost:8080", session)
    assert_type(app.authorize_url(temporary, {"expiration": "never"}), str)
    user = await app.exchange_verifier("verifier", temporary)
    assert_type(user, OAuth1User)
    assert_type(OAuth1(app, user, method="HMAC-SHA256").user, OAuth1User)
    OAuth1("app.json", "user.json", method="MD5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def without_a_webapi(auth: OAuth2) -> None:
    async with aiohttp.ClientSession(middlewares=(auth,)) as session, session.get("https://api.example.com") as reply:
        assert_type(reply, aiohttp.ClientResponse)


def failures(error: ApiError) -> None:
    assert_type(error.status, int)
    assert_type(error.reason, str | None)
    assert_type(error.retry_after, float | None)
    if isinstance(error, TokenError):
        assert_type(error.error_description, str)
    if isinstance(error, GrantEndedError):
        assert_type(error.next_step, str)


class Signed(UrlApiKey):
    """An auth of one's own."""

    async def sign(self, client: Any, request: Request) -> Request:
        request.query_params["key"] = 5
        request.headers["X-Key"] = self.params["key"]
        return request


def walk(value: JsonType, whole: JsonMap) -> int | JsonMap:
    return whole if isinstance(value, dict) else 0


async def keep_users(app: OAuth2App) -> None:
    async with SqliteStore("users.db") as store, keep_fresh(store, app, ahead=300, at_once=4) as fresh:
        assert_type(fresh, KeepFresh)
        assert_type(fresh.renewed, int)
        assert_type(await store.count(), int)
        async for name in store.each_name():
            assert_type(name, str)
        async for entry, user in expiring(store, 7):
            assert_type(entry, StoredUser)
            assert_type(user.refresh_expires_at, datetime | None)
