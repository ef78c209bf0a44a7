"""Users in a PostgreSQL table, shared by many machines (the package psycopg).

The rule: each call is one statement, complete in itself, so that a pooler such as pgbouncer may run the next
one on another connection; no database lock is held during a token request.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Hashable
from functools import cache, partial
from typing import Any

from ..errors import ConfigError, MissingExtraError, NetworkError, SlyError, clean_traceback, printable
from ..web.next_steps import install
from ..web.secret_values import Secrets
from .contract import value_or_none
from .served import LEASE, LockReply, ServedStore
from .token_ends import KEYS, NAMES, PAGE, SQL_UNKNOWN, UNKNOWN, Page, Token, check_token, sql_end, sql_time

_TABLE = re.compile(r"(?:[A-Za-z_]\w{0,62}\.)?[A-Za-z_]\w{0,55}", re.ASCII)
_LONGEST = 2000  # an index takes entries of some 2,700 bytes

_VERSION = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS {table} (
    name text COLLATE "C" PRIMARY KEY,
    value text NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE IF NOT EXISTS {locks} (
    name text COLLATE "C" PRIMARY KEY,
    holder text NOT NULL,
    until timestamptz NOT NULL,
    taken_from text);
COMMENT ON TABLE {table} IS 'SlyAPI users, schema 2';
"""
# The server keeps these indexes itself, whichever program writes a value
_ENDS: dict[Token, str] = {
    token: f"""({sql_end(token, f"ltrim(left(nullif(split_part(value, '{mark}', 2), ''), 40))")} COLLATE "C")"""
    for token in KEYS
    for mark in [f'"{KEYS[token]}"']
}
_INDEX = "CREATE INDEX IF NOT EXISTS {} ON {} (({}), name)"
_ENDING = """
SELECT name, value, token_end FROM (
    SELECT * FROM (
        SELECT name, value, {end} AS token_end FROM {table}
        WHERE {end} = %(last)s AND name > %(name)s ORDER BY name LIMIT {page}) AS same
    UNION ALL SELECT * FROM (
        SELECT name, value, {end} AS token_end FROM {table}
        WHERE {end} > %(last)s AND {end} <= %(before)s ORDER BY {end}, name LIMIT {page}) AS later
) AS users ORDER BY token_end, name LIMIT {page}
"""
_LOAD = "SELECT value FROM {table} WHERE name = %s"
_SAVE = """
INSERT INTO {table} (name, value) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, saved_at = clock_timestamp()
"""
_ADD = "INSERT INTO {table} (name, value) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING"
_REPLACE = "UPDATE {table} SET value = %s, saved_at = clock_timestamp() WHERE name = %s AND value = %s"
_DELETE = "DELETE FROM {table} WHERE name = %s"
_NAMES = f"SELECT name FROM {{table}} WHERE name {{compared}} %s ORDER BY name LIMIT {NAMES}"
_COUNT = "SELECT count(*) FROM {table}"
# By the server's clock alone; the holder's second try after a lost reply succeeds too. An end that is further away than
# a lease is long was written before the clock was set back, and is shortened
_FREE = "(held.until < clock_timestamp() OR held.holder = excluded.holder)"
_TAKE = """
INSERT INTO {locks} AS held (name, holder, until)
VALUES (%(name)s, %(holder)s, clock_timestamp() + make_interval(secs => %(lease)s))
ON CONFLICT (name) DO UPDATE SET
    until = excluded.until,
    holder = CASE WHEN {free} THEN excluded.holder ELSE held.holder END,
    taken_from = CASE WHEN {free} THEN held.holder ELSE held.taken_from END
WHERE {free} OR held.until > excluded.until
RETURNING CASE WHEN holder = %(holder)s THEN coalesce(taken_from, holder) <> holder END
"""
_RENEW = """
UPDATE {locks} SET until = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE name = %(name)s AND holder = %(holder)s
RETURNING false
"""
_RELEASE = "DELETE FROM {locks} WHERE name = %s AND holder = %s"


class PostgresStore(ServedStore[Any]):
    """Users in the table `table` of the PostgreSQL database at `dsn`: a URL or `key=value` words, as libpq reads them.

    `await store.migrate()` makes the table, and `{table}_locks`, and updates those of an older SlyAPI: once, or at
    each start of the program. `table` may name a schema (`auth.users`). Works behind pgbouncer, in transaction
    mode too. Of several hosts in the DSN it finds the primary. `timeout` limits each call; `lease` is how long the
    lock of a dead process is held (seconds): give all programs the same. On Windows asyncio's selector loop is needed.
    Raises `ConfigError` for another DSN, if the table is missing, and if
    the server refuses the account; `NetworkError` while it is away; `CredentialsError` for a value that is not a
    JSON object; `MissingExtraError` without the package.
    """

    __module__ = "SlyAPI.stores"

    @clean_traceback
    def __init__(self, dsn: str, *, table: str = "slyapi_users", timeout: float = 10.0, lease: float = LEASE) -> None:
        self._psycopg = _psycopg()
        words = _words(dsn)
        self._address, self._dsn = _address(words), Secrets((dsn,))
        self.table: str = table
        self._hosts = max(str(words.get(key, "")).count(",") + 1 for key in ("host", "hostaddr"))
        self._own_options = words.keys() & {"target_session_attrs", "connect_timeout"}
        if not self._address:
            raise ConfigError(
                "That is not the DSN of a PostgreSQL database.", next_step="Give postgresql://USER:PASSWORD@HOST/NAME"
            )
        if not _TABLE.fullmatch(table):
            raise ConfigError(f"{printable(table, 80)!r} is not the name of a table.", next_step="Use a-z, 0-9 and _.")
        names = {"table": table, "locks": f"{table}_locks"}
        self._names = {key: ".".join(f'"{part}"' for part in name.split(".")) for key, name in names.items()}
        index = table.rpartition(".")[2]  # an index lies in the schema of its table
        self._names |= {"free": _FREE, "access": f'"{index}_access"', "refresh": f'"{index}_ending"'}
        super().__init__(timeout, lease)

    def __repr__(self) -> str:
        return f"PostgresStore({self._address!r}, table={self.table!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), self._dsn[0], table=self.table, timeout=self.timeout, lease=self.lease), ()

    @clean_traceback
    async def migrate(self) -> None:
        """Makes or updates the tables; several processes may do so at once.

        Only this call needs the right to create tables. Raises `ConfigError` for tables of a newer SlyAPI,
        and as the other calls do.
        """

        async def make(connection: Any) -> str:
            async with connection.transaction():
                # two that CREATE IF NOT EXISTS at once may clash
                await connection.execute("SELECT pg_advisory_xact_lock(7305521)")
                known = await connection.execute(
                    "SELECT obj_description(to_regclass(%s), 'pg_class')", (self._names["table"],)
                )
                comment = str((await known.fetchone())[0] or "")
                version = re.fullmatch(r"SlyAPI users, schema (\d+)", comment)
                if version is None or int(version[1]) < _VERSION:
                    await connection.execute(_SCHEMA.format(**self._names))
                    for token, end in _ENDS.items():
                        await connection.execute(_INDEX.format(self._names[token], self._names["table"], end))
            return version[1] if version else ""

        found = await self._call(make)
        if found and int(found) > _VERSION:
            raise ConfigError(f"{self!r} was made by a newer SlyAPI (schema {found}).", next_step="Update SlyAPI.")

    async def _execute(self, connection: Any, statement: str, values: Any = ()) -> Any:
        return await self._run(connection, statement.format(**self._names), values)

    async def _run(self, connection: Any, query: str, values: Any) -> Any:
        errors = self._psycopg.errors
        while True:
            try:
                return await connection.execute(query, values)
            except (errors.SerializationFailure, errors.DeadlockDetected):  # of stricter isolation levels
                await asyncio.sleep(0.005)

    def entry_key(self, name: str) -> Hashable:
        """The user in that database and table."""
        return "postgres", self._dsn, self.table, name

    async def _get(self, connection: Any, name: str) -> str | None:
        row = await (await self._execute(connection, _LOAD, (name,))).fetchone()
        return None if row is None else row[0]

    async def _put(self, connection: Any, name: str, text: str) -> None:
        await self._execute(connection, _SAVE, (name, text))

    async def _swap(self, connection: Any, name: str, old: str | None, new: str | None) -> bool:
        if new is None:
            async with connection.transaction(force_rollback=True):
                return bool((await connection.execute(_ADD.format(**self._names), (name, ""))).rowcount)
        statement, values = (_ADD, (name, new)) if old is None else (_REPLACE, (new, name, old))
        return bool((await self._execute(connection, statement, values)).rowcount)

    async def _remove(self, connection: Any, name: str) -> None:
        await self._execute(connection, _DELETE, (name,))

    @clean_traceback
    async def each_name(self) -> AsyncGenerator[str, None]:
        """The names of all users, read in pages."""
        last, compared = "", ">="
        while rows := await self._rows(_NAMES.format(compared=compared, **self._names), (last,)):
            for (last,) in rows:
                yield last
            compared = ">"

    async def count(self) -> int:
        """The number of users."""
        return int((await self._rows(_COUNT.format(**self._names)))[0][0])

    @clean_traceback
    async def ending(self, token: Token, before: float, after: float = UNKNOWN) -> AsyncGenerator[Page, None]:
        """Pages of the users whose token ends in that time, the soonest first; by an index that `migrate` makes."""
        end = _ENDS[check_token(token)].replace("%", "%%")  # for psycopg, a parameter begins there
        query = _ENDING.format(end=end, table=self._names["table"], page=PAGE)
        for last, upto in (("", SQL_UNKNOWN), (sql_time(after), sql_time(before))):
            place = {"name": "", "last": last, "before": upto}
            while rows := await self._rows(query, place):
                yield [(name, value_or_none(self, name, value)) for name, value, _ in rows]
                place["name"], _, place["last"] = rows[-1]

    async def _rows(self, statement: str, values: Any = ()) -> list[Any]:
        async def fetch(connection: Any) -> list[Any]:
            return list(await (await self._run(connection, statement, values)).fetchall())

        return await self._call(fetch)

    async def _lease(self, connection: Any, name: str, holder: str, renew: bool) -> LockReply:
        values = {"name": name, "holder": holder, "lease": self.lease}
        row = await (await self._execute(connection, _RENEW if renew else _TAKE, values)).fetchone()
        if row is None or row[0] is None:
            return LockReply.REFUSED
        return LockReply.TAKEN_OVER if row[0] else LockReply.TAKEN

    async def _release(self, connection: Any, name: str, holder: str) -> None:
        await self._execute(connection, _RELEASE, (name, holder))

    async def _open(self) -> Any:
        # behind a pooler, a prepared statement would belong to another connection
        options: dict[str, Any] = {"autocommit": True, "prepare_threshold": None, "client_encoding": "utf8"}
        if self._hosts > 1:  # of several servers the primary, found before our own time is over
            limit = max(2, int(self.timeout / 2 / self._hosts))
            asked = {"target_session_attrs": "read-write", "connect_timeout": limit}
            options |= {key: value for key, value in asked.items() if key not in self._own_options}
        connection = await _connection_class(self._psycopg).connect(self._dsn[0], **options)
        await connection.set_isolation_level(self._psycopg.IsolationLevel.READ_COMMITTED)  # of its transactions
        return connection

    @staticmethod
    async def _close(connection: Any, at_once: bool) -> None:
        await connection.close()

    @staticmethod
    def _drop(connection: Any) -> None:
        connection.pgconn.finish()

    def _check_name(self, name: str) -> None:
        if "\0" in name or any("\ud800" <= char <= "\udfff" for char in name):
            raise ConfigError("A user's name contains NUL or a lone surrogate.", next_step="Use a short id as name.")
        if len(name.encode()) > _LONGEST:
            raise ConfigError(f"A user's name is longer than {_LONGEST} bytes.", next_step="Use a short id as name.")

    def _is_lost(self, error: Exception) -> bool:
        # a read-only server may have been the primary until now
        lost = (OSError, self._psycopg.OperationalError, self._psycopg.InterfaceError)
        return isinstance(error, lost) or getattr(error, "sqlstate", "") == _READ_ONLY

    def _translated(self, error: Exception) -> SlyError:
        code, said = getattr(error, "sqlstate", None) or "", str(error)
        if code in ("42P01", "42703"):
            return ConfigError(f"{self!r}: the table does not exist.", next_step="Call once: await store.migrate()")
        if code == "42501":
            return ConfigError(f"{self!r}: the account lacks a permission.", next_step="GRANT it in the database.")
        if code == _READ_ONLY:
            return self._away("the server takes no writes now: a replica, or set to be read only")
        if code.startswith(("28", "3D")) or (not code and _is_refused(said)):
            return ConfigError(
                f"{self!r}: the server refuses the account, its password, or the database's name.",
                next_step="Check the DSN.",
            )
        if code.startswith(_MISTAKES):
            return NetworkError(
                f"{self!r}: the server refused (SQLSTATE {code}).", next_step="See its log.", kind="configuration"
            )
        if code:
            return self._away(f"the server is out of order or has no room (SQLSTATE {printable(code, 5)})")
        if isinstance(error, self._psycopg.InterfaceError) and "EventLoop" in said:
            return ConfigError(f"{self!r} needs asyncio's selector event loop.", next_step="Set it on Windows.")
        if _TLS_REFUSED.search(said):
            return NetworkError(
                f"{self!r}: TLS failed.", next_step="Check sslmode and certificates.", kind="configuration"
            )
        if isinstance(error, self._psycopg.OperationalError | OSError):
            return self._away("no connection, or it broke")
        return self._away(f"the driver failed ({type(error).__name__})")


_READ_ONLY = "25006"
_MISTAKES = ("0A", "22", "42")
"""SQLSTATE classes of statements that would fail again. An error of any other class may pass."""
_TLS_REFUSED = re.compile(r"does not support SSL|certificate|SSL error: (?!unexpected eof)")
_ACCOUNT_REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|no such (?:user|database)"
    r"|(?:role|database) .* (?:does not exist|is not permitted)"
)


def _is_refused(said: str) -> bool:
    """Whether libpq reports that the server refuses the account. A failed connection has no SQLSTATE, words alone:

    in another language they are not understood, and count as a failure that may pass. So does what a pooler repeats of
    its own login ("server login failed").
    """
    return "server login" not in said and _ACCOUNT_REFUSED.search(said) is not None


@cache
def _connection_class(psycopg: Any) -> Any:
    class Connection(psycopg.AsyncConnection):  # type: ignore[misc]
        async def wait(self, gen: Any, *args: Any, **more: Any) -> Any:
            # psycopg's own asks the server to cancel a cancelled statement, for up to 10 s where the server
            # hangs, and so would outlast our timeout; we close the connection instead
            return await psycopg.waiting.wait_async(gen, self.pgconn.socket, *args, **more)

    return Connection


def _words(dsn: str) -> dict[str, Any]:
    """The DSN's words. Raises `ConfigError`, which names an option that cannot be used."""
    psycopg, words, unknown = _psycopg(), dict[str, Any](), ""
    try:
        words = psycopg.conninfo.conninfo_to_dict(dsn)
    except (psycopg.Error, ValueError, UnicodeError, TypeError) as error:
        found = re.search(r'(?:parameter|option):? "(\w{2,40})"', str(error))
        if found and "@" not in str(dsn).partition("?")[2]:  # else it may be a part of a password
            unknown = f"The DSN has the option `{found[1]}`, which PostgreSQL does not know."
    if words.get("target_session_attrs") in ("read-only", "standby", "prefer-standby"):
        unknown = "The DSN has the option `target_session_attrs` for a server that takes no writes."
    if unknown:
        raise ConfigError(unknown, next_step="Leave it out.")
    return words


def _address(words: dict[str, Any]) -> str:
    """Where the database is, without account and options; "" if there are no words."""
    where = f"{words.get('host', '')}{':' if 'port' in words else ''}{words.get('port', '')}"
    # a password with an unencoded / or @ reaches into the host and the name
    name = f"{where}/{words.get('dbname', '')}".rpartition("@")[2]
    return printable(f"postgresql://{name}", 200) if words else ""


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError:
        raise MissingExtraError(
            "PostgresStore needs the package psycopg.", next_step=install("postgres", "psycopg[binary]")
        ) from None
    return psycopg
