"""Lines that a person types or pastes while the event loop does other things."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import suppress

_LONGEST_LINE = 1 << 16


async def typed_lines() -> AsyncGenerator[str, None]:
    """Lines as they are typed or pasted, while the event loop does other things; ends with the input.

    Nothing is read ahead: what is typed after the last line that was asked for is the next question's.
    """
    with suppress(OSError, ValueError, AttributeError):  # closed, or no file at all: it has ended
        handle, pending = sys.stdin.fileno(), b""
        while len(pending) < _LONGEST_LINE and (chunk := await _chunk(handle)):
            *whole, pending = (pending + chunk).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace").strip()
        if pending:
            yield pending.decode(errors="replace").strip()


async def _chunk(handle: int) -> bytes:
    """What there is to read, waited for; empty at the end."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[bytes] = loop.create_future()
    try:
        loop.add_reader(handle, _set_result, ready, b"")
    except PermissionError:  # epoll: a file, or /dev/null, which keeps nobody waiting
        await asyncio.sleep(0)
        return os.read(handle, 4096)
    except NotImplementedError:  # Windows: a thread, which nothing can wake from reading a terminal
        threading.Thread(target=_read_for, args=(handle, loop, ready), name="paste", daemon=True).start()
        return await ready
    try:
        await ready
    finally:
        loop.remove_reader(handle)
    return os.read(handle, 4096)


def _set_result(ready: asyncio.Future[bytes], chunk: bytes) -> None:
    if not ready.done():
        ready.set_result(chunk)


def _read_for(handle: int, loop: asyncio.AbstractEventLoop, ready: asyncio.Future[bytes]) -> None:
    chunk = b""
    with suppress(OSError):
        # os.read, not sys.stdin: a daemon thread inside a buffered reader breaks the interpreter's exit
        chunk = os.read(handle, 4096)
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(_set_result, ready, chunk)
