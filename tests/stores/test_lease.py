"""Leases of a store on a server: a dead holder is waited for briefly, and one that hangs keeps its lock."""
from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable
from typing import Any

import pytest

from SlyAPI.oauth2.renewal.uncancellable import uncancellable
from SlyAPI.stores import PostgresStore, RedisStore
from SlyAPI.stores.served import ServedStore
from tests.support import servers
from tests.support.other_process import Spawn

pytestmark = pytest.mark.slow

HOLD = """
from SlyAPI.stores import PostgresStore, RedisStore

async def main():
    name = sys.argv[3]
    served = RedisStore(place, sys.argv[4]) if place.startswith("redis") else PostgresStore(place, table=sys.argv[4])
    async with served.lock(name):
        known = await served.load(name)
        await asyncio.sleep(1)
        say("held")
        if name == "hung":
            time.sleep(8)
        else:
            await asyncio.sleep(60)
        await served.replace(name, known, {"token": name})
asyncio.run(main())
"""


@pytest.fixture(params=["redis_server", "valkey_server", "postgres_server"])
async def store(request: pytest.FixtureRequest, prefix: str) -> ServedStore[Any]:
    server: servers.Served = request.getfixturevalue(request.param)
    if isinstance(server, servers.RedisServer):
        return RedisStore(server.url, prefix)
    store = PostgresStore(server.url, table=prefix)
    await store.migrate()
    return store


async def seconds(waiting: Awaitable[Any]) -> float:
    began = time.monotonic()
    await waiting
    return time.monotonic() - began


async def test_a_killed_holder_is_waited_for_ten_seconds_at_most_and_one_that_hangs_for_eight_keeps_its_lock(
    store: ServedStore[Any], request: pytest.FixtureRequest, prefix: str, spawn: Spawn
) -> None:
    url: str = request.getfixturevalue(request.node.callspec.params["store"]).url
    others = []
    for name in ("killed", "hung"):
        await store.save(name, {"token": "old"})
        others.append(await spawn(HOLD, "served", url, name, prefix))
    for other in others:
        await other.hears("held")
    await others[0].kill()

    async def next_in_turn(name: str) -> Any:
        async with store.lock(name):
            return (await store.load(name))["token"]

    hung = asyncio.create_task(next_in_turn("hung"))
    waited = await seconds(next_in_turn("killed"))
    assert 7 < waited < 10
    assert await hung == "hung"


async def test_an_expired_lock_is_taken_over_with_a_pause_in_which_a_holder_that_was_cut_off_may_save(
    store: ServedStore[Any], request: pytest.FixtureRequest, prefix: str, spawn: Spawn
) -> None:
    """The pause is a 24th of the lease; a lock that was released is had without it."""
    store.lease = 24.0
    url: str = request.getfixturevalue(request.node.callspec.params["store"]).url
    await store.save("killed", {"token": "old"})
    short = HOLD.replace("    async with served", "    served.lease = 0.4\n    async with served")
    other = await spawn(short, "served", url, "killed", prefix)
    await other.hears("held")
    await other.kill()
    await asyncio.sleep(0.5)  # the server's clock runs by itself
    lock = store.lock("killed")
    assert await seconds(lock.__aenter__()) >= 1
    await lock.__aexit__(None, None, None)
    assert await seconds(store.lock("killed").__aenter__()) < 0.5


async def test_a_program_that_ends_keeps_its_lock_until_its_last_request_is_answered(
    store: ServedStore[Any], request: pytest.FixtureRequest, prefix: str
) -> None:
    """`asyncio.run` cancels all tasks, and waits for those that hear a token endpoint out, for up to 30 s."""
    url: str = request.getfixturevalue(request.node.callspec.params["store"]).url
    took, answered = threading.Event(), 0.0

    def program() -> None:
        mine = RedisStore(url, prefix) if url.startswith("redis") else PostgresStore(url, table=prefix)
        mine.lease = 0.6

        async def token_request() -> None:
            nonlocal answered
            await asyncio.sleep(2)
            answered = time.monotonic()

        async def refresh() -> None:
            async with uncancellable() as steps, mine.lock("robin"):
                took.set()
                await steps.finish(token_request())

        async def main() -> None:
            asyncio.create_task(refresh())  # noqa: RUF006 - the end of the loop cancels it
            await asyncio.to_thread(took.wait)

        asyncio.run(main())

    running = asyncio.create_task(asyncio.to_thread(program))
    await asyncio.to_thread(took.wait)
    async with store.lock("robin"):
        assert 0 < answered <= time.monotonic()
    await running


async def test_a_lock_that_a_clock_seems_to_hold_for_long_is_free_after_a_lease(
    store: ServedStore[Any], request: pytest.FixtureRequest, prefix: str, spawn: Spawn
) -> None:
    """As after a server's clock was set back by an hour."""
    url: str = request.getfixturevalue(request.node.callspec.params["store"]).url
    store.lease = 0.5
    await store.save("alice", {"token": "old"})
    long = HOLD.replace("    async with served", "    served.lease = 3600.0\n    async with served")
    other = await spawn(long, "served", url, "alice", prefix)
    await other.hears("held")
    await other.kill()
    async with asyncio.timeout(20), store.lock("alice"):
        pass
