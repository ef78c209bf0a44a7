"""Clients that ask for nothing else share one session for each event loop, and closing one leaves the others alone."""
from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from SlyAPI import Auth, WebAPI
from SlyAPI.transport.requests import send
from SlyAPI.transport.sessions import Sessions
from SlyAPI.web import Method, Request

if TYPE_CHECKING:
    from tests.conftest import Serve, Server


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


async def test_a_client_that_closes_leaves_the_connections_of_the_others(host: Host) -> None:
    async with host.client() as first:
        await first.get_json("/")
        async with host.client() as second:
            await second.get_json("/")
        await first.get_json("/")
    assert len(host.connections) == 1


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


async def test_a_session_that_closes_waits_for_token_requests_that_began_meanwhile(serve: Serve) -> None:
    gates = {"/first": asyncio.Event(), "/second": asyncio.Event()}

    async def answer(request: web.Request) -> web.StreamResponse:
        await gates[request.path].wait()
        return web.json_response({"ok": True})

    server, sessions, requests = await serve(answer), Sessions(), []
    client = sessions.get().session
    closing: asyncio.Task[None] | None = None
    for number, path in enumerate(gates):
        requests.append(asyncio.create_task(send(Request(Method.GET, server.origin + path), client)))
        while len(server.seen) <= number:  # noqa: ASYNC110
            await asyncio.sleep(0)
        closing = closing or asyncio.create_task(sessions.close())
    assert closing is not None
    for gate, request in zip(gates.values(), requests, strict=True):
        assert not closing.done()
        gate.set()
        assert (await request).status == 200
    await closing
    assert client.closed


async def test_a_client_that_is_used_after_its_close_keeps_the_session_open_again(host: Host) -> None:
    first, second = host.client(), host.client()
    for client in (first, second):
        await client.get_json("/")
    await first.close()
    call = asyncio.create_task(first.get_text("/slow"))
    await second.get_json("/")
    await second.close()
    host.gate.set()
    assert await call == ""


async def test_a_client_that_was_collected_does_not_keep_the_session_open(host: Host) -> None:
    first, second = host.client(), host.client()
    for client in (first, second):
        await client.get_json("/")
    session = first._client
    del client, second
    gc.collect()
    await first.close()
    assert session.closed


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


async def test_a_token_reply_is_kept_where_the_end_of_a_program_cancels_the_task_that_closes_connections(
    serve: Serve,
) -> None:
    before: set[asyncio.Task[Any]] = set()

    async def answer(_: web.Request) -> web.Response:
        before.update(asyncio.all_tasks())
        return web.json_response({"access_token": "new"})

    sending = asyncio.create_task(send(Request(Method.POST, (await serve(answer)).origin)))
    while not sending.done():  # aiohttp closes connections in a task of its own, which `asyncio.run` finds and cancels
        for task in asyncio.all_tasks() - before if before else ():
            task.cancel()
        await asyncio.sleep(0)
    assert (await sending).status == 200
