"""What a store's calls cost by asyncpg and by psycopg: `python -m tests.bench.drivers`, with asyncpg installed.

A real PostgreSQL on loopback that waits for no disk, so that the drivers are what differs. Prints the median of one
load and save, and of taking and freeing a lock, in ms; docs/architecture.md says what was chosen by it.
"""
from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

import psycopg

from tests.support import servers

ROUNDS = 3_000
VALUE = "v" * 600
STATEMENTS = {
    "load": "SELECT value FROM users WHERE name = $1",
    "save": "INSERT INTO users VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    "take": "INSERT INTO locks VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
    "free": "DELETE FROM locks WHERE name = $1 AND holder = $2",
}
TABLES = """
CREATE TABLE users (name text PRIMARY KEY, value text);
CREATE TABLE locks (name text PRIMARY KEY, holder text);
"""

Ask = Callable[..., Awaitable[object]]


async def median_ms(ask: Ask, first: tuple[str, ...], second: tuple[str, ...]) -> float:
    """The median of two statements one after the other."""
    spent: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await ask(*first)
        await ask(*second)
        spent.append(time.perf_counter() - began)
    return 1e3 * statistics.median(spent[ROUNDS // 10 :])


async def row(name: str, ask: Ask, load: Ask) -> None:
    await ask("save", "alice", VALUE)

    async def either(what: str, *values: str) -> object:
        return await (load if what == "load" else ask)(what, *values)

    users = await median_ms(either, ("load", "alice"), ("save", "alice", VALUE))
    locks = await median_ms(either, ("take", "alice", "holder"), ("free", "alice", "holder"))
    print(f"{name:<40} {users:>14.2f} {locks:>14.2f}")


async def by_asyncpg(name: str, url: str, **more: Any) -> None:
    asyncpg: Any = import_module("asyncpg")  # which no group of pyproject.toml installs
    connection = await asyncpg.connect(url, **more)
    await row(
        name,
        lambda what, *values: connection.execute(STATEMENTS[what], *values),
        lambda what, *values: connection.fetchval(STATEMENTS[what], *values),
    )
    await connection.close()


async def by_psycopg(name: str, url: str) -> None:
    texts = {what: text.replace("$1", "%s").replace("$2", "%s") for what, text in STATEMENTS.items()}
    # as `PostgresStore` has it: nothing is prepared, so that a pooler may stand between
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=None) as connection:

        async def load(what: str, *values: str) -> object:
            return await (await connection.execute(texts[what].encode(), values)).fetchone()

        await row(name, lambda what, *values: connection.execute(texts[what].encode(), values), load)


async def main() -> None:
    with servers.postgres("fsync=off") as server:
        async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
            await connection.execute(TABLES)
        print(f"{'ms':<40} {'load and save':>14} {'take and free':>14}")
        await by_asyncpg("asyncpg", server.url)
        await by_psycopg("psycopg, nothing prepared", server.url)
        await by_asyncpg("asyncpg, no prepared statement is kept", server.url, statement_cache_size=0)


if __name__ == "__main__":
    asyncio.run(main())
