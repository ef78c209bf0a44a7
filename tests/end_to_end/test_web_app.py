"""The example web applications at a real browser: several people, and everything that a login may run into."""
from __future__ import annotations

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import BrowserContext, Error

from SlyAPI.errors import NetworkError
from SlyAPI.stores import MemoryStore
from tests.end_to_end.web_site import PEOPLE, Site, Tab, site_of
from tests.support.program import until_it_waits

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.end_to_end.chromium import Person
    from tests.end_to_end.web_site import Framework

ADA, BO, CHRIS = PEOPLE
Opens = Callable[[], Awaitable[Tab]]


@pytest_asyncio.fixture(params=["aiohttp", "starlette"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    framework: Framework = request.param
    async with site_of(framework) as running:
        yield running


@pytest_asyncio.fixture
async def browser(site: Site, person: Person) -> Opens:
    """`await browser()` is a tab in a browser of somebody else, with cookies of its own."""

    async def opens() -> Tab:
        assert person.context.browser is not None
        context = await person.context.browser.new_context(locale="en-US")
        return await Tab.opens(context, site)

    return opens


async def another_tab(tab: Tab) -> Tab:
    return await Tab.opens(tab.page.context, tab.site)


async def cookies_of(context: BrowserContext) -> dict[str, str]:
    return {str(cookie.get("name")): str(cookie.get("value")) for cookie in await context.cookies()}


async def put_back(context: BrowserContext, cookies: Any) -> None:
    """What somebody does who kept a copy of them."""
    await context.add_cookies(cookies)


# --- people ---


async def test_two_people_at_once_see_only_what_is_theirs(site: Site, browser: Opens) -> None:
    tabs = {ADA: await browser(), CHRIS: await browser()}
    await asyncio.gather(*(tab.begins() for tab in tabs.values()))
    texts = await asyncio.gather(*(tab.answers(name) for name, tab in tabs.items()))
    assert all(f"Hello, {name}" in text for name, text in zip(tabs, texts, strict=True))
    for round_ in range(2):
        await asyncio.gather(*(tab.writes(f"{name}'s {round_}") for name, tab in tabs.items()))
    for name, tab in tabs.items():
        text = await tab.goes("/")
        (other,) = {*tabs} - {name}
        assert (f"{name}'s 0" in text, f"{name}'s 1" in text, other in text) == (True, True, False)
    assert site.provider.notes == {name: [f"{name}'s 0", f"{name}'s 1"] for name in tabs}
    assert len(await site.store.names()) == 2


async def test_a_stranger_sees_the_front_door_alone(site: Site, browser: Opens) -> None:
    tab = await browser()
    assert "Sign in" in await tab.goes("/")
    for path in ("/list", "/nothing"):
        await tab.goes(path)
        assert tab.page.url == f"{site.url}/" or tab.status == 404


# --- a login that does not end well ---


async def test_an_address_that_is_none_is_told_by_a_page_with_a_way_back(site: Site, browser: Opens) -> None:
    tab = await browser()
    for path, status in (("/nothing", 404), ("/logout", 405)):
        assert "There is no such page" in await tab.goes(path)
        assert tab.status == status
        assert "Sign in to see them" in await tab.clicks("Go on")


async def test_a_no_is_taken_for_a_no_and_can_be_thought_over(site: Site, browser: Opens) -> None:
    tab = await browser()
    await tab.begins()
    assert "You said no" in await tab.answers(ADA, "Deny")
    assert tab.status == 403
    assert await site.store.names() == []
    await tab.clicks("Sign in again", f"{site.provider.origin}/**")
    assert f"Hello, {ADA}" in await tab.answers(ADA)


async def test_a_login_replayed_changes_nothing(site: Site, browser: Opens) -> None:
    tab = await browser()
    await tab.begins()
    kept = await tab.page.context.cookies()
    await tab.answers(ADA)
    assert "This sign-in is not yours" in await tab.goes(tab.came_back)
    assert tab.status == 400
    await put_back(tab.page.context, kept)
    assert "This sign-in has ended" in await tab.goes(tab.came_back)
    assert site.provider.exchanges == 1
    assert f"Hello, {ADA}" in await tab.clicks("Go on", f"{site.url}/")


async def test_a_login_does_not_end_in_somebody_elses_browser(site: Site, browser: Opens) -> None:
    ada, bo, nobody = await browser(), await browser(), await browser()
    await bo.signs_in(BO)
    await bo.begins()  # and another login is going on there
    await ada.begins()
    redirect = await ada.answers_without_coming_back(ADA)
    for tab in (bo, nobody):
        assert "This sign-in is not yours" in await tab.goes(redirect)
    assert f"Hello, {BO}" in await bo.goes("/")
    assert "Sign in" in await nobody.goes("/")
    assert site.provider.exchanges == 1
    assert f"Hello, {ADA}" in await ada.goes(redirect)  # it is still hers to end


async def test_a_login_that_took_too_long_is_told_so(site: Site, browser: Opens) -> None:
    tab = await browser()
    await tab.begins()
    site.clock.now += 601
    assert "This sign-in has ended" in await tab.answers(ADA)
    assert (tab.status, site.provider.exchanges) == (400, 0)
    await tab.clicks("Sign in again", f"{site.provider.origin}/**")
    assert f"Hello, {ADA}" in await tab.answers(ADA)


async def test_a_provider_that_is_away_is_told_so(site: Site, browser: Opens, unused_port: int) -> None:
    tab = await browser()
    await tab.begins()
    there, site.accounts.app.token_uri = site.accounts.app.token_uri, f"http://127.0.0.1:{unused_port}/token"
    assert "The other side is away" in await tab.answers(ADA)
    assert tab.status == 503
    site.accounts.app.token_uri = there
    await tab.signs_in(ADA)
    service = site.accounts.service
    site.accounts.service = replace(service, api=f"http://127.0.0.1:{unused_port}/api")
    assert "The other side is away" in await tab.goes("/")
    assert "0 came, then it ended" in await tab.goes("/list")
    site.accounts.service = service
    assert f"Hello, {ADA}" in await tab.goes("/")  # still signed in


async def test_a_store_that_is_away_is_told_so(site: Site, browser: Opens) -> None:
    tab = await browser()
    await tab.signs_in(ADA)

    class Away(MemoryStore):
        async def load(self, name: str) -> dict[str, Any]:
            raise NetworkError("the store is away")

    there, site.accounts.store = site.accounts.store, Away()
    for path in ("/", "/list", f"/callback?code=c&state={'s' * 40}"):
        assert "Hello" not in await tab.goes(path)
        assert tab.status == (503 if "callback" not in path else 400)
    site.accounts.store = there
    assert f"Hello, {ADA}" in await tab.goes("/")


async def test_a_grant_that_ended_is_asked_for_again(site: Site, browser: Opens) -> None:
    tab = await browser()
    await tab.signs_in(ADA)
    site.provider.end_all_grants()
    assert "Please sign in again" in await tab.goes("/")
    assert tab.status == 401
    assert "session" not in await cookies_of(tab.page.context)
    await tab.clicks("Sign in again", f"{site.provider.origin}/**")
    assert f"Hello, {ADA}" in await tab.answers(ADA)


# --- tabs, and the back button ---


async def test_each_tab_has_a_login_of_its_own(site: Site, browser: Opens) -> None:
    first = await browser()
    second, third = await another_tab(first), await another_tab(first)
    for tab in (first, second, third):
        await tab.begins()
    assert f"Hello, {ADA}" in await second.answers(ADA)
    assert "You said no" in await third.answers(ADA, "Deny")
    assert f"Hello, {BO}" in await first.answers(BO)  # another account of the same person
    assert f"Hello, {BO}" in await second.goes("/")
    assert site.provider.exchanges == 2


async def test_the_back_button_leads_neither_to_a_used_code_nor_to_what_was_seen(site: Site, browser: Opens) -> None:
    tab = await browser()
    await tab.goes("/")
    await tab.clicks("Sign in", f"{site.provider.origin}/**")
    await tab.answers(ADA)
    await tab.writes("a secret of Ada's")
    await tab.page.goto(site.url + "/list")
    await tab.page.go_back()
    assert "a secret of Ada's" in await tab.text()
    assert all("code=" not in url for url in await history_of(tab))
    await tab.signs_out()
    await tab.page.go_back()
    assert "a secret of Ada's" not in await tab.text()
    assert "Ada" not in await tab.text()
    assert site.provider.exchanges == 1


async def history_of(tab: Tab) -> list[str]:
    session = await tab.page.context.new_cdp_session(tab.page)
    told = await session.send("Page.getNavigationHistory")
    return [entry["url"] for entry in told["entries"]]


# --- sessions ---


async def test_signing_out_ends_the_grant_and_every_session_of_the_person(site: Site, browser: Opens) -> None:
    here, there, bo = await browser(), await browser(), await browser()
    for tab, name in ((here, ADA), (there, ADA), (bo, BO)):
        await tab.signs_in(name)
    stolen = await here.page.context.cookies()
    (entry,) = [name for name in await site.store.names() if (await site.store.load(name))["name"] == ADA]
    token = (await site.store.load(entry))["token"]
    assert await status_at_the_api(site, token) == 200
    assert "You are signed out" in await here.signs_out()
    assert await status_at_the_api(site, token) == 401
    assert entry not in await site.store.names()
    for tab in (here, there):
        assert "Sign in" in await tab.goes("/")
    assert f"Hello, {BO}" in await bo.goes("/")
    await there.signs_in(ADA)
    await put_back(here.page.context, stolen)
    assert "Sign in" in await here.goes("/")  # a cookie of before is worth nothing, though Ada is back
    assert f"Hello, {ADA}" in await there.goes("/")


async def status_at_the_api(site: Site, token: str) -> int:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        async with http.get(f"{site.provider.api_url}/me") as reply:
            return reply.status


async def test_signing_out_works_while_the_provider_is_away(site: Site, browser: Opens, unused_port: int) -> None:
    tab = await browser()
    await tab.signs_in(ADA)
    site.accounts.app.revoke_uri = f"http://127.0.0.1:{unused_port}/revoke"
    assert "could not be told" in await tab.signs_out()
    assert await site.store.names() == []


async def test_another_site_can_neither_sign_somebody_out_nor_write_for_them(
    site: Site, browser: Opens, serve: Serve
) -> None:
    async def form(request: web.Request) -> web.Response:
        field = '<input name="text" value="x"><button>Win</button>'
        return web.Response(
            text=f'<form method="post" action="{site.url}{request.path}">{field}</form>', content_type="text/html"
        )

    evil = await serve(form)  # another port is the same site to a cookie, and another origin
    tab = await browser()
    await tab.signs_in(ADA)
    for path in ("/logout", "/notes"):
        await tab.goes(evil.origin + path)
        assert "did not come from one of our pages" in await tab.clicks("Win", f"{site.url}{path}")
        assert tab.status == 403
    assert f"Hello, {ADA}" in await tab.goes("/")
    assert site.provider.notes == {}


async def test_cookies_hold_no_token_do_not_grow_and_are_out_of_reach_of_scripts(site: Site, browser: Opens) -> None:
    tab = await browser()
    await tab.signs_in(ADA)
    first = (await cookies_of(tab.page.context))["session"]
    for _ in range(8):
        await (await another_tab(tab)).begins()
    await tab.signs_in(ADA)
    cookies = await tab.page.context.cookies()
    assert all(cookie.get("httpOnly") and cookie.get("sameSite") == "Lax" for cookie in cookies)
    assert await tab.page.evaluate("document.cookie") == ""
    told = await cookies_of(tab.page.context)
    assert told["session"] != first  # a login makes a session anew: what somebody planted before is not taken on
    assert len(told["session"]) == len(first) < 300
    assert len(told) <= 6
    assert sum(len(name) + len(value) for name, value in told.items()) < 4000
    assert not [token for token in await site.tokens() if any(token in value for value in told.values())]


# --- long work ---


async def test_a_long_page_comes_piece_by_piece(site: Site, browser: Opens) -> None:
    tab = await browser()
    await tab.signs_in(ADA)
    site.provider.delay_per_page = 0.3
    async with aiohttp.ClientSession(cookies=await cookies_of(tab.page.context)) as http:
        async with http.get(f"{site.url}/list") as page:
            begun = b""
            while b"<li>" not in begun:
                begun += await page.content.readany()
            assert [seen.endpoint for seen in site.provider.log].count("api/archive") < 10
            whole = begun + await page.content.read()
    assert whole.count(b"<li>") == 100
    site.provider.delay_per_page = 0.0
    assert "That is all: 100." in await tab.goes("/list")
    assert not await tab.page.locator(".working").is_visible()


async def test_no_page_breaks_its_own_policy_and_names_are_escaped(site: Site, browser: Opens) -> None:
    tab = await browser()
    complaints: list[str] = []
    tab.page.on("console", lambda message: complaints.append(message.text))
    await tab.goes("/")
    await tab.signs_in(CHRIS)
    await tab.writes("<script>alert(1)</script>")
    assert "<script>alert(1)</script>" in await tab.text()
    await tab.goes("/list")
    assert re.search(r"Chris <b>Practice</b>", await tab.text())
    await tab.goes("/")
    await tab.signs_out()
    assert complaints == []


# --- as somebody starts it who has just cloned it ---


@pytest.mark.parametrize("script", ["web_app.py", "starlette_app.py"])
async def test_one_command_starts_the_application_and_a_provider_to_sign_in_at(
    script: str, person: Person, unused_port: int, tmp_path: Path
) -> None:
    path = Path(__file__).parents[2] / "docs" / "examples" / script
    words = [sys.executable, "-W", "error", str(path), "--port", str(unused_port)]
    child = await asyncio.create_subprocess_exec(*words, cwd=tmp_path, stdout=PIPE, stderr=PIPE, umask=0)
    try:
        assert child.stdout is not None
        assert f"Open http://127.0.0.1:{unused_port} " in (await child.stdout.readline()).decode()
        page = await person.context.new_page()
        async with asyncio.timeout(60):
            while True:
                with suppress(Error):  # it does not listen yet
                    await page.goto(f"http://127.0.0.1:{unused_port}/")
                    break
                await asyncio.sleep(0.1)
        await page.get_by_role("link", name="Sign in").click()
        await page.get_by_label("Bo Practice").check()
        await page.get_by_role("button", name="Allow").click()
        await page.wait_for_url(f"http://127.0.0.1:{unused_port}/")
        assert "Hello, Bo Practice" in await page.inner_text("body")
        only_the_owner_can_read(tmp_path)  # also while it runs
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_role("link", name="Sign out there, too").click()
        await page.wait_for_url(f"http://127.0.0.1:{unused_port}/signed-out")
    finally:
        await until_it_waits(child)
        child.send_signal(signal.SIGINT)
        _, err = await child.communicate()
    assert err == b""
    only_the_owner_can_read(tmp_path)


def only_the_owner_can_read(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert {path.name: path.stat().st_mode & 0o777 for path in files} == {path.name: 0o600 for path in files}
