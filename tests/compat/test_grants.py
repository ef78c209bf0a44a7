"""`python -m SlySheets grant` and `python -m SlyYTDAPI grant`: on a terminal, through a pipe, and what may go wrong."""
from __future__ import annotations

import json
import socket
import stat
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.compat.conftest import Place, client_of
from tests.compat.google import CLIENT_SECRET, SHEETS, SHEETS_READONLY, YOUTUBE_MEMBERS, YOUTUBE_READONLY
from tests.support.stand_in_browser import StandInBrowser, stand_in_browser
from tests.support.terminal import Terminal

SCOPES = {"SlySheets": [SHEETS_READONLY, SHEETS], "SlyYTDAPI": [YOUTUBE_READONLY, YOUTUBE_MEMBERS]}
STORY = {"SlySheets": ("one_title", [{"answer": "Cities ü"}] * 2), "SlyYTDAPI": ("mine", None)}
both = pytest.mark.parametrize("library", SCOPES)


@pytest.fixture
async def browser(place: Place, tmp_path: Path) -> AsyncGenerator[StandInBrowser, None]:
    """A browser, and no user file yet; the client file is for a free port, as nobody may have 8080 here."""
    (tmp_path / "user.json").unlink()
    client = client_of(place.google)
    with socket.create_server(("localhost", 0)) as free:
        client["web"]["redirect_uris"] = [f"http://localhost:{free.getsockname()[1]}"]
    (tmp_path / "app.json").write_text(json.dumps(client))
    async with stand_in_browser(tmp_path) as it:
        yield it


async def grants(place: Place, browser: StandInBrowser, library: str, typed: str) -> tuple[int, str]:
    ended = await place.runs("-m", library, "grant", typed=typed, BROWSER=browser.command)
    assert "Traceback" not in ended.err
    assert CLIENT_SECRET not in ended.err + ended.out
    return ended.code, ended.err


async def works(place: Place, library: str) -> None:
    """The user file that was written is one that the library's own calls work with."""
    assert stat.S_IMODE((place.folder / "user.json").stat().st_mode) == 0o600
    story, expected = STORY[library]
    found = await place.tells(story)
    assert expected is None or found == expected


@both
async def test_on_a_terminal_the_scopes_are_a_menu(place: Place, browser: StandInBrowser, library: str) -> None:
    command = [str(place.python), "-W", "error", "-m", library, "grant"]
    terminal = await Terminal.runs(command, place.folder, place.env | {"BROWSER": browser.command})
    try:
        await terminal.says("app.json]: ")
        terminal.types("app.json")
        await terminal.says("user.json]: ")
        terminal.types("")
        menu = await terminal.says("Enter for all: ")
        assert all(scope in menu for scope in SCOPES[library])
        terminal.types("1,2")
        assert (await browser.page()).status == 200
        assert await terminal.ends() == 0, terminal.screen
        assert CLIENT_SECRET not in terminal.screen
    finally:
        await terminal.close()
    assert place.user()["scopes"] == SCOPES[library]
    await works(place, library)


@both
async def test_through_a_pipe(place: Place, browser: StandInBrowser, library: str) -> None:
    code, said = await grants(place, browser, library, "app.json\nuser.json\n1\n")
    assert code == 0, said
    assert place.user()["scopes"] == SCOPES[library][:1]
    if library == "SlySheets":
        await works(place, library)


@both
async def test_googles_desktop_client_gets_a_free_port(place: Place, browser: StandInBrowser, library: str) -> None:
    (place.folder / "app.json").write_text(json.dumps(client_of(place.google, "installed")))
    code, said = await grants(place, browser, library, "app.json\nuser.json\n\n")
    assert code == 0, said
    assert place.user()["scopes"] == SCOPES[library]


@both
async def test_a_user_file_is_kept_unless_yes(place: Place, browser: StandInBrowser, library: str) -> None:
    before = {"token": "kept", "refresh_token": "r", "expires_at": "2020-01-01T00:00:00Z", "token_type": "Bearer"}
    (place.folder / "user.json").write_text(json.dumps(before))
    code, said = await grants(place, browser, library, "app.json\nuser.json\nn\n")
    assert (code, place.user(), browser.opened) == (0, before, []), said
    code, said = await grants(place, browser, library, "app.json\nuser.json\ny\n1\n")
    assert code == 0, said
    assert place.user()["token"] != "kept"


@both
@pytest.mark.parametrize(
    ("typed", "words"),
    [("none.json\nuser.json\n", "does not exist"), ("app.json\nfolder\n", "folder"), ("user.json\nuser.json\n", "")],
)
async def test_a_wrong_file_is_a_message_and_a_code(
    place: Place, browser: StandInBrowser, library: str, typed: str, words: str
) -> None:
    (place.folder / "folder").mkdir()
    code, said = await grants(place, browser, library, typed)
    assert code != 0
    assert words in said
    assert browser.opened == []


@both
async def test_a_no_is_told_and_writes_nothing(place: Place, browser: StandInBrowser, library: str) -> None:
    place.google.provider.consent = "deny"
    code, said = await grants(place, browser, library, "app.json\nuser.json\n1\n")
    assert code != 0
    assert "access_denied" in said or "denied" in said.lower()
    assert not (place.folder / "user.json").exists()
    assert (await browser.page()).status in (200, 403)


@both
async def test_without_a_command_it_shows_its_help(place: Place, library: str) -> None:
    ended = await place.runs("-m", library)
    assert (ended.code, ended.err) == (0, "")
    assert library in ended.out
