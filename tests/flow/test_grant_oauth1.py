"""grant oauth1: the wizard and the flow against oauthlib's server, with a browser that is told the truth."""
from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import os
import stat
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web

from SlyAPI import OAuth1, OAuth1App, OAuth1User, TokenError
from SlyAPI.errors import DeniedError, GrantTimeoutError, ListenError, NetworkError
from SlyAPI.flow import grant_wizard
from SlyAPI.flow.console import Console, NoAnswerError
from SlyAPI.flow.grant import GrantOptions
from SlyAPI.flow.ways import grant_oauth1
from SlyAPI.flow.wizard import grant_oauth1_to_file
from SlyAPI.web.next_steps import PROGRAM
from tests.oauth1.conftest import api_of
from tests.support.oauth1_judge import CLIENT_KEY, CLIENT_SECRET, Judge
from tests.support.program import Desk, Ended
from tests.support.stand_in_browser import StandInBrowser, stand_in_browser


class Saved:
    """Saves users in memory."""

    def __init__(self) -> None:
        self.users: list[OAuth1User] = []

    async def __call__(self, user: OAuth1User) -> None:
        self.users.append(user)


class Quiet(Console):
    """A console at a pipe that notes what is said, and answers with the lines given."""

    def __init__(self, *typed: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.shown = asyncio.Event()
        self.typed = typed

    def say(self, *lines: str, heading: str = "") -> None:
        self.said += lines
        self.shown.set()

    async def lines(self) -> AsyncGenerator[str, None]:
        for line in self.typed:
            yield line


@pytest.fixture
async def judge() -> AsyncGenerator[Judge, None]:
    async with Judge(time.time).running() as judge:
        yield judge


@pytest.fixture
def app(judge: Judge) -> OAuth1App:
    uris = (f"{judge.origin}/{name}" for name in ("Request", "Authorize", "Access"))
    return OAuth1App(CLIENT_KEY, CLIENT_SECRET, *uris)


class Browser:
    """A person who consents (or does what `then` says), and the page that they end on."""

    def __init__(self, judge: Judge, answer: str = "") -> None:
        self.judge = judge
        self.answer = answer
        self.pages: list[tuple[int, str]] = []
        self.visits: set[asyncio.Task[None]] = set()

    async def open(self, url: str) -> bool:
        visit = asyncio.create_task(self._visit(url))
        self.visits.add(visit)
        return True

    async def _visit(self, url: str) -> None:
        async with aiohttp.ClientSession() as session:
            async with session.post(url, allow_redirects=False) as consented:
                landed = consented.headers["Location"]
            if self.answer:
                key = next(iter(self.judge.temporary))
                landed = f"{landed.partition('?')[0]}?{urlencode({name: value or key for name, value in self.pairs()})}"
            async with session.get(landed) as page:
                self.pages.append((page.status, await page.text()))

    def pairs(self) -> list[tuple[str, str]]:
        return [(name, value) for name, _, value in (pair.partition("=") for pair in self.answer.split("&"))]

    async def page(self) -> tuple[int, str]:
        await asyncio.gather(*self.visits)
        return self.pages[-1]


def options(browser: Browser, port: int = 0, **more: object) -> GrantOptions:
    return GrantOptions(port=port, open_page=browser.open, **more)  # type: ignore[arg-type]


@pytest.mark.posix
async def test_a_whole_grant_writes_a_user_that_signs(judge: Judge, app: OAuth1App, tmp_path: Path) -> None:
    browser, console, path = Browser(judge), Quiet(), tmp_path / "user.json"
    user = await grant_oauth1_to_file(app, path, options(browser), console)
    assert OAuth1User.from_json_file(path) == user
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    status, text = await browser.page()
    assert (status, "Connected" in text) == (200, True)
    assert await api_of(OAuth1(app, path), judge.origin).get_json("/A") == {"signed": True, "method": "HMAC-SHA1"}
    assert [request.path for request in judge.log] == ["/Request", "/Authorize", "/Access", "/A"]
    shown = " ".join(console.said) + text
    assert not [secret for secret in (CLIENT_SECRET, user.key, user.secret) if secret in shown]


async def test_parameters_of_the_persons_page_are_added(judge: Judge, app: OAuth1App, tmp_path: Path) -> None:
    browser = Browser(judge)
    await grant_oauth1_to_file(app, "-", options(browser, auth_params={"expiration": "never"}), Quiet())
    assert judge.log[1].query["expiration"] == "never"


async def test_a_pasted_address_or_code_is_taken(judge: Judge, app: OAuth1App) -> None:
    for code_alone in (False, True):
        console, saved = Quiet(), Saved()
        typed = asyncio.get_running_loop().create_future()

        async def lines(answer: asyncio.Future[str] = typed) -> AsyncGenerator[str, None]:
            yield "https://elsewhere.example/?oauth_token=forged&oauth_verifier=x"
            yield await answer

        console.lines = lines  # type: ignore[method-assign]
        how = GrantOptions(redirect_uri="oob" if code_alone else None, paste=True)
        granting = asyncio.create_task(grant_oauth1(app, how, console, saved))
        async with asyncio.timeout(30):
            await console.shown.wait()
        (key,) = judge.temporary
        async with aiohttp.ClientSession() as browser:
            async with browser.post(f"{app.authorize_uri}?oauth_token={key}", allow_redirects=False) as answer:
                landed = answer.headers.get("Location", "")
        typed.set_result(judge.temporary[key].verifier if code_alone else landed)
        assert [await granting] == saved.users
        assert any("not for this attempt" in line for line in console.said)


async def test_a_forged_redirect_does_not_end_the_grant(judge: Judge, app: OAuth1App, unused_port: int) -> None:
    class Forging(Browser):
        async def _visit(self, url: str) -> None:
            async with aiohttp.ClientSession() as session:
                forged = f"http://localhost:{unused_port}/?oauth_token=x&oauth_verifier=y"
                async with session.get(forged) as page:
                    self.pages.append((page.status, await page.text()))
            await super()._visit(url)

    browser, saved = Forging(judge), Saved()
    user = await grant_oauth1(app, options(browser, unused_port), Quiet(), saved)
    await browser.page()
    assert [status for status, _ in browser.pages] == [400, 200]
    assert saved.users == [user]


@pytest.mark.parametrize("answer", ["denied=", "oauth_token=&oauth_problem=user_refused"])
async def test_a_no_is_told_and_nothing_written(judge: Judge, app: OAuth1App, tmp_path: Path, answer: str) -> None:
    browser = Browser(judge, answer)
    with pytest.raises(DeniedError) as caught:
        await grant_oauth1_to_file(app, tmp_path / "user.json", options(browser), Quiet())
    assert caught.value.denied
    assert (await browser.page())[0] == 403
    assert not os.listdir(tmp_path)


async def test_a_refused_exchange_is_told_to_the_browser(judge: Judge, app: OAuth1App, tmp_path: Path) -> None:
    judge.answer = lambda request: web.Response(status=401) if request.path == "/Access" else None
    browser = Browser(judge)
    with pytest.raises(TokenError):
        await grant_oauth1_to_file(app, tmp_path / "user.json", options(browser), Quiet())
    assert (await browser.page())[0] == 400
    assert not os.listdir(tmp_path)


async def test_failures_before_the_page_open_nothing(app: OAuth1App, judge: Judge, unused_port: int) -> None:
    browser = Browser(judge)
    gone = OAuth1App("key", "secret", *(f"http://127.0.0.1:{unused_port}/{name}" for name in "abc"))
    with pytest.raises(NetworkError):
        await grant_oauth1(gone, options(browser), Quiet(), Saved())
    wrong = OAuth1App(CLIENT_KEY, "wrong", app.request_uri, app.authorize_uri, app.access_uri)
    with pytest.raises(TokenError):
        await grant_oauth1(wrong, options(browser), Quiet(), Saved())
    port = int(judge.origin.rpartition(":")[2])
    with pytest.raises(ListenError):
        await grant_oauth1(app, options(browser, port), Quiet(), Saved())
    assert not browser.visits


async def test_nobody_there_is_a_timeout_or_no_answer(judge: Judge, app: OAuth1App) -> None:
    with pytest.raises(GrantTimeoutError):
        await grant_oauth1(app, GrantOptions(port=0, browser=False, timeout=0.05), Quiet(), Saved())
    with pytest.raises(NoAnswerError):
        await grant_oauth1(app, GrantOptions(paste=True), Quiet(), Saved())


async def test_the_wizard_asks_for_two_files_and_shows_no_menu(
    app: OAuth1App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Scopes:
        notes = "notes"

    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.json").write_text(json.dumps(dataclasses.asdict(app)))
    monkeypatch.setattr("sys.stdin", io.StringIO("app.json\nuser.json\n"))
    await grant_wizard(Scopes, dry_run=True, kind="OAuth1")
    told = capsys.readouterr()
    assert told.out == ""
    assert "Would ask for access and write user.json" in told.err
    assert "scope" not in told.err.lower()


# the command line


@pytest.fixture
async def desk(app: OAuth1App, tmp_path: Path) -> AsyncGenerator[tuple[Desk, StandInBrowser], None]:
    """A folder with app.json, whose `$BROWSER` belongs to a person who consents."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "app.json").write_text(json.dumps(dataclasses.asdict(app)))
    async with stand_in_browser(tmp_path) as browser:
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8", "BROWSER": browser.command}
        desk = Desk(folder, env)
        yield desk, browser
        await desk.close()


async def runs(desk: Desk, *argv: str) -> Ended:
    return await (await desk.slyapi(*argv, stdin="nothing")).ends()


@pytest.mark.parametrize("form", [("grant", "oauth1"), ("oauth1-flow",)])
async def test_the_command_writes_a_user_that_signs(
    judge: Judge, desk: tuple[Desk, StandInBrowser], form: tuple[str, ...]
) -> None:
    place, browser = desk
    ended = await runs(place, *form, "app.json", "user.json", "--port", "0", "--json")
    assert (ended.code, json.loads(ended.out)) == (0, {"user": "user.json"}), ended.err
    assert (await browser.page()).status == 200
    auth = OAuth1(place.folder / "app.json", place.folder / "user.json")
    assert await api_of(auth, judge.origin).get_json("/A")
    assert not [secret for secret in (CLIENT_SECRET, auth.user.key, auth.user.secret) if secret in ended.err]


async def test_the_user_may_go_to_stdout(desk: tuple[Desk, StandInBrowser]) -> None:
    place, _ = desk
    ended = await runs(place, "grant", "oauth1", "app.json", "-", "--port", "0")
    assert ended.code == 0, ended.err
    assert OAuth1User.from_json_obj(json.loads(ended.out))


async def test_an_existing_user_is_kept_unless_forced(desk: tuple[Desk, StandInBrowser]) -> None:
    place, _ = desk
    place.writes("user.json", {"key": "k", "secret": "s"})
    words = ("grant", "oauth1", "app.json", "user.json", "--port", "0")
    assert (await runs(place, *words)).code == 9
    assert (await runs(place, *words, "--if-needed")).code == 0
    assert place.reads("user.json") == {"key": "k", "secret": "s"}
    assert (await runs(place, *words, "--force")).code == 0
    assert place.reads("user.json")["key"] != "k"


@pytest.mark.parametrize(
    ("more", "code", "word"),
    [
        (("user.json", "scope"), 2, "scope"),
        (("user.json", "--scope", "x"), 2, "scope"),
        (("user.json", "--client-auth", "basic"), 2, "--client-auth"),
        (("app.json",), 2, "the same file"),
        (("other-app.json",), 9, "an OAuth 1 client file"),
    ],
)
async def test_what_has_no_place_in_oauth_1_is_said_so(
    desk: tuple[Desk, StandInBrowser], more: tuple[str, ...], code: int, word: str
) -> None:
    place, browser = desk
    place.writes("other-app.json", {**place.reads("app.json"), "key": "other"})
    ended = await runs(place, "grant", "oauth1", "app.json", *more)
    assert (ended.code, ended.out) == (code, "")
    assert word in ended.err
    assert not browser.opened


async def test_a_template_that_is_not_filled_in_says_what_is_missing(desk: tuple[Desk, StandInBrowser]) -> None:
    place, _ = desk
    ended = await runs(place, "scaffold", "oauth1", "new.json")
    assert f"{PROGRAM} grant oauth1 new.json" in ended.err
    ended = await runs(place, "grant", "oauth1", "new.json", "user.json")
    assert (ended.code, "key missing" in ended.err) == (3, True)
