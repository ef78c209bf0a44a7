"""What a process remembers of a user is remembered by the entry: by all objects for it, and by no other entry."""
from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from SlyAPI import GrantEndedError
from SlyAPI.stores import (
    EncryptedStore,
    FileStore,
    KeyringStore,
    MemoryStore,
    PostgresStore,
    RedisStore,
    SqliteStore,
    StoredUser,
    TokenStore,
    user_file,
)
from tests.support.refreshing import INVALID_GRANT

if TYPE_CHECKING:
    from tests.support.refreshing import Place

KEY = EncryptedStore.new_key()
SHARED: dict[str, Callable[[Path], TokenStore]] = {
    "file": lambda folder: FileStore(folder / "users"),
    "sqlite": lambda folder: SqliteStore(folder / "users.db"),
    "redis": lambda folder: RedisStore("redis://:a-password@127.0.0.1:1/0"),
    "postgres": lambda folder: PostgresStore("postgresql://me:a-password@127.0.0.1:1/users"),
    "keyring": lambda folder: KeyringStore("a service"),
    "encrypted": lambda folder: EncryptedStore(SqliteStore(folder / "users.db"), [KEY]),
}
"""Stores that another object of the same program may have open too."""


@pytest.mark.parametrize("kind", SHARED)
def test_two_objects_of_one_store_have_the_same_entries(kind: str, tmp_path: Path) -> None:
    one, other = SHARED[kind](tmp_path), SHARED[kind](tmp_path)
    assert one.user("alice").key == other.user("alice").key
    assert hash(one.user("alice").key) == hash(other.user("alice").key)
    assert one.user("alice").key != one.user("bob").key
    assert "a-password" not in repr(one.user("alice").key)


@pytest.mark.posix
@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_a_link_to_a_store_leads_to_the_same_entries(kind: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    there, linked = SHARED[kind](tmp_path / "there"), SHARED[kind](tmp_path / "link")
    assert there.user("alice").key == linked.user("alice").key


def test_a_user_file_is_the_entry_of_its_folder(tmp_path: Path) -> None:
    assert user_file(tmp_path / "alice.json").key == FileStore(tmp_path).user("alice").key


def test_other_stores_have_other_entries(tmp_path: Path) -> None:
    entries: list[StoredUser] = [make(tmp_path).user("alice") for kind, make in SHARED.items() if kind != "encrypted"]
    entries += [MemoryStore().user("alice"), MemoryStore().user("alice")]
    entries.append(RedisStore("redis://:a-password@127.0.0.1:1/0", "another:").user("alice"))
    entries.append(PostgresStore("postgresql://me:a-password@127.0.0.1:1/users", table="another").user("alice"))
    entries += [KeyringStore("a service", backend=object()).user("alice") for _ in range(2)]
    assert len({entry.key for entry in entries}) == len(entries)


async def test_a_refusal_is_remembered_by_another_object_of_the_same_store(place: Place, tmp_path: Path) -> None:
    place.answers = [INVALID_GRANT]
    await FileStore(tmp_path).user("alice").save(place.user())
    for _ in range(2):
        with pytest.raises(GrantEndedError):
            await place.api(FileStore(tmp_path).user("alice")).get_json("/")
    assert len(place.forms) == 1


@pytest.mark.slow
async def test_a_refusal_does_not_outlive_its_store(place: Place) -> None:
    for before in range(10):  # the store of the next round often gets the address of this one
        store = MemoryStore()
        await store.user("alice").save(place.user())
        place.answers = [INVALID_GRANT]
        with pytest.raises(GrantEndedError):
            await place.api(store.user("alice")).get_json("/")
        assert len(place.forms) == before + 1
        del store
        gc.collect()


@pytest.mark.slow
async def test_a_refusal_of_a_user_in_memory_is_not_another_users(place: Place) -> None:
    for before in range(10):
        place.answers = [INVALID_GRANT]
        with pytest.raises(GrantEndedError):
            await place.api(place.user()).get_json("/")
        assert len(place.forms) == before + 1
        gc.collect()
