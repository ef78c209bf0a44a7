"""The practice provider at a real browser: its consent page by itself, and in `demo`."""
from __future__ import annotations

from urllib.parse import urlencode

import pytest

from SlyAPI.redirect.loopback import Loopback, page
from SlyAPI.testing import PracticeProvider
from tests.end_to_end.chromium import Person
from tests.support.program import Desk

ASKED = {
    "response_type": "code",
    "client_id": "practice-client",
    "state": "a-state-of-some-length",
    "scope": "weather.read notes",
    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    "code_challenge_method": "S256",
}


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
@pytest.mark.parametrize("button", ["Allow", "Deny"])
async def test_the_answer_on_the_consent_page_arrives_at_the_app(person: Person, button: str, script: bool) -> None:
    browser = person.context.browser
    assert browser is not None
    context = await browser.new_context(java_script_enabled=script)
    provider = PracticeProvider(redirect_uris=["http://localhost/back"])
    async with provider.running(), await Loopback.open("http://localhost:0/back") as app:
        tab = await context.new_page()
        complaints: list[str] = []
        tab.on("console", lambda message: complaints.append(message.text))
        await tab.goto(f"{provider.authorize_url}?{urlencode({**ASKED, 'redirect_uri': app.redirect_uri})}")
        assert complaints == []  # its own style and icon pass its own policy
        await tab.get_by_role("button", name=button, exact=True).click(no_wait_after=True)
        redirect = await anext(app.redirects())
        assert ("code=" if button == "Allow" else "error=access_denied") in redirect.query
        await redirect.answer(200, page("Arrived", "", ok=True))
        await tab.wait_for_url("**/done/*")
        assert "code=" not in tab.url
    await context.close()


async def test_the_demo_asks_the_person_who_has_a_browser(person: Person, desk: Desk) -> None:
    demo = await desk.slyapi("demo", "--folder", "practice")
    consent = await person.visits(await person.asked())
    assert "SlyAPI demo" in consent.text
    await consent.page.get_by_role("button", name="Allow", exact=True).click()
    await consent.page.wait_for_url("**/done/*")
    assert "Connected" in await consent.page.title()
    ended = await demo.ends()
    assert ended.code == 0, ended.err
    assert "refreshed" in ended.err
    assert desk.reads("practice/user.json")["scopes"] == ["weather.read", "notes"]
    assert (await (await desk.starts("practice/weather.py")).ends()).out.startswith("Monday")
