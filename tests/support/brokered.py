"""A broker that runs, as a program that calls it knows it, in front of an API that a test answers for."""
from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from SlyAPI.testing import GRANT_TYPES
from tests.support.place import Place, place_at
from tests.support.program import Child
from tests.support.serving import Handler, all_by, served

BIG = 1 << 30


async def ok(request: web.Request) -> web.StreamResponse:
    """What the API answers unless a test says otherwise."""
    return web.json_response({"path": request.raw_path, "body": (await request.read()).decode("latin-1")})


@dataclass
class Api:
    """The API behind the broker; `answer` may be changed while it runs."""

    answer: Handler = ok
    origin: str = ""
    seen: list[web.Request] = field(default_factory=list[web.Request])

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        return await self.answer(request)


@dataclass(repr=False)
class Served:
    """A running broker: its address, and the pass."""

    child: Child
    url: str
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}

    def caller(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(self.url, headers=self.headers, connector=aiohttp.TCPConnector(limit=0))

    async def sends(self, raw: str | bytes) -> bytes:
        """What comes back for these bytes, until the broker closes the connection, or says nothing for a while."""
        address = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(raw.encode("latin-1") if isinstance(raw, str) else raw)
        received = b""
        try:
            async with asyncio.timeout(1 if b"HTTP" in received else 5):
                while piece := await reader.read(1 << 16):
                    received += piece
                    if b"\r\n\r\n" in received and b"Connection: close" not in received:
                        break
        except (TimeoutError, ConnectionError):
            pass
        writer.close()
        return received

    async def status(self, line: str, *fields: str, body: str = "") -> int:
        """The status for a request whose head is this line and these header fields; `HOST` stands for the address."""
        host = urlsplit(self.url).netloc
        lines = [line, *(one.replace("HOST", host).replace("PASS", self.secret) for one in fields), "", body]
        received = await self.sends("\r\n".join(lines))
        return int(received.split(b" ", 2)[1]) if received.startswith(b"HTTP/1.") else 0

    def peak_memory(self) -> int:
        """The most bytes that the broker has held (Linux)."""
        status = Path(f"/proc/{self.child.process.pid}/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])


async def serves(place: Place, *more: str) -> Served:
    """`serve work`, once it listens."""
    child = await place.slyapi("serve", "work", "--json", *more)
    assert child.process.stdout is not None
    line = await asyncio.wait_for(child.process.stdout.readline(), 60)
    assert line, await child.ends()
    told = json.loads(line)
    assert told["account"] == "work"
    return Served(child, told["url"], told["pass"])


@asynccontextmanager
async def with_account(path: Path, api: str | None = None, **settings: Any) -> AsyncGenerator[Place, None]:
    """A place with the account `work`, for this API or the practice provider's."""
    async with place_at(path, grant_types=GRANT_TYPES, **settings) as place:
        place.client(revoke_uri=place.provider.revoke_url)
        place.env["SLYAPI_HOME"] = str(path / "accounts")
        scopes = ("notes", "weather.read", "--app", "app.json", "--api", api or place.provider.api_url)
        ended = await place.runs("login", "work", *scopes)
        assert ended.code == 0, ended
        yield place


@asynccontextmanager
async def api_of_our_own() -> AsyncGenerator[Api, None]:
    """The API, on a port of its own."""
    api = Api()
    application = all_by(api.handle)
    application._client_max_size = BIG * 2
    async with served(application, backlog=1024) as api.origin:
        yield api


def token_of(place: Place) -> dict[str, Any]:
    """The tokens of the account, as its file has them."""
    held: dict[str, Any] = json.loads((Path(place.env["SLYAPI_HOME"]) / "work" / "user.json").read_text())
    return held
