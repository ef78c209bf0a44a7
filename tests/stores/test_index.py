"""The indexes of stores: whatever another program, an older SlyAPI or a crash left of them, no user is missed."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import redis.asyncio

from SlyAPI import OAuth2User
from SlyAPI.stores import (
    EncryptedStore,
    FileStore,
    MemoryStore,
    PostgresStore,
    RedisStore,
    SqliteStore,
    TokenStore,
    expiring,
)
from tests.support import servers

if TYPE_CHECKING:
    from tests.conftest import Clock

KEY = EncryptedStore.new_key()


@dataclass
class Kind:
    """A store, and how a program without an index writes its values, as SlyAPI did until now; None deletes."""

    store: TokenStore
    write: Callable[[str, str | None], Awaitable[None]]


@asynccontextmanager
async def files(request: pytest.FixtureRequest, folder: Path, prefix: str) -> AsyncGenerator[Kind, None]:
    store = FileStore(folder / "users")

    async def write(name: str, text: str | None) -> None:
        path = Path(store.path(name))
        path.parent.mkdir(exist_ok=True)
        if text is None:
            return path.unlink()
        path.with_suffix(".new").write_text(text)
        os.replace(path.with_suffix(".new"), path)

    yield Kind(store, write)


@asynccontextmanager
async def sqlite(request: pytest.FixtureRequest, folder: Path, prefix: str) -> AsyncGenerator[Kind, None]:
    store = SqliteStore(folder / "users.db")

    async def write(name: str, text: str | None) -> None:
        with closing(sqlite3.connect(store.path)) as database, database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = OFF")
            database.execute(
                "CREATE TABLE IF NOT EXISTS slyapi_users (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
            )
            if text is None:
                database.execute("DELETE FROM slyapi_users WHERE name = ?", (name,))
            else:
                database.execute("INSERT OR REPLACE INTO slyapi_users VALUES (?, ?)", (name, text))

    yield Kind(store, write)


@asynccontextmanager
async def postgres(request: pytest.FixtureRequest, folder: Path, prefix: str) -> AsyncGenerator[Kind, None]:
    server: servers.PostgresServer = request.getfixturevalue("postgres_server")
    old = f"""
        CREATE TABLE "{prefix}" (
            name text COLLATE "C" PRIMARY KEY,
            value text NOT NULL,
            saved_at timestamptz NOT NULL DEFAULT clock_timestamp());
        CREATE TABLE "{prefix}_locks" (
            name text COLLATE "C" PRIMARY KEY, holder text NOT NULL, until timestamptz NOT NULL, taken_from text);
        COMMENT ON TABLE "{prefix}" IS 'SlyAPI users, schema 1';
    """
    async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
        await connection.execute(old.encode())
        await connection.execute("SET synchronous_commit TO off")

        async def write(name: str, text: str | None) -> None:
            if text is None:
                await connection.execute(f'DELETE FROM "{prefix}" WHERE name = %s'.encode(), (name,))
                return
            query = (
                f'INSERT INTO "{prefix}" (name, value) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE '
                "SET value = excluded.value, saved_at = clock_timestamp()"
            )
            await connection.execute(query.encode(), (name, text))

        async with PostgresStore(server.url, table=prefix) as store:
            yield Kind(store, write)


@asynccontextmanager
async def in_redis(request: pytest.FixtureRequest, folder: Path, prefix: str) -> AsyncGenerator[Kind, None]:
    server: servers.RedisServer = request.getfixturevalue("redis_server")
    async with redis.asyncio.Redis.from_url(server.url) as client, RedisStore(server.url, f"{prefix}:") as store:

        async def write(name: str, text: str | None) -> None:
            key = f"{prefix}:user:{name}"
            await (client.delete(key) if text is None else client.set(key, text))

        yield Kind(store, write)


KINDS = {"files": files, "sqlite": sqlite, "postgres": postgres, "redis": in_redis}


@pytest.fixture(params=[*KINDS, "encrypted"])
async def kind(request: pytest.FixtureRequest, tmp_path: Path, prefix: str) -> AsyncGenerator[Kind, None]:
    async with KINDS.get(request.param, sqlite)(request, tmp_path, prefix) as made:
        if request.param == "encrypted":
            made.store = EncryptedStore(made.store, [KEY])
        yield made


def ending(clock: Clock, days: float | None) -> OAuth2User:
    now = datetime.fromtimestamp(clock(), UTC)
    ends = None if days is None else now + timedelta(days=days)
    return OAuth2User("T", "R", now + timedelta(hours=1), refresh_expires_at=ends)


async def text_of(kind: Kind, user: OAuth2User) -> str:
    """A user as another program writes one."""
    value: dict[str, Any] = user.to_dict()
    if isinstance(kind.store, EncryptedStore):
        scratch = EncryptedStore(MemoryStore(), [KEY])
        await scratch.save("alice", value)
        value = await scratch.store.load("alice")
    return json.dumps(value, separators=(",", ":") if len(value) % 2 else None)


async def found(store: TokenStore, clock: Clock, days: float = 7) -> list[str]:
    return sorted([entry.name async for entry, _ in expiring(store, days, clock=clock)])


async def migrated(store: TokenStore) -> None:
    if isinstance(store, PostgresStore | RedisStore):
        await store.migrate()


async def test_users_whom_a_slyapi_without_indexes_stored_are_found(kind: Kind, clock: Clock) -> None:
    name = "alice"  # of an encrypted value, the name is a part
    for days, expected in ((3, [name]), (10, []), (None, []), (-1, [name])):
        await kind.write(name, await text_of(kind, ending(clock, days)))
        await migrated(kind.store)
        assert await found(kind.store, clock) == expected
    assert await kind.store.count() == 1


async def test_what_a_program_without_indexes_changes_later_is_found(kind: Kind, clock: Clock) -> None:
    """So it is after a crash between the write of a value and that of its place in an index."""
    await migrated(kind.store)
    await kind.store.user("alice").save(ending(clock, 10))
    assert await found(kind.store, clock) == []
    for days, expected in ((3, ["alice"]), (10, []), (None, []), (3, ["alice"])):
        await kind.write("alice", await text_of(kind, ending(clock, days)))
        if isinstance(kind.store, RedisStore):
            await kind.store.migrate()  # else within a week
        assert await found(kind.store, clock) == expected
        await kind.store.user("bob").save(ending(clock, 5))
        assert await found(kind.store, clock) == sorted([*expected, "bob"])
        await kind.store.delete("bob")
    await kind.write("alice", None)
    assert await found(kind.store, clock) == []
    await migrated(kind.store)
    assert await kind.store.count() == 0


async def test_what_cannot_be_read_hides_nobody(kind: Kind, clock: Clock) -> None:
    await migrated(kind.store)
    await kind.store.user("alice").save(ending(clock, 1))
    for name, text in (("bob", "{"), ("carol", '["x"]'), ("dave", '{"token":["x"],"expires_at":7}'), ("eve", "")):
        await kind.write(name, text)
    await migrated(kind.store)
    assert await found(kind.store, clock) == ["alice"]
    unnamed = {"eve"} if isinstance(kind.store, RedisStore) else set()  # the names are those of users with a text
    assert {*await kind.store.names()} == {"alice", "bob", "carol", "dave", "eve"} - unnamed


SPACES = ["", " ", "  ", "\t", "\n", "\r\n  "]


@pytest.mark.parametrize("seed", range(3))
async def test_whom_a_person_wrote_by_hand_is_found_however_the_json_is_spaced(
    kind: Kind, clock: Clock, seed: int
) -> None:
    if isinstance(kind.store, EncryptedStore):
        pytest.skip("nobody writes those by hand")
    choose = random.Random(seed)
    expected = []
    for number in range(40):
        days = choose.choice([3, 10, None])
        members = list(ending(clock, days).to_dict().items())
        if choose.random() < 0.3:
            choose.shuffle(members)

        odd = choose.randrange(len(members))  # those before it as we write them

        parts = []
        for place, (key, value) in enumerate(members):
            before, behind, ahead, after = choose.choices(SPACES if place >= odd else [""], k=4)
            parts.append(f"{before}{json.dumps(key)}{behind}:{ahead}{json.dumps(value)}{after}")
        await kind.write(f"user-{number}", f"{{{','.join(parts)}}}")
        expected += [f"user-{number}"] * (days == 3)
    await migrated(kind.store)
    assert await found(kind.store, clock) == sorted(expected)


@pytest.mark.parametrize("seed", range(2))
async def test_an_index_finds_whom_a_walk_finds(kind: Kind, clock: Clock, seed: int) -> None:
    """After any changes, by us and by others, pages and users of one moment included."""
    choose = random.Random(seed)
    await migrated(kind.store)
    ends: dict[str, float | None] = {}
    by_others = not isinstance(kind.store, EncryptedStore | RedisStore)
    for _ in range(60):
        name, days = f"user-{choose.randrange(30)}", choose.choice([None, -1, 0, 3, 7, 7.0001, 8, 400])
        what = choose.choice(["save", "replace", "delete", "write"] if by_others else ["save", "replace", "delete"])
        if what == "delete":
            await kind.store.delete(name)
            ends.pop(name, None)
            continue
        ends[name] = days
        if what == "write":
            await kind.write(name, await text_of(kind, ending(clock, days)))
        elif what == "save" or name not in await kind.store.names():
            await kind.store.user(name).save(ending(clock, days))
        else:
            await kind.store.user(name).replace(await kind.store.load(name), ending(clock, days))
        if choose.random() < 0.02:
            await found(kind.store, clock)
    for upto in (-2, 0, 7, 1000):
        expected = sorted(name for name, days in ends.items() if days is not None and days <= upto)
        assert await found(kind.store, clock, upto) == expected
    assert await kind.store.count() == len(ends)
    access = {name async for page in kind.store.ending("access", clock() + 3600, clock()) for name, _ in page}
    assert access == set(ends)
    assert {name async for page in kind.store.ending("access", clock() + 3599) for name, _ in page} == set()


@pytest.mark.slow
async def test_more_users_of_one_moment_than_a_page_holds_are_all_found(kind: Kind, clock: Clock) -> None:
    if isinstance(kind.store, EncryptedStore):
        pytest.skip("a text of each is as slow as it is unneeded here")
    names = [f"user-{number}" for number in range(450)]
    text = await text_of(kind, ending(clock, 3))
    for name in names:
        await kind.write(name, text)
    await kind.write("later", await text_of(kind, ending(clock, 4)))
    await migrated(kind.store)
    assert await found(kind.store, clock) == sorted([*names, "later"])
    assert await found(kind.store, clock, 3) == sorted(names)
    unread = json.dumps({"access_token": "T", "refresh_token_expires_in": 86_400})
    for name in names:
        await kind.write(name, unread)
    await migrated(kind.store)
    assert sorted([name for page in [p async for p in kind.store.ending("refresh", 0)] for name, _ in page]) == sorted(
        names
    )


async def test_of_an_encrypted_user_the_store_shows_the_ends_and_nothing_more(tmp_path: Path, clock: Clock) -> None:
    inner = SqliteStore(tmp_path / "users.db")
    user = ending(clock, 3)
    user.extra = {"plan": "secret-5EC9E7"}
    await EncryptedStore(inner, [KEY]).user("alice").save(user)
    shown = await inner.load("alice")
    times = {"expires_at": user.to_dict()["expires_at"], "refresh_expires_at": user.to_dict()["refresh_expires_at"]}
    assert shown.items() >= times.items()
    assert set(shown) == {"slyapi_encrypted", "key", "nonce", "data", *times}


# --- Redis ---


async def test_an_index_in_redis_that_cannot_be_written_refuses_no_save(
    redis_server: servers.RedisServer, prefix: str, clock: Clock
) -> None:
    async with redis.asyncio.Redis.from_url(redis_server.url) as client, RedisStore(redis_server.url, prefix) as store:
        await store.user("alice").save(ending(clock, 30))
        assert await found(store, clock) == []
        keys = {f"{prefix}ends:access", f"{prefix}ends:refresh"}
        for key in keys:
            await client.delete(key)
            await client.set(key, "of another program")
        await store.user("alice").save(ending(clock, 1))
        assert await store.user("alice").load() == ending(clock, 1)
        await client.delete(*keys)
        await store.migrate()
        assert await found(store, clock) == ["alice"]


@pytest.mark.posix
async def test_a_server_that_loses_nothing_it_confirmed_loses_no_place_in_an_index(prefix: str, clock: Clock) -> None:
    with servers.redis() as server:
        async with RedisStore(server.url, prefix) as store:
            assert await found(store, clock) == []
            for number in range(30):
                await store.user(f"user-{number}").save(ending(clock, number))
            server.restart(kill=True)
            assert await found(store, clock) == sorted(f"user-{number}" for number in range(8))
