"""Many users, measured: memory for each, stores at up to 100,000, and all tokens expiring at once.

    python tests/bench/scale.py [--most 100000] [--only memory stores fresh stampede] [--write docs/scale.md]

Prints the tables, or puts them between the markers of a page. Starts Redis and PostgreSQL itself, with a disk that is
waited for. Takes some ten minutes and a few hundred MB; `--only stores --most 1000000` takes half an hour and 10 GB.
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
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import psycopg
import redis.asyncio
from aiohttp import web
from psycopg import sql

sys.path.insert(0, str(Path(__file__).parents[2]))

from SlyAPI import OAuth2, OAuth2App, OAuth2User, SlyError, keep_fresh
from SlyAPI.stores import EncryptedStore, FileStore, PostgresStore, RedisStore, SqliteStore, TokenStore, expiring
from SlyAPI.stores.token_ends import score
from SlyAPI.web import Method, Request
from tests.bench import plot
from tests.support import servers
from tests.support.serving import served

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
AT_ONCE = 16
SAMPLE = 1_000
SEALED = 10_000
IN_MEMORY = 100_000
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
    sizes = tuple(size for size in sizes if size <= IN_MEMORY)
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
    texts = (json.dumps(user(number).to_dict(), separators=(",", ":")) for number in range(first, last))
    rows = [(f"user-{number}", text) for number, text in enumerate(texts, first)]
    if first and isinstance(store, SqliteStore):
        with closing(sqlite3.connect(store.path)) as database, database:
            database.executemany("INSERT INTO slyapi_users VALUES (?, ?)", rows)
    elif first and isinstance(store, RedisStore):
        async with redis.asyncio.Redis.from_url(store._url[0]) as client:
            for start in range(0, len(rows), 1000):
                some = rows[start : start + 1000]
                await client.mset({f"{store.prefix}user:{name}": text for name, text in some})
                for token, ends in (("access", "expires_at"), ("refresh", "refresh_expires_at")):
                    at = {name: datetime.fromisoformat(json.loads(text)[ends]).timestamp() for name, text in some}
                    scores = {name: float(score(end, name)) for name, end in at.items()}
                    await client.zadd(f"{store.prefix}ends:{token}", scores)
            await client.set(f"{store.prefix}ends:checked", 1)
    elif first and isinstance(store, PostgresStore):
        copying = sql.SQL("COPY {} (name, value) FROM STDIN").format(sql.Identifier(store.table))
        async with await psycopg.AsyncConnection.connect(store._dsn[0]) as connection:
            async with connection.cursor() as cursor, cursor.copy(copying) as copy:
                for row in rows:
                    await copy.write_row(row)
    elif first and isinstance(store, FileStore):
        for name, text in rows:
            Path(store.path(name)).write_text(text, encoding="utf-8")
    else:
        with hasty():
            await at_once(lambda n: store.save(f"user-{n}", user(n).to_dict()), list(range(first, last)))


async def store_tables(sizes: tuple[int, ...]) -> dict[str, list[Row]]:
    heads = {
        "loads": "loads in a second",
        "saves": "saves in a second",
        "names": "`names()`, seconds of CPU",
        "count": "`count()`, seconds of CPU",
        "expiring": "`expiring(store, 7)`, seconds of CPU until the first",
        "found": "`expiring(store, 7)`, microseconds of CPU for each user found",
    }
    tables = {key: [[head, *(f"{size:,} users" for size in sizes), "slope"]] for key, head in heads.items()}
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
                for key, figure in (await measured(store, size)).items():
                    rows[key].append(figure)
                print(title, size, [row[-1] for row in rows.values()], file=sys.stderr, flush=True)
            for key, row in rows.items():
                by_rate = key in ("loads", "saves")
                tables[key].append([*row, slope(sizes, row[1:], by_rate=by_rate) if key != "found" else ""])
    return tables


def slope(sizes: tuple[int, ...], figures: Row, *, by_rate: bool) -> str:
    """How a row grows between its last two sizes: microseconds for each user more, or those of one call."""
    known = [(size, float(figure.replace(",", ""))) for size, figure in zip(sizes, figures, strict=True) if figure]
    if len(known) < 2:
        return ""
    (fewer, before), (more, after) = known[-2:]
    if by_rate:
        return f"{(1 / after - 1 / before) * 1e6:+.0f} µs a call for {more // fewer} times as many"
    return f"{(after - before) / (more - fewer) * 1e6:.2f} µs a user"


def cpu_seconds() -> float:
    """The CPU time of this process and of the servers that it started, which other load does not change."""
    ticks, left = 0, servers.children(os.getpid())
    while left:
        pid = left.pop()
        with suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
            left += servers.children(pid)
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


async def measured(store: TokenStore, size: int) -> dict[str, str]:
    some = random.Random(size).choices(range(size), k=SAMPLE)
    saving = await at_once(lambda n: store.save(f"user-{n}", user(n).to_dict()), some)
    loading = await at_once(lambda n: store.load(f"user-{n}"), some)
    began = cpu_seconds()
    assert len(await store.names()) == size
    naming = cpu_seconds() - began
    [_ async for _ in store.ending("refresh", 0)]  # what a first use makes: the index of a folder
    began = cpu_seconds()
    assert await store.count() == size
    counting = cpu_seconds() - began
    found, first, began = 0, 0.0, cpu_seconds()
    async for _ in expiring(store, 7):
        found += 1
        first = first or cpu_seconds() - began
    reading = cpu_seconds() - began - first
    assert found >= size // 20
    return {
        "loads": f"{SAMPLE / loading:,.0f}",
        "saves": f"{SAMPLE / saving:,.0f}",
        "names": f"{naming:.3f}",
        "count": f"{counting:.3f}",
        "expiring": f"{first:.3f}",
        "found": f"{reading / found * 1e6:,.0f}",
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


# --- ahead of need ---


async def fresh_table(sizes: tuple[int, ...]) -> list[Row]:
    """`keep_fresh` on a store: one look that finds nobody, and the renewal of a thousand users."""
    sizes = tuple(size for size in sizes if size >= 1000)
    rows = [["`keep_fresh`, 20 at once", *(f"{size:,} users" for size in sizes)]]
    async with all_stores() as stores, endpoint() as (_, origin):
        for title in ("`FileStore`", "`SqliteStore`", "`RedisStore`", "`PostgresStore`"):
            row, there = [f"{title}: seconds of CPU for a look; seconds for the renewal of 1,000"], 0
            for size in sizes:
                await fill(stores[title], there, size)
                row.append(await looked_and_renewed(stores[title], origin))
                there = size
                print(title, size, row[-1], file=sys.stderr, flush=True)
            rows.append(row)
    return rows


async def looked_and_renewed(store: TokenStore, origin: str) -> str:
    now, due = time.time(), range(SAMPLE)
    for number in due:  # all others ended long ago
        soon = user(number)
        soon.expires_at = datetime.fromtimestamp(now - 10, UTC)
        with hasty():
            await store.user(f"user-{number}").save(soon)
    [_ async for _ in store.ending("access", now + 300, now)]  # what a first use makes
    began = cpu_seconds()
    assert not [_ async for _ in store.ending("access", now + 300, now)]
    looking = cpu_seconds() - began
    began = time.perf_counter()
    async with keep_fresh(store, app_at(origin), at_once=20) as fresh:
        while fresh.renewed < len(due):
            assert not fresh.failed
            await asyncio.sleep(0.01)
    return f"{looking:.3f}; {time.perf_counter() - began:.1f}"


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


PARTS = ("memory", "stores", "fresh", "stampede")


async def report(most: int, only: tuple[str, ...] = PARTS) -> str:
    sizes = tuple(size for size in SIZES if size <= most)
    tables: list[list[Row]] = []
    if "memory" in only:
        tables.append(memory_table(sizes))
    if "stores" in only:
        tables += (await store_tables(sizes)).values()
    if "fresh" in only and most >= 1000:
        tables.append(await fresh_table(sizes))
    if "stampede" in only:
        tables.append(await stampede_table(tuple(size for size in (100, 1_000, 5_000) if size <= most)))
    when = datetime.now(UTC).date()
    how = f"--most {most}" + ("" if set(only) == set(PARTS) else f" --only {' '.join(only)}")
    intro = f"`python tests/bench/scale.py {how}`, {when}, {machine()}, servers on the same machine:"
    return "\n\n".join([intro, *map(as_table, tables)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    told = asyncio.run(report(arguments.most, tuple(arguments.only)))
    if arguments.write is None:
        print(told)
        return
    page = arguments.write.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    arguments.write.write_text(f"{before}{BEGIN}\n{told}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    plot.write(arguments.write)


if __name__ == "__main__":
    main()
