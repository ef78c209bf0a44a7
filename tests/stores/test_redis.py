"""What is particular to Redis as a store: its types, replicas, memory and TLS."""
from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress

import pytest
import redis.asyncio

from SlyAPI.errors import ConfigError, CredentialsError, NetworkError, RequestTimeoutError, SaveError, SlyError
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
        store = RedisStore(server.url)
        for call in (store.save("alice", VALUE), store.replace("alice", None, None)):
            error = await refused(call)
            assert "replica" in str(error)
            assert isinstance(error, SaveError)
            assert error.kind == "transient"
        await store.close()


async def test_a_full_server_refuses_a_save_and_keeps_what_it_has(redis_server: servers.RedisServer) -> None:
    with servers.redis() as server:
        store = RedisStore(server.url)
        await store.save("alice", VALUE)
        async with redis.asyncio.Redis.from_url(server.url) as client:
            await client.config_set("maxmemory", "1")  # a byte: a server that is filled has room again for moments
        for call in (store.replace("alice", VALUE, VALUE), store.replace("new", None, None)):
            error = await refused(call)
            assert isinstance(error, SaveError)
            assert "memory" in str(error)
            assert error.kind == "transient"
        assert await store.load("alice") == VALUE
        await store.delete("alice")  # makes room
        await store.close()


async def test_a_redis_server_that_never_answers_tls_is_told_of_with_a_hint(
    redis_server: servers.RedisServer,
) -> None:
    error = await refused(RedisStore(redis_server.url.replace("redis:", "rediss:"), timeout=0.5).load("alice"))
    assert isinstance(error, RequestTimeoutError)
    assert "TLS" in str(error)


@pytest.mark.parametrize("option", ["decode_responses=true", "protocol=3", "socket_timeout=5", "max_connections=1"])
def test_an_option_that_cannot_be_used_is_named(option: str) -> None:
    with pytest.raises(ConfigError, match=f"`{option.partition('=')[0]}`"):
        RedisStore(f"redis://db/0?{option}")


def test_of_a_password_that_nobody_encoded_nothing_is_named() -> None:
    with pytest.raises(ConfigError) as refusal:
        RedisStore("redis://:pass?5EC9E7=word@db/0")
    assert "5EC9E7" not in str(refusal.value)


@pytest.mark.parametrize("replicas", [0, 1])
async def test_a_save_and_a_lock_need_as_many_replicas_as_are_asked_for(
    redis_server: servers.RedisServer, prefix: str, replicas: int
) -> None:
    store = RedisStore(redis_server.url, prefix, timeout=1.0, replicas=replicas)
    if not replicas:
        await store.save("alice", VALUE)
        return await store.close()
    for call in (store.save("alice", VALUE), store.replace("alice", VALUE, VALUE)):
        error = await refused(call)
        assert isinstance(error, SaveError)
        assert error.kind == "transient"
        assert "replicas" in str(error)
    assert "replicas" in str(await refused(store.lock("alice").__aenter__()))
    await store.close()


# --- a cluster, and sentinels ---


async def test_users_of_a_single_server_move_into_a_cluster(redis_cluster: servers.RedisGroup, prefix: str) -> None:
    """`load` and `migrate` read the keys without a hash tag, as a copy of a single server's has them."""
    names = [f"user{number}" for number in range(40)]
    url = redis_cluster.url.replace("redis+cluster", "redis").partition(",")[0]
    async with redis.asyncio.RedisCluster.from_url(url) as client:
        for name in names:
            await client.set(f"{prefix}user:{name}", json.dumps({"token": name, "expires_at": None}))
    async with RedisStore(redis_cluster.url, prefix) as store:
        assert await store.load("user0") == {"token": "user0", "expires_at": None}
        await store.replace("user1", await store.load("user1"), {"token": "new"})
        await store.delete("user2")
        await store.migrate()
        assert sorted(await store.names()) == sorted({*names} - {"user2"})
        assert await store.count() == 39
        assert await store.load("user1") == {"token": "new"}
        assert (await store.load("user39"))["token"] == "user39"
        assert {name async for page in store.ending("access", 1e12) for name, _ in page} >= set()
    async with redis.asyncio.RedisCluster.from_url(url) as client:
        assert not await client.exists(f"{prefix}user:user39")


async def test_one_server_of_a_cluster_by_itself_is_refused_with_the_url_to_give(
    redis_cluster: servers.RedisGroup, prefix: str
) -> None:
    url = redis_cluster.url.replace("redis+cluster", "redis").partition(",")[0]
    async with RedisStore(url, prefix) as store:
        errors = [await refused(store.save(f"user{number}", VALUE)) for number in range(8)]
    assert all("redis+cluster://" in str(error) for error in errors)


async def test_a_call_to_a_cluster_that_is_cancelled_hangs_no_later_one(
    redis_cluster: servers.RedisGroup, prefix: str
) -> None:
    async with RedisStore(redis_cluster.url, prefix, timeout=5.0) as store:
        await asyncio.gather(*(store.save(f"user{number}", {"token": str(number)}) for number in range(30)))
        for number in range(40):
            call = asyncio.create_task(store.load(f"user{number % 30}"))
            for _ in range(number % 14):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            assert await store.load(f"user{(number + 1) % 30}") == {"token": str((number + 1) % 30)}


@pytest.mark.posix  # starts redis-server
async def test_while_a_part_of_a_cluster_is_away_errors_are_transient_and_show_no_password(
    prefix: str, told_by: Callable[[BaseException], str]
) -> None:
    with servers.redis_cluster() as group:
        store = RedisStore(group.url, prefix)
        await asyncio.gather(*(store.save(f"user{number}", VALUE) for number in range(20)))
        store.timeout = 3.0
        group.servers[2].stop()
        errors = [await refused(store.names()), await refused(store.migrate()), await refused(store.count())]
        for error in errors:
            assert isinstance(error, SlyError)
            assert error.kind == "transient"
            assert servers.PASSWORD not in told_by(error)
        group.servers[2].start()
        async with asyncio.timeout(30):  # until its servers have found each other again
            names: list[str] = []
            while not names:
                with suppress(NetworkError):
                    names = await store.names()
        assert len(names) == 20
        await store.close()


async def test_a_master_is_found_by_its_sentinels(redis_sentinel: servers.RedisGroup, prefix: str) -> None:
    async with RedisStore(redis_sentinel.url, prefix, replicas=1) as store, store.lock("alice"):
        await store.save("alice", VALUE)
        assert await store.load("alice") == VALUE
    for wrong in (redis_sentinel.url.replace("/grants", "/other"), "redis+sentinel://127.0.0.1:1/grants"):
        error = await refused(RedisStore(wrong, prefix).load("alice"))
        assert isinstance(error, NetworkError)
        assert error.kind == "transient"
    with pytest.raises(ConfigError, match="SERVICE"):
        RedisStore("redis+sentinel://db")
