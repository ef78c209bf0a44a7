"""How many token requests are under way at once, when the tokens of many users expire together."""
from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from unittest import mock

import aiohttp
import pytest
from aiohttp import web

from SlyAPI import OAuth2, OAuth2App, OAuth2User, SlyError
from SlyAPI.errors import RequestTimeoutError
from SlyAPI.stores import MemoryStore, TokenStore
from SlyAPI.web import Method, Request
from tests.simulation.http import Response, Session
from tests.support import virtual_time

if TYPE_CHECKING:
    from tests.conftest import Serve

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


@dataclass
class Endpoint:
    """A token endpoint that counts who is in it, and lets everybody out when `gate` opens."""

    inside: int = 0
    most: int = 0
    asked: list[str] = field(default_factory=list[str])
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(str((await request.post())["refresh_token"]))
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.gate.wait()
        await asyncio.sleep(0)
        self.inside -= 1
        return web.json_response({"access_token": f"new-{self.asked[-1]}", "token_type": "Bearer", "expires_in": 3600})


def app_at(origin: str, **more: Any) -> OAuth2App:
    return OAuth2App("id", "secret", f"{origin}/authorize", f"{origin}/token", **more)


def expired(number: int) -> OAuth2User:
    return OAuth2User(f"old-{number}", f"refresh-{number}", LONG_AGO)


async def sign(app: OAuth2App, user: Any) -> str:
    request = Request(Method.GET, "https://api.example/")
    await OAuth2(app, user).sign(None, request)
    return request.headers["Authorization"]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_thousand_users_who_expire_together_are_twenty_requests_at_once(serve: Serve) -> None:
    endpoint, store = Endpoint(), MemoryStore()
    app = app_at((await serve(endpoint)).origin)
    for number in range(1000):
        await store.save(str(number), expired(number).to_dict())
    calls = [asyncio.create_task(sign(app, store.user(str(number)))) for number in range(1000)]
    await until(lambda: endpoint.inside == 20)
    endpoint.gate.set()
    headers = await asyncio.gather(*calls)
    assert endpoint.most == 20
    assert len(set(endpoint.asked)) == len(endpoint.asked) == 1000
    assert all(header.startswith("Bearer new-") for header in headers)


async def test_a_program_may_say_how_many(serve: Serve) -> None:
    endpoint = Endpoint()
    app = app_at((await serve(endpoint)).origin, token_requests=3)
    calls = [asyncio.create_task(app.refresh(None, expired(number))) for number in range(10)]
    await until(lambda: endpoint.inside == 3)
    endpoint.gate.set()
    await asyncio.gather(*calls)
    assert endpoint.most == 3


async def test_a_refresh_that_has_no_turn_in_time_was_not_sent_and_takes_a_turn_from_nobody(serve: Serve) -> None:
    endpoint = Endpoint()
    app = app_at((await serve(endpoint)).origin, token_requests=1)
    first = asyncio.create_task(app.refresh(None, expired(1)))
    await until(lambda: endpoint.inside == 1)
    app.token_timeout = 0.05
    with pytest.raises(RequestTimeoutError, match="1 others were under way"):
        await app.refresh(None, expired(2))
    app.token_timeout = 30.0
    cancelled, third = (asyncio.create_task(app.refresh(None, expired(number))) for number in (3, 4))
    await asyncio.sleep(0)
    cancelled.cancel()
    endpoint.gate.set()
    assert [(await call).refresh_token for call in (first, third)] == ["refresh-1", "refresh-4"]
    assert endpoint.asked == ["refresh-1", "refresh-4"]


async def test_a_user_whose_token_is_good_for_a_while_goes_on_with_it_where_there_is_no_turn(serve: Serve) -> None:
    endpoint = Endpoint()
    app = app_at((await serve(endpoint)).origin, token_requests=1)
    first = asyncio.create_task(app.refresh(None, expired(1)))
    await until(lambda: endpoint.inside == 1)
    app.token_timeout = 0.05
    now = datetime.now(UTC).timestamp()
    clock = [now]
    auth = OAuth2(app, OAuth2User("old-2", "refresh-2", datetime.fromtimestamp(now + 100, UTC)), clock=lambda: clock[0])
    clock[0] = now + 95  # due, and not over
    request = Request(Method.GET, "https://api.example/")
    await auth.sign(None, request)
    assert request.headers["Authorization"] == "Bearer old-2"
    endpoint.gate.set()
    await first


async def test_a_refused_request_gives_its_turn_back(serve: Serve) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.Response(status=400, text=json.dumps({"error": "invalid_grant"}), content_type="application/json")

    app = app_at((await serve(refuse)).origin, token_requests=1)
    for number in range(3):
        with pytest.raises(SlyError, match="invalid_grant"):
            await app.refresh(None, expired(number))


def test_each_event_loop_has_turns_of_its_own_and_so_has_a_copy_of_the_app() -> None:
    app = app_at("http://127.0.0.1:1", token_requests=1, token_timeout=5.0)

    async def two_at_once() -> None:
        copied = copy.deepcopy(app)
        assert copied == app
        for each in (app, copied):
            told = await asyncio.gather(*(each.refresh(None, expired(n)) for n in range(2)), return_exceptions=True)
            assert ["no connection" in str(error) for error in told] == [True, True]

    for _ in range(3):
        asyncio.run(two_at_once())


class Counted(MemoryStore):
    """Counts the locks that are held."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.most = 0

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[None, None]:
        async with super().lock(name):
            self.held += 1
            self.most = max(self.most, self.held)
            yield
            self.held -= 1


async def kept(store: TokenStore, count: int) -> None:
    for number in range(count):
        await store.save(str(number), expired(number).to_dict())


async def test_of_many_users_who_expire_together_few_are_locked_at_once(serve: Serve) -> None:
    endpoint, store = Endpoint(), Counted()
    await kept(store, 100)
    app = app_at((await serve(endpoint)).origin, token_requests=5)
    calls = [asyncio.create_task(sign(app, store.user(str(number)))) for number in range(100)]
    await until(lambda: endpoint.inside == 5)
    endpoint.gate.set()
    await asyncio.gather(*calls)
    assert store.most <= 10


class Answered(Session):
    """In the place of `aiohttp.ClientSession`: every token request is answered at once."""

    async def request(self, method: str, url: Any, **_: Any) -> Response:
        answer = b'{"access_token": "new", "token_type": "Bearer", "expires_in": 3600}'
        return Response((200, {"Content-Type": "application/json"}, answer))


def test_users_whom_another_program_has_locked_keep_others_waiting_for_seconds_only() -> None:
    async def scenario() -> float:
        store, app = MemoryStore(), app_at("https://p.example", token_requests=1)
        await kept(store, 6)
        async with AsyncExitStack() as other_program:
            for number in range(5):
                await other_program.enter_async_context(store.lock(str(number)))
            calls = [asyncio.create_task(sign(app, store.user(str(number)))) for number in range(6)]
            assert await calls[5] == "Bearer new"
            took = asyncio.get_running_loop().time()
            assert not any(call.done() for call in calls[:5])
        assert await asyncio.gather(*calls) == ["Bearer new"] * 6
        return took

    with mock.patch.object(aiohttp, "ClientSession", Answered):
        assert virtual_time.run(scenario()) <= 10  # two seconds for each of the five
