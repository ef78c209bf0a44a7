"""Users in Redis or Valkey: many machines share them (the package redis, by the extra `[redis]`).

The rule: whatever must hold between two clients is one script on the server.
"""

import ssl
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
    printable,
)
from ..web.masking import Secrets
from .contract import as_text, as_value, missing, superseded
from .served import ServedStore

# KEYS: value; ARGV: what is there as far as the caller knows ("" for nothing), what shall be there
_REPLACE = """
local now = redis.call('GET', KEYS[1]) or ''
if now ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
# KEYS: lock; ARGV: holder, milliseconds, '1' to renew
_LEASE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] or not holder and ARGV[3] == '1' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 0"


class RedisStore(ServedStore[Any]):
    """Users in the Redis or Valkey server at `url`: `redis://`, `rediss://` (TLS) or `unix://`, as redis-py reads it.

    The keys are `{prefix}user:{name}` and `{prefix}lock:{name}`. A save is as durable as the server is
    set up to be: `appendonly yes` with `appendfsync always`, and `maxmemory-policy noeviction`, keep every
    grant; `everysec`, and a failover to a replica, may lose the last second's. `timeout` bounds each call;
    `lease` says for how long a dead holder's lock is held (seconds). No cluster. Raises `ConfigError` for
    another URL and where the server refuses the password, `NetworkError` while it is away, `CredentialsError`
    for a key that holds something else, `MissingExtraError` without the package.
    """

    __module__ = "SlyAPI.stores"

    def __init__(self, url: str, prefix: str = "slyapi:", *, timeout: float = 10.0, lease: float = 30.0) -> None:
        self._shown, self.prefix, self._url = _shown(url), prefix, _Url(url)
        del url  # so that no traceback shows it
        self._redis = _redis()
        try:
            self._redis.asyncio.ConnectionPool.from_url(self._url.text)
        except (ValueError, TypeError, AttributeError):
            self._shown = ""
        if not self._shown:
            raise ConfigError(
                "That is not the URL of a Redis server.", next_step="Give redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER]"
            )
        if self._shown.startswith("rediss"):
            self._late = "Try again later; a server without TLS never answers rediss://."
        super().__init__(timeout, lease)

    def __repr__(self) -> str:
        return f"RedisStore({self._shown!r}, {self.prefix!r})"

    async def load(self, name: str) -> dict[str, Any]:
        """The value last saved."""
        held = await self._ask(lambda client: self._held(client, name))
        if held is None:
            raise missing(self, name)
        return as_value(self, name, held)

    async def save(self, name: str, value: dict[str, Any]) -> None:
        """Sets the value. Raises `SaveError`."""
        as_text(self, value)
        await self._ask(
            lambda client: client.execute_command("SET", self._key(name), as_text(self, value)), saving=True
        )

    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any]) -> None:
        """Sets the value where `old` is there still. Raises `SupersededError`, `SaveError`."""
        as_text(self, new)

        async def swap(client: Any) -> bool:
            held = await self._held(client, name)
            now = None if held is None else as_value(self, name, held)
            if now == new:
                return True  # by us, whose answer was lost
            if now != old:
                return False
            return bool(await client.eval(_REPLACE, 1, self._key(name), *_bytes(held), as_text(self, new)))

        if not await self._ask(swap, saving=True):
            raise superseded(self, name)

    async def delete(self, name: str) -> None:
        """Forgets a user."""
        await self._ask(lambda client: client.execute_command("DEL", self._key(name)), saving=True)

    async def names(self) -> list[str]:
        """The names of all users; walks over all keys of the server's database."""
        start = self._key("")

        async def walk(client: Any) -> set[bytes]:
            pattern = b"".join(b"\\" + bytes([byte]) if byte in b"\\*?[]^-" else bytes([byte]) for byte in start)
            keys: set[bytes] = set()
            cursor: Any = 0
            while True:
                cursor, some = await client.execute_command("SCAN", cursor, "MATCH", pattern + b"*", "COUNT", 1000)
                keys.update(some)
                if not int(cursor):
                    return keys

        keys = await self._ask(walk)
        names = (_name(key.removeprefix(start)) for key in keys)
        return [name for name in names if name is not None]

    async def _held(self, client: Any, name: str) -> Secrets | None:
        kept = await client.execute_command("GET", self._key(name))
        return None if kept is None else Secrets((kept.decode("utf-8", "surrogateescape"),))

    def _key(self, name: str, kind: str = "user") -> bytes:
        return f"{self.prefix}{kind}:{name}".encode("utf-8", "surrogatepass")

    async def _lease(self, connection: Any, name: str, holder: str, renew: bool) -> bool:
        held = (self._key(name, "lock"), holder, round(self.lease * 1000), int(renew))
        return bool(await connection.eval(_LEASE, 1, *held))

    async def _release(self, connection: Any, name: str, holder: str) -> None:
        await connection.eval(_RELEASE, 1, self._key(name, "lock"), holder)

    def _address(self) -> "_Url":
        return self._url

    @staticmethod
    async def _open(address: "_Url") -> Any:
        redis = _redis()
        # the limit of time and the second try are ours
        retry = redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 0)
        options = dict.fromkeys(("socket_timeout", "socket_connect_timeout", "health_check_interval"))
        client = redis.asyncio.Redis.from_url(address.text, single_connection_client=True, retry=retry, **options)
        try:
            return await client.initialize()
        except BaseException:
            await client.aclose()
            raise

    @staticmethod
    async def _close(connection: Any) -> None:
        await connection.aclose()

    def _is_lost(self, error: Exception) -> bool:
        errors = self._redis.exceptions
        # the latter: the server's place was taken by a replica
        return isinstance(error, OSError | errors.ConnectionError | errors.ReadOnlyError)

    def _told(self, error: Exception) -> SlyError:
        errors = self._redis.exceptions
        said = str(error)
        if isinstance(error, errors.AuthenticationError | errors.NoPermissionError) or "NOAUTH" in said:
            return ConfigError(f"{self!r}: the server refuses the account or its password.", next_step="Check the URL.")
        if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
            return NetworkError(
                f"{self!r}: TLS failed.", next_step="Check rediss:// in the URL and certificates.", kind="configuration"
            )
        if isinstance(error, errors.ReadOnlyError):
            return self._away("the server is a replica now, which may only be read")
        if said.startswith("WRONGTYPE"):
            return CredentialsError(f"{self!r} has a key that holds something else than text.")
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
    """The name in a key; None for one that no program of ours made."""
    try:
        return key.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None


def _bytes(held: Secrets | None) -> list[bytes]:
    return [b"" if held is None else held[0].encode("utf-8", "surrogateescape")]


class _Url:
    """A URL that may hold a password, and does not print."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _shown(url: str) -> str:
    """The URL without account and query; "" for what is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme not in ("redis", "rediss", "unix"):
        return ""
    # a password with a / in it that nobody encoded reaches into the path
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
