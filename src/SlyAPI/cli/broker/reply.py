"""A reply of the API on its way to the caller: whole and masked, or piece by piece.

The rule: no reply brings a credential, and one that breaks off reaches the caller as broken.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...errors import BadReplyError, NetworkError
from ...transport.streaming import Streamed
from ...web.masking import masked
from .headers import headers_to_caller
from .masked_pieces import MaskedPieces

if TYPE_CHECKING:
    from aiohttp import web

_WHOLE = 1 << 20
"""Bytes of a reply that are read before they are sent on."""
_UNPACKED = ("", "identity", "gzip", "x-gzip", "deflate")
"""What can be read without a package; identity was asked for."""
_WITHOUT_BODY = (204, 304)


async def pass_on(request: "web.BaseRequest", reply: Streamed, secrets: Iterable[str]) -> "web.StreamResponse":
    """The answer, sent. Raises `BadReplyError` before its first byte; breaks the connection off after it."""
    from aiohttp import web

    encoding = reply.headers.get("Content-Encoding", "").strip().lower()
    kept = [(name, value) for name, value in reply.headers.items() if name.lower() not in _OWN]
    answer = web.StreamResponse(status=reply.status)
    for name, value in headers_to_caller(kept, secrets):
        answer.headers.add(name, value)
    if request.method == "HEAD" or reply.status in _WITHOUT_BODY:
        if request.method == "HEAD" and reply.size is not None:
            answer.content_length = reply.size
        await answer.prepare(request)
        await answer.write_eof()
        return answer
    if encoding not in _UNPACKED:
        raise BadReplyError("The API's reply is in an encoding that was not asked for.")
    begun, ended = await _beginning(reply)
    pieces = MaskedPieces(secrets)
    if ended:
        body = _masked_whole(begun, reply.encoding, secrets)
        answer.content_length = len(body)
        await answer.prepare(request)
        await answer.write(body)
        await answer.write_eof()
        return answer
    if reply.size is not None:
        answer.content_length = reply.size
    await answer.prepare(request)
    try:
        if ready := pieces.feed(begun):
            await answer.write(ready)
        async for piece in reply.pieces():
            if ready := pieces.feed(piece):
                await answer.write(ready)
    except (NetworkError, BadReplyError):
        if request.transport is not None:
            request.transport.abort()
        raise
    await answer.write(pieces.end())
    await answer.write_eof()
    return answer


_OWN = ("content-length", "content-encoding")
"""Headers of the body as it is sent here."""


async def _beginning(reply: Streamed) -> tuple[bytes, bool]:
    """The beginning of the body, and whether it is all: read where the whole of it can be masked."""
    kind = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    is_json = kind.endswith(("/json", "+json"))
    if not is_json and (not kind.startswith("text/") or reply.size is None):  # an event stream has no size
        return b"", False
    if (reply.size or 0) > _WHOLE:
        return b"", False
    begun: list[bytes] = []
    size = 0
    async for piece in reply.pieces():
        begun.append(piece)
        size += len(piece)
        if size > _WHOLE:
            return b"".join(begun), False
    return b"".join(begun), True


def _masked_whole(body: bytes, encoding: str, secrets: Iterable[str]) -> bytes:
    """The body without the secrets in any spelling. Raises `BadReplyError` where only all of it could be hidden."""
    try:
        text = body.decode(encoding)
    except (UnicodeError, LookupError):
        pieces = MaskedPieces(secrets)
        return pieces.feed(body) + pieces.end()
    shown = masked(text, secrets)
    if shown == text:
        return body
    if shown == "***":
        raise BadReplyError("The API's reply repeats a credential in another spelling.")
    return shown.encode(encoding, "replace")
