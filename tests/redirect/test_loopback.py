"""The loopback listener over real sockets: the redirect comes through, whatever else does."""
from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from SlyAPI.errors import ConfigError, ListenError
from SlyAPI.redirect.loopback import Loopback, Redirect, page

DONE = page("Signed in", "All is well.", ok=True)
WAIT = 20.0  # seconds until a test that hangs is over


@pytest.fixture
async def loopback() -> AsyncIterator[Loopback]:
    opened = await Loopback.open("http://localhost:0/cb")
    yield opened
    await opened.close(linger=0)


def _port(loopback: Loopback) -> int:
    found = re.fullmatch(r"http://[^/]+:(\d+)(/.*)?", loopback.redirect_uri)
    assert found
    return int(found[1])


async def _send(port: int, raw: bytes, host: str = "127.0.0.1") -> bytes:
    """What comes back for `raw`; as a browser does, the connection is closed after a whole response."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(raw)
        with suppress(ConnectionError):
            return await asyncio.wait_for(_whole_response(reader, body=not raw.startswith(b"HEAD")), WAIT)
        return b""
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _whole_response(reader: asyncio.StreamReader, *, body: bool) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as ended:
        return ended.partial
    length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
    assert length
    return head + (await reader.readexactly(int(length[1])) if body else b"")


def _request(target: str, port: int, *, method: str = "GET", host: str = "", more: str = "") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: {host or f'localhost:{port}'}\r\n{more}\r\n".encode()


async def _get(loopback: Loopback, target: str, **more: str) -> bytes:
    port = _port(loopback)
    return await _send(port, _request(target, port, **more))


def _status(raw: bytes) -> int:
    return int(raw.split(b" ")[1]) if raw else 0


def _location(raw: bytes) -> str:
    found = re.search(rb"\r\nLocation: (\S+)\r\n", raw)
    assert found
    return found[1].decode()


async def _next(loopback: Loopback) -> Redirect:
    return await asyncio.wait_for(anext(loopback.redirects()), WAIT)


async def _still_works(loopback: Loopback) -> None:
    """The real redirect comes through, and its browser gets the page."""
    browser = asyncio.create_task(_get(loopback, "/cb?code=real&state=s"))
    redirect = await _next(loopback)
    assert redirect.query == "code=real&state=s"
    await redirect.answer(200, DONE)
    redirected = await browser
    assert _status(redirected) == 303
    shown = await _get(loopback, _location(redirected))
    assert _status(shown) == 200
    assert shown.endswith(DONE.encode())


@pytest.mark.parametrize("status", [200, 400, 403])
async def test_the_page_is_shown_at_an_address_without_the_code(loopback: Loopback, status: int) -> None:
    browser = asyncio.create_task(_get(loopback, "/cb?code=secret&state=s"))
    await (await _next(loopback)).answer(status, DONE)
    redirected = await browser
    assert _status(redirected) == 303
    assert b"secret" not in redirected
    location = _location(redirected)
    assert re.fullmatch(r"/[\w/-]{20,}", location)
    shown = await _get(loopback, location)
    assert _status(shown) == status
    assert shown.endswith(DONE.encode())


async def test_a_redirect_prints_without_its_query(loopback: Loopback) -> None:
    browser = asyncio.create_task(_get(loopback, "/cb?code=secret"))
    redirect = await _next(loopback)
    assert repr(redirect) == str(redirect) == "<Redirect>"
    await redirect.answer(200, DONE)
    await browser


async def test_two_redirects_come_in_order_and_each_gets_its_own_page(loopback: Loopback) -> None:
    first = asyncio.create_task(_get(loopback, "/cb?code=1"))
    one = await _next(loopback)
    second = asyncio.create_task(_get(loopback, "/cb?code=1"))
    two = await _next(loopback)
    await two.answer(400, "two")
    await one.answer(200, "one")
    assert (await _get(loopback, _location(await first))).endswith(b"one")
    assert (await _get(loopback, _location(await second))).endswith(b"two")


async def test_the_first_answer_counts(loopback: Loopback) -> None:
    browser = asyncio.create_task(_get(loopback, "/cb?code=1"))
    redirect = await _next(loopback)
    await redirect.answer(200, "one")
    await redirect.answer(400, "two")
    assert (await _get(loopback, _location(await browser))).endswith(b"one")


async def test_two_answers_at_once_are_one(loopback: Loopback) -> None:
    browser = asyncio.create_task(_get(loopback, "/cb?code=1"))
    redirect = await _next(loopback)
    await asyncio.gather(redirect.answer(200, DONE), redirect.answer(400, "late"))
    assert (await _get(loopback, _location(await browser))).endswith(DONE.encode())


async def test_a_cancelled_wait_loses_no_redirect(loopback: Loopback) -> None:
    waiting = asyncio.ensure_future(anext(loopback.redirects()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    browser = asyncio.create_task(_get(loopback, "/cb?code=1"))
    await (await _next(loopback)).answer(200, DONE)
    await browser


@pytest.mark.parametrize(
    ("target", "more", "status"),
    [
        ("/cb", {}, 200),
        ("/cb?", {}, 200),
        ("/", {}, 404),
        ("/cb/?code=x", {}, 404),
        ("/CB?code=x", {}, 404),
        ("/%63b?code=x", {}, 404),
        ("//cb?code=x", {}, 404),
        ("/favicon.ico", {}, 404),
        ("/cb?code=x", {"method": "HEAD"}, 405),
        ("/cb?code=x", {"method": "OPTIONS"}, 405),
        ("/cb?code=x", {"method": "DELETE"}, 405),
        ("/cb?code=x", {"method": "POST", "more": "Content-Length: 0\r\n"}, 405),
        ("/cb?code=x", {"method": "get"}, 405),
        ("/cb?code=x", {"more": "Sec-Purpose: prefetch\r\n"}, 503),
        ("/cb?code=x", {"host": "evil.example"}, 421),
        ("/cb?code=x", {"host": "localhost"}, 421),
        ("/cb?code=x", {"host": "localhost.evil.example:80"}, 421),
        ("/cb?code=x", {"more": "Host: evil.example\r\n"}, 400),
        ("http://localhost/cb?code=x", {}, 400),
        ("cb?code=x", {}, 400),
        ("/cb?code=\x00", {}, 400),
    ],
)
async def test_what_is_not_the_redirect_is_answered_and_the_flow_goes_on(
    loopback: Loopback, target: str, more: dict[str, str], status: int
) -> None:
    reply = await _get(loopback, target, **more)
    assert _status(reply) == status
    assert b"Content-Security-Policy: default-src 'none'" in reply
    assert b"\r\nContent-Length: " in reply
    await _still_works(loopback)


async def test_a_head_request_is_answered_without_a_body(loopback: Loopback) -> None:
    assert (await _get(loopback, "/cb?code=x", method="HEAD")).endswith(b"\r\n\r\n")


async def test_the_host_may_be_written_in_capitals(loopback: Loopback) -> None:
    port = _port(loopback)
    browser = asyncio.create_task(_get(loopback, "/cb?code=1", host=f"LOCALHOST:{port}"))
    await (await _next(loopback)).answer(200, DONE)
    assert _status(await browser) == 303


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"\x00" * 50_000,
        b"A" * 50_000,
        b"GET /" + b"a" * 50_000,
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000,
        bytes(range(256)) * 10,
        b"POST /cb HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n" + b"x" * 99_999,
    ],
)
async def test_bytes_that_are_no_request_end_their_own_connection_only(loopback: Loopback, raw: bytes) -> None:
    loopback.head_seconds = 0.05
    assert _status(await _send(_port(loopback), raw)) in (0, 400, 421, 431)
    await _still_works(loopback)


async def test_slow_and_silent_connections_do_not_hold_up_the_redirect(loopback: Loopback) -> None:
    port = _port(loopback)
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
    for _, writer in opened[::2]:
        writer.write(b"GET /cb?code=half HTTP/1.1\r\nHost: loc")
    await _still_works(loopback)
    # The one of them that goes on after all is served as well: a browser's preconnection does.
    reader, writer = opened[1]
    writer.write(_request("/cb?code=late", port))
    redirect = await _next(loopback)
    assert redirect.query == "code=late"
    await redirect.answer(200, DONE)
    assert _status(await reader.readuntil(b"\r\n\r\n")) == 303
    for _, writer in opened:
        writer.close()


async def test_more_connections_than_are_kept_push_out_the_oldest_silent_one(loopback: Loopback) -> None:
    loopback.max_connections = 300
    loopback.head_seconds = 10 * WAIT
    port = _port(loopback)
    browser = asyncio.create_task(_get(loopback, "/cb?code=waits"))
    redirect = await _next(loopback)
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
    with suppress(ConnectionError):
        assert await asyncio.wait_for(opened[0][0].read(), WAIT) == b""
    reader, writer = opened[1]
    writer.write(_request("/", port))
    assert _status(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT)) == 404
    await redirect.answer(200, DONE)
    assert _status(await browser) == 303
    await _still_works(loopback)
    for _, writer in opened:
        writer.close()


async def test_a_connection_too_many_is_closed_when_all_others_wait_for_an_answer(loopback: Loopback) -> None:
    loopback.max_connections = 2
    browsers = [asyncio.create_task(_get(loopback, f"/cb?code={number}")) for number in range(2)]
    redirects = [await _next(loopback), await _next(loopback)]
    for loopback.max_connections in (2, 1):
        assert await _get(loopback, "/cb?code=more") == b""
    for redirect in redirects:
        await redirect.answer(200, DONE)
    assert [_status(raw) for raw in await asyncio.gather(*browsers)] == [303, 303]


async def test_a_program_without_file_descriptors_waits_for_some_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, attempts, scarce = asyncio.get_running_loop(), 0, True
    accept = loop.sock_accept

    async def accept_or_fail(sock: socket.socket) -> tuple[socket.socket, object]:
        nonlocal attempts
        attempts += 1
        if scarce:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return await accept(sock)

    monkeypatch.setattr(loop, "sock_accept", accept_or_fail)
    async with await Loopback.open("http://127.0.0.1:0/cb") as loopback:
        for _ in range(100):
            await asyncio.sleep(0)
        assert attempts == 1, "it does not spin"
        scarce = False
        port = _port(loopback)
        browser = asyncio.create_task(_get(loopback, "/cb?code=1", host=f"127.0.0.1:{port}"))
        await (await _next(loopback)).answer(200, DONE)
        assert _status(await browser) == 303
        await _get(loopback, _location(await browser), host=f"127.0.0.1:{port}")


async def test_of_the_pages_that_are_kept_the_oldest_goes_when_there_are_too_many(loopback: Loopback) -> None:
    paths = [loopback.keep_page(200, f"<p>{number}</p>") for number in range(64)]
    assert [_status(await _get(loopback, path)) for path in (paths[0], paths[63])] == [200, 200]
    loopback.keep_page(200, DONE)
    assert [_status(await _get(loopback, path)) for path in (paths[0], paths[1])] == [404, 200]


async def test_redirects_that_nobody_answers_are_put_off_when_there_are_too_many(loopback: Loopback) -> None:
    loopback.max_unanswered = 2
    browsers = [asyncio.create_task(_get(loopback, f"/cb?code={number}")) for number in range(2)]
    redirects = [await _next(loopback), await _next(loopback)]
    for loopback.max_unanswered in (2, 1):
        assert _status(await _get(loopback, "/cb?code=more")) == 503
    for redirect in redirects:
        await redirect.answer(200, DONE)
    await asyncio.gather(*browsers)
    await _still_works(loopback)


async def test_a_browser_that_sends_byte_by_byte_is_understood(loopback: Loopback) -> None:
    port = _port(loopback)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for byte in _request("/cb?code=1", port):
        writer.write(bytes([byte]))
        await writer.drain()
    await (await _next(loopback)).answer(200, DONE)
    assert _status(await reader.readuntil(b"\r\n\r\n")) == 303
    writer.close()


async def test_a_browser_that_went_away_is_no_error() -> None:
    loopback = await Loopback.open("http://127.0.0.1:0")
    port = _port(loopback)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_request("/?code=1", port, host=f"127.0.0.1:{port}"))
    redirect = await _next(loopback)
    writer.transport.abort()
    await asyncio.wait_for(redirect.answer(200, DONE), WAIT)
    await loopback.close(linger=0)
    await asyncio.wait_for(redirect.answer(200, DONE), WAIT)


async def test_close_does_not_wait_for_a_browser_whose_connection_broke_before_its_answer() -> None:
    loopback = await Loopback.open("http://127.0.0.1:0")
    port = _port(loopback)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_request("/?code=1", port, host=f"127.0.0.1:{port}"))
    redirect = await _next(loopback)
    reset = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    writer.transport.abort()
    for _ in range(10):
        await asyncio.sleep(0)
    await asyncio.wait_for(redirect.answer(200, DONE), WAIT)
    await asyncio.wait_for(loopback.close(linger=10 * WAIT), WAIT)


async def test_both_loopbacks_are_listened_on(loopback: Loopback) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    port = _port(loopback)
    for host in ("127.0.0.1", "::1"):
        browser = asyncio.create_task(_send(port, _request("/cb?code=1", port), host))
        await (await _next(loopback)).answer(200, DONE)
        assert _status(await browser) == 303


async def test_a_port_of_a_container_changes_nothing_of_the_redirect_uri(unused_port: int) -> None:
    uri = "http://localhost:8080/cb"
    async with await Loopback.open(uri, port=unused_port, bind="0.0.0.0") as loopback:
        assert loopback.redirect_uri == uri
        browser = asyncio.create_task(_send(unused_port, _request("/cb?code=1", 8080)))
        await (await _next(loopback)).answer(200, DONE)
        shown = await _send(unused_port, _request(_location(await browser), 8080))
        assert shown.endswith(DONE.encode())
        assert _status(await _send(unused_port, _request("/cb?code=1", unused_port))) == 421


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


async def test_a_taken_port_is_not_shared(loopback: Loopback) -> None:
    for _ in range(2):
        with pytest.raises(ListenError, match=f"{_port(loopback)} .*another program"):
            await Loopback.open(loopback.redirect_uri)
    await _still_works(loopback)


async def test_a_redirect_uri_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError):
        await Loopback.open("https://example.com/cb")


def _free(port: int, *, left_over: bool = False) -> bool:
    """Whether another program can have the port; `left_over`: one that takes it while a TIME_WAIT is there."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, left_over)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@pytest.mark.parametrize("linger", [1.0, WAIT])
async def test_close_waits_for_the_browser_to_have_its_page(linger: float) -> None:
    loopback = await Loopback.open("http://localhost:0")
    browser = asyncio.create_task(_get(loopback, "/?code=1"))
    await (await _next(loopback)).answer(200, DONE)
    location = _location(await browser)
    closing = asyncio.create_task(loopback.close(linger=linger))
    await asyncio.sleep(0)
    assert (await _get(loopback, location)).endswith(DONE.encode())
    await asyncio.wait_for(closing, WAIT)
    with pytest.raises(OSError):
        await _get(loopback, location)
    await loopback.close()


async def test_the_end_of_a_block_waits_for_the_browser_to_have_its_page() -> None:
    async with await Loopback.open("http://localhost:0") as loopback:
        browser = asyncio.create_task(_get(loopback, "/?code=1"))
        await (await _next(loopback)).answer(200, DONE)
        location = _location(await browser)
        browser = asyncio.create_task(_get(loopback, location))
    assert (await browser).endswith(DONE.encode())


async def test_the_end_of_a_block_that_is_cancelled_waits_for_nobody() -> None:
    async def cancelled() -> None:
        async with await Loopback.open("http://localhost:0") as loopback:
            browser = asyncio.create_task(_get(loopback, "/?code=1"))
            await (await _next(loopback)).answer(200, DONE)
            await browser
            raise asyncio.CancelledError

    (ended,), waiting = await asyncio.wait([asyncio.create_task(cancelled())], timeout=0.9)
    assert ended.cancelled()
    assert not waiting


async def test_close_waits_no_longer_than_it_is_told() -> None:
    loopback = await Loopback.open("http://localhost:0")
    browser = asyncio.create_task(_get(loopback, "/?code=1"))
    await (await _next(loopback)).answer(200, DONE)
    await browser
    await asyncio.wait_for(loopback.close(linger=0.01), WAIT)


async def test_close_tells_a_browser_that_nobody_answered() -> None:
    loopback = await Loopback.open("http://localhost:0")
    browser = asyncio.create_task(_get(loopback, "/?code=1"))
    await _next(loopback)
    closing = asyncio.create_task(loopback.close(linger=WAIT))
    shown = await _get(loopback, _location(await browser))
    assert _status(shown) == 503
    assert b"no longer waits" in shown
    assert b'aria-label="Not done"' in shown
    await asyncio.wait_for(closing, WAIT)


async def test_redirects_end_when_the_listener_is_closed() -> None:
    loopback = await Loopback.open("http://localhost:0")
    waiting = asyncio.ensure_future(anext(loopback.redirects()))
    await asyncio.sleep(0)
    await loopback.close()
    with pytest.raises(StopAsyncIteration):
        await waiting
    assert [redirect async for redirect in loopback.redirects()] == []


async def test_after_close_the_port_is_free_whatever_was_connected() -> None:
    loopback = await Loopback.open("http://localhost:0")
    port = _port(loopback)
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
    opened[0][1].write(_request("/?code=1", port))
    opened[1][1].write(b"GET / HT")
    await _next(loopback)
    await loopback.close(linger=0)
    assert _free(port)
    for reader, writer in opened:
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), WAIT) == b""
        writer.close()


@pytest.mark.parametrize("steps", range(12))
async def test_a_cancellation_at_any_moment_frees_the_port(unused_port: int, steps: int) -> None:
    async def flow() -> None:
        async with await Loopback.open(f"http://localhost:{unused_port}") as loopback:
            async for redirect in loopback.redirects():
                await redirect.answer(200, DONE)
                break

    running = asyncio.create_task(flow())
    browser = asyncio.create_task(_send_when_open(unused_port))
    for _ in range(steps):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running], timeout=WAIT)
    assert running.done()
    browser.cancel()
    await asyncio.wait([browser])
    # Of an answered connection that was cut a TIME_WAIT may be left, as every server leaves it.
    assert _free(unused_port, left_over=steps > 8)


async def _send_when_open(port: int) -> None:
    with suppress(OSError):
        await _send(port, _request("/?code=1", port))
