"""Many users, measured: memory for each, stores at up to 100,000, and all tokens expiring at once.

    python tests/bench/scale.py [--most 100000] [--write docs/scale.md]

Prints the tables, or puts them between the markers of a page. Starts Redis and PostgreSQL itself, with a disk that is
waited for. Takes some ten minutes and a few hundred MB.
"""
from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import sqlite3
import sys
import tempfile
import time
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import psycopg
import redis.asyncio
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[2]))

from SlyAPI import OAuth2, OAuth2App, OAuth2User, SlyError
from SlyAPI.stores import EncryptedStore, FileStore, PostgresStore, RedisStore, SqliteStore, TokenStore, expiring
from SlyAPI.web import Method, Request
from tests.bench import plot
from tests.support import servers
from tests.support.serving import served

SIZES = (100, 1_000, 10_000, 100_000)
AT_ONCE = 16
SAMPLE = 1_000
SEALED = 10_000
PROVIDER_SECONDS = 0.05
BEGIN, END = "<!-- measured: tests/bench/scale.py -->", "<!-- end -->"

Row = list[str]


def user(number: int, token: str = "access") -> OAuth2User:
    """A user as large as those of real providers, whose token expired long ago."""
    it = OAuth2User(f"{token}-{number:0>200}", f"refresh-{number:0>100}", datetime(2001, 1, 1, tzinfo=UTC))
    it.scopes = ["openid", "profile", "weather.read"]
    it.refresh_expires_at = datetime.fromtimestamp(time.time() + (number % 100) * 86_400, UTC)
    return it


def app_at(origin: str) -> OAuth2App:
    return OAuth2App("id", "secret", f"{origin}/authorize", f"{origin}/token", token_timeout=300.0)


# --- memory ---


def bytes_each(make: Callable[[int], object], count: int) -> float:
    """What one of `count` objects takes, with all that it alone holds."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    held = [make(number) for number in range(count)]
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / len(held)


def loaded(app: OAuth2App, store: TokenStore, number: int) -> OAuth2:
    auth = OAuth2(app, store.user(f"user-{number}"))
    auth.user = user(number)
    return auth


def memory_table(sizes: tuple[int, ...]) -> list[Row]:
    app, store = app_at("https://p.example"), FileStore("users")
    kinds: dict[str, Callable[[int], object]] = {
        "`OAuth2User`": user,
        "`OAuth2(app, store.user(name))`, not used yet": lambda number: OAuth2(app, store.user(f"user-{number}")),
        "the same, loaded": lambda number: loaded(app, store, number),
    }
    rows = [["bytes for each", *(f"{size:,} users" for size in sizes)]]
    for name, make in kinds.items():
        rows.append([name, *(f"{bytes_each(make, size):,.0f}" for size in sizes)])
    return rows


# --- stores ---


@asynccontextmanager
async def all_stores() -> AsyncGenerator[dict[str, TokenStore], None]:
    with tempfile.TemporaryDirectory() as folder, servers.redis() as cache, servers.postgres() as base:
        async with (
            RedisStore(cache.url) as in_redis,
            RedisStore(cache.url, prefix="sealed:") as sealed,
            PostgresStore(base.url) as in_postgres,
        ):
            await in_postgres.migrate()
            yield {
                "`FileStore`": FileStore(f"{folder}/users"),
                "`SqliteStore`": SqliteStore(f"{folder}/users.db"),
                "`RedisStore`": in_redis,
                "`PostgresStore`": in_postgres,
                "`EncryptedStore(RedisStore)`": EncryptedStore(sealed, [EncryptedStore.new_key()]),
            }


@contextmanager
def hasty() -> Iterator[None]:
    """Files are not waited for: the users that are only there to be many."""
    with mock.patch("os.fsync"), mock.patch("os.fdatasync"):
        yield


async def at_once(work: Callable[[int], Awaitable[object]], numbers: list[int]) -> float:
    """Seconds that the work takes for all numbers, `AT_ONCE` at a time."""
    left = iter(numbers)

    async def worker() -> None:
        for number in left:
            await work(number)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return time.perf_counter() - began


async def fill(store: TokenStore, first: int, last: int) -> None:
    """Users who are there only to be many; past the first hundred by the quickest way there is."""
    rows = [(f"user-{number}", json.dumps(user(number).to_dict())) for number in range(first, last)]
    if first and isinstance(store, SqliteStore):
        with closing(sqlite3.connect(store.path)) as database, database:
            database.executemany("INSERT INTO slyapi_users VALUES (?, ?)", rows)
    elif first and isinstance(store, RedisStore):
        async with redis.asyncio.Redis.from_url(store._url[0]) as client:
            for start in range(0, len(rows), 1000):
                await client.mset({f"{store.prefix}user:{name}": text for name, text in rows[start : start + 1000]})
    elif first and isinstance(store, PostgresStore):
        async with await psycopg.AsyncConnection.connect(store._dsn[0]) as connection:
            async with connection.cursor() as cursor, cursor.copy("COPY slyapi_users (name, value) FROM STDIN") as copy:
                for row in rows:
                    await copy.write_row(row)
    else:
        with hasty():
            await at_once(lambda n: store.save(f"user-{n}", user(n).to_dict()), list(range(first, last)))


async def store_tables(sizes: tuple[int, ...]) -> dict[str, list[Row]]:
    heads = {
        "loads": "loads in a second",
        "saves": "saves in a second",
        "names": "`names()`, seconds",
        "expiring": "`expiring(store, 7)`, seconds",
    }
    tables = {key: [[head, *(f"{size:,} users" for size in sizes)]] for key, head in heads.items()}
    async with all_stores() as stores:
        for title, store in stores.items():
            rows: dict[str, Row] = {key: [title] for key in heads}
            there = 0
            for size in sizes:
                if isinstance(store, EncryptedStore) and size > SEALED:  # it grows as the store within
                    for row in rows.values():
                        row.append("")
                    continue
                await fill(store, there, size)
                there = size
                for key, told in (await measured(store, size)).items():
                    rows[key].append(told)
                print(title, size, [row[-1] for row in rows.values()], file=sys.stderr, flush=True)
            for key, row in rows.items():
                tables[key].append(row)
    return tables


async def measured(store: TokenStore, size: int) -> dict[str, str]:
    some = random.Random(size).choices(range(size), k=SAMPLE)
    saving = await at_once(lambda n: store.save(f"user-{n}", user(n).to_dict()), some)
    loading = await at_once(lambda n: store.load(f"user-{n}"), some)
    began = time.perf_counter()
    assert len(await store.names()) == size
    naming = time.perf_counter() - began
    began = time.perf_counter()
    found = [entry async for entry, _ in expiring(store, 7)]
    looking = time.perf_counter() - began
    assert len(found) >= size // 20
    return {
        "loads": f"{SAMPLE / loading:,.0f}",
        "saves": f"{SAMPLE / saving:,.0f}",
        "names": f"{naming:.3f}",
        "expiring": f"{looking:.2f}",
    }


# --- all at once ---


class Endpoint:
    """A token endpoint that takes its time, and counts who is in it."""

    def __init__(self) -> None:
        self.inside = self.most = 0

    async def token(self, request: web.Request) -> web.Response:
        self.inside += 1
        self.most = max(self.most, self.inside)
        number = str((await request.post())["refresh_token"])[-20:]
        await asyncio.sleep(PROVIDER_SECONDS)
        self.inside -= 1
        return web.json_response({"access_token": f"new-{number}", "token_type": "Bearer", "expires_in": 3600})


@asynccontextmanager
async def endpoint() -> AsyncGenerator[tuple[Endpoint, str], None]:
    it, site = Endpoint(), web.Application()
    site.router.add_post("/token", it.token)
    async with served(site, backlog=4096) as origin:
        yield it, origin


async def stampede_table(counts: tuple[int, ...]) -> list[Row]:
    rows = [["all expire at once", *(f"{count:,} users" for count in counts)]]
    async with all_stores() as stores, endpoint() as (it, origin):
        for title in ("`FileStore`", "`RedisStore`", "`PostgresStore`"):
            row = [f"{title}: seconds, most at the provider, failed"]
            for count in counts:
                with hasty():
                    await fill(stores[title], 0, count)
                row.append(await stampede(stores[title], it, origin, count))
            rows.append(row)
    return rows


async def stampede(store: TokenStore, it: Endpoint, origin: str, count: int) -> str:
    app, it.most = app_at(origin), 0

    async def call(number: int) -> bool:
        request = Request(Method.GET, "https://api.example/")
        try:
            await OAuth2(app, store.user(f"user-{number}")).sign(None, request)
        except SlyError as error:
            print(title_of(error), file=sys.stderr)
            return False
        return request.headers["Authorization"].startswith("Bearer new-")

    began = time.perf_counter()
    good = await asyncio.gather(*(call(number) for number in range(count)))
    told = f"{time.perf_counter() - began:.1f}, {it.most}, {good.count(False)}"
    print(store, count, told, file=sys.stderr, flush=True)
    return told


def title_of(error: SlyError) -> str:
    return f"{type(error).__name__}: {error}"


# --- the page ---


def as_table(rows: list[Row]) -> str:
    head, *rest = rows
    lines = [head, ["---", *("---:" for _ in head[1:])], *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} processors ({cpu}), {memory:.0f} GiB, Python {platform.python_version()}"


async def report(most: int) -> str:
    sizes = tuple(size for size in SIZES if size <= most)
    tables = [memory_table(sizes), *(await store_tables(sizes)).values()]
    tables.append(await stampede_table(tuple(size for size in (100, 1_000, 5_000) if size <= most)))
    when = datetime.now(UTC).date()
    intro = f"`python tests/bench/scale.py --most {most}`, {when}, {machine()}, servers on the same machine:"
    return "\n\n".join([intro, *map(as_table, tables)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=SIZES[-1])
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    told = asyncio.run(report(arguments.most))
    if arguments.write is None:
        print(told)
        return
    page = arguments.write.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    arguments.write.write_text(f"{before}{BEGIN}\n{told}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    plot.write(arguments.write)


if __name__ == "__main__":
    main()
