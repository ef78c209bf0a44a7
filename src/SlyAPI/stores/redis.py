"""Users in Redis or Valkey, shared by many machines (the package redis, by the extra `[redis]`).

The rule: whatever must hold between two clients is one script on the server.
"""

import ssl
from collections.abc import Hashable
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
from .served import LEASE, Lease, ServedStore

# KEYS: value; ARGV: the text that is stored as far as the caller knows ("" for none), the text to store
_SWAP = """
local now = redis.call('GET', KEYS[1]) or ''
if now ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
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

    The keys are `{prefix}user:{name}` and `{prefix}lock:{name}`. A save is as durable as the server is
    configured: `appendonly yes` with `appendfsync always`, and `maxmemory-policy noeviction`, keep every
    grant; `everysec`, and a failover to a replica, may lose those of the last second. `timeout` limits each
    call; `lease` is how long the lock of a dead process is held (seconds). Redis Cluster is not supported.
    Raises `ConfigError` for another URL and if the server refuses the password, `NetworkError` while it is
    away, `CredentialsError` for a key that holds something else, `MissingExtraError` without the package.
    """

    __module__ = "SlyAPI.stores"

    @clean_traceback
    def __init__(self, url: str, prefix: str = "slyapi:", *, timeout: float = 10.0, lease: float = LEASE) -> None:
        self._redis = _redis()
        self._address, self.prefix, self._url = _address(url), prefix, Secrets((url,))
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

    def entry_key(self, name: str) -> Hashable:
        """The user at the URL, below the prefix."""
        return "redis", self._url, self.prefix, name

    async def _get(self, connection: Any, name: str) -> str | None:
        stored = await connection.execute_command("GET", self._key(name))
        return None if stored is None else stored.decode("utf-8", "surrogateescape")

    async def _put(self, connection: Any, name: str, text: str) -> None:
        await connection.execute_command("SET", self._key(name), text)

    async def _swap(self, connection: Any, name: str, old: str | None, new: str) -> bool:
        known = (old or "").encode("utf-8", "surrogateescape")
        return bool(await connection.eval(_SWAP, 1, self._key(name), known, new))

    async def _remove(self, connection: Any, name: str) -> None:
        await connection.execute_command("DEL", self._key(name))

    async def _all_names(self, connection: Any) -> list[str]:
        """Walks over all keys of the server's database."""
        start = self._key("")
        pattern = b"".join(b"\\" + bytes([byte]) if byte in b"\\*?[]^-" else bytes([byte]) for byte in start)
        keys: set[bytes] = set()
        cursor: Any = 0
        while True:
            cursor, some = await connection.execute_command("SCAN", cursor, "MATCH", pattern + b"*", "COUNT", 1000)
            keys.update(some)
            if not int(cursor):
                break
        names = (_name(key.removeprefix(start)) for key in keys)
        return [name for name in names if name is not None]

    def _key(self, name: str, kind: str = "user") -> bytes:
        return f"{self.prefix}{kind}:{name}".encode("utf-8", "surrogatepass")

    async def _lease(self, connection: Any, name: str, holder: str, renew: bool) -> Lease:
        values = (holder, round(self.lease * 1000), int(renew))
        return Lease(await connection.eval(_LEASE, 1, self._key(name, "lock"), *values))

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
        # ReadOnlyError: after a failover the address may be a replica's
        return isinstance(error, OSError | errors.ConnectionError | errors.ReadOnlyError)

    def _translated(self, error: Exception) -> SlyError:
        errors = self._redis.exceptions
        said = str(error)
        if isinstance(error, errors.AuthenticationError | errors.NoPermissionError) or "NOAUTH" in said:
            return ConfigError(f"{self!r}: the server refuses the account or its password.", next_step="Check the URL.")
        if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
            return NetworkError(
                f"{self!r}: TLS failed.", next_step="Check rediss:// in the URL and certificates.", kind="configuration"
            )
        if isinstance(error, errors.ReadOnlyError):
            return self._away("the server is a read-only replica now")
        if said.startswith("WRONGTYPE"):
            return CredentialsError(f"{self!r} has a key whose value is not text.")
        if isinstance(error, errors.OutOfMemoryError):
            return SaveError(f"{self!r}: the server's memory is full.", next_step="Give it more, or delete users.")
        if isinstance(error, errors.ConnectionError | OSError):
            return self._away("no connection, or it broke")
        if isinstance(error, errors.ResponseError):
            code = printable(said.split(" ", 1)[0], 30)
            kind: Kind = "configuration" if code in ("MOVED", "ERR", "CROSSSLOT") else "transient"
            return NetworkError(f"{self!r}: the server refused ({code}).", next_step="See the server's log.", kind=kind)
        return self._away(f"the driver failed ({type(error).__name__})")


def _name(key: bytes) -> str | None:
    """The name in a key; None for a key that SlyAPI did not make."""
    try:
        return key.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None


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
