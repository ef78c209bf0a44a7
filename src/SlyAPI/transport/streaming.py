"""Replies whose bodies are read piece by piece, and requests whose bodies take their time.

The rule: no limit in total, neither of bytes nor of time; a limit on how long nothing comes. No error is aiohttp's.
"""

import asyncio
import codecs
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING

from ..errors import BadReplyError, SlyError
from ..web.messages import Reply, Request
from ..web.urls import bare_url
from .errors import aiohttp_errors, translate_error
from .requests import fetch, read_body

if TYPE_CHECKING:
    import aiohttp

LONGEST_LINE = 1 << 20
"""Characters of a line that `lines` gives."""


class Streamed(Reply):
    """A reply as it comes: iterate over its bytes, or over its `lines()`. Its `body` stays empty.

    `status`, `headers` and `url` are there from the beginning. `size`: bytes that the server
    announced, None where it did not, or where they are packed.
    """

    __slots__ = ("_request", "_response")

    def __init__(self, response: "aiohttp.ClientResponse", request: Request) -> None:
        super().__init__(response.status, response.headers, b"", bare_url(request.url))
        self._response = response
        self._request = request

    def __repr__(self) -> str:
        return f"<Streamed {self.status} from {self.url}>"

    @property
    def size(self) -> int | None:
        return None if self.packed else self._response.content_length

    @property
    def packed(self) -> bool:
        """Whether what comes over the wire is not the body as it is given here (gzip and its like)."""
        return self.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.pieces()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body, in pieces as they come, unpacked. Raises `NetworkError` where it breaks off."""
        while piece := await self._piece():
            yield piece
            piece = b""  # so that no traceback shows what a server echoed

    async def lines(self) -> AsyncGenerator[str, None]:
        """The body's lines without their ends, in the encoding that the reply names, else UTF-8.

        Raises `NetworkError` where it breaks off, `BadReplyError` for a line longer than `LONGEST_LINE` and
        for UTF-16 or UTF-32 that does not begin as such.
        """
        decoder = codecs.getincrementaldecoder(self.encoding)("replace")
        rest, first = "", True
        try:
            async for piece in self.pieces():
                text = _decoded(decoder, piece)
                piece = b""
                if text is None:
                    raise BadReplyError(f"{self._request.name}: the text is no {self.encoding}, as which it came.")
                if first and text:
                    text, first = text.removeprefix("\ufeff"), False
                end, *others = text.split("\n")
                rest += end
                for other in others:
                    yield rest.removesuffix("\r")
                    rest = other
                text = end = other = ""
                others = []
                if len(rest) > LONGEST_LINE:
                    raise BadReplyError(f"{self._request.name}: a line is longer than {LONGEST_LINE} characters.")
        except SlyError:
            rest = ""  # so that no traceback shows what a server echoed
            raise
        rest += decoder.decode(b"", final=True)
        if rest:
            yield rest.removesuffix("\r")

    def close(self) -> None:
        """Lets go of the connection; one that has more to say is closed."""
        self._response.close()

    async def read(self, limit: int, timeout: float | None = None) -> bytes:
        """The whole body, within `timeout` seconds if given. Raises `BadReplyError` for one larger than `limit`."""
        try:
            async with asyncio.timeout(timeout):
                return await read_body(self._response, limit)
        except asyncio.CancelledError as cancelled:
            raise cancelled.with_traceback(None) from None
        except aiohttp_errors() as error:
            problem = translate_error(error, self._request, None)
        raise problem

    async def _piece(self) -> bytes:
        try:
            return await self._response.content.readany()
        except asyncio.CancelledError as cancelled:
            self.close()
            raise cancelled.with_traceback(None) from None
        except aiohttp_errors() as error:
            problem = translate_error(error, self._request, None)
        self.close()
        raise problem


async def begin(client: "aiohttp.ClientSession", request: Request, limit: int) -> Reply:
    """Sends a request and reads the reply's head: a `Streamed`, to be closed; of a refusal or a redirect the whole."""
    return await fetch(client, request, limit, Streamed)


async def fetch_patiently(client: "aiohttp.ClientSession", request: Request, limit: int) -> Reply:
    """As `transport.fetch`, for a request whose body may be large: the time of the reply begins when it is sent."""
    reply = await begin(client, request, limit)
    if isinstance(reply, Streamed):
        body = await reply.read(limit, client.timeout.total or None)
        return Reply(reply.status, reply.headers, body, request.url)
    return reply


def _decoded(decoder: codecs.IncrementalDecoder, piece: bytes) -> str | None:
    """None where there is no byte order mark that has to be."""
    try:
        return decoder.decode(piece)
    except UnicodeError:
        return None
