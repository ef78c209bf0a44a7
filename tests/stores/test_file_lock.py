"""The lock of a user between real processes: who waits, what frees it, and what does not."""
from __future__ import annotations

import asyncio
import dataclasses
import errno
import fcntl
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from SlyAPI import OAuth2User
from SlyAPI.errors import SaveError, UnavailableError
from SlyAPI.stores import FileStore, SqliteStore, StoredUser, file_lock, user_file
from tests.support import virtual_time
from tests.support.other_process import HOLD, Spawn, is_free


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.rglob("*") if file.is_file()}


async def test_a_lock_shuts_out_other_processes_until_it_is_given_back(
    kind: str, place: Path, entry: StoredUser, spawn: Spawn
) -> None:
    before = files(place.parent)
    holder = await spawn(HOLD, kind, place)
    await holder.hears("asking", "held")
    assert not await is_free(entry)
    holder.tell()
    await holder.hears("free")
    assert await is_free(entry, 5)
    assert files(place.parent) == before


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
    before = files(place.parent)
    holder = await spawn(HOLD, kind, place)
    await holder.hears("asking", "held")
    waiting = asyncio.create_task(is_free(entry, 20))
    assert not await is_free(entry)
    await holder.kill()
    assert await waiting
    assert files(place.parent) == before  # what the dead one left, the next one took away


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


async def test_a_lock_won_on_a_file_that_was_replaced_meanwhile_is_won_again_on_the_new_one(
    tmp_path: Path, spawn: Spawn
) -> None:
    entry = user_file(tmp_path / "user.json")
    await entry.save(OAuth2User("T", "R"))
    async with entry.lock():
        waiter = await spawn(HOLD, "file", tmp_path / "user.json")
        await waiter.hears("asking")
        await entry.save(OAuth2User("new", "R2"))
    await waiter.hears("held")
    assert not await is_free(entry)
    waiter.tell()
    await waiter.hears("free")
    assert await is_free(entry, 5)


async def test_a_lock_on_a_file_that_is_taken_away_keeps_nobody_waiting(
    kind: str, place: Path, entry: StoredUser, spawn: Spawn
) -> None:
    holder = await spawn(HOLD, kind, place)
    await holder.hears("asking", "held")
    waiting = asyncio.create_task(is_free(entry, 20))
    await asyncio.sleep(0.01)
    for file in [place] if kind == "file" else [*place.parent.glob("*/alice.json"), *place.parent.glob("*.lock")]:
        file.unlink()
    assert await waiting


@pytest.mark.parametrize("make", [user_file, lambda path: SqliteStore(path).user("alice")], ids=["file", "sqlite"])
async def test_two_names_of_one_file_are_one_lock(make: Callable[[Path], StoredUser], tmp_path: Path) -> None:
    await make(tmp_path / "real").save(OAuth2User("T", "R"))
    (tmp_path / "link").symlink_to("real")
    async with make(tmp_path / "link").lock():
        assert not await is_free(make(tmp_path / "real"))
    assert await is_free(make(tmp_path / "real"))


async def test_a_link_in_the_place_of_a_lock_leads_nowhere(tmp_path: Path) -> None:
    async with file_lock.file_lock(tmp_path / "lock", temporary=True):
        pass
    (tmp_path / "lock").symlink_to(tmp_path / "made")
    with pytest.raises(UnavailableError, match="in the place of one") as caught:
        async with file_lock.file_lock(tmp_path / "lock", temporary=True):
            raise AssertionError("it was taken")
    assert caught.value.kind == "configuration"
    assert files(tmp_path) == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
async def test_a_lock_of_another_account_in_a_shared_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").touch(0o666)
    os.chown(tmp_path / "lock", 12345, 12345)
    with pytest.raises(UnavailableError, match="in the place of one"):
        async with file_lock.file_lock(tmp_path / "lock", temporary=True):
            raise AssertionError("it was taken")
    assert (tmp_path / "lock").exists()


async def test_a_lock_of_a_file_asks_to_write_where_it_may_as_nfs_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over NFS an exclusive lock needs a handle that can write (flock(2), "NFS details"); this stands in for it."""
    import fcntl

    real = fcntl.flock

    def as_over_nfs(handle: int, how: int) -> None:
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "not open for writing")
        real(handle, how)

    monkeypatch.setattr(file_lock.fcntl, "flock", as_over_nfs)
    entry = user_file(tmp_path / "user.json")
    await entry.save(OAuth2User("T", "R"))
    async with entry.lock():
        with (tmp_path / "user.json").open() as file, pytest.raises(BlockingIOError):
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
                     entry.replace({}, OAuth2User("new", "R2")), entry.check_writable())
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
    await other.hears("SaveError transient", "well", "T", "locked")


# Windows, by a fake of its module: a locked file can be neither read nor replaced, and its errors are EACCES.


class FakeMsvcrt:
    LK_NBLCK = 2

    def __init__(self) -> None:
        self.locked: list[str] = []

    def locking(self, handle: int, mode: int, count: int) -> None:
        import fcntl

        assert (mode, count) == (self.LK_NBLCK, 1)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None
        self.locked.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))


async def test_a_lock_file_that_is_removed_while_it_is_locked_is_made_and_locked_anew(tmp_path: Path) -> None:
    path, taken = tmp_path / "lock", list[int]()

    def take(handle: int) -> None:
        taken.append(handle)
        if len(taken) == 1:
            path.unlink()

    async with file_lock.file_lock(path, temporary=True, system=file_lock.SystemLocks(take, frozenset(), False)):
        assert path.exists()
    assert len(taken) == 2


async def test_a_lock_file_is_removed_before_it_is_unlocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise another process locks it in between, and a third one makes and locks a new file."""
    path = tmp_path / "lock"
    locked: list[bool] = []

    def unlink(name: Path) -> None:
        with open(name, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked.append(False)
            except BlockingIOError:
                locked.append(True)
        real_unlink(name)

    real_unlink = os.unlink
    async with file_lock.file_lock(path, temporary=True):
        monkeypatch.setattr(os, "unlink", unlink)
    assert locked == [True]
    assert not path.exists()


def test_the_turn_to_write_is_a_lock_of_the_folder_itself_and_is_waited_for(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        tries: list[int] = []

        def take(handle: int) -> None:
            tries.append(handle)
            if len(tries) == 2:
                fcntl.flock(folder, fcntl.LOCK_UN)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

        assert file_lock.SYSTEM is not None
        with file_lock.write_turn(str(tmp_path), system=dataclasses.replace(file_lock.SYSTEM, take=take)):
            assert files(tmp_path) == set()
            with pytest.raises(BlockingIOError):
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert len(tries) == 2
    finally:
        os.close(folder)
    with file_lock.write_turn(str(tmp_path), system=None):
        assert files(tmp_path) == set()


async def test_on_windows_a_lock_is_on_a_file_beside_that_goes_with_it(tmp_path: Path) -> None:
    msvcrt = FakeMsvcrt()
    system = file_lock.system_locks(None, msvcrt)
    user = tmp_path / "user.json"
    await user_file(user).save(OAuth2User("T", "R"))
    async with file_lock.file_lock(user, system=system):
        (lock,) = files(tmp_path) - {"user.json"}
        with (tmp_path / lock).open("w") as other, pytest.raises(PermissionError):
            msvcrt.locking(other.fileno(), msvcrt.LK_NBLCK, 1)
        await user_file(user).save(OAuth2User("T2", "R2"))
    assert files(tmp_path) == {"user.json"}
    assert set(msvcrt.locked) == {lock}


async def test_on_windows_a_lock_that_another_holds_is_waited_for(tmp_path: Path) -> None:
    def lock(timeout: float) -> AbstractAsyncContextManager[None]:
        windows = file_lock.system_locks(None, FakeMsvcrt())
        return file_lock.file_lock(tmp_path / "user.json", system=windows, timeout=timeout)

    with (tmp_path / "user.json.lock").open("w") as other:
        FakeMsvcrt().locking(other.fileno(), FakeMsvcrt.LK_NBLCK, 1)
        with pytest.raises(UnavailableError):
            async with lock(0.02):
                raise AssertionError("it was taken")
        waiting = asyncio.create_task(lock(20).__aenter__())
        assert not (await asyncio.wait([waiting], timeout=0.05))[0]
    await waiting


def test_on_windows_the_turn_to_write_is_a_file_in_the_folder(tmp_path: Path) -> None:
    system = file_lock.system_locks(None, FakeMsvcrt())
    with file_lock.write_turn(str(tmp_path), system=system):
        assert files(tmp_path) == {".slyapi.lock"}
    assert files(tmp_path) == set()


def test_a_system_is_known_by_its_modules() -> None:
    import fcntl

    unix = file_lock.system_locks(fcntl, None)
    assert unix is not None
    assert not unix.beside
    windows = file_lock.system_locks(None, FakeMsvcrt())
    assert windows is not None
    assert windows.beside
    assert file_lock.system_locks(None, None) is None


def test_a_turn_to_write_that_cannot_be_had_is_a_passing_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(file_lock.fcntl, "flock", refuse)
    with pytest.raises(SaveError) as caught, file_lock.write_turn(str(tmp_path)):
        raise AssertionError("it was taken")
    assert caught.value.kind == "transient"


def test_the_time_limit_holds_for_both_waits_together_for_the_process_and_for_the_file(tmp_path: Path) -> None:
    def taken(handle: int) -> None:
        raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))

    (tmp_path / "user.json").touch()
    system = file_lock.SystemLocks(taken, frozenset({errno.EWOULDBLOCK}), beside=False)

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


async def test_a_lock_gives_back_its_handles(entry: StoredUser) -> None:
    handles = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        async with entry.lock():
            assert not await is_free(entry, 0.003)
    assert len(os.listdir("/proc/self/fd")) == handles


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
