"""Another process, for what holds between processes: it runs a few lines, is heard, told, and killed."""
from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from SlyAPI import SlyError
from SlyAPI.stores import FileStore, SqliteStore, StoredUser, user_file

BEGINNING = """
import asyncio, json, os, random, signal, sys, threading, time
from SlyAPI import OAuth2, OAuth2App, OAuth2User, WebAPI
from SlyAPI.stores import FileStore, SqliteStore, store_at, user_file

kind, place = sys.argv[1:3]
stores = {"folder": FileStore, "sqlite": SqliteStore, "served": store_at}
entry = user_file(place) if kind == "file" else stores[kind](place).user("alice")

def say(word):
    os.write(1, f"{word}\\n".encode())

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
"""Takes the lock, and gives it back when told."""


Spawn = Callable[..., Awaitable["Other"]]
PLACES = {"file": "user.json", "folder": "users", "sqlite": "users.db"}
"""How a user of each kind of store is named in a folder."""


class Other:
    """A process of its own."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child

    async def says(self) -> str:
        """The next line."""
        assert self.child.stdout is not None
        return (await asyncio.wait_for(self.child.stdout.readline(), 30)).decode().strip()

    async def hears(self, *words: str) -> None:
        for word in words:
            assert await self.says() == word

    def tell(self) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(b"\n")

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.child.kill()
        await self.child.communicate()  # closes its pipes too

    async def ends(self) -> int:
        await asyncio.wait_for(self.child.communicate(), 30)
        assert self.child.returncode is not None
        return self.child.returncode


@asynccontextmanager
async def spawning() -> AsyncGenerator[Spawn, None]:
    """Runs a program with an entry (kind and place) and further arguments; none outlives the block."""
    started: list[Other] = []

    async def start(program: str, kind: str, place: Path | str, *arguments: object) -> Other:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", BEGINNING + program, kind, str(place), *map(str, arguments)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        started.append(Other(child))
        return started[-1]

    try:
        yield start
    finally:
        for other in started:
            await other.kill()


def entry_of(kind: str, place: Path) -> StoredUser:
    """What the other process calls `entry`."""
    if kind == "file":
        return user_file(place)
    return (FileStore(place) if kind == "folder" else SqliteStore(place)).user("alice")


async def is_free(entry: StoredUser, within: float = 0.06) -> bool:
    """Whether the lock can be had within so many seconds."""
    try:
        async with asyncio.timeout(within), entry.lock():
            return True
    except TimeoutError:
        return False


async def refused(call: Awaitable[object]) -> SlyError:
    """The error of ours that it ends in."""
    try:
        await call
    except SlyError as error:
        return error
    raise AssertionError("it was not refused")
