"""Every store keeps the one contract."""
from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring.backend
import pytest

from SlyAPI.errors import ConfigError, CredentialsNotFoundError
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
from SlyAPI.testing.store_contract import KeptStoreContract, ServedStoreContract, StoreContract
from tests.support import servers


@pytest.mark.parametrize("name", [None, 583231, b"alice"])
def test_a_name_that_is_no_text_is_refused_before_it_could_stand_for_everybody(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"not .*str\(id\)"):
        MemoryStore().user(name)


async def test_who_misses_a_user_is_told_a_way_that_leads_into_the_store() -> None:
    with pytest.raises(CredentialsNotFoundError, match=r"has no user 'alice'\. .*store\.user\(name\)\.save"):
        await MemoryStore().user("alice").load()


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> TokenStore:
        return MemoryStore()


class TestFileStore(KeptStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> TokenStore:
        return FileStore(tmp_path / "users")

    @pytest.fixture
    def reopened(self, tmp_path: Path) -> TokenStore:
        return FileStore(tmp_path / "users")


class TestSqliteStore(KeptStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> TokenStore:
        return SqliteStore(tmp_path / "users.db")

    @pytest.fixture
    def reopened(self, tmp_path: Path) -> TokenStore:
        return SqliteStore(tmp_path / "users.db")


class Keyring(keyring.backend.KeyringBackend):
    """A keyring of a desktop that is not here: the real package's base class over a dict."""

    priority = 1.0  # pyright: ignore[reportAssignmentType]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.held[service, username]


class TestKeyringStore(KeptStoreContract):
    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))

    @pytest.fixture
    def backend(self) -> Keyring:
        return Keyring()

    @pytest.fixture
    def store(self, backend: Any) -> TokenStore:
        return KeyringStore("SlyAPI-test", backend)

    @pytest.fixture
    def reopened(self, backend: Any) -> TokenStore:
        return KeyringStore("SlyAPI-test", backend)


LEASE = 0.5


class TestRedisStore(ServedStoreContract):
    @pytest.fixture(params=["redis_server", "valkey_server"])
    def url(self, request: pytest.FixtureRequest) -> str:
        server: servers.RedisServer = request.getfixturevalue(request.param)
        return server.url

    @pytest.fixture
    def store(self, url: str, prefix: str) -> TokenStore:
        return RedisStore(url, prefix, lease=LEASE)

    @pytest.fixture
    def reopened(self, url: str, prefix: str) -> TokenStore:
        return RedisStore(url, prefix, lease=LEASE)


@pytest.fixture(scope="class")
def collected() -> Iterator[None]:
    """What redis-py leaves of a try that took too long is collected here, and not during a later test."""
    yield
    gc.collect()


@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestRedisCluster(ServedStoreContract):
    @pytest.fixture
    def store(self, redis_cluster: servers.RedisGroup, prefix: str) -> TokenStore:
        return RedisStore(redis_cluster.url, prefix, lease=LEASE)

    @pytest.fixture
    def reopened(self, redis_cluster: servers.RedisGroup, prefix: str) -> TokenStore:
        return RedisStore(redis_cluster.url, prefix, lease=LEASE)


class TestPostgresStore(ServedStoreContract):
    @pytest.fixture
    async def store(self, postgres_server: servers.PostgresServer, prefix: str) -> TokenStore:
        store = PostgresStore(postgres_server.url, table=prefix, lease=LEASE)
        await store.migrate()
        return store

    @pytest.fixture
    def reopened(self, postgres_server: servers.PostgresServer, prefix: str) -> TokenStore:
        return PostgresStore(postgres_server.url, table=prefix, lease=LEASE)


class TestEncryptedMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> TokenStore:
        return EncryptedStore(MemoryStore(), [EncryptedStore.new_key()])


class TestEncryptedSqliteStore(KeptStoreContract):
    @pytest.fixture
    def key(self) -> str:
        return EncryptedStore.new_key()

    @pytest.fixture
    def store(self, tmp_path: Path, key: str) -> TokenStore:
        return EncryptedStore(SqliteStore(tmp_path / "users.db"), [key])

    @pytest.fixture
    def reopened(self, tmp_path: Path, key: str) -> TokenStore:
        return EncryptedStore(SqliteStore(tmp_path / "users.db"), [key, EncryptedStore.new_key()])


class TestEncryptedRedisStore(ServedStoreContract):
    @pytest.fixture
    def key(self) -> str:
        return EncryptedStore.new_key()

    @pytest.fixture
    def store(self, redis_server: servers.RedisServer, prefix: str, key: str) -> TokenStore:
        return EncryptedStore(RedisStore(redis_server.url, prefix, lease=LEASE), [key])

    @pytest.fixture
    def reopened(self, redis_server: servers.RedisServer, prefix: str, key: str) -> TokenStore:
        return EncryptedStore(RedisStore(redis_server.url, prefix, lease=LEASE), [key, EncryptedStore.new_key()])
