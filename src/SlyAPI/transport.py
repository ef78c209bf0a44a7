"""The one place a request leaves the process: sessions, time limits, size caps, and their errors in our words.

The rule: knows nothing of OAuth, follows no redirect, and lets no error that aiohttp made out, because
those carry the request's headers. aiohttp, which takes a hundred milliseconds to import, is imported where a
session is made or an error is named, never on the way of a request.
"""

import asyncio
import contextlib
import logging
import math
import sys
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from .errors import BadReplyError, ConfigError, NetworkError, RequestTimeoutError, SlyError, printable
from .events import request_log, requested
from .per_loop import PerLoop
from .web import REDIRECTS, Reply, Request, bare_url

if TYPE_CHECKING:
    import aiohttp

TOKEN_TIMEOUT = 30.0
"""Seconds that a token request may take in all."""
TOKEN_REPLY_LIMIT = 1 << 20
"""Bytes of a token reply that are read, decompressed."""
REPLY_LIMIT = 1 << 28
"""Bytes of an API's reply that are read, decompressed; `WebAPI.reply_limit` changes it."""
ERROR_BODY_LIMIT = 1 << 16
"""Bytes of an error reply's body that are kept."""
SILENCE = 60.0
"""Seconds without a byte after which a stream is given up, unless the caller's session says otherwise."""

Streaming = Callable[["aiohttp.ClientResponse", Request], Reply]
"""Makes the reply of a response whose body is yet to come: `streaming.Streamed`."""


async def send(
    request: Request,
    client: "aiohttp.ClientSession | None" = None,
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
            return await told(request, _send(session, request, timeout, limit))
    except asyncio.CancelledError as cancelled:
        raise cancelled.with_traceback(None) from None  # aiohttp's frames hold our headers and form
    except troubles() as error:
        problem = as_ours(error, request, timeout)
    raise problem  # outside the handler: an aiohttp error as __context__ would carry our headers


async def _send(session: "aiohttp.ClientSession", request: Request, timeout: float, limit: int) -> Reply:
    import aiohttp
    from yarl import URL

    response = await session.request(
        request.method.value,
        URL(request.url),
        headers=request.headers,
        data=request.data or None,
        timeout=aiohttp.ClientTimeout(total=timeout),
        allow_redirects=False,
    )
    return Reply(response.status, response.headers, await read_body(response, limit), bare_url(request.url))


async def told(request: Request, sending: Awaitable[Reply]) -> Reply:
    """The reply that `sending` comes to, with an event of the request, however it ends."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    try:
        reply = await sending
    except BaseException:
        error = getattr(sys.exc_info()[0], "__name__", "")  # not the error itself: its repr has our headers
        requested(request, clock() - begun, None, 0, error)
        raise
    # of a stream the body is yet to come
    requested(request, clock() - begun, reply.status, len(reply.body) if type(reply) is Reply else None)
    return reply


def borrowed(client: "aiohttp.ClientSession | None") -> "aiohttp.ClientSession":
    """A session on the client's connections, with their TLS settings and its proxy, to be closed after use.

    Its headers, cookies, credentials, base URL and middlewares stay out: they are meant for an API.
    """
    import aiohttp

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


_USES: "weakref.WeakKeyDictionary[aiohttp.ClientSession, set[asyncio.Future[None]]]" = weakref.WeakKeyDictionary()


@contextlib.asynccontextmanager
async def _using(client: "aiohttp.ClientSession | None") -> AsyncGenerator[None, None]:
    """Keeps `Sessions` from closing the client: a token reply that is lost may take a grant along."""
    use = asyncio.get_running_loop().create_future()
    uses = _USES.setdefault(client, set()) if client is not None else set()
    uses.add(use)
    try:
        yield
    finally:
        uses.discard(use)
        use.cancel()


async def fetch(
    client: "aiohttp.ClientSession", request: Request, limit: int = REPLY_LIMIT, streamed: Streaming | None = None
) -> Reply:
    """Sends an API request and reads the reply, of an error no more than `ERROR_BODY_LIMIT` bytes.

    With `streamed` only its head, unless it is a refusal or a redirect; there is no limit of the whole then.
    Raises `NetworkError`, `RequestTimeoutError`, or `BadReplyError` for a body larger than `limit`;
    nothing that aiohttp made. No variable here holds what a traceback must not show: URL, query, headers.
    """
    try:
        sending = _fetch(client, request, limit) if streamed is None else _begin(client, request, streamed)
        return await (told(request, sending) if request_log.isEnabledFor(logging.DEBUG) else sending)
    except asyncio.CancelledError as cancelled:
        raise cancelled.with_traceback(None) from None
    except troubles() as error:
        problem = as_ours(error, request, None if streamed else client.timeout.total)
    raise problem


async def _fetch(
    client: "aiohttp.ClientSession",
    request: Request,
    limit: int,
    at_head: "Callable[[aiohttp.ClientResponse], Reply | None] | None" = None,
    timeout: "aiohttp.ClientTimeout | None" = None,
) -> Reply:
    """The whole reply, or what `at_head` makes of its head."""
    ask = client.request if timeout is None else partial(client.request, timeout=timeout)
    response = await ask(
        request.method,
        request.url,
        params=request.query_params or None,
        headers=request.headers,
        json=request.data if request.data_is_json else None,
        data=None if request.data_is_json else request.data or None,
        allow_redirects=False,
        raise_for_status=False,
    )
    if at_head is not None and (reply := at_head(response)) is not None:
        return reply
    cut = at_head is not None or response.status >= 400
    body = await read_body(response, ERROR_BODY_LIMIT if cut else limit, cut=cut)
    return Reply(response.status, response.headers, body, request.url)


async def _begin(client: "aiohttp.ClientSession", request: Request, streamed: Streaming) -> Reply:
    """The head, or a refusal or a redirect whole, in the time that any call has, however it drips.

    That begins when the body is sent, which may take longer.
    """
    loop, total = asyncio.get_running_loop(), client.timeout.total or math.inf
    async with asyncio.timeout(None) as limit:

        def begins() -> None:
            with contextlib.suppress(RuntimeError):  # the reply was there before all was sent
                limit.reschedule(loop.time() + total)

        def at_head(response: "aiohttp.ClientResponse") -> Reply | None:
            begins()
            moved = response.status in REDIRECTS and "Location" in response.headers
            return None if moved or response.status >= 400 else streamed(response, request)

        if hasattr(request.data, "__aiter__"):
            request = replace(request, data=_sending(request.data, begins))
        else:
            begins()
        return await _fetch(client, request, ERROR_BODY_LIMIT, at_head, _patient(client.timeout))


async def _sending(body: AsyncIterable[bytes], sent: Callable[[], None]) -> AsyncGenerator[bytes, None]:
    async for piece in body:
        yield piece
    sent()


def _patient(given: "aiohttp.ClientTimeout") -> "aiohttp.ClientTimeout":
    """The session's limits without that of the whole."""
    import aiohttp

    return aiohttp.ClientTimeout(
        total=None,
        connect=given.connect,
        sock_connect=given.sock_connect or SILENCE,
        sock_read=given.sock_read or SILENCE,
    )


async def read_body(response: "aiohttp.ClientResponse", limit: int, *, cut: bool = False) -> bytes:
    """The body, which returns the connection to its pool; beyond `limit` bytes it is cut, or an error."""
    content = response.content
    chunks: list[bytes] = []
    size = 0
    try:
        while not content.at_eof():
            chunk = await content.readany()
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


def troubles() -> tuple[type[Exception], ...]:
    """What aiohttp raises, for `as_ours`; asked for by an `except`, so only once something was raised."""
    import aiohttp

    return (aiohttp.ClientError, TimeoutError, OSError, ValueError, TypeError, RuntimeError)


def as_ours(error: Exception, request: Request, timeout: float | None) -> Exception:
    """The error of ours that says what aiohttp's means; holds nothing of the request but its bare URL.

    A `TypeError` stays one: the caller's data cannot be written. What kept a body from being read is given as it is.
    """
    import aiohttp

    failure: Exception | None = getattr(request.data, "failure", None)
    if failure is not None:
        return failure
    asked, broken = request.name, _network_error()
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
        return broken(
            f"{asked}: TLS failed ({_cause(error)}).",
            next_step="Check the address, the machine's clock and its certificates.",
            kind="configuration",
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return broken(f"{asked}: the host's name is not known here.", next_step="Check address and network.")
    if isinstance(error, aiohttp.ClientConnectorError):
        return broken(f"{asked}: no connection ({_cause(error)}).", next_step="Check the network, try again.")
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return ConfigError(f"{printable(bare_url(request.url), 100)!r} is not a URL that can be asked.")
    if isinstance(error, aiohttp.ClientResponseError):
        return BadReplyError(
            f"{asked} was answered with what is no HTTP that can be read.",
            next_step="Check the address; if it is right, try again later.",
        )
    if isinstance(error, aiohttp.ClientError | OSError):
        return broken(
            f"{asked}: the connection broke before a whole reply ({type(error).__name__}).", next_step="Try again."
        )
    if isinstance(error, TypeError):
        # json's messages name types; others quote the value, which may be a secret
        why = printable(error, 200) if "JSON" in str(error) else "a value of a type that cannot be sent"
        return TypeError(f"{asked}: {why}.")
    if isinstance(error, RuntimeError):
        return ConfigError(f"{asked}: the client session given cannot be used ({printable(error, 100)}).")
    return ConfigError(f"{asked}: the request cannot be sent as it is ({type(error).__name__}: check URL and headers).")


@cache
def _network_error() -> type[NetworkError]:
    """`NetworkError` as aiohttp's error too: programs written for 0.6 catch that one, for want of ours."""
    import aiohttp

    class Both(NetworkError, aiohttp.ClientConnectionError):
        def __reduce__(self) -> tuple[Any, ...]:
            again, (_, *told) = super().__reduce__()
            return again, (NetworkError, *told)

    Both.__module__, Both.__name__, Both.__qualname__ = NetworkError.__module__, "NetworkError", "NetworkError"
    return Both


def _cause(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    why = getattr(inner, "verify_message", "") or getattr(inner, "strerror", "")
    return printable(why or type(inner).__name__, 100)


def load_aiohttp() -> None:
    """Imports what makes a session."""
    import aiohttp  # noqa: F401  # pyright: ignore[reportUnusedImport]


class Sessions(PerLoop["aiohttp.ClientSession"]):
    """One `aiohttp.ClientSession` for each event loop, made on first use, closed when its loop ends.

    `trace_configs` hear of its requests.
    """

    def __init__(self, trace_configs: "Sequence[aiohttp.TraceConfig]" = ()) -> None:
        import aiohttp

        session = aiohttp.ClientSession
        make = partial(session, trace_configs=[*trace_configs]) if trace_configs else session
        super().__init__(make, _close_after_use, attrgetter("closed"))


async def _close_after_use(session: "aiohttp.ClientSession") -> None:
    if uses := _USES.get(session):
        await asyncio.wait(uses)
    await session.close()
