"""Bluesky at the AT Protocol's own servers (npm's @atproto/dev-env), with a person at a real browser.

The rule: the program is `docs/examples/bluesky.py`, or public names; what the server refuses is its own answer.
"""
from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import bluesky
import pytest
from aiohttp import web
from bluesky_identity import Directory
from playwright.async_api import Page

from SlyAPI import GrantEndedError, OAuth2, OAuth2App
from SlyAPI.errors import ApiError, DeniedError
from tests.end_to_end.atproto_server import HANDLES, PASSWORD, AtprotoServer, running_atproto
from tests.end_to_end.chromium import Person
from tests.support.other_hosts import session_with_hosts
from tests.testing.signing import ClientKey

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("atproto")]
T = TypeVar("T")

SCOPES = " ".join(bluesky.SCOPES)
KEY = ClientKey()
CALLBACK = "https://weather.slyapi.dev/callback"
NATIVE = OAuth2App("https://weather.slyapi.dev/native.json", None, "", "", dpop=True)
SITE = OAuth2App("https://weather.slyapi.dev/site.json", None, "", "", dpop=True, key=KEY.private_jwk, key_id=KEY.kid)
DOCUMENTS = {
    NATIVE.id: NATIVE.client_metadata(client_name="Weather", redirect_uris=["http://127.0.0.1/"], scopes=SCOPES),
    SITE.id: SITE.client_metadata(client_name="Weather", redirect_uris=[CALLBACK], scopes=SCOPES),
}


@pytest.fixture(scope="module")
def server() -> Iterator[AtprotoServer]:
    with running_atproto(DOCUMENTS) as running:
        yield running


@pytest.fixture
async def directory(server: AtprotoServer, tmp_path: Path) -> AsyncIterator[Directory]:
    """Finds the accounts of the server by their handles: the PDS is also the host of each."""

    async def handle_host(request: web.Request) -> web.Response:
        headers = {"Host": request.host}
        async with aiohttp.ClientSession() as pds, pds.get(f"{server.pds}{request.path}", headers=headers) as reply:
            return web.Response(status=reply.status, text=await reply.text())

    async with session_with_hosts(tmp_path, HANDLES, handle_host) as session:
        yield Directory(server.plc, "https://dns.test/resolve", session)


async def press(page: Page, button: str) -> None:
    await page.get_by_role("button", name=button, exact=True).click()


async def consents(person: Person, url: str, *, username: str | None = None, answer: str = "Authorize") -> Page:
    """Signs in and answers the consent page; `username` where the page does not know it."""
    page = (await person.visits(url)).page
    if username is not None:
        await press(page, "Sign in")
        await page.fill("input[name=username]", username)
    await page.fill("input[name=password]", PASSWORD)
    await press(page, "Sign in")
    await press(page, answer)
    return page


async def while_consenting(person: Person, program: Awaitable[T], **how: Any) -> tuple[T, str]:
    """The result of a program that opens the browser, and what the browser shows in the end."""
    running = asyncio.ensure_future(program)
    asked = asyncio.ensure_future(person.asked())
    await asyncio.wait([running, asked], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        asked.cancel()
        raise AssertionError(f"the program ended before it asked: {running.result()}")
    page = await consents(person, asked.result(), **how)
    result = await running
    await page.wait_for_url("**/done/**")
    return result, await page.inner_text("body")


@pytest.fixture(autouse=True)
def _browser(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER", person.env["BROWSER"])


async def test_the_example_signs_in_posts_reads_refreshes_and_signs_out(
    server: AtprotoServer, directory: Directory, person: Person, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(*words: str) -> str:
        await bluesky.main(words, directory, tmp_path)
        return capsys.readouterr().out

    said, shown = await while_consenting(person, run("login", "@Alice.test"))
    did = server.dids["alice.test"]
    assert (said, "Connected" in shown) == (f"Signed in as {did}.\n", True)
    for text in ("one", "two"):
        assert (await run("post", text)).startswith(f"at://{did}/app.bsky.feed.post/")
    assert await run("posts") == "two\none\n"

    kept = tmp_path / "bluesky-user.json"
    before = json.loads(kept.read_text())
    kept.write_text(json.dumps(before | {"expires_at": "2020-01-01T00:00:00Z"}))
    assert await run("post", "three")
    after = json.loads(kept.read_text())
    assert after["refresh_token"] != before["refresh_token"]
    assert {name: after[name] for name in ("sub", "pds", "dpop_key")} == {
        name: before[name] for name in ("sub", "pds", "dpop_key")
    }

    assert await run("logout") == "Signed out.\n"
    assert not kept.exists()
    kept.write_text(json.dumps(after))
    with pytest.raises((ApiError, GrantEndedError)):
        await run("post", "four")


async def test_a_login_that_begins_with_a_server_finds_out_whose_account_it_is(
    server: AtprotoServer, directory: Directory, person: Person
) -> None:
    (app, user), _ = await while_consenting(person, bluesky.log_in(server.pds, directory), username="bob.test")
    assert user.subject == server.dids["bob.test"]
    async with bluesky.Bluesky(OAuth2(app, user)) as api:
        assert await api.publish("Here is Bob.")


async def test_a_person_who_denies_has_given_nothing(
    server: AtprotoServer, directory: Directory, person: Person
) -> None:
    program = asyncio.create_task(bluesky.log_in(server.dids["alice.test"], directory))
    page = await consents(person, await person.asked(), answer="Deny access")
    with pytest.raises(DeniedError) as caught:
        await program
    await page.wait_for_url("**/done/**")
    assert caught.value.denied
    assert "Not connected" in await page.inner_text("body")


async def test_a_native_client_is_its_published_document(
    server: AtprotoServer, directory: Directory, person: Person
) -> None:
    (app, user), _ = await while_consenting(person, bluesky.log_in("alice.test", directory, NATIVE.id))
    assert (app.id, user.scopes) == (NATIVE.id, bluesky.SCOPES)
    assert (await app.refresh(None, user)).subject == user.subject


async def test_a_web_application_authenticates_by_the_key_in_its_document(
    server: AtprotoServer, person: Person
) -> None:
    app = await OAuth2App.discover(resource=server.pds, id=SITE.id, key=KEY.private_jwk, key_id=KEY.kid, dpop=True)
    login = await app.push_login(CALLBACK, SCOPES, login_hint=server.dids["alice.test"])
    async with person.context.expect_event("request", lambda asked: asked.url.startswith(CALLBACK)) as redirect:
        await consents(person, login.url)
    user = await app.finish_login(login.to_dict(), (await redirect.value).url)
    assert user.subject == server.dids["alice.test"]
    fresh = await app.refresh(None, user)
    user = replace(fresh, extra={**(fresh.extra or {}), "pds": server.pds})
    async with bluesky.Bluesky(OAuth2(app, user)) as api:
        assert await api.publish("From a site.")
    await app.revoke(user)
    with pytest.raises(GrantEndedError):
        await app.refresh(None, user)
