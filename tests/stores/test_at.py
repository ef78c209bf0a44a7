"""A store by its URL, as settings and command lines name it."""
from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from SlyAPI.errors import ConfigError, MissingExtraError
from SlyAPI.stores import FileStore, KeyringStore, PostgresStore, RedisStore, SqliteStore, TokenStore, store_at


@pytest.mark.parametrize("url", ["file:{}/a b", "file://{}/a%20b", "file://localhost{}/a b", "FILE:{}/a b"])
def test_a_folder_is_a_store_of_files(url: str, tmp_path: Path) -> None:
    store = store_at(url.format(tmp_path))
    assert isinstance(store, FileStore)
    assert store.folder == str(tmp_path / "a b")


def test_a_relative_path_is_taken_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = store_at("sqlite:users.db")
    assert isinstance(store, SqliteStore)
    assert store.path == str(tmp_path / "users.db")


def test_the_keyring_has_a_service_name_or_the_usual_one() -> None:
    for url, service in (("keyring:mine", "mine"), ("keyring:", "SlyAPI")):
        store = store_at(url)
        assert isinstance(store, KeyringStore)
        assert store.service == service


@pytest.mark.parametrize("url", ["redis://:pass-5EC9E7@db:6379/1", "redis://5EC9E7/@db", "rediss://db", "unix:///run/redis.sock"])
def test_a_redis_server_is_a_store(url: str) -> None:
    store = store_at(url)
    assert isinstance(store, RedisStore)
    assert "5EC9E7" not in repr(store)


@pytest.mark.parametrize(
    "url",
    [
        *("postgresql://me:pass-5EC9E7@db:5432/users", "postgres://db/users?sslmode=require"),
        # what nobody encoded in a password: libpq reads another host, port or name
        *("postgresql://me:pass/5EC9E7@db/users", "postgresql://me:pass@5EC9E7@db/users"),
    ],
)
def test_a_postgresql_database_is_a_store(url: str) -> None:
    store = store_at(url)
    assert isinstance(store, PostgresStore)
    assert "5EC9E7" not in repr(store)


@pytest.mark.parametrize(
    "url",
    [
        *("", "users.db", "file:", "sqlite:", "sqlite://", "mysql://me:pass-5EC9E7@db/users", "://", "file://[::"),
        *("sqlite://elsewhere/users.db", "file://me:pass-5EC9E7@elsewhere/users"),
    ],
)
def test_another_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        store_at(url)
    assert "5EC9E7" not in str(refused.value)
    assert "sqlite:PATH" in refused.value.next_step


@pytest.mark.parametrize("url", [None, Path("users.db"), b"sqlite:users.db"])
def test_what_is_no_text_is_refused_as_a_setting_that_is_missing_gives_it(url: Any) -> None:
    with pytest.raises(ConfigError, match="sqlite:PATH"):
        store_at(url)


@pytest.mark.parametrize(
    "url", ["redis://:pass-5EC9E7@db:port/0", "postgresql://me:pass-5EC9E7@[::/users", "postgresql://db/u?pass=5EC9E7"]
)
def test_a_broken_url_of_a_server_is_refused_without_repeating_it(
    url: str, told_by: Callable[[BaseException], str]
) -> None:
    with pytest.raises(ConfigError) as refused:
        store_at(url)
    assert "5EC9E7" not in told_by(refused.value)


@pytest.mark.parametrize(
    ("store", "url", "package"),
    [
        (RedisStore, "redis://:pass-5EC9E7@db/0", "redis.asyncio"),
        (PostgresStore, "postgresql://me:pass-5EC9E7@db/users", "psycopg"),
    ],
)
def test_where_the_package_is_missing_the_password_is_not_shown(
    store: Callable[[str], TokenStore],
    url: str,
    package: str,
    told_by: Callable[[BaseException], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError) as refused:
        store(url)
    assert "5EC9E7" not in told_by(refused.value)


@pytest.mark.parametrize("url", ["sqlite:users%00.db", "sqlite:users\ud800.db"])
def test_a_path_that_no_file_can_have_is_refused_in_our_words(url: str) -> None:
    with pytest.raises(ConfigError, match="is not a path"):
        store_at(url)
