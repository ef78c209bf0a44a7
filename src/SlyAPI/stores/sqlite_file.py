"""The database file of `SqliteStore`: made for its owner alone, prepared once, and opened for each call.

The rule: no connection outlives its call, so that event loops, threads and forked processes share nothing.
"""

import os
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TypeVar
from urllib.parse import quote

from ..json_file import MOUNTED, NO_WAIT, is_mounted_alone
from ..json_file.owners import is_shared, refuse_planted_file, refuse_unsafe_path
from .contract import real_path
from .token_ends import KEYS, Token

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_SECONDS = 30.0
"""How long a statement waits for another program's lock."""
_TRIES = 100
_ENDINGS = ("", "-wal", "-shm", "-journal")
"""Of the names of the files that SQLite writes; it uses one that is there."""
_SCHEMA = "CREATE TABLE IF NOT EXISTS slyapi_users (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
PIECES: dict[Token, str] = {
    token: f"ltrim(substr(value, nullif(instr(value, '\"{key}\"'), 0) + {len(key) + 2}, 40))"
    for token, key in KEYS.items()
}
"""In SQL, the text of a value from the end of each token on; the index has them."""
# The database keeps this index itself, whichever program writes a value. It is ordered by name, so that a save changes
# one page of it; by two orders of time it would change four more, and take a fifth longer
_INDEX = (
    "CREATE INDEX IF NOT EXISTS slyapi_users_ends ON slyapi_users"
    f" (name, {', '.join(PIECES.values())}, substr(value, 1, 9))"
)
_IS_COMPLETE = "SELECT count(*) = 2 FROM sqlite_master WHERE name IN ('slyapi_users', 'slyapi_users_ends')"


class SqliteFile:
    """The database at `path`. Its methods block; they raise `sqlite3.Error`, or `ValueError` for a foreign file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._prepared: tuple[int, int] | None = None
        """The file that has our table, as device and inode; another one may take its name."""
        self._real = ""
        """Its path with all links resolved, which takes twenty times as long as to see that it is the same file."""

    def use(self, work: Work[T], *, writing: bool = False) -> T:
        """The result of `work` with a connection, in one transaction if it writes."""
        refuse_unsafe_path(self.path)
        prepared = self._is_prepared()
        _refuse_planted(self._real if prepared else real_path(self.path))
        if not prepared:
            self._prepare()
        try:
            return self._connected(work, writing)
        except sqlite3.Error as error:
            self._prepared = None
            if getattr(error, "sqlite_errorname", "") != "SQLITE_ERROR":
                raise
        self._prepare()  # the table is gone, or this is another file with the inode of a deleted one
        return self._connected(work, writing)

    def real_path(self) -> str:
        """The path with all symbolic links resolved: programs may reach the database by different names."""
        return self._real if self._is_prepared() else real_path(self.path)

    def _is_prepared(self) -> bool:
        return self._prepared is not None and self._prepared == _file_id(self.path)

    def use_unwritable(self, query: Work[T]) -> T:
        """Reads where the WAL's files cannot be made (full disk, read-only folder); not while others write."""
        refuse_unsafe_path(self.path)
        _refuse_planted(real_path(self.path))
        _refuse_mounted(self.path)
        wal = f"{real_path(self.path)}-wal"
        if os.path.exists(wal) and os.path.getsize(wal):
            raise sqlite3.OperationalError
        with closing(sqlite3.connect(f"file:{quote(self.path)}?immutable=1", uri=True)) as database:
            database.text_factory = bytes
            return query(database)

    def _connected(self, work: Work[T], writing: bool) -> T:
        with closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as database:
            database.text_factory = bytes  # SQLite's error would quote text that is not UTF-8
            if writing:
                database.execute("PRAGMA synchronous = FULL")  # WAL's default may lose the last commits to a power cut
                database.execute("PRAGMA fullfsync = ON")  # macOS's fsync leaves it in the disk's cache
                database.execute("PRAGMA secure_delete = ON")  # otherwise the file keeps the tokens of a deleted user
            with database:
                return work(database)

    def _prepare(self) -> None:
        """Makes the table, or the index of an older one; without room for it queries are slower, and as right."""
        _refuse_mounted(self.path)
        self._make_private()
        with closing(sqlite3.connect(self.path, timeout=0)) as database:
            complete = _use_wal(database)
            database.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")
            with database:
                if not database.execute(_IS_COMPLETE).fetchone()[0]:
                    database.execute(_SCHEMA)
                    try:
                        database.execute(_INDEX)
                    except sqlite3.OperationalError:
                        complete = False  # the next call tries again
        self._real = real_path(self.path)
        self._prepared = _file_id(self._real) if complete else None

    def _make_private(self) -> None:
        """Makes a missing database with mode 0600, which SQLite's own would not have; narrows that of a present one.

        Only where needed: closing a handle of the file releases the POSIX locks that SQLite has on it.
        """
        with suppress(OSError, AttributeError):  # SQLite reports what cannot be opened
            if os.path.exists(self.path) and not _is_open_to_others(os.stat(self.path)):
                return
            handle = os.open(real_path(self.path), os.O_CREAT | os.O_WRONLY | NO_WAIT, 0o600)
            try:
                status = os.fstat(handle)
                if _is_open_to_others(status):
                    os.fchmod(handle, status.st_mode & 0o600)
            finally:
                os.close(handle)


def _is_open_to_others(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o077) and status.st_uid == os.geteuid()


def _file_id(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _use_wal(database: sqlite3.Connection) -> bool:
    """Switches a new database to WAL. Processes that do so at once get SQLITE_BUSY, whatever busy_timeout is."""
    for _ in range(_TRIES):
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return True
        except sqlite3.OperationalError as error:
            if not getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                raise
        time.sleep(0.01)
    return False  # the journal stays as it is until the next call: slower, and as safe


def _refuse_mounted(path: str) -> None:
    """Raises `ValueError` for a database that is mounted alone, whose log and locks another container would not see."""
    if is_mounted_alone(real_path(path)):
        raise ValueError(MOUNTED)


def _refuse_planted(path: str) -> None:
    """Raises `ValueError` where another account could leave one of the files that SQLite uses if it is there."""
    with suppress(OSError):
        if not is_shared(os.path.dirname(path)):
            return
    for ending in _ENDINGS:
        refuse_planted_file(path + ending)
