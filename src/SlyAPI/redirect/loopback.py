"""Listens on the loopback interface for the browser's redirect (RFC 8252 §7.3).

The rule: IO only, no OAuth. Here a redirect only has to be a GET on our path with our Host; the caller checks state,
issuer and code.
"""
from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from types import TracebackType

from .loopback_address import Address, linger, listening_sockets
from .loopback_http import Head, Refusal, page, read_head, refusal_page, response, waiting_page

__all__ = ["Loopback", "Redirect", "page"]

_MAX_PAGES = 64
_SEND_SECONDS = 10.0
_CLOSE_SECONDS = 0.25
_PAUSE_SECONDS = 0.1


class Redirect:
    """One redirect of a browser; `query` is its raw query string, hidden from `repr` because it contains the code."""

    def __init__(self, query: str, loopback: Loopback) -> None:
        self.query = query
        self._loopback = loopback
        self.location: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Event = asyncio.Event()

    def __repr__(self) -> str:
        return "<Redirect>"

    async def answer(self, status: int, html: str) -> None:
        """Shows `html` in this browser; only the first answer counts, and a closed connection is not an error.

        The browser is first sent to a path without a query (303), so that the code leaves address bar and history.
        """
        if not self.location.done() and not self.ended.is_set():
            self.location.set_result(self._loopback.keep_page(status, html))
        await self.ended.wait()


class Loopback:
    """A listener for redirects to `redirect_uri`, which is byte for byte as given except that port 0 is replaced.

    `head_seconds`: how long a connection may take to send its request. `max_connections` and `max_unanswered`
    limit how many connections and unanswered redirects are kept.
    """

    def __init__(self, address: Address) -> None:
        self.redirect_uri: str = address.redirect_uri
        self.head_seconds: float = 10.0
        self.max_connections = 512
        self.max_unanswered = 64
        self._address = address
        self._listening: dict[socket.socket, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading: dict[asyncio.Task[None], None] = {}
        self._unanswered: set[Redirect] = set()
        self._received: asyncio.Queue[Redirect | None] = asyncio.Queue()
        self._pages: dict[str, tuple[int, str]] = {}
        self._pending_pages: dict[str, asyncio.Event] = {}
        self._closed = False

    @classmethod
    async def open(cls, redirect_uri: str, *, port: int | None = None, bind: str | None = None) -> Loopback:
        """Listens for redirects to `redirect_uri`; `port` and `bind` change only where it listens.

        Port 0 is any free port. Raises `ConfigError` for a URI that is not http on a loopback host,
        `ListenError` where the port is in use or the address is not one of this machine.
        """
        address = Address.of(redirect_uri)
        sockets = listening_sockets(address, port, bind)
        if not address.port:
            address = address.with_port(sockets[0].getsockname()[1])
        loopback = cls(address)
        for sock in sockets:
            loopback._listening[sock] = asyncio.create_task(loopback._listen(sock))
        return loopback

    async def redirects(self) -> AsyncGenerator[Redirect, None]:
        """Each redirect in order of arrival; ends when the listener is closed. Cancelling loses none of them."""
        while (redirect := await self._received.get()) is not None:
            yield redirect
        self._received.put_nowait(None)  # for every other iterator

    def keep_page(self, status: int, html: str) -> str:
        """The unguessable path that serves this page from now on."""
        path = f"/done/{secrets.token_urlsafe(16)}"
        self._pages[path] = (status, html)
        self._pending_pages[path] = asyncio.Event()
        if len(self._pages) > _MAX_PAGES:
            oldest = next(iter(self._pages))
            del self._pages[oldest]
            self._page_done(oldest)
        return path

    async def close(self, linger: float = 2.0) -> None:
        """Stops listening, after up to `linger` seconds in which answered browsers fetch their pages."""
        try:
            if linger and not self._closed:
                with suppress(TimeoutError):
                    async with asyncio.timeout(linger):
                        late = page("Too late", "The program no longer waits for this sign-in.", ok=False)
                        for redirect in tuple(self._unanswered):
                            await redirect.answer(503, late)
                        for pending in tuple(self._pending_pages.values()):
                            await pending.wait()
        finally:
            self._stop()
        await asyncio.wait({*self._tasks, *self._listening.values()})

    async def __aenter__(self) -> Loopback:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A failed sign-in still has a page to show; after Ctrl-C nothing is waited for.
        await self.close(2.0 if error is None or isinstance(error, Exception) else 0.0)

    def _stop(self) -> None:
        """Frees the port at once: without an await, no cancellation can interrupt it."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        proactor = isinstance(loop, getattr(asyncio, "ProactorEventLoop", ()))
        for sock, task in self._listening.items():
            if proactor:  # closing the socket first would end its accept with an error that nobody retrieves
                task.cancel()
                task.add_done_callback(partial(_close, sock))
                continue
            loop.remove_reader(sock)
            sock.close()
            # Not at once: a connection accepted just now would stay open.
            loop.call_soon(task.cancel)
        for task in self._tasks:
            task.cancel()
        self._received.put_nowait(None)

    async def _listen(self, sock: socket.socket) -> None:
        """Accepts connections; not `asyncio.start_server`, which leaks one when closed while accepting."""
        while not self._closed:
            try:
                connection, _ = await asyncio.get_running_loop().sock_accept(sock)
            except OSError:  # the connection is closed already, or there is no free file descriptor
                if not self._drop_oldest():
                    await asyncio.sleep(_PAUSE_SECONDS)
            else:
                self._accept(connection)
            await asyncio.sleep(0)  # a flood of connections must not block the event loop, and what is dropped ends

    def _accept(self, connection: socket.socket) -> None:
        """Serves a new connection in its own task."""
        if self._closed or (len(self._tasks) >= self.max_connections and not self._drop_oldest()):
            connection.close()
            return
        task = asyncio.create_task(self._serve_connection(connection))
        self._tasks.add(task)
        self._reading[task] = None
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before its first step does not run its `finally`.
        task.add_done_callback(lambda _: connection.close())

    def _drop_oldest(self) -> bool:
        """Closes the oldest connection that has not sent its request yet; False if there is none."""
        oldest = next(iter(self._reading), None)
        if oldest is None:
            return False
        del self._reading[oldest]
        return oldest.cancel()

    async def _serve_connection(self, connection: socket.socket) -> None:
        """Serves one connection; that it breaks is not an error."""
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
            served = ""
            try:
                head = await self._head(reader)
                if head is not None:
                    served = await self._reply(head, writer)
                    await _until_closed(reader)
            finally:
                self._page_done(served)
                writer.transport.abort()
                await writer.wait_closed()

    async def _head(self, reader: asyncio.StreamReader) -> Head | Refusal | None:
        """The request's head; None if the connection ended or timed out before, as a browser's preconnection does."""
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
        """Answers one request; gives the path of the kept page that was served, or ""."""
        status, html, served = 200, "", ""
        match head:
            case Refusal():
                status = head.status
            case Head() if head.host.lower() not in self._address.hosts:
                status = 421  # DNS rebinding: another site's name that resolves to this machine
            case Head() if head.method != "GET":
                status = 405
            case Head() if head.path in self._pages:
                (status, html), served = self._pages[head.path], head.path
            case Head() if head.path != self._address.path:
                status = 404
            case Head() if not head.query:
                html = waiting_page()
            case Head() if head.prefetch or len(self._unanswered) >= self.max_unanswered:
                status = 503  # the browser repeats a prefetched request when the user follows it
            case Head():
                await self._redirected(head.query, writer)
                return ""
        head_only = isinstance(head, Head) and head.method == "HEAD"
        await _send(writer, response(status, html or refusal_page(status), head_only=head_only))
        return served

    async def _redirected(self, query: str, writer: asyncio.StreamWriter) -> None:
        """Passes a redirect on, and sends its browser to the page of the answer."""
        redirect = Redirect(query, self)
        self._unanswered.add(redirect)
        self._received.put_nowait(redirect)
        try:
            location = await redirect.location
            try:
                await _send(writer, response(303, "", location=location))
            except OSError:
                self._page_done(location)  # the browser is gone and never fetches it
                raise
        finally:
            self._unanswered.discard(redirect)
            redirect.ended.set()

    def _page_done(self, path: str) -> None:
        if path in self._pending_pages:
            self._pending_pages.pop(path).set()


def _close(sock: socket.socket, _: object) -> None:
    sock.close()


async def _send(writer: asyncio.StreamWriter, raw: bytes) -> None:
    with suppress(OSError):  # a reset would drop the answer (`loopback_address._listen`)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger(False))
    async with asyncio.timeout(_SEND_SECONDS):
        writer.write(raw)
        await writer.drain()


async def _until_closed(reader: asyncio.StreamReader) -> None:
    """Lets the browser close first: it then has the whole answer, and no TIME_WAIT of ours holds the port."""
    async with asyncio.timeout(_CLOSE_SECONDS):
        while await reader.read(4096):
            pass
