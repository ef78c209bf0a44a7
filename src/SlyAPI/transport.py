"""The one place a request leaves the process: sessions, time limits, size caps, and their errors in our words.

The rule: knows nothing of OAuth, follows no redirect, and lets no aiohttp error out, because those
carry the request's headers.
"""

import asyncio
import atexit
import contextlib
import os
import weakref
from collections.abc import AsyncGenerator

import aiohttp
from yarl import URL

from .errors import BadReplyError, ConfigError, NetworkError, RequestTimeoutError, SlyError, printable
from .web import Reply, Request, bare_url

TOKEN_TIMEOUT = 30.0
"""Seconds that a token request may take in all."""
TOKEN_REPLY_LIMIT = 1 << 20
"""Bytes of a token reply that are read, decompressed."""
REPLY_LIMIT = 1 << 28
"""Bytes of an API's reply that are read, decompressed; `WebAPI.reply_limit` changes it."""
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

    `client` only lends its connections (`borrowed`). `timeout` in seconds counts everything. Raises
    `NetworkError`, `RequestTimeoutError`, or `BadReplyError` for a body larger than `limit`.
    """
    try:
        async with borrowed(client) as session, _using(client):
            response = await session.request(
                request.method.value,
                URL(request.url),
                headers=request.headers,
                data=request.data or None,
                timeout=aiohttp.ClientTimeout(total=timeout),
                allow_redirects=False,
            )
            return Reply(response.status, response.headers, await read_body(response, limit), bare_url(request.url))
    except asyncio.CancelledError as cancelled:
        raise cancelled.with_traceback(None) from None  # aiohttp's frames hold our headers and form
    except TROUBLES as error:
        problem = as_ours(error, request, timeout)
    raise problem  # outside the handler: an aiohttp error as __context__ would carry our headers


def borrowed(client: aiohttp.ClientSession | None) -> aiohttp.ClientSession:
    """A session on the client's connections, with their TLS settings and its proxy, to be closed after use.

    Its headers, cookies, credentials, base URL and middlewares stay out: they are meant for an API.
    """
    if client is None or client.closed:
        return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
    return aiohttp.ClientSession(
        connector=client.connector,
        connector_owner=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=client.trust_env,
        proxy=getattr(client, "_default_proxy", None),  # aiohttp has no public name for it
        proxy_auth=getattr(client, "_default_proxy_auth", None),
    )


_USES: weakref.WeakKeyDictionary[aiohttp.ClientSession, set[asyncio.Future[None]]] = weakref.WeakKeyDictionary()


@contextlib.asynccontextmanager
async def _using(client: aiohttp.ClientSession | None) -> AsyncGenerator[None, None]:
    """Keeps `Sessions` from closing the client: a token reply that is lost may take a grant along."""
    use = asyncio.get_running_loop().create_future()
    uses = _USES.setdefault(client, set()) if client is not None else set()
    uses.add(use)
    try:
        yield
    finally:
        uses.discard(use)
        use.cancel()


async def fetch(client: aiohttp.ClientSession, request: Request, limit: int = REPLY_LIMIT) -> Reply:
    """Sends an API request and reads the reply, of an error no more than `ERROR_BODY_LIMIT` bytes.

    Raises `NetworkError`, `RequestTimeoutError`, or `BadReplyError` for a body larger than `limit`;
    nothing of aiohttp's. No variable here holds what a traceback must not show: URL, query, headers.
    """
    try:
        return await _fetch(client, request, limit)
    except asyncio.CancelledError as cancelled:
        raise cancelled.with_traceback(None) from None
    except TROUBLES as error:
        problem = as_ours(error, request, client.timeout.total)
    raise problem


async def _fetch(client: aiohttp.ClientSession, request: Request, limit: int) -> Reply:
    response = await client.request(
        request.method,
        request.url,
        params=request.query_params or None,
        headers=request.headers,
        json=request.data if request.data_is_json else None,
        data=None if request.data_is_json else request.data or None,
        allow_redirects=False,
        raise_for_status=False,
    )
    failed = response.status >= 400
    body = await read_body(response, ERROR_BODY_LIMIT if failed else limit, cut=failed)
    return Reply(response.status, response.headers, body, request.url)


async def read_body(response: aiohttp.ClientResponse, limit: int, *, cut: bool = False) -> bytes:
    """The body, which returns the connection to its pool; beyond `limit` bytes it is cut, or an error."""
    chunks: list[bytes] = []
    size = 0
    try:
        while chunk := await response.content.readany():
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                response.close()
                if not cut:
                    raise _TooLargeError(limit)
                break
    except BaseException:
        response.close()
        raise
    return b"".join(chunks)[:limit]


class _TooLargeError(ValueError):
    pass


TROUBLES = (aiohttp.ClientError, TimeoutError, OSError, ValueError, TypeError, RuntimeError)
"""What aiohttp raises, for `as_ours`."""


def as_ours(error: Exception, request: Request, timeout: float | None) -> SlyError | TypeError:
    """The error of ours that says what aiohttp's means; holds nothing of the request but its bare URL.

    A `TypeError` stays one: the caller's data cannot be written.
    """
    asked = request.name
    for ours in (error, error.__cause__, error.__context__):
        if isinstance(ours, SlyError):
            return ours  # of a middleware in the caller's session
    if isinstance(error, TimeoutError):
        known = timeout and not isinstance(error, aiohttp.ServerTimeoutError)  # that one has a limit of its own
        limit = f" within {timeout:g} s" if known else " in time"
        return RequestTimeoutError(f"{asked}: no whole reply{limit}.", next_step="Try again later.")
    if isinstance(error, _TooLargeError):
        return BadReplyError(f"{asked}: the reply is larger than {error.args[0]} bytes.", kind="permanent")
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
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return ConfigError(f"{printable(bare_url(request.url), 100)!r} is not a URL that can be asked.")
    if isinstance(error, aiohttp.ClientResponseError):
        return BadReplyError(
            f"{asked} was answered with what is no HTTP that can be read.",
            next_step="Check the address; if it is right, try again later.",
        )
    if isinstance(error, aiohttp.ClientError | OSError):
        return NetworkError(
            f"{asked}: the connection broke before a whole reply ({type(error).__name__}).", next_step="Try again."
        )
    if isinstance(error, TypeError):
        # json's messages name types; others quote the value, which may be a secret
        told = printable(error, 200) if "JSON" in str(error) else "a value of a type that cannot be sent"
        return TypeError(f"{asked}: {told}.")
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
        self._held: dict[asyncio.AbstractEventLoop, _Open] = {}
        # A finalizer, which keeps `_held` alive: the garbage collector would otherwise find the sessions
        # of a cycle (error -> traceback -> frame -> api) together with us, and call them unclosed.
        weakref.finalize(self, _close_soon, self._held).atexit = False

    def get(self) -> aiohttp.ClientSession:
        """The running loop's session. Raises `RuntimeError` where no loop runs."""
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None or held.session.closed:
            for ended in [other for other in list(self._held) if other.is_closed()]:
                self._held.pop(ended, None)  # None: another thread's loop may do the same now
            held = self._held[loop] = _Open(loop)
        return held.session

    async def close(self) -> None:
        """Closes the running loop's session; the next use makes a new one."""
        held = self._held.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held.close()


class _Open:
    """A session on its way from first use to its end, whoever brings that about."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.process = os.getpid()
        self.closing: asyncio.Task[None] | None = None
        # asyncio closes every begun async generator at the end of its loop (`shutdown_asyncgens`): so is
        # the session in it. Begun by hand, since nobody can await here.
        self._holder = _hold_session()
        try:
            self._holder.__anext__().send(None)
        except StopIteration as begun:
            self.session: aiohttp.ClientSession = begun.value
        _OPEN.add(self)
        _finish_before_close(loop)

    async def close(self) -> None:
        if uses := _USES.get(self.session):
            await asyncio.wait(uses)
        await self.session.close()
        with contextlib.suppress(RuntimeError):  # asyncio is closing it just now
            await self._holder.aclose()
        _OPEN.discard(self)

    def close_as_task(self) -> None:
        self.closing = self.loop.create_task(self.close())


_OPEN: set[_Open] = set()
_WATCHED: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


async def _hold_session() -> AsyncGenerator[aiohttp.ClientSession, None]:
    async with aiohttp.ClientSession() as session:
        yield session


def _close_soon(held: dict[asyncio.AbstractEventLoop, _Open]) -> None:
    """Closes what nobody can reach any more; called by the garbage collector, so in any thread."""
    for loop, left in held.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(left.close_as_task)


def _finish_before_close(loop: asyncio.AbstractEventLoop) -> None:
    """Has a loop that is closed without `shutdown_asyncgens` finish its sessions first; afterwards nobody could."""
    if loop in _WATCHED:
        return
    _WATCHED.add(loop)
    close = loop.close

    def finish_and_close() -> None:
        _finish(loop)
        close()

    with contextlib.suppress(AttributeError):  # uvloop's lets nobody in
        loop.close = finish_and_close  # type: ignore[method-assign]


def _finish(loop: asyncio.AbstractEventLoop) -> None:
    left = [session for session in list(_OPEN) if session.loop is loop]
    _OPEN.difference_update(left)
    if any(session.process != os.getpid() for session in left):
        return  # after a fork: the loop's selector is the parent's too, who goes on with it
    if left and not loop.is_running() and not loop.is_closed():
        loop.run_until_complete(_close_each(left))


async def _close_each(left: list[_Open]) -> None:
    for session in left:
        if session.closing is not None:
            await asyncio.wait([session.closing])
        await session.close()


@atexit.register
def _finish_all() -> None:
    """Closes what is open in loops that were never closed (`get_event_loop().run_until_complete(...)`)."""
    for loop in {session.loop for session in _OPEN}:
        with contextlib.suppress(RuntimeError):
            _finish(loop)
