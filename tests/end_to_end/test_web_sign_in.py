"""The example web applications at a provider that others wrote: who signs in, a rotated key, replays, and signing out.

The rule: everything a person does goes through the pages of both; the tests look into the store only to compare.
"""
from __future__ import annotations

import json
import socket
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from accounts import Accounts, entry_name
from services import SERVICES

from SlyAPI import OAuth2App
from SlyAPI.stores import MemoryStore
from tests.end_to_end.oidc_server import OidcServer, running_server
from tests.end_to_end.plain_person import consents
from tests.end_to_end.web_site import AnyTab, Running, serving

if TYPE_CHECKING:
    from tests.end_to_end.chromium import Person
    from tests.end_to_end.web_site import Framework

pytestmark = pytest.mark.slow

SECRET = "a-secret-of-32-characters-or-more"


@dataclass(repr=False)
class Site(Running):
    oidc: OidcServer


class Tab(AnyTab[Site]):
    """One whose person signs in at oidc-provider."""

    async def begins(self) -> None:
        await self.goes("/login")

    async def answers(self, who: str) -> str:
        """Signs in at the provider's page, and consents on the next one."""
        await self.page.fill("input[name=login]", who)
        await self.page.fill("input[name=password]", "any password does")
        for _ in range(2):
            async with self.page.expect_navigation():
                await self.page.click("button[type=submit]", no_wait_after=True)
        return await self.text()

    async def answers_without_coming_back(self, who: str) -> str:
        """The same by other means than the browser; gives the redirect, which nobody has followed."""
        question = [url for url in self.visited if url.startswith(f"{self.site.oidc.issuer}/auth?")][-1]
        return await consents(question, until=self.site.callback, login=who)

    async def signs_in(self, who: str) -> str:
        await self.begins()
        return await self.answers(who)

    async def ends_the_session_there(self) -> str:
        """Answers the provider's question whether to sign out."""
        async with self.page.expect_navigation():
            await self.page.get_by_role("button", name="Yes, sign me out").click(no_wait_after=True)
        await self.page.wait_for_load_state()
        return await self.text()


def client_at(url: str) -> dict[str, object]:
    """What the application registers (RFC 7591 §2, RP-Initiated Logout §3.1, Back-Channel Logout §2.2)."""
    return {
        "client_id": "diary",
        "client_secret": SECRET,
        "redirect_uris": [f"{url}/callback"],
        "post_logout_redirect_uris": [f"{url}/signed-out"],
        "backchannel_logout_uri": f"{url}/backchannel-logout",
        "backchannel_logout_session_required": True,
    }


@pytest_asyncio.fixture(params=["aiohttp", "starlette"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    framework: Framework = request.param
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with running_server(more_clients=[client_at(url)]) as oidc:
            await oidc.rotates_its_key()
            app = await OAuth2App.discover(oidc.issuer, "diary", SECRET)
            service, store = replace(SERVICES["openid"], api=app.userinfo_uri or ""), MemoryStore()
            async with Accounts(app, service, store, url, b"k" * 32) as accounts:
                async with serving(framework, accounts, listener):
                    yield Site(url, accounts, store, oidc)


@pytest_asyncio.fixture
async def browser(site: Site, person: Person) -> Callable[[], Awaitable[Tab]]:
    """`await browser()` is a tab in a browser of somebody else, with cookies of its own."""

    async def opens() -> Tab:
        assert person.context.browser is not None
        return await Tab.opens(await person.context.browser.new_context(locale="en-US"), site)

    return opens


Opens = Callable[[], Awaitable[Tab]]


async def key_of(site: Site, who: str) -> str:
    """The id of the key that signed the person's id_token."""
    token = (await site.store.load(entry_name(site.oidc.issuer, who)))["id_token"]
    kid: str = json.loads(urlsafe_b64decode(token.partition(".")[0] + "=="))["kid"]
    return kid


async def test_two_people_are_two_accounts_and_a_rotated_key_stops_nobody(site: Site, browser: Opens) -> None:
    alice, bob, carol = await browser(), await browser(), await browser()
    assert "Hello, alice of the tests" in await alice.signs_in("alice")
    await bob.begins()
    await site.oidc.rotates_its_key()
    assert "Hello, bob of the tests" in await bob.answers("bob")
    assert "Hello, alice of the tests" in await alice.goes("/")
    await alice.begins()  # she is still signed in there, and nobody asks her again
    assert "Hello, alice of the tests" in await alice.text()
    assert "Hello, alice of the tests" in await carol.signs_in("alice")  # the same person at another computer
    names = {entry_name(site.oidc.issuer, who) for who in ("alice", "bob")}
    assert {*await site.store.names()} == names
    assert [await key_of(site, who) for who in ("bob", "alice")] == ["key-2", "key-2"]
    for tab, who in ((alice, "alice"), (bob, "bob")):
        text = await tab.goes("/")
        assert [name in text for name in ("alice", "bob")] == [who == "alice", who == "bob"]


async def test_a_redirect_signs_in_once_and_only_where_the_login_began(site: Site, browser: Opens) -> None:
    alice, bob = await browser(), await browser()
    await alice.begins()
    kept = await alice.page.context.cookies(site.url)
    await alice.answers("alice")
    await bob.signs_in("bob")
    await bob.begins()  # a further login of his is in progress, or was
    used = alice.came_back
    for tab in (alice, bob):
        assert "This sign-in is not yours" in await tab.goes(used)
        assert tab.status == 400
    await alice.page.context.add_cookies(kept)  # type: ignore[arg-type]
    assert "This sign-in has ended" in await alice.goes(used)
    exchanges = await site.oidc.log()
    assert [entry["error"] for entry in exchanges] == [None] * 3  # alice once, bob twice
    assert "Hello, bob of the tests" in await bob.goes("/")

    carol = await browser()
    await carol.begins()
    unused = await carol.answers_without_coming_back("carol")
    assert "This sign-in is not yours" in await bob.goes(unused)
    assert "Hello, bob of the tests" in await bob.goes("/")
    assert "Hello, carol of the tests" in await carol.goes(unused)  # it is still hers to finish


async def test_signing_out_here_leads_to_signing_out_there(site: Site, browser: Opens) -> None:
    alice, bob = await browser(), await browser()
    await bob.signs_in("bob")
    await alice.signs_in("alice")
    assert "You are signed out" in await alice.signs_out()
    assert await site.store.names() == [entry_name(site.oidc.issuer, "bob")]
    assert "Do you want to sign-out" in await alice.clicks("Sign out there, too", f"{site.oidc.issuer}/**")
    assert "where you signed in from" in await alice.ends_the_session_there()
    assert alice.page.url == f"{site.url}/signed-out"
    await alice.clicks("Sign in", f"{site.oidc.issuer}/**")
    assert "Hello, carol of the tests" in await alice.answers("carol")  # the provider asks who is there now
    assert "Hello, bob of the tests" in await bob.goes("/signed-out")


async def test_signing_out_there_ends_the_session_of_that_person_in_that_browser_alone(
    site: Site, browser: Opens
) -> None:
    alice, elsewhere, bob = await browser(), await browser(), await browser()
    for tab, who in ((alice, "alice"), (elsewhere, "alice"), (bob, "bob")):
        await tab.signs_in(who)
    await alice.goes(f"{site.oidc.issuer}/session/end")
    await alice.ends_the_session_there()
    assert "Sign in to see them" in await alice.goes("/")
    assert "Hello, alice of the tests" in await elsewhere.goes("/")
    assert "Hello, bob of the tests" in await bob.goes("/")

    await elsewhere.goes(f"{site.oidc.issuer}/session/end")
    await elsewhere.ends_the_session_there()
    assert "Sign in to see them" in await elsewhere.goes("/")
    assert await site.store.names() == [entry_name(site.oidc.issuer, "bob")]
    assert "Hello, bob of the tests" in await bob.goes("/")
