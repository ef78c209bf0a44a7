"""The lock of a user between real processes: who waits, what frees it, and what does not."""
from __future__ import annotations

import asyncio
import dataclasses
import errno
import fcntl
import os
import shutil
import signal
import stat
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from SlyAPI import OAuth2User
from SlyAPI.errors import SaveError, UnavailableError
from SlyAPI.stores import FileStore, SqliteStore, StoredUser, file_lock, user_file
from tests.support import virtual_time
from tests.support.accounts import ROOT_ONLY
from tests.support.other_process import HOLD, PLACES, Spawn, entry_of, is_free

pytestmark = pytest.mark.posix  # fcntl, kill, fork; tests/windows has the rest


def locks(folder: Path) -> set[str]:
    return {file.name for file in folder.rglob(".*.lock")}


def on_file(path: Path, **more: Any) -> AbstractAsyncContextManager[None]:
    return file_lock.file_lock(path, **more)


async def test_a_lock_shuts_out_other_processes_until_it_is_given_back(
    kind: str, place: Path, entry: StoredUser, spawn: Spawn
) -> None:
    holder = await spawn(HOLD, kind, place)
    await holder.hears("asking", "held")
    assert not await is_free(entry)
    holder.tell()
    await holder.hears("free")
    assert await is_free(entry, 5)


async def test_processes_that_count_under_the_lock_lose_no_count(
    kind: str, place: Path, entry: StoredUser, spawn: Spawn
) -> None:
    counter = place.with_name("counter")
    counter.write_text("0")
    program = """
async def main():
    for turn in range(20):
        async with entry.lock():
            count = int(open(sys.argv[3]).read())
            await asyncio.sleep(0)
            with open(sys.argv[3], "w") as file:
                file.write(str(count + 1))
            if turn % 5 == 0:
                await entry.save(await entry.load())  # a user's file is another one now
asyncio.run(main())
"""
    others = [await spawn(program, kind, place, counter) for _ in range(3)]
    assert [await other.ends() for other in others] == [0] * 3
    assert counter.read_text() == "60"


async def test_a_killed_process_holds_no_lock(kind: str, place: Path, entry: StoredUser, spawn: Spawn) -> None:
    holder = await spawn(HOLD, kind, place)
    await holder.hears("asking", "held")
    waiting = asyncio.create_task(is_free(entry, 20))
    assert not await is_free(entry)
    await holder.kill()
    assert await waiting


async def test_a_lock_that_a_stopped_process_holds_is_an_error_after_a_while_and_is_not_taken(
    place: Path, spawn: Spawn
) -> None:
    await user_file(place).save(OAuth2User("T", "R"))
    holder = await spawn(HOLD, "file", place)
    await holder.hears("asking", "held")
    holder.child.send_signal(signal.SIGSTOP)
    with pytest.raises(UnavailableError, match="locked") as caught:
        async with file_lock.file_lock(place, timeout=0.05):
            raise AssertionError("it was taken")
    assert caught.value.kind == "transient"
    holder.child.send_signal(signal.SIGCONT)
    assert not await is_free(user_file(place), 0.02)


async def test_who_waits_for_a_lock_can_be_cancelled(kind: str, place: Path, entry: StoredUser, spawn: Spawn) -> None:
    holder = await spawn(HOLD, kind, place)
    await holder.hears("asking", "held")
    waiting = asyncio.create_task(is_free(entry, 20))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    holder.tell()
    await holder.hears("free")
    assert await is_free(entry, 5)


async def test_a_lock_shuts_out_other_tasks_of_the_same_process(entry: StoredUser) -> None:
    async with entry.lock():
        assert not await is_free(entry)
    assert await is_free(entry)


# The file of the lock.

CHANGES: dict[str, Callable[[StoredUser, Path], Any]] = {
    "saved": lambda entry, file: entry.save(OAuth2User("new", "R2")),
    "deleted": lambda entry, file: entry.delete(),
    "deleted and saved": lambda entry, file: again(entry),
    "renamed over": lambda entry, file: asyncio.to_thread(os.replace, shutil.copy(file, file.parent / "new"), file),
    "emptied": lambda entry, file: asyncio.to_thread(file.write_bytes, b""),
}


async def again(entry: StoredUser) -> None:
    await entry.delete()
    await entry.save(OAuth2User("new", "R2"))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("kind", ["file", "folder"])
async def test_a_lock_stays_taken_whatever_happens_to_the_file_that_it_is_for(
    kind: str, change: Callable[[StoredUser, Path], Any], tmp_path: Path, spawn: Spawn
) -> None:
    entry = entry_of(kind, tmp_path / PLACES[kind])
    await entry.save(OAuth2User("T", "R"))
    holder = await spawn(HOLD, kind, tmp_path / PLACES[kind])
    await holder.hears("asking", "held")
    await change(entry, tmp_path / ("user.json" if kind == "file" else "users/alice.json"))
    assert not await is_free(entry)
    holder.tell()
    await holder.hears("free")
    assert await is_free(entry, 5)


async def test_a_user_who_is_not_there_yet_has_a_lock(kind: str, place: Path, spawn: Spawn) -> None:
    holder = await spawn(HOLD, kind, place)
    await holder.hears("asking", "held")
    assert not await is_free(entry_of(kind, place))


async def test_a_lock_is_an_empty_private_file_beside_the_data_that_stays_and_is_no_user(
    kind: str, place: Path, entry: StoredUser
) -> None:
    async with entry.lock():
        pass
    assert locks(place.parent) - {".slyapi.lock"}
    for path in place.parent.glob(".*.lock"):
        assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_size) == (0o600, 0)
    assert await entry.store.names() == ([entry.name] if kind == "sqlite" else ["user"])


@pytest.mark.parametrize("make", [user_file, lambda path: SqliteStore(path).user("alice")], ids=["file", "sqlite"])
async def test_two_names_of_one_file_are_one_lock(make: Callable[[Path], StoredUser], tmp_path: Path) -> None:
    await make(tmp_path / "real").save(OAuth2User("T", "R"))
    (tmp_path / "link").symlink_to("real")
    async with make(tmp_path / "link").lock():
        assert not await is_free(make(tmp_path / "real"))
    assert await is_free(make(tmp_path / "real"))


IN_THE_PLACE: dict[str, Callable[[Path], object]] = {
    "a link": lambda path: path.symlink_to("made"),
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("put", IN_THE_PLACE.values(), ids=IN_THE_PLACE)
async def test_what_is_in_the_place_of_a_lock_is_refused_and_left_alone(
    tmp_path: Path, put: Callable[[Path], object]
) -> None:
    put(tmp_path / ".user.json.lock")
    with pytest.raises(UnavailableError, match="in the place of one") as caught:
        async with on_file(tmp_path / "user.json"):
            raise AssertionError("it was taken")
    assert caught.value.kind == "configuration"
    assert os.listdir(tmp_path) == [".user.json.lock"]


PERSON, STRANGER = 54321, 12345


@ROOT_ONLY
@pytest.mark.parametrize("there", [True, False], ids=["of a user file", "before there is one"])
async def test_a_lock_that_root_makes_is_its_owners_and_both_can_take_it(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a refresh in root's cron job does not shut the owner out."""
    path, owned = tmp_path / "user.json", tmp_path
    if there:
        path.touch(0o600)
        owned = path
    os.chown(owned, PERSON, PERSON)
    async with on_file(path):
        pass
    lock = (tmp_path / ".user.json.lock").stat()
    assert (lock.st_uid, lock.st_gid, stat.S_IMODE(lock.st_mode)) == (PERSON, PERSON, 0o600)
    for account in (PERSON, 0):
        monkeypatch.setattr(os, "geteuid", lambda account=account: account)
        async with on_file(path, timeout=0.1):
            pass


@ROOT_ONLY
async def test_a_lock_of_a_stranger_is_refused_and_not_given_to_anybody(tmp_path: Path) -> None:
    for name in ("user.json", ".user.json.lock"):
        (tmp_path / name).touch(0o666)
    os.chown(tmp_path / "user.json", PERSON, PERSON)
    os.chown(tmp_path / ".user.json.lock", STRANGER, STRANGER)
    with pytest.raises(UnavailableError, match="in the place of one"):
        async with on_file(tmp_path / "user.json"):
            raise AssertionError("it was taken")
    assert (tmp_path / ".user.json.lock").stat().st_uid == STRANGER


async def test_a_lock_that_may_not_be_opened_for_a_moment_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root makes it, before its owner has it; as on Windows, while another program holds it open."""
    real, refused = os.open, list[str]()

    def denied(path: Any, *more: Any) -> int:
        if str(path).endswith(".user.json.lock") and len(refused) < 3:
            refused.append(str(path))
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *more)

    (tmp_path / ".user.json.lock").touch(0o600)
    monkeypatch.setattr(os, "open", denied)
    async with on_file(tmp_path / "user.json"):
        assert len(refused) == 3
    refused.clear()
    monkeypatch.setattr(file_lock, "DENIED_TIMEOUT", 0.0)
    with pytest.raises(UnavailableError, match="in the place of one"):
        async with on_file(tmp_path / "user.json"):
            raise AssertionError("it was taken")


@ROOT_ONLY
async def test_no_lock_is_made_where_another_accounts_link_leads(tmp_path: Path) -> None:
    shared, private = tmp_path / "shared", tmp_path / "private"
    for folder, mode in ((shared, 0o1777), (private, 0o700)):
        folder.mkdir()
        folder.chmod(mode)
    (shared / "user.json").symlink_to(private / "user.json")
    os.lchown(shared / "user.json", STRANGER, STRANGER)
    with pytest.raises(UnavailableError, match="another account"):
        async with on_file(shared / "user.json"):
            raise AssertionError("it was taken")
    assert not locks(tmp_path)


async def test_a_lock_file_is_open_for_writing_as_nfs_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over NFS an exclusive lock needs a handle that can write (flock(2), "NFS details"); this stands in for it."""
    real = fcntl.flock

    def as_over_nfs(handle: int, how: int) -> None:
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "not open for writing")
        real(handle, how)

    monkeypatch.setattr(file_lock.fcntl, "flock", as_over_nfs)
    async with on_file(tmp_path / "user.json"):
        with (tmp_path / ".user.json.lock").open() as file, pytest.raises(BlockingIOError):
            real(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


# A lock that cannot be taken is not a lock that was taken.


@pytest.mark.parametrize("call", ["open", "flock"])
@pytest.mark.parametrize(
    "code",
    [
        *(errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM, errno.ENOSPC, errno.ENOLCK, errno.EACCES),
        *(errno.EDQUOT, errno.ESTALE),
    ],
)
async def test_a_lock_that_the_system_refuses_is_a_passing_error_and_leaves_nothing(
    entry: StoredUser, call: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    handles = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        if call == "open":
            patch.setattr(os, "open", refuse)
        else:
            patch.setattr(file_lock.fcntl, "flock", refuse)
        with pytest.raises(UnavailableError) as caught:
            async with entry.lock():
                raise AssertionError("it was taken")
    assert caught.value.kind == "transient"
    assert len(os.listdir("/proc/self/fd")) == handles
    assert await is_free(entry, 5)


OUT_OF_FILES = """
import resource
from SlyAPI.errors import SlyError

async def ends_in(call):
    try:
        await call
        say("well")
    except SlyError as error:
        say(f"{type(error).__name__} {error.kind}")

async def main():
    await asyncio.to_thread(int)  # the thread is there
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    full = []
    try:
        while True:
            full.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    calls = lambda: (entry.load(), entry.lock().__aenter__(), entry.save(OAuth2User("new", "R2")),
                     entry.replace({}, OAuth2User("new", "R2")))
    for call in calls():
        await ends_in(call)
    for handle in full:
        os.close(handle)
    user = await entry.load()
    say(user.token)
    async with entry.lock():
        say("locked")
asyncio.run(main())
"""


async def test_a_process_that_may_open_no_more_files_gets_passing_errors_and_nothing_is_changed(
    kind: str, place: Path, entry: StoredUser, spawn: Spawn
) -> None:
    other = await spawn(OUT_OF_FILES, kind, place)
    await other.hears("UnavailableError transient", "UnavailableError transient", "SaveError transient")
    await other.hears("SaveError transient", "T", "locked")


def test_the_lock_of_a_folder_is_a_file_in_it_and_is_waited_for(tmp_path: Path) -> None:
    system: Any = file_lock.SYSTEM
    lock = os.open(tmp_path / ".slyapi.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    tries = list[int]()

    def take(handle: int) -> None:
        tries.append(handle)
        if len(tries) == 2:
            os.close(lock)
        system.take(handle)

    with file_lock.folder_lock(str(tmp_path), system=dataclasses.replace(system, take=take)):
        assert len(tries) == 2
        with (tmp_path / ".slyapi.lock").open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with file_lock.folder_lock(str(tmp_path), system=None):
        pass


@pytest.mark.parametrize("code", [errno.EIO, errno.EWOULDBLOCK])
def test_a_folders_lock_that_cannot_be_had_is_a_passing_error(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(file_lock, "WRITE_TIMEOUT", 0.01)
    monkeypatch.setattr(file_lock.fcntl, "flock", refuse)
    with pytest.raises(SaveError) as caught, file_lock.folder_lock(str(tmp_path)):
        raise AssertionError("it was taken")
    assert caught.value.kind == "transient"


def test_the_time_limit_holds_for_both_waits_together_for_the_process_and_for_the_file(tmp_path: Path) -> None:
    def taken(handle: int) -> None:
        raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))

    system = file_lock.SystemLocks(taken, frozenset({errno.EWOULDBLOCK}))

    async def waits(timeout: float) -> float:
        with pytest.raises(UnavailableError, match="still locked"):
            async with file_lock.file_lock(tmp_path / "user.json", timeout=timeout, system=system):
                raise AssertionError("it was taken")
        return asyncio.get_running_loop().time()

    async def both() -> list[float]:
        await asyncio.sleep(3.0)  # the time of an event loop seldom begins at 0
        return list(await asyncio.gather(waits(10.0), waits(15.0)))

    assert virtual_time.run(both()) == pytest.approx([13.0, 18.0], abs=0.3)


# Without working locks.


@pytest.mark.parametrize("code", [errno.EBADF, errno.ENOTSUP])
async def test_where_there_are_no_locks_the_tasks_of_the_process_still_take_turns(
    entry: StoredUser, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(file_lock.fcntl, "flock", refuse)
    handles = len(os.listdir("/proc/self/fd"))
    async with entry.lock():
        assert not await is_free(entry)
    assert await is_free(entry)
    assert len(os.listdir("/proc/self/fd")) == handles


async def test_on_a_system_without_flock_the_tasks_of_the_process_still_take_turns(
    tmp_path: Path,
) -> None:
    def lock(timeout: float) -> AbstractAsyncContextManager[None]:
        return file_lock.file_lock(tmp_path / "user.json", timeout=timeout, system=file_lock.system_locks(None, None))

    async with lock(1):
        with pytest.raises(UnavailableError):
            async with lock(0.02):
                raise AssertionError("it was taken")
    async with lock(1):
        pass


@pytest.mark.parametrize("make", [FileStore, SqliteStore])
async def test_in_a_folder_that_cannot_be_written_a_lock_is_had_at_once(
    make: Callable[[Path], Any], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    async with asyncio.timeout(5), make(tmp_path / "file" / "below").user("alice").lock():
        pass


# After a fork.

FORK = """
async def main():
    lock = entry.lock()
    await lock.__aenter__()
    down, up = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(down[1])
        %s
        os._exit(0)
    say("forked")
    await told()
    if sys.argv[3] == "child first":
        os.close(down[1])
        os.waitpid(child, 0)
        say("child gone")
        await told()
        await lock.__aexit__(None, None, None)
    else:
        await lock.__aexit__(None, None, None)
        say("parent free")
        await told()
        os.kill(child, signal.SIGKILL)
    say("end")
asyncio.run(main())
"""


async def test_a_forked_child_keeps_no_lock_of_its_parents(
    kind: str, place: Path, entry: StoredUser, spawn: Spawn
) -> None:
    parent = await spawn(FORK % "time.sleep(60)", kind, place, "parent first")
    await parent.hears("forked")
    assert not await is_free(entry)
    parent.tell()
    await parent.hears("parent free")
    assert await is_free(entry, 5)
    parent.tell()
    await parent.hears("end")


async def test_a_forked_child_that_leaves_the_lock_does_not_free_its_parents(
    kind: str, place: Path, entry: StoredUser, spawn: Spawn
) -> None:
    leave = "await lock.__aexit__(None, None, None)"
    parent = await spawn(FORK % leave, kind, place, "child first")
    await parent.hears("forked")
    parent.tell()
    await parent.hears("child gone")
    assert not await is_free(entry)
    parent.tell()
    await parent.hears("end")
    assert await is_free(entry, 5)


async def test_a_forked_child_that_leaves_its_parents_lock_keeps_its_own(
    kind: str, place: Path, entry: StoredUser, spawn: Spawn, tmp_path: Path
) -> None:
    """Its own has the name of one of the parent's, and the number of a handle."""
    program = """
other = user_file(sys.argv[3])

async def child(locks):
    own = other.lock()
    await own.__aenter__()
    say("held")
    for lock in locks:
        await lock.__aexit__(None, None, None)
    say("left")
    sys.stdin.readline()
    await own.__aexit__(None, None, None)
    say("free")

async def main():
    # enough of them that the child's own lock gets the number of a handle that the fork closed
    locks = [entry.lock(), other.lock(), *(user_file(f"{sys.argv[3]}.{n}").lock() for n in range(6))]
    for lock in locks:
        await lock.__aenter__()
    if os.fork() == 0:
        asyncio.run(child(locks))
    os._exit(0)
asyncio.run(main())
"""
    other = user_file(tmp_path / "other.json")
    for file in [other, *(user_file(tmp_path / f"other.json.{n}") for n in range(6))]:
        await file.save(OAuth2User("T", "R"))
    child = await spawn(program, kind, place, tmp_path / "other.json")
    await child.hears("held", "left")
    assert not await is_free(other)
    child.tell()
    await child.hears("free")
    assert await is_free(other, 5)


async def test_a_forked_child_does_not_wait_for_threads_that_stayed_with_its_parent(
    kind: str, place: Path, entry: StoredUser, spawn: Spawn
) -> None:
    program = """
held = threading.Event()

async def hold():
    async with entry.lock():
        held.set()
        await asyncio.sleep(60)

async def main():
    async with entry.lock():
        say("child held")

threading.Thread(target=lambda: asyncio.run(hold()), daemon=True).start()
held.wait()
if os.fork() == 0:
    say("child asks")
    asyncio.run(main())
    os._exit(0)
sys.stdin.readline()
os._exit(0)
"""
    parent = await spawn(program, kind, place)
    await parent.hears("child asks")
    assert not await is_free(entry)
    parent.tell()  # it ends, and with it its lock
    await parent.hears("child held")
