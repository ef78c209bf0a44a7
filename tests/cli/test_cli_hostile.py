"""What a stranger chose is plain text on the terminal: every command, with hostile files and a hostile provider."""
from __future__ import annotations

import asyncio
import json
import shlex
import unicodedata
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from SlyAPI import OAuth2User
from SlyAPI.cli.commands import COMMANDS
from SlyAPI.cli.main import main
from SlyAPI.stores import SqliteStore
from tests.conftest import Serve
from tests.support.place import Place, place_at, redirect_uri_in, state_in

EVIL = "\x1b[2J\x1b]0;title\x07\r\x9b31mred\u202egnp\u2066\u200f\u2028\x00\x7f\u200bGranted."
"""Escape sequences, C1 controls, line ends, bidirectional and invisible marks."""
FILE_NAME = EVIL.replace("\x00", "") + ".json"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place, None]:
    async with place_at(tmp_path) as place:
        yield place


def harmless(text: str) -> None:
    """Only line ends, and characters that a terminal shows."""
    wrong = {c for c in text if c != "\n" and (unicodedata.category(c).startswith("C") or c in "\u2028\u2029")}
    assert not wrong, f"{wrong!r} in {text!r}"


@pytest.fixture
def here(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs commands in this process, which is quicker."""
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("BROWSER", "true")
    monkeypatch.setattr("sys.stdin", None)


async def runs_here(capsys: pytest.CaptureFixture[str], *argv: str) -> None:
    await asyncio.to_thread(main, argv)
    out, err = capsys.readouterr()
    harmless(out + err)
    assert "Internal error" not in err
    assert out + err


def hostile(value: Any) -> Any:
    """The same JSON with every text, and every key but ours, as a stranger would have it."""
    if isinstance(value, dict):
        return {key: hostile(item) for key, item in value.items()} | {f"secert{EVIL}": EVIL, f"auth_ur{EVIL}": 1}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return value + EVIL if isinstance(value, str) else value


def files_of(place: Place) -> list[dict[str, Any]]:
    """Client and user files in which one value each is hostile, and one where all are."""
    client = place.client(scopes=["a"], issuer="https://a.example", auth_params={"x": "y"}, client_auth="post")
    user = OAuth2User("T", "R", scopes=["notes"], requested_scopes=["notes", "b"]).to_dict()
    made = [hostile(whole) for whole in (client, user, {"key": "k", "secret": "s"}, {"installed": client})]
    for whole in (client, user):
        made += [whole | {key: hostile(value)} for key, value in whole.items()]
        made += [whole | {EVIL: 1, f"scopse{EVIL}": 1}]
    return made


COMMAND_LINES = [
    *(("show", "{f}"), ("token", "{f}", "{f}"), ("token", "app.json", "{f}"), ("refresh", "app.json", "{f}")),
    *(("revoke", "app.json", "{f}"), ("revoke", "{f}", "user.json"), ("scaffold", "new.json", "--from", "{f}")),
    *(("grant", "{f}", "user.json", "--timeout", "0.1"), ("grant", "oauth1", "{f}", "user.json")),
    ("grant", "app.json", "{f}", "--if-needed", "--timeout", "0.1"),
    *(("scaffold", "{f}", "--blank"), ("scaffold", "{f}", "--blank", "--force")),
    *(("call", "{f}", "http://127.0.0.1:1"), ("call", "app.json", "{f}", "http://127.0.0.1:1")),
    ("call", "{f}", "user.json", "http://127.0.0.1:1", "--verbose"),
    *(("doctor", "{f}", "user.json"), ("doctor", "app.json", "{f}", "--refresh"), ("doctor", "{f}", "--json")),
]


@pytest.mark.posix
@pytest.mark.parametrize("words", COMMAND_LINES, ids=" ".join)
@pytest.mark.usefixtures("here")
async def test_hostile_files_are_shown_as_plain_text(
    place: Place, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for content in files_of(place):
        place.client()
        place.user(expires_at="2001-01-01T00:00:00Z")
        place.writes(FILE_NAME, content)
        await runs_here(capsys, *(word.format(f=FILE_NAME) for word in words))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("here")
async def test_hostile_arguments_are_shown_as_plain_text(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    word = FILE_NAME.removesuffix(".json")
    flags = {
        "scaffold": ("--provider", "--issuer", "--from", "--secret-file", "--auth-uri", "--redirect-uri", "--id"),
        "grant": ("--app", "--user", "--redirect-uri", "--bind", "--param", "--port", "--timeout", "--client-auth"),
        "call": ("--data", "--header", "--items", "--output", "--store", "--name"),
        "demo": ("--folder",),
    }.get(command, ("--store", "--name", "--expiring"))
    for argv in ((word,), (word, word), (f"--{word}",), *((flag, word) for flag in flags)):
        if (command, argv) in [("demo", (word,)), ("demo", ("--folder", word))]:
            continue  # it would run
        await runs_here(capsys, command, *argv)


async def test_a_strangers_line_end_forges_no_line_of_a_result(place: Place) -> None:
    for text in ("a\nuser file:   good.json", "a\r\nb", "a\u2028b", "a\x0bb"):
        place.writes("user.json", OAuth2User("T", scopes=[text, "ok"], requested_scopes=[text, "more"]).to_dict())
        lines = (await place.runs("show", "user.json")).out.splitlines()
        assert [line.partition(":")[0] for line in lines] == [
            *("user file", "scopes", "not granted", "expires", "refreshable")
        ]


async def test_hostile_names_in_a_store_are_shown_as_plain_text(place: Place) -> None:
    name = EVIL.replace("\x00", "")
    await SqliteStore(place.folder / "users.db").user(name).save(OAuth2User("T", scopes=[EVIL, "ok"]))
    for argv in (("show",), ("show", "--name", name), ("show", "--name", name + "x")):
        ended = await place.runs(*argv, "--store", "sqlite:users.db")
        harmless(ended.out + ended.err)
        assert "red" in ended.out + ended.err


ANSWERS: dict[str, Any] = {
    "an error": {"error": EVIL, "error_description": EVIL, "error_uri": EVIL},
    "a grant that is over": {"error": "invalid_grant", "error_description": EVIL},
    "scopes": {"access_token": "new", "token_type": "Bearer", "scope": f"{EVIL} notes", "refresh_token": "R"},
    "a token": {"access_token": f"new{EVIL}", "token_type": "Bearer"},
    "a kind of token": {"access_token": "new", "token_type": EVIL},
    "a page": f"<h1>{EVIL}</h1>",
    "metadata": {"issuer": EVIL, "authorization_endpoint": EVIL, "token_endpoint": EVIL},
}


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.usefixtures("here")
async def test_a_hostile_provider_is_shown_as_plain_text(
    place: Place,
    serve: Serve,
    answer: str,
    status: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BROWSER", place.browser.command)

    async def handler(request: web.Request) -> web.StreamResponse:
        if isinstance(ANSWERS[answer], str):
            return web.Response(status=status, text=ANSWERS[answer], content_type="text/html")
        return web.json_response(ANSWERS[answer], status=status)

    server = await serve(handler)
    place.client(token_uri=f"{server.origin}/token", revoke_uri=f"{server.origin}/revoke", issuer=server.origin)
    for argv in (
        ("grant", "app.json", "user.json", "notes", "--force"),
        *(("token", "app.json", "user.json"), ("refresh", "app.json", "user.json"), ("show", "user.json")),
        ("doctor", "app.json", "user.json", "--refresh"),
        ("call", "app.json", "user.json", server.origin, "--paginate", "--verbose"),
        ("call", "app.json", "user.json", server.origin, "--output", "got", "--verbose"),
        *(("revoke", "app.json", "user.json"), ("scaffold", "new.json", "--force", "--issuer", server.origin)),
    ):
        if argv[0] != "show":
            place.user(expires_at="2001-01-01T00:00:00Z")
        await runs_here(capsys, *argv)


@pytest.mark.parametrize("name", ["error", "error_description", "error_uri", "iss"])
async def test_a_hostile_redirect_is_shown_as_plain_text(place: Place, name: str) -> None:
    place.browser.follows = False
    child = await place.slyapi("grant", "app.json", "user.json", "notes")
    link = await place.browser.asked()
    query = {"error": "access_denied", "state": state_in(link), name: EVIL}
    words = "&".join(f"{key}={quote(value)}" for key, value in query.items())
    page = await place.browser.visits(f"{redirect_uri_in(link)}/?{words}")
    ended = await child.ends()
    assert ended.code == 4
    harmless(ended.err + page.text)


async def test_a_command_to_copy_stays_one_command_whatever_a_file_is_called(place: Place) -> None:
    name = "a;touch ran #$(touch ran)'.json"
    ended = await place.runs("scaffold", name, "--blank")
    assert shlex.split(ended.err.splitlines()[-1])[-2] == name  # and the user file
    ended = await place.runs("token", "absent;touch ran.json", "user.json")
    assert shlex.split(ended.err.partition("python -m SlyAPI ")[2])[:2] == ["grant"] or ended.code == 3
    assert json.loads((place.folder / name).read_text())
