"""Where a Redis server, a cluster, or a service that sentinels watch is: read from a URL, and opened by redis-py.

The rule: redis-py finds and follows the servers. No message repeats the URL, which may hold a password.
"""

from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ..errors import ConfigError, MissingExtraError, printable
from ..web.next_steps import install

SCHEMES = ("redis", "rediss", "unix", *(f"redis{s}+{kind}" for s in ("", "s") for kind in ("cluster", "sentinel")))
_OPTIONS = ("db", "client_name", "username", "password", "sentinel_username", "sentinel_password", "socket_keepalive")
"""Options of a URL that are served; and those of TLS, which begin with `ssl_`."""
_FORMS = "redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER], redis+cluster://HOST,HOST or redis+sentinel://HOST,HOST/SERVICE"


class RedisUrl:
    """What a URL names. `address` is safe to print. Raises `ConfigError`, `MissingExtraError` without the package."""

    def __init__(self, url: str) -> None:
        self.redis: Any = redis_package()
        self.options: dict[str, Any] = {}
        self.hosts: list[tuple[str, int]] = []
        self.kind: str = ""
        self.service: str = ""
        self.address: str = ""
        try:
            self._read(urlsplit(url))
        except ConfigError:
            raise
        except (ValueError, AttributeError, TypeError):
            self.address = ""
        if not self.address:
            raise ConfigError("That is not the URL of a Redis server.", next_step=f"Give {_FORMS}")

    def _read(self, parts: SplitResult) -> None:
        if parts.scheme not in SCHEMES:
            return
        base, _, self.kind = parts.scheme.partition("+")
        account, _, hosts = parts.netloc.rpartition("@")
        path, first = parts.path, hosts.split(",")[0]
        if self.kind == "sentinel":
            self.service, _, number = unquote(path).strip("/").partition("/")
            path = f"/{number}"
            if not self.service:
                return
        shared = f"{base}://{account}{'@' if account else ''}{first}{path}?{parts.query}"
        _check_options(parts.query)
        self.options = self.redis.asyncio.connection.parse_url(shared)
        if self.options.pop("connection_class", None) is self.redis.asyncio.connection.SSLConnection:
            self.options["ssl"] = True
        host, port = self.options.pop("host", "localhost"), self.options.pop("port", 0)
        default = 26379 if self.kind == "sentinel" else 6379
        self.hosts = [(host, port or default)]
        for more in hosts.split(",")[1:]:
            other = urlsplit(f"//{more}")
            self.hosts.append((other.hostname or "localhost", other.port or default))
        # a password with an unencoded / reaches into the path
        self.address = printable(f"{parts.scheme}://{(parts.netloc + parts.path).rpartition('@')[2]}", 200)

    async def open(self, timeout: float) -> Any:
        """A client of redis-py, for one task at a time. `timeout`, in seconds, of the whole call is the caller's."""
        asyncio, options = self.redis.asyncio, dict(self.options, protocol=2)
        limits: dict[str, float | None]
        sentinels = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
        if self.kind == "cluster":
            retry = asyncio.retry.Retry(self.redis.backoff.ConstantBackoff(0.05), 3)
            nodes = [asyncio.cluster.ClusterNode(host, port) for host, port in self.hosts]
            limits = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), timeout / 4)
            client = asyncio.cluster.RedisCluster(startup_nodes=nodes, retry=retry, **options, **limits)
        else:
            host, port = self.hosts[0]
            if self.kind == "sentinel":
                host, port = await self._master(sentinels, timeout)
            where = {"unix_socket_path": options.pop("path")} if "path" in options else {"host": host, "port": port}
            limits = dict.fromkeys(("socket_timeout", "socket_connect_timeout"))
            retry = asyncio.retry.Retry(self.redis.backoff.NoBackoff(), 0)  # the caller tries again
            client = asyncio.Redis(single_connection_client=True, retry=retry, **where, **options, **limits)
        try:
            return await client.initialize()
        except BaseException:
            await close(client)
            raise

    async def _master(self, account: dict[str, str | None], timeout: float) -> tuple[str, int]:
        """Where the service's master is now, as the sentinels say."""
        tls = {name: value for name, value in self.options.items() if name.startswith("ssl")}
        limits = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), timeout / 4)
        settings = {name: value for name, value in account.items() if value is not None} | tls | limits
        watch = self.redis.asyncio.sentinel.Sentinel(self.hosts, sentinel_kwargs={"protocol": 2, **settings})
        try:
            host, port = await watch.discover_master(self.service)
            return str(host), int(port)
        finally:
            for sentinel in watch.sentinels:
                await sentinel.aclose()


def _check_options(query: str) -> None:
    """Raises `ConfigError`, which names an option that is not served."""
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS and not name.startswith("ssl_"):
            named = "an option" if "@" in query else f"the option `{printable(name, 40)}`"  # or part of a password
            raise ConfigError(
                f"The URL of the Redis server has {named}, which RedisStore cannot use.",
                next_step="Leave it out. Time limits are RedisStore(url, timeout=...).",
            )


async def close(client: Any, at_once: bool = False) -> None:
    """Closes the client's connections; `at_once` without waiting for the server."""
    if at_once and getattr(client, "connection", None) is not None:
        await client.connection.disconnect(nowait=True)
    await client.aclose()
    if hasattr(client, "nodes_manager"):  # after an error, a cluster's client closes nothing
        for nodes in ("nodes_cache", "startup_nodes"):
            await client.nodes_manager.aclose(nodes)


def redis_package() -> Any:
    """The package redis. Raises `MissingExtraError`."""
    try:
        import redis.asyncio
        import redis.asyncio.cluster
        import redis.asyncio.sentinel
        import redis.backoff
    except ImportError:
        raise MissingExtraError("RedisStore needs the package redis.", next_step=install("redis", "redis")) from None
    return redis
