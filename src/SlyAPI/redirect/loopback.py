"""RFC 8252 §7.3: wait on the loopback interface for one browser redirect.

The rule: IO only. It knows no OAuth: whether a redirect is the answer that is waited for (state, iss, code)
is the caller's to say; here it only has to be a GET, on our path, with our Host.
"""
from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType

from .loopback_address import Address, linger, listening_sockets
from .loopback_http import Head, Refusal, page, read_head, refusal_page, response, waiting_page

__all__ = ["Arrival", "Loopback", "page"]

_MOST_CONNECTIONS = 512
_MOST_UNANSWERED = 64
_MOST_PAGES = 64
_SEND_SECONDS = 10.0
_CLOSE_SECONDS = 0.25
_PAUSE_SECONDS = 0.1


class Arrival:
    """One redirect of a browser; `query` is its raw query string, not printed, for it holds the code."""

    def __init__(self, query: str, owner: Loopback) -> None:
        self.query = query
        self._owner = owner
        self.location: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.gone = asyncio.Event()

    def __repr__(self) -> str:
        return "<Arrival>"

    async def answer(self, status: int, html: str) -> None:
        """Show `html` to this browser; the first answer counts, and a browser that went away is no error.

        It is sent to a path without a query first (303), so that the code leaves the address bar and history.
        """
        if not self.location.done() and not self.gone.is_set():
            self.location.set_result(self._owner.keep_page(status, html))
        await self.gone.wait()


class Loopback:
    """A listener for the redirect to `redirect_uri`: byte for byte as given, but port 0 is the real port.

    `head_seconds`: how long a connection may take to say what it wants.
    """

    def __init__(self, address: Address) -> None:
        self.redirect_uri = address.redirect_uri
        self.head_seconds = 10.0
        self._address = address
        self._listening: dict[socket.socket, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading: dict[asyncio.Task[None], None] = {}
        self._unanswered: set[Arrival] = set()
        self._arrived: asyncio.Queue[Arrival | None] = asyncio.Queue()
        self._pages: dict[str, tuple[int, str]] = {}
        self._owed: set[str] = set()
        self._nothing_owed = asyncio.Event()
        self._nothing_owed.set()
        self._shut = False

    @classmethod
    async def open(cls, redirect_uri: str, *, port: int | None = None, bind: str | None = None) -> Loopback:
        """Listen for redirects to `redirect_uri`; `port` and `bind` change where, not what is redirected to.

        Port 0 is any free one. Raises `ConfigError` for a URI that is not http on a loopback host,
        `ListenError` where the port is taken or the address is not ours.
        """
        address = Address.of(redirect_uri)
        sockets = listening_sockets(address, port, bind)
        if address.port == 0:
            address = address.with_port(sockets[0].getsockname()[1])
        loopback = cls(address)
        for sock in sockets:
            loopback._listening[sock] = asyncio.create_task(loopback._listen(sock))
        return loopback

    def arrivals(self) -> AsyncIterator[Arrival]:
        """Each acceptable redirect in order of arrival; ends when the listener is closed.

        A cancelled `anext` loses nothing: ask again.
        """
        return _Arrivals(self._arrived)

    def keep_page(self, status: int, html: str) -> str:
        """The path that serves this page from now on; only the browser that is told it can know it."""
        path = f"/done/{secrets.token_urlsafe(16)}"
        self._pages[path] = (status, html)
        if len(self._pages) > _MOST_PAGES:
            oldest = next(iter(self._pages))
            del self._pages[oldest]
            self._fetched(oldest)
        self._owed.add(path)
        self._nothing_owed.clear()
        return path

    async def close(self, linger: float = 2.0) -> None:
        """Stop listening; the port is free on return.

        Waits up to `linger` seconds for the browsers that were answered to get their pages.
        """
        try:
            if linger > 0 and not self._shut:
                with suppress(TimeoutError):
                    async with asyncio.timeout(linger):
                        late = page("Too late", "The program no longer waits for this sign-in.", ok=False)
                        for arrival in tuple(self._unanswered):
                            await arrival.answer(503, late)
                        await self._nothing_owed.wait()
        finally:
            self._stop()
        await asyncio.wait({*self._tasks, *self._listening.values()})

    async def __aenter__(self) -> Loopback:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A failed sign-in still has a page to show; Ctrl-C waits for nobody.
        await self.close(2.0 if error is None or isinstance(error, Exception) else 0.0)

    def _stop(self) -> None:
        """Free the port now: nothing is awaited, so that no cancellation can come between."""
        if self._shut:
            return
        self._shut = True
        loop = asyncio.get_running_loop()
        for sock, task in self._listening.items():
            with suppress(NotImplementedError):  # Windows: its loop has no readers
                loop.remove_reader(sock)
            sock.close()
            # Not at once: a connection that was accepted just now would be lost open.
            loop.call_soon(task.cancel)
        for task in self._tasks:
            task.cancel()
        self._arrived.put_nowait(None)

    async def _listen(self, sock: socket.socket) -> None:
        """Accept connections for good; not `asyncio.start_server`, which leaves a connection open if it is
        closed in the moment of accepting it, and logs when there are too many."""
        while not self._shut:
            try:
                connection, _ = await asyncio.get_running_loop().sock_accept(sock)
            except OSError:  # gone already, or no file descriptor is left
                await asyncio.sleep(0 if self._drop_oldest() else _PAUSE_SECONDS)
            else:
                self._accept(connection)
                await asyncio.sleep(0)  # a flood of them must not keep everything else waiting

    def _accept(self, connection: socket.socket) -> None:
        """Give a new connection a task of its own."""
        if self._shut or (len(self._tasks) >= _MOST_CONNECTIONS and not self._drop_oldest()):
            return connection.close()
        task = asyncio.create_task(self._converse(connection))
        self._tasks.add(task)
        self._reading[task] = None
        task.add_done_callback(self._tasks.discard)
        # Also where the task was cancelled before its first step, which runs no `finally` of its own.
        task.add_done_callback(lambda _: connection.close())
        return None

    def _drop_oldest(self) -> bool:
        """Make room: the oldest connection goes that has not said yet what it wants, if there is one."""
        oldest = next(iter(self._reading), None)
        if oldest is None:
            return False
        del self._reading[oldest]
        return oldest.cancel()

    async def _converse(self, connection: socket.socket) -> None:
        """One connection from its head to its end; a stranger's broken connection is nobody's error."""
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
            served = ""
            try:
                head = await self._head(reader)
                if head is not None:
                    served = await self._reply(head, writer)
                    await _until_closed(reader)
            finally:
                self._fetched(served)
                writer.transport.abort()
                await writer.wait_closed()

    async def _head(self, reader: asyncio.StreamReader) -> Head | Refusal | None:
        """The request's head; None for a connection that ended, or took too long, before it was whole.

        A browser's idle preconnection ends here too, in silence: it asked for nothing yet.
        """
        raw, head = b"", None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.head_seconds):
                    while head is None and (chunk := await reader.read(4096)):
                        raw += chunk
                        head = read_head(raw)
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._reading.pop(task, None)
        return head

    async def _reply(self, head: Head | Refusal, writer: asyncio.StreamWriter) -> str:
        """Answer one request; the path of the page that was kept for this browser, or ""."""
        status, html, kept = 200, "", ""
        match head:
            case Refusal():
                status = head.status
            case Head() if head.host.lower() not in self._address.hosts:
                status = 421  # DNS rebinding: another site's name that leads here
            case Head() if head.method != "GET":
                status = 405
            case Head() if head.path in self._pages:
                (status, html), kept = self._pages[head.path], head.path
            case Head() if head.path != self._address.path:
                status = 404
            case Head() if not head.query:
                html = waiting_page()
            case Head() if head.prefetch or len(self._unanswered) >= _MOST_UNANSWERED:
                status = 503  # of a prefetch: the browser asks again when the person really goes there
            case Head():
                await self._redirected(head.query, writer)
                return ""
        head_only = isinstance(head, Head) and head.method == "HEAD"
        await _send(writer, response(status, html or refusal_page(status), head_only=head_only))
        return kept

    async def _redirected(self, query: str, writer: asyncio.StreamWriter) -> None:
        """Hand a redirect to whoever waits for it, and send its browser where the answer says."""
        arrival = Arrival(query, self)
        self._unanswered.add(arrival)
        self._arrived.put_nowait(arrival)
        try:
            location = await arrival.location
            try:
                await _send(writer, response(303, "", location=location))
            except OSError:
                self._fetched(location)  # by nobody: its browser is gone
                raise
        finally:
            self._unanswered.discard(arrival)
            arrival.gone.set()

    def _fetched(self, path: str) -> None:
        self._owed.discard(path)
        if not self._owed:
            self._nothing_owed.set()


class _Arrivals:
    """An iterator, not a generator: a generator would be over after a cancelled `anext`."""

    def __init__(self, arrived: asyncio.Queue[Arrival | None]) -> None:
        self._arrived = arrived

    def __aiter__(self) -> AsyncIterator[Arrival]:
        return self

    async def __anext__(self) -> Arrival:
        arrival = await self._arrived.get()
        if arrival is None:
            self._arrived.put_nowait(None)  # for every other iterator, and this one's next question
            raise StopAsyncIteration
        return arrival


async def _send(writer: asyncio.StreamWriter, raw: bytes) -> None:
    with suppress(OSError):  # what was answered must not be lost by a reset (`loopback_address._listen`)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger(False))
    async with asyncio.timeout(_SEND_SECONDS):
        writer.write(raw)
        await writer.drain()


async def _until_closed(reader: asyncio.StreamReader) -> None:
    """Let the browser close first: it then has the whole answer, and the port keeps no TIME_WAIT of ours."""
    async with asyncio.timeout(_CLOSE_SECONDS):
        while await reader.read(4096):
            pass
