"""What is particular to PostgreSQL as a store: its tables, and what they hold."""
from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg
import pytest

from SlyAPI.errors import ConfigError, CredentialsError, SaveError, SlyError, SupersededError
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
    await PostgresStore(postgres_server.url, table=prefix).save("alice", VALUE)
    url = postgres_server.url + "?options=-cdefault_transaction_read_only%3Don"
    store = PostgresStore(url, table=prefix)
    for call in (store.save("alice", VALUE), store.replace("alice", VALUE, VALUE), store.replace("bob", None, None)):
        error = await refused(call)
        assert isinstance(error, SaveError)
        assert error.kind == "transient"
        assert "no writes" in str(error)
    assert await store.load("alice") == VALUE
    await store.close()


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


PASSING = ["08006", "08P01", "40001", "53100", "53300", "55P03", "57P01", "57P03", "58030", "XX000", "25006", "P0001"]
LASTING = {"28P01": ConfigError, "3D000": ConfigError, "42501": ConfigError, "42P01": ConfigError, "22P02": SaveError}


@pytest.mark.parametrize("code", [*PASSING, *LASTING])
async def test_a_refusal_is_known_by_its_sqlstate_in_any_language(
    postgres_server: servers.PostgresServer, prefix: str, code: str
) -> None:
    store = PostgresStore(postgres_server.url, table=prefix, timeout=1.0)
    await store.migrate()
    raising = f"""
        CREATE FUNCTION {prefix}_no() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'das ging nicht: FATAL password 5EC9E7' USING ERRCODE = '{code}'; END $$;
        CREATE TRIGGER no BEFORE INSERT OR UPDATE ON {prefix} FOR EACH ROW EXECUTE FUNCTION {prefix}_no();
    """
    async with await psycopg.AsyncConnection.connect(postgres_server.url, autocommit=True) as connection:
        await connection.execute(raising.encode())
    for call in (store.save("alice", VALUE), store.replace("alice", None, VALUE), store.replace("alice", None, None)):
        error = await refused(call)
        assert isinstance(error, SaveError)
        assert error.kind == ("transient" if code in PASSING else "configuration")
        assert "5EC9E7" not in str(error)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ('FATAL:  password authentication failed for user "me"', "configuration"),
        ('FATAL:  database "grants" does not exist', "configuration"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', "configuration"),
        ("FATAL:  SASL authentication failed", "configuration"),
        ("FATAL:  sorry, too many clients already", "transient"),
        ("FATAL:  the database system is starting up", "transient"),
        ("FATAL:  query_wait_timeout", "transient"),
        ('FATAL:  server login failed: FATAL password authentication failed for user "pooler"', "transient"),
        ("FATAL:  pgbouncer cannot connect to server", "transient"),
        ("FATAL:  das Datenbanksystem startet", "transient"),
        ("ВАЖНО:  система баз данных запускается", "transient"),
    ],
)
async def test_of_a_login_that_fails_only_a_known_mistake_is_one(said: str, kind: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        severity, _, words = said.partition(":  ")
        body = f"S{severity}\0M{words}\0\0".encode()
        writer.write(b"E" + (len(body) + 4).to_bytes(4, "big") + body)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        store = PostgresStore(f"postgresql://me:p@127.0.0.1:{port}/grants?sslmode=disable&gssencmode=disable")
        error = await refused(store.load("alice"))
        assert isinstance(error, SlyError)
        assert error.kind == kind


async def test_of_several_hosts_the_one_that_takes_writes_is_found(
    postgres_server: servers.PostgresServer, prefix: str
) -> None:
    with servers.postgres("default_transaction_read_only=on") as other:
        hosts = f"127.0.0.1:{other.port},127.0.0.1:{servers.free_port()},127.0.0.1:{postgres_server.port}"
        store = PostgresStore(f"postgresql://postgres:{servers.PASSWORD}@{hosts}/postgres", table=prefix)
        await store.migrate()
        await store.save("alice", VALUE)
        await store.close()
    assert await PostgresStore(postgres_server.url, table=prefix).load("alice") == VALUE


@pytest.mark.parametrize("level", ["serializable", "repeatable read"])
async def test_the_isolation_level_of_the_database_does_not_matter(
    postgres_server: servers.PostgresServer, prefix: str, level: str
) -> None:
    url = f"{postgres_server.url}?options=-cdefault_transaction_isolation%3D{level.replace(' ', '%5C%20')}"
    stores = [PostgresStore(url, table=prefix) for _ in range(4)]
    await asyncio.gather(*(store.migrate() for store in stores))
    await stores[0].save("shared", {"count": 0})

    async def count(store: PostgresStore) -> None:
        for number in range(6):
            async with store.lock("shared"):
                value = await store.load("shared")
                await store.replace("shared", value, {"count": value["count"] + 1})
            await store.save("all", {"number": number})
            await store.replace("none", None, None)

    await asyncio.gather(*map(count, stores))
    assert await stores[0].load("shared") == {"count": 24}
    for store in stores:
        await store.close()


@pytest.mark.parametrize("option", ["nonsense=1", "target_session_attrs=standby"])
def test_an_option_that_cannot_be_used_is_named(option: str) -> None:
    with pytest.raises(ConfigError, match=f"`{option.partition('=')[0]}`"):
        PostgresStore(f"postgresql://db/users?{option}")
