"""One user file shared by real processes: its lock, and grants that live through rotation."""
from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from SlyAPI import OAuth2User
from SlyAPI.errors import CredentialsError, CredentialsNotFoundError
from SlyAPI.stores import StoredUser, contract, user_file

if TYPE_CHECKING:
    from ..conftest import Practise

Spawn = Callable[..., Awaitable[asyncio.subprocess.Process]]

BEGINNING = """
import asyncio, json, os, signal, sys, time
from SlyAPI import OAuth2, WebAPI
from SlyAPI.stores import user_file

entry = user_file(sys.argv[1])

def say(word):
    print(word, flush=True)

async def told():
    await asyncio.to_thread(sys.stdin.readline)
"""
HOLD = """
async def main():
    say("asking")
    async with entry.lock():
        say("held")
        await told()
    say("free")
asyncio.run(main())
"""


@pytest.fixture
async def spawn() -> AsyncGenerator[Spawn, None]:
    """Starts a python with a program and arguments; none outlives the test."""
    started: list[asyncio.subprocess.Process] = []

    async def start(program: str, *arguments: str | Path) -> asyncio.subprocess.Process:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", BEGINNING + program, *map(str, arguments)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def hears(child: asyncio.subprocess.Process, word: str) -> None:
    assert child.stdout is not None
    assert (await asyncio.wait_for(child.stdout.readline(), 20)).decode().strip() == word


def tell(child: asyncio.subprocess.Process) -> None:
    assert child.stdin is not None
    child.stdin.write(b"\n")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "user.json"
    path.write_text(json.dumps(OAuth2User("T", "R").to_dict()))
    path.chmod(0o600)
    return path


async def is_free(entry: StoredUser, within: float = 0.06) -> bool:
    try:
        async with asyncio.timeout(within):
            async with entry.lock():
                return True
    except TimeoutError:
        return False


async def test_what_is_saved_is_loaded_and_is_for_its_owner_alone(path: Path) -> None:
    entry = user_file(path)
    assert (await entry.load()).token == "T"
    await entry.save(OAuth2User("new", "R2", extra={"note": "kept"}))
    assert await entry.load() == OAuth2User("new", "R2", extra={"note": "kept"})
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.listdir(path.parent) == ["user.json"]


async def test_a_missing_and_a_foreign_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsNotFoundError, match=r"user\.json"):
        await user_file(tmp_path / "user.json").load()
    (tmp_path / "app.json").write_text('{"id": "i", "secret": "very-secret", "auth_uri": "a", "token_uri": "t"}')
    with pytest.raises(CredentialsError) as caught:
        await user_file(tmp_path / "app.json").load()
    assert "very-secret" not in str(caught.value)


async def test_the_lock_shuts_out_other_processes_until_it_is_given_back(path: Path, spawn: Spawn) -> None:
    holder = await spawn(HOLD, path)
    await hears(holder, "asking")
    await hears(holder, "held")
    assert not await is_free(user_file(path))
    tell(holder)
    await hears(holder, "free")
    assert await is_free(user_file(path), 5)
    assert os.listdir(path.parent) == ["user.json"]


async def test_the_lock_shuts_out_other_tasks_of_the_same_process(path: Path) -> None:
    async with user_file(path).lock():
        assert not await is_free(user_file(path))
    assert await is_free(user_file(path))


async def test_processes_that_count_under_the_lock_lose_no_count(path: Path, spawn: Spawn) -> None:
    counter = path.with_name("counter")
    counter.write_text("0")
    program = """
async def main():
    for turn in range(20):
        async with entry.lock():
            count = int(open(sys.argv[2]).read())
            await asyncio.sleep(0)
            with open(sys.argv[2], "w") as file:
                file.write(str(count + 1))
            if turn % 5 == 0:
                await entry.save(await entry.load())  # the file is another one now
asyncio.run(main())
"""
    children = [await spawn(program, path, counter) for _ in range(4)]
    assert [await asyncio.wait_for(child.wait(), 30) for child in children] == [0] * 4
    assert counter.read_text() == "80"


async def test_the_lock_of_a_killed_process_frees_itself(path: Path, spawn: Spawn) -> None:
    holder = await spawn(HOLD, path)
    await hears(holder, "asking")
    await hears(holder, "held")
    waiting = asyncio.create_task(is_free(user_file(path), 20))
    assert not await is_free(user_file(path))
    holder.send_signal(signal.SIGKILL)
    assert await waiting


async def test_a_lock_won_on_a_file_that_was_replaced_meanwhile_is_won_again_on_the_new_one(
    path: Path, spawn: Spawn
) -> None:
    entry = user_file(path)
    async with entry.lock():
        waiter = await spawn(HOLD, path)
        await hears(waiter, "asking")
        await entry.save(OAuth2User("new", "R2"))
    await hears(waiter, "held")
    assert not await is_free(entry)
    tell(waiter)
    await hears(waiter, "free")
    assert await is_free(entry, 5)


async def test_a_lock_on_a_file_that_is_taken_away_keeps_nobody_waiting(path: Path, spawn: Spawn) -> None:
    holder = await spawn(HOLD, path)
    await hears(holder, "asking")
    await hears(holder, "held")
    os.unlink(path)
    assert await is_free(user_file(path), 5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_a_forked_child_keeps_no_lock_of_its_parents(path: Path, spawn: Spawn) -> None:
    program = """
async def main():
    async with entry.lock():
        child = os.fork()
        if child == 0:
            signal.pause()
    say("free")
    await told()
    os.kill(child, signal.SIGKILL)
asyncio.run(main())
"""
    parent = await spawn(program, path)
    await hears(parent, "free")
    try:
        assert await is_free(user_file(path), 5)
    finally:
        tell(parent)
        await asyncio.wait_for(parent.wait(), 20)


async def test_patience_with_a_lock_is_bounded(path: Path, spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = await spawn(HOLD, path)
    await hears(holder, "asking")
    await hears(holder, "held")
    monkeypatch.setattr(contract, "LOCK_PATIENCE", 0.05)
    assert await is_free(user_file(path), 20)


async def test_who_waits_for_the_lock_can_be_cancelled(path: Path, spawn: Spawn) -> None:
    holder = await spawn(HOLD, path)
    await hears(holder, "asking")
    await hears(holder, "held")
    waiting = asyncio.create_task(is_free(user_file(path), 20))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    tell(holder)
    await hears(holder, "free")
    assert await is_free(user_file(path), 5)


CALLING = """
app, user, url, seconds = sys.argv[2], sys.argv[1], sys.argv[3], float(sys.argv[4])

async def call(api, end):
    calls = 0
    while time.monotonic() < end:
        await api.get_json("/me")
        calls += 1
        await asyncio.sleep(0.02)
    return calls

async def main():
    api = WebAPI(OAuth2(app, user))
    api.base_url = url
    end = time.monotonic() + seconds
    say(min(await asyncio.gather(*(call(api, end) for _ in range(4)))) > 5)
asyncio.run(main())
"""


async def test_four_processes_of_four_tasks_share_one_user_file_without_one_reuse_or_failure(
    practise: Practise, spawn: Spawn, tmp_path: Path
) -> None:
    practice = await practise(access_token_lifetime=1.0, clock=time.time)
    practice.clock.now = time.time()
    path = await practice.granted_file()
    app = tmp_path / "app.json"
    app.write_text(json.dumps(practice.app.to_dict()))
    arguments = (path, app, practice.provider.api_url, "3.2")
    children = [await spawn(CALLING, *arguments) for _ in range(4)]
    for child in children:
        await hears(child, "True")
        assert await asyncio.wait_for(child.wait(), 20) == 0
    assert practice.provider.reuses == 0
    assert 2 <= practice.provider.refreshes <= 12
    assert practice.refreshes == practice.provider.refreshes  # none was refused
    assert OAuth2User.from_json_file(path).refresh_token
