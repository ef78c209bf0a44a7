"""KeyringStore: where its locks lie, and what a keyring that cannot be used says."""
from __future__ import annotations

import asyncio
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from SlyAPI.errors import SaveError, SlyError, SupersededError, UnavailableError
from SlyAPI.stores import KeyringStore
from SlyAPI.stores.keyring import lock_folder


class Keyring:
    """A keyring that two programs share, and that may be locked."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}
        self.locked = False
        self.before_set = threading.Event()
        self.before_set.set()

    def _use(self) -> None:
        if self.locked:
            raise PermissionError("secret-5EC9E7")

    def get_password(self, service: str, username: str) -> str | None:
        self._use()
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._use()
        self.before_set.wait(20)
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._use()
        del self.held[service, username]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.posix
async def test_locks_lie_in_a_folder_of_the_accounts_own(home: Path) -> None:
    store = KeyringStore("test", Keyring())
    folder = Path(lock_folder(os.environ))
    assert home in folder.parents
    async with store.lock("alice"):
        (lock,) = folder.iterdir()
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_on_windows_the_folder_of_locks_is_local_to_the_machine() -> None:
    assert lock_folder({"LOCALAPPDATA": "/Users/robin/AppData/Local"}).startswith("/Users/robin/AppData/Local")


@pytest.mark.posix
async def test_a_folder_for_locks_that_cannot_be_made_is_an_error_not_a_lock(home: Path) -> None:
    (home / ".cache").write_text("")
    with pytest.raises(UnavailableError):
        async with KeyringStore("test", Keyring()).lock("alice"):
            raise AssertionError("it was taken")


async def test_a_locked_keyring_is_a_passing_error_that_quotes_nothing() -> None:
    keyring = Keyring()
    store = KeyringStore("test", keyring)
    await store.save("alice", {"token": "T"})
    keyring.locked = True
    for call, kind in (
        (store.load("alice"), UnavailableError),
        (store.save("alice", {"token": "T2"}), SaveError),
        (store.replace("alice", {"token": "T"}, {"token": "T2"}), UnavailableError),
    ):
        with pytest.raises(SlyError) as caught:
            await call
        assert isinstance(caught.value, kind)
        assert caught.value.kind == "transient"
        assert "5EC9E7" not in str(caught.value)
    keyring.locked = False
    assert await store.load("alice") == {"token": "T"}


@pytest.mark.parametrize("call", ["load", "save", "replace", "delete"])
async def test_whatever_entry_a_keyring_has_a_user_of_its_name_leaves_the_others_as_they_are(call: str) -> None:
    keyring = Keyring()
    store = KeyringStore("test", keyring)
    for user in ("alice", "bob"):
        await store.save(user, {"token": user})
    arguments = {"save": ({"token": "T"},), "replace": (None, {"token": "T"})}.get(call, ())
    for _, name in list(keyring.held):
        with suppress(SlyError):
            await getattr(store, call)(name, *arguments)
    rest = ["alice", "bob"] if call != "delete" else []
    assert sorted(await store.names()) == rest


SPOILT = ["", "x", "5", "null", "{}", '"ab"', "[" * 100_000, "[1, [2]]", "\ud800"]


@pytest.mark.parametrize("spoilt", SPOILT, ids=range(len(SPOILT)))
async def test_a_list_of_names_that_another_program_spoilt_costs_no_user(spoilt: str) -> None:
    keyring = Keyring()
    store = KeyringStore("test", keyring)
    await store.save("alice", {"token": "T"})
    (index,) = {name for _, name in keyring.held} - {"alice"}
    keyring.held["test", index] = spoilt
    await store.names()
    await store.replace("alice", {"token": "T"}, {"token": "T2"})
    assert await store.load("alice") == {"token": "T2"}
    assert "alice" in await store.names()


async def test_a_replace_never_overwrites_what_another_program_is_saving() -> None:
    keyring: Any = Keyring()
    login, refresh = KeyringStore("test", keyring), KeyringStore("test", keyring)
    await login.save("alice", {"token": "old"})
    keyring.before_set.clear()
    saving = asyncio.create_task(login.save("alice", {"token": "login"}))
    await asyncio.sleep(0.05)
    replacing = asyncio.create_task(refresh.replace("alice", {"token": "old"}, {"token": "refreshed"}))
    await asyncio.sleep(0.05)
    keyring.before_set.set()
    await saving
    with pytest.raises(SupersededError):
        await replacing
    assert await login.load("alice") == {"token": "login"}
