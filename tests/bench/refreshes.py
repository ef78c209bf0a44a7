"""Token requests that are measured, each twice: as people write them by hand on aiohttp, and with SlyAPI.

The rule: by hand keeps the new tokens as safely as SlyAPI does, in a file that a crash leaves whole or in a
transaction, but takes no lock and does not load them again.
"""

import asyncio
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from SlyAPI import OAuth2, OAuth2App, OAuth2User
from SlyAPI.stores import SqliteStore
from tests.bench.driving import TOKEN, Call, Mode

FORM = {"grant_type": "refresh_token", "refresh_token": "refresh", "client_id": "id", "client_secret": "secret"}

Keep = Callable[[dict[str, Any]], None]
"""Writes new tokens; runs in a thread."""


async def _asked(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.post(f"{url}/token_now", data=FORM, headers={"Accept": "application/json"}) as reply:
        told = await reply.json()
    return {"token": told["access_token"], "refresh_token": "refresh", "expires_at": time.time() + told["expires_in"]}


def _hand(keeping: Callable[[Path], Keep] | None = None) -> Mode:
    @asynccontextmanager
    async def mode(url: str) -> AsyncGenerator[Call, None]:
        with tempfile.TemporaryDirectory() as folder:
            keep = keeping(Path(folder)) if keeping is not None else None
            async with aiohttp.ClientSession() as session:

                async def call() -> None:
                    user = await _asked(session, url)
                    if keep is not None:
                        await asyncio.to_thread(keep, user)

                yield call

    return mode


def _in_file(folder: Path) -> Keep:
    def keep(user: dict[str, Any]) -> None:
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
            json.dump(user, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, folder / "user.json")
        at = os.open(folder, os.O_RDONLY)
        os.fsync(at)
        os.close(at)

    return keep


def _in_sqlite(folder: Path) -> Keep:
    database = sqlite3.connect(folder / "users.db", check_same_thread=False, isolation_level=None)
    database.execute("CREATE TABLE users (name TEXT PRIMARY KEY, value TEXT)")

    def keep(user: dict[str, Any]) -> None:
        database.execute("INSERT OR REPLACE INTO users VALUES ('alice', ?)", (json.dumps(user),))

    return keep


@asynccontextmanager
async def _hand_alone(url: str) -> AsyncGenerator[Call, None]:
    async def call() -> None:
        async with aiohttp.ClientSession() as session:
            await _asked(session, url)

    yield call


def _app(url: str) -> OAuth2App:
    return OAuth2App("id", "secret", f"{url}/auth", f"{url}/token_now")


def _user() -> OAuth2User:
    return OAuth2User(TOKEN, "refresh", datetime(2001, 1, 1, tzinfo=UTC))


def _by_app(*, alone: bool) -> Mode:
    @asynccontextmanager
    async def mode(url: str) -> AsyncGenerator[Call, None]:
        async with aiohttp.ClientSession() as session:
            app, user = _app(url), _user()
            yield lambda: app.refresh(None if alone else session, user)

    return mode


def _by_oauth2(place: str) -> Mode:
    @asynccontextmanager
    async def mode(url: str) -> AsyncGenerator[Call, None]:
        with tempfile.TemporaryDirectory() as folder:
            async with aiohttp.ClientSession() as session:
                user: Any = _user()
                if place == "file":
                    user = Path(folder) / "user.json"
                    user.write_text(json.dumps(_user().to_dict()))
                elif place == "sqlite":
                    store = SqliteStore(Path(folder) / "users.db")
                    await store.save("alice", _user().to_dict())
                    user = store.user("alice")
                auth = OAuth2(_app(url), user)
                yield lambda: auth.refresh_now(session)

    return mode


TABLE = {
    "refresh": (_hand(), _by_app(alone=False)),
    "refresh_alone": (_hand_alone, _by_app(alone=True)),
    "refresh_memory": (_hand(), _by_oauth2("memory")),
    "refresh_file": (_hand(_in_file), _by_oauth2("file")),
    "refresh_sqlite": (_hand(_in_sqlite), _by_oauth2("sqlite")),
}
