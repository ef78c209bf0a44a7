"""Users in one SQLite file, shared by the processes of one machine (standard library sqlite3).

The rule: a database lock is held for one statement only; during a token request there is just a file lock of
that one user.
"""

import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import Any, TypeVar

from ..errors import ConfigError, CredentialsError, SaveError, UnavailableError, clean_traceback
from ..json_file import MOUNTED, StrPath, display_path, may_write_in
from .contract import (
    TokenStore,
    as_text,
    as_value,
    is_one_of,
    lasting_path,
    missing,
    real_path,
    superseded,
    value_or_none,
)
from .file_lock import file_lock
from .in_thread import in_thread
from .sqlite_file import PIECES, SqliteFile
from .token_ends import NAMES, PAGE, SQL_UNKNOWN, UNKNOWN, Page, Token, check_token, sql_end, sql_time

T = TypeVar("T")

_NAMES = (
    "SELECT name FROM slyapi_users WHERE typeof(name) = 'text' AND name {} CAST(? AS TEXT)"
    f" ORDER BY name LIMIT {NAMES}"
)
_FOUND = 100_000
_ENDING = f"""
SELECT name, {{end}} AS token_end FROM slyapi_users
WHERE typeof(name) = 'text' AND {{end}} <= :before AND ({{end}} > :after OR {{end}} = '{SQL_UNKNOWN}')
AND ({{end}}, name) > (CAST(:last AS TEXT), CAST(:name AS TEXT))
ORDER BY token_end, name LIMIT {_FOUND}
"""


class SqliteStore(TokenStore):
    """Users in the SQLite database at `path`, made on first use with mode 0600, in WAL mode.

    Each call opens the file, runs its statement in a thread, and closes it. Raises `CredentialsError` for a file that
    is not such a database.
    """

    __module__ = "SlyAPI.stores"

    def __init__(self, path: StrPath) -> None:
        self.path: str = lasting_path(path)
        self._file = SqliteFile(self.path)

    def __repr__(self) -> str:
        return f"SqliteStore({display_path(self.path)!r})"

    def entry_key(self, name: str) -> Hashable:
        """The user in the database, where all links lead."""
        return "sqlite", self._file.real_path(), name

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
        text = as_text(self, value)

        def write(database: sqlite3.Connection) -> None:
            database.execute("INSERT OR REPLACE INTO slyapi_users VALUES (?, ?)", (name, text))

        await self._write(write)

    @clean_traceback
    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        """Commits the value if `old` is still stored, in one step. Raises `SupersededError`, `SaveError`."""
        _check(name)
        text = as_text(self, new or {})

        def swap(database: sqlite3.Connection) -> bool:
            database.execute("BEGIN IMMEDIATE")
            if not is_one_of(self, name, _stored(database, name), old, new):
                return False
            database.execute("INSERT OR REPLACE INTO slyapi_users VALUES (?, ?)", (name, text))
            if new is None:  # the row was written, which shows that the next one can be
                database.execute("DELETE FROM slyapi_users WHERE name = ?", (name,))
            return True

        if not await self._write(swap):
            raise superseded(self, name)

    async def delete(self, name: str) -> None:
        """Deletes a user."""
        _check(name)
        await self._write(lambda database: database.execute("DELETE FROM slyapi_users WHERE name = ?", (name,)))

    async def names(self) -> list[str]:
        """The names of all users."""
        return [name async for name in self.each_name()]

    @clean_traceback
    async def each_name(self) -> AsyncGenerator[str, None]:
        """The names of all users, read in pages."""
        last, compared = b"", ">="
        while rows := await self._rows(_NAMES.format(compared), (last,)):
            for (name,) in rows:
                yield _text(name)
            last, compared = rows[-1][0], ">"

    async def count(self) -> int:
        """The number of users."""
        return int((await self._rows("SELECT count(*) FROM slyapi_users"))[0][0])

    @clean_traceback
    async def ending(self, token: Token, before: float, after: float = UNKNOWN) -> AsyncGenerator[Page, None]:
        """Pages of the users whose token ends in that time, by an index of the database, the soonest first."""
        query = _ENDING.format(end=sql_end(check_token(token), PIECES[token]))
        place: dict[str, Any] = {"before": sql_time(before), "after": sql_time(after), "last": b"", "name": b""}
        while found := await self._rows(query, place):
            place["name"], place["last"] = found[-1]
            for start in range(0, len(found), PAGE):
                names = [name for name, _ in found[start : start + PAGE]]
                values = dict(await self._rows(_values(len(names)), names))
                yield [(_text(name), value_or_none(self, _text(name), values.get(name))) for name in names]

    async def _rows(self, query: str, values: Any = ()) -> list[Any]:
        return await self._read(lambda database: database.execute(query, values).fetchall())

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[None, None]:
        """One user's lock: a file next to the database, named by a digest of the user's name."""
        key = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        async with file_lock(f"{self._file.real_path()}.{key}"):
            yield

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await in_thread(self._file.use, query)
        except _SQLITE_ERRORS as error:
            problem, passing = _why(error), self._may_pass(error)
        with suppress(OSError, *_SQLITE_ERRORS):
            return await in_thread(self._file.use_unwritable, query)
        if passing:
            raise UnavailableError(f"{self!r} cannot be read at this moment ({problem}).", next_step="Try again.")
        step = _way_out(problem) or "Check the path and its permissions."
        raise CredentialsError(f"{self!r} cannot be read ({problem}).", next_step=step)

    async def _write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await in_thread(self._file.use, change, writing=True)
        except _SQLITE_ERRORS as error:
            problem, passing = _why(error), self._may_pass(error, writing=True)
            foreign = type(error) is ValueError
        raise SaveError(
            f"{self!r} could not be written ({problem}). The stored value is unchanged.",
            next_step=_way_out(problem, foreign) or "Free some space, or make the folder writable, then try again.",
            kind="transient" if passing else "configuration",
        )

    def _may_pass(self, error: Exception, *, writing: bool = False) -> bool:
        """Whether the same call may succeed later. SQLite reports too many open files as SQLITE_CANTOPEN."""
        code = getattr(error, "sqlite_errorname", "")
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            return False
        if code.startswith("SQLITE_CANTOPEN"):
            folder = os.path.dirname(real_path(self.path))
            return os.access(self.path, os.R_OK) and (not writing or may_write_in(folder))
        return code.startswith(_PASSING)


def _values(count: int) -> str:
    names = ", ".join(["CAST(? AS TEXT)"] * count)
    return f"SELECT name, value FROM slyapi_users WHERE name IN ({names})"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _stored(database: sqlite3.Connection, name: str) -> str | bytes | None:
    row = database.execute("SELECT value FROM slyapi_users WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def _check(name: str) -> None:
    """Raises `ConfigError` for a name that SQLite cannot keep."""
    if any("\ud800" <= char <= "\udfff" for char in name):
        raise ConfigError("A user's name contains an unpaired surrogate.", next_step="Use a short id as name.")


_SQLITE_ERRORS = (sqlite3.Error, ValueError)
"""ValueError: for a foreign file, or a `UnicodeDecodeError` for a message that quotes a broken one."""
_MOUNTED_ALONE = f"it {MOUNTED}"
_PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_NOMEM", "SQLITE_PROTOCOL")
_MEANINGS = {
    "SQLITE_BUSY": "it is locked by another program",
    "SQLITE_CANTOPEN": "it cannot be opened or made",
    "SQLITE_CORRUPT": "it is damaged",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_IOERR": "the disk gives an error, or is full",
    "SQLITE_NOTADB": "it is not an SQLite database",
    "SQLITE_READONLY": "it may only be read",
}


def _way_out(problem: str, foreign: bool = False) -> str:
    if problem == _MOUNTED_ALONE:
        return "Mount its folder instead of the file (docker run -v ./state:/state)."
    return "Keep the database in a folder of its own." if foreign else ""


def _why(error: Exception) -> str:
    """The meaning of an SQLite error, whose own text may quote the file's content."""
    if type(error) is ValueError:
        return f"it {error}"
    code = getattr(error, "sqlite_errorname", type(error).__name__)
    return next((meaning for name, meaning in _MEANINGS.items() if code.startswith(name)), code)
