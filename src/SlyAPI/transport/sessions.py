"""aiohttp sessions: one for each event loop, shared by the clients in it, or one on the caller's connections.

The rule: nobody has to close anything. A session of ours is closed when its event loop ends, or its last client closes.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .per_loop import PerLoop
from .public_only import public_socket

if TYPE_CHECKING:
    import aiohttp

CONNECTIONS = 100
"""Connections to one host that an event loop's shared session opens at most; further calls wait for one of them."""


def load_aiohttp() -> None:
    """Imports aiohttp, which makes sessions."""
    import aiohttp  # noqa: F401  # pyright: ignore[reportUnusedImport]


_proxy: str | None = None


def use_proxy(url: str) -> None:
    """Sends all requests of sessions that are made from now on through this proxy: for the command line."""
    global _proxy
    _proxy = url


class SharedSession:
    """One event loop's session, and who uses it: by id, because a client may be a dataclass, which has no hash."""

    __slots__ = ("session", "users")

    def __init__(self, trace_configs: "Sequence[aiohttp.TraceConfig]", per_host: int, public_only: bool) -> None:
        import aiohttp

        self.users: set[int] = set()
        self.session: aiohttp.ClientSession = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # no API makes another one wait
                limit_per_host=per_host,
                socket_factory=public_socket if public_only else None,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),  # one user's cookies must not go out with another's request
            trace_configs=[*trace_configs],
            proxy=_proxy,
        )

    async def close(self) -> None:
        await self.session.close()


class Sessions(PerLoop[SharedSession]):
    """One session per event loop; `per_host`: connections to a host (0: any number); `public_only` addresses."""

    def __init__(
        self,
        trace_configs: "Sequence[aiohttp.TraceConfig]" = (),
        per_host: int = CONNECTIONS,
        public_only: bool = False,
    ) -> None:
        make = partial(SharedSession, trace_configs, per_host, public_only)
        super().__init__(make, SharedSession.close, attrgetter("session.closed"))

    def join(self, user: object) -> "aiohttp.ClientSession":
        """The running loop's, open until all its users left."""
        shared = self.get()
        shared.users.add(id(user))
        return shared.session

    async def leave(self, user: object) -> None:
        """Closes the running loop's session if the user was its last one."""
        shared = self.held()
        if shared is not None and id(user) in shared.users:
            shared.users.discard(id(user))
            if not shared.users:
                await self.close()


SHARED = Sessions()
"""The sessions of all clients that ask for nothing else."""
FOR_STREAMS = Sessions(per_host=0)
"""Those for what may take long, so that no other call waits for a connection."""
PUBLIC = Sessions(public_only=True)
"""Those for addresses that a stranger's document names."""


@asynccontextmanager
async def bare_session(
    client: "aiohttp.ClientSession | None", public_only: bool = False, *, body_follows: bool = False
) -> "AsyncGenerator[aiohttp.ClientSession, None]":
    """A session for requests that are not for the caller's API: on the client's connections, or the shared one.

    It has none of the client's headers, cookies, credentials, base URL and middlewares, which are meant for an API. Of
    a client with a proxy, or with TLS settings or a resolver of its own, it uses the connections and the time limits.
    Every other client lends nothing, so it may be closed at any time without the loss of a token reply. Nor does a
    client at a socket of its own (`UnixConnector`), whose requests all reach that one server. With `public_only` it
    connects to public addresses alone; raises `ConfigError` for a client whose connections cannot be checked.
    `body_follows`: the body of the reply is read after the block.
    """
    if client is None or client.closed or not _is_special(client):
        sessions = PUBLIC if public_only else SHARED
        user = sessions if body_follows else object()  # the first one never leaves: the event loop closes the session
        session = sessions.join(user)
        try:
            if client is None:
                yield session
            else:
                async with _on_connections_of(session, client) as bare:
                    yield bare
        finally:
            if user is not sessions:
                await sessions.leave(user)
        return
    if public_only and getattr(client.connector, "_socket_factory", None) is not public_socket:
        raise ConfigError(
            "public_only does not work with this session, whose proxy, TLS settings or resolver are its own.",
            next_step="Leave out the session, or give its TCPConnector socket_factory=public_socket "
            "(SlyAPI.transport.public_only).",
        )
    async with _on_connections_of(client, client) as bare:
        yield bare


@asynccontextmanager
async def _on_connections_of(
    lender: "aiohttp.ClientSession", client: "aiohttp.ClientSession"
) -> "AsyncGenerator[aiohttp.ClientSession, None]":
    """A session on the lender's connections, with its proxy and the client's time limits."""
    import aiohttp

    bare = aiohttp.ClientSession(
        connector=lender.connector,
        connector_owner=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=client.timeout,
        trust_env=lender.trust_env,
        proxy=getattr(lender, "_default_proxy", None),  # aiohttp has no public name for it
        proxy_auth=getattr(lender, "_default_proxy_auth", None),
    )
    try:
        yield bare
    finally:
        bare.detach()  # the connections are the lender's to close


def _is_special(client: "aiohttp.ClientSession") -> bool:
    """Whether requests to another server need the connections of this session."""
    import aiohttp

    connector = client.connector
    if isinstance(connector, aiohttp.UnixConnector | aiohttp.NamedPipeConnector):
        return False
    if client.trust_env or getattr(client, "_default_proxy", None) is not None:
        return True
    if type(connector) is not aiohttp.TCPConnector:
        return True
    plain_resolver = type(getattr(connector, "_resolver", None)) is aiohttp.DefaultResolver
    own = (getattr(connector, name, None) for name in ("_local_addr_infos", "_socket_factory"))
    return not (plain_resolver and getattr(connector, "_ssl", None) is True and not connector.family and not any(own))
