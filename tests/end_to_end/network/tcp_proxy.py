"""A TCP proxy that can be told to pass, stall, cut or refuse: what networks do to a connection.

The rule: it neither reads nor changes what goes through, and its port stays the same.
"""
from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress


class TcpProxy:
    """Between whoever connects to `port`, on the machine on which `listen` makes sockets, and the server at `to`."""

    def __init__(self, to: int, listen: Callable[[int], socket.socket], port: int) -> None:
        self.to = to
        self.port = port
        self._listen = listen
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def passes(self) -> None:
        """From now on everything goes through, also what was held back."""
        if self._server is None:
            self._server = await asyncio.start_server(self._meet, sock=self._listen(self.port))
            self.port = self._server.sockets[0].getsockname()[1]
        self._flows.set()

    def stalls(self) -> None:
        """Connections stay open and new ones are taken, and nothing goes through them."""
        self._flows.clear()

    def cuts(self) -> None:
        """Every connection breaks, in the midst of what it carries; new ones are taken."""
        for writer in self._writers:
            writer.transport.abort()

    async def refuses(self) -> None:
        """Every connection breaks, and new ones are refused."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cuts()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            await self._flows.wait()
            far_reader, far = await asyncio.open_connection("127.0.0.1", self.to)
            self._writers.add(far)
            await asyncio.gather(self._carry(reader, far), self._carry(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # one side is gone, so the other goes too
        finally:
            for each in (writer, far):
                if each is not None:
                    self._writers.discard(each)
                    each.transport.abort()
            self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flows.wait()
            writer.write(data)
            await writer.drain()
        await self._flows.wait()
        with suppress(OSError):
            writer.write_eof()

    async def close(self) -> None:
        await self.refuses()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def tcp_proxy(
    to: int, listen: Callable[[int], socket.socket], port: int = 0
) -> AsyncGenerator[TcpProxy, None]:
    """A proxy to a port of ours, on a `port` of another machine or any free one; it passes."""
    proxy = TcpProxy(to, listen, port)
    await proxy.passes()
    try:
        yield proxy
    finally:
        await proxy.close()
