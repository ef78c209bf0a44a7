"""Stores on a server: what it and the way to it may do, and what holds between loops, threads, forks and processes."""
from __future__ import annotations

import asyncio
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from SlyAPI.errors import ConfigError, NetworkError, RequestTimeoutError, SaveError
from SlyAPI.stores import PostgresStore, RedisStore
from SlyAPI.stores.served import CONNECTIONS, ServedStore
from tests.support import servers
from tests.support.other_process import Spawn, refused

pytestmark = [pytest.mark.slow, pytest.mark.posix]

VALUE = {"token": "token-5EC9E7"}
Server = servers.RedisServer | servers.PostgresServer
Make = Callable[..., ServedStore[Any]]


@pytest.fixture(scope="module", params=[servers.redis, servers.postgres], ids=["redis", "postgres"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of this file's own, that may be stopped."""
    block: AbstractContextManager[Server] = request.param()
    with block as it:
        yield it


@pytest.fixture
def make(server: Server, prefix: str) -> Make:
    """Another object for the test's own part of the server, or of another URL."""

    def made(url: str = "", **more: Any) -> ServedStore[Any]:
        if isinstance(server, servers.RedisServer):
            return RedisStore(url or server.url, prefix, **more)
        return PostgresStore(url or server.url, table=prefix, **more)

    return made


@pytest.fixture
async def store(make: Make) -> ServedStore[Any]:
    it = make()
    if isinstance(it, PostgresStore):
        await it.migrate()
    await it.save("alice", VALUE)
    return it


def connections(server: Server) -> int:
    """How many the server has, by its own count or the system's."""
    listed = subprocess.run(["ss", "-Htn", f"sport = :{server.port}"], capture_output=True, text=True, check=True)
    return len([line for line in listed.stdout.splitlines() if line.startswith("ESTAB")])


# --- the server, and the way to it ---


async def test_after_a_restart_the_next_call_succeeds(store: ServedStore[Any], server: Server) -> None:
    for kill in (False, True):
        await asyncio.gather(*(store.load("alice") for _ in range(CONNECTIONS)))
        server.restart(kill=kill)
        assert await store.load("alice") == VALUE
        server.restart(kill=kill)
        await store.save("alice", VALUE)


async def test_while_the_server_is_away_errors_are_transient_and_afterwards_all_is_well(
    store: ServedStore[Any], server: Server, told_by: Callable[[BaseException], str]
) -> None:
    server.stop()
    try:
        for call, kind in (
            (store.load("alice"), NetworkError),
            (store.names(), NetworkError),
            (store.lock("alice").__aenter__(), NetworkError),
            (store.save("alice", VALUE), SaveError),
            (store.replace("alice", VALUE, {"token": "2"}), SaveError),
            (store.delete("alice"), SaveError),
        ):
            error = await refused(call)
            assert isinstance(error, kind)
            assert error.kind == "transient"
            assert servers.PASSWORD not in told_by(error)
    finally:
        server.start()
    assert await store.load("alice") == VALUE
    async with asyncio.timeout(10), store.lock("alice"):
        pass


async def test_a_server_that_hangs_gives_an_error_in_time_and_is_used_again_later(make: Make, server: Server) -> None:
    store = make(timeout=0.5)
    if isinstance(store, PostgresStore):
        await make().migrate()  # type: ignore[attr-defined]
    await make().save("alice", VALUE)
    await store.load("alice")
    server.pause()
    try:
        began = time.monotonic()
        loads = await asyncio.gather(*(refused(store.load("alice")) for _ in range(CONNECTIONS * 2)))
        assert {type(error) for error in loads} == {RequestTimeoutError}
        late = await refused(store.save("alice", VALUE))
        assert isinstance(late, SaveError)
        assert "not known" in str(late), "the server may carry it out yet"
        assert "unchanged" not in str(late)
        cancelled = asyncio.create_task(store.load("alice"))
        await asyncio.sleep(0.1)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert time.monotonic() - began < 8
    finally:
        server.resume()
    async with asyncio.timeout(30):
        while True:
            try:
                assert await store.load("alice") == VALUE
                break
            except NetworkError:  # it is busy with what was sent to it meanwhile
                pass


async def test_connections_are_few_and_used_again(store: ServedStore[Any], server: Server) -> None:
    before = connections(server)
    await asyncio.gather(*(store.load("alice") for _ in range(50)))
    opened = connections(server)
    assert 1 <= opened - before <= CONNECTIONS
    await asyncio.gather(*(store.load("alice") for _ in range(50)))
    assert connections(server) == opened
    await store.close()
    await until(lambda: connections(server) < opened)
    assert await store.load("alice") == VALUE


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_job_with_an_event_loop_of_its_own_leaves_no_connection_behind(
    store: ServedStore[Any], server: Server
) -> None:
    """Also where it is closed by hand."""
    await store.close()
    await until(lambda: connections(server) == 0)

    async def work(name: str) -> None:
        async with store.lock(name):
            await asyncio.gather(*(store.load("alice") for _ in range(4)))

    def job() -> None:
        for name in ("one", "two", "three"):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(work(name))
            loop.close()

    await asyncio.to_thread(job)
    await until(lambda: connections(server) == 0)


async def test_a_store_that_is_closed_amid_use_leaves_no_connection_and_no_error(
    store: ServedStore[Any], server: Server
) -> None:
    async with store.lock("alice"):
        loads = [asyncio.create_task(store.load("alice")) for _ in range(12)]
        await asyncio.sleep(0)
        await store.close()
        assert await asyncio.gather(*loads) == [VALUE] * 12
    await store.close()
    await until(lambda: connections(server) == 0)


async def test_a_call_that_is_cancelled_leaves_no_answer_to_the_next(store: ServedStore[Any]) -> None:
    for number in range(40):
        await store.save(f"user{number % 4}", {"token": str(number % 4)})
    for number in range(60):
        call = asyncio.create_task(store.load(f"user{number % 4}"))
        for _ in range(number % 12):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert await store.load(f"user{(number + 1) % 4}") == {"token": str((number + 1) % 4)}


async def test_a_refused_password_is_a_matter_of_configuration_and_not_shown(
    make: Make, server: Server, told_by: Callable[[BaseException], str]
) -> None:
    store = make(server.url.replace(servers.PASSWORD, "wrong-5EC9E7"))
    for call, kind in ((store.load("alice"), ConfigError), (store.save("alice", VALUE), SaveError)):
        error = await refused(call)
        assert isinstance(error, kind)
        assert error.kind == "configuration"
        assert "password" in str(error)
        assert "wrong-5EC9E7" not in told_by(error).replace(repr(store), "")
    assert "5EC9E7" not in repr(vars(store))


async def test_tls_that_is_refused_is_a_matter_of_configuration(
    make: Make, server: Server, told_by: Callable[[BaseException], str]
) -> None:
    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(b"N" if isinstance(server, servers.PostgresServer) else b"-ERR no TLS here\r\n")
        await writer.drain()
        writer.close()

    url = server.url + "?sslmode=require" if "postgres" in server.url else server.url.replace("redis:", "rediss:")
    async with await asyncio.start_server(no_tls, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        error = await refused(make(url.replace(str(server.port), str(port))).load("alice"))
    assert isinstance(error, NetworkError)
    assert error.kind == "configuration"
    assert "TLS" in str(error)
    assert servers.PASSWORD not in told_by(error)


async def test_a_host_that_nobody_knows_is_told_without_the_password(
    make: Make, server: Server, told_by: Callable[[BaseException], str]
) -> None:
    error = await refused(make(server.url.replace("127.0.0.1", "no-such-host.invalid")).load("alice"))
    assert isinstance(error, NetworkError)
    assert servers.PASSWORD not in told_by(error)


async def test_what_cannot_be_json_is_refused_and_nothing_is_changed(store: ServedStore[Any]) -> None:
    for write in (store.save("alice", {"token": object()}), store.replace("alice", VALUE, {"token": object()})):
        assert isinstance(await refused(write), SaveError)
    assert await store.load("alice") == VALUE


# --- names ---


async def test_names_that_a_server_could_take_for_more_are_names(store: ServedStore[Any]) -> None:
    names = ["*", "a?c", "[abc]", "\\", "%s", "{}", "'; DROP TABLE x; --", " ", "", "\n", "x" * 2000, "🦊", "lock:"]
    for name in names:
        await store.save(name, {"token": name})
        async with store.lock(name):
            pass
    assert sorted(await store.names()) == sorted([*names, "alice"])
    for name in names:
        assert await store.load(name) == {"token": name}


async def test_a_name_is_kept_or_refused_but_never_changed(store: ServedStore[Any]) -> None:
    for name in ("a\0b", "\ud800", "x" * 5000):
        if isinstance(store, PostgresStore):
            for call in (store.load(name), store.save(name, VALUE), store.delete(name), store.lock(name).__aenter__()):
                assert isinstance(await refused(call), ConfigError)
        else:
            await store.save(name, VALUE)
            assert await store.load(name) == VALUE
            assert name in await store.names()


# --- loops, threads, forks, processes ---


def test_one_object_serves_one_event_loop_after_another_and_threads(make: Make) -> None:
    store = make()

    async def use(name: str) -> None:
        if isinstance(store, PostgresStore):
            await store.migrate()
        async with store.lock(name):
            await store.save(name, VALUE)
            assert await store.load(name) == VALUE

    asyncio.run(use("a"))
    asyncio.run(use("a"))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use("a"))
    loop.close()
    threads = [threading.Thread(target=lambda: asyncio.run(use("a"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert asyncio.run(store.names()) == ["a"]


PROGRAM = """
import asyncio, gc, sys, warnings
from SlyAPI.stores import store_at
warnings.simplefilter("error")
store = store_at(sys.argv[1])
async def use():
    if hasattr(store, "migrate"):
        await store.migrate()
    async with store.lock("alice"):
        await asyncio.gather(*(store.save("alice", {"token": "t"}) for _ in range(4)))
    if sys.argv[2] != "loop":
        hanging = asyncio.create_task(store.names())
        await asyncio.sleep(0)
    if sys.argv[2] == "cycle":
        global store_
        store_ = [store]; store_.append(store_)
if sys.argv[2] == "loop":
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use())
    loop.close()
    del loop
else:
    asyncio.run(use())
del store
gc.collect()
"""


@pytest.mark.parametrize("way", ["run", "loop", "cycle"])
def test_a_program_that_closes_nothing_ends_without_a_warning(server: Server, way: str) -> None:
    command = [sys.executable, "-W", "error", "-c", PROGRAM, server.url, way]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def _in_child(store: ServedStore[Any], told: Any) -> None:
    async def use() -> None:
        async with store.lock("alice"):
            value = await store.load("alice")
            await store.replace("alice", value, {"token": value["token"] + "+child"})

    asyncio.run(use())
    told.send("done")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_uses_connections_of_its_own(make: Make) -> None:
    store = make()

    async def use() -> None:
        if isinstance(store, PostgresStore):
            await store.migrate()
        await store.save("alice", {"token": "t"})
        here, there = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(target=_in_loopless, args=(store, there))
        child.start()
        for _ in range(20):
            assert (await store.load("alice"))["token"].startswith("t")
        assert await asyncio.to_thread(here.poll, 60)
        await asyncio.to_thread(child.join, 60)
        assert child.exitcode == 0
        assert await store.load("alice") == {"token": "t+child"}

    asyncio.run(use())


def _in_loopless(store: ServedStore[Any], told: Any) -> None:
    asyncio.events._set_running_loop(None)  # what a forking server does before it begins a loop of its own
    _in_child(store, told)


HOLD_AND_REPLACE = """
from SlyAPI.errors import SupersededError
from SlyAPI.stores import PostgresStore, RedisStore

async def main():
    url, prefix = place, sys.argv[3]
    redis = url.startswith("redis")
    store = RedisStore(url, prefix, lease=0.5) if redis else PostgresStore(url, table=prefix, lease=0.5)
    async with store.lock("alice"):
        known = await store.load("alice")
        say("held")
        await told()
        try:
            await store.replace("alice", known, {"token": "late"})
            say("replaced")
        except SupersededError:
            say("refused")
asyncio.run(main())
"""


async def test_a_process_stopped_past_its_lock_cannot_overwrite_what_was_saved_since(
    store: ServedStore[Any], make: Make, server: Server, prefix: str, spawn: Spawn
) -> None:
    other = await spawn(HOLD_AND_REPLACE, "served", server.url, prefix)
    await other.hears("held")
    other.child.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(60), store.lock("alice"):  # free though it is held
        await store.replace("alice", await store.load("alice"), {"token": "newer"})
    other.child.send_signal(signal.SIGCONT)
    other.tell()
    await other.hears("refused")
    assert await store.load("alice") == {"token": "newer"}


async def test_a_process_that_was_not_overtaken_replaces_what_it_loaded(
    store: ServedStore[Any], server: Server, prefix: str, spawn: Spawn
) -> None:
    other = await spawn(HOLD_AND_REPLACE, "served", server.url, prefix)
    await other.hears("held")
    other.tell()
    await other.hears("replaced")
    assert await store.load("alice") == {"token": "late"}
