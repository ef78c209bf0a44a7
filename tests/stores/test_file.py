"""Users in files, of which the contract does not say: names and modes on disk, links, other accounts, a full disk."""
from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import stat
import subprocess
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import OAuth2, OAuth2User
from SlyAPI.errors import (
    ConfigError,
    CredentialsError,
    CredentialsNotFoundError,
    SaveError,
    SupersededError,
    UnavailableError,
)
from SlyAPI.stores import FileStore, SqliteStore, StoredUser, user_file
from SlyAPI.stores.token_ends import PAGE
from tests.support.accounts import IS_ROOT, ROOT_ONLY
from tests.support.folders import listed
from tests.support.other_process import PLACES, Spawn, entry_of

if TYPE_CHECKING:
    from tests.conftest import Practise

VALUE: dict[str, Any] = {"token": "T"}


@pytest.fixture
def open_umask() -> Generator[None, None, None]:
    """A process that would let everyone read and write what it makes."""
    before = os.umask(0)
    yield
    os.umask(before)


async def touched(entry: StoredUser) -> None:
    """What a refresh does before it sends a refresh token."""
    known: dict[str, Any] | None = None
    with suppress(CredentialsNotFoundError, CredentialsError):
        known = await entry.store.load(entry.name)
    await entry.store.replace(entry.name, known, known)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Names.


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("alice", "alice.json"),
        ("a.b-c_d+e@example.com", "a.b-c_d+e@example.com.json"),
        ("Alice", "%41lice.json"),  # file systems exist that take A and a for the same
        ("../up", "%2E.%2Fup.json"),
        (".", "%2E.json"),
        (".hidden", "%2Ehidden.json"),
        ("a/b", "a%2Fb.json"),
        ("a\\b", "a%5Cb.json"),
        ("50%", "50%25.json"),
        ("ünï", "%C3%BCn%C3%AF.json"),
        ("con", "%63on.json"),  # a device on Windows
        ("aux.b", "%61ux.b.json"),
        ("a b\n\0", "a%20b%0A%00.json"),
        ("\ud800", "%ED%A0%80.json"),
    ],
)
async def test_a_users_name_is_a_files_name(tmp_path: Path, name: str, file: str) -> None:
    store = FileStore(tmp_path / "users")
    await store.save(name, VALUE)
    assert listed(tmp_path / "users") == [file]
    assert await store.names() == [name]
    assert await store.load(name) == VALUE
    await store.delete(name)
    assert listed(tmp_path / "users") == []


@given(st.lists(st.text(st.characters(), min_size=1, max_size=12), min_size=2, max_size=2, unique=True))
def test_no_two_names_share_a_file_even_where_case_counts_for_nothing(names: list[str]) -> None:
    store = FileStore("users")
    paths = [store.path(name) for name in names]
    assert paths[0].casefold() != paths[1].casefold()
    for path in paths:
        assert os.path.dirname(path) == store.folder
        assert path.isascii()


@pytest.mark.parametrize("name", ["", "x" * 231, "ü" * 40])
async def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        await FileStore(tmp_path).save(name, VALUE)


async def test_the_longest_name_can_be_saved(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    await store.save("x" * 230, VALUE)
    assert await store.names() == ["x" * 230]


async def test_files_that_are_no_users_are_not_named(tmp_path: Path) -> None:
    misspelt = ("Alice.json", "%61lice.json", "a%2fb.json", "%zz.json")
    for file in (*misspelt, "README", ".json", ".alice.json.0123456789ab.tmp"):
        (tmp_path / file).write_text("{}")
    assert await FileStore(tmp_path).names() == []


async def test_all_users_whose_tokens_end_are_found_however_many(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    ended = OAuth2User("T", expires_at=datetime(1969, 7, 20, tzinfo=UTC))
    names = {f"user-{number}" for number in range(2 * PAGE + 1)}
    for name in names:
        Path(store.path(name)).write_text(json.dumps(ended.to_dict()))
    pages = [page async for page in store.ending("access", time.time())]
    assert {name for page in pages for name, _ in page} == names
    assert max(map(len, pages)) <= PAGE


async def test_a_file_that_is_no_users_any_more_is_not_replaced_by_who_knew_another(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    path = Path(store.path("alice"))
    path.write_text("[]")
    with pytest.raises(SupersededError):
        await store.replace("alice", VALUE, {"token": "new"})
    assert path.read_text() == "[]"


async def test_a_program_that_changes_its_folder_keeps_its_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a daemon does, which goes to / so as to keep no disk busy."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store, entry = FileStore("users"), user_file("user.json")
    await store.save("alice", VALUE)
    await entry.save(OAuth2User("T", "R"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert await store.load("alice") == VALUE
    await entry.save(OAuth2User("T2", "R2"))
    assert OAuth2User.from_json_file(tmp_path / "user.json").token == "T2"
    assert os.listdir() == []


@pytest.mark.posix
@pytest.mark.parametrize("make", [lambda: FileStore("users").user("alice"), lambda: user_file("user.json")])
async def test_a_working_folder_that_is_gone_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    entry = make()
    with pytest.raises(CredentialsNotFoundError):
        await entry.load()
    with pytest.raises(SaveError):
        await entry.save(OAuth2User("T", "R"))


# Modes and owners.


@pytest.mark.posix
@pytest.mark.usefixtures("open_umask")
async def test_files_and_folders_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    await FileStore(tmp_path / "a" / "b" / "users").save("alice", VALUE)
    for folder in ("a", "a/b", "a/b/users"):
        assert mode(tmp_path / folder) == 0o700, folder
    assert mode(tmp_path / "a" / "b" / "users" / "alice.json") == 0o600
    await user_file(tmp_path / "user.json").save(OAuth2User("T", "R"))
    assert mode(tmp_path / "user.json") == 0o600


@pytest.mark.posix
@pytest.mark.parametrize("before", [0o644, 0o666, 0o640, 0o600])
async def test_a_save_takes_away_what_others_could_read(tmp_path: Path, before: int) -> None:
    entry = user_file(tmp_path / "user.json")
    await entry.save(OAuth2User("T", "R"))
    (tmp_path / "user.json").chmod(before)
    await entry.save(OAuth2User("T2", "R2"))
    assert mode(tmp_path / "user.json") == 0o600


@pytest.mark.posix
async def test_a_file_of_another_account_stays_that_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """root, who refreshes in a cron job, must not take the file away from its owner."""
    given_to: list[tuple[int, int]] = []
    if os.geteuid() != 0:  # who is not root cannot give a file away: see that it would be
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(os, "fchown", lambda path, uid, gid: given_to.append((uid, gid)))
    entry = user_file(tmp_path / "user.json")
    await entry.save(OAuth2User("T", "R"))
    owner = (12345, 23456)
    if os.geteuid() == 0 and not given_to:
        os.chown(tmp_path / "user.json", *owner)
        await entry.save(OAuth2User("T2", "R2"))
        now = (tmp_path / "user.json").stat()
        given_to.append((now.st_uid, now.st_gid))
    else:
        owner = ((tmp_path / "user.json").stat().st_uid, (tmp_path / "user.json").stat().st_gid)
        await entry.save(OAuth2User("T2", "R2"))
    assert given_to[-1] == owner
    assert mode(tmp_path / "user.json") == 0o600
    assert (await entry.load()).token == "T2"


# Links.


@pytest.mark.posix
async def test_links_to_a_file_and_to_a_folder_stay_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "users").symlink_to("real")
    (tmp_path / "real" / "alice.json").symlink_to("../deep.json")
    store = FileStore(tmp_path / "users")
    await store.save("alice", VALUE)
    assert (tmp_path / "users").is_symlink()
    assert (tmp_path / "real" / "alice.json").is_symlink()
    assert json.loads((tmp_path / "deep.json").read_text()) == VALUE
    assert listed(tmp_path / "real") == ["alice.json"]


@pytest.mark.posix
async def test_a_deleted_user_is_gone_behind_a_link_too(tmp_path: Path) -> None:
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "alice.json").symlink_to("../deep.json")
    store = FileStore(tmp_path / "users")
    await store.save("alice", VALUE)
    await store.delete("alice")
    assert not (tmp_path / "deep.json").exists()
    assert listed(tmp_path / "users") == []


# What is no user, and what cannot be written.


async def test_what_is_saved_is_loaded_with_all_else_that_it_says(tmp_path: Path) -> None:
    entry = user_file(tmp_path / "user.json")
    await entry.save(OAuth2User("new", "R2", extra={"note": "kept"}))
    assert await entry.load() == OAuth2User("new", "R2", extra={"note": "kept"})
    assert listed(tmp_path) == ["user.json"]


@pytest.mark.posix
@given(st.text(), st.sampled_from(["\0", "\ud800", "\udbff\udfff", "\udc00", "\udfff"]), st.text())
@pytest.mark.parametrize("make", [FileStore, SqliteStore, user_file], ids=lambda make: make.__name__)
def test_text_that_no_path_can_be_is_refused_at_once(
    make: Callable[[str], Any], before: str, odd: str, after: str
) -> None:
    """The system's functions would raise a ValueError at the first call."""
    with pytest.raises(ConfigError, match="is not a path"):
        make(before + odd + after)


@pytest.mark.parametrize("text", ["", "[]", "{", "\0", '{"id": "i", "secret": "very-secret", "auth_uri": "a"}'])
async def test_a_file_that_is_no_user_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    (tmp_path / "user.json").write_text(text)
    for entry in (user_file(tmp_path / "user.json"), FileStore(tmp_path).user("user")):
        with pytest.raises(CredentialsError, match="user") as caught:
            await entry.load()
        assert "very-secret" not in str(caught.value)


async def test_a_missing_user_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsNotFoundError, match=r"user\.json"):
        await user_file(tmp_path / "user.json").load()
    with pytest.raises(CredentialsNotFoundError, match="alice"):
        await FileStore(tmp_path / "users").load("alice")


@pytest.mark.posix
async def test_a_folder_that_cannot_be_made_or_written_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = FileStore(tmp_path / "file" / "users")
    with pytest.raises(SaveError, match="cannot be made"):
        await store.save("alice", VALUE)
    with pytest.raises(CredentialsError):
        await store.names()
    (tmp_path / "alice.json").mkdir()
    with pytest.raises(SaveError, match="folder"):
        await FileStore(tmp_path).save("alice", VALUE)
    with pytest.raises(SaveError, match="could not be deleted"):
        await FileStore(tmp_path).delete("alice")


# What a process that was killed left behind.


async def test_an_old_temporary_file_is_taken_away_by_the_next_process_that_saves(tmp_path: Path) -> None:
    old, fresh, others = ".alice.json.0123456789ab.tmp", ".alice.json.ba9876543210.tmp", ".alice.json.old.tmp"
    for file in (old, fresh, others):
        (tmp_path / file).write_text("tokens")
    for file in (old, others):
        os.utime(tmp_path / file, (time.time() - 61, time.time() - 61))
    await FileStore(tmp_path).save("bob", VALUE)
    assert listed(tmp_path) == sorted([fresh, others, "bob.json"])  # fresh: someone may be writing it


@pytest.mark.posix
async def test_links_that_look_like_old_temporary_files_keep_none_of_them_alive(tmp_path: Path) -> None:
    for number in range(10):
        name = tmp_path / f".alice.json.{number:012x}.tmp"
        if number % 2:
            name.symlink_to("nowhere")
        else:
            name.write_text("tokens")
        os.utime(name, (0, 0), follow_symlinks=False)
    await FileStore(tmp_path).save("bob", VALUE)
    assert listed(tmp_path) == ["bob.json"]


@pytest.mark.posix
async def test_beside_the_one_file_only_its_own_temporary_files_are_taken_away(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("user.json")
    own, others = ".user.json.0123456789ab.tmp", ".app.json.0123456789ab.tmp"
    for file in (own, others):
        (tmp_path / file).write_text("tokens")
        os.utime(tmp_path / file, (0, 0))
    await user_file(tmp_path / "link").save(OAuth2User("T", "R"))
    assert listed(tmp_path) == sorted([others, "link", "user.json"])


# Each call of the system fails in turn.


class Faults:
    """Lets the system's calls of a module fail: the one of a number, or none."""

    FILES = ("open", "close", "fsync", "replace", "unlink", "stat", "lstat", "fstat", "fchmod", "fchown")
    FOLDERS = ("mkdir", "scandir", "listdir")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        self.count, self.failing, self.code = 0, -1, code
        for name in self.FILES + self.FOLDERS:
            monkeypatch.setattr(os, name, self.wrapped(name, getattr(os, name)))

    def wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if self.failing < 0 or str(arguments[0] if arguments else "").startswith("/proc"):
                return real(*arguments, **more)
            self.count += 1
            if self.count == self.failing:
                if name == "close":
                    real(*arguments)  # Linux frees the number whatever close says
                raise OSError(self.code, os.strerror(self.code))
            return real(*arguments, **more)

        return call

    def each(self) -> Iterator[int]:
        """Lets the first call fail, then the second, and so on, until there is none of that number."""
        for number in itertools.count(1):
            self.count, self.failing = 0, number
            yield number
            self.failing = -1
            if self.count < number:
                return


@pytest.mark.posix
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE])
@pytest.mark.parametrize("held", ["file", "folder"])
async def test_a_refresh_during_which_any_call_of_the_system_fails_loses_nothing(
    practise: Practise, held: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is answered, or fails before anything is sent; what is on disk is whole, and the next call works."""
    practice = await practise()
    entry = user_file(practice.folder / "user.json") if held == "file" else FileStore(practice.folder / "u").user("a")
    await entry.save(await practice.grant())
    api = practice.api(OAuth2(practice.app, entry, clock=practice.clock))
    await api.get_json("/me")  # the connections are there
    faults, number = Faults(monkeypatch, code), 0
    for number in faults.each():
        practice.clock.now += 1000
        asked = practice.refreshes
        try:
            await api.get_json("/me")
        except (UnavailableError, CredentialsError, SaveError):
            assert practice.refreshes == asked
        broke, faults.failing = faults.count >= number, -1
        kept = await entry.load()
        current = api.auth.user  # type: ignore[attr-defined]
        assert kept.token == current.token or broke, number
        practice.clock.now += 1000
        await api.get_json("/me")
        assert (await entry.load()).token == api.auth.user.token, number  # type: ignore[attr-defined]
        assert practice.provider.reuses == 0
    assert number > 8
    left = [path.name for path in practice.folder.rglob("*.tmp")]
    assert len(left) <= 2  # where the very call failed that takes it away


async def soon(store: FileStore) -> list[str]:
    return [name async for page in store.ending("access", inf) for name, _ in page]


@pytest.mark.posix
@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EMFILE])
@pytest.mark.parametrize("look", [FileStore.names, soon])
async def test_a_search_of_the_folder_misses_nobody_whatever_call_of_the_system_fails(
    tmp_path: Path, look: Callable[[FileStore], Awaitable[list[str]]], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it says that it failed; and the next one works."""
    store, names = FileStore(tmp_path), ["alice", "bob"]
    for name in names:
        await store.save(name, VALUE)
    faults = Faults(monkeypatch, code)
    kinds = set[str]()
    for _ in faults.each():
        try:
            assert sorted(await look(store)) == names
        except (UnavailableError, CredentialsError) as error:
            kinds.add(error.kind)
        faults.failing = -1
        assert sorted(await look(store)) == names
    assert kinds == {"configuration" if code == errno.EACCES else "transient"}


# What another account left, and what can never be replaced.


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder as /tmp: everybody may make files in it, and replace only those of their own."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    return tmp_path / "shared"


@ROOT_ONLY
@pytest.mark.parametrize("make", [user_file, lambda path: SqliteStore(path).user("alice")], ids=["file", "sqlite"])
async def test_a_link_that_another_account_left_in_a_shared_folder_is_not_followed(
    shared: Path, make: Callable[[Path], Any]
) -> None:
    await make(shared.parent / "real").save(OAuth2User("T", "R"))
    before = (shared.parent / "real").read_bytes()
    (shared / "link").symlink_to(shared.parent / "real")
    assert (await make(shared / "link").load()).token == "T"
    os.lchown(shared / "link", 12345, 12345)
    with pytest.raises(CredentialsError, match="another account"):
        await make(shared / "link").load()
    for call in (make(shared / "link").save(OAuth2User("T2", "R")), touched(make(shared / "link"))):
        with pytest.raises(SaveError, match="another account") as caught:
            await call
        assert caught.value.kind == "configuration"
    assert (shared.parent / "real").read_bytes() == before


@ROOT_ONLY
async def test_a_user_file_of_another_account_is_reported_once(shared: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = shared / "user.json"
    path.write_text(json.dumps(OAuth2User("T", "R").to_dict()))
    os.chown(path, 12345, 12345)
    path.chmod(0o644)
    entry = user_file(path)
    for part in path.parents:
        if part.stat().st_uid == 0 and not part.stat().st_mode & 0o001:
            part.chmod(part.stat().st_mode | 0o055)
    assert (await entry.load()).token == "T"  # the other account may not be able to read Python's own files
    os.seteuid(65534)
    try:
        for _ in range(2):
            assert (await entry.load()).token == "T"
        with pytest.raises(SaveError, match="belongs to another account") as caught:
            await touched(entry)
        assert caught.value.kind == "configuration"
    finally:
        os.seteuid(0)
    (record,) = caplog.records
    assert "12345" in record.getMessage()
    assert record.levelname == "WARNING"


@ROOT_ONLY
@pytest.mark.parametrize(
    ("owner", "reader", "reported"),
    [(12345, 0, False), (0, 12345, False), (12345, 12345, False), (12345, 54321, True), (12345, None, False)],
    ids=["read by root", "of root", "own", "of another", "no accounts, as on Windows"],
)
async def test_only_a_file_of_another_account_that_is_not_roots_is_reported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: int,
    reader: int | None,
    reported: bool,
) -> None:
    entry = user_file(tmp_path / "user.json")
    await entry.save(OAuth2User("T", "R"))
    os.chown(tmp_path / "user.json", owner, owner)
    if reader is None:
        monkeypatch.delattr(os, "geteuid")
    else:
        monkeypatch.setattr(os, "geteuid", lambda: reader)
    assert (await entry.load()).token == "T"
    assert bool(caplog.records) is reported


@pytest.mark.posix
async def test_mode_and_owner_are_set_on_the_open_file_and_never_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = user_file(tmp_path / "user.json")
    await entry.save(OAuth2User("T", "R"))
    (tmp_path / "user.json").chmod(0o640)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("by path")

    for name in ("chmod", "chown", "lchown"):
        monkeypatch.setattr(os, name, refuse)
    await entry.save(OAuth2User("T2", "R2"))
    assert mode(tmp_path / "user.json") == 0o600


@pytest.fixture
def mounted_alone(tmp_path: Path) -> Generator[Path | None, None, None]:
    """A user file that is bind-mounted alone, as into a container; None where we may not mount."""
    for name in ("source.json", "user.json"):
        (tmp_path / name).write_text(json.dumps(OAuth2User("T", "R").to_dict()))
    mounted = IS_ROOT and not subprocess.run(
        ["mount", "--bind", tmp_path / "source.json", tmp_path / "user.json"], check=False, capture_output=True
    ).returncode
    yield tmp_path / "user.json" if mounted else None
    if mounted:
        subprocess.run(["umount", tmp_path / "user.json"], check=True)


async def test_a_file_that_is_mounted_alone_is_noticed_before_it_has_to_be_replaced(mounted_alone: Path | None) -> None:
    if mounted_alone is None:
        return
    entry = user_file(mounted_alone)
    for call in (touched(entry), entry.save(OAuth2User("T2", "R2"))):
        with pytest.raises(SaveError, match="mounted by itself") as caught:
            await call
        assert caught.value.kind == "configuration"
        assert "Mount its folder" in caught.value.next_step
    assert (await entry.load()).token == "T"
    assert listed(mounted_alone.parent) == ["source.json", "user.json"]


@pytest.fixture
def read_only(tmp_path: Path) -> Generator[Path | None, None, None]:
    """A folder with a user on a disk that is mounted read-only; None where we may not mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    (folder / "user.json").write_text(json.dumps(OAuth2User("T", "R").to_dict()))
    words = (["--bind"], ["-o", "remount,bind,ro"])
    mounted = os.geteuid() == 0 and not any(
        subprocess.run(["mount", *more, folder, folder], check=False, capture_output=True).returncode for more in words
    )
    yield folder if mounted else None
    subprocess.run(["umount", folder], check=False, capture_output=True)


@pytest.mark.posix
async def test_a_folder_that_is_read_only_is_noticed_before_a_file_in_it_has_to_be_replaced(
    read_only: Path | None,
) -> None:
    if read_only is None:
        return
    with pytest.raises(SaveError, match="Mount its folder writable") as caught:
        await touched(user_file(read_only / "user.json"))
    assert caught.value.kind == "configuration"


@pytest.mark.parametrize("kind", sorted(PLACES))
@pytest.mark.parametrize("there", [True, False], ids=["of an entry", "of none"])
async def test_a_touch_writes_as_the_next_save_will_and_leaves_what_was_there(
    kind: str, there: bool, tmp_path: Path
) -> None:
    entry = entry_of(kind, tmp_path / PLACES[kind])
    if there:
        await entry.save(OAuth2User("T", "R", extra={"note": "kept"}))
    before = sorted(path for path in tmp_path.rglob("*") if path.suffix != ".lock")
    await touched(entry)
    if there:
        assert await entry.load() == OAuth2User("T", "R", extra={"note": "kept"})
        assert before == sorted(path for path in tmp_path.rglob("*") if path.suffix != ".lock")
        with pytest.raises(SupersededError):
            await entry.store.replace(entry.name, None, None)
    else:
        assert await entry.store.names() == []
        assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("there", [True, False], ids=["of an entry", "of none"])
async def test_a_touch_notices_a_full_disk(tmp_path: Path, there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    entry = user_file(tmp_path / "user.json")
    if there:
        await entry.save(OAuth2User("T", "R"))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SaveError) as caught:
        await touched(entry)
    assert caught.value.kind == "transient"
    assert listed(tmp_path) == ["user.json"] * there


# In one step, against a login's save in another process.

LOGINS = """
async def main():
    say("ready")
    for number in range(150):
        await entry.save(OAuth2User(f"login{number}", "R"))
        for _ in range(3):
            kept = (await entry.load()).token.partition("+")[0]
            assert kept == f"login{number}", (kept, number)
    say("kept")
asyncio.run(main())
"""


@pytest.mark.parametrize("kind", sorted(PLACES))
async def test_a_replace_never_overwrites_what_another_process_saved_since_it_was_loaded(
    kind: str, tmp_path: Path, spawn: Spawn
) -> None:
    entry = entry_of(kind, tmp_path / PLACES[kind])
    await entry.save(OAuth2User("login", "R"))
    other = await spawn(LOGINS, kind, tmp_path / PLACES[kind])
    await other.hears("ready")
    kept = asyncio.create_task(other.says())
    replaced = 0
    while not kept.done():
        known = await entry.store.load(entry.name)
        try:
            await entry.replace(known, OAuth2User(known["token"] + "+", "R"))
            replaced += 1
        except SupersededError:
            pass
    assert await kept == "kept"
    assert replaced


async def test_a_refresh_whose_file_is_mounted_alone_sends_nothing_and_says_what_to_mount(
    practise: Practise, mounted_alone: Path | None
) -> None:
    if mounted_alone is None:
        return
    practice = await practise()
    user = await practice.grant()
    (mounted_alone.parent / "source.json").write_text(json.dumps(user.to_dict()))
    api = practice.api(OAuth2(practice.app, mounted_alone, clock=practice.clock))
    practice.clock.now += 10_000
    with pytest.raises(SaveError, match="Mount its folder"):
        await api.get_json("/me")
    assert practice.provider.refreshes == 0


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,bind,{how}", folder], check=True)


@pytest.mark.posix
async def test_a_secret_that_is_mounted_read_only_says_both_ways_out_and_the_second_one_works(
    practise: Practise, read_only: Path | None
) -> None:
    if read_only is None:
        return
    practice = await practise()
    user, path = await practice.grant(), read_only / "user.json"
    remount(read_only, "rw")
    path.write_text(json.dumps(user.to_dict()))
    remount(read_only, "ro")
    practice.clock.now += 10_000
    with pytest.raises(SaveError, match="Mount its folder writable"):
        await practice.api(OAuth2(practice.app, path, clock=practice.clock)).get_json("/me")
    assert practice.provider.refreshes == 0
    in_memory = OAuth2(practice.app, OAuth2User.from_json_file(path), clock=practice.clock)
    assert await practice.api(in_memory).get_json("/me")
    assert json.loads(path.read_text()) == user.to_dict()


SAVES: dict[str, Callable[[FileStore], Any]] = {
    "save": lambda store: store.save("alice", {"token": "token-5EC9E7"}),
    "replace": lambda store: store.replace("alice", {"token": "old-5EC9E7"}, {"token": "token-5EC9E7"}),
}


@pytest.mark.parametrize("call", SAVES.values(), ids=SAVES)
async def test_a_save_that_fails_shows_no_token_in_its_traceback(
    tmp_path: Path, call: Callable[[FileStore], Any], told_by: Callable[[BaseException], str]
) -> None:
    (tmp_path / "users").write_text("a file in the place of the folder")
    with pytest.raises(SaveError) as caught:
        await call(FileStore(tmp_path / "users"))
    assert "5EC9E7" not in told_by(caught.value)
