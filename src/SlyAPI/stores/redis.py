"""Users in Redis or Valkey, shared by many machines (the package redis).

The rule: whatever must hold between two clients is one script on the server, whose keys are in one slot of a cluster.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, Hashable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from zlib import crc32

from ..errors import ConfigError, CredentialsError, Kind, NetworkError, SlyError, clean_traceback, printable
from ..web.secret_values import Secrets
from .contract import value_or_none
from .redis_url import RedisUrl, close
from .served import LEASE, LockReply, ServedStore
from .token_ends import KEYS, NEVER, PAGE, UNKNOWN, Page, Token, check_token, end_of, score, score_ranges

_USER_KEY = re.compile(rb"(?:\{[0-9a-f]{2}\})?user:(.*)", re.DOTALL)
_REFUSALS = {
    "READONLY": "ReadOnlyError",
    "OOM": "OutOfMemoryError",
    "MOVED": "MovedError",
    "ASK": "AskError",
    "CROSSSLOT": "ClusterCrossSlotError",
}
PARTS = 128
"""Hash tags among which the users of a cluster are spread: each part has its own slot and its own indexes."""

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
# KEYS: lock; ARGV: holder, milliseconds, '1' to renew. The value is the holder and when its lease ends, by the server's
# clock; it is kept for an hour more, so that a takeover is known as one. An end that is further away than a lease is
# long was written before the clock was set back, and is shortened
_LEASE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local holder, ends = string.match(redis.call('GET', KEYS[1]) or '', '^(%x+) (%d+)$')
local mine = holder == ARGV[1]
local until_then = string.format(' %.0f', now + ARGV[2])
if not mine and ARGV[3] == '1' then return 0 end
if not mine and holder and tonumber(ends) > now then
    if tonumber(ends) > now + ARGV[2] then
        redis.call('SET', KEYS[1], holder .. until_then, 'PX', ARGV[2] + 3600000)
    end
    return 0
end
redis.call('SET', KEYS[1], ARGV[1] .. until_then, 'PX', ARGV[2] + 3600000)
return (mine or not holder) and 1 or 2
"""
_RELEASE = """
if string.match(redis.call('GET', KEYS[1]) or '', '^%x+') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
"""


class RedisStore(ServedStore[Any]):
    """Users in the Redis or Valkey server at `url`: `redis://`, `rediss://` (TLS) or `unix://`, as redis-py reads it.

    `redis+cluster://HOST,HOST` is a cluster, `redis+sentinel://HOST,HOST/SERVICE` the master that sentinels name;
    `rediss+...` with TLS. The account in the URL is the data servers'; `?sentinel_password=` is for the sentinels.
    The keys are `{prefix}user:{name}` and `{prefix}lock:{name}`, and two sorted sets of names by the end of their
    tokens, `{prefix}ends:access` and `{prefix}ends:refresh`, which a save changes together with the value; in a
    cluster a hash tag follows the prefix. A save is as durable as the server is configured: `appendonly yes` with
    `appendfsync always`, and `maxmemory-policy noeviction`, keep every grant; a failover may lose what a replica does
    not have yet, unless `replicas` says how many of them must have confirmed each save and each lock.
    `timeout` limits each call; `lease` is how long the lock of a dead process is held (seconds): give all programs the
    same. Raises `ConfigError` for another URL and if the server refuses the password, `NetworkError` while it is
    away, `CredentialsError` for a key that holds something else, `MissingExtraError` without the package.
    """

    __module__ = "SlyAPI.stores"

    @clean_traceback
    def __init__(
        self, url: str, prefix: str = "slyapi:", *, timeout: float = 10.0, lease: float = LEASE, replicas: int = 0
    ) -> None:
        self._server, self._url = RedisUrl(url), Secrets((url,))
        self._redis, self._address = self._server.redis, self._server.address
        self._is_cluster = self._server.kind == "cluster"
        self.prefix: str = prefix
        self.replicas: int = replicas
        if "ssl" in self._server.options:
            self._timeout_step = "Try again later; a server without TLS never answers rediss://."
        super().__init__(timeout, lease)

    def __repr__(self) -> str:
        return f"RedisStore({self._address!r}, {self.prefix!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        settings = {key: getattr(self, key) for key in ("timeout", "lease", "replicas")}
        return partial(type(self), self._url[0], self.prefix, **settings), ()

    def entry_key(self, name: str) -> Hashable:
        """The user at the URL, below the prefix."""
        return "redis", self._url, self.prefix, name

    async def _get(self, connection: Any, name: str) -> str | None:
        stored = await connection.execute_command("GET", self._key(name))
        if stored is None and self._is_cluster:
            stored = await self._moved(connection, name)
        return None if stored is None else stored.decode("utf-8", "surrogateescape")

    async def _moved(self, connection: Any, name: str) -> bytes | None:
        """The text under the key of a single server, which gets the key of a cluster."""
        untagged = _encoded(f"{self.prefix}user:{name}")
        stored: bytes | None = await connection.execute_command("GET", untagged)
        if stored is not None:
            await self._swap(connection, name, None, stored.decode("utf-8", "surrogateescape"))
            await connection.execute_command("DEL", untagged)
        return stored

    async def _put(self, connection: Any, name: str, text: str) -> None:
        await self._write(connection, _SET, name, *self._ends(name, text), text)

    async def _swap(self, connection: Any, name: str, old: str | None, new: str | None) -> bool:
        known, text = (old or "").encode("utf-8", "surrogateescape"), new or ""
        bytes_ = text.encode("utf-8", "surrogateescape")
        return bool(await self._write(connection, _SET, name, *self._ends(name, text), bytes_, known))

    async def _remove(self, connection: Any, name: str) -> None:
        if self._is_cluster:
            await connection.execute_command("DEL", _encoded(f"{self.prefix}user:{name}"))
        await self._write(connection, _DELETE, name, _encoded(name))

    async def _write(self, connection: Any, script: str, name: str, *values: Any) -> Any:
        keys = [self._key(name), *(self._index(token, self._part(name)) for token in KEYS)]
        return await self._confirmed(connection, script, keys, *values)

    async def _confirmed(self, connection: Any, script: str, keys: list[bytes], *values: Any) -> Any:
        """The script's result, once enough replicas have what it wrote. Raises `NetworkError`."""
        node = connection.get_node_from_key(keys[0]) if self._is_cluster and self.replicas else None
        result = await connection.eval(script, len(keys), *keys, *values)
        if not self.replicas:
            return result
        where = {"target_nodes": node} if node else {}
        got = await connection.execute_command("WAIT", self.replicas, round(self.timeout * 250), **where)
        # a server that took over meanwhile knows of no write of this connection, and confirms nothing by its reply
        if int(got) < self.replicas or (node and node != connection.get_node_from_key(keys[0])):
            raise self._away(f"fewer than {self.replicas} replicas confirmed the write")
        return result

    @clean_traceback
    async def each_name(self) -> AsyncGenerator[str, None]:
        """The names of all users in the sorted set, in pages."""
        for part in self._parts():
            cursor: Any = None
            while cursor is None or int(cursor):
                scan = ("ZSCAN", self._index("access", part), cursor or b"0", "COUNT", 1000)
                cursor, found = await self._command(*scan)
                for key, _ in found:
                    if (name := _name(key)) is not None:
                        yield name

    async def count(self) -> int:
        """The number of users in the sorted set."""
        return sum([int(await self._command("ZCARD", self._index("access", part))) for part in self._parts()])

    async def _command(self, *command: Any, **options: Any) -> Any:
        return await self._call(lambda connection: connection.execute_command(*command, **options))

    @clean_traceback
    async def ending(self, token: Token, before: float, after: float = UNKNOWN) -> AsyncGenerator[Page, None]:
        """Pages of the users whose token ends in that time, by a sorted set, the soonest first (of each part)."""
        check_token(token)
        for part in self._parts():
            index = self._index(token, part)
            for low, high in score_ranges(before, after):
                start: Any = low
                while start is not None:
                    start, page = await self._call(partial(self._page, index=index, low=start, high=f"({high}"))
                    if page:
                        yield page

    async def _page(self, connection: Any, index: bytes, low: Any, high: Any) -> tuple[Any, Page]:
        """The users from a score on, and the score to go on from; those of one score are all on one page."""

        async def between(low: Any, high: Any, *most: Any) -> dict[bytes, float]:
            query = ("ZRANGEBYSCORE", index, low, high, "WITHSCORES", *most)
            return dict(await connection.execute_command(*query, withscores=True))

        found, further = await between(low, high, "LIMIT", 0, PAGE), None
        if len(found) == PAGE:
            last = max(found.values())
            found, further = {key: at for key, at in found.items() if at < last}, repr(last)
            if not found:
                found, further = await between(last, last), f"({last!r}"
        names = [name for key in found if (name := _name(key)) is not None]
        if not names:
            return further, []
        texts = await connection.execute_command("MGET", *map(self._key, names))
        users = [(name, text.decode("utf-8", "replace")) for name, text in zip(names, texts, strict=True) if text]
        return further, [(name, value_or_none(self, name, text)) for name, text in users]

    async def migrate(self) -> None:
        """Compares all users with the sorted sets, and corrects those. Takes some seconds for each 100,000 users.

        Needed after another program wrote or deleted users' keys, and after keys of a single server were copied to a
        cluster, which get their hash tags.
        """
        async for names in self._stored_names():
            await asyncio.gather(*(self._call(partial(self._corrected, name=name)) for name in names))
        async for name in self.each_name():
            await self._call(partial(self._corrected, name=name))

    async def _corrected(self, connection: Any, name: str) -> None:
        with suppress(self._redis.exceptions.ResponseError):  # a key of another type
            text = await self._get(connection, name)
            if text != "":
                await self._swap(connection, name, text, text)

    async def _stored_names(self) -> AsyncGenerator[list[str], None]:
        """The names in the keys of all servers, in pages."""
        start = _encoded(self.prefix)
        pattern = b"".join(b"\\" + bytes([byte]) if byte in b"\\*?[]^-" else bytes([byte]) for byte in start)
        pattern += b"*user:*" if self._is_cluster else b"user:*"
        for node in await self._call(self._primaries):
            cursor: Any = b"0"
            while cursor:
                further, keys = await self._call(partial(self._scan, node=node, cursor=cursor, pattern=pattern))
                cursor = int(further)
                found = [_USER_KEY.fullmatch(key.removeprefix(start)) for key in keys]
                yield [name for key in found if key and (name := _name(key[1])) is not None]

    async def _primaries(self, connection: Any) -> list[str]:
        return [node.name for node in connection.get_primaries()] if self._is_cluster else [""]

    async def _scan(self, connection: Any, node: str, cursor: Any, pattern: bytes) -> Any:
        where = {"target_nodes": connection.get_node(node_name=node)} if node else {}
        if node and where["target_nodes"] is None:
            raise self._away("a server of the cluster was replaced while its keys were read")
        further, keys = await connection.execute_command("SCAN", cursor, "MATCH", pattern, "COUNT", 1000, **where)
        return further[node] if node else further, keys

    def _ends(self, name: str, text: str) -> tuple[Any, ...]:
        """The name and the scores of a user, "" for no place in that index."""
        value: Mapping[str, Any] = value_or_none(self, name, text) or {}
        access, refresh = (end_of(value, token) for token in KEYS)
        scores = score(access, name), "" if refresh == NEVER else score(refresh, name)
        return (_encoded(name), *(scores if text else ("", "")))

    def _parts(self) -> list[str]:
        """The hash tags, each of its own slot in a cluster; one without a tag on a single server."""
        return [f"{{{number:02x}}}" for number in range(PARTS)] if self._is_cluster else [""]

    def _part(self, name: str) -> str:
        parts = self._parts()
        return parts[crc32(_encoded(name)) % len(parts)]

    def _index(self, token: Token, part: str) -> bytes:
        return _encoded(f"{self.prefix}{part}ends:{token}")

    def _key(self, name: str, kind: str = "user") -> bytes:
        return _encoded(f"{self.prefix}{self._part(name)}{kind}:{name}")

    async def _lease(self, connection: Any, name: str, holder: str, renew: bool) -> LockReply:
        key, milliseconds = self._key(name, "lock"), round(self.lease * 1000)
        return LockReply(await self._confirmed(connection, _LEASE, [key], holder, milliseconds, int(renew)))

    async def _release(self, connection: Any, name: str, holder: str) -> None:
        await connection.eval(_RELEASE, 1, self._key(name, "lock"), holder)

    async def _open(self) -> Any:
        return await self._server.open(self.timeout)

    @staticmethod
    async def _close(connection: Any, at_once: bool) -> None:
        await close(connection, at_once)

    @staticmethod
    def _drop(connection: Any) -> None:
        nodes = connection.get_nodes() if hasattr(connection, "get_nodes") else ()
        for one in [one for node in nodes for one in node._connections] or [connection.connection]:
            _close_socket(one._writer.transport)
            one._writer = one._reader = None
        connection.connection = None

    def _is_lost(self, error: Exception) -> bool:
        errors = self._redis.exceptions
        # after a failover the address may be a replica's; the errors of a cluster's client are outside of RedisError
        lost = (OSError, errors.ConnectionError, errors.TimeoutError, errors.RedisClusterException)
        return isinstance(error, lost) or _refusal(error) == "READONLY"

    def _translated(self, error: Exception) -> SlyError:
        errors = self._redis.exceptions
        said = str(error)
        if isinstance(error, errors.AuthenticationError | errors.NoPermissionError) or "NOAUTH" in said:
            return ConfigError(f"{self!r}: the server refuses the account or its password.", next_step="Check the URL.")
        if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
            return NetworkError(
                f"{self!r}: TLS failed.", next_step="Check rediss:// in the URL and certificates.", kind="configuration"
            )
        if _refusal(error) == "READONLY":
            return self._away("the server is a read-only replica now")
        if said.startswith("WRONGTYPE"):
            return CredentialsError(f"{self!r} has a key whose value is not text.")
        if _refusal(error) == "OOM":
            return self._away("the server's memory is full")
        if isinstance(error, errors.ConnectionError | errors.TimeoutError | OSError):
            return self._away("no connection, or it broke")
        if _refusal(error) in ("MOVED", "ASK", "CROSSSLOT"):
            return ConfigError(f"{self!r} is a part of a cluster.", next_step="Give redis+cluster:// in the URL.")
        if isinstance(error, errors.ResponseError):
            code = printable(said.split(" ", 1)[0], 30)
            kind: Kind = "configuration" if code == "ERR" else "transient"
            return NetworkError(f"{self!r}: the server refused ({code}).", next_step="See the server's log.", kind=kind)
        return self._away(f"the driver failed ({type(error).__name__})")


def _close_socket(transport: Any) -> None:
    """Closes the socket of a transport whose event loop is closed, where asyncio's own `close` and `abort` fail."""
    with suppress(RuntimeError):
        transport.abort()
    tcp = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None) or transport
    tcp._sock.close()
    tcp._sock = None  # else it warns of it


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _name(key: bytes) -> str | None:
    """The name in a key; None for a key that SlyAPI did not make."""
    try:
        return key.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None


def _refusal(error: BaseException) -> str:
    """The server's code for a refusal: by the driver's class, or in the text, in a script before Redis 7 within it."""
    said = f": {error}"
    return next((code for code, name in _REFUSALS.items() if type(error).__name__ == name or f": {code} " in said), "")


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
