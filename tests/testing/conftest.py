"""A client by hand for the practice provider: it sends what a test says, right or wrong, over a real socket."""
from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from SlyAPI.testing import PracticeProvider

SECRET = "s3 cret/ü+%:"
REDIRECT_URI = "http://localhost:8080/back"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
FORM = "application/x-www-form-urlencoded"


@dataclass
class Clock:
    """A clock that a test moves."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Reply:
    """What came back, read to its end."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.text))

    @property
    def error(self) -> str:
        return str(self.json["error"])

    @property
    def sent_back(self) -> dict[str, str]:
        """The parameters of the redirect, each once."""
        pairs = parse_qsl(urlsplit(self.headers["Location"]).query, keep_blank_values=True)
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)


def basic(client_id: str, secret: str) -> str:
    plain = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return "Basic " + base64.b64encode(plain.encode()).decode()


@dataclass
class Practice:
    """A running provider, its clock, and one client of it."""

    provider: PracticeProvider
    http: aiohttp.ClientSession
    clock: Clock
    client_id: str = "practice-client"
    secret: str | None = SECRET
    asked: dict[str, str] = field(
        default_factory=lambda: {
            "client_id": "practice-client",
            "redirect_uri": REDIRECT_URI,
            "response_type": "code",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "scope": "weather.read notes",
            "state": "the state",
        }
    )

    async def send(self, method: str, url: str, body: str | bytes | None = None, **headers: str) -> Reply:
        """One request, nothing added and no redirect followed; `_` in a header's name stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(
            method, URL(url, encoded=True), data=body, headers=named, allow_redirects=False
        ) as reply:
            return Reply(reply.status, reply.headers, await reply.text())

    async def authorize(self, *more: tuple[str, str], **changed: str | None) -> Reply:
        """The usual authorization request, with some parameters changed, left out (None) or added."""
        values: dict[str, str | None] = {**self.asked, **changed}
        pairs = [(name, value) for name, value in values.items() if value is not None]
        return await self.send("GET", f"{self.provider.authorize_url}?{urlencode([*pairs, *more])}")

    async def code(self, **changed: str | None) -> str:
        return (await self.authorize(**changed)).sent_back["code"]

    async def post(self, url: str, pairs: Sequence[tuple[str, str]], **headers: str) -> Reply:
        return await self.send("POST", url, urlencode(pairs), **{"Content_Type": FORM, **headers})

    async def ask(self, url: str, headers: Mapping[str, str] | None = None, /, **values: str | None) -> Reply:
        """A form with the client's own credentials: Basic, or just its id when it is public."""
        more = dict(headers or {})
        pairs = [(name, value) for name, value in values.items() if value is not None]
        if self.secret is None:
            return await self.post(url, [("client_id", self.client_id), *pairs], **more)
        return await self.post(url, pairs, Authorization=basic(self.client_id, self.secret), **more)

    async def exchange(self, code: str, /, **changed: str | None) -> Reply:
        values: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "code_verifier": VERIFIER,
            **changed,
        }
        return await self.ask(self.provider.token_url, **values)

    async def refresh(self, token: str, /, **changed: str | None) -> Reply:
        values: dict[str, str | None] = {"grant_type": "refresh_token", "refresh_token": token, **changed}
        return await self.ask(self.provider.token_url, **values)

    async def tokens(self, **changed: str | None) -> dict[str, Any]:
        """The whole grant: the reply to the exchange of a fresh code."""
        reply = await self.exchange(await self.code(**changed))
        assert reply.status == 200, reply.text
        return reply.json

    async def call(self, path: str, token: str | None = None, method: str = "GET", **more: str) -> Reply:
        """A call of the protected API; `body` among `more` is the body, the rest are headers."""
        if token is not None:
            more["Authorization"] = f"Bearer {token}"
        return await self.send(method, self.provider.api_url + path, more.pop("body", None), **more)

    async def works(self, token: str) -> bool:
        """Whether the API takes this access token."""
        return (await self.call("/me", token)).status == 200


Start = Callable[..., AbstractAsyncContextManager[Practice]]


@pytest.fixture
def start() -> Start:
    """Start a provider that says yes by itself, with the settings that a test names."""

    @asynccontextmanager
    async def started(**settings: Any) -> AsyncGenerator[Practice, None]:
        clock = Clock()
        usual: dict[str, Any] = {
            "client_secret": SECRET,
            "redirect_uris": [REDIRECT_URI],
            "consent": "allow",
            "clock": clock,
        }
        provider = PracticeProvider(**{**usual, **settings})
        async with provider.running(), aiohttp.ClientSession() as http:
            yield Practice(provider, http, clock, secret=settings.get("client_secret", SECRET))

    return started


@dataclass
class Publisher:
    """A web server of a client: what each path answers, and what was posted to it."""

    origin: str = ""
    replies: dict[str, web.Response | dict[str, Any]] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    posted: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.fetched.append(request.path)
        if request.method == "POST":
            self.posted.append({name: str(value) for name, value in (await request.post()).items()})
        reply = self.replies.get(request.path, web.Response(status=404))
        if isinstance(reply, dict):
            return web.json_response(reply)
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)


@pytest.fixture
async def publisher() -> AsyncGenerator[Publisher, None]:
    """A web server on loopback, for what a client publishes."""
    publisher = Publisher()
    server = TestServer(web.Application())
    server.app.router.add_route("*", "/{path:.*}", publisher.answer)
    await server.start_server()
    publisher.origin = str(server.make_url("")).rstrip("/")
    yield publisher
    await server.close()
