"""The example web applications, running beside a provider, and a person at a tab of one of them."""
from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, Self, TypeVar

import aiohttp
import starlette_app
import uvicorn
import web_app
from accounts import Accounts
from aiohttp import web
from playwright.async_api import BrowserContext, Page, Request, Response
from services import SERVICES

from SlyAPI import OAuth2App
from SlyAPI.stores import MemoryStore
from SlyAPI.testing import PracticeProvider
from tests.conftest import Clock

Framework = Literal["aiohttp", "starlette"]
PEOPLE = ("Ada Practice", "Bo Practice", "Chris <b>Practice</b>")
SECRET = "client-secret-5EC9E7"


@dataclass(repr=False)
class Running:
    """One application that runs."""

    url: str
    accounts: Accounts
    store: MemoryStore

    @property
    def callback(self) -> str:
        return f"{self.url}/callback"


@dataclass(repr=False)
class Site(Running):
    """One at a practice provider; `clock` is its own, the provider's stands still."""

    provider: PracticeProvider
    clock: Clock

    async def tokens(self) -> list[str]:
        """All access and refresh tokens in the store."""
        users = [await self.store.load(name) for name in await self.store.names()]
        return [user[key] for user in users for key in ("token", "refresh_token")]


@asynccontextmanager
async def site_of(framework: Framework) -> AsyncGenerator[Site, None]:
    """The example on a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        clock, store = Clock(), MemoryStore()
        provider = PracticeProvider(
            client_secret=SECRET,
            client_name="Weather Diary",
            redirect_uris=[f"{url}/callback"],
            people=PEOPLE,
            clock=Clock(),
            access_token_lifetime=3600.0,
            code_lifetime=86_400.0,
            openid=True,
            signing_algs=["ES256"],
            client_metadata={
                "post_logout_redirect_uris": [f"{url}/signed-out"],
                "backchannel_logout_uri": f"{url}/backchannel-logout",
            },
        )
        async with provider.running() as issuer:
            app = await OAuth2App.discover(issuer, "practice-client", SECRET)
            service = replace(SERVICES["practice"], api=provider.api_url)
            async with (
                Accounts(app, service, store, url, b"k" * 32, clock) as accounts,
                serving(framework, accounts, listener),
            ):
                yield Site(url, accounts, store, provider, clock)


def serving(
    framework: Framework, accounts: Accounts, listener: socket.socket
) -> AbstractAsyncContextManager[None]:
    """The application of these accounts, by the example for this framework."""
    return (serve_aiohttp if framework == "aiohttp" else serve_starlette)(accounts, listener)


@asynccontextmanager
async def serve_aiohttp(accounts: Accounts, listener: socket.socket) -> AsyncGenerator[None, None]:
    runner = web.AppRunner(web_app.application(accounts), shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serve_starlette(accounts: Accounts, listener: socket.socket) -> AsyncGenerator[None, None]:
    site = starlette_app.application(lambda: nullcontext(accounts))
    config = uvicorn.Config(site, log_level="critical", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


AnySite = TypeVar("AnySite", bound=Running)


@dataclass(repr=False)
class AnyTab(Generic[AnySite]):
    """One tab of a browser at the application, what it was answered last, and where it has been."""

    page: Page
    site: AnySite
    status: int = 0
    visited: list[str] = field(default_factory=list[str])

    @classmethod
    async def opens(cls, context: BrowserContext, site: AnySite) -> Self:
        tab = cls(await context.new_page(), site)

        def asked(request: Request) -> None:
            if request.is_navigation_request():
                tab.visited.append(request.url)

        def answered(response: Response) -> None:
            if response.request.is_navigation_request():
                tab.status = response.status

        tab.page.on("request", asked)
        tab.page.on("response", answered)
        return tab

    @property
    def came_back(self) -> str:
        """The redirect with which the provider sent this tab back last."""
        return [url for url in self.visited if url.startswith(self.site.callback)][-1]

    async def goes(self, path: str) -> str:
        """Opens a page of the application, or any address; gives its text."""
        await self.page.goto(path if path.startswith("http") else self.site.url + path)
        return await self.text()

    async def text(self) -> str:
        return await self.page.inner_text("body")

    async def clicks(self, name: str, then: str = "**") -> str:
        """Presses a button or follows a link, up to the page `then`."""
        await self.page.locator("button, a").get_by_text(name, exact=True).or_(
            self.page.get_by_role("button", name=name, exact=True)
        ).first.click(no_wait_after=True)
        await self.page.wait_for_url(then)
        return await self.text()

    async def signs_out(self) -> str:
        async with self.page.expect_navigation():
            await self.page.get_by_role("button", name="Sign out").click(no_wait_after=True)
        return await self.text()


class Tab(AnyTab[Site]):
    """One whose person signs in at the practice provider."""

    async def begins(self) -> None:
        """Asks to sign in, up to the provider's question."""
        await self.goes("/login")
        assert self.page.url.startswith(self.site.provider.origin)

    async def answers(self, name: str, decision: str = "Allow") -> str:
        """Says at the provider who sits here and what they decide; gives the page on which that ends."""
        await self.page.get_by_label(name, exact=True).check()
        async with self.page.expect_navigation(url=f"{self.site.url}/**"):
            await self.page.get_by_role("button", name=decision, exact=True).click(no_wait_after=True)
        await self.page.wait_for_load_state()
        return await self.text()

    async def answers_without_coming_back(self, name: str) -> str:
        """Says yes at the provider, and gives the redirect instead of following it."""
        ticket = await self.page.locator("input[name=ticket]").input_value()
        form = {"ticket": ticket, "person": name, "decision": "allow"}
        async with aiohttp.ClientSession() as http:
            consent = f"{self.site.provider.origin}/consent"
            async with http.post(consent, data=form, allow_redirects=False) as answer:
                return answer.headers["Location"]

    async def signs_in(self, name: str) -> str:
        await self.begins()
        return await self.answers(name)

    async def writes(self, note: str) -> str:
        await self.page.get_by_label("A new note").fill(note)
        async with self.page.expect_navigation():
            await self.page.get_by_role("button", name="Add").click(no_wait_after=True)
        return await self.text()
