"""Users in a PostgreSQL table: many machines share them (the package psycopg, by the extra `[postgres]`).

The rule: each call is one statement, complete in itself, so that a pooler such as pgbouncer may give the
next one to another connection; no lock of the database is held while a provider is asked.
"""

import re
import socket
from contextlib import suppress
from typing import Any

from ..errors import ConfigError, MissingExtraError, NetworkError, SlyError, printable
from ..web.masking import Secrets
from .contract import as_text, as_value, missing, superseded
from .served import ServedStore

_TABLE = re.compile(r"(?:[A-Za-z_]\w{0,62}\.)?[A-Za-z_]\w{0,55}", re.ASCII)
_LONGEST = 2000  # an index takes entries of some 2,700 bytes

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS {table} (
    name text COLLATE "C" PRIMARY KEY,
    value text NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE IF NOT EXISTS {locks} (
    name text COLLATE "C" PRIMARY KEY,
    holder text NOT NULL,
    until timestamptz NOT NULL);
COMMENT ON TABLE {table} IS 'SlyAPI users, schema 1';
"""
_LOAD = "SELECT value FROM {table} WHERE name = %s"
_SAVE = """
INSERT INTO {table} (name, value) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, saved_at = clock_timestamp()
"""
_ADD = "INSERT INTO {table} (name, value) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING"
_REPLACE = "UPDATE {table} SET value = %s, saved_at = clock_timestamp() WHERE name = %s AND value = %s"
_DELETE = "DELETE FROM {table} WHERE name = %s"
_NAMES = "SELECT name FROM {table}"
# the server's clock alone says whose turn it is; the holder's second try after a lost answer succeeds too
_TAKE = """
INSERT INTO {locks} AS held (name, holder, until)
VALUES (%(name)s, %(holder)s, clock_timestamp() + make_interval(secs => %(lease)s))
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
WHERE held.until < clock_timestamp() OR held.holder = excluded.holder
"""
_RENEW = """
UPDATE {locks} SET until = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE name = %(name)s AND holder = %(holder)s
"""
_RELEASE = "DELETE FROM {locks} WHERE name = %s AND holder = %s"


class PostgresStore(ServedStore[Any]):
    """Users in the table `table` of the PostgreSQL database at `dsn`: a URL or `key=value` words, as libpq reads them.

    `await store.migrate()` makes the table, and `{table}_locks`, and brings those of an older SlyAPI up to
    date: once, or at each start of the program. `table` may name a schema (`auth.users`). Works behind
    pgbouncer, in transaction mode too. `timeout` bounds each call; `lease` says for how long a dead holder's
    lock is held (seconds). On Windows asyncio's selector loop is needed. Raises `ConfigError` for another DSN,
    where the table is missing, and where the server refuses the account; `NetworkError` while it is away;
    `CredentialsError` for a value that is no JSON object; `MissingExtraError` without the package.
    """

    __module__ = "SlyAPI.stores"

    def __init__(self, dsn: str, *, table: str = "slyapi_users", timeout: float = 10.0, lease: float = 30.0) -> None:
        self._shown, self.table, self._dsn = "", table, _Dsn(dsn)
        del dsn  # so that no traceback shows it
        self._psycopg = _psycopg()
        self._shown = _shown(self._dsn.text)
        if not self._shown:
            raise ConfigError(
                "That is not the DSN of a PostgreSQL database.", next_step="Give postgresql://USER:PASSWORD@HOST/NAME"
            )
        if not _TABLE.fullmatch(table):
            raise ConfigError(f"{printable(table, 80)!r} is not the name of a table.", next_step="Use a-z, 0-9 and _.")
        names = {"table": table, "locks": f"{table}_locks"}
        self._names = {key: ".".join(f'"{part}"' for part in name.split(".")) for key, name in names.items()}
        super().__init__(timeout, lease)

    def __repr__(self) -> str:
        return f"PostgresStore({self._shown!r}, table={self.table!r})"

    async def migrate(self) -> None:
        """Makes the tables or brings them up to date, also when several processes do so at once.

        The account needs the right to create tables, here alone. Raises `ConfigError` for tables of a
        newer SlyAPI, and as the other calls do.
        """

        async def make(connection: Any) -> str:
            async with connection.transaction():
                # two that CREATE IF NOT EXISTS at once may clash
                await connection.execute("SELECT pg_advisory_xact_lock(7305521)")
                known = await connection.execute(
                    "SELECT obj_description(to_regclass(%s), 'pg_class')", (self._names["table"],)
                )
                told = str((await known.fetchone())[0] or "")
                version = re.fullmatch(r"SlyAPI users, schema (\d+)", told)
                if version is None or int(version[1]) < _VERSION:
                    await connection.execute(_SCHEMA.format(**self._names))
            return version[1] if version else ""

        found = await self._ask(make)
        if found and int(found) > _VERSION:
            raise ConfigError(f"{self!r} was made by a newer SlyAPI (schema {found}).", next_step="Update SlyAPI.")

    async def load(self, name: str) -> dict[str, Any]:
        """The value last saved."""
        _check(name)
        held = await self._ask(lambda connection: self._held(connection, name))
        if held is None:
            raise missing(self, name)
        return as_value(self, name, held)

    async def save(self, name: str, value: dict[str, Any]) -> None:
        """Commits the value. Raises `SaveError`."""
        _check(name)
        as_text(self, value)
        await self._ask(lambda connection: self._do(connection, _SAVE, (name, as_text(self, value))), saving=True)

    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any]) -> None:
        """Commits the value where `old` is there still. Raises `SupersededError`, `SaveError`."""
        _check(name)
        as_text(self, new)

        async def swap(connection: Any) -> bool:
            held = await self._held(connection, name)
            now = None if held is None else as_value(self, name, held)
            if now == new:
                return True  # by us, whose answer was lost
            if now != old:
                return False
            if held is None:
                return bool(await self._do(connection, _ADD, (name, as_text(self, new))))
            return bool(await self._do(connection, _REPLACE, (as_text(self, new), name, *held)))

        if not await self._ask(swap, saving=True):
            raise superseded(self, name)

    async def delete(self, name: str) -> None:
        """Forgets a user."""
        _check(name)
        await self._ask(lambda connection: self._do(connection, _DELETE, (name,)), saving=True)

    async def names(self) -> list[str]:
        """The names of all users."""

        async def all_of(connection: Any) -> list[str]:
            found = await connection.execute(_NAMES.format(**self._names))
            return [row[0] for row in await found.fetchall()]

        return await self._ask(all_of)

    async def _do(self, connection: Any, statement: str, values: Any = ()) -> int:
        """How many rows the statement changed."""
        done = await connection.execute(statement.format(**self._names), values)
        return int(done.rowcount)

    async def _held(self, connection: Any, name: str) -> Secrets | None:
        found = await connection.execute(_LOAD.format(**self._names), (name,))
        row = await found.fetchone()
        return None if row is None else Secrets(row)

    async def _lease(self, connection: Any, name: str, holder: str, renew: bool) -> bool:
        _check(name)
        values = {"name": name, "holder": holder, "lease": self.lease}
        return bool(await self._do(connection, _RENEW if renew else _TAKE, values))

    async def _release(self, connection: Any, name: str, holder: str) -> None:
        await self._do(connection, _RELEASE, (name, holder))

    def _address(self) -> "_Dsn":
        return self._dsn

    @staticmethod
    async def _open(address: "_Dsn") -> Any:
        # prepared statements would be another connection's behind a pooler
        options = {"autocommit": True, "prepare_threshold": None, "client_encoding": "utf8"}
        return await _psycopg().AsyncConnection.connect(address.text, **options)

    @staticmethod
    async def _close(connection: Any) -> None:
        await connection.close()

    @staticmethod
    def _break(connection: Any) -> bool:
        # psycopg's own way to cancel asks the server, which may be why
        try:
            its_socket = socket.socket(fileno=connection.fileno())
        except (OSError, _psycopg().Error):  # it is closed
            return False
        with suppress(OSError):
            its_socket.shutdown(socket.SHUT_RDWR)
        its_socket.detach()
        return True

    def _is_lost(self, error: Exception) -> bool:
        return isinstance(error, OSError | self._psycopg.OperationalError | self._psycopg.InterfaceError)

    def _told(self, error: Exception) -> SlyError:
        if isinstance(error, self._psycopg.errors.UndefinedTable | self._psycopg.errors.UndefinedColumn):
            return ConfigError(f"{self!r}: the table is not there yet.", next_step="Call once: await store.migrate()")
        code, said = getattr(error, "sqlstate", None) or "", str(error)
        if code.startswith("42501"):
            return ConfigError(f"{self!r}: the account lacks the right.", next_step="GRANT it in the database.")
        if code == "25006":
            return self._away("the server takes no writes now: a replica, or set to be read only")
        if code.startswith(("53", "40", "57")):
            return self._away(f"the server is out of order or has no room (SQLSTATE {code})")
        if code and not code.startswith(("08", "28", "3D")):
            return NetworkError(
                f"{self!r}: the server refused (SQLSTATE {code}).", next_step="See its log.", kind="configuration"
            )
        if isinstance(error, self._psycopg.InterfaceError) and "EventLoop" in said:
            return ConfigError(f"{self!r} needs asyncio's selector event loop.", next_step="Set it on Windows.")
        if isinstance(error, self._psycopg.OperationalError | OSError):
            return self._no_connection(code, said)
        return self._away(f"the driver failed ({type(error).__name__})")

    def _no_connection(self, code: str, said: str) -> SlyError:
        """libpq tells why it has no connection in words alone."""
        if re.search(r"\b(SSL|TLS|certificate)\b", said):
            return NetworkError(
                f"{self!r}: TLS failed.", next_step="Check sslmode and certificates.", kind="configuration"
            )
        passing = re.search(r"starting up|shutting down|recovery|too many|slots are reserved|terminating", said)
        if code.startswith(("28", "3D")) or ("FATAL:" in said and not passing) or "no password supplied" in said:
            return ConfigError(
                f"{self!r}: the server refuses the account, its password, or the database's name.",
                next_step="Check the DSN.",
            )
        return self._away("no connection, or it broke")


class _Dsn:
    """A DSN that may hold a password, and does not print."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def _check(name: str) -> None:
    """Raises `ConfigError` for a name that PostgreSQL cannot keep."""
    if "\0" in name or any("\ud800" <= char <= "\udfff" for char in name):
        raise ConfigError("A user's name holds NUL or half a character.", next_step="Use a short id as name.")
    if len(name.encode()) > _LONGEST:
        raise ConfigError(f"A user's name is longer than {_LONGEST} bytes.", next_step="Use a short id as name.")


def _shown(dsn: str) -> str:
    """Where the database is, without account and options; "" for what is no DSN."""
    psycopg = _psycopg()
    try:
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
    except (psycopg.Error, ValueError, UnicodeError):
        return ""
    where = f"{parts.get('host', '')}{':' if 'port' in parts else ''}{parts.get('port', '')}"
    # a password with a / or @ in it that nobody encoded reaches into the host and the name
    return printable("postgresql://" + f"{where}/{parts.get('dbname', '')}".rpartition("@")[2], 200)


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError:
        raise MissingExtraError(
            "PostgresStore needs the package psycopg.", next_step="Install it with: pip install 'SlyAPI[postgres]'"
        ) from None
    return psycopg
