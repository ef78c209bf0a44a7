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
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..web.events import request_log, requested
from ..web.messages import REDIRECTS, Reply, Request
from ..web.urls import bare_url
from .errors import TooLargeError, aiohttp_errors, translate_error
from .sessions import in_use, session_on_same_connector

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
IDLE_TIMEOUT = 60.0
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

    `client` only lends its connections (`session_on_same_connector`). `timeout` in seconds counts everything. Raises
    `NetworkError`, `RequestTimeoutError`, or `BadReplyError` for a body larger than `limit`.
    """
    try:
        async with session_on_same_connector(client) as session, in_use(client):
            return await told(request, _send(session, request, timeout, limit))
    except asyncio.CancelledError as cancelled:
        raise cancelled.with_traceback(None) from None  # aiohttp's frames hold our headers and form
    except aiohttp_errors() as error:
        problem = translate_error(error, request, timeout)
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
    except aiohttp_errors() as error:
        problem = translate_error(error, request, None if streamed else client.timeout.total)
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
        sock_connect=given.sock_connect or IDLE_TIMEOUT,
        sock_read=given.sock_read or IDLE_TIMEOUT,
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
                    raise TooLargeError(limit)
                break
    except BaseException:
        response.close()
        raise
    return b"".join(chunks)[:limit]
