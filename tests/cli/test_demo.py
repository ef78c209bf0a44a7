"""demo: the practice provider and a user of it, in a few lines and a few seconds."""
from __future__ import annotations

import shlex
import stat
import time
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from tests.support.folders import listed
from tests.support.place import Place, failure, secrets_in

pytestmark = pytest.mark.slow


@pytest.fixture
def bare(place: Place) -> Place:
    """A place with nothing in it and no browser."""
    (place.folder / "app.json").unlink()
    del place.env["BROWSER"]
    return place


async def test_without_a_browser_it_consents_says_so_and_leaves_what_it_made(bare: Place) -> None:
    started = time.monotonic()
    ended = await bare.runs("demo")
    assert time.monotonic() - started < 15
    assert (ended.code, ended.out) == (0, "")
    for words in ("the demo consents by itself", "slyapi-demo/app.json", "slyapi-demo/user.json", "refreshed"):
        assert words in ended.err
    assert len(ended.err.splitlines()) <= 20
    folder = bare.folder / "slyapi-demo"
    assert listed(folder) == ["app.json", "provider.json", "user.json", "weather.py"]
    modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in (".", "app.json", "user.json")}
    assert modes == {".": 0o700, "app.json": 0o600, "user.json": 0o600}
    assert not secrets_in(bare, ended.err)

    again = await bare.starts("slyapi-demo/weather.py")
    forecast = await again.ends()
    assert (forecast.code, forecast.err) == (0, "")
    assert "Monday" in forecast.out
    shown = await bare.runs("show", "slyapi-demo/user.json")
    assert "weather.read notes" in shown.out


async def test_its_commands_can_be_copied_whatever_the_folders_name(bare: Place) -> None:
    ended = await bare.runs("demo", "--folder", "a place of mine")
    run, show = (shlex.split(line) for line in ended.err.splitlines()[-2:])
    assert run == ["python", "a place of mine/weather.py"]
    assert show[-1] == "a place of mine/user.json"


@pytest.mark.parametrize("decision", ["allow", "deny"])
async def test_a_person_with_a_browser_decides_on_the_page(place: Place, decision: str) -> None:
    place.browser.follows = False
    child = await place.slyapi("demo", "--folder", "here")
    link = await place.browser.asked()
    assert parse_qs(urlsplit(link).query)["client_id"] == ["practice-client"]
    async with aiohttp.ClientSession() as session:
        async with session.get(link) as page:
            text = await page.text()
        ticket = text.partition('name="ticket" value="')[2].partition('"')[0]
        answer = {"ticket": ticket, "decision": decision}
        async with session.post(f"{link.partition('/authorize')[0]}/consent", data=answer) as page:
            assert page.status == (200 if decision == "allow" else 403)
    ended = await child.ends()
    if decision == "allow":
        assert ended.code == 0
        assert "consents by itself" not in ended.err
    else:
        failure(place, ended, 4, "access_denied", "The files made so far are in here.", talk=True)


async def test_a_folder_in_use_is_left_alone(bare: Place) -> None:
    (bare.folder / "mine").mkdir()
    (bare.folder / "mine" / "file").write_text("")
    failure(bare, await bare.runs("demo", "--folder", "mine"), 2, "mine", "--folder")
    failure(bare, await bare.runs("demo", "--folder", "/dev/null/x"), 2, "/dev/null/x", "--folder")
    assert [path.name for path in (bare.folder / "mine").iterdir()] == ["file"]
