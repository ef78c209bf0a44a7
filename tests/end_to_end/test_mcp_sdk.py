"""The MCP Python SDK as a client against its own server, with our tokens: two processes at once, over expiries.

The rule: the authorization server is the practice provider, and the SDK's server asks it about each token.
"""
from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from pydantic import AnyHttpUrl

from SlyAPI import OAuth2App
from SlyAPI.testing import PracticeProvider
from tests.support.serving import all_by, served

pytestmark = pytest.mark.slow

PROGRAM = """
import asyncio, sys, time
import aiohttp, httpx2
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from SlyAPI import OAuth2
from SlyAPI.httpx2 import signed

async def consent(url):
    print("asked", flush=True)
    async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=False) as reply:
        return reply.headers["Location"]

async def main(url, app, user, seconds):
    auth = OAuth2.for_resource(url, app, user, consent=consent)
    async with httpx2.AsyncClient(auth=signed(auth), trust_env=False) as client:
        async with streamable_http_client(url, http_client=client) as (reading, writing, *_):
            async with ClientSession(reading, writing) as session:
                await session.initialize()
                end = time.monotonic() + float(seconds)
                while time.monotonic() < end:
                    found = await session.call_tool("add", {"a": 1, "b": 2})
                    assert "3" in repr(found.content), found
                    print("called", flush=True)
                    await asyncio.sleep(0.05)

asyncio.run(main(*sys.argv[1:]))
"""


class Verifier:
    """Asks the provider about each token (RFC 7662)."""

    def __init__(self, app: OAuth2App) -> None:
        self.app = app

    async def verify_token(self, token: str) -> AccessToken | None:
        info = await self.app.introspect(token)
        return AccessToken(token=token, client_id=info.client_id or "", scopes=info.scopes) if info.active else None


@asynccontextmanager
async def tool_server(provider: PracticeProvider, app: OAuth2App) -> AsyncGenerator[str, None]:
    """The SDK's server with one tool, which asks the provider as `app`; gives its URL."""
    async with served(all_by(_nothing)) as origin:
        port = int(origin.rpartition(":")[2])
    url = f"http://127.0.0.1:{port}/mcp"
    auth = AuthSettings(
        issuer_url=AnyHttpUrl(provider.issuer),
        resource_server_url=AnyHttpUrl(url),
        required_scopes=["notes"],
        validate_token_resource=False,  # the provider has one resource
    )
    server: Any = MCPServer("tools", token_verifier=Verifier(app), auth=auth, log_level="ERROR")

    def add(a: int, b: int) -> int:
        """The sum."""
        return a + b

    server.tool()(add)

    config = uvicorn.Config(server.streamable_http_app(), "127.0.0.1", port, log_level="error", ws="none")
    running = uvicorn.Server(config)
    task = asyncio.create_task(running.serve())
    try:
        while not running.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.02)
        provider.resources = [url]
        yield url
    finally:
        running.should_exit = True
        await task


async def _nothing(request: Any) -> Any:
    raise NotImplementedError


async def test_two_processes_of_the_sdk_share_one_login_and_every_refresh(tmp_path: Path) -> None:
    # a path, because the SDK's server adds a slash to an issuer without one
    provider = PracticeProvider(
        client_secret="secret", issuer_path="/tenant", consent="allow", access_token_lifetime=1.0
    )
    pipe = asyncio.subprocess.PIPE
    async with provider.running(), AsyncExitStack() as stack:
        app = await OAuth2App.discover(provider.issuer, "practice-client", "secret")  # it may introspect its own tokens
        (tmp_path / "app.json").write_text(json.dumps(app.to_dict()))
        url = await stack.enter_async_context(tool_server(provider, app))
        words = [sys.executable, "-c", PROGRAM, url, str(tmp_path / "app.json"), str(tmp_path / "user.json"), "4"]
        running = [await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=pipe) for _ in range(2)]
        ended = await asyncio.wait_for(asyncio.gather(*(process.communicate() for process in running)), 60)
    assert [process.returncode for process in running] == [0, 0], ended
    assert sum(out.count(b"asked") for out, _ in ended) == 1
    assert all(out.count(b"called") > 5 for out, _ in ended)
    assert provider.exchanges == 1
    assert provider.refreshes >= 2
    assert provider.reuses == 0
