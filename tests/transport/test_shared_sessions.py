"""Clients that ask for nothing else share one session for each event loop, and closing one leaves the others alone."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from SlyAPI import Auth, OAuth2, OAuth2App, OAuth2User, WebAPI
from SlyAPI.errors import SlyError

if TYPE_CHECKING:
    from tests.conftest import Practise, Serve, Server


@dataclass
class Host:
    """A server that counts its connections, sets a cookie, and ends `/slow` when the gate is open."""

    server: Server
    gate: asyncio.Event
    connections: set[Any]

    def client(self, **how: Any) -> WebAPI:
        api = WebAPI(Auth.none(), **how)
        api.base_url = self.server.origin
        return api


@pytest.fixture
async def host(serve: Serve) -> AsyncGenerator[Host, None]:
    gate, connections = asyncio.Event(), set[Any]()

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport
        connections.add(request.transport.get_extra_info("peername"))
        if request.path == "/slow":
            response = web.StreamResponse()
            await response.prepare(request)
            await gate.wait()
            return response
        return web.json_response({"ok": True}, headers={"Set-Cookie": "person=alice; Path=/"})

    yield Host(await serve(answer), gate, connections)
    gate.set()


async def test_clients_after_each_other_share_one_connection(host: Host) -> None:
    clients = [host.client() for _ in range(50)]
    for client in clients:
        await client.get_json("/")
    assert len(host.connections) == 1


async def test_many_clients_at_once_hold_a_hundred_connections_at_most(host: Host) -> None:
    clients = [host.client() for _ in range(300)]
    await asyncio.gather(*(client.get_json("/") for client in clients))
    assert len(host.connections) <= 100


async def test_a_client_that_closes_does_not_end_the_call_of_another(host: Host) -> None:
    first, second = host.client(), host.client()
    await second.get_json("/")
    call = asyncio.create_task(first.get_text("/slow"))
    await second.get_json("/")
    await second.close()
    host.gate.set()
    assert await call == ""


async def test_the_last_client_that_closes_closes_the_session(host: Host) -> None:
    first, second = host.client(), host.client()
    for client in (first, second, first):
        await client.get_json("/")
    session = first._client
    await first.close()
    assert not session.closed
    await second.close()
    await second.close()
    assert session.closed
    await first.get_json("/")
    assert len(host.connections) == 2
    await first.close()


async def test_a_client_with_a_session_of_its_own_closes_it_and_opens_it_anew(host: Host) -> None:
    own = host.client(trace_configs=[aiohttp.TraceConfig()])
    async with own:
        await own.get_json("/")
        session = own._client
    assert session.closed
    await own.get_json("/")
    assert len(host.connections) == 2
    await own.close()


async def test_cookies_are_neither_kept_nor_shared(host: Host) -> None:
    first, second = host.client(), host.client()
    for client in (first, second, first):
        await client.get_json("/")
    assert ["Cookie" in seen.headers for seen in host.server.seen] == [False] * 3


@pytest.mark.parametrize("how", ["session", "trace_configs"])
async def test_a_client_that_asks_for_something_else_has_connections_of_its_own(host: Host, how: str) -> None:
    async with AsyncExitStack() as stack:
        own: Any = [aiohttp.TraceConfig()]
        if how == "session":
            own = await stack.enter_async_context(aiohttp.ClientSession())
        shared, other = [await stack.enter_async_context(host.client(**kwargs)) for kwargs in ({}, {how: own})]
        for client in (shared, other, shared, other):
            await client.get_json("/")
    assert len(host.connections) == 2


async def test_streams_keep_no_call_waiting_however_many_are_open(host: Host) -> None:
    clients = [host.client() for _ in range(120)]
    async with AsyncExitStack() as stack:
        for client in clients:
            await stack.enter_async_context(client.stream("/slow"))
        assert await asyncio.wait_for(clients[0].get_json("/"), 5) == {"ok": True}


async def test_an_event_loop_that_ends_closes_its_session_for_all(host: Host) -> None:
    clients = [host.client() for _ in range(3)]

    async def calls() -> aiohttp.ClientSession:
        await asyncio.gather(*(client.get_json("/") for client in clients))
        return clients[0]._client

    ended = await asyncio.to_thread(lambda: asyncio.run(calls()))
    again = await asyncio.to_thread(lambda: asyncio.run(calls()))
    assert ended.closed
    assert again.closed
    assert again is not ended


Call = Callable[[aiohttp.ClientSession, OAuth2App, OAuth2User], Awaitable[object]]


def at_socket(session: aiohttp.ClientSession, auth: Auth) -> WebAPI:
    api = WebAPI(auth, session=session)
    api.base_url = "http://localhost"
    return api


async def _led_away(session: aiohttp.ClientSession, app: OAuth2App, _: OAuth2User) -> None:
    to = f"{app.issuer}/.well-known/openid-configuration"
    assert await at_socket(session, Auth.none()).get_text("/away", {"to": to})


FOR_ANOTHER_SERVER: dict[str, Call] = {
    "a refresh": lambda session, app, user: OAuth2(app, user).refresh_now(session),
    "a refresh of a call": lambda session, app, user: at_socket(session, OAuth2(app, user)).get_json("/"),
    "a redirect to another origin": _led_away,
    "a revocation": lambda session, app, user: app.revoke(user, session),
    "an introspection": lambda session, app, user: app.introspect(user.token, client=session),
    "a discovery": lambda session, app, _: OAuth2App.discover(str(app.issuer), client=session),
    "the userinfo": lambda session, app, user: app.userinfo(user, session),
}


@pytest.fixture
async def socket_of_api(tmp_path: Path) -> AsyncGenerator[tuple[str, list[str]], None]:
    """A server at a path, which notes what it is asked for."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        if request.path == "/away":
            raise web.HTTPFound(request.query["to"])
        return web.json_response({})

    server = web.Application()
    server.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(server)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(tmp_path / "s")).start()
        yield str(tmp_path / "s"), seen
    finally:
        await runner.cleanup()


@pytest.mark.posix  # asyncio has no sockets at paths on Windows
@pytest.mark.parametrize("call", FOR_ANOTHER_SERVER)
async def test_a_socket_of_the_api_gets_no_request_that_is_for_another_server(
    practise: Practise, socket_of_api: tuple[str, list[str]], call: str
) -> None:
    practice = await practise(openid=True)
    user = await practice.grant()
    app = await OAuth2App.discover(practice.provider.issuer, practice.app.id, practice.app.secret)
    if call == "a refresh of a call":
        user.expires_at = datetime.now(UTC)
    practice.provider.log.clear()
    path, seen = socket_of_api
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:
        with suppress(SlyError):  # what the provider says to it is another matter
            await FOR_ANOTHER_SERVER[call](session, app, user)
    assert {*seen} <= {"/", "/away"}
    assert practice.provider.log


@pytest.mark.posix
@pytest.mark.parametrize("way", ["get", "stream", "download"])
async def test_a_large_body_comes_whole_though_a_socket_of_the_api_led_to_it(
    serve: Serve, tmp_path: Path, socket_of_api: tuple[str, list[str]], way: str
) -> None:
    async def large(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(50):
            await response.write(bytes(1 << 16))
        return response

    to = {"to": f"{(await serve(large)).origin}/large"}
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket_of_api[0])) as session:
        api = at_socket(session, Auth.none())
        if way == "get":
            size = len(await api.get("/away", params=to, returns=bytes))
        elif way == "download":
            size = (await api.download("/away", tmp_path / "large", to)).stat().st_size
        else:
            async with api.stream("/away", to) as reply:
                size = sum([len(piece) async for piece in reply])
    assert size == 50 << 16
