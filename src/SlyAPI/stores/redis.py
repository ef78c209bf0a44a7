"""Users in Redis or Valkey, shared by many machines (the package redis, by the extra `[redis]`).

The rule: whatever must hold between two clients is one script on the server.
"""

import ssl
from collections.abc import AsyncGenerator, Hashable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from ..errors import (
    ConfigError,
    CredentialsError,
    Kind,
    MissingExtraError,
    NetworkError,
    SaveError,
    SlyError,
    clean_traceback,
    printable,
)
from ..web.secret_values import Secrets
from .contract import value_or_none
from .served import LEASE, LockReply, ServedStore
from .token_ends import KEYS, NEVER, PAGE, UNKNOWN, Page, Token, check_token, end_of, score, score_ranges

# An index that cannot be written, such as a key of another type, does not make a save fail: hence `pcall`.
# KEYS: value, indexes; ARGV: name, ends ("" for no place in the index), the text to store, and to compare the one that
# is stored as far as the caller knows ("" for none); without a text to store it only writes, and leaves nothing
_SET = """
if ARGV[5] and (redis.call('GET', KEYS[1]) or '') ~= ARGV[5] then return 0 end
redis.call('SET', KEYS[1], ARGV[4])
if ARGV[4] == '' then redis.call('DEL', KEYS[1]) end
for n = 2, 3 do
    if ARGV[n] == '' then redis.pcall('ZREM', KEYS[n], ARGV[1]) else redis.pcall('ZADD', KEYS[n], ARGV[n], ARGV[1]) end
end
return 1
"""
# KEYS: value, indexes; ARGV: name
_DELETE = """
redis.call('DEL', KEYS[1])
for n = 2, 3 do redis.pcall('ZREM', KEYS[n], ARGV[1]) end
return 1
"""
# KEYS: indexes, values; ARGV: for each value its name, ends and text ("" for none)
_CORRECT = """
for n = 3, #KEYS do
    local at = (n - 3) * 4
    local name, text = ARGV[at + 1], ARGV[at + 4]
    if redis.pcall('GET', KEYS[n]) == text or (text == '' and redis.call('EXISTS', KEYS[n]) == 0) then
        for index = 1, 2 do
            local place = ARGV[at + 1 + index]
            if place == '' then redis.pcall('ZREM', KEYS[index], name)
            else redis.pcall('ZADD', KEYS[index], place, name) end
        end
    end
end
return 1
"""
_CHECKED_FOR = 7 * 86_400
"""Seconds until all users are compared with the indexes again: a program without them may have written some."""
# KEYS: lock; ARGV: holder, milliseconds, '1' to renew. The value is the holder and when its lease ends, by the
# server's clock; it is kept for an hour more, so that a takeover is known as one
_LEASE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local holder, ends = string.match(redis.call('GET', KEYS[1]) or '', '^(%x+) (%d+)$')
local mine = holder == ARGV[1]
if not mine and (ARGV[3] == '1' or holder and tonumber(ends) > now) then return 0 end
redis.call('SET', KEYS[1], string.format('%s %.0f', ARGV[1], now + ARGV[2]), 'PX', ARGV[2] + 3600000)
return (mine or not holder) and 1 or 2
"""
_RELEASE = """
if string.match(redis.call('GET', KEYS[1]) or '', '^%x+') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
"""


class RedisStore(ServedStore[Any]):
    """Users in the Redis or Valkey server at `url`: `redis://`, `rediss://` (TLS) or `unix://`, as redis-py reads it.

    The keys are `{prefix}user:{name}` and `{prefix}lock:{name}`, and two sorted sets of names by the end of their
    tokens, `{prefix}ends:access` and `{prefix}ends:refresh`, which a save changes together with the value. A save is
    as durable as the server is configured: `appendonly yes` with `appendfsync always`, and `maxmemory-policy
    noeviction`, keep every grant; `everysec`, and a failover to a replica, may lose those of the last second.
    `timeout` limits each call; `lease` is how long the lock of a dead process is held (seconds). Redis Cluster is not
    supported. Raises `ConfigError` for another URL and if the server refuses the password, `NetworkError` while it is
    away, `CredentialsError` for a key that holds something else, `MissingExtraError` without the package.
    """

    __module__ = "SlyAPI.stores"

    @clean_traceback
    def __init__(self, url: str, prefix: str = "slyapi:", *, timeout: float = 10.0, lease: float = LEASE) -> None:
        self._redis = _redis()
        self._address, self.prefix, self._url = _address(url), prefix, Secrets((url,))
        self._indexes = [_encoded(f"{prefix}ends:{token}") for token in KEYS]
        self._checked = _encoded(f"{prefix}ends:checked")
        try:
            self._redis.asyncio.ConnectionPool.from_url(url)
        except (ValueError, TypeError, AttributeError):
            self._address = ""
        if not self._address:
            raise ConfigError(
                "That is not the URL of a Redis server.", next_step="Give redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER]"
            )
        if self._address.startswith("rediss"):
            self._timeout_step = "Try again later; a server without TLS never answers rediss://."
        super().__init__(timeout, lease)

    def __repr__(self) -> str:
        return f"RedisStore({self._address!r}, {self.prefix!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), self._url[0], self.prefix, timeout=self.timeout, lease=self.lease), ()

    def entry_key(self, name: str) -> Hashable:
        """The user at the URL, below the prefix."""
        return "redis", self._url, self.prefix, name

    async def _get(self, connection: Any, name: str) -> str | None:
        stored = await connection.execute_command("GET", self._key(name))
        return None if stored is None else stored.decode("utf-8", "surrogateescape")

    async def _put(self, connection: Any, name: str, text: str) -> None:
        await self._eval(connection, _SET, [name], *self._ends(name, text), text)

    async def _swap(self, connection: Any, name: str, old: str | None, new: str | None) -> bool:
        known, text = (old or "").encode("utf-8", "surrogateescape"), new or ""
        return bool(await self._eval(connection, _SET, [name], *self._ends(name, text), text, known))

    async def _remove(self, connection: Any, name: str) -> None:
        await self._eval(connection, _DELETE, [name], _encoded(name))

    async def _eval(self, connection: Any, script: str, names: list[str], *values: Any) -> Any:
        keys = [*(self._key(name) for name in names), *self._indexes]
        return await connection.eval(script, len(keys), *keys, *values)

    @clean_traceback
    async def each_name(self) -> AsyncGenerator[str, None]:
        """The names of all users; walks over all keys of the server's database, in pages."""
        async for names in self._scan():
            for name in names:
                yield name

    async def _scan(self) -> AsyncGenerator[list[str], None]:
        start = self._key("")
        pattern = b"".join(b"\\" + bytes([byte]) if byte in b"\\*?[]^-" else bytes([byte]) for byte in start)
        cursor, server = b"0", None

        async def page(connection: Any) -> tuple[Any, list[bytes], Any]:
            further, keys = await connection.execute_command("SCAN", cursor, "MATCH", pattern + b"*", "COUNT", 1000)
            return further, keys, (await connection.execute_command("INFO", "server")).get("run_id")

        while server is None or int(cursor):
            cursor, keys, answered = await self._call(page)
            if server not in (None, answered):  # another server's order of keys is another
                raise self._away("the server was replaced or restarted while its keys were read")
            server = answered
            yield [name for key in keys if (name := _name(key.removeprefix(start))) is not None]

    async def count(self) -> int:
        """The number of users in the index."""
        await self._ensure_indexes()
        return int(await self._call(lambda connection: connection.execute_command("ZCARD", self._indexes[0])))

    @clean_traceback
    async def ending(self, token: Token, before: float, after: float = UNKNOWN) -> AsyncGenerator[Page, None]:
        """Pages of the users whose token ends in that time, by a sorted set, the soonest first.

        The first call, and one each week, compares all users with the sorted sets (`migrate`).
        """
        await self._ensure_indexes()
        index = self._indexes[list(KEYS).index(check_token(token))]
        for low, high in score_ranges(before, after):
            start: Any = low
            while start is not None:
                start, page = await self._page(index, start, f"({high}")
                if page:
                    yield page

    async def _page(self, index: bytes, low: Any, high: Any) -> tuple[Any, Page]:
        """The users from a score on, and the score to go on from; those of one score are all on one page."""

        async def between(connection: Any, low: Any, high: Any, *most: Any) -> dict[bytes, float]:
            query = ("ZRANGEBYSCORE", index, low, high, "WITHSCORES", *most)
            return dict(await connection.execute_command(*query, withscores=True))

        async def work(connection: Any) -> tuple[Any, Page]:
            found, further = await between(connection, low, high, "LIMIT", 0, PAGE), None
            if len(found) == PAGE:
                last = max(found.values())
                found, further = {key: at for key, at in found.items() if at < last}, repr(last)
                if not found:
                    found, further = await between(connection, last, last), f"({last!r}"
            scores = {name: at for key, at in found.items() if (name := _name(key)) is not None}
            return further, await self._values(connection, list(scores), index, scores)

        return await self._call(work)

    async def _values(
        self, connection: Any, names: list[str], index: bytes = b"", scores: Mapping[str, float] = {}
    ) -> Page:
        """The users' values. Corrects the indexes where they are not known to have these `scores`."""
        if not names:
            return []
        texts = await connection.execute_command("MGET", *map(self._key, names))
        decoded = [(text or b"").decode("utf-8", "surrogateescape") for text in texts]
        users = dict(zip(names, decoded, strict=True))
        wrong, values = list[str](), list[Any]()
        for name, text in users.items():
            ends = self._ends(name, text)
            if not index or ends[1 + self._indexes.index(index)] != repr(scores[name]):
                wrong.append(name)
                values += [*ends, text.encode("utf-8", "surrogateescape")]
        if wrong:
            keys = [*self._indexes, *map(self._key, wrong)]
            await connection.eval(_CORRECT, len(keys), *keys, *values)
        return [(name, value_or_none(self, name, text)) for name, text in users.items()]

    async def migrate(self) -> None:
        """Compares all users with the sorted sets, and corrects those.

        Only needed after a program without them wrote users, such as an older SlyAPI. The first use of the sorted sets,
        and one each week, does the same. Takes some seconds for each 100,000 users.
        """
        async for names in self._scan():
            if names:
                await self._call(partial(self._values, names=names))
        cursor: Any = None
        while cursor is None or int(cursor):
            cursor = await self._call(partial(self._forget_missing, cursor=cursor or b"0"))
        mark = ("SET", self._checked, "1", "EX", _CHECKED_FOR)
        await self._call(lambda connection: connection.execute_command(*mark))

    async def _forget_missing(self, connection: Any, cursor: Any) -> Any:
        """Takes users that are no more out of the indexes; the cursor of the next part."""
        cursor, found = await connection.execute_command("ZSCAN", self._indexes[0], cursor, "COUNT", 1000)
        names = [name for key, _ in found if (name := _name(key)) is not None]
        if names and await connection.execute_command("EXISTS", *map(self._key, names)) < len(names):
            await self._values(connection, names)
        return cursor

    async def _ensure_indexes(self) -> None:
        if not await self._call(lambda connection: connection.execute_command("EXISTS", self._checked)):
            await self.migrate()

    def _ends(self, name: str, text: str) -> tuple[Any, ...]:
        """The name and the scores of a user, "" for no place in that index."""
        value: Mapping[str, Any] = value_or_none(self, name, text) or {}
        access, refresh = (end_of(value, token) for token in KEYS)
        scores = score(access, name), "" if refresh == NEVER else score(refresh, name)
        return (_encoded(name), *(scores if text else ("", "")))

    def _key(self, name: str, kind: str = "user") -> bytes:
        return _encoded(f"{self.prefix}{kind}:{name}")

    async def _lease(self, connection: Any, name: str, holder: str, renew: bool) -> LockReply:
        values = (holder, round(self.lease * 1000), int(renew))
        return LockReply(await connection.eval(_LEASE, 1, self._key(name, "lock"), *values))

    async def _release(self, connection: Any, name: str, holder: str) -> None:
        await connection.eval(_RELEASE, 1, self._key(name, "lock"), holder)

    async def _open(self) -> Any:
        # the timeout and the second try are those of `ServedStore`
        retry = self._redis.asyncio.retry.Retry(self._redis.backoff.NoBackoff(), 0)
        options = dict.fromkeys(("socket_timeout", "socket_connect_timeout", "health_check_interval"))
        client = self._redis.asyncio.Redis.from_url(self._url[0], single_connection_client=True, retry=retry, **options)
        try:
            return await client.initialize()
        except BaseException:
            await client.aclose()
            raise

    @staticmethod
    async def _close(connection: Any, at_once: bool) -> None:
        await connection.connection.disconnect(nowait=at_once)
        await connection.aclose()

    def _is_lost(self, error: Exception) -> bool:
        errors = self._redis.exceptions
        # after a failover the address may be a replica's
        return isinstance(error, OSError | errors.ConnectionError) or _refusal(error) == "READONLY"

    def _translated(self, error: Exception) -> SlyError:
        errors = self._redis.exceptions
        said = str(error)
        if isinstance(error, errors.AuthenticationError | errors.NoPermissionError) or "NOAUTH" in said:
            return ConfigError(f"{self!r}: the server refuses the account or its password.", next_step="Check the URL.")
        if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
            return NetworkError(
                f"{self!r}: TLS failed.", next_step="Check rediss:// in the URL and certificates.", kind="configuration"
            )
        if isinstance(error, errors.ClusterCrossSlotError):
            return ConfigError(
                f"{self!r}: on Redis Cluster, a user's keys and the sorted sets lie in several slots.",
                next_step="Give each part of the users a store with a hash tag in its prefix: 'slyapi:{07}:'.",
            )
        if _refusal(error) == "READONLY":
            return self._away("the server is a read-only replica now")
        if said.startswith("WRONGTYPE"):
            return CredentialsError(f"{self!r} has a key whose value is not text.")
        if _refusal(error) == "OOM":
            return SaveError(f"{self!r}: the server's memory is full.", next_step="Give it more, or delete users.")
        if isinstance(error, errors.ConnectionError | OSError):
            return self._away("no connection, or it broke")
        if isinstance(error, errors.ResponseError):
            code = printable(said.split(" ", 1)[0], 30)
            kind: Kind = "configuration" if code in ("MOVED", "ERR", "CROSSSLOT") else "transient"
            return NetworkError(f"{self!r}: the server refused ({code}).", next_step="See the server's log.", kind=kind)
        return self._away(f"the driver failed ({type(error).__name__})")


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _name(key: bytes) -> str | None:
    """The name in a key; None for a key that SlyAPI did not make."""
    try:
        return key.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None


def _refusal(error: BaseException) -> str:
    """The server's code for a refusal. Before Redis 7, a script's error has it in its text: `ERR ...: READONLY ...`."""
    kind, said = type(error).__name__, str(error)
    codes = {"READONLY": "ReadOnlyError", "OOM": "OutOfMemoryError"}
    return next((code for code, name in codes.items() if kind == name or f": {code} " in said), "")


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _address(url: str) -> str:
    """The URL without account and query; "" if it is not one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme not in ("redis", "rediss", "unix"):
        return ""
    # a password with an unencoded / reaches into the path
    return printable(f"{parts.scheme}://{(parts.netloc + parts.path).rpartition('@')[2]}", 200)


def _redis() -> Any:
    try:
        import redis.asyncio
        import redis.backoff
    except ImportError:
        raise MissingExtraError(
            "RedisStore needs the package redis.", next_step="Install it with: pip install 'SlyAPI[redis]'"
        ) from None
    return redis
