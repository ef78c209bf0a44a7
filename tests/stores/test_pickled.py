"""A store can be pickled with a signer that uses it: as its settings, without what it has open."""
from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from SlyAPI.errors import ConfigError
from SlyAPI.stores import (
    EncryptedStore,
    FileStore,
    KeyringStore,
    MemoryStore,
    PostgresStore,
    RedisStore,
    SqliteStore,
    TokenStore,
)
from tests.stores.test_contract import Keyring
from tests.support import servers


def stores(folder: Path, redis: str, postgres: str) -> list[TokenStore]:
    one_of_each = [
        FileStore(folder / "users"),
        SqliteStore(folder / "users.db"),
        RedisStore(redis, "pickled:", timeout=7.0, lease=3.0),
        PostgresStore(postgres, table="pickled", timeout=7.0, lease=3.0),
    ]
    key = EncryptedStore.new_key()
    return [*one_of_each, *(EncryptedStore(store, [key]) for store in one_of_each)]


async def test_a_pickled_store_is_another_object_for_the_same_place_with_the_same_settings(
    tmp_path: Path, redis_server: servers.RedisServer, postgres_server: servers.PostgresServer
) -> None:
    for number, store in enumerate(stores(tmp_path, redis_server.url, postgres_server.url)):
        if isinstance(store, PostgresStore):
            await store.migrate()
        name = f"user{number}"
        async with store, store.lock(name):  # also while it has connections and a lock
            await store.save(name, {"token": "T"})
            again: TokenStore = pickle.loads(pickle.dumps(store))
        assert again.entry_key(name) == store.entry_key(name)
        assert repr(again) == repr(store)
        for setting in ("timeout", "lease"):
            assert getattr(again, setting, None) == getattr(store, setting, None)
        async with again, again.lock(name):
            assert await again.load(name) == {"token": "T"}


async def test_a_pickled_store_in_memory_is_a_copy_of_its_users() -> None:
    store = MemoryStore()
    await store.save("alice", {"token": "T"})
    again: MemoryStore = pickle.loads(pickle.dumps(store))
    await store.delete("alice")
    async with again.lock("alice"):
        assert await again.load("alice") == {"token": "T"}


def test_a_pickled_keyring_is_the_same_service() -> None:
    again = pickle.loads(pickle.dumps(KeyringStore("mine", Keyring())))
    assert again.service == "mine"


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), None, "9"])
@pytest.mark.parametrize("setting", ["timeout", "lease"])
def test_a_time_that_no_server_can_keep_is_refused(setting: str, seconds: object) -> None:
    for store, url in ((RedisStore, "redis://db"), (PostgresStore, "postgresql://db/users")):
        with pytest.raises(ConfigError, match=f"`{setting}` is not a number of seconds"):
            store(url, **{setting: seconds})  # type: ignore[arg-type]
