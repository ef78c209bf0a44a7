"""Eight processes of four tasks share users at a strict provider: no reuse, no failed call, nothing lost.

The provider revokes the whole grant if a rotated refresh token comes back, and takes 50 ms between the
rotation and its reply. `FLEET_SECONDS` says how long each test lets the fleet call (default 2).
"""
from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.fleet.clients import LEASE
from tests.end_to_end.fleet.fleet import SIZE, Fleet, ask, fleet
from tests.support import servers

pytestmark = pytest.mark.long

log = logging.getLogger(__name__)

SECONDS = float(os.environ.get("FLEET_SECONDS", "2"))
KILL_EVERY = 0.3
LEAST = 10
"""Calls a second that show that the fleet goes on, also on a busy machine."""
USERS = 1000 if SECONDS >= 60 else 40

SHORT: dict[str, Any] = {"access_token_lifetime": 1.0}
"""Tokens that live a second, and are due after nine tenths of it."""
REVOKING: dict[str, Any] = {"access_token_lifetime": 60.0, "revoke_old_access_token": True}
"""Tokens that would live long, but each refresh ends the one before it, and so does the provider, at random."""
BOUND: dict[str, Any] = {"dpop": "required", "dpop_nonces": True}
"""Tokens that are bound to the user's key, at servers that demand a nonce in each proof."""
BETWEEN = (0.4, 1.6)
"""Least and most seconds between two revocations; see `provider.py`."""


async def lock_is_free(it: Fleet) -> bool:
    async with asyncio.timeout(LEASE + 5), it.users[0].lock():
        return True


@pytest.fixture
def url(kind: str) -> Iterator[str]:
    """The server of the kind of store that is on one."""
    blocks: dict[str, Any] = {"redis": servers.redis, "postgres": servers.postgres}
    if kind not in blocks:
        yield ""
        return
    with blocks[kind]() as server:
        yield server.url


def told(it: Fleet, name: str) -> None:
    log.warning("%s, %g s: %s", name, SECONDS, it)  # `--log-cli-level=WARNING` shows it


@pytest.mark.parametrize("kind", ["file", "folder", "sqlite", "redis", "postgres"])
async def test_a_fleet_whose_tokens_live_a_second_never_fails_and_never_reuses(
    kind: str, url: str, tmp_path: Path
) -> None:
    async with fleet(kind, tmp_path, SHORT, url=url) as it:
        await asyncio.sleep(SECONDS)
        await it.stop()
    told(it, f"{kind}, tokens of a second")
    assert (it.failures[:5], it.broken[:5], it.running) == ([], [], set())
    assert it.report["reuses"] == 0
    assert it.report["outcomes"]["token: ok"] == it.report["refreshes"] + 1  # each refresh was asked for once
    assert it.report["refreshes"] <= SECONDS * 2 + 4
    assert it.report["live"] == await it.live()
    assert it.calls > LEAST * SECONDS
    assert await lock_is_free(it)


@pytest.mark.parametrize("kind", ["file", "sqlite", "redis", "postgres"])
async def test_a_fleet_whose_tokens_are_revoked_at_random_never_fails(kind: str, url: str, tmp_path: Path) -> None:
    async with fleet(kind, tmp_path, REVOKING, *BETWEEN, url=url) as it:
        await asyncio.sleep(SECONDS)
        async with asyncio.timeout(60):
            while not (await ask(it.provider))["revocations"]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await it.stop()
    told(it, f"{kind}, tokens revoked at random")
    assert (it.failures[:5], it.broken[:5], it.running) == ([], [], set())
    assert it.report["reuses"] == 0
    assert it.report["revocations"] >= 1
    assert it.report["refreshes"] <= it.report["revocations"] + 1
    assert it.report["live"] == await it.live()
    assert await lock_is_free(it)


@pytest.mark.parametrize("kind", ["file", "sqlite", "redis"])
async def test_a_fleet_whose_tokens_are_bound_to_a_key_never_fails(kind: str, url: str, tmp_path: Path) -> None:
    async with fleet(kind, tmp_path, {**REVOKING, **BOUND}, *BETWEEN, url=url) as it:
        before = (await it.users[0].load()).dpop_key
        await asyncio.sleep(SECONDS)
        async with asyncio.timeout(60):
            while (await ask(it.provider))["refreshes"] < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await it.stop()
    told(it, f"{kind}, bound tokens and nonces that end at random")
    assert (it.failures[:5], it.broken[:5], it.running) == ([], [], set())
    assert it.report["reuses"] == 0
    assert it.report["live"] == await it.live()
    assert (await it.users[0].load()).dpop_key == before is not None
    assert it.report["outcomes"]["api/me: use_dpop_nonce"] >= SIZE  # each process learned the API's nonce by itself
    assert await lock_is_free(it)


@pytest.mark.parametrize("kind", ["file", "sqlite", "redis", "postgres"])
async def test_a_fleet_loses_a_process_every_300_ms_and_goes_on(kind: str, url: str, tmp_path: Path) -> None:
    """The provider forgives the refresh token rotated last for half a minute, as real ones with a leeway do.

    It must: a process that dies between the provider's rotation and our save takes the only copy of the
    new refresh token along. Without the leeway no client can keep such a grant. On a server each holder that is
    killed costs a lease, and on a busy machine two or three in a row are killed.
    """
    async with fleet(kind, tmp_path, {**SHORT, "reuse_leeway": 30.0}, url=url) as it:
        async with asyncio.timeout(2 * SECONDS + 60):  # a busy machine starts processes slowly
            for _ in range(int(SECONDS / KILL_EVERY)):
                await asyncio.sleep(KILL_EVERY / 2)
                await it.kill_one_and_replace_it(KILL_EVERY / 2)
        await it.stop()
    told(it, f"{kind}, a process killed every {KILL_EVERY} s")
    assert (it.failures[:5], it.broken[:5], it.running) == ([], [], set())
    assert it.report["reuses"] == 0
    assert it.report["forgiven"] <= it.kills
    assert set(await it.live()) <= set(it.report["live"])
    assert it.kills == int(SECONDS / KILL_EVERY)
    assert it.calls > (SECONDS if url else LEAST * SECONDS)  # a killed one's lease on a server has to run out
    assert it.slowest < 20  # nobody's lock outlived him
    assert await lock_is_free(it)
    assert left_behind(tmp_path) == []
    if kind == "sqlite":
        assert sqlite3.connect(tmp_path / "users.db").execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("kind", ["sqlite", "redis", "postgres"])
async def test_a_fleet_shares_many_users(kind: str, url: str, tmp_path: Path) -> None:
    many: dict[str, Any] = {"access_token_lifetime": max(1.5, SECONDS / 8)}
    async with fleet(kind, tmp_path, many, url=url, users=USERS) as it:
        await asyncio.sleep(SECONDS)
        await it.stop()
    told(it, f"{kind}, {USERS} users")
    assert (it.failures[:5], it.broken[:5], it.running) == ([], [], set())
    assert it.report["reuses"] == 0
    assert it.report["outcomes"]["token: ok"] == it.report["refreshes"] + USERS
    assert sorted(it.report["live"]) == await it.live()
    assert it.calls > LEAST * SECONDS


def left_behind(folder: Path) -> list[str]:
    """Files that no program needs. Who dies amid a save may leave one, which is taken away a minute later."""
    known = ("app.json", "user.json", "users.db", "users.db-wal", "users.db-shm")
    left = [file for file in folder.iterdir() if file.name not in known and file.suffix != ".lock"]
    old = time.time() - 60 - 10  # the next new process that saves takes it away, and there is one every second or so
    return [file.name for file in left if file.stat().st_mtime < old or stat.S_IMODE(file.stat().st_mode) != 0o600]
