"""What a store's index of token ends costs a save: CPU of client and server together, with the index and without.

The rule: two places hold the same users, of which one has no index; both are saved to in turn, and the least of the
rounds counts. `python -m tests.bench.saves USERS SAVES ROUNDS` prints microseconds of a save in each store.
"""
from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from typing import Any

import psycopg
from psycopg import sql

from SlyAPI.stores import FileStore, PostgresStore, RedisStore, SqliteStore, TokenStore
from tests.bench.scale import at_once, cpu_seconds, fill, user
from tests.support import servers


class PlainRedisStore(RedisStore):
    """Sets the value, and no sorted set."""

    async def _put(self, connection: Any, name: str, text: str) -> None:
        await self._confirmed(connection, "redis.call('SET', KEYS[1], ARGV[1])", [self._key(name)], text)


@asynccontextmanager
async def pairs(users: int) -> AsyncGenerator[dict[str, tuple[TokenStore, TokenStore]], None]:
    """The stores without and with an index, each with as many users."""
    with tempfile.TemporaryDirectory() as folder, servers.redis() as cache, servers.postgres() as base:
        plain = PlainRedisStore(cache.url, "plain:"), PostgresStore(base.url, table="plain")
        async with plain[0], plain[1], RedisStore(cache.url) as in_redis, PostgresStore(base.url) as in_postgres:
            await plain[1].migrate()
            await in_postgres.migrate()
            made: dict[str, tuple[TokenStore, TokenStore]] = {
                "`FileStore`": (FileStore(f"{folder}/plain"), FileStore(f"{folder}/users")),
                "`SqliteStore`": (SqliteStore(f"{folder}/plain.db"), SqliteStore(f"{folder}/users.db")),
                "`RedisStore`": (plain[0], in_redis),
                "`PostgresStore`": (plain[1], in_postgres),
            }
            for each in made.values():
                for store in each:
                    await fill(store, 0, 100)
                    await fill(store, 100, users)
            [_ async for _ in made["`FileStore`"][1].ending("refresh", 0)]  # which makes the index of a folder
            with closing(sqlite3.connect(f"{folder}/plain.db")) as database:
                database.execute("DROP INDEX slyapi_users_ends")  # the object has seen its file, and makes no other
            async with await psycopg.AsyncConnection.connect(base.url, autocommit=True) as connection:
                found = "SELECT indexname FROM pg_indexes WHERE tablename = 'plain' AND indexname NOT LIKE '%_pkey'"
                for (name,) in await (await connection.execute(found)).fetchall():
                    await connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
            yield made


async def measured(users: int, saves: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds of CPU of one save, without and with the index."""
    least: dict[str, list[float]] = {}
    async with pairs(users) as made:
        for round_ in range(rounds):
            some = random.Random(round_).choices(range(users), k=saves)
            for title, each in made.items():
                for side, store in enumerate(each):
                    took = least.setdefault(title, [1e9, 1e9])
                    took[side] = min(took[side], await _cpu_of_a_save(store, some))
    return {title: (without, with_) for title, (without, with_) in least.items()}


async def _cpu_of_a_save(store: TokenStore, numbers: list[int]) -> float:
    began = cpu_seconds()
    await at_once(lambda number: store.save(f"user-{number}", user(number).to_dict()), numbers)
    return (cpu_seconds() - began) / len(numbers)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(measured(*map(int, sys.argv[1:])))))
