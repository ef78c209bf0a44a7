"""Users in one SQLite file, shared by the processes of one machine (standard library sqlite3).

The rule: a database lock is held for one statement only; during a token request there is just a file lock of
that one user.
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

from ..errors import ConfigError, CredentialsError, SaveError, clean_traceback
from ..json_file import StrPath, display_path
from .contract import TokenStore, as_text, as_value, lasting_path, missing, real_path, superseded
from .file_lock import file_lock

T = TypeVar("T")

_BUSY_SECONDS = 30.0
_TRIES = 100
_SCHEMA = "CREATE TABLE IF NOT EXISTS slyapi_users (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"


class SqliteStore(TokenStore):
    """Users in the SQLite database at `path`, made on first use with mode 0600, in WAL mode.

    Each call opens the file, runs its statement in a thread, and closes it: event loops, threads and forked
    processes share nothing. Raises `CredentialsError` for a file that is not such a database.
    """

    __module__ = "SlyAPI.stores"

    def __init__(self, path: StrPath) -> None:
        self.path = lasting_path(path)
        if "\0" in self.path or any("\ud800" <= char <= "\udbff" for char in self.path):
            raise ConfigError(f"{display_path(self.path)} is not a path.", next_step="Give the path of a file.")

    def __repr__(self) -> str:
        return f"SqliteStore({display_path(self.path)!r})"

    @clean_traceback
    async def load(self, name: str) -> dict[str, Any]:
        """The value last saved."""
        _check(name)
        text = await self._read(lambda database: _stored(database, name))
        if text is None:
            raise missing(self, name)
        return as_value(self, name, text)

    @clean_traceback
    async def save(self, name: str, value: dict[str, Any]) -> None:
        """Commits the value with a full sync. Raises `SaveError`."""
        _check(name)

        def write(database: sqlite3.Connection) -> None:
            database.execute("INSERT OR REPLACE INTO slyapi_users VALUES (?, ?)", (name, as_text(self, value)))

        await self._write(write)

    @clean_traceback
    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any]) -> None:
        """Commits the value if `old` is still stored, in one step. Raises `SupersededError`, `SaveError`."""
        _check(name)

        def swap(database: sqlite3.Connection) -> bool:
            database.execute("BEGIN IMMEDIATE")
            text = _stored(database, name)
            if (None if text is None else as_value(self, name, text)) not in (old, new):
                return False
            database.execute("INSERT OR REPLACE INTO slyapi_users VALUES (?, ?)", (name, as_text(self, new)))
            return True

        if not await self._write(swap):
            raise superseded(self, name)

    async def delete(self, name: str) -> None:
        """Deletes a user."""
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
        # programs may reach the database by different names, such as a link
        async with file_lock(f"{real_path(self.path)}.{key}.lock", temporary=True):
            yield

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await asyncio.to_thread(self._with_database, query)
        except _SQLITE_ERRORS as error:
            problem = _why(error)
        with suppress(OSError, *_SQLITE_ERRORS):
            return await asyncio.to_thread(self._with_unwritable_database, query)
        raise CredentialsError(f"{self!r} cannot be read ({problem}).", next_step="Check the path and its permissions.")

    async def _write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await asyncio.to_thread(self._with_database, change)
        except _SQLITE_ERRORS as error:
            problem = _why(error)
        raise SaveError(
            f"{self!r} could not be written ({problem}). What was there is untouched.",
            next_step="Free some space, or make the folder writable, then try again.",
        )

    def _with_unwritable_database(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Reads where the WAL's files cannot be made (full disk, read-only folder); not while others write."""
        if os.path.exists(f"{self.path}-wal") and os.path.getsize(f"{self.path}-wal"):
            raise sqlite3.OperationalError
        with closing(sqlite3.connect(f"file:{quote(self.path)}?immutable=1", uri=True)) as database:
            database.text_factory = bytes
            return query(database)

    def _with_database(self, use: Callable[[sqlite3.Connection], T]) -> T:
        if not os.path.exists(self.path):
            # before SQLite makes it, whose mode depends on the umask
            with suppress(OSError):  # SQLite reports it again
                os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(self.path, timeout=0)) as database:
            _use_wal(database)
            database.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000:.0f}")
            database.execute("PRAGMA synchronous = FULL")  # WAL's default may lose the last commits to a power cut
            database.execute("PRAGMA secure_delete = ON")  # otherwise the file keeps the tokens of a deleted user
            database.text_factory = bytes  # SQLite's error would quote text that is not UTF-8
            with database:
                database.execute(_SCHEMA)
                return use(database)


def _stored(database: sqlite3.Connection, name: str) -> str | bytes | None:
    row = database.execute("SELECT value FROM slyapi_users WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def _use_wal(database: sqlite3.Connection) -> None:
    """Switches a new database to WAL. Processes that do so at once get SQLITE_BUSY, whatever busy_timeout is."""
    for _ in range(_TRIES):
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                raise
        time.sleep(0.01)  # after these tries the journal stays as it is until the next call: slower, and as safe


def _check(name: str) -> None:
    """Raises `ConfigError` for a name that SQLite cannot keep."""
    if any("\ud800" <= char <= "\udfff" for char in name):
        raise ConfigError("A user's name holds half a character.", next_step="Use a short id as name.")


_SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)  # the latter: a message that quotes a broken file
_MEANINGS = {
    "SQLITE_BUSY": "it is locked by another program",
    "SQLITE_CANTOPEN": "it cannot be opened or made",
    "SQLITE_CORRUPT": "it is damaged",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_IOERR": "the disk gives an error, or is full",
    "SQLITE_NOTADB": "it is not an SQLite database",
    "SQLITE_READONLY": "it may only be read",
}


def _why(error: Exception) -> str:
    """The meaning of an SQLite error, whose own text may quote the file's content."""
    code = getattr(error, "sqlite_errorname", type(error).__name__)
    return next((meaning for name, meaning in _MEANINGS.items() if code.startswith(name)), code)
