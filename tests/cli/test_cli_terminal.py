"""The command line as a person has it: on a terminal, with prompts, hidden secrets and Ctrl-C at any moment."""
from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import AsyncGenerator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from tests.conftest import Serve
from tests.support.place import SECRET, Place, place_at, redirect_uri_in, secrets_in
from tests.support.program import until_it_waits
from tests.support.terminal import PIPE, Terminal

pytestmark = [pytest.mark.slow, pytest.mark.posix]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place, None]:
    async with place_at(tmp_path) as place:
        yield place


async def stopped(place: Place, terminal: Terminal, *words: str) -> None:
    """Ctrl-C ends the program at once, in one line, with nothing changed."""
    before = place.files()
    at = len(terminal.screen)
    await terminal.presses_ctrl_c()
    assert await terminal.ends() == 130
    said = [line for line in terminal.screen[at:].partition("\n")[2].splitlines() if line]
    assert len(said) == 1, said
    assert said[0].startswith("Stopped.")
    for word in words:
        assert word in said[0]
    assert "Traceback" not in terminal.screen
    assert place.files() == before


# grant


async def test_bare_grant_asks_with_defaults_and_ends_in_a_file(place: Place) -> None:
    terminal = await place.terminal("grant")
    await terminal.says("Client file [app.json]: ")
    terminal.types("")
    await terminal.says("User file to write [user.json]: ")
    terminal.types("")
    await terminal.says("Scopes, separated by spaces; Enter for none: ")
    terminal.types("notes  weather.read")
    await terminal.says("Granted. user.json was written")
    assert await terminal.ends() == 0
    assert place.reads("user.json")["scopes"] == ["notes", "weather.read"]
    assert not secrets_in(place, terminal.screen)


@pytest.mark.parametrize("prompt", ["Client file", "User file", "Scopes", "page here:"])
async def test_ctrl_c_at_each_question_of_grant(place: Place, prompt: str) -> None:
    place.browser.follows = False
    terminal = await place.terminal("grant")
    for question in ("Client file", "User file", "Scopes", "page here:"):
        await terminal.says(question)
        if question == prompt:
            break
        terminal.types("notes" if question == "Scopes" else "")
    await stopped(place, terminal)


async def test_ctrl_c_while_waiting_frees_the_port(place: Place) -> None:
    place.browser.follows = False
    before = place.user()
    terminal = await place.terminal("grant", "app.json", "user.json", "notes", "--force")
    await terminal.says("Paste the address")
    port = urlsplit(redirect_uri_in(await place.browser.asked())).port
    await stopped(place, terminal, "user.json was not changed")
    assert port is not None
    socket.create_server(("127.0.0.1", port)).close()
    assert place.reads("user.json") == before


async def test_ctrl_c_while_a_paste_is_waited_for(place: Place) -> None:
    terminal = await place.terminal("grant", "app.json", "user.json", "notes", "--paste")
    await terminal.says("Enter:")
    await stopped(place, terminal, "user.json was not written")


async def test_ctrl_c_during_the_exchange(place: Place, serve: Serve) -> None:
    asked = asyncio.Event()
    never = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.set()
        await never.wait()
        return web.Response()

    server = await serve(handler)
    place.client(token_uri=f"{server.origin}/token")
    terminal = await place.terminal("grant", "app.json", "user.json", "notes")
    await asked.wait()
    await stopped(place, terminal, "user.json was not written")
    never.set()


@pytest.mark.parametrize("command", ["refresh", "token"])
async def test_ctrl_c_during_a_refresh_keeps_its_tokens_or_ends_at_once_when_pressed_again(
    place: Place, serve: Serve, command: str
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.set()
        await go_on.wait()
        return web.json_response({"access_token": "new-token", "token_type": "Bearer"})

    server = await serve(handler)
    place.client(token_uri=f"{server.origin}/token")
    before = place.user(expires_at="2001-01-01T00:00:00Z")
    for again in (True, False):
        asked.clear()
        terminal = await place.terminal(command, "app.json", "user.json")
        await asked.wait()
        await terminal.presses_ctrl_c()
        await terminal.says("Waiting for the running refresh. Ctrl-C again stops at once.")
        if again:
            await terminal.presses_ctrl_c()
        else:
            go_on.set()
        assert await terminal.ends() == 130
        assert f"Stopped. user.json was {'not changed' if again else 'written'}." in terminal.screen
        assert "Traceback" not in terminal.screen
        assert place.reads("user.json")["token"] == (before["token"] if again else "new-token")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_service_manager_or_a_closed_terminal_during_a_refresh_loses_no_token(
    place: Place, serve: Serve, number: signal.Signals
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.set()
        await go_on.wait()
        return web.json_response({"access_token": "new-token", "token_type": "Bearer"})

    server = await serve(handler)
    place.client(token_uri=f"{server.origin}/token")
    place.user(expires_at="2001-01-01T00:00:00Z")
    terminal = await place.terminal("refresh", "app.json", "user.json")
    await asked.wait()
    await until_it_waits(terminal.process)
    terminal.process.send_signal(number)
    await terminal.says("Waiting for the running refresh.")
    go_on.set()
    assert await terminal.ends() == 130
    assert place.reads("user.json")["token"] == "new-token"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "words",
    [
        "doctor app.json",
        "scaffold new.json --issuer http://SERVER",
        "show --store redis://SERVER",
        "show --store redis://SERVER --name a",
        "token app.json --store redis://SERVER --name a",
        "revoke app.json user.json",
        "demo --no-browser --folder shown",
    ],
)
async def test_whatever_a_command_waits_for_such_a_signal_ends_it_as_ctrl_c_does(
    place: Place, words: str, number: signal.Signals
) -> None:
    asked = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        while await reader.read(1 << 16):
            pass
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        at = ":".join(map(str, server.sockets[0].getsockname()))
        place.client(token_uri=f"http://{at}/token", revoke_uri=f"http://{at}/revoke")
        place.user()
        terminal = await place.terminal(*words.replace("SERVER", at).split())
        if words.startswith("demo"):
            await terminal.says("Waiting 3 s")
        else:
            await asked.wait()
        await until_it_waits(terminal.process)
        terminal.process.send_signal(number)
        assert await terminal.ends() == 130
        assert "Stopped." in terminal.screen
        assert "Traceback" not in terminal.screen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize(
    ("words", "prompt"),
    [
        ("grant", "Client file"),
        ("grant app.json user.json", "Scopes"),
        ("scaffold new.json", "Provider"),
        ("scaffold app.json", "Overwrite"),
        ("scaffold new.json --id a --secret-file -", "Client secret"),
    ],
)
async def test_at_every_question_such_a_signal_leaves_the_terminal_as_it_was(
    place: Place, words: str, prompt: str, number: signal.Signals
) -> None:
    place.client()
    terminal = await place.terminal(*words.split())
    before = termios.tcgetattr(terminal._master)[3] | termios.ECHO
    await terminal.says(prompt)
    await until_it_waits(terminal.process)
    terminal.process.send_signal(number)
    assert await terminal.ends() == 130
    assert "Stopped." in terminal.screen
    assert termios.tcgetattr(terminal._master)[3] & termios.ECHO == before & termios.ECHO


IN_BACKGROUND = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.argv[0] = "slyapi"
from SlyAPI.__main__ import run
run()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_background_job_of_a_shell_ends_in_order(place: Place, number: signal.Signals) -> None:
    asked = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        at = ":".join(map(str, server.sockets[0].getsockname()))
        job = await asyncio.create_subprocess_exec(
            sys.executable, "-c", IN_BACKGROUND, "show", "--store", f"redis://{at}",
            cwd=place.folder, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await asked.wait()
        job.send_signal(number)
        _, err = await asyncio.wait_for(job.communicate(), 20)
    assert (job.returncode, err.decode().splitlines()[-1][:8]) == (130, "Stopped.")


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("YES", 0), ("n", 9), ("", 9)])
async def test_an_existing_file_is_asked_about_and_named_for_what_it_is(place: Place, answer: str, code: int) -> None:
    before = place.user()
    terminal = await place.terminal("grant", "app.json", "user.json", "notes")
    await terminal.says("user.json exists (a user file of SlyAPI). Replace it? (y/N): ")
    terminal.types(answer)
    assert await terminal.ends() == code
    assert (place.reads("user.json") == before) is (code == 9)


@pytest.mark.parametrize("typed", ["", "notes"])
async def test_a_grant_without_scopes_offers_those_of_the_file_that_it_replaces(place: Place, typed: str) -> None:
    await place.grants()
    terminal = await place.terminal("grant", "app.json", "user.json")
    await terminal.says("Replace it? (y/N): ")
    terminal.types("y")
    await terminal.says("Scopes, separated by spaces; Enter for these [weather.read notes]: ")
    terminal.types(typed)
    assert await terminal.ends() == 0
    assert place.asked["scope"] == (typed or "weather.read notes")


async def test_a_first_grant_without_scopes_asks_for_them_unless_the_client_file_has_some(place: Place) -> None:
    terminal = await place.terminal("grant", "app.json", "user.json")
    await terminal.says("Scopes, separated by spaces; Enter for none: ")
    terminal.types("notes")
    assert await terminal.ends() == 0
    assert place.asked["scope"] == "notes"
    place.client(scopes=["weather.read"])
    terminal = await place.terminal("grant", "app.json", "another.json")
    assert await terminal.ends() == 0
    assert "Scopes" not in terminal.screen
    assert place.asked["scope"] == "weather.read"


async def test_the_command_of_a_grant_that_ended_grants_again(place: Place) -> None:
    await place.grants()
    place.provider.end_all_grants()
    ended = await place.runs("refresh", "app.json", "user.json")
    (command,) = re.findall(r"python -m SlyAPI (grant .+)$", ended.err, re.M)
    terminal = await place.terminal(*command.split())
    await terminal.says("Replace it? (y/N): ")
    terminal.types("y")
    await terminal.says("Enter for these [weather.read notes]: ")
    terminal.types("")
    assert await terminal.ends() == 0
    assert (await place.runs("refresh", "app.json", "user.json")).code == 0


async def test_bare_a_no_keeps_the_file_before_anything_else_is_asked(place: Place) -> None:
    before = place.user()
    terminal = await place.terminal("grant")
    for answer in ("", "", "n"):
        await terminal.says(": ")
        terminal.types(answer)
    assert await terminal.ends() == 0
    assert "user.json was kept." in terminal.screen
    assert "Scopes" not in terminal.screen
    assert place.reads("user.json") == before


async def test_an_end_of_the_input_is_a_no_and_never_a_traceback(place: Place) -> None:
    place.user()
    terminal = await place.terminal("grant", "app.json", "user.json")
    await terminal.says("(y/N): ")
    terminal.presses_ctrl_d()
    assert await terminal.ends() == 9
    assert "Traceback" not in terminal.screen


async def test_a_paste_on_a_terminal_wins_against_the_listener(place: Place) -> None:
    place.browser.follows = False
    terminal = await place.terminal("grant", "app.json", "user.json", "notes")
    link = await place.browser.asked()
    await terminal.says("Paste the address of its last page here:")
    terminal.types("")
    terminal.types("http://localhost/?code=x&state=guessed")
    await terminal.says("Paste the address")
    terminal.types(link)
    await terminal.says("Paste the address")
    terminal.types(await place.browser.redirected(link))
    await terminal.says("Granted.")
    assert await terminal.ends() == 0


async def test_a_bare_code_is_taken_only_where_it_was_asked_for(place: Place) -> None:
    place.browser.follows = False
    terminal = await place.terminal("grant", "app.json", "user.json", "notes")
    await terminal.says("Paste the address")
    terminal.types("4/some-code-of-a-stranger")
    await terminal.says("Paste the address")
    assert not [seen for seen in place.provider.log if seen.endpoint == "token"]


async def test_a_browser_answers_while_the_person_could_paste(place: Place) -> None:
    terminal = await place.terminal("grant", "app.json", "user.json", "notes", "--no-browser")
    link = await terminal.line("/authorize?")
    await terminal.says("Paste the address")
    assert (await place.browser.visits(link)).status == 200
    assert await terminal.ends() == 0


async def test_the_question_after_a_grant_gets_the_first_line_that_is_typed(place: Place) -> None:
    await place.shell("git init -q")
    terminal = await place.terminal("grant", "app.json", "user.json", "notes")
    await terminal.says("Add /user.json to .gitignore? (y/N): ")
    terminal.types("y")
    assert await terminal.ends() == 0
    assert (place.folder / ".gitignore").read_text() == "/user.json\n"


async def test_json_on_a_terminal_still_asks_on_stderr_alone(place: Place) -> None:
    terminal = await place.terminal("grant", "--scope", "notes", "--json", stdout=PIPE)
    await terminal.says("Client file [app.json]: ")
    terminal.types("")
    await terminal.says("User file to write [user.json]: ")
    terminal.types("")
    assert json.loads(await terminal.written())["user"] == "user.json"
    assert await terminal.ends() == 0


# scaffold


async def test_scaffold_asks_and_does_not_show_the_secret(place: Place) -> None:
    terminal = await place.terminal("scaffold")
    for question, answer in (
        ("Client file to write [app.json]: ", "new.json"),
        ("Provider, or the https URL of an issuer; Enter to leave it blank: ", "discord"),
        ("Client id; Enter to leave it blank: ", "me"),
        ("Client secret (not shown); Enter to leave it blank: ", "hush-hush"),
    ):
        await terminal.says(question)
        terminal.types(answer)
    assert await terminal.ends() == 0
    assert "hush" not in terminal.screen
    assert "new.json was written (mode 0600)." in terminal.screen
    assert "python -m SlyAPI grant new.json" in terminal.screen
    assert place.reads("new.json")["secret"] == "hush-hush"


@pytest.mark.parametrize("prompt", ["Client file", "Provider", "Client id", "Client secret"])
async def test_ctrl_c_at_each_question_of_scaffold_leaves_the_terminal_as_it_was(place: Place, prompt: str) -> None:
    terminal = await place.terminal("scaffold")
    for question in ("Client file", "Provider", "Client id", "Client secret"):
        await terminal.says(question)
        if question == prompt:
            break
        terminal.types("new.json" if question == "Client file" else "")
    await terminal.says(": ")
    await stopped(place, terminal)


@pytest.fixture
def repository(place: Place) -> None:
    subprocess.run(["git", "init", "-q", place.folder], check=True)


@pytest.mark.usefixtures("repository")
async def test_ctrl_c_at_the_question_about_git_says_that_the_file_was_written(place: Place) -> None:
    terminal = await place.terminal("scaffold", "new.json", "--blank")
    await terminal.says("to .gitignore? (y/N): ")
    await stopped(place, terminal, "new.json was written.")


async def test_scaffold_asks_again_for_a_provider_that_it_does_not_know(place: Place) -> None:
    terminal = await place.terminal("scaffold")
    for question, answer in (
        ("Client file to write [app.json]: ", "new.json"),
        ("Provider, or the https URL of an issuer; Enter to leave it blank: ", "gihub"),
        ("Did you mean github?", ""),
        ("Provider, or the https URL of an issuer; Enter to leave it blank: ", "github"),
        ("Client id; Enter to leave it blank: ", "me"),
        ("Client secret (not shown); Enter to leave it blank: ", "hush-hush"),
    ):
        await terminal.says(question)
        if answer:
            terminal.types(answer)
    assert await terminal.ends() == 0
    assert "github.com" in place.reads("new.json")["auth_uri"]


async def test_a_secret_for_stdin_is_asked_for_and_not_shown_on_a_terminal(place: Place) -> None:
    terminal = await place.terminal("scaffold", "new.json", "--id", "me", "--secret-file", "-")
    await terminal.says("Client secret (not shown): ")
    terminal.types("hush-hush")
    assert await terminal.ends() == 0
    assert "hush" not in terminal.screen
    assert place.reads("new.json")["secret"] == "hush-hush"


async def test_scaffold_with_a_name_alone_asks_on_a_terminal(place: Place) -> None:
    terminal = await place.terminal("scaffold", "new.json")
    for question, answer in (
        ("Provider, or the https URL of an issuer; Enter to leave it blank: ", "login.example.com"),
        ("begins with https://", ""),
        ("Provider, or the https URL of an issuer; Enter to leave it blank: ", place.provider.origin),
        ("Client id; Enter to leave it blank: ", "me"),
        ("Client secret (not shown); Enter to leave it blank: ", "\n"),
    ):
        await terminal.says(question)
        if answer:
            terminal.types(answer.strip())
    assert await terminal.ends() == 0
    assert "Client file to write" not in terminal.screen
    assert "Fill in secret if the client has one" in terminal.screen
    assert place.reads("new.json")["token_uri"] == place.provider.token_url


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("", 9)])
async def test_a_filled_in_client_file_is_asked_about(place: Place, answer: str, code: int) -> None:
    terminal = await place.terminal("scaffold", "app.json", "--blank")
    await terminal.says("app.json already contains a client. Overwrite it? (y/N): ")
    terminal.types(answer)
    assert await terminal.ends() == code
    assert (place.reads("app.json")["secret"] == SECRET) is (code == 9)


# colour


@pytest.mark.parametrize(
    ("environment", "bold"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["colour", "NO_COLOR", "dumb"],
)
async def test_bold_where_the_terminal_wants_it(place: Place, environment: dict[str, str], bold: bool) -> None:
    place.env |= environment
    terminal = await place.terminal("grant", "app.json", "user.json", "notes")
    assert await terminal.ends() == 0
    assert ("\x1b" in terminal.raw) is bold


async def test_demo_on_a_terminal_stops_in_one_line(place: Place) -> None:
    terminal = await place.terminal("demo", "--no-browser")
    await terminal.says("Waiting 3 s")
    await terminal.presses_ctrl_c()
    assert await terminal.ends() == 130
    assert "Stopped. The files made so far are in slyapi-demo." in terminal.screen
    assert "Traceback" not in terminal.screen
