"""Users in SQLite, of which the contract does not say: first use, other files, broken ones, modes, busy ones, names."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
import subprocess
import tempfile
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from SlyAPI import OAuth2User
from SlyAPI.errors import ConfigError, CredentialsError, CredentialsNotFoundError, SaveError, SlyError
from SlyAPI.stores import SqliteStore, sqlite_file
from tests.support.other_process import Spawn, entry_of

VALUE: dict[str, Any] = {"token": "T", "refresh_token": "very-secret"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users.db"


def execute(path: Path, *statements: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as database, database:
        return [database.execute(statement).fetchall() for statement in statements][-1]


@pytest.mark.posix
async def test_many_processes_that_make_the_database_at_once_all_save(path: Path, spawn: Spawn) -> None:
    program = """
begin, ready = os.pipe()
children = []
for number in range(8):
    children.append(os.fork())
    if children[-1] == 0:
        os.close(ready)
        os.read(begin, 1)  # until the parent closes it
        asyncio.run(SqliteStore(place).save(f"user{number}", {"token": str(number)}))
        os._exit(0)
os.close(ready)
say([os.waitpid(child, 0)[1] for child in children])
"""
    for turn in range(3):
        other = await spawn(program, "sqlite", path)
        await other.hears(str([0] * 8))
        assert sorted(await SqliteStore(path).names()) == [f"user{number}" for number in range(8)], turn
        path.unlink()


async def test_threads_that_save_many_users_at_once_lose_none(path: Path) -> None:
    store = SqliteStore(path)
    await asyncio.gather(*(store.save(f"user{number}", {"token": str(number)}) for number in range(60)))
    assert len(await store.names()) == 60
    assert await store.load("user59") == {"token": "59"}


# Modes.


@pytest.fixture
def open_umask() -> Generator[None, None, None]:
    """A process that would let everyone read and write what it makes."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.posix
@pytest.mark.usefixtures("open_umask")
async def test_the_database_and_its_side_files_are_for_their_owner_alone_whatever_the_umask(path: Path) -> None:
    store = SqliteStore(path)
    await store.save("alice", VALUE)
    with closing(sqlite3.connect(path)) as reader:  # the side files go with the last connection
        reader.execute("SELECT * FROM slyapi_users").fetchall()
        async with store.lock("alice"):
            await store.save("alice", VALUE)
            files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert {"users.db", "users.db-wal", "users.db-shm"} < files.keys()
    assert len(files) == 4  # and the lock
    assert set(files.values()) == {0o600}


async def test_the_database_is_in_wal_mode(path: Path) -> None:
    await SqliteStore(path).save("alice", VALUE)
    assert execute(path, "PRAGMA journal_mode") == [("wal",)]


# Other files.


def json_file(path: Path) -> None:
    path.write_text(json.dumps(VALUE))


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def other_table(path: Path) -> None:
    execute(path, "CREATE TABLE slyapi_users (something TEXT)", "INSERT INTO slyapi_users VALUES ('very-secret')")


def zeros(path: Path) -> None:
    path.write_bytes(b"\0" * 8192)


def below_a_file(path: Path) -> None:
    path.write_text("")
    os.rename(path, path.with_name("file"))
    path.symlink_to(path.with_name("file") / "users.db")


@pytest.mark.parametrize("make", [json_file, folder, pipe, other_table, zeros, below_a_file])
async def test_what_is_no_such_database_is_an_error_of_ours_and_stays_as_it_was(
    path: Path, make: Callable[[Path], None]
) -> None:
    make(path)
    before = path.read_bytes() if path.is_file() else None
    store = SqliteStore(path)
    async with asyncio.timeout(20):
        with pytest.raises(CredentialsError, match=r"users\.db") as caught:
            await store.load("alice")
        with pytest.raises(SaveError, match=r"users\.db"):
            await store.save("alice", VALUE)
        with pytest.raises(CredentialsError):
            await store.names()
        with pytest.raises(SaveError):
            await store.delete("alice")
    assert "very-secret" not in str(caught.value)
    if before is not None and make is not other_table:
        assert path.read_bytes() == before


async def test_a_database_of_the_programs_own_gets_one_table_more_and_keeps_all_else(path: Path) -> None:
    execute(path, "CREATE TABLE orders (id INTEGER)", "INSERT INTO orders VALUES (7)")
    store = SqliteStore(path)
    await store.save("alice", VALUE)
    await store.delete("alice")
    assert execute(path, "SELECT * FROM orders") == [(7,)]
    tables = execute(path, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    assert tables == [("orders",), ("slyapi_users",)]


@pytest.mark.parametrize("kept", ["'no json'", "'[]'", "'null'", "''", "x'00ff'", "170017", f"'{'[' * 100_000}'"])
async def test_a_value_that_is_no_user_is_named_and_not_quoted(path: Path, kept: str) -> None:
    store = SqliteStore(path)
    await store.save("alice", VALUE)
    execute(path, f"UPDATE slyapi_users SET value = {kept}")
    with pytest.raises(CredentialsError, match="alice") as caught:
        await store.load("alice")
    assert kept.strip("'") == "" or kept.strip("'") not in str(caught.value)
    await store.save("alice", VALUE)
    assert await store.load("alice") == VALUE


@settings(max_examples=30)
@example((None, [(4090, 128)]))  # SQLite's own messages would quote a token, or not be text
@example((None, [(8190, 128)]))
@given(
    st.tuples(
        st.none() | st.integers(0, 8191),
        st.lists(st.tuples(st.integers(0, 8191), st.integers(0, 255)), max_size=8),
    )
)
def test_a_broken_database_gives_what_was_saved_or_an_error_of_ours(
    harm: tuple[int | None, list[tuple[int, int]]]
) -> None:
    """Cut short, and with bytes changed."""
    cut, changes = harm
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "users.db"
        store = SqliteStore(path)
        asyncio.run(store.save("alice", VALUE))
        raw = bytearray(path.read_bytes())[:cut]
        for at, byte in changes:
            if at < len(raw):
                raw[at] = byte
        path.write_bytes(raw)
        for use in (store.load("alice"), store.names(), store.save("alice", VALUE)):
            told = ""
            try:
                asyncio.run(use)
            except SlyError as error:
                told = str(error)
            assert "very-secret" not in told


# Busy and unwritable.


async def test_a_database_that_another_program_keeps_locked_is_waited_for(path: Path) -> None:
    store = SqliteStore(path)
    await store.save("alice", VALUE)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        saving = asyncio.create_task(store.save("alice", {"token": "T2"}))
        await asyncio.wait([saving], timeout=0.1)
        assert not saving.done()
        other.execute("COMMIT")
        await asyncio.wait_for(saving, 20)
    assert await store.load("alice") == {"token": "T2"}


async def test_waiting_for_a_locked_database_is_bounded_and_the_value_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.05)
    store = SqliteStore(path)
    await store.save("alice", VALUE)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SaveError, match="locked"):
            await store.save("alice", {"token": "T2"})
        assert await store.load("alice") == VALUE  # who reads need not wait: that is what WAL is for
    assert await store.load("alice") == VALUE


@pytest.mark.posix
async def test_a_database_that_cannot_be_written_can_be_read(path: Path) -> None:
    """Read-only for an account that is not root; for root, a folder that is gone from under the side files."""
    store = SqliteStore(path)
    await store.save("alice", VALUE)
    path.parent.chmod(0o755)
    for part in [path.parent, *path.parent.parents]:
        if part.stat().st_uid == os.geteuid() and not part.stat().st_mode & 0o005 and os.geteuid() == 0:
            part.chmod(part.stat().st_mode | 0o055)
    path.chmod(0o444)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    else:
        path.parent.chmod(0o555)
    try:
        assert await store.load("alice") == VALUE
        assert await store.names() == ["alice"]
        with pytest.raises(SaveError, match="may only be read"):
            await store.save("alice", {"token": "T2"})
        with pytest.raises(SaveError) as before_a_refresh:
            await store.replace("alice", VALUE, VALUE)
        async with asyncio.timeout(5), store.lock("alice"):
            pass
    finally:
        if user == 0:
            os.seteuid(0)
        path.parent.chmod(0o755)
    assert before_a_refresh.value.kind == "configuration"
    assert await store.load("alice") == VALUE


# Names and links.


@settings(max_examples=10)  # each with a sync or five of a real disk
@given(st.lists(st.text(), min_size=1, max_size=5, unique=True))
def test_names_of_every_kind_are_kept_apart(names: list[str]) -> None:
    async def scenario(place: str) -> None:
        store = SqliteStore(Path(place) / "users.db")
        for number, name in enumerate(names):
            await store.save(name, {"token": str(number)})
        assert sorted(await store.names()) == sorted(names)
        for number, name in enumerate(names):
            assert await store.load(name) == {"token": str(number)}

    with tempfile.TemporaryDirectory() as place:
        asyncio.run(scenario(place))


async def test_a_name_that_sqlite_cannot_keep_is_refused(path: Path) -> None:
    store = SqliteStore(path)
    for use in (store.save("\ud800", VALUE), store.load("\ud800"), store.delete("\ud800")):
        with pytest.raises(ConfigError, match="name"):
            await use
    assert await store.names() == []


async def test_a_missing_user_is_named(path: Path) -> None:
    with pytest.raises(CredentialsNotFoundError, match="alice"):
        await SqliteStore(path).load("alice")


async def test_a_program_that_changes_its_folder_keeps_its_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("users.db")
    await store.save("alice", VALUE)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert await store.load("alice") == VALUE
    assert os.listdir() == []


@pytest.mark.posix
async def test_a_path_with_signs_that_mean_something_in_a_uri_is_a_path(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a?b#c%20d e.db")
    await store.save("alice", VALUE)
    assert os.listdir(tmp_path) == ["a?b#c%20d e.db"]
    assert await store.load("alice") == VALUE


# After a fork.


@pytest.mark.posix
async def test_a_forked_child_and_its_parent_both_go_on_saving(path: Path, spawn: Spawn) -> None:
    program = """
async def saves(token):
    for turn in range(10):
        await entry.save(OAuth2User(f"{token}{turn}", "R"))

asyncio.run(saves("before"))
child = os.fork()
asyncio.run(saves("child" if child == 0 else "parent"))
if child == 0:
    os._exit(0)
say(os.waitpid(child, 0)[1])
"""
    other = await spawn(program, "sqlite", path)
    await other.hears("0")
    assert (await entry_of("sqlite", path).load()).token in ("child9", "parent9")
    assert isinstance(await entry_of("sqlite", path).load(), OAuth2User)


# Modes of what was there, and errors that pass.


@pytest.mark.posix
async def test_a_database_that_others_could_read_is_for_its_owner_alone_once_it_holds_tokens(path: Path) -> None:
    execute(path, "CREATE TABLE orders (id INTEGER)")
    path.chmod(0o664)
    await SqliteStore(path).save("alice", VALUE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.posix
async def test_a_database_made_anew_by_the_same_object_is_for_its_owner_alone_again(path: Path) -> None:
    store = SqliteStore(path)
    await store.save("alice", VALUE)
    path.unlink()
    before = os.umask(0)
    try:
        await store.save("alice", VALUE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_file_that_is_not_a_database_is_noticed_before_a_refresh(path: Path) -> None:
    store = SqliteStore(path)
    await store.save("alice", VALUE)
    path.unlink()
    path.write_bytes(b"this is not a database, it is a text of some length" * 100)
    with pytest.raises(CredentialsError):
        await store.load("alice")  # as a refresh does, in the lock
    with pytest.raises(SaveError) as caught:
        await store.replace("alice", VALUE, VALUE)
    assert caught.value.kind == "configuration"


@pytest.fixture
def mounted_alone(path: Path) -> Generator[Path, None, None]:
    """A database that is mounted as into a container; skips where we may not mount."""
    asyncio.run(SqliteStore(path).save("alice", VALUE))
    there = path.parent / "there.db"
    there.touch()
    if os.geteuid() or subprocess.run(["mount", "--bind", path, there], check=False, capture_output=True).returncode:
        pytest.skip("may not mount")
    yield there
    subprocess.run(["umount", there], check=True)


@pytest.mark.posix
async def test_a_database_that_is_mounted_alone_is_refused_with_what_to_mount(mounted_alone: Path) -> None:
    """Another container would not see its write-ahead log, nor the locks beside it."""
    store = SqliteStore(mounted_alone)
    for call, error in ((store.load("alice"), CredentialsError), (store.save("alice", VALUE), SaveError)):
        with pytest.raises(error, match="mounted by itself") as caught:
            await call
        assert (caught.value.kind, "Mount its folder" in caught.value.next_step) == ("configuration", True)


async def test_a_table_that_another_program_removes_is_made_again(path: Path) -> None:
    store = SqliteStore(path)
    await store.save("alice", VALUE)
    execute(path, "DROP TABLE slyapi_users")
    with pytest.raises(CredentialsNotFoundError):
        await store.load("alice")
    execute(path, "DROP TABLE slyapi_users")
    await store.save("alice", VALUE)
    assert await store.load("alice") == VALUE


@pytest.mark.posix
async def test_a_database_that_takes_the_name_of_another_is_used_from_then_on(path: Path) -> None:
    store, other = SqliteStore(path), SqliteStore(path.with_name("other.db"))
    await store.save("alice", VALUE)
    await other.save("bob", VALUE)
    os.replace(other.path, path)
    assert await store.names() == ["bob"]
    execute(path.with_name("own.db"), "CREATE TABLE orders (id INTEGER)")
    os.replace(path.with_name("own.db"), path)
    await store.save("carol", VALUE)
    assert await store.names() == ["carol"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
