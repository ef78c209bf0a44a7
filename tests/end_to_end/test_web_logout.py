"""The back-channel logout endpoint of the example web applications, as a provider's server meets it."""
from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import aiohttp
import pytest
import pytest_asyncio

from tests.end_to_end.web_site import PEOPLE, Site, site_of

if TYPE_CHECKING:
    from tests.end_to_end.web_site import Framework

ADA, BO, _ = PEOPLE


@pytest_asyncio.fixture(params=["aiohttp", "starlette"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    framework: Framework = request.param
    async with site_of(framework) as running:
        running.provider.consent = "allow"
        yield running


async def home(site: Site, browser: aiohttp.ClientSession) -> str:
    async with browser.get(site.url) as page:
        return await page.text()


async def signed_in(site: Site, who: str) -> aiohttp.ClientSession:
    browser = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
    async with browser.get(f"{site.url}/login", allow_redirects=False) as begun:
        question = f"{begun.headers['Location']}&login_hint={who.replace(' ', '+')}"
    async with browser.get(question) as page:
        assert f"Hello, {who}" in await page.text()
    return browser


async def posted(site: Site, form: dict[str, str]) -> int:
    """The status of the answer, which no cache may keep (Back-Channel Logout §2.8)."""
    async with aiohttp.ClientSession() as provider:
        async with provider.post(f"{site.url}/backchannel-logout", data=form) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            assert await answer.read() == b""
            return answer.status


async def test_a_provider_ends_the_sessions_of_one_person(site: Site) -> None:
    async with await signed_in(site, ADA) as ada, await signed_in(site, BO) as bo:
        assert await site.provider.sign_out(ADA) == [200]
        assert "Sign in to see them" in await home(site, ada)
        assert f"Hello, {BO}" in await home(site, bo)


async def test_a_forged_repeated_or_missing_logout_token_is_a_bad_request(site: Site) -> None:
    async with await signed_in(site, ADA) as ada:
        (entry,) = await site.store.names()
        id_token = (await site.store.load(entry))["id_token"]
        for form in ({"logout_token": id_token}, {"logout_token": "a.b.c"}, {"logout_token": ""}, {"x": "y"}):
            assert await posted(site, form) == 400
        assert f"Hello, {ADA}" in await home(site, ada)
        form = {"logout_token": site.provider.logout_token("practice-client", BO)}
        assert [await posted(site, form) for _ in range(2)] == [200, 400]
        async with ada.get(f"{site.url}/backchannel-logout") as page:
            assert page.status == 405
        assert f"Hello, {ADA}" in await home(site, ada)


async def test_a_person_who_signs_out_here_can_sign_out_there_and_is_then_signed_out_already(site: Site) -> None:
    async with await signed_in(site, ADA) as ada, await signed_in(site, BO) as bo:
        async with ada.post(f"{site.url}/logout", headers={"Origin": site.url}) as page:
            (link,) = re.findall(rf'href="({site.provider.origin}/logout[^"]*)"', await page.text())
        assert len(await site.store.names()) == 1
        async with ada.get(html.unescape(link)) as page:
            assert str(page.url) == f"{site.url}/signed-out"
            assert "You are signed out" in await page.text()
        form = {"logout_token": site.provider.logout_token("practice-client", ADA)}
        assert await posted(site, form) == 200
        async with bo.get(f"{site.url}/signed-out") as page:
            assert f"Hello, {BO}" in await page.text()


TYPES = [
    *("application/x-www-form-urlencoded; charset=unknown", "application/x-www-form-urlencoded; charset=idna"),
    *("multipart/form-data", "multipart/form-data; boundary=b", "application/json", "text/plain", "a/b/c", ""),
]
BODIES = {
    "nothing": b"",
    "octets": b"logout_token=%ff%fe&text=%00" + bytes(range(256)),
    "half a part": b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\nabc',
    "a part": b'--b\r\nContent-Disposition: form-data; name="logout_token"\r\n'
    b"Content-Transfer-Encoding: unknown\r\n\r\nabc\r\n--b--\r\n",
    "fields": b"a&" * 20_000,
}


@pytest.mark.parametrize("body", BODIES)
async def test_no_form_of_a_stranger_is_an_error_of_the_application(site: Site, body: str) -> None:
    async with await signed_in(site, ADA) as ada:
        for path in ("/backchannel-logout", "/notes"):
            for kind in TYPES:
                headers = {"Content-Type": kind, "Origin": site.url}
                async with ada.post(f"{site.url}{path}", data=BODIES[body], headers=headers) as answer:
                    # 502: the API refuses an empty note
                    assert answer.status in ((400,) if path != "/notes" else (200, 502)), (path, kind)
        too_long = {"data": b"a" * 200_000, "headers": {"Origin": site.url}}
        async with ada.post(f"{site.url}/backchannel-logout", **too_long) as answer:  # type: ignore[arg-type]
            assert answer.status == 413
        assert f"Hello, {ADA}" in await home(site, ada)
