"""Users in one SQLite file: many users, one machine, several processes (standard library sqlite3).

The rule: SQLite only ever holds whole values for a moment; while a refresh waits for a provider, no
database lock is held, only a file lock of that one user's.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing, suppress
from hashlib import sha256
from typing import Any, TypeVar
from urllib.parse import quote

from ..errors import ConfigError, CredentialsError, SaveError
from ..json_file import StrPath, display_path
from ..web.masking import Secrets
from .contract import TokenStore, as_text, as_value, lasting_path, missing, real_path, superseded
from .file_lock import file_lock

T = TypeVar("T")

_BUSY_SECONDS = 30.0
_TRIES = 100
_SCHEMA = "CREATE TABLE IF NOT EXISTS slyapi_users (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"


class SqliteStore(TokenStore):
    """Users in the SQLite database at `path`, made on first use with mode 0600, in WAL mode.

    A call opens the file, does its one statement in a thread, and closes it: nothing is shared between
    event loops, threads or a fork. Raises `CredentialsError` for a file that is no such database.
    """

    __module__ = "SlyAPI.stores"

    def __init__(self, path: StrPath) -> None:
        self.path = lasting_path(path)
        if "\0" in self.path or any("\ud800" <= char <= "\udbff" for char in self.path):
            raise ConfigError(f"{display_path(self.path)} is not a path.", next_step="Give the path of a file.")

    def __repr__(self) -> str:
        return f"SqliteStore({display_path(self.path)!r})"

    async def load(self, name: str) -> dict[str, Any]:
        """The value last saved."""
        _check(name)
        held = await self._read(lambda database: _held(database, name))
        if held is None:
            raise missing(self, name)
        return as_value(self, name, held)

    async def save(self, name: str, value: dict[str, Any]) -> None:
        """Commits the value with a full sync. Raises `SaveError`."""
        _check(name)

        def write(database: sqlite3.Connection) -> None:
            database.execute("INSERT OR REPLACE INTO slyapi_users VALUES (?, ?)", (name, as_text(self, value)))

        await self._write(write)

    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any]) -> None:
        """Commits the value where `old` is there still. Raises `SupersededError`, `SaveError`."""
        _check(name)

        def swap(database: sqlite3.Connection) -> bool:
            database.execute("BEGIN IMMEDIATE")
            held = _held(database, name)
            if (as_value(self, name, held) if held else None) not in (old, new):
                return False
            database.execute("INSERT OR REPLACE INTO slyapi_users VALUES (?, ?)", (name, as_text(self, new)))
            return True

        if not await self._write(swap):
            raise superseded(self, name)

    async def delete(self, name: str) -> None:
        """Forgets a user."""
        _check(name)
        await self._write(lambda database: database.execute("DELETE FROM slyapi_users WHERE name = ?", (name,)))

    async def names(self) -> list[str]:
        """The names of all users."""
        rows = await self._read(lambda database: database.execute("SELECT name FROM slyapi_users").fetchall())
        return [row[0].decode("utf-8", "replace") for row in rows if isinstance(row[0], bytes)]

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[None, None]:
        """One user's lock: a file beside the database for as long as it is held."""
        key = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        # whatever name of the database each program was given, a link or not
        async with file_lock(f"{real_path(self.path)}.{key}.lock", temporary=True):
            yield

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await asyncio.to_thread(self._with_database, query)
        except _TROUBLES as error:
            problem = _why(error)
        with suppress(OSError, *_TROUBLES):
            return await asyncio.to_thread(self._with_unwritable_database, query)
        raise CredentialsError(f"{self!r} cannot be read ({problem}).", next_step="Check the path and its permissions.")

    async def _write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await asyncio.to_thread(self._with_database, change)
        except _TROUBLES as error:
            problem = _why(error)
        raise SaveError(
            f"{self!r} could not be written ({problem}). What was there is untouched.",
            next_step="Free some space, or make the folder writable, then try again.",
        )

    def _with_unwritable_database(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Reads where WAL's files can't be made: a full disk, a read-only folder. Not while others write."""
        if os.path.exists(f"{self.path}-wal") and os.path.getsize(f"{self.path}-wal"):
            raise sqlite3.OperationalError
        with closing(sqlite3.connect(f"file:{quote(self.path)}?immutable=1", uri=True)) as database:
            database.text_factory = bytes
            return query(database)

    def _with_database(self, use: Callable[[sqlite3.Connection], T]) -> T:
        if not os.path.exists(self.path):
            # before sqlite makes it, with the process's umask for a mode
            with suppress(OSError):  # sqlite says it again
                os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(self.path, timeout=0)) as database:
            _use_wal(database)
            database.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000:.0f}")
            database.execute("PRAGMA synchronous = FULL")  # WAL's default may lose the last commits to a power cut
            database.execute("PRAGMA secure_delete = ON")  # else the file keeps the tokens of a deleted user
            database.text_factory = bytes  # text that is no UTF-8 would be quoted in the error
            with database:
                database.execute(_SCHEMA)
                return use(database)


def _held(database: sqlite3.Connection, name: str) -> Secrets | None:
    row = database.execute("SELECT value FROM slyapi_users WHERE name = ?", (name,)).fetchone()
    return None if row is None else Secrets(row)


def _use_wal(database: sqlite3.Connection) -> None:
    """Switches a new database over. Who does so at the same time gets SQLITE_BUSY, whatever busy_timeout says."""
    for _ in range(_TRIES):
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                raise
        time.sleep(0.01)  # then it stays as it is until the next call: slower, and as safe


def _check(name: str) -> None:
    """Raises `ConfigError` for a name that SQLite cannot keep."""
    if any("\ud800" <= char <= "\udfff" for char in name):
        raise ConfigError("A user's name holds half a character.", next_step="Use a short id as name.")


_TROUBLES = (sqlite3.Error, UnicodeDecodeError)  # the latter for a message of SQLite's that quotes a broken file
_MEANINGS = {
    "SQLITE_BUSY": "it is locked by another program",
    "SQLITE_CANTOPEN": "it cannot be opened or made",
    "SQLITE_CORRUPT": "it is damaged",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_IOERR": "the disk gives an error, or is full",
    "SQLITE_NOTADB": "it is no SQLite database",
    "SQLITE_READONLY": "it may only be read",
}


def _why(error: Exception) -> str:
    """What an error of SQLite's means. Its own text may quote what the file holds."""
    told = getattr(error, "sqlite_errorname", type(error).__name__)
    return next((meaning for name, meaning in _MEANINGS.items() if told.startswith(name)), told)
