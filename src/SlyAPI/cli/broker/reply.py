"""A reply of the API on its way to the caller: whole and masked, or piece by piece.

The rule: no reply brings a credential, and one that breaks off reaches the caller as broken.
"""

from typing import TYPE_CHECKING

from ...errors import BadReplyError, NetworkError
from ...transport.streaming import Streamed
from .headers import headers_to_caller
from .masked_pieces import Mask, MaskedPieces

if TYPE_CHECKING:
    from aiohttp import web

_WHOLE = 1 << 20
"""Bytes of a reply that are read before they are sent on."""
_UNPACKED = ("", "identity", "gzip", "x-gzip", "deflate")
"""What can be read without a package; identity was asked for."""
_WITHOUT_BODY = (204, 304)


async def pass_on(request: "web.BaseRequest", reply: Streamed, mask: Mask) -> "web.StreamResponse":
    """The answer, sent or ready to be. Raises `BadReplyError` before its first byte; breaks off after it."""
    from aiohttp import web

    has_body = request.method != "HEAD" and reply.status not in _WITHOUT_BODY
    if has_body and reply.headers.get("Content-Encoding", "").strip().lower() not in _UNPACKED:
        raise BadReplyError("The API's reply is in an encoding that was not asked for.")
    begun, ended = await _beginning(reply) if has_body else (b"", True)
    kept = [(name, value) for name, value in reply.headers.items() if name.lower() not in _OF_BODY]
    answer: web.StreamResponse
    if has_body and ended:
        answer = web.Response(status=reply.status, body=_masked_whole(begun, reply.encoding, mask))
    else:
        answer = web.StreamResponse(status=reply.status)
        if reply.size is not None and reply.status not in _WITHOUT_BODY:
            answer.content_length = reply.size
    for name, value in headers_to_caller(kept, mask):
        if name.lower() == "content-type":
            answer.headers[name] = value  # in place of aiohttp's own
        else:
            answer.headers.add(name, value)
    if not ended:
        await answer.prepare(request)
        await _stream(request, answer, reply, begun, mask)
    return answer


async def _stream(
    request: "web.BaseRequest", answer: "web.StreamResponse", reply: Streamed, begun: bytes, mask: Mask
) -> None:
    pieces = MaskedPieces(mask)
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


_OF_BODY = ("content-length", "content-encoding")
"""Headers of the body, which are those of what is sent here."""


async def _beginning(reply: Streamed) -> tuple[bytes, bool]:
    """The beginning of the body, and whether it is all: read where the whole of it can be masked."""
    kind = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    is_json = kind.endswith(("/json", "+json"))
    if not is_json and (not kind.startswith("text/") or reply.size is None):  # an event stream has no size
        return b"", False
    if reply.size is not None:
        return (b"", False) if reply.size > _WHOLE else (await reply.read(_WHOLE), True)
    begun: list[bytes] = []
    size = 0
    async for piece in reply.pieces():
        begun.append(piece)
        size += len(piece)
        if size > _WHOLE:
            return b"".join(begun), False
    return b"".join(begun), True


def _masked_whole(body: bytes, encoding: str, mask: Mask) -> bytes:
    """The body without the secrets in any spelling. Raises `BadReplyError` where only all of it could be hidden."""
    try:
        text = body.decode(encoding)
    except (UnicodeError, LookupError):
        pieces = MaskedPieces(mask)
        return pieces.feed(body) + pieces.end()
    shown = mask.text(text)
    if shown == text:
        return body
    if shown == "***":
        raise BadReplyError("The API's reply repeats a credential in another spelling.")
    return shown.encode(encoding, "replace")
