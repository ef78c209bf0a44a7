"""A native program's login in this machine's browser: what the program gets, and what the browser then shows."""
from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from SlyAPI.errors import ConfigError, IdentityError
from SlyAPI.oauth2 import OAuth2App, browser_consent
from tests.support.stand_in_browser import stand_in_browser

if TYPE_CHECKING:
    from tests.conftest import Practise

LOOPBACK = "http://127.0.0.1/"
"""Registered for any port (RFC 8252 §7.3)."""


@pytest.mark.parametrize("dpop", [False, True], ids=["bearer", "dpop with nonces"])
@pytest.mark.parametrize("pushed", [False, True], ids=["begun", "pushed"])
async def test_a_login_of_a_native_program_ends_in_its_own_browser(
    practise: Practise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pushed: bool, dpop: bool
) -> None:
    proofs: dict[str, Any] = {"dpop": "required", "dpop_nonces": True} if dpop else {}
    practice = await practise(client_secret=None, redirect_uris=[LOOPBACK], require_par=pushed, **proofs)
    async with stand_in_browser(tmp_path) as browser:
        monkeypatch.setenv("BROWSER", browser.command)
        app = await OAuth2App.discover(practice.provider.origin, "practice-client", dpop=dpop)
        async with browser_consent() as page:
            if pushed:
                login = await app.push_login(page.redirect_uri, "notes", now=practice.clock())
            else:
                login = app.begin_login(page.redirect_uri, "notes", now=practice.clock())
            user = await app.finish_login(login, await page.ask(login), now=practice.clock())
        shown = await browser.page()
    assert (shown.status, user.scopes) == (200, ["notes"])
    assert (user.token_type, user.dpop_key is not None) == (("DPoP", True) if dpop else ("Bearer", False))


async def test_a_signed_response_is_the_redirect_of_its_login(
    practise: Practise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    practice = await practise(client_secret=None, redirect_uris=[LOOPBACK], openid=True, signed_responses=True)
    async with stand_in_browser(tmp_path) as browser:
        browser.follows = False
        monkeypatch.setenv("BROWSER", browser.command)
        app = await OAuth2App.discover(practice.provider.origin, "practice-client", response_mode="jwt")
        async with browser_consent() as page:
            logins = [app.begin_login(page.redirect_uri, "notes", now=practice.clock()) for _ in range(2)]
            asking = asyncio.ensure_future(page.ask(logins[1]))
            await browser.asked()
            for forged in ("response=e30.e30.e30", "response=x", "response=a&response=b"):
                assert (await browser.visits(f"{page.redirect_uri}?{forged}")).status == 400
            assert (await browser.visits(logins[0].url)).status == 400  # of another attempt
            visit = asyncio.ensure_future(browser.visits(logins[1].url))
            user = await app.finish_login(logins[1], await asking, now=practice.clock())
        assert (await visit).status == 200
    assert user.scopes == ["notes"]


async def test_an_error_of_the_program_is_what_the_browser_shows(
    practise: Practise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    practice = await practise(client_secret=None, redirect_uris=[LOOPBACK])
    async with stand_in_browser(tmp_path) as browser:
        monkeypatch.setenv("BROWSER", browser.command)
        app = await OAuth2App.discover(practice.provider.origin, "practice-client")

        async def log_in() -> None:
            async with browser_consent() as page:
                login = app.begin_login(page.redirect_uri, "notes", now=practice.clock())
                await app.finish_login(login, await page.ask(login), now=practice.clock())
                raise IdentityError("This is the account of <somebody> else.")

        with pytest.raises(IdentityError):
            await log_in()
        shown = await browser.page()
    assert shown.status == 400
    assert "&lt;somebody&gt; else" in shown.text


async def test_where_no_browser_can_be_opened_nobody_waits(practise: Practise, monkeypatch: pytest.MonkeyPatch) -> None:
    practice = await practise(client_secret=None, redirect_uris=[LOOPBACK])
    monkeypatch.setenv("BROWSER", "w3m")
    app = await OAuth2App.discover(practice.provider.origin, "practice-client")
    async with browser_consent() as page:
        login = app.begin_login(page.redirect_uri, "notes")
        with pytest.raises(ConfigError) as caught:
            await page.ask(login)
    assert "grant" in caught.value.next_step


@pytest.mark.parametrize("forged", ["code=c&state=forged", "code=forged", "error=access_denied", "state="], ids=str)
async def test_a_redirect_of_another_attempt_does_not_end_a_pushed_login(
    practise: Practise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forged: str
) -> None:
    practice = await practise(client_secret=None, redirect_uris=[LOOPBACK], require_par=True)
    async with stand_in_browser(tmp_path) as browser:
        browser.follows = False
        monkeypatch.setenv("BROWSER", browser.command)
        app = await OAuth2App.discover(practice.provider.origin, "practice-client")
        async with browser_consent() as page:
            login = await app.push_login(page.redirect_uri, "notes", now=practice.clock())
            asking = asyncio.ensure_future(page.ask(login))
            url = await browser.asked()
            assert (await browser.visits(f"{page.redirect_uri}?{forged}")).status == 400
            visit = asyncio.ensure_future(browser.visits(url))
            user = await app.finish_login(login, await asking, now=practice.clock())
        assert (await visit).status == 200
    assert user.scopes == ["notes"]
