"""The one place a request leaves the process: sessions, time limits and size limits.

The rule: knows nothing of OAuth, follows no redirect, and no aiohttp exception escapes, because those carry the
request's headers. aiohttp, which takes a hundred milliseconds to import, is imported where a session is made or an
exception is translated, never while a request is sent.
"""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ..errors import BadReplyError
from ..web.events import request_log, requested
from ..web.messages import Reply, Request
from ..web.urls import as_sent, bare_url, parsed_url
from .sessions import bare_session

if TYPE_CHECKING:
    import ssl

    import aiohttp

TOKEN_TIMEOUT = 30.0
"""Seconds that a token request may take in all."""
TOKEN_REPLY_LIMIT = 1 << 20
"""Bytes of a token reply that are read, decompressed."""
REPLY_LIMIT = 32 << 20
"""Bytes of an API's reply that are read, decompressed; `WebAPI.reply_limit` changes it."""
ERROR_BODY_LIMIT = 1 << 16
"""Bytes of an error reply's body that are kept."""


class TranslatedErrors:
    """Raises aiohttp's exceptions in its block as errors of ours; `timeout` in seconds, for their message."""

    __slots__ = ("_request", "_timeout")

    def __init__(self, request: Request, timeout: float | None = None) -> None:
        self._request = request
        self._timeout = timeout

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is not None:
            raise_translated(error, self._request, self._timeout)


def raise_translated(error: BaseException, request: Request, timeout: float | None = None) -> None:
    """Raises the error of ours for one of aiohttp's, and nothing for another."""
    from .errors import AIOHTTP_ERRORS, translate_error

    if isinstance(error, AIOHTTP_ERRORS):
        ours = translate_error(error, request, timeout)
        try:
            raise ours from None
        finally:
            ours.__context__ = None  # aiohttp's frames hold the request's headers, its texts what they quote
            del error


async def send(
    request: Request,
    client: "aiohttp.ClientSession | None" = None,
    *,
    timeout: float = TOKEN_TIMEOUT,
    limit: int = TOKEN_REPLY_LIMIT,
    public_only: bool = False,
) -> Reply:
    """Sends a request with secrets in it and reads the whole reply, whatever its status.

    `client` only lends its connections (`bare_session`). `timeout` in seconds counts everything. Raises
    `NetworkError`, `RequestTimeoutError`, or `BadReplyError` for a body larger than `limit`; with `public_only`
    `ConfigError` for a server at an address that is not public.
    """
    with TranslatedErrors(request, timeout):
        async with bare_session(client, public_only) as session:
            sending = _send(session, request, timeout, limit)
            return await (logged(request, sending) if request_log.isEnabledFor(logging.DEBUG) else sending)


async def _send(session: "aiohttp.ClientSession", request: Request, timeout: float, limit: int) -> Reply:
    import aiohttp

    response = await session.request(
        request.method,
        parsed_url(request.url),
        headers=request.headers,
        data=request.data or None,
        timeout=aiohttp.ClientTimeout(total=timeout),
        allow_redirects=False,
        ssl=True if request.certificate is None else _tls(request),
    )
    return Reply(response.status, response.headers, await read_body(response, request, limit), bare_url(request.url))


def _tls(request: Request) -> "ssl.SSLContext":
    """What presents the certificate of a request, which few have."""
    from .certificates import tls_context

    return tls_context(request.certificate)


async def logged(request: Request, sending: Awaitable[Reply]) -> Reply:
    """The reply of `sending`, with an event of the request, however it ends."""
    clock = asyncio.get_running_loop().time
    start = clock()
    try:
        reply = await sending
    except BaseException:
        error = getattr(sys.exc_info()[0], "__name__", "")  # not the error itself: its repr has our headers
        requested(request, clock() - start, None, 0, error)
        raise
    # the body of a stream is still to come
    requested(request, clock() - start, reply.status, len(reply.body) if type(reply) is Reply else None)
    return reply


async def fetch(
    client: "aiohttp.ClientSession", request: Request, limit: int = REPLY_LIMIT, total: float | None = None
) -> Reply:
    """Sends an API request and reads the reply, of an error no more than `ERROR_BODY_LIMIT` bytes.

    `total` replaces the session's time limit in seconds. Raises `NetworkError`, `RequestTimeoutError`, or
    `BadReplyError` for a body larger than `limit`.
    """
    sending = _fetch(client, request, limit, total)
    try:
        return await (logged(request, sending) if request_log.isEnabledFor(logging.DEBUG) else sending)
    except Exception as error:  # not `TranslatedErrors`, which costs 1.2 % of a GET's instructions
        raise_translated(error, request, total or client.timeout.total)
        raise


async def _fetch(client: "aiohttp.ClientSession", request: Request, limit: int, total: float | None) -> Reply:
    # as `ask` does, whose call costs 0.6 % of a GET's instructions
    response = await client.request(
        request.method,
        as_sent(request.url) if "%" in request.url else request.url,
        params=request.query_params or None,
        headers=request.headers,
        json=request.data if request.data_is_json else None,
        data=None if request.data_is_json else request.data or None,
        allow_redirects=False,
        raise_for_status=False,
        timeout=client.timeout if total is None else limited(client.timeout, total),
        ssl=True if request.certificate is None else _tls(request),
    )
    refused = response.status >= 400
    body = await read_body(response, request, ERROR_BODY_LIMIT if refused else limit, cut=refused)
    return Reply(response.status, response.headers, body, request.url)


def ask(
    client: "aiohttp.ClientSession", request: Request, timeout: "aiohttp.ClientTimeout | None" = None
) -> "Awaitable[aiohttp.ClientResponse]":
    """Sends an API request as it is; gives the response's head. Without `timeout` the session's applies."""
    return client.request(
        request.method,
        as_sent(request.url) if "%" in request.url else request.url,
        params=request.query_params or None,
        headers=request.headers,
        json=request.data if request.data_is_json else None,
        data=None if request.data_is_json else request.data or None,
        allow_redirects=False,
        raise_for_status=False,
        timeout=timeout or client.timeout,
        ssl=True if request.certificate is None else _tls(request),
    )


def limited(given: "aiohttp.ClientTimeout", total: float | None) -> "aiohttp.ClientTimeout":
    """The time limits of a session with another total one."""
    import aiohttp

    return aiohttp.ClientTimeout(total, given.connect, given.sock_read, given.sock_connect)


def unpacker(response: "aiohttp.ClientResponse", request: Request) -> Callable[[bytes, int], bytes] | None:
    """Unpacks `x-gzip` (RFC 9110 §8.4.1.3), at most so many bytes (0: all); else None. It raises `BadReplyError`."""
    if response.headers.get("Content-Encoding", "").strip().lower() != "x-gzip":
        return None
    import zlib

    packed = zlib.decompressobj(wbits=31)

    def unpack(piece: bytes, most: int = 0) -> bytes:
        try:
            return packed.decompress(piece, most)
        except zlib.error:
            raise BadReplyError(f"{request.name}: the body is not gzip, as its header says.") from None

    return unpack


async def read_body(
    response: "aiohttp.ClientResponse", request: Request, limit: int, *, cut: bool = False
) -> bytes:
    """The body, which returns the connection to its pool; a body beyond `limit` bytes is cut, or an error."""
    content = response.content
    unpack = unpacker(response, request) if "Content-Encoding" in response.headers else None
    chunks: list[bytes] = []
    size = 0
    try:
        while True:
            chunk = await content.readany()
            if unpack is not None:
                chunk = unpack(chunk, limit + 1)
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                response.close()
                if not cut:
                    raise BadReplyError(f"{request.name}: the reply is larger than {limit} bytes.", kind="permanent")
                break
            if content.at_eof():
                break
    except BaseException:
        response.close()
        raise
    return b"".join(chunks)[:limit]
