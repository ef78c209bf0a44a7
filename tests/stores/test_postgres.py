"""What is particular to PostgreSQL as a store: its tables, and what they hold."""
from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg
import pytest

from SlyAPI.errors import ConfigError, CredentialsError, SaveError, SupersededError
from SlyAPI.stores import PostgresStore
from tests.support import servers
from tests.support.other_process import refused

VALUE = {"token": "token-5EC9E7"}


async def test_a_missing_table_names_the_call_that_makes_it(postgres_server: servers.PostgresServer) -> None:
    store = PostgresStore(postgres_server.url, table="not_there")
    for call in (store.load("alice"), store.save("alice", VALUE), store.lock("alice").__aenter__()):
        error = await refused(call)
        assert "await store.migrate()" in str(error)


async def test_migrate_may_run_in_many_processes_at_once_and_again(
    postgres_server: servers.PostgresServer, prefix: str
) -> None:
    stores = [PostgresStore(postgres_server.url, table=prefix) for _ in range(6)]
    await asyncio.gather(*(store.migrate() for store in stores))
    await stores[0].save("alice", VALUE)
    await stores[1].migrate()
    assert await stores[1].load("alice") == VALUE


async def test_the_tables_of_a_newer_version_are_left_alone(
    postgres_server: servers.PostgresServer, prefix: str
) -> None:
    store = PostgresStore(postgres_server.url, table=prefix)
    await store.migrate()
    async with await psycopg.AsyncConnection.connect(postgres_server.url, autocommit=True) as connection:
        await connection.execute(f"COMMENT ON TABLE {prefix} IS 'SlyAPI users, schema 99'".encode())
    with pytest.raises(ConfigError, match="newer"):
        await store.migrate()


async def test_a_table_may_be_in_a_schema_and_no_other_text_is_taken_for_one(
    postgres_server: servers.PostgresServer, prefix: str
) -> None:
    store = PostgresStore(postgres_server.url, table=f"public.{prefix}")
    await store.migrate()
    await store.save("alice", VALUE)
    assert await PostgresStore(postgres_server.url, table=prefix).load("alice") == VALUE
    for table in ("", "a.b.c", 'x"; DROP TABLE y', "x" * 60, "1a", "a b"):
        with pytest.raises(ConfigError):
            PostgresStore(postgres_server.url, table=table)


async def test_a_server_that_takes_no_writes_says_so(postgres_server: servers.PostgresServer, prefix: str) -> None:
    await PostgresStore(postgres_server.url, table=prefix).migrate()
    url = postgres_server.url + "?options=-cdefault_transaction_read_only%3Don"
    error = await refused(PostgresStore(url, table=prefix).save("alice", VALUE))
    assert isinstance(error, SaveError)
    assert "no writes" in str(error)


async def test_a_value_that_is_no_json_is_told_and_shown_nothing_of(
    postgres_server: servers.PostgresServer, prefix: str, told_by: Callable[[BaseException], str]
) -> None:
    store = PostgresStore(postgres_server.url, table=prefix)
    await store.migrate()
    async with await psycopg.AsyncConnection.connect(postgres_server.url, autocommit=True) as connection:
        await connection.execute(f"INSERT INTO {prefix} (name, value) VALUES ('alice', 'secret-5EC9E7')".encode())
    for call, kind in ((store.load("alice"), CredentialsError), (store.replace("alice", None, VALUE), SupersededError)):
        error = await refused(call)
        assert isinstance(error, kind)
        assert "5EC9E7" not in told_by(error)


async def test_behind_a_pooler_whose_connections_change_with_each_statement_nothing_is_lost(
    postgres_server: servers.PostgresServer, prefix: str
) -> None:
    with servers.pgbouncer(postgres_server) as pooler:
        stores = [PostgresStore(pooler.url, table=prefix) for _ in range(4)]
        await stores[0].migrate()
        await stores[0].save("shared", {"count": 0})

        async def count(store: PostgresStore) -> None:
            for _ in range(5):
                async with store.lock("shared"):
                    value = await store.load("shared")
                    await store.replace("shared", value, {"count": value["count"] + 1})

        async def save(store: PostgresStore, name: str) -> None:
            for number in range(20):
                await store.save(name, {"number": number})
                assert await store.load(name) == {"number": number}

        names = [f"user{number}" for number in range(12)]
        saves = [save(store, name) for store, name in zip(stores * 3, names, strict=True)]
        await asyncio.gather(*map(count, stores), *saves)
        assert await stores[0].load("shared") == {"count": 20}
        for store in stores:
            await store.close()
