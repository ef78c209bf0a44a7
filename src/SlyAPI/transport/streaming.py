"""Replies whose bodies are read piece by piece, and requests whose bodies take their time.

The rule: no limit on the whole, neither of bytes nor of time, but one on the time between two pieces. No aiohttp
exception escapes.
"""

import asyncio
import codecs
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import BadReplyError, clean_traceback
from ..web.events import request_log
from ..web.messages import REDIRECTS, Reply, Request
from .requests import ERROR_BODY_LIMIT, TranslatedErrors, ask, logged, raise_translated, read_body, unpacker

if TYPE_CHECKING:
    import aiohttp

IDLE_TIMEOUT = 60.0
"""Seconds without a byte in either direction after which a stream is given up, unless the session has its own limit."""
LONGEST_LINE = 1 << 20
"""Characters that a line of `lines` may have."""


class Streamed(Reply):
    """A reply while it arrives: iterate over its bytes, or over its `lines()`. Its `body` stays empty.

    `status`, `headers` and `url` are known from the beginning. `size`: bytes that the server
    announced, None where it did not, or where the body is compressed.
    """

    __slots__ = ("_request", "_response", "on_close")

    def __init__(self, response: "aiohttp.ClientResponse", request: Request) -> None:
        super().__init__(response.status, response.headers, b"", request.shown_url)
        self.on_close: Callable[[], None] | None = None
        self._response = response
        self._request = request

    def __repr__(self) -> str:
        return f"<Streamed {self.status} from {self.url}>"

    @property
    def size(self) -> int | None:
        return None if self.packed else self._response.content_length

    @property
    def packed(self) -> bool:
        """Whether the body is compressed on the wire (gzip and the like)."""
        return self.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.pieces()

    @clean_traceback
    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body in pieces as they arrive, decompressed. Raises `NetworkError` where the connection breaks."""
        content, unpack = self._response.content, unpacker(self._response, self._request)
        while True:
            try:
                piece = await content.readany()
            except BaseException as error:
                self.close()
                raise_translated(error, self._request)
                raise
            if not piece:
                return
            yield piece if unpack is None else unpack(piece, 0)

    @clean_traceback
    async def lines(self) -> AsyncGenerator[str, None]:
        """The body's lines without their ends, in the encoding that the reply names, else UTF-8.

        Raises `NetworkError` where the connection breaks, `BadReplyError` for a line longer than `LONGEST_LINE` and
        for UTF-16 or UTF-32 without its byte order mark.
        """
        decoder = codecs.getincrementaldecoder(self.encoding)("replace")
        rest, first = "", True
        async for piece in self.pieces():
            text = self._decoded(decoder, piece)
            if first and text:
                text, first = text.removeprefix("\ufeff"), False
            end, *others = text.split("\n")
            rest += end
            for other in others:
                yield rest.removesuffix("\r")
                rest = other
            if len(rest) > LONGEST_LINE:
                raise BadReplyError(f"{self._request.name}: a line is longer than {LONGEST_LINE} characters.")
        rest += decoder.decode(b"", final=True)
        if rest:
            yield rest.removesuffix("\r")

    def _decoded(self, decoder: codecs.IncrementalDecoder, piece: bytes) -> str:
        try:
            return decoder.decode(piece)
        except UnicodeError:
            raise BadReplyError(f"{self._request.name}: the text is not {self.encoding}, as its header says.") from None

    def close(self) -> None:
        """Releases the connection, which is closed if the body has not been read to its end."""
        self._response.close()
        if self.on_close is not None:
            on_close, self.on_close = self.on_close, None
            on_close()

    @clean_traceback
    async def read(self, limit: int, timeout: float | None = None) -> bytes:
        """The whole body, within `timeout` seconds if given. Raises `BadReplyError` for one larger than `limit`."""
        with TranslatedErrors(self._request):
            async with asyncio.timeout(timeout):
                return await read_body(self._response, self._request, limit)


async def begin(
    client: "aiohttp.ClientSession", request: Request, limit: int, total: float | None = None
) -> Reply:
    """A `Streamed`, to be closed; a refusal or redirect is read whole. `total`: seconds, as the session's limit."""
    with TranslatedErrors(request):
        sending = _begin(client, request, total or client.timeout.total)
        return await (logged(request, sending) if request_log.isEnabledFor(logging.DEBUG) else sending)


async def _begin(client: "aiohttp.ClientSession", request: Request, total: float | None) -> Reply:
    """The head, or a refusal or redirect, within the time limit `total`, which starts once the body is sent."""
    loop, timeout = asyncio.get_running_loop(), _without_total(client.timeout)
    async with asyncio.timeout(None) as limit:

        def allow(seconds: float | None) -> None:
            """Limits the time from now on."""
            with contextlib.suppress(RuntimeError):  # the reply arrived before the whole body was sent
                limit.reschedule(loop.time() + seconds if seconds else None)

        if hasattr(request.data, "__aiter__"):
            request = replace(request, data=_Limited(request.data, allow, timeout.sock_read, total))
        allow(total)  # of a body in pieces it limits the wait for a connection
        response = await ask(client, request, timeout=timeout)
        allow(total)
        moved = response.status in REDIRECTS and "Location" in response.headers
        if not moved and response.status < 400:
            return Streamed(response, request)
        body = await read_body(response, request, ERROR_BODY_LIMIT, cut=True)
        return Reply(response.status, response.headers, body, request.url)


class _Limited:
    """A body, each piece of which the server takes within `idle` seconds; its source may take any time.

    It begins anew whenever it is iterated: aiohttp (3.14.0, not 3.14.5) iterates it once more where a connection broke,
    and would send the rest of a generator as the whole body.
    """

    def __init__(
        self,
        body: AsyncIterable[bytes],
        allow: Callable[[float | None], None],
        idle: float | None,
        total: float | None,
    ) -> None:
        self._body, self._allow, self._idle, self._total = body, allow, idle, total

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        self._allow(None)
        async for piece in self._body:
            self._allow(self._idle)
            yield piece
            self._allow(None)
        self._allow(self._total)


def _without_total(given: "aiohttp.ClientTimeout") -> "aiohttp.ClientTimeout":
    """The session's time limits without the total one."""
    import aiohttp

    return aiohttp.ClientTimeout(
        total=None,
        connect=given.connect,
        sock_connect=given.sock_connect or IDLE_TIMEOUT,
        sock_read=given.sock_read or IDLE_TIMEOUT,
    )


async def fetch_patiently(
    client: "aiohttp.ClientSession", request: Request, limit: int, total: float | None = None
) -> Reply:
    """Like `fetch`, for a request whose body may be large: the time limit starts once the body is sent."""
    reply = await begin(client, request, limit, total)
    if isinstance(reply, Streamed):
        body = await reply.read(limit, total or client.timeout.total or None)
        return Reply(reply.status, reply.headers, body, request.url)
    return reply
