"""A fleet: eight processes of four tasks that share users at a practice provider, and someone who watches."""
from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp

from SlyAPI import OAuth2App, OAuth2User, SlyError
from SlyAPI.oauth2.messages.authorization_code import read_redirect
from SlyAPI.stores import PostgresStore, StoredUser
from tests.end_to_end.fleet.clients import TASKS, entries

HERE = Path(__file__).parent
SIZE = 8
REDIRECT_URI = "http://127.0.0.1:8080"
STOPS_WITHIN = 30.0
"""Seconds; a client that waits for a lock which nobody frees does not (`LOCK_TIMEOUT` is longer)."""

Child = asyncio.subprocess.Process


@dataclass
class Fleet:
    """What the processes did, as they told it."""

    provider: Child
    clients: Child
    users: list[StoredUser]
    pause: float
    running: set[int] = field(default_factory=set[int])
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    calls: int = 0
    failures: list[str] = field(default_factory=list[str])
    slowest: float = 0.0
    kills: int = 0
    report: dict[str, Any] = field(default_factory=dict[str, Any])
    looks: int = 0
    broken: list[str] = field(default_factory=list[str])

    async def hear(self) -> None:
        assert self.clients.stdout is not None
        async for line in self.clients.stdout:
            word, _, rest = line.decode().strip().partition(" ")
            if word == "ok":
                self.calls += 1
                self.slowest = max(self.slowest, float(rest))
            elif word == "failed":
                self.failures.append(rest)
            else:
                pid, _, code = rest.partition(" ")
                async with self.news:
                    if word == "died" and int(pid) in self.running:  # not by our hand, and not at its end
                        self.failures.append(f"client {pid} died by itself: {code}")
                    (self.running.add if word == "pid" else self.running.discard)(int(pid))
                    self.news.notify_all()

    async def start(self) -> None:
        """One more client; returns when it is there."""
        assert self.clients.stdin is not None
        before = set(self.running)
        self.clients.stdin.write(b"start\n")
        async with self.news:
            await self.news.wait_for(lambda: self.running - before)

    async def kill_one_and_replace_it(self, within: float) -> None:
        """Kills in the midst of a refresh, if there is one `within` so many seconds, else anywhere."""
        end = time.monotonic() + within
        while not (refreshing := self.running & holders_of_locks()) and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        await asyncio.sleep(random.uniform(0, 0.07) if refreshing else 0)  # a refresh takes about so long
        victim = random.choice(sorted(refreshing or self.running))
        self.running.discard(victim)
        with suppress(ProcessLookupError):  # we hear of it
            os.kill(victim, signal.SIGKILL)
        self.kills += 1
        await self.start()

    async def stop(self) -> None:
        """Every client finishes its calls; afterwards `running` holds those that could not."""
        for pid in self.running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOPS_WITHIN), self.news:
                await self.news.wait_for(lambda: not self.running)
        self.report = await ask(self.provider)

    def watch(self, ended: threading.Event) -> None:
        """Reads what is stored all the time: it must always be a whole user."""
        while not ended.is_set():
            self.looks += 1
            try:
                if not asyncio.run(random.choice(self.users).load()).refresh_token:
                    self.broken.append("no refresh token")
            except SlyError as error:
                self.broken.append(str(error))
            time.sleep(self.pause)

    async def live(self) -> list[str]:
        """What the stored refresh tokens should be, of all users."""
        return sorted([digest((await user.load()).refresh_token) for user in self.users])

    def __str__(self) -> str:
        told = {key: value for key, value in self.report.items() if key != "live"}
        return (
            f"{self.calls} calls, {len(self.failures)} failed, slowest {self.slowest:.2f} s, {self.kills} kills, "
            f"{self.looks} looks, {len(self.broken)} broken; {json.dumps(told)}"
        )


def holders_of_locks() -> set[int]:
    """The processes that hold a `flock`, which here is the lock of a user who is being refreshed (proc(5))."""
    held = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return {int(fields[4]) for fields in held if fields[1] == "FLOCK"}


async def ask(child: Child) -> Any:
    assert child.stdin is not None
    child.stdin.write(b"\n")
    return await answer(child)


async def answer(child: Child) -> Any:
    assert child.stdout is not None
    return json.loads(await asyncio.wait_for(child.stdout.readline(), 30))


async def grant(app: OAuth2App) -> OAuth2User:
    url, verifier, challenge = app.auth_url_with_pkce(REDIRECT_URI, "state", "notes")
    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as reply:
        code = read_redirect(reply.headers["Location"], state="state" + challenge)
    return await app.exchange_code(code, verifier, "notes", REDIRECT_URI)


def digest(token: str | None) -> str:
    return sha256((token or "").encode()).hexdigest()


@asynccontextmanager
async def program(name: str, *arguments: object) -> AsyncGenerator[Child, None]:
    """One of the programs beside this file; ended with the block."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, str(HERE / name), *map(str, arguments)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,  # a report has the digest of each user's token
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), os.environ.get("PYTHONPATH", "")])},
    )
    try:
        yield child
    finally:
        assert child.stdin is not None
        child.stdin.close()
        try:
            async with asyncio.timeout(10):
                await child.wait()
        except TimeoutError:
            child.kill()


@asynccontextmanager
async def fleet(
    kind: str, folder: Path, settings: dict[str, Any], *between: float, url: str = "", users: int = 1
) -> AsyncGenerator[Fleet, None]:
    """A provider with `settings` (revoking at random `between` so many seconds), and a fleet that calls its API.

    `url` is that of the server of a store that is on one.
    """
    settings = {"client_secret": "secret", "redirect_uris": [REDIRECT_URI], **settings}
    places = {"file": folder / "user.json", "folder": folder / "users", "sqlite": folder / "users.db"}
    place, app_file = places.get(kind, url), folder / "app.json"
    async with program("provider.py", json.dumps(settings), *between, SIZE * TASKS) as provider:
        origin = (await answer(provider))["origin"]
        bound = settings.get("dpop") == "required"
        app = OAuth2App("practice-client", "secret", f"{origin}/authorize", f"{origin}/token", dpop=bound)
        app_file.write_text(json.dumps(app.to_dict()))
        shared = entries(kind, str(place), users)
        if isinstance(shared[0].store, PostgresStore):
            await shared[0].store.migrate()
        for user in shared:
            await user.save(await grant(app))
        async with program("clients.py", kind, place, users, app_file, f"{origin}/api") as clients:
            # a connection is made for each look; files cost less
            it = Fleet(provider, clients, shared, 0.1 if url else 0.002)
            hearing = asyncio.create_task(it.hear())
            ended = threading.Event()
            watching = asyncio.create_task(asyncio.to_thread(it.watch, ended))
            try:
                for _ in range(SIZE):
                    await it.start()
                yield it
            finally:
                ended.set()
                await watching
                hearing.cancel()
