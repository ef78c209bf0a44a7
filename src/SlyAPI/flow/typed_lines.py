"""Lines that the user types or pastes, read without blocking the event loop.

The rule: nothing is read ahead. Where an event loop cannot watch the input, a thread reads it: of Windows' two event
loops one watches nothing, and the other fails at anything but a socket.
"""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import suppress

_LONGEST_LINE = 1 << 16


async def typed_lines(platform: str = sys.platform) -> AsyncGenerator[str, None]:
    """Lines as they are typed or pasted, up to the end of the input; `platform` is `sys.platform`."""
    with suppress(OSError, ValueError, AttributeError):  # a closed stdin, or one that is not a file
        handle, pending = sys.stdin.fileno(), b""
        while len(pending) < _LONGEST_LINE and (chunk := await _chunk(handle, platform)):
            *whole, pending = (pending + chunk).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace").strip()
        if pending:
            yield pending.decode(errors="replace").strip()


async def _chunk(handle: int, platform: str) -> bytes:
    """The next bytes; empty at the end of the input."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[bytes] = loop.create_future()
    if platform == "win32":  # the thread's read of a terminal cannot be cancelled
        threading.Thread(target=_read_for, args=(handle, loop, ready), name="paste", daemon=True).start()
        return await ready
    try:
        loop.add_reader(handle, _set_result, ready, b"")
    except PermissionError:  # epoll: a file, or /dev/null, which is always readable
        await asyncio.sleep(0)
        return os.read(handle, 4096)
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
        # os.read, not sys.stdin: a daemon thread in a buffered reader breaks the interpreter's exit
        chunk = os.read(handle, 4096)
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(_set_result, ready, chunk)
