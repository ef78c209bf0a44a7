"""What another account left in a shared folder, in the place of each file that is written there: it gets no secret.

The rule: the places are found by looking at a run in an empty folder, so that a new file is planted too.
"""
from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from SlyAPI import OAuth1App, OAuth2App, OAuth2User, SlyError
from SlyAPI.cli.main import main
from SlyAPI.errors import CredentialsError
from SlyAPI.json_file import write_json_file
from SlyAPI.stores import FileStore, SqliteStore, TokenStore, user_file
from tests.support.secret_search import ACCESS, CLIENT_SECRET, KEPT, REFRESH

pytestmark = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root has several accounts")

STRANGER, PERSON = 12345, 65534
URIS = ("--auth-uri", "https://provider.example/a", "--token-uri", "https://provider.example/t")


def scaffolds(folder: Path) -> None:
    secret = folder.parent / "secret.txt"
    main(["scaffold", str(folder / "app.json"), "--id", "i", "--secret-file", str(secret), *URIS])


def saves(make: Callable[[Path], TokenStore]) -> Callable[[Path], None]:
    async def run(folder: Path) -> None:
        store = make(folder)
        user = OAuth2User(ACCESS, REFRESH)
        async with store.lock("alice"), store.task_lock("tidy"):
            await store.user("alice").save(user)
            await store.replace("alice", user.to_dict(), user.to_dict())
            async for _ in store.ending("access", 1e12):
                pass

    return lambda folder: asyncio.run(run(folder))


def saved(call: Callable[[Path], Awaitable[None]]) -> Callable[[Path], None]:
    async def run(folder: Path) -> None:
        await call(folder)

    return lambda folder: asyncio.run(run(folder))


WRITERS: dict[str, Callable[[Path], None]] = {
    "a client file": scaffolds,
    "a JSON file": lambda folder: write_json_file(folder / "user.json", {"token": ACCESS}),
    "a user file": saved(lambda folder: user_file(folder / "user.json").save(OAuth2User(ACCESS, REFRESH))),
    "a folder of users": saves(FileStore),
    "a folder below": saves(lambda folder: FileStore(folder / "users")),
    "a database": saves(lambda folder: SqliteStore(folder / "users.db")),
}


class Opened:
    """The paths that Python opens, while somebody wants to know them."""

    def __init__(self) -> None:
        self.paths: set[Path] | None = None
        sys.addaudithook(self.hear)

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        if event in ("open", "os.mkdir") and self.paths is not None and isinstance(args[0], str | bytes):
            self.paths.add(Path(os.fsdecode(args[0])))


OPENED = Opened()
_OF_SQLITE = ("", "-wal", "-shm", "-journal")  # which opens them itself


def places(writer: Callable[[Path], None], folder: Path) -> set[str]:
    """The names that a run in this empty folder makes or looks for; not those that nobody can guess."""
    OPENED.paths = set()
    try:
        writer(folder)
        found = {str(path.relative_to(folder)) for path in OPENED.paths if folder in path.parents}
    finally:
        OPENED.paths = None
    found |= {str(path.relative_to(folder)) for path in folder.rglob("*")}
    found |= {name + ending for name in found if name.endswith(".db") for ending in _OF_SQLITE}
    return {name for name in found if not name.endswith(".tmp")}


def an_empty_file(path: Path, elsewhere: Path) -> None:
    path.touch()


def a_blank_template(path: Path, elsewhere: Path) -> None:
    path.write_text('{"id": "", "secret": "", "auth_uri": "", "token_uri": ""}')


def a_database(path: Path, elsewhere: Path) -> None:
    import sqlite3

    with sqlite3.connect(elsewhere) as database:
        database.execute("CREATE TABLE other (name TEXT)")
    database.close()
    path.write_bytes(elsewhere.read_bytes())


def a_link(path: Path, elsewhere: Path) -> None:
    elsewhere.touch()
    path.symlink_to(elsewhere)


def a_link_to_nothing(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def a_folder(path: Path, elsewhere: Path) -> None:
    path.mkdir()


def a_pipe(path: Path, elsewhere: Path) -> None:
    os.mkfifo(path)


PLANTED = [an_empty_file, a_blank_template, a_database, a_link, a_link_to_nothing, a_folder, a_pipe]


@contextmanager
def as_account(number: int) -> Iterator[None]:
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)


def shared_folder(parent: Path, mode: int) -> Path:
    """A folder where everybody may make files, that everybody can reach."""
    for part in [parent, *parent.parents]:
        if not part.stat().st_mode & 0o001:
            part.chmod(part.stat().st_mode | 0o055)
    folder = parent / "shared"
    folder.mkdir()
    folder.chmod(mode)
    return folder


def read_by_the_stranger(folder: Path, elsewhere: Path, handles: list[int]) -> Iterator[str]:
    """All that the stranger can read now: by name, and of files that it opened before."""
    for handle in handles:
        with suppress(BlockingIOError, IsADirectoryError):
            yield os.read(handle, 1 << 20).decode("latin-1")
    paths = [elsewhere, *folder.rglob("*"), *elsewhere.parent.glob(f"{elsewhere.name}*")]
    with as_account(STRANGER):
        for path in paths:
            with suppress(OSError), open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                yield file.read().decode("latin-1")


@pytest.mark.parametrize("account", [0, PERSON], ids=["root", "a person"])
@pytest.mark.parametrize("mode", [0o1777, 0o777], ids=["as /tmp", "without sticky bit"])
@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
@pytest.mark.parametrize("writer", WRITERS)
def test_what_a_stranger_left_in_the_place_of_a_file_gets_no_secret(
    writer: str, plant: Callable[[Path, Path], None], mode: int, account: int, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for place in (first, second):
        place.mkdir()
        (place / "secret.txt").write_text(CLIENT_SECRET)
    names = places(WRITERS[writer], shared_folder(first, mode))
    assert names
    for name in sorted(names):
        folder = shared_folder(second, mode)
        elsewhere = second / "elsewhere"
        with ExitStack() as stack:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            plant(folder / name, elsewhere)
            for path in (*folder.rglob("*"), elsewhere):
                if os.path.lexists(path):
                    os.lchown(path, STRANGER, STRANGER)
                if path.exists() and not path.is_symlink():
                    path.chmod(0o777)
            second.chmod(0o777)
            planted = [path for path in (folder / name, elsewhere) if path.exists()]
            handles = [os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in planted]
            for handle in handles:
                stack.callback(os.close, handle)
            with as_account(account), suppress(SlyError):
                WRITERS[writer](folder)
            KEPT.assert_hidden(read_by_the_stranger(folder, elsewhere, handles))
        for path in (folder, elsewhere):
            if os.path.lexists(path):
                path.rename(tmp_path / f"{path.name}-{name.replace('/', '-')}")


CLIENT = {"id": "i", "secret": "s", "auth_uri": "https://far.example/a", "token_uri": "https://far.example/t"}
CLIENT1 = {"key": "i", "secret": "s"} | dict.fromkeys(("request_uri", "authorize_uri", "access_uri"), "https://a.example")
FOLDERS: dict[str, tuple[tuple[tuple[int, int], ...], bool]] = {
    "a folder as /tmp": (((0, 0o1777),), False),
    "a folder of the stranger in it": (((0, 0o1777), (STRANGER, 0o755)), False),
    "one that is open too": (((0, 0o1777), (STRANGER, 0o777), (STRANGER, 0o777)), False),
    "a home": (((0, 0o755), (STRANGER, 0o755)), True),
    "a home that is open": (((0, 0o755), (STRANGER, 0o777)), True),
    "a folder of root": (((0, 0o755),), True),
    "a folder of a group": (((0, 0o2775),), True),
}
"""Owner and mode of the folders on the way to a file; whether the stranger can only be there by right."""


@pytest.mark.parametrize(("folders", "taken"), FOLDERS.values(), ids=FOLDERS)
@pytest.mark.parametrize("account", [0, PERSON], ids=["root", "a person"])
@pytest.mark.parametrize("read", [OAuth2App.from_json_file, OAuth1App.from_json_file], ids=["OAuth 2", "OAuth 1"])
def test_a_client_file_that_another_account_could_leave_there_is_refused(
    read: Callable[[Path], object], account: int, folders: tuple[tuple[int, int], ...], taken: bool, tmp_path: Path
) -> None:
    """Its `token_uri` would get the code and the verifier of a consent at a real provider."""
    folder = shared_folder(tmp_path, 0o755)
    for owner, mode in folders:
        folder = folder / "next"
        folder.mkdir()
        os.chown(folder, owner, owner)
        folder.chmod(mode)
    path = folder / "app.json"
    path.write_text(json.dumps(CLIENT if read == OAuth2App.from_json_file else CLIENT1))
    path.chmod(0o644)
    read(path)
    os.chown(path, STRANGER, STRANGER)
    with as_account(account), pytest.raises(CredentialsError, match="another account") if not taken else nullcontext():
        read(path)


@pytest.mark.parametrize("account", [0, PERSON], ids=["root", "a person"])
@pytest.mark.parametrize("swapped", ["the file", "its folder"])
def test_a_client_file_is_refused_by_who_owns_what_was_read(
    swapped: str, account: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as its file is open, the stranger puts a link to somebody else's file, or folder, in its place."""
    shared, right = shared_folder(tmp_path, 0o1777), tmp_path / "right"
    for folder in (right, shared / "next"):
        folder.mkdir()
        (folder / "app.json").write_text(json.dumps(CLIENT))
        (folder / "app.json").chmod(0o644)
    for part in (shared / "next", shared / "next" / "app.json"):
        os.chown(part, STRANGER, STRANGER)
    path = shared / "next" / "app.json"
    real = os.open

    def opened(name: Any, *more: Any, **named: Any) -> int:
        handle = real(name, *more, **named)
        if os.path.basename(name) == "app.json":
            os.seteuid(0)
            place, target = (path, right / "app.json") if swapped == "the file" else (path.parent, right)
            place.rename(shared / "before")
            place.symlink_to(target)
            os.lchown(place, STRANGER, STRANGER)
            os.seteuid(account)
        return handle

    monkeypatch.setattr(os, "open", opened)
    with as_account(account), pytest.raises(CredentialsError, match="another account"):
        OAuth2App.from_json_file(path)
