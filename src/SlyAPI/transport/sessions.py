"""aiohttp sessions: one for each event loop, shared by the clients in it, or one on the caller's connections.

The rule: nobody has to close anything, and a session is not closed while a token request uses its connections.
"""

import asyncio
import os
import weakref
from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from .per_loop import PerLoop

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


class Lent:
    """One event loop's session, and the clients that use it, which it does not keep from being collected."""

    __slots__ = ("closed", "loop", "process", "session", "users")

    def __init__(self, trace_configs: "Sequence[aiohttp.TraceConfig]") -> None:
        import aiohttp

        self.loop, self.process, self.closed = asyncio.get_running_loop(), os.getpid(), False
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=CONNECTIONS),  # no API makes another one wait
            cookie_jar=aiohttp.DummyCookieJar(),  # one user's cookies must not go out with another's request
            trace_configs=[*trace_configs],
            proxy=_proxy,
        )
        self.users: dict[int, weakref.ref[object]] = {}
        """By id, because a client may be a dataclass, which has no hash."""

    def join(self, user: object) -> None:
        """Counts a user until it leaves or is collected."""
        number, users = id(user), self.users
        users[number] = weakref.ref(user, lambda _: users.pop(number, None))

    def leave(self, user: object) -> bool:
        """Whether the user was the last one."""
        return self.users.pop(id(user), None) is not None and not self.users

    async def close(self) -> None:
        """Closes the session, after the token requests on its connections."""
        self.closed = True
        while uses := _USES.get(self.session):  # more may begin meanwhile
            await asyncio.wait(uses)
        try:
            await self.session.close()
        except asyncio.CancelledError:
            # aiohttp closes connections in a task of its own, which the end of a program may cancel: the reply of a
            # token request that is the last one in the session must not be lost with it
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise


class Sessions(PerLoop[Lent]):
    """One session for each event loop, made on first use, closed with its last user, or when its loop ends.

    `trace_configs` are called for its requests.
    """

    def __init__(self, trace_configs: "Sequence[aiohttp.TraceConfig]" = ()) -> None:
        super().__init__(partial(Lent, trace_configs), Lent.close, attrgetter("closed"))

    def join(self, user: object) -> Lent:
        """The running loop's, open until all its users left or were collected."""
        lent = self.get()
        lent.join(user)
        return lent

    async def leave(self, user: object) -> None:
        """Closes the running loop's if the user was its last one."""
        lent = self.held()
        if lent is not None and lent.leave(user):
            await self.close()


_shared: "weakref.ref[Sessions] | None" = None


def shared_sessions() -> Sessions:
    """The sessions of all clients that asked for nothing else, which keep them; without a client they are closed."""
    global _shared
    sessions = None if _shared is None else _shared()
    if sessions is None:
        sessions = Sessions()
        _shared = weakref.ref(sessions)
    return sessions


_USES: "weakref.WeakKeyDictionary[aiohttp.ClientSession, set[asyncio.Future[None]]]" = weakref.WeakKeyDictionary()
_BARE: "weakref.WeakKeyDictionary[aiohttp.ClientSession, aiohttp.ClientSession]" = weakref.WeakKeyDictionary()
"""By the caller's session, ours on its connections."""
_KEPT_OPEN: "weakref.WeakSet[aiohttp.ClientSession]" = weakref.WeakSet()
"""The callers' sessions whose connections are ours to close, should they be closed meanwhile."""
_ELSEWHERE: "weakref.WeakKeyDictionary[aiohttp.ClientSession, Sessions]" = weakref.WeakKeyDictionary()
"""By the caller's session at one socket, those for all other servers."""


class bare_session:
    """A session on the client's connections, with their TLS settings, its proxy and its time limits, or the shared one.

    A client at a socket of its own (`UnixConnector`) lends none, since all its requests reach that one server.
    It has none of the client's headers, cookies, credentials, base URL and middlewares, which are meant for an API.
    The connections stay open within the block, whenever the client is closed: losing a token reply can end a grant.
    """

    def __init__(self, client: "aiohttp.ClientSession | None") -> None:
        self._client = client if client is not None and not client.closed else None
        self._sessions: Sessions | None = None

    async def __aenter__(self) -> "aiohttp.ClientSession":
        if self._client is None or _is_shared(self._client):
            self._sessions = shared_sessions()
            session = self._client = self._sessions.join(self).session
        elif _at_one_socket(self._client):
            # joined for as long as the client lives: a stream goes on after this block
            sessions = _ELSEWHERE.setdefault(self._client, shared_sessions())
            session = self._client = sessions.join(self._client).session
        else:
            session = _on_same_connector(self._client)
            _keep_open(self._client)
        self._connector = session.connector
        self._use = asyncio.get_running_loop().create_future()
        _USES.setdefault(self._client, set()).add(self._use)
        return session

    async def __aexit__(self, *_: object) -> None:
        assert self._client is not None
        uses = _USES[self._client]
        uses.discard(self._use)
        self._use.cancel()
        if self._sessions is not None:
            await self._sessions.leave(self)
        elif not uses and _end_keeping(self._client) and self._client.closed and self._connector is not None:
            await self._connector.close()


def _keep_open(client: "aiohttp.ClientSession") -> None:
    """Lets the caller close the session, which closes its connections, only after our requests on them."""
    if client.connector_owner:
        client._connector_owner = False  # aiohttp has no public name for it
        _KEPT_OPEN.add(client)


def _end_keeping(client: "aiohttp.ClientSession") -> bool:
    """Whether the session's connections were kept open, which are its own again."""
    if client not in _KEPT_OPEN:
        return False
    _KEPT_OPEN.discard(client)
    client._connector_owner = True
    return True


def _at_one_socket(client: "aiohttp.ClientSession") -> bool:
    import aiohttp

    return isinstance(client.connector, aiohttp.UnixConnector | aiohttp.NamedPipeConnector)


def _is_shared(client: "aiohttp.ClientSession") -> bool:
    sessions = None if _shared is None else _shared()
    lent = None if sessions is None else sessions.held()
    return lent is not None and lent.session is client


def _on_same_connector(client: "aiohttp.ClientSession") -> "aiohttp.ClientSession":
    import aiohttp

    bare = _BARE.get(client)
    if bare is None or bare.connector is not client.connector:
        bare = _BARE[client] = aiohttp.ClientSession(
            connector=client.connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=client.timeout,
            trust_env=client.trust_env,
            proxy=getattr(client, "_default_proxy", None),  # aiohttp has no public name for it
            proxy_auth=getattr(client, "_default_proxy_auth", None),
        )
        weakref.finalize(client, bare.detach)  # its connections are the caller's to close
    return bare
