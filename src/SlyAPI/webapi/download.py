"""A reply's body into a file: whole or not at all under its name, and continued where an earlier one broke off.

The rule: what was received counts only as the beginning of what is there now, by a validator that says so (RFC 9110
§13.1.5); a file gets its name when it is complete, on disk.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from email.utils import parsedate_to_datetime
from pathlib import Path

from ..errors import ApiError, BadReplyError, NetworkError, SlyError
from ..transport.bodies import Progress, Total
from ..transport.streaming import Streamed
from .part_file import Mark, PartFile

Open = Callable[[Mapping[str, str]], AbstractAsyncContextManager[Streamed]]
"""Asks for the body, with these headers."""
LONGEST_PAUSE = 30.0
"""Seconds between two tries, at most."""
_IDENTITY = {"Accept-Encoding": "identity"}  # a range of packed bytes is no range of the file
_SURE_AFTER = 60.0
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


class _OtherBodyError(Exception):
    """The server has another body than the one that was begun, or cannot continue it."""


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
    """The path of the file with the body in it. `key` stands for the request: what another one began is not continued.

    `tries`: how often to ask in all, while failures are transient. `limit` in bytes. Raises `SaveError`
    where the file cannot be written, `BadReplyError` for a body that is too large or no file, and what
    `open_reply` raises; `target` is then as it was.
    """
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
    """Seconds before the next try; None where there should be none."""
    if error.kind != "transient" or (error.retry_after or 0) > LONGEST_PAUSE:
        return None
    if error.retry_after is not None:
        return error.retry_after
    return 0.0 if got_further else min(LONGEST_PAUSE, 0.5 * 2.0**tried)


async def _once(
    open_reply: Open, part: PartFile, limit: int | None, progress: Progress | None, total: Total | None
) -> None:
    """One request for what is missing; a second one for all of it where that cannot be continued."""
    part.leave_one_to_ask_for()
    if part.size:
        going_on = {**_IDENTITY, "Range": f"bytes={part.size}-", "If-Range": part.mark.validator}
        try:
            async with open_reply(going_on) as reply:
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
    """Raises `_OtherBodyError` for a 206 (RFC 9110 §15.3.7) that does not begin where the part ends."""
    if reply.status != 206:
        return
    mark = part.mark
    told = _RANGE.fullmatch(reply.headers.get("Content-Range", ""))
    if told is None or int(told[1]) != part.size or reply.packed:
        raise _OtherBodyError
    whole = mark.size if told[3] == "*" else int(told[3])
    named = reply.headers.get("ETag" if mark.validator.startswith('"') else "Last-Modified", mark.validator)
    if named != mark.validator or mark.size not in (None, whole):
        raise _OtherBodyError
    part.mark = Mark(mark.validator, whole)


async def _receive(
    reply: Streamed, part: PartFile, limit: int | None, progress: Progress | None, total: Total | None
) -> None:
    if reply.status == 206 and not part.size:
        raise _no_file(reply, "a part of a body, which nobody asked for")
    if reply.status not in (200, 203, 206):
        raise _no_file(reply, f"HTTP {reply.status}, which is no file")
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
        del piece  # so that no traceback shows what a server echoed
    _check_whole(reply, part)


def _check_whole(reply: Streamed, part: PartFile) -> None:
    size = part.mark.size
    if size is None or part.size == size:
        return
    if part.size > size:
        part.forget()
        raise _no_file(reply, f"more than the {size} bytes that it announced")
    raise NetworkError(f"GET {reply.url}: the body ended after {part.size} of {size} bytes.", next_step="Try again.")


def _too_large(reply: Streamed, part: PartFile, limit: int) -> BadReplyError:
    part.forget()
    return BadReplyError(f"GET {reply.url}: the file is larger than {limit} bytes.", kind="permanent")


def _no_file(reply: Streamed, what: str) -> BadReplyError:
    return BadReplyError(f"GET {reply.url} was answered with {what}.", kind="permanent")


def _validator(reply: Streamed) -> str:
    """What tells this body from every other of its address (RFC 9110 §8.8); empty where nothing does for sure."""
    headers = reply.headers
    if reply.packed or headers.get("Accept-Ranges", "").strip().lower() == "none":
        return ""
    etag = headers.get("ETag", "")
    if etag:
        return etag if re.fullmatch(r'"[\x21\x23-\x7e]{0,500}"', etag) else ""
    try:
        changed, date = (parsedate_to_datetime(headers[name]) for name in ("Last-Modified", "Date"))
        # changed within the second that it was sent in, it may change again under the same time
        sure = (date - changed).total_seconds() >= _SURE_AFTER
    except (KeyError, ValueError, TypeError, OverflowError):
        return ""
    return headers["Last-Modified"] if sure else ""
