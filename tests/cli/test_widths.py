"""Every command on narrow and wide terminals: lines break at spaces, tables fit, addresses stay whole, bars go away."""
from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI.cli.arguments import parser_of
from SlyAPI.cli.call.byte_count import ByteCount
from SlyAPI.cli.commands import COMMANDS
from SlyAPI.flow.console import Console
from SlyAPI.flow.progress import Progress
from SlyAPI.flow.terminal import table, wrapped
from SlyAPI.testing import GRANT_TYPES
from tests.conftest import Clock, Serve
from tests.support.place import Place, place_at
from tests.support.terminal import Terminal

pytestmark = pytest.mark.slow

TYPED = ("new.json", "gihub", "github", "me")
WIDTHS = pytest.mark.parametrize("columns", [40, 200])


def check_lines(terminal: Terminal) -> None:
    """No line is longer than the terminal, unless a word of it is, or it is to be copied, or was typed."""
    for line in terminal.screen.splitlines():
        line = re.sub(r"(?<=: )\S+$", "", line) if line.endswith(TYPED) else line
        if len(line) > terminal.columns and not line.startswith(("    ", "python -m SlyAPI ")):
            longest = max(map(len, line.split()))
            assert longest > terminal.columns - 16, f"broken by the terminal: {line!r}"
    assert "Traceback" not in terminal.screen


async def ended(place: Place, columns: int, *argv: str, code: int = 0) -> Terminal:
    terminal = await place.terminal(*argv, columns=columns)
    assert await terminal.ends() == code, terminal.screen
    check_lines(terminal)
    return terminal


@WIDTHS
async def test_every_page_of_help(place: Place, columns: int) -> None:
    for argv in (["--help"], ["grant", "--help"]):
        page = await ended(place, columns, *argv)
        assert all(len(line) < 80 for line in page.shown)


@pytest.mark.parametrize("width", [40, 60, 79])
def test_every_help_page_fits(width: int) -> None:
    for command in COMMANDS:
        for line in parser_of(command, width).format_help().splitlines():
            assert len(line) <= width or " " not in line.strip(), (command, line)


@WIDTHS
async def test_the_wizard_that_writes_a_client_file(place: Place, columns: int) -> None:
    terminal = await place.terminal("scaffold", columns=columns)
    await terminal.says("[app.json]: ")
    terminal.types(TYPED[0])
    for answer in (*TYPED[1:], "hush-hush"):
        await terminal.says("blank: ")
        terminal.types(answer)
    assert await terminal.ends() == 0, terminal.screen
    check_lines(terminal)
    assert "    https://github.com/settings/developers" in terminal.screen


@WIDTHS
async def test_a_grant_shows_its_address_in_one_piece(place: Place, columns: int) -> None:
    terminal = await place.terminal("grant", "app.json", "user.json", "notes", "--no-browser", columns=columns)
    link = await terminal.line("/authorize?")
    assert (await place.browser.visits(link)).status == 200  # nothing of it is missing
    assert await terminal.ends() == 0
    check_lines(terminal)


@WIDTHS
async def test_results_that_a_person_reads(place: Place, columns: int, serve: Serve) -> None:
    scopes = [f"https://api.example/auth/{name}" for name in ("calendar.readonly", "contacts", "drive.metadata")]
    place.user(scopes=scopes, requested_scopes=[*scopes, "offline"], expires_at="2001-01-01T00:00:00+00:00")
    shown = await ended(place, columns, "show", "user.json")
    assert all(scope in shown.screen.split() for scope in scopes)
    place.client(secert="x")
    doctor = await ended(place, columns, "doctor", "app.json", "user.json", code=3)
    assert "client file" in doctor.screen
    for argv, code in (
        (["show", "absent.json"], 3),
        (["show", "--store", "sqlite:absent.db"], 3),
        (["grant", "app.json", "user.json", "--prot", "1"], 2),
        (["token", "app.json", "user.json"], 6),
        (["new", "weather"], 0),
    ):
        await ended(place, columns, *argv, code=code)


async def test_the_demo(place: Place) -> None:
    await ended(place, 40, "demo", "--no-browser")


@pytest.mark.parametrize(
    ("columns", "environment", "picture"),
    [
        (40, {}, True),
        (200, {}, True),
        (30, {}, False),
        (80, {"SLYAPI_PLAIN": "1"}, False),
        (80, {"TERM": "dumb"}, False),
    ],
    ids=["40", "200", "30", "plain", "dumb"],
)
async def test_a_picture_is_shown_where_it_fits(
    tmp_path: Path, columns: int, environment: dict[str, str], picture: bool
) -> None:
    settings = {"grant_types": GRANT_TYPES, "device_interval": 0.2, "device_code_lifetime": 60.0, "consent": "ask"}
    async with place_at(tmp_path, **settings) as place:
        place.env |= environment
        place.client(device_uri=f"{place.provider.origin}/device_authorization")
        terminal = await place.terminal("grant", "app.json", "user.json", "notes", "--device", columns=columns)
        await terminal.says("Ctrl-C stops")
        assert ("▀" in terminal.screen) is picture
        check_lines(terminal)
        if picture:
            await terminal.says("left")  # a bar, which is cleared
            assert any("min left" in line or "s left" in line for line in terminal.shown)
        for device in place.provider.devices.values():
            device.state = "allowed"
            device.person, device.decided_at = "ada", 0.0
        assert await terminal.ends() == 0, terminal.screen
        assert not any("left" in line for line in terminal.shown)
        assert ("\r" in terminal.raw.replace("\r\n", "")) is picture


# progress


async def slowly(request: web.Request) -> web.StreamResponse:
    """3 MB in 2.4 s; or, for /wait, a reply after that time."""
    if request.path == "/wait":
        await asyncio.sleep(2.4)
        return web.json_response({"sky": "sunny"})
    reply = web.StreamResponse(headers={"Content-Length": "3000000"})
    await reply.prepare(request)
    for _ in range(12):
        await reply.write(b"x" * 250_000)
        await asyncio.sleep(0.2)
    return reply


@pytest.mark.parametrize("columns", [40, 100])
@pytest.mark.parametrize(
    ("path", "words"), [("/file", "MB of 3.0 MB, "), ("/wait", "Waiting for 127.0.0.1 ... 1 s")], ids=["file", "wait"]
)
async def test_what_takes_longer_than_a_second_is_shown_and_leaves_no_trace(
    place: Place, serve: Serve, columns: int, path: str, words: str
) -> None:
    server = await serve(slowly)
    place.user()
    place.env["NO_COLOR"] = "1"
    output = ["--output", "got.bin"] if path == "/file" else []
    terminal = await place.terminal("call", "user.json", f"{server.origin}{path}", *output, columns=columns)
    await terminal.says(words)
    (line,) = [line for line in terminal.shown if words in line]
    assert len(line) <= columns
    assert await terminal.ends() == 0
    left = [line for line in terminal.shown if line]
    assert left == (["got.bin was written."] if output else ["{", '  "sky": "sunny"', "}"])
    assert "\x1b[" not in terminal.raw.replace("\x1b[A", "")  # no colour


@pytest.mark.parametrize("environment", [{"SLYAPI_PLAIN": "1"}, {"PYTHONPATH": "without"}], ids=["plain", "no tqdm"])
async def test_nothing_moves_in_plain_text_and_without_the_extra(
    place: Place, serve: Serve, environment: dict[str, str]
) -> None:
    (place.folder / "without").mkdir()
    place.writes("without/tqdm.py", "raise ImportError")
    server = await serve(slowly)
    place.user()
    place.env |= environment
    terminal = await place.terminal("call", "user.json", f"{server.origin}/file", "--output", "got.bin")
    assert await terminal.ends() == 0
    assert terminal.raw == "got.bin was written.\r\n"


async def test_pipes_get_no_progress(place: Place, serve: Serve) -> None:
    server = await serve(slowly)
    place.user()
    ended = await place.runs("call", "user.json", f"{server.origin}/wait")
    assert (ended.code, json.loads(ended.out), ended.err) == (0, {"sky": "sunny"}, "")


class Watched(Console):
    """A terminal that cannot draw, and what was said there."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    @property
    def shows_progress(self) -> bool:
        return True

    def say(self, *lines: str, heading: str = "") -> None:
        self.said += lines


def test_where_no_bar_can_be_drawn_a_line_comes_every_ten_seconds(clock: Clock) -> None:
    console = Watched()
    with Progress(console, lines=True, clock=clock) as shown:
        count = ByteCount(shown)
        count.begin(60_000)
        for _ in range(60):
            clock.now += 0.5
            count.add(1000)
    assert console.said == ["20.0 kB of 60.0 kB, 33 %", "40.0 kB of 60.0 kB, 66 %", "60.0 kB of 60.0 kB, 100 %"]
    with Progress(console, clock=clock) as shown:
        clock.now += 60
        shown.show("4:00 min left")
    assert len(console.said) == 3


async def test_a_screen_reader_gets_sentences_in_one_column(place: Place) -> None:
    place.user(expires_at="2001-01-01T00:00:00+00:00")
    place.env["SLYAPI_PLAIN"] = "1"
    shown = await ended(place, 80, "show", "user.json")
    assert "scopes: notes" in shown.screen.splitlines()
    doctor = await ended(place, 80, "doctor", "app.json", "user.json", code=3)
    lines = doctor.screen.splitlines()
    assert "Wrong: mode: app.json has mode 0644: others may read it." in lines
    assert "To do: chmod 600 app.json" in lines
    assert doctor.screen.isascii()
    assert "\x1b" not in doctor.raw + shown.raw


# layout


@given(st.text("ab -", max_size=200), st.integers(20, 90))
def test_wrapping_only_turns_spaces_into_line_ends(line: str, width: int) -> None:
    pieces = wrapped(line, width)
    assert "".join(pieces).replace(" ", "") == line.replace(" ", "")
    assert all(word in line.split() for piece in pieces for word in piece.split())
    if not line.startswith(("    ", "python -m SlyAPI ")):
        assert all(len(piece) <= width or " " not in piece.strip() for piece in pieces)
    assert wrapped(line, None) == [line]


def test_a_command_and_an_address_stay_whole() -> None:
    command, address = "python -m SlyAPI grant --store URL", "https://issuer.example/a-b/c?d=e"
    lines = wrapped(f"Read {address} and then make a user in the store with: {command}", 40)
    assert [line for line in lines if address in line]
    assert [line for line in lines if command in line]


@pytest.mark.parametrize("width", [30, 40, 79, None])
def test_a_table_keeps_every_word(width: int | None) -> None:
    rows = [("scopes:", "https://api.example/auth/calendar notes"), ("expires:", "in 3 days"), ("", "a b " * 30)]
    lines = table(rows, 13, width)
    assert " ".join(lines).split() == " ".join(f"{label} {text}" for label, text in rows).split()
    if width is None:
        assert lines == [f"{label:<13}{text}" for label, text in rows]
    else:
        assert all(len(line) <= width or "https" in line for line in lines)
