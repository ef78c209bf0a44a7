"""The one place a request leaves the process: sessions, time limits, size caps, and their errors in our words.

The rule: knows nothing of OAuth, follows no redirect, and lets no aiohttp error out, because those
carry the request's headers.
"""

import asyncio
import atexit
import contextlib
from collections.abc import AsyncGenerator
from typing import Any
from weakref import WeakSet

import aiohttp
from yarl import URL

from .errors import ConfigError, NetworkError, RequestTimeoutError, SlyError, printable
from .web import Reply, Request, bare_url

TOKEN_TIMEOUT = 30.0
"""Seconds that a token request may take in all."""
TOKEN_REPLY_LIMIT = 1 << 20
"""Bytes of a token reply that are read, decompressed."""
ERROR_BODY_LIMIT = 1 << 16
"""Bytes of an error reply's body that are kept."""


async def send(
    request: Request,
    client: aiohttp.ClientSession | None = None,
    *,
    timeout: float = TOKEN_TIMEOUT,
    limit: int = TOKEN_REPLY_LIMIT,
) -> Reply:
    """Sends a request with secrets in it and reads the whole reply, whatever its status.

    `client` only lends its connections: its cookies, base URL and middlewares stay out as far as
    aiohttp lets them. `timeout` in seconds counts everything. Raises `NetworkError`,
    `RequestTimeoutError`, or `BadReplyError` for a body larger than `limit`.
    """
    if client is not None and not client.closed:
        return await _send(request, client, timeout, limit)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as own:
        return await _send(request, own, timeout, limit)


async def _send(request: Request, client: aiohttp.ClientSession, timeout: float, limit: int) -> Reply:
    try:
        async with client.request(
            request.method.value,
            URL(request.url),
            headers=request.headers,
            data=request.data or None,
            timeout=aiohttp.ClientTimeout(total=timeout),
            allow_redirects=False,
            raise_for_status=False,
            middlewares=(),
        ) as response:
            body = await _read_up_to(response, limit)
            return Reply(response.status, response.headers, body, bare_url(request.url))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        problem = as_ours(error, request, timeout)
    raise problem  # outside the handler: an aiohttp error as __context__ would carry our headers


async def _read_up_to(response: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > limit:
            response.close()
            raise _TooLargeError(limit)
    return bytes(body)


class _TooLargeError(ValueError):
    pass


async def fetch(client: aiohttp.ClientSession, request: Request, url: str) -> tuple[aiohttp.ClientResponse, bytes]:
    """Sends an API request to `url` (query included) and reads the reply, released: bounded where it is an error.

    Raises `NetworkError` or `RequestTimeoutError`, nothing of aiohttp's.
    """
    data = request.data
    try:
        response = await client.request(
            request.method.value,
            url,
            headers=request.headers,
            json=data if request.data_is_json else None,
            data=None if request.data_is_json else data or None,
            allow_redirects=False,
            raise_for_status=False,
        )
        if response.status < 400:
            return response, await response.read()
        try:
            return response, await response.content.read(ERROR_BODY_LIMIT)
        finally:
            response.release()
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RuntimeError) as error:
        if isinstance(error, SlyError):
            raise
        problem = as_ours(error, request, client.timeout.total)
    raise problem


def as_ours(error: Exception, request: Request, timeout: float | None) -> SlyError:
    """The error of ours that says what aiohttp's means; holds nothing of the request but its bare URL."""
    asked = request.name
    if isinstance(error, SlyError):
        return error
    if isinstance(error, TimeoutError):
        limit = f" within {timeout:g} s" if timeout else " in time"
        return RequestTimeoutError(f"{asked}: no whole reply{limit}.", next_step="Try again later.")
    if isinstance(error, _TooLargeError):
        return NetworkError(f"{asked}: the reply is larger than {error.args[0]} bytes.", kind="permanent")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return NetworkError(
            f"{asked}: TLS failed ({_cause(error)}).",
            next_step="Check the address, the machine's clock and its certificates.",
            kind="configuration",
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return NetworkError(f"{asked}: the host's name is not known here.", next_step="Check address and network.")
    if isinstance(error, aiohttp.ClientConnectorError):
        return NetworkError(f"{asked}: no connection ({_cause(error)}).", next_step="Check the network, try again.")
    if isinstance(error, aiohttp.InvalidURL):
        return ConfigError(f"{printable(bare_url(request.url), 100)!r} is not a URL that can be asked.")
    if isinstance(error, aiohttp.ClientError | OSError):
        return NetworkError(
            f"{asked}: the connection broke before a whole reply ({type(error).__name__}).", next_step="Try again."
        )
    if isinstance(error, RuntimeError):
        return ConfigError(f"{asked}: the client session given cannot be used ({printable(error, 100)}).")
    return ConfigError(f"{asked}: the request cannot be sent as it is ({type(error).__name__}: check URL and headers).")


def _cause(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    told = getattr(inner, "verify_message", "") or getattr(inner, "strerror", "")
    return printable(told or type(inner).__name__, 100)


class Sessions:
    """One `aiohttp.ClientSession` for each event loop, made on first use, closed when its loop ends."""

    def __init__(self) -> None:
        self._held: dict[asyncio.AbstractEventLoop, tuple[aiohttp.ClientSession, AsyncGenerator[Any, None]]] = {}
        _ALL.add(self)

    def get(self) -> aiohttp.ClientSession:
        """The running loop's session. Raises `RuntimeError` where no loop runs."""
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is not None and not held[0].closed:
            return held[0]
        self._drop_ended()
        holder = _hold_session()
        # Begun by hand, since this is no coroutine. asyncio closes every begun async generator at the
        # end of its loop (`shutdown_asyncgens`), or when nobody holds it any more: so is the session.
        try:
            holder.__anext__().send(None)
        except StopIteration as begun:
            self._held[loop] = begun.value, holder
        return self._held[loop][0]

    async def close(self) -> None:
        """Closes the running loop's session; the next use makes a new one."""
        held = self._held.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held[1].aclose()

    def _drop_ended(self) -> None:
        for loop in [loop for loop in self._held if loop.is_closed()]:
            _abandon(self._held.pop(loop)[0])

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            self._drop_ended()

    def at_exit(self) -> None:
        """Closes what loops that were never closed left open (`get_event_loop().run_until_complete(...)`)."""
        for loop, (session, holder) in list(self._held.items()):
            if loop.is_closed():
                _abandon(session)
            elif not loop.is_running():
                loop.run_until_complete(holder.aclose())
        self._held.clear()


async def _hold_session() -> AsyncGenerator[aiohttp.ClientSession, None]:
    async with aiohttp.ClientSession() as session:
        yield session


def _abandon(session: aiohttp.ClientSession) -> None:
    """Lets go of a session whose loop was closed under it; there is nothing left to wait for."""
    connector = session.connector
    session.detach()
    if connector is not None:
        with contextlib.suppress(RuntimeError):
            connector.close()


_ALL: WeakSet[Sessions] = WeakSet()


@atexit.register
def _close_all() -> None:
    for sessions in list(_ALL):
        with contextlib.suppress(RuntimeError):
            sessions.at_exit()
