"""Answers that are read as they come: bytes, lines, their end, and what breaks them."""
from __future__ import annotations

import asyncio
import gzip
import io
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from SlyAPI import ApiError, Auth, HeaderApiKey, WebAPI
from SlyAPI.errors import BadReplyError, ConfigError, NetworkError, OriginError, RequestTimeoutError

if TYPE_CHECKING:
    from tests.conftest import Practise, Serve, Server
    from tests.support.serving import Handler


def api_of(server: Server, auth: Auth | None = None, **more: Any) -> WebAPI:
    api = WebAPI(auth or Auth.none(), **more)
    api.base_url = server.origin
    return api


def sending(*pieces: bytes, end: bool = True, **headers: str) -> Any:
    """Sends the pieces one by one; without an `end` the connection breaks behind them."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={name.replace("_", "-"): value for name, value in headers.items()})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        if not end and request.transport is not None:
            request.transport.close()
        return response

    return handler


async def test_bytes_come_as_they_are_sent_with_status_and_headers_before_them(serve: Serve) -> None:
    server = await serve(sending(b"a" * 100_000, b"b", X_Kind="k", Content_Length="100001"))
    async with api_of(server).stream("/x", {"q": 1}, headers={"Accept": "x/y"}) as reply:
        assert (reply.status, reply.headers["X-Kind"], reply.size) == (200, "k", 100_001)
        assert b"".join([piece async for piece in reply]) == b"a" * 100_000 + b"b"
    assert (server.last.method, server.last.query, server.last.headers["Accept"]) == ("GET", [("q", "1")], "x/y")


@pytest.mark.parametrize("method", ["", " ", "GET ", "G ET", "GET /other", "G\r\nX-Own: 1", "G\0", "GÉT"], ids=ascii)
async def test_what_is_not_a_method_is_our_error_before_anything_is_sent(serve: Serve, method: str) -> None:
    server = await serve(sending(b"data: 1\n"))
    with pytest.raises(ConfigError):
        async with api_of(server).stream("/x", method=method):
            pass
    assert server.seen == []


async def test_a_stream_may_be_asked_for_with_a_body(serve: Serve) -> None:
    server = await serve(sending(b"data: 1\n"))
    async with api_of(server).stream("/x", method="post", json={"ask": "?"}) as reply:
        assert [line async for line in reply.lines()] == ["data: 1"]
    assert (server.last.method, server.last.json) == ("POST", {"ask": "?"})


@pytest.mark.parametrize(
    ("pieces", "kind", "lines"),
    [
        ([b"one\ntw", b"o\r\n\nthree"], "text/plain", ["one", "two", "", "three"]),
        ([], "text/plain", []),
        ([b"\n"], "text/plain", [""]),
        (["\ufeffü".encode()[:4], "ü".encode()[1:] + b"\n"], "text/plain", ["ü"]),
        ([b"\xfc\n"], "text/plain; charset=latin-1", ["ü"]),
        (["a\nü".encode("utf-16")[:5], "a\nü".encode("utf-16")[5:]], "text/plain; charset=utf-16", ["a", "ü"]),
        ([b"\xff\xfe\n"], "text/plain", ["\ufffd\ufffd"]),
        ([b"a\x0bb\x85c\n"], "text/plain; charset=latin-1", ["a\x0bb\x85c"]),
    ],
)
async def test_lines_are_whole_however_they_are_cut(
    serve: Serve, pieces: list[bytes], kind: str, lines: list[str]
) -> None:
    async with api_of(await serve(sending(*pieces, Content_Type=kind))).stream("/x") as reply:
        assert [line async for line in reply.lines()] == lines


async def test_a_line_without_end_is_an_error(serve: Serve) -> None:
    async with api_of(await serve(sending(*[b"x" * 100_000] * 20))).stream("/x") as reply:
        with pytest.raises(BadReplyError, match="line is longer"):
            await anext(reply.lines())


@pytest.mark.parametrize("charset", ["utf-16", "utf-32"])
async def test_lines_in_what_the_reply_does_not_come_in_are_an_error_of_ours(serve: Serve, charset: str) -> None:
    server = await serve(sending(b"plain text\n" * 2, Content_Type=f"text/plain; charset={charset}"))
    async with api_of(server).stream("/x") as reply:
        with pytest.raises(BadReplyError, match=charset):
            await anext(reply.lines())


async def test_packed_bytes_come_unpacked_and_their_size_is_unknown(serve: Serve) -> None:
    server = await serve(sending(gzip.compress(b"text" * 1000), Content_Encoding="gzip"))
    async with api_of(server).stream("/x") as reply:
        assert reply.size is None
        assert b"".join([piece async for piece in reply]) == b"text" * 1000


async def test_a_stream_is_never_whole_in_memory(serve: Serve) -> None:
    server = await serve(sending(*[bytes(1 << 20)] * 64))
    async with api_of(server).stream("/x") as reply:
        tracemalloc.start()
        try:
            assert sum([len(piece) async for piece in reply]) == 64 << 20
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        finally:
            tracemalloc.stop()


async def test_who_leaves_early_leaves_no_connection_busy(serve: Serve) -> None:
    server = await serve(sending(*[bytes(1 << 16)] * 1000))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        api = api_of(server, session=session)
        for _ in range(3):
            async with asyncio.timeout(30), api.stream("/x") as reply:
                await anext(aiter(reply))


async def test_a_reply_that_breaks_off_is_a_network_error(serve: Serve) -> None:
    server = await serve(sending(b"half", end=False))
    async with api_of(server).stream("/x") as reply:
        with pytest.raises(NetworkError):
            _ = [piece async for piece in reply]


def open_until(end: asyncio.Event) -> Handler:
    """Sends a byte, and no more before `end` is set."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        await end.wait()
        return response

    return handler


async def test_silence_is_a_timeout_by_the_sessions_limit(serve: Serve) -> None:
    never, timeout = asyncio.Event(), aiohttp.ClientTimeout(sock_read=0.2)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        async with api_of(await serve(open_until(never)), session=session).stream("/x") as reply:
            with pytest.raises(RequestTimeoutError):
                _ = [piece async for piece in reply]
    never.set()


DRIPPING = {
    "replies that are none yet": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "a head": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "a refusal": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 60000\r\n\r\n", b"x"),
    "a redirect": (b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 60000\r\n\r\n", b"x"),
}


@asynccontextmanager
async def dripping(head: bytes, drop: bytes) -> AsyncGenerator[str, None]:
    """A server that sends the head, and then drop after drop; gives its origin."""

    done = False

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            while not done:
                writer.write(drop)
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.close()
        ended.release()

    ended = asyncio.Semaphore(0)
    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        done = True
        server.close()
        await ended.acquire()  # each test asks once


async def _stream(api: WebAPI, _: Path) -> None:
    async with api.stream("/x"):
        pass


async def _download(api: WebAPI, folder: Path) -> None:
    await api.download("/x", folder / "file")


async def _upload(api: WebAPI, _: Path) -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"x"

    await api.post("/x", data=pieces())


async def gives_up(call: Callable[[WebAPI, Path], Awaitable[None]], folder: Path, head: bytes, drip: bytes) -> None:
    """Whether the call ends in the time of its session at a server that says `head`, then drips."""
    timeout = aiohttp.ClientTimeout(total=0.2)
    async with dripping(head, drip) as origin, aiohttp.ClientSession(timeout=timeout) as session:
        api = WebAPI(Auth.none(), session=session)
        api.base_url = origin
        async with asyncio.timeout(10):
            with pytest.raises(RequestTimeoutError):
                await call(api, folder)


@pytest.mark.parametrize("call", [_stream, _download, _upload])
@pytest.mark.parametrize("what", DRIPPING)
async def test_only_the_body_of_a_stream_may_drip_for_ever(
    tmp_path: Path, what: str, call: Callable[[WebAPI, Path], Awaitable[None]]
) -> None:
    await gives_up(call, tmp_path, *DRIPPING[what])


async def test_the_reply_to_an_upload_has_the_time_of_any_reply(tmp_path: Path) -> None:
    await gives_up(_upload, tmp_path, b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b"x")


async def _get(api: WebAPI, _: Path) -> None:
    await api.get_json("/x")


@pytest.mark.parametrize("call", [_get, _stream, _download])
@pytest.mark.parametrize("what", DRIPPING)
async def test_the_time_of_the_session_holds_behind_a_redirect_to_another_origin_too(
    serve: Serve, tmp_path: Path, what: str, call: Callable[[WebAPI, Path], Awaitable[None]]
) -> None:
    async with dripping(*DRIPPING[what]) as other:

        async def away(_: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": other})

        server = await serve(away)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.3)) as session, asyncio.timeout(10):
            with pytest.raises(RequestTimeoutError):
                await call(api_of(server, session=session), tmp_path)


async def test_an_upload_may_take_longer_than_a_reply(serve: Serve) -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        for _ in range(4):
            yield b"x"
            await asyncio.sleep(0.2)

    server = await serve()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.5)) as session:
        assert await api_of(server, session=session).post("/x", data=pieces()) == {"ok": True}


LARGE = 48 << 20
"""Bytes, more than the buffers of two sockets hold."""


async def _pieces_of(size: int) -> AsyncGenerator[bytes, None]:
    for _ in range(0, LARGE, size):
        yield bytes(size)


def _sparse(folder: Path) -> Path:
    path = folder / "large"
    with path.open("wb") as file:
        file.truncate(LARGE)
    return path


UPLOADS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "a path": lambda folder: {"data": _sparse(folder)},
    "an open file": lambda _: {"data": io.BytesIO(bytes(LARGE))},
    "a form": lambda folder: {"files": {"f": _sparse(folder)}, "data": {"a": "b"}},
    "bytes with progress": lambda _: {"data": bytes(LARGE), "progress": lambda _: None},
    "small pieces": lambda _: {"data": _pieces_of(1 << 14)},
    "one large piece": lambda _: {"data": _pieces_of(LARGE)},
}


@asynccontextmanager
async def taking(take: Callable[[asyncio.StreamReader], Awaitable[None]]) -> AsyncGenerator[str, None]:
    """A server that answers each request after `take` of its body; gives its origin."""
    never = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            taken = asyncio.ensure_future(take(reader))
            await asyncio.wait([taken, asyncio.ensure_future(never.wait())], return_when=asyncio.FIRST_COMPLETED)
            taken.cancel()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            await writer.drain()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        never.set()
        server.close()
        await asyncio.sleep(0)


async def _stream_upload(api: WebAPI, **body: Any) -> bytes:
    async with api.stream("/x", method="POST", **body) as reply:
        return b"".join([piece async for piece in reply])


async def _post(api: WebAPI, **body: Any) -> bytes:
    got: bytes = await api.post("/x", returns=bytes, **body)
    return got


@pytest.mark.parametrize("call", [_post, _stream_upload])
@pytest.mark.parametrize("what", UPLOADS)
async def test_an_upload_that_nobody_takes_ends_and_a_slow_one_does_not(
    tmp_path: Path, what: str, call: Callable[..., Awaitable[bytes]]
) -> None:
    async def nothing(_: asyncio.StreamReader) -> None:
        await asyncio.Event().wait()

    async def slowly(reader: asyncio.StreamReader) -> None:
        left = LARGE
        while left > 0:
            left -= len(await reader.read(1 << 20))
            await asyncio.sleep(0.001)

    timeout = aiohttp.ClientTimeout(total=None, sock_read=0.3)
    async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.timeout(60):
        api = WebAPI(Auth.none(), session=session)
        async with taking(slowly) as api.base_url:
            assert await call(api, **UPLOADS[what](tmp_path)) == b"{}"
        async with taking(nothing) as api.base_url:
            with pytest.raises(RequestTimeoutError):
                await call(api, **UPLOADS[what](tmp_path))


@pytest.mark.parametrize("call", [_post, _stream_upload])
@pytest.mark.parametrize("what", UPLOADS)
async def test_an_upload_does_not_wait_for_ever_for_a_connection(
    tmp_path: Path, serve: Serve, what: str, call: Callable[..., Awaitable[bytes]]
) -> None:
    never, connector = asyncio.Event(), aiohttp.TCPConnector(limit=1)
    server = await serve(open_until(never))
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=0.3)) as session:
        api = api_of(server, session=session)
        async with api.stream("/x") as reply, asyncio.timeout(5):
            await anext(aiter(reply))
            with pytest.raises(RequestTimeoutError):
                await call(api, **UPLOADS[what](tmp_path))
    never.set()


class _Resending:
    """A session that begins to send a body and then sends it, as aiohttp 3.14.0 does where a kept connection broke."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session, self.timeout = session, session.timeout

    async def request(self, method: str, url: str, *, data: Any, **how: Any) -> aiohttp.ClientResponse:
        begun = aiter(data)
        await anext(begun)
        sent = await self._session.request(method, url, data=data, **how)
        await begun.aclose()
        return sent


async def _counted() -> AsyncGenerator[bytes, None]:
    for number in range(4):
        yield bytes([number]) * 50_000


CONTENT = b"".join(bytes([number]) * 50_000 for number in range(4))
SENT_AGAIN: dict[str, Callable[[Path], dict[str, Any]]] = {
    "a path": lambda path: {"data": path},
    "an open file": lambda _: {"data": io.BytesIO(CONTENT)},
    "a form": lambda path: {"files": {"f": path}, "data": {"a": "b"}},
    "bytes with progress": lambda _: {"data": CONTENT, "progress": lambda _: None},
    "an iterable": lambda _: {"data": _counted()},
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("what", SENT_AGAIN)
async def test_a_body_that_is_sent_once_more_is_whole_or_an_error(
    serve: Serve, tmp_path: Path, what: str, packed: bool
) -> None:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    server = await serve()
    async with aiohttp.ClientSession() as session:
        api = api_of(server, session=_Resending(session))
        sending = api.put("/x", **SENT_AGAIN[what](path), compress=packed, returns=None)
        if what == "an iterable":
            with pytest.raises(ConfigError):
                await sending
        else:
            await sending
            sent = server.last.body  # which aiohttp's server unpacks
            assert CONTENT in sent if what == "a form" else sent == CONTENT


async def test_a_limit_on_the_whole_time_does_not_end_a_stream(serve: Serve) -> None:
    begun = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a")
        await begun.wait()
        await response.write(b"b")
        return response

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.5)) as session:
        async with api_of(await serve(handler), session=session).stream("/x") as reply:
            asyncio.get_running_loop().call_later(0.6, begun.set)
            assert b"".join([piece async for piece in reply]) == b"ab"


async def test_a_refusal_is_an_api_error_before_the_block(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "no"}, status=404)

    with pytest.raises(ApiError, match="404"):
        async with api_of(await serve(handler)).stream("/x"):
            pytest.fail("nothing is there to be read")


async def test_a_401_to_a_stream_costs_one_refresh_and_the_stream_comes(practise: Practise) -> None:
    practice = await practise()
    user = await practice.grant()
    api = practice.api(practice.auth(user))
    practice.provider.revoke_access_tokens()
    async with api.stream("/forecast") as reply:
        assert b"Monday" in b"".join([piece async for piece in reply])
    assert practice.refreshes == 1


async def test_a_stream_from_another_origin_is_followed_with_nothing_of_ours(
    serve: Serve, told_by: Callable[[BaseException], str]
) -> None:
    other = await serve(sending(b"from the other", b"!"))

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": f"{other.origin}/file"})

    server = await serve(handler)
    api = api_of(server, HeaderApiKey("X-Key", "hunter2"))
    async with api.stream("/x", headers={"Accept": "a/b", "X-Own": "mine"}) as reply:
        assert b"".join([piece async for piece in reply]) == b"from the other!"
    assert server.last.headers["X-Key"] == "hunter2"
    assert "X-Key" not in other.last.headers
    assert "X-Own" not in other.last.headers
    with pytest.raises(OriginError) as caught:
        async with api.stream("/x", method="PUT", data=b"x"):
            pytest.fail("a body goes nowhere else")
    assert "hunter2" not in told_by(caught.value)
    assert len(other.seen) == 1


async def test_an_error_in_a_stream_shows_no_credential(
    serve: Serve, told_by: Callable[[BaseException], str]
) -> None:
    server = await serve(sending(b"hunter2", end=False))
    async with api_of(server, HeaderApiKey("X-Key", "hunter2")).stream("/x") as reply:
        pieces = reply.pieces()
        assert await anext(pieces) == b"hunter2"
        with pytest.raises(NetworkError) as caught:
            await anext(pieces)
        assert "hunter2" not in repr(reply)
    assert "hunter2" not in told_by(caught.value)


@pytest.mark.parametrize("rest", [b"hunter2", b"hunter2" * 200_000])
async def test_an_error_in_the_midst_of_a_line_does_not_show_its_beginning(
    serve: Serve, told_by: Callable[[BaseException], str], rest: bytes
) -> None:
    server = await serve(sending(b"one\n", rest, end=False))
    async with api_of(server, HeaderApiKey("X-Key", "hunter2")).stream("/x") as reply:
        with pytest.raises((NetworkError, BadReplyError)) as caught:
            assert [line async for line in reply.lines()] == []
    assert "hunter2" not in told_by(caught.value)
