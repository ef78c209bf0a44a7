"""Stores on a server: no public call shows a token, the password or a key, whatever state the server is in."""
from __future__ import annotations

import inspect
import json
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from SlyAPI.stores import EncryptedStore, PostgresStore, RedisStore, TokenStore
from tests.support import servers
from tests.support.public_calls import methods_of, outcome
from tests.support.secret_search import ACCESS, KEPT, REFRESH, Kept, shows_nothing

pytestmark = pytest.mark.slow

Server = servers.RedisServer | servers.PostgresServer
WRONG = "Wr0ngPassw0rdC0re"
KEY = EncryptedStore.new_key()
SECRET = Kept({**KEPT.cores, "password": servers.PASSWORD, "wrong password": WRONG, "encryption key": KEY[:-1]})
USER = {"token": ACCESS, "refresh_token": REFRESH, "expires_at": None}


@pytest.fixture(scope="module", params=[servers.redis, servers.postgres], ids=["redis", "postgres"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    block: AbstractContextManager[Server] = request.param()
    with block as it:
        yield it


def store_of(server: Server, prefix: str, url: str = "", timeout: float = 10.0) -> Any:
    if isinstance(server, servers.RedisServer):
        return RedisStore(url or server.url, prefix, timeout=timeout)
    return PostgresStore(url or server.url, table=prefix, timeout=timeout)


ARGUMENTS: dict[str, Any] = {"name": "alice", "value": USER, "new": {**USER, "more": ACCESS}, "old": USER}
ARGUMENTS |= {"task": "tidy", "token": "access", "before": 1e12, "plain": True}


def calls(store: TokenStore) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every public method, with arguments by the names of its parameters."""
    for name, function in methods_of(type(store)):
        if not inspect.isfunction(function) or isinstance(inspect.getattr_static(store, name), staticmethod):
            continue
        given = {key: ARGUMENTS[key] for key in inspect.signature(function).parameters if key in ARGUMENTS}
        yield name, lambda name=name, given=given: getattr(store, name)(**given)  # type: ignore[misc]


async def made(call: Callable[[], Any]) -> None:
    await outcome(call())


async def text_becomes(store: Any, text: str) -> None:
    """Writes what no SlyAPI writes in the place of a user."""

    async def write(connection: Any) -> None:
        await store._put(connection, "alice", text)

    await store._call(write)


@pytest.fixture
def prefix() -> str:
    return f"test_{secrets.token_hex(6)}"


@pytest.fixture
async def full(server: Server, prefix: str) -> AsyncGenerator[Any, None]:
    async with store_of(server, prefix) as store:
        if isinstance(store, PostgresStore):
            await store.migrate()
        await store.save("alice", USER)
        yield store


CONTENT = {"sound": json.dumps(USER), "half": json.dumps(USER)[:-1], "a list": json.dumps([USER]), "text": ACCESS}


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("content", CONTENT)
async def test_no_call_shows_a_secret_whatever_is_stored(full: Any, content: str, encrypted: bool) -> None:
    store = EncryptedStore(full, [KEY]) if encrypted else full
    for _, call in calls(store):
        if isinstance(full, RedisStore) or content in ("sound", "a list"):
            await text_becomes(full, CONTENT[content])
        await shows_nothing(made(call), store, kept=SECRET)


@pytest.mark.parametrize("state", ["away", "hanging", "another password"])
async def test_no_call_shows_a_secret_where_the_server_does_not_answer(
    full: Any, server: Server, prefix: str, state: str
) -> None:
    url = server.url.replace(servers.PASSWORD, WRONG) if state == "another password" else ""
    store = store_of(server, prefix, url, timeout=0.3)
    {"away": server.stop, "hanging": server.pause}.get(state, lambda: None)()
    try:
        for name, call in calls(store):
            if state != "hanging" or "lock" not in name:  # which waits half a minute
                error = await shows_nothing(made(call), store, kept=SECRET)
                assert error is not None or name in ("close", "entry_key", "user", "check_writable"), name
    finally:
        {"away": server.start, "hanging": server.resume}.get(state, lambda: None)()
