"""A person at a real Chromium: opens what a program asks to open, signs in, consents or refuses.

The rule: everything goes through the page's own fields and buttons; nothing leaves the loopback interface.
"""
from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.async_api import BrowserContext, Error, Page, Request, async_playwright

PICTURES = Path(__file__).parents[2] / ".tests" / "screenshots"

_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The provider's development pages import a font from a public host.
_NOTHING_BUT = "--host-resolver-rules=MAP * ~NOTFOUND"
_HERE = ("localhost", "127.0.0.1", "[::1]")
_SECONDS = 30


@dataclass(frozen=True)
class Landing:
    """The page on which a visit ended; `status` is None where the address could not be reached."""

    status: int | None
    title: str
    text: str
    address: str
    page: Page = field(repr=False)


class Person:
    """One person with one browser profile. `env` makes a child process open its links here."""

    def __init__(self, context: BrowserContext, env: dict[str, str], asked: asyncio.Queue[str]) -> None:
        self.context = context
        self.env = env
        self._asked = asked
        self._addresses: dict[Page, str] = {}

    async def asked(self, seconds: float = _SECONDS) -> str:
        """The next address that a program handed to BROWSER; TimeoutError after `seconds`."""
        return await asyncio.wait_for(self._asked.get(), seconds)

    async def visits(self, url: str) -> Landing:
        """Opens `url` in a new tab and clicks nothing."""
        page = await self.context.new_page()

        def note(request: Request) -> None:
            if request.is_navigation_request():
                self._addresses[page] = request.url

        page.on("request", note)
        reply = await page.goto(url)
        return await _landing(page, reply.status if reply else None)

    async def consents(self, url: str | None = None, *, login: str = "alice") -> Landing:
        """Opens `url` (default: what a program asked for), signs in if asked to, and gives consent."""
        landing = await self.visits(url or await self.asked())
        for _ in range(3):
            question = landing.page.locator("input[name=prompt]")
            if landing.status is None or not await question.count():
                return landing
            if await question.get_attribute("value") == "login":
                await self._fills_in(landing.page, login)
            landing = await self._clicks(landing.page, "button[type=submit]")
        raise AssertionError(f"the provider asks without end, last on {landing.address}")

    async def denies(self, url: str | None = None, *, login: str | None = "alice") -> Landing:
        """Signs in as `login` and aborts at the consent page; with `login=None` at the sign-in page."""
        landing = await self.visits(url or await self.asked())
        if login is not None:
            await self._fills_in(landing.page, login)
            landing = await self._clicks(landing.page, "button[type=submit]")
        return await self._clicks(landing.page, "a[href$='/abort']")

    async def pictures(self, name: str) -> list[Path]:
        """A screenshot of every open tab, as .tests/screenshots/NAME-N.png."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        paths: list[Path] = []
        for number, page in enumerate(self.context.pages, 1):
            paths.append(PICTURES / f"{name}-{number}.png")
            await page.screenshot(path=paths[-1], full_page=True)
        return paths

    async def _fills_in(self, page: Page, login: str) -> None:
        await page.fill("input[name=login]", login)
        await page.fill("input[name=password]", "any password does")

    async def _clicks(self, page: Page, selector: str) -> Landing:
        try:
            async with page.expect_navigation() as navigation:
                await page.click(selector)
        except Error as error:
            if "net::ERR_" not in error.message:
                raise
            return Landing(None, "", error.message, self._addresses[page], page)
        reply = await navigation.value
        return await _landing(page, reply.status if reply else None)


async def _landing(page: Page, status: int | None) -> Landing:
    return Landing(status, await page.title(), await page.inner_text("body"), page.url, page)


@asynccontextmanager
async def person_at_a_browser(reaches: Sequence[str] = _HERE) -> AsyncGenerator[Person, None]:
    """A person with a fresh profile, until the block ends, whose browser finds the hosts `reaches` and no others."""
    binary = shutil.which("chromium")
    if binary is None:
        raise FileNotFoundError("Debian's chromium is needed: run tests/run, which installs it")
    with tempfile.TemporaryDirectory(prefix="slyapi-person-") as home:
        async with _asked_to_open(Path(home)) as (script, asked), async_playwright() as playwright:
            args = [*_ARGS, ", EXCLUDE ".join([_NOTHING_BUT, *reaches])]
            browser = await playwright.chromium.launch(executable_path=binary, args=args)
            try:
                context = await browser.new_context(locale="en-US")
                context.set_default_timeout(_SECONDS * 1000)
                yield Person(context, _child_environment(script, home), asked)
            finally:
                await browser.close()


def _child_environment(script: Path, home: str) -> dict[str, str]:
    """A desktop of its own: nothing of ours but the PATH, an empty home, and our browser."""
    return {"PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8", "BROWSER": f"{script} %s"}


@asynccontextmanager
async def _asked_to_open(folder: Path) -> AsyncGenerator[tuple[Path, asyncio.Queue[str]], None]:
    """A script to be BROWSER, and the queue in which the addresses end that it is run with."""
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.put_nowait((await reader.read()).decode())
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    script = folder / "browser"
    script.write_text(
        f"#!{sys.executable}\n"
        "import socket, sys\n"
        f"with socket.create_connection(('127.0.0.1', {port})) as s:\n"
        "    s.sendall(sys.argv[1].encode())\n"
    )
    script.chmod(0o700)
    async with server:
        yield script, asked
