"""What is particular to Redis as a store: its types, replicas, memory and TLS."""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest
import redis.asyncio

from SlyAPI.errors import CredentialsError, RequestTimeoutError, SaveError
from SlyAPI.stores import RedisStore
from tests.support import servers
from tests.support.other_process import refused

VALUE = {"token": "token-5EC9E7"}


async def test_a_key_of_another_type_or_no_json_is_told_and_shown_nothing_of(
    redis_server: servers.RedisServer, prefix: str, told_by: Callable[[BaseException], str]
) -> None:
    store = RedisStore(redis_server.url, prefix)
    async with redis.asyncio.Redis.from_url(redis_server.url) as client:
        await client.rpush(f"{prefix}user:alice", "secret-5EC9E7")
        for name, text in (("bob", b"secret-5EC9E7"), ("carol", b'["secret-5EC9E7"]'), ("dave", b"\xff5EC9E7")):
            await client.set(f"{prefix}user:{name}", text)
        await client.set(f"{prefix}user:".encode() + b"\xff", "a key that is none of ours")
        assert await client.exists(f"{prefix}user:bob")
    for name in ("alice", "bob", "carol", "dave"):
        for call in (store.load(name), store.replace(name, dict(VALUE), {"token": "new"})):
            error = await refused(call)
            assert isinstance(error, CredentialsError | SaveError)
            assert "5EC9E7" not in told_by(error).replace(repr(VALUE), "")
    await store.migrate()
    assert sorted(await store.names()) == ["bob", "carol", "dave"]


async def test_a_save_goes_on_where_only_its_connection_is_cancelled(
    redis_server: servers.RedisServer, prefix: str
) -> None:
    """As at the end of a loop, which a refresh outlives until it has saved."""
    async with RedisStore(redis_server.url, prefix) as store:
        for steps in range(12):
            value = {"token": f"token-{steps}"}
            saving = asyncio.create_task(store.save("alice", value))
            for _ in range(steps):
                await asyncio.sleep(0)
            for task in asyncio.all_tasks() - {saving, asyncio.current_task()}:
                task.cancel()
            with suppress(SaveError):  # of the kind that a refresh tries again
                await saving
                assert await store.load("alice") == value


async def test_a_replica_takes_no_writes_and_says_so(redis_server: servers.RedisServer) -> None:
    replica = ("--replicaof", f"127.0.0.1 {redis_server.port}", "--masterauth", servers.PASSWORD)
    with servers.redis(*replica) as server:
        error = await refused(RedisStore(server.url).save("alice", VALUE))
        assert "replica" in str(error)
        assert isinstance(error, SaveError)


async def test_a_full_server_refuses_a_save_and_keeps_what_it_has(redis_server: servers.RedisServer) -> None:
    with servers.redis("--maxmemory", "3mb") as server:
        store = RedisStore(server.url)
        await store.save("alice", VALUE)
        saves = [store.save(f"user{number}", {"token": "x" * 100_000}) for number in range(100)]
        with pytest.raises(SaveError, match="memory"):
            await asyncio.gather(*saves)
        assert await store.load("alice") == VALUE


async def test_a_redis_server_that_never_answers_tls_is_told_of_with_a_hint(
    redis_server: servers.RedisServer,
) -> None:
    error = await refused(RedisStore(redis_server.url.replace("redis:", "rediss:"), timeout=0.5).load("alice"))
    assert isinstance(error, RequestTimeoutError)
    assert "TLS" in str(error)
