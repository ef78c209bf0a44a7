"""A process killed at any moment of a save, and a disk that is full: what is stored is whole, and no lock is held."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

from SlyAPI import OAuth2User
from SlyAPI.errors import SaveError
from tests.support.other_process import PLACES, Spawn, entry_of, is_free

pytestmark = [pytest.mark.slow, pytest.mark.posix]

KINDS = pytest.mark.parametrize("kind", sorted(PLACES))

SAVING = """
users = [OAuth2User(letter * 3000, letter * 3000) for letter in "AB"]

async def saves():
    while True:
        for user in users:
            async with entry.lock():
                await entry.save(user)

async def look():
    assert await entry.load() in users
    async with asyncio.timeout(5), entry.lock():
        pass

asyncio.run(entry.save(users[0]))
for turn in range(int(sys.argv[3])):
    child = os.fork()
    if child == 0:
        asyncio.run(saves())
    time.sleep(random.uniform(0.004, 0.030))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    asyncio.run(look())
say("whole")
"""


@KINDS
async def test_a_process_killed_at_any_moment_of_a_save_leaves_a_whole_value_and_no_lock(
    kind: str, tmp_path: Path, spawn: Spawn
) -> None:
    turns = 40
    other = await spawn(SAVING, kind, tmp_path / PLACES[kind], turns)
    assert await other.says() == "whole"
    entry = entry_of(kind, tmp_path / PLACES[kind])
    await entry.save(OAuth2User("T", "R"))
    assert (await entry.load()).token == "T"
    assert await is_free(entry, 5)
    for left in tmp_path.rglob("*"):
        if left.is_file():
            assert left.stat().st_mode & 0o777 == 0o600, left.name
    if kind == "sqlite":
        with sqlite3.connect(tmp_path / "users.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        database.close()


DYING = """
asyncio.run(entry.save(OAuth2User("T", "R")))
for calls in range(2):
    child = os.fork()
    if child == 0:
        rename, left = os.replace, [calls]

        def replace(*names):
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            rename(*names)

        os.replace = replace
        asyncio.run(entry.save(OAuth2User("T2", "R")))
        os._exit(0)
    os.waitpid(child, 0)
say("done")
"""


async def test_whatever_a_killed_process_left_in_a_folder_of_users_the_next_save_takes_away(
    tmp_path: Path, spawn: Spawn
) -> None:
    other = await spawn(DYING, "folder", tmp_path / PLACES["folder"])
    assert await other.says() == "done"
    entry = entry_of("folder", tmp_path / PLACES["folder"])
    left = list(tmp_path.rglob("*.tmp"))
    assert left, "it was killed in time"
    for path in left:
        os.utime(path, (0, 0))
    await entry.save(OAuth2User("T", "R"))
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path | None, None, None]:
    """A disk of 128 KiB; None where only root may mount one and we are not root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder], check=False, capture_output=True
    ).returncode
    yield folder if mounted else None
    if mounted:
        subprocess.run(["umount", folder], check=True)


LIMITED = """
import resource
user = asyncio.run(entry.load())
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
try:
    asyncio.run(entry.save(OAuth2User("new", "N" * 3000)))
except Exception as error:
    say(type(error).__name__)
assert asyncio.run(entry.load()) == user
say("as it was")
"""


@KINDS
async def test_a_process_that_may_write_no_more_is_told_so_and_what_was_there_stays(
    kind: str, tmp_path: Path, spawn: Spawn
) -> None:
    entry = entry_of(kind, tmp_path / PLACES[kind])
    await entry.save(OAuth2User("old", "R"))
    other = await spawn(LIMITED, kind, tmp_path / PLACES[kind])
    await other.hears("SaveError", "as it was")
    assert (await entry.load()).token == "old"
    assert await is_free(entry, 5)
    assert not list(tmp_path.rglob("*.tmp"))


@KINDS
async def test_on_a_full_disk_what_was_there_stays_and_a_save_works_once_there_is_space(
    kind: str, small_disk: Path | None, tmp_path: Path
) -> None:
    if small_disk is None:
        return  # the test before this one has shown the same at a boundary that anyone may set
    entry = entry_of(kind, small_disk / PLACES[kind])
    await entry.save(OAuth2User("old", "R"))
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    with pytest.raises(SaveError, match=r"space|full|written"):
        await entry.save(OAuth2User("new", "N" * 9000))
    assert (await entry.load()).token == "old"
    filler.unlink()
    await entry.save(OAuth2User("new", "R2"))
    assert (await entry.load()).token == "new"
    assert not list(small_disk.rglob("*.tmp"))
