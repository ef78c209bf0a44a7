"""Several processes with one user whose refresh token rotates, one of them ended by TerminateProcess every second."""
from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest

from SlyAPI import OAuth2App, OAuth2User
from SlyAPI.oauth2.messages.authorization_code import read_redirect
from SlyAPI.stores import StoredUser
from SlyAPI.testing import PracticeProvider
from tests.support.other_process import PLACES, entry_of

WORKER = Path(__file__).parent / "worker.py"
REDIRECT_URI = "http://127.0.0.1:8080"
SECONDS = 20.0
Child = asyncio.subprocess.Process


@dataclass
class Fleet:
    """The processes, and what they said."""

    provider: PracticeProvider
    app: OAuth2App
    entry: StoredUser
    command: list[str]
    running: list[Child] = field(default_factory=list[Child])
    hearing: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    calls: int = 0
    failures: list[str] = field(default_factory=list[str])
    kills: int = 0
    lost: list[str] = field(default_factory=list[str])
    """Kills between the provider's rotation and the save: the only copy of the new refresh token is gone."""

    async def start(self) -> None:
        child = await asyncio.create_subprocess_exec(*self.command, stdout=asyncio.subprocess.PIPE)
        assert child.stdout is not None
        assert (await asyncio.wait_for(child.stdout.readline(), 60)).split() == [b"started"]
        self.running.append(child)
        self.hearing.append(asyncio.create_task(self.hear(child.stdout)))

    async def hear(self, stdout: asyncio.StreamReader) -> None:
        async for line in stdout:
            word, _, rest = line.decode().strip().partition(" ")
            if word == "ok":
                self.calls += 1
            elif word == "failed":
                self.failures.append(rest)

    async def kill_one(self) -> None:
        """Ends one by TerminateProcess. If it had the only copy of a new token, the person signs in again."""
        victim = self.running.pop(random.randrange(len(self.running)))
        victim.kill()
        await victim.wait()
        self.kills += 1
        failed, reuses = len(self.failures), self.provider.reuses
        async with self.entry.lock():  # so that no refresh is in flight
            if not await self.is_live():
                self.lost.append(f"kill {self.kills}: {self.provider.reuses - reuses} reuses")
                await self.entry.save(await grant(self.app))
        if self.lost and self.lost[-1].startswith(f"kill {self.kills}:"):
            await asyncio.sleep(1)
            # of programs that sent the spent token before the person signed in
            self.failures[failed:] = [told for told in self.failures[failed:] if "GrantEndedError" not in told]

    async def is_live(self) -> bool:
        stored = sha256(((await self.entry.load()).refresh_token or "").encode()).hexdigest()
        known = self.provider.ledger.refresh_tokens.get(stored)
        return known is not None and known.state == "live"

    async def stop(self) -> None:
        for child in self.running:
            child.kill()
            await child.wait()
        await asyncio.gather(*self.hearing)


async def grant(app: OAuth2App) -> OAuth2User:
    url, verifier, challenge = app.auth_url_with_pkce(REDIRECT_URI, "state", "notes")
    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as reply:
        code = read_redirect(reply.headers["Location"], state="state" + challenge)
    return await app.exchange_code(code, verifier, "notes", REDIRECT_URI)


@asynccontextmanager
async def fleet(kind: str, folder: Path) -> AsyncGenerator[Fleet, None]:
    provider = PracticeProvider(
        client_secret="secret", redirect_uris=[REDIRECT_URI], consent="allow", access_token_lifetime=1.0
    )
    async with provider.running():
        app = OAuth2App("practice-client", "secret", provider.authorize_url, provider.token_url)
        (folder / "app.json").write_text(json.dumps(app.to_dict()))
        entry = entry_of(kind, folder / PLACES[kind])
        await entry.save(await grant(app))
        words = [sys.executable, WORKER, kind, folder / PLACES[kind], folder / "app.json", provider.api_url]
        it = Fleet(provider, app, entry, list(map(str, words)))
        try:
            yield it
        finally:
            await it.stop()


@pytest.mark.parametrize("kind", ["file", "sqlite"])
@pytest.mark.parametrize("size", [2, 8])
async def test_processes_that_are_ended_at_any_moment_lose_no_call_and_send_no_spent_token(
    kind: str, size: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with fleet(kind, tmp_path) as it:
        for _ in range(size):
            await it.start()
        starting = list[asyncio.Task[None]]()
        before, end = it.provider.refreshes, time.monotonic() + SECONDS
        while time.monotonic() < end:
            await asyncio.sleep(1)
            if it.running:
                starting.append(asyncio.create_task(it.start()))
                await it.kill_one()
        await asyncio.gather(*starting)
        refreshes, reuses = it.provider.refreshes - before, it.provider.reuses
        with capsys.disabled():
            told = f"{it.calls} calls, {len(it.failures)} failed, {refreshes} refreshes, {reuses} reuses"
            sys.stdout.write(f"\n{size} on {kind}: {told}, {it.kills} kills, {len(it.lost)} between reply and save\n")
    assert it.failures == []
    assert reuses == sum(int(lost.split()[2]) for lost in it.lost)
    assert it.calls > SECONDS
    assert refreshes > 5
