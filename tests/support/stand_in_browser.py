"""A stand-in for the person's browser: `$BROWSER` hands the address to the test, which follows the redirects.

The rule: the child that `$BROWSER` starts returns at once, as a real browser's launcher does.
"""
from __future__ import annotations

import asyncio
import stat
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

_SECONDS = 30.0
_LAUNCHER = """\
#!{python} -IS
import socket, sys
with socket.create_connection(("127.0.0.1", {port})) as test:
    test.sendall("\\n".join(sys.argv[1:]).encode())
"""


@dataclass(frozen=True)
class Page:
    """The page that a visit ended on; `seen` is what `look` saw at the moment when the page was there."""

    status: int
    text: str
    addresses: list[str]
    seen: object = None


@dataclass(repr=False)
class StandInBrowser:
    """`command` is for $BROWSER. With `follows` off, an address is only noted, as if the person did nothing yet."""

    command: str = ""
    follows: bool = True
    look: Callable[[], object] = lambda: None
    opened: list[str] = field(default_factory=list[str])
    _pages: asyncio.Queue[Page | BaseException] = field(default_factory=asyncio.Queue[Page | BaseException])
    _asked: asyncio.Queue[str] = field(default_factory=asyncio.Queue[str])
    _visits: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    async def asked(self) -> str:
        """The next address that was opened."""
        return await asyncio.wait_for(self._asked.get(), _SECONDS)

    async def page(self) -> Page:
        """The next page that a visit ended on."""
        found = await asyncio.wait_for(self._pages.get(), _SECONDS)
        if isinstance(found, BaseException):
            raise found
        return found

    async def visits(self, address: str) -> Page:
        """Goes there, as a person who clicks or types an address."""
        async with aiohttp.ClientSession() as session, session.get(address) as reply:
            text = await reply.text()
            addresses = [str(step.url) for step in (*reply.history, reply)]
            return Page(reply.status, text, addresses, self.look())

    async def redirected(self, address: str) -> str:
        """Where the page there sends the browser, which does not go."""
        async with aiohttp.ClientSession() as session, session.get(address, allow_redirects=False) as reply:
            return reply.headers["Location"]

    async def _opens(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = (await reader.read()).decode()
        writer.close()
        self.opened.append(address)
        self._asked.put_nowait(address)
        if self.follows:
            visit = asyncio.create_task(self._visit(address))
            self._visits.add(visit)
            visit.add_done_callback(self._visits.discard)

    async def _visit(self, address: str) -> None:
        try:
            self._pages.put_nowait(await self.visits(address))
        except Exception as error:
            self._pages.put_nowait(error)


@asynccontextmanager
async def stand_in_browser(folder: Path) -> AsyncGenerator[StandInBrowser, None]:
    """A browser whose launcher lies in `folder`."""
    browser = StandInBrowser()
    server = await asyncio.start_server(browser._opens, "127.0.0.1", 0)
    launcher = folder / "stand-in-browser"
    launcher.write_text(_LAUNCHER.format(python=sys.executable, port=server.sockets[0].getsockname()[1]))
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    browser.command = f'"{sys.executable}" -IS "{launcher}"' if sys.platform == "win32" else str(launcher)
    try:
        yield browser
    finally:
        server.close()
        for visit in browser._visits:
            visit.cancel()
        await asyncio.gather(*browser._visits, return_exceptions=True)
