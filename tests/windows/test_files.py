"""User files on Windows: held open by other programs, read-only, with long, reserved and differently spelt names."""
from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from SlyAPI import OAuth2User
from SlyAPI.errors import ConfigError, CredentialsError, SaveError, UnavailableError
from SlyAPI.json_file import read_json_file, windows, write_json_file
from SlyAPI.stores import FileStore, StoredUser, store_at, user_file
from tests.support.folders import listed
from tests.support.other_process import HOLD, is_free, spawning

NEW = OAuth2User("T2", "R2")

HOLDER = """
import ctypes, sys
share = int(sys.argv[2])
handle = ctypes.windll.kernel32.CreateFileW(sys.argv[1], 0x80000000, share, None, 3, 0, None)
assert handle != -1
print("open", flush=True)
sys.stdin.readline()
"""


@contextmanager
def held_open(path: Path, *, share: int, seconds: float | None = None) -> Iterator[None]:
    """Another program has the file open; `share` is what it lets others do: 0 nothing, 1 read, 3 read and write."""
    words = [sys.executable, "-c", HOLDER, str(path), str(share)]
    program = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stdout.readline().strip() == "open"
    if seconds is not None:
        threading.Timer(seconds, program.communicate, ("\n",)).start()
    try:
        yield
    finally:
        if program.poll() is None and seconds is None:
            program.communicate("\n")
        program.wait(30)


@pytest.fixture
async def entry(tmp_path: Path) -> StoredUser:
    user = user_file(tmp_path / "user.json")
    await user.save(OAuth2User("T", "R"))
    return user


async def touched(entry: StoredUser) -> None:
    known = await entry.store.load(entry.name)
    await entry.store.replace(entry.name, known, known)


# A file that another program has open.


@pytest.mark.parametrize("share", [1, 3], ids=["for reading", "for reading and writing"])
async def test_a_save_waits_for_a_program_that_reads_the_file(entry: StoredUser, share: int, tmp_path: Path) -> None:
    with held_open(tmp_path / "user.json", share=share, seconds=0.5):
        await entry.save(NEW)
    assert await entry.load() == NEW
    assert listed(tmp_path) == ["user.json"]


async def test_a_read_waits_for_a_program_that_shares_nothing_and_the_event_loop_goes_on(
    entry: StoredUser, tmp_path: Path
) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with held_open(tmp_path / "user.json", share=0, seconds=0.5):
        began = time.monotonic()
        assert (await entry.load()).token == "T"
    waited = time.monotonic() - began
    ticking.cancel()
    assert waited > 0.2
    assert ticks > 5


async def test_a_program_that_keeps_the_file_open_makes_a_passing_error_and_loses_nothing(
    entry: StoredUser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "SHARING_TRIES", 5)
    with held_open(tmp_path / "user.json", share=1):
        for call in (entry.save(NEW), touched(entry)):
            with pytest.raises(SaveError, match="another program has it open") as caught:
                await call
            assert caught.value.kind == "transient"
        assert (await entry.load()).token == "T"
        assert listed(tmp_path) == ["user.json"]
    with held_open(tmp_path / "user.json", share=0):
        with pytest.raises(UnavailableError, match="another program has it open") as unread:
            await entry.load()
        assert unread.value.kind == "transient"
    await entry.save(NEW)
    assert await entry.load() == NEW


async def test_readers_and_writers_in_many_threads_do_not_disturb_each_other(entry: StoredUser, tmp_path: Path) -> None:
    path, ended, seen = tmp_path / "user.json", threading.Event(), list[str]()

    def read() -> None:
        while not ended.is_set():
            seen.append(read_json_file(path)["token"])
            time.sleep(0.02)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(50):
            await entry.save(OAuth2User(f"T{number}", "R"))
    finally:
        ended.set()
        for reader in readers:
            reader.join()
    assert len(seen) > 10
    assert listed(tmp_path) == ["user.json"]


async def test_a_lock_file_that_another_program_has_open_is_waited_for(entry: StoredUser, tmp_path: Path) -> None:
    async with entry.lock():
        pass
    with held_open(tmp_path / ".user.json.lock", share=0, seconds=0.5):
        assert await is_free(entry, 10)


# What cannot be replaced.


async def test_a_read_only_file_is_noticed_before_a_refresh_with_the_way_out(entry: StoredUser, tmp_path: Path) -> None:
    os.chmod(tmp_path / "user.json", 0o400)  # sets the attribute
    for call in (touched(entry), entry.save(NEW)):
        with pytest.raises(SaveError, match="marked as read-only") as caught:
            await call
        assert (caught.value.kind, "attrib -R" in caught.value.next_step) == ("configuration", True)
    os.chmod(tmp_path / "user.json", 0o600)
    await entry.save(NEW)


async def test_a_folder_in_the_place_of_a_file_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "user.json").mkdir()
    with pytest.raises(CredentialsError, match="is a folder"):
        read_json_file(tmp_path / "user.json")
    with pytest.raises(SaveError, match="is a folder"):
        write_json_file(tmp_path / "user.json", {})


# Names.


@pytest.mark.parametrize("name", ["con", "aux.json", "NUL", "com1.json", "lpt9.txt.json", "prn .json"])
async def test_a_reserved_name_is_refused_with_that_reason_and_a_user_may_have_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(CredentialsError, match="reserves for a device"):
        read_json_file(path)
    with pytest.raises(SaveError, match="reserves for a device"):
        write_json_file(path, {})
    with pytest.raises(ConfigError, match="reserves for a device"):
        user_file(path)
    store = FileStore(tmp_path / "users")
    await store.user(name).save(NEW)
    assert await store.user(name).load() == NEW
    assert await store.names() == [name]


async def test_names_that_differ_by_case_are_one_file_and_one_lock(entry: StoredUser, tmp_path: Path) -> None:
    other = user_file(str(tmp_path / "User.JSON"))
    assert entry.key == other.key
    async with spawning() as spawn:
        holder = await spawn(HOLD, "file", tmp_path / "USER.json")
        await holder.hears("asking", "held")
        assert not await is_free(entry)
        assert not await is_free(other)
        holder.tell()
        await holder.hears("free")
    store = FileStore(tmp_path / "users")
    await store.user("alice").save(NEW)
    await store.user("Alice").save(OAuth2User("other", "R"))
    assert await store.user("alice").load() == NEW


@pytest.mark.parametrize("kind", ["file", "folder", "sqlite"])
async def test_a_path_of_over_260_characters_is_a_path(kind: str, tmp_path: Path) -> None:
    folder = tmp_path
    while len(str(folder)) < 260:
        folder = folder / ("x" * 50)
    os.makedirs(f"\\\\?\\{folder}")
    stores: dict[str, Any] = {
        "file": lambda: user_file(folder / "user.json"),
        "folder": lambda: FileStore(folder / "users").user("alice"),
        "sqlite": lambda: store_at(f"sqlite:{folder / 'users.db'}").user("alice"),
    }
    entry: StoredUser = stores[kind]()
    await entry.save(NEW)
    await touched(entry)
    async with entry.lock():
        assert await entry.load() == NEW
    assert "?" not in repr(entry)


@pytest.mark.parametrize("kind", ["file", "sqlite"])
async def test_a_drive_a_backslash_and_a_unc_path_are_addresses_of_stores(kind: str, tmp_path: Path) -> None:
    here = str(tmp_path / "users.db")
    assert here[1:3] == ":\\"
    unc = f"\\\\localhost\\{here[0]}$\\{here[3:]}"
    for address in (here, here.replace("\\", "/"), f"///{here}", f"//{here}", f"//localhost/{here}"):
        assert where(store_at(f"{kind}:{address}")) == here
    assert where(store_at(f"{kind}://server/share/users.db")) == r"\\server\share\users.db"
    assert where(store_at(f"{kind}:{unc}")) == unc


def where(store: Any) -> str:
    return str(store.folder if isinstance(store, FileStore) else store.path)


async def test_a_user_file_at_a_unc_path_is_read_and_replaced(tmp_path: Path) -> None:
    """Under Wine, `\\\\?\\UNC` and shares of this machine are not there; `\\\\.\\C:\\` is a path that begins as one."""
    entry = user_file("\\\\.\\" + str(tmp_path / "user.json"))
    await entry.save(NEW)
    await touched(entry)
    async with entry.lock():
        assert await entry.load() == NEW
