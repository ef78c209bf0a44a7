"""A pipe, a device, a socket or a folder in the place of each file that is read: an error of ours, and soon.

The rule: a client file may come from a stranger, and names other files.
"""
from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from SlyAPI import OAuth1App, OAuth1User, OAuth2App, OAuth2User, SlyError
from SlyAPI.cli.main import main
from SlyAPI.oauth2 import ServiceAccount
from SlyAPI.sources import from_file
from SlyAPI.stores import FileStore, SqliteStore
from tests.support.secret_search import ACCESS, CLIENT_SECRET, REFRESH

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no such files")

NOWHERE = "http://127.0.0.1:1"
PATIENCE = 10.0
"""Seconds; a file that is read without a limit takes for ever."""


def client(**more: Any) -> OAuth2App:
    return OAuth2App("i", CLIENT_SECRET, f"{NOWHERE}/auth", f"{NOWHERE}/token", **more)


def refreshes(app: OAuth2App) -> None:
    asyncio.run(app.refresh(None, OAuth2User(ACCESS, REFRESH)))


def runs(command: str, path: Path, **members: Any) -> None:
    app = {"id": "i", "secret": CLIENT_SECRET, "auth_uri": f"{NOWHERE}/auth", "token_uri": f"{NOWHERE}/token"}
    (path.parent / "app.json").write_text(json.dumps({**app, **members}))
    (path.parent / "user.json").write_text(json.dumps({"token": ACCESS, "refresh_token": REFRESH, "expires_at": 1}))
    if not main([command, str(path.parent / "app.json"), str(path.parent / "user.json")]):
        return
    raise SlyError("an exit code other than 0")


def with_key(app: OAuth2App, path: Path) -> OAuth2App:
    app.key, app.key_alg = path, "ES256"
    return app


def with_certificate(app: OAuth2App, certificate: Any) -> OAuth2App:
    app.certificate = certificate
    return app


READERS: dict[str, Callable[[Path], Any]] = {
    "a client file": OAuth2App.from_json_file,
    "a user file": OAuth2User.from_json_file,
    "a client file of OAuth 1": OAuth1App.from_json_file,
    "a user file of OAuth 1": OAuth1User.from_json_file,
    "a service account": ServiceAccount.from_json_file,
    "a client's key": lambda path: refreshes(with_key(client(), path)),
    "a certificate": lambda path: refreshes(with_certificate(client(), path)),
    "a certificate's key": lambda path: refreshes(with_certificate(client(), (path.parent / "other", path))),
    "a token's file": lambda path: from_file(path)(),
    "a user in a folder": lambda path: asyncio.run(FileStore(path.parent).load(path.stem)),
    "a database": lambda path: asyncio.run(SqliteStore(path).load("alice")),
    "token with a key": lambda path: runs("token", path, key=str(path)),
    "token with a certificate": lambda path: runs("token", path, certificate=str(path)),
    "doctor with a key": lambda path: runs("doctor", path, key=str(path)),
    "doctor with a certificate": lambda path: runs("doctor", path, certificate=str(path)),
}


@contextmanager
def odd_file(kind: str, path: Path) -> Iterator[None]:
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    elif kind == "a folder":
        path.mkdir()
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.relpath(path))  # the path of a socket has a hundred characters at most
        listener.close()
    try:
        yield
    finally:
        with suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # lets go who waits for a writer


def opened(folder: Path) -> list[str]:
    """What this process has open in a folder, where the system lists that."""
    found: list[str] = []
    for handle in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            found.append(os.readlink(handle))
    return [name for name in found if name.startswith(f"{folder}{os.sep}")]


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder", "a socket"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_not_a_regular_file_is_refused_at_once(
    reader: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended: list[BaseException | None] = []

    def reads() -> None:
        try:
            READERS[reader](tmp_path / "alice.json")
        except BaseException as error:
            ended.append(error)
        else:
            ended.append(None)

    (tmp_path / "other").write_text("-----BEGIN CERTIFICATE-----")
    with odd_file(kind, tmp_path / "alice.json"):
        reading = threading.Thread(target=reads, daemon=True)
        reading.start()
        reading.join(PATIENCE)
        assert ended, "it waits"
        assert not opened(tmp_path), "it stays open"
    assert isinstance(ended[0], SlyError)
