"""The broker on the command line: programs that call an API with a pass, and never see a token."""
from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp
import pytest

from tests.support.brokered import serves, token_of, with_account
from tests.support.place import Place, failure, secrets_in

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM for another process")]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place, None]:
    async with with_account(tmp_path) as place:
        yield place


async def test_a_program_calls_with_the_pass_and_sees_no_token(place: Place) -> None:
    broker = await serves(place)
    async with broker.caller() as caller:
        async with caller.post("/notes", json={"text": "milk"}) as reply:
            assert (reply.status, await reply.json()) == (201, {"id": 1, "text": "milk"})
        async with caller.get("/notes?private=1") as reply:
            assert (await reply.json())["items"] == [{"id": 1, "text": "milk"}]
        async with caller.get("/forecast", params={"city": "Ås & Ø"}) as reply:
            assert (await reply.json())["city"] == "Ås & Ø"
        async with caller.delete("/notes") as reply:
            assert reply.status == 405, "the API's own refusal"
    broker.child.process.send_signal(signal.SIGTERM)
    ended = await broker.child.ends()
    assert (ended.code, ended.out) == (0, "")
    assert "GET /notes 200" in ended.err
    assert not secrets_in(place, ended.err)
    assert not [word for word in ("private", broker.secret, token_of(place)["token"], "Error") if word in ended.err]


async def test_a_token_that_the_api_refuses_is_renewed_underneath(place: Place) -> None:
    before = token_of(place)["token"]
    broker = await serves(place)
    place.provider.revoke_access_tokens()
    async with broker.caller() as caller:
        async with caller.post("/notes", json={"text": "milk"}) as reply:
            assert reply.status == 201
        place.provider.revoke_access_tokens()
        async with caller.post("/notes", json={"text": "x" * 100_000}) as reply:
            assert reply.status == 401, "too long to be sent again"
    assert token_of(place)["token"] != before
    assert place.provider.refreshes == 2


async def test_a_new_login_is_taken_up_and_a_logout_too(place: Place) -> None:
    broker = await serves(place)
    async with broker.caller() as caller:

        async def until(status: int) -> None:
            async with asyncio.timeout(60):
                while True:
                    async with caller.get("/notes") as reply:
                        if reply.status == status:
                            return
                    await asyncio.sleep(0.05)

        await until(200)
        assert (await place.runs("logout", "work")).code == 0
        await until(502)
        assert (await place.runs("login", "work", "notes")).code == 0
        await until(200)


async def test_ctrl_c_ends_it_in_order(place: Place) -> None:
    broker = await serves(place)
    await broker.child.presses_ctrl_c()
    ended = await broker.child.ends()
    assert (ended.code, ended.err.splitlines()[-1]) == (0, "The broker has ended.")
    with pytest.raises(aiohttp.ClientError):
        async with broker.caller() as caller, caller.get("/notes"):
            pass


async def test_a_unix_socket_is_its_users_alone_and_takes_any_host(place: Place) -> None:
    broker = await serves(place, "--socket", "broker.sock")
    path = place.folder / "broker.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    connector = aiohttp.UnixConnector(str(path))
    async with aiohttp.ClientSession("http://api", headers=broker.headers, connector=connector) as caller:
        async with caller.get("/notes") as reply:
            assert reply.status == 200
    failure(place, await place.runs("serve", "work", "--socket", "broker.sock"), 8, "another program uses it")
    await broker.child.presses_ctrl_c()
    assert (await broker.child.ends()).code == 0
    assert not path.exists()


async def test_the_socket_of_a_broker_that_was_killed_is_replaced_and_no_file(place: Place) -> None:
    first = await serves(place, "--socket", "broker.sock")
    first.child.process.kill()
    await first.child.ends()
    await serves(place, "--socket", "broker.sock")
    place.writes("notes.txt", "mine")
    failure(place, await place.runs("serve", "work", "--socket", "notes.txt"), 8, "there is a file already")


async def test_what_it_prints_is_an_environment(place: Place) -> None:
    child = await place.slyapi("serve", "work")
    assert child.process.stdout is not None
    lines = [(await child.process.stdout.readline()).decode() for _ in range(2)]
    assert [line.partition("=")[0] for line in lines] == ["API_URL", "API_PASS"]
    assert lines[0].startswith("API_URL=http://127.0.0.1:")


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("serve", "nobody"), 3, "no account nobody"),
        (("serve", "work", "--allow", "/notes"), 2, "METHOD:/path"),
        (("serve", "work", "--port", "1", "--socket", "x"), 2, "exclude each other"),
        (("exec", "work"), 2, "exec NAME -- PROGRAM"),
        (("exec", "work", "ls"), 2, "exec NAME -- PROGRAM"),
        (("exec", "work", "--", "./no-such-program"), 2, "could not be started"),
    ],
)
async def test_a_broker_that_cannot_be(place: Place, argv: tuple[str, ...], code: int, words: str) -> None:
    failure(place, await place.runs(*argv), code, words)


# --- exec ---

SHOW = "import os, json; print(json.dumps({n: v for n, v in os.environ.items() if n.startswith(('API_', 'SLYAPI_'))}))"
CALL = """
import json, os, urllib.request
asked = urllib.request.Request(os.environ["API_URL"] + "/notes", b'{"text": "from the child"}')
asked.add_header("Authorization", "Bearer " + os.environ["API_PASS"])
asked.add_header("Content-Type", "application/json")
print(json.load(urllib.request.urlopen(asked))["text"])
"""


async def test_a_child_calls_with_the_pass_in_its_environment_alone(place: Place) -> None:
    ended = await place.runs("exec", "work", "--", sys.executable, "-c", CALL)
    assert (ended.code, ended.out, ended.err) == (0, "from the child\n", "")
    told = await place.runs("exec", "work", "-v", "--", sys.executable, "-c", f"{CALL}\n{SHOW}")
    assert "POST /notes 201" in told.err
    variables = json.loads(told.out.splitlines()[1])
    assert variables["API_PASS"] not in told.err
    assert {"API_URL", "API_PASS", "SLYAPI_HOME"} == variables.keys()


async def test_a_child_is_not_told_where_tokens_are_kept(place: Place) -> None:
    place.env["SLYAPI_STORE_KEYS"] = "a-key-that-nobody-uses"
    ended = await place.runs("exec", "work", "--", sys.executable, "-c", SHOW)
    assert "a-key" not in ended.out + ended.err


@pytest.mark.parametrize("code", [0, 1, 3, 77, 255])
async def test_the_exit_code_is_the_childs(place: Place, code: int) -> None:
    program = f"import sys; print(sys.argv[1:]); sys.exit({code})"
    ended = await place.runs("exec", "work", "--read-only", "--", sys.executable, "-c", program, "--flag", "--", "a b")
    assert (ended.code, ended.out) == (code, "['--flag', '--', 'a b']\n")


WAITS = """
import os, signal, sys
def end(number, frame):
    os.write(1, f"{{number}}\\n".encode())
    os._exit(5)
signal.signal({number}, {handler})
print(os.environ["API_URL"], os.getpid(), flush=True)
while True:
    signal.pause()
"""


@pytest.mark.parametrize("handled", [True, False])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1"])
async def test_a_signal_reaches_the_child_which_ends_as_it_wants(place: Place, name: str, handled: bool) -> None:
    number = int(getattr(signal, name))
    program = WAITS.format(number=number, handler="end" if handled else "signal.SIG_DFL")
    child = await place.slyapi("exec", "work", "--", sys.executable, "-c", program)
    assert child.process.stdout is not None
    url, pid = (await asyncio.wait_for(child.process.stdout.readline(), 60)).decode().split()
    child.process.send_signal(number)
    ended = await child.ends()
    assert (ended.code, ended.out.strip()) == ((5, str(number)) if handled else (128 + number, ""))
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
    async with aiohttp.ClientSession() as caller:
        with pytest.raises(aiohttp.ClientConnectorError):
            await caller.get(url)


PRESSED = """
import os, signal, time
pressed = []
signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
print(os.environ["API_URL"], flush=True)
while not pressed:
    time.sleep(0.01)
time.sleep(0.3)
print("pressed", len(pressed), "times", flush=True)
"""


async def test_ctrl_c_at_a_terminal_reaches_the_child_once(place: Place) -> None:
    terminal = await place.terminal("exec", "work", "--", sys.executable, "-c", PRESSED)
    await terminal.says("http://127.0.0.1")
    terminal.presses("\x03")
    await terminal.says("pressed 1 times")
    assert await terminal.process.wait() == 0
