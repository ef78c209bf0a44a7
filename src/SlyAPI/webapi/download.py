"""Downloads a reply's body into a file, complete or not at all, and continues an interrupted download.

The rule: a part is continued only if a validator proves that the server's body is the same (RFC 9110 §13.1.5); a file
gets its name when it is complete on disk.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from email.utils import parsedate_to_datetime
from pathlib import Path

from ..errors import ApiError, BadReplyError, ConfigError, NetworkError, SlyError
from ..transport.bodies import Progress, Total
from ..transport.streaming import Streamed
from .part_file import Mark, PartFile

Open = Callable[[Mapping[str, str]], AbstractAsyncContextManager[Streamed]]
"""Requests the body, with these headers."""
LONGEST_PAUSE = 30.0
"""Seconds between two tries, at most."""
_IDENTITY = {"Accept-Encoding": "identity"}  # a range of compressed bytes is not a range of the file
_STRONG_AFTER = 60.0
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


class _OtherBodyError(Exception):
    """The server's body has changed, or it cannot continue it."""


async def download(
    open_reply: Open,
    target: str | os.PathLike[str],
    key: str,
    *,
    tries: int = 1,
    limit: int | None = None,
    progress: Progress | None = None,
    total: Total | None = None,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Path:
    """The path of the complete file. `key` identifies the request: a part of another one is not continued.

    `tries`: requests in all, while failures are transient. `limit` in bytes. Raises `SaveError` if the file
    cannot be written, `BadReplyError` for a body that is too large or not a file, and what `open_reply`
    raises; `target` is then unchanged.
    """
    if tries < 1:  # what there is of the part would count as the file
        raise ConfigError("A download needs tries >= 1.")
    with PartFile(target, key) as part:
        for tried in range(1, tries + 1):
            before = part.size
            try:
                await _once(open_reply, part, limit, progress, total)
                break
            except SlyError as error:
                wait = _wait(error, tried, part.size > before)
                if tried >= tries or wait is None:
                    raise
            await pause(wait)
        return await part.finish()


def _wait(error: SlyError, tried: int, got_further: bool) -> float | None:
    """Seconds before the next try; None for no further try."""
    if error.kind != "transient" or (error.retry_after or 0) > LONGEST_PAUSE:
        return None
    if error.retry_after is not None:
        return error.retry_after
    return 0.0 if got_further else min(LONGEST_PAUSE, 0.5 * 2.0**tried)


async def _once(
    open_reply: Open, part: PartFile, limit: int | None, progress: Progress | None, total: Total | None
) -> None:
    """One request for what is missing; a second one for all of it if the part cannot be continued."""
    part.keep_one_byte_missing()
    if part.size:
        resume = {**_IDENTITY, "Range": f"bytes={part.size}-", "If-Range": part.mark.validator}
        try:
            async with open_reply(resume) as reply:
                _check_continues(reply, part)
                return await _receive(reply, part, limit, progress, total)
        except _OtherBodyError:
            pass
        except ApiError as error:
            if error.status not in (412, 416):
                raise
    part.forget()
    async with open_reply(_IDENTITY) as reply:
        await _receive(reply, part, limit, progress, total)


def _check_continues(reply: Streamed, part: PartFile) -> None:
    """Raises `_OtherBodyError` for a 206 (RFC 9110 §15.3.7) that does not lead from the part to the body's end."""
    if reply.status != 206:
        return
    mark = part.mark
    sent = _RANGE.fullmatch(reply.headers.get("Content-Range", ""))
    if sent is None or int(sent[1]) != part.size or reply.packed:
        raise _OtherBodyError
    whole = mark.size if sent[3] == "*" else int(sent[3])
    named = reply.headers.get("ETag" if mark.validator.startswith('"') else "Last-Modified", mark.validator)
    if named != mark.validator or whole is None or mark.size not in (None, whole):
        raise _OtherBodyError  # without its size nobody knows whether it is complete
    part.mark = Mark(mark.validator, whole)


async def _receive(
    reply: Streamed, part: PartFile, limit: int | None, progress: Progress | None, total: Total | None
) -> None:
    if reply.status == 206 and not part.size:
        raise _not_a_file(reply, "a part of a body, although the request was for all of it")
    if reply.status not in (200, 203, 206):
        raise _not_a_file(reply, f"HTTP {reply.status}, which is not a file")
    if reply.status != 206:
        part.begin(Mark(_validator(reply), reply.size))
    size = part.mark.size
    if limit is not None and size is not None and size > limit:
        raise _too_large(reply, part, limit)
    if total is not None:
        total(size)
    if progress is not None and part.size:
        progress(part.size)
    async for piece in reply:
        if limit is not None and part.size + len(piece) > limit:
            raise _too_large(reply, part, limit)
        part.write(piece)
        if progress is not None:
            progress(len(piece))
    _check_whole(reply, part)


def _check_whole(reply: Streamed, part: PartFile) -> None:
    size = part.mark.size
    if size is None or part.size == size:
        return
    if part.size > size:
        part.forget()
        raise _not_a_file(reply, f"more than the announced {size} bytes")
    raise NetworkError(f"GET {reply.url}: the body ended after {part.size} of {size} bytes.", next_step="Try again.")


def _too_large(reply: Streamed, part: PartFile, limit: int) -> BadReplyError:
    part.forget()
    return BadReplyError(f"GET {reply.url}: the file is larger than {limit} bytes.", kind="permanent")


def _not_a_file(reply: Streamed, what: str) -> BadReplyError:
    return BadReplyError(f"GET {reply.url} was answered with {what}.", kind="permanent")


def _validator(reply: Streamed) -> str:
    """The strong validator of this body (RFC 9110 §8.8); empty without one."""
    headers = reply.headers
    if reply.packed or headers.get("Accept-Ranges", "").strip().lower() == "none":
        return ""
    etag = headers.get("ETag", "")
    if etag:
        return etag if re.fullmatch(r'"[\x21\x23-\x7e]{0,500}"', etag) else ""
    try:
        changed, date = (parsedate_to_datetime(headers[name]) for name in ("Last-Modified", "Date"))
        # RFC 9110 §8.8.2.2: a recent change may be followed by another within the same second
        strong = (date - changed).total_seconds() >= _STRONG_AFTER
    except (KeyError, ValueError, TypeError, OverflowError):
        return ""
    return headers["Last-Modified"] if strong else ""
