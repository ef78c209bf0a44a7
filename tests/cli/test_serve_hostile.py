"""The broker held against callers without a pass, an API that misbehaves, sizes, crowds and failures."""
from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncGenerator, Callable
from itertools import product
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web

from tests.support.brokered import Api, Served, api_of_our_own, ok, serves, token_of, with_account
from tests.support.place import SECRET, Place

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="starts a program for each")]

PASS = "Authorization: Bearer PASS"
HOST = "Host: HOST"


@pytest.fixture
async def api() -> AsyncGenerator[Api, None]:
    async with api_of_our_own() as api:
        yield api


@pytest.fixture
async def place(tmp_path: Path, api: Api) -> AsyncGenerator[Place, None]:
    async with with_account(tmp_path, f"{api.origin}/v1") as place:
        yield place


@pytest.fixture
async def broker(place: Place) -> Served:
    return await serves(place)


# --- who may call ---

WRONG_PASSES = [
    *("", "Authorization:", "Authorization: Bearer", "Authorization: Bearer x", "Authorization: PASS"),
    *("Authorization: Basic PASS", "Authorization: Bearer PASSx", "Authorization: Bearer xPASS", "Cookie: pass=PASS"),
    *("Authorization: Bearer PASS, Bearer PASS", "Authorization: Bearer PASS PASS", "X-Authorization: Bearer PASS"),
    *("Proxy-Authorization: Bearer PASS", "Authorization: Bearer \xff\xfe", f"{PASS}\r\n{PASS}"),
    f"{PASS}\r\nauthorization: x",
    *(f"Authorization: Bearer {'x' * 43}", f"Authorization: Bearer {'x' * 5000}", "Authorization : Bearer PASS"),
]
OTHER_HOSTS = [
    *("", "Host:", "Host: evil.example", "Host: HOST.evil.example", "Host: evil.example:80"),
    "Host: HOST\r\nHost: HOST",
    *("Host: HOST\r\nHost: evil.example", "Host: 127.0.0.1", "Host: localhost", "Host: 127.0.0.1:1", "Host: 0.0.0.0:1"),
    *("Host: user@HOST", "Host: HOST/x", "X-Forwarded-Host: HOST", "Host: 127.1:1", "Host: 2130706433:1"),
]
OF_BROWSERS = [
    *("Origin: https://evil.example", "Origin: null", "origin: http://HOST", "Sec-Fetch-Mode: navigate"),
    *("Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: image", "Sec-Fetch-Mode: no-cors"),
    *("Sec-Fetch-Mode: cors\r\nSec-Fetch-Site: none", "Sec-Fetch-Mode: cors\r\nOrigin: null", "Sec-Fetch-User: ?1"),
    "Sec-Fetch-Mode: cors\r\nSec-Fetch-Mode: cors",
]
TARGETS = [
    *("http://evil.example/", "https://evil.example/x", "//evil.example/..", "/..", "/../v2", "/a/../../v2"),
    "/%2e%2e/v2",
    *("/.%2E/v2", "/%252e%252e/v2", "/a\\..\\..\\v2", "/a/..;x=1/../v2", "*", "evil.example:443", "x", "/a#b", "/%zz"),
    *("/a%2f..%2f..%2fv2", "/a%5c..%5c..", "/\x7f", "/\xe4", "/a\tb", "/?pass=PASS", "/PASS/x"),
]
BODIES = [
    "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /stolen HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "Content-Length: 3, 4\r\n\r\nabcd",
    "Content-Length: +3\r\n\r\nabc",
    "Content-Length: -1\r\n\r\n",
    "Content-Length: 0x3\r\n\r\nabc",
    "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "X: a\r\n b\x00c\r\n\r\n",
    "Content-Length: 4\x0b\r\n\r\nabcd",
]


async def test_no_request_without_exactly_the_pass_reaches_the_api(api: Api, broker: Served) -> None:
    got = {one: await broker.status("GET /x HTTP/1.1", HOST, *filter(None, [one])) for one in WRONG_PASSES}
    assert {one: status for one, status in got.items() if status not in (400, 401)} == {}
    assert not api.seen
    assert await broker.status("GET /x HTTP/1.1", HOST, PASS) == 200
    assert await broker.status("GET /x HTTP/1.1", HOST, PASS.replace("Bearer", "bearer")) == 200


async def test_a_name_of_another_site_that_resolves_to_this_machine_is_refused(api: Api, broker: Served) -> None:
    got = {one: await broker.status("GET /x HTTP/1.1", *filter(None, [one]), PASS) for one in OTHER_HOSTS}
    assert {one: status for one, status in got.items() if status not in (400, 421)} == {}
    assert not api.seen
    port = broker.url.rpartition(":")[2]
    for host in (f"LocalHost:{port}", f"[::1]:{port}", f"127.0.0.1:{port}"):
        assert await broker.status("GET /x HTTP/1.1", f"Host: {host}", PASS) == 200


async def test_a_web_page_is_refused_even_with_the_pass_and_node_is_not(api: Api, broker: Served) -> None:
    got = {one: await broker.status("GET /x HTTP/1.1", HOST, PASS, one) for one in OF_BROWSERS}
    got["preflight"] = await broker.status("OPTIONS /x HTTP/1.1", HOST, "Origin: null")
    assert {one: status for one, status in got.items() if status != 403} == {}
    assert not api.seen
    assert await broker.status("GET /x HTTP/1.1", HOST, PASS, "Sec-Fetch-Mode: cors") == 200


async def test_a_target_is_a_path_below_base_url(api: Api, broker: Served) -> None:
    lines = [*(f"GET {target.replace('PASS', broker.secret)}" for target in TARGETS), "CONNECT evil:443", "TRACE /x"]
    got = {line: await broker.status(f"{line} HTTP/1.1", HOST, PASS) for line in lines}
    assert {one: status for one, status in got.items() if status not in (0, 400, 405)} == {}
    assert not api.seen
    for path in ("/a%2Fb?c=%2F%26&d=a+b", "/./a//b", "/x?url=http://other.example/../", "/a;b=1,c"):
        await broker.status(f"GET {path} HTTP/1.1", HOST, PASS)
        assert api.seen[-1].raw_path.replace("/./", "/") == f"/v1{path}".replace("/./", "/")


async def test_no_second_request_is_smuggled_in(api: Api, broker: Served) -> None:
    for one in BODIES:
        head = f"POST /x HTTP/1.1\r\n{HOST}\r\n{PASS}\r\n".replace("PASS", broker.secret)
        host = broker.url.removeprefix("http://")
        received = await broker.sends((head + one).replace("HOST", host))
        assert b" 200 " not in received or b"stolen" not in received, one
        assert received.count(b"HTTP/1.1 200") <= 1, one
    assert not [seen for seen in api.seen if "stolen" in seen.raw_path]
    assert len(api.seen) <= 1, [seen.headers for seen in api.seen]


async def test_only_what_is_meant_for_the_api_reaches_it(api: Api, broker: Served) -> None:
    sent = {
        "Connection": "keep-alive, X-Hop", "X-Hop": "1", "Keep-Alive": "timeout=5", "TE": "trailers",
        "Proxy-Authorization": "Basic eA==", "Cookie": "a=b", "X-HTTP-Method-Override": "DELETE", "DPoP": "x",
        "X_HTTP_Method": "DELETE", "X-Copy": broker.secret, "Upgrade": "websocket", "Sec-WebSocket-Key": "x",
        "Accept": "text/x", "X-Own": "yes", "If-None-Match": '"e"', "Accept-Encoding": "br, gzip",
    }
    async with broker.caller() as caller, caller.get("/x", headers=sent) as reply:
        assert reply.status == 200
    passed = {name.lower(): value for name, value in api.seen[0].headers.items()}
    assert passed.pop("authorization").startswith("Bearer ")
    assert broker.secret not in str(passed)
    assert {name: passed.get(name) for name in ("accept", "x-own", "if-none-match", "accept-encoding")} == {
        "accept": "text/x", "x-own": "yes", "if-none-match": '"e"', "accept-encoding": "identity",
    }
    assert passed.keys() <= {"accept", "x-own", "if-none-match", "accept-encoding", "host", "user-agent"}


@pytest.mark.parametrize(
    ("flags", "through", "refused"),
    [
        (["--read-only"], ["GET /x", "HEAD /x"], ["POST /x", "DELETE /x", "PUT /x", "PATCH /x", "OPTIONS /x"]),
        (["--allow", "GET:/a"], ["GET /a", "HEAD /a", "GET /a?b"], ["POST /a", "GET /", "GET /a/b", "GET /ab"]),
        (["--allow", "POST:/a/*/c"], ["POST /a/b/c"], ["POST /a//c", "POST /a/b%2Fb/c", "POST /a/b/c/d"]),
        (["--allow", "GET:/a/**"], ["GET /a/b", "GET /a/b/c"], ["GET /b", "GET /a%2f..%2fb", "GET /%61/../b"]),
        (["--allow", "GET:/a", "--allow", "POST:/b"], ["GET /a", "POST /b"], ["POST /a", "GET /b"]),
        (["--allow", "POST:/a", "--read-only"], [], ["POST /a", "GET /a"]),
    ],
)
async def test_a_pass_can_be_narrowed(
    place: Place, api: Api, flags: list[str], through: list[str], refused: list[str]
) -> None:
    broker = await serves(place, *flags)
    assert {one: await broker.status(f"{one} HTTP/1.1", HOST, PASS) for one in through} == dict.fromkeys(through, 200)
    seen = len(api.seen)
    got = {one: await broker.status(f"{one} HTTP/1.1", HOST, PASS) for one in refused}
    assert {one: status for one, status in got.items() if status not in (400, 403)} == {}
    assert len(api.seen) == seen


async def test_no_body_is_asked_for_before_the_head_is_accepted(api: Api, broker: Served) -> None:
    begun = ("POST /x HTTP/1.1", HOST, "Expect: 100-continue", "Content-Length: 5")
    assert await broker.status(*begun) == 401
    accepted = "\r\n".join([*begun, PASS, "", ""]).replace("PASS", broker.secret)
    accepted = accepted.replace("HOST", broker.url.removeprefix("http://"))
    assert (await broker.sends(accepted)).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert await broker.status(*begun, PASS, body="hello") == 100


async def test_a_body_that_comes_in_parts_is_sent_whole(api: Api, broker: Served) -> None:
    got: list[bytes] = []

    async def reads(request: web.Request) -> web.StreamResponse:
        got.append(await request.read())
        return web.Response()

    async def parts() -> AsyncGenerator[bytes, None]:
        for part in (b"a" * 10, b"b" * 10, b"c" * 10):
            yield part
            await asyncio.sleep(0.05)

    api.answer = reads
    async with broker.caller() as caller:
        for headers in ({"Content-Length": "30"}, {}):
            async with caller.post(f"{broker.url}/x", data=parts(), headers={**broker.headers, **headers}) as reply:
                assert reply.status == 200
    assert got == [b"a" * 10 + b"b" * 10 + b"c" * 10] * 2


# --- what comes back ---

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda secret: secret,
    "in an url": lambda secret: quote(secret, ""),
    "in an url, in lower case": lambda secret: quote(secret, "").replace("%2F", "%2f"),
    "in JSON": lambda secret: json.dumps(secret).strip('"').replace("/", "\\/"),
    "in base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "in base64 of an url": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
}
KINDS = ["application/json", "text/plain", "text/event-stream", "application/octet-stream", "application/problem+json"]


@pytest.mark.parametrize("has_size", [True, False])
async def test_a_reply_that_repeats_a_credential_is_masked(
    place: Place, api: Api, broker: Served, has_size: bool
) -> None:
    held = token_of(place)
    for secret in (held["token"], held["refresh_token"], SECRET):
        for kind, spelling in product(KINDS, SPELLINGS.values()):
            body = f'{{"a": "{spelling(secret)}", "b": "{"x" * 50}"}}'.encode()

            async def answer(request: web.Request, body: bytes = body, kind: str = kind) -> web.StreamResponse:
                reply = web.StreamResponse(headers={"Content-Type": kind, "X-Echo": body.decode()})
                reply.headers["Set-Cookie"] = f"a={held['token']}"
                if has_size:
                    reply.content_length = len(body)
                await reply.prepare(request)
                for at in range(0, len(body), 7):
                    await reply.write(body[at : at + 7])
                    await asyncio.sleep(0)
                return reply

            api.answer = answer
            async with broker.caller() as caller, caller.get("/x") as reply:
                got = await reply.text()
                assert "Set-Cookie" not in reply.headers
            assert got.startswith('{"a": "**'), got
            assert got.endswith("x" * 50 + '"}')
            assert secret not in got + str(reply.headers)
            assert spelling(secret) not in got + str(reply.headers)
            assert "***" in reply.headers["X-Echo"]


async def test_a_credential_far_down_a_long_reply_is_masked(place: Place, api: Api, broker: Served) -> None:
    token = token_of(place)["token"]
    filler = "y" * (1 << 20)
    for headers in ({"Content-Type": "application/json"}, {"Content-Type": "text/plain"}):
        body = f"{filler}{token}{filler}{token[:10]}"

        async def answer(request: web.Request, headers: dict[str, str] = headers, body: str = body) -> web.Response:
            return web.Response(body=body.encode(), headers=headers)

        api.answer = answer
        async with broker.caller() as caller, caller.get("/x") as reply:
            got = await reply.text()
        assert got == body.replace(token, "*" * len(token))


async def test_a_redirect_of_the_api_is_passed_on_and_not_followed(api: Api, broker: Served) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": f"{api.origin}/elsewhere"})

    api.answer = answer
    async with broker.caller() as caller, caller.post("/x", data=b"1", allow_redirects=False) as reply:
        assert (reply.status, reply.headers["Location"]) == (307, f"{api.origin}/elsewhere")
    assert len(api.seen) == 1


async def test_a_status_and_its_headers_are_passed_on(api: Api, broker: Served) -> None:
    async def answer(request: web.Request) -> web.Response:
        status = int(request.path[-3:])
        body = None if status in (204, 205, 304) else b"{}"
        return web.Response(status=status, body=body, headers={"Retry-After": "7", "Link": "<x>; rel=a"})

    api.answer = answer
    async with broker.caller() as caller:
        for method, status in product(("GET", "HEAD"), (200, 204, 205, 304, 404, 418, 429, 500, 503, 599)):
            async with caller.request(method, f"/{status}") as reply:
                assert reply.status == status
                assert (reply.headers["Retry-After"], reply.headers["Link"]) == ("7", "<x>; rel=a")
                await reply.read()


async def test_a_reply_in_an_encoding_that_nobody_asked_for(api: Api, broker: Served) -> None:
    import gzip

    packed = {"gzip": gzip.compress(b'{"a": 1}'), "br": b"\x8b\x03\x80", "zstd": b"(\xb5/\xfd"}

    async def answer(request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        return web.Response(body=packed[name], headers={"Content-Encoding": name, "Content-Type": "application/json"})

    api.answer = answer
    async with broker.caller() as caller:
        async with caller.get("/gzip") as reply:
            assert (reply.status, await reply.json()) == (200, {"a": 1})
        for name in ("br", "zstd"):
            async with caller.get(f"/{name}") as reply:
                assert reply.status == 502


async def test_events_arrive_while_the_api_still_sends(api: Api, broker: Served) -> None:
    more = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        await reply.write(b"data: 1\n\n")
        await more.wait()
        await reply.write(b"data: 2\n\n")
        return reply

    api.answer = answer
    async with asyncio.timeout(30), broker.caller() as caller, caller.get("/x") as reply:
        assert await reply.content.readuntil(b"\n\n") == b"data: 1\n\n"
        more.set()
        assert await reply.content.read() == b"data: 2\n\n"


async def test_a_reply_that_breaks_off_breaks_off_for_the_caller_too(api: Api, broker: Served) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        await reply.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return reply

    api.answer = answer
    async with broker.caller() as caller:
        with pytest.raises(aiohttp.ClientError):
            async with caller.get("/x") as reply:
                await reply.read()
        api.answer = ok
        async with caller.get("/x") as reply:
            assert reply.status == 200


# --- sizes, crowds and failures ---

MIB = 1 << 20


async def test_bodies_of_any_size_pass_both_ways_in_constant_memory(api: Api, broker: Served) -> None:
    size = 200
    received = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal received
        async for piece in request.content.iter_any():
            received += len(piece)
        reply = web.StreamResponse()
        await reply.prepare(request)
        for _ in range(size):
            await reply.write(bytes(MIB))
        return reply

    async def body() -> AsyncGenerator[bytes, None]:
        for _ in range(size):
            yield bytes(MIB)

    api.answer = answer
    got = 0
    async with broker.caller() as caller, caller.post("/x", data=body()) as reply:
        async for piece in reply.content.iter_any():
            got += len(piece)
    assert (received, got) == (size * MIB, size * MIB)
    if sys.platform == "linux":
        assert broker.peak_memory() < 120 * MIB


async def test_five_hundred_requests_at_once(api: Api, broker: Served) -> None:
    there, all_there = 0, asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal there
        there += 1
        if there == 500:
            all_there.set()
        await all_there.wait()
        return await ok(request)

    api.answer = answer
    async with broker.caller() as caller:

        async def one(number: int) -> bool:
            async with caller.post(f"/{number}", data=str(number).encode()) as reply:
                told = await reply.json()
                return bool(told["path"] == f"/v1/{number}" and told["body"] == str(number))

        async with asyncio.timeout(60):
            assert all(await asyncio.gather(*map(one, range(500))))


async def test_the_request_of_a_caller_that_goes_away_is_ended(api: Api, broker: Served) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        asked.set()
        try:
            while True:
                await reply.write(b":\n")
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    api.answer = answer
    async with broker.caller() as caller:
        reply = await caller.get("/x")
        await asked.wait()
        reply.close()
        async with asyncio.timeout(30):
            await ended.wait()
        api.answer = ok
        async with caller.get("/x") as again:
            assert again.status == 200


async def test_a_provider_that_is_down_is_a_502_until_it_is_back(place: Place, api: Api, broker: Served) -> None:
    good = token_of(place)["token"]

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=401 if good in request.headers["Authorization"] else 200)

    api.answer = answer
    place.provider.fail_next("token", 503)
    async with asyncio.timeout(60), broker.caller() as caller:
        async with caller.get("/x") as reply:
            told = await reply.text()
            assert (reply.status, "log says why" in told) == (502, True)
        assert not [word for word in ("accounts", "token", place.provider.token_url) if word in told]
        while reply.status != 200:
            await asyncio.sleep(0.1)
            async with caller.get("/x") as reply:
                assert reply.status in (200, 502)
    broker.child.process.terminate()
    assert "503" in (await broker.child.ends()).err


async def test_an_api_that_is_down_is_a_502(tmp_path: Path) -> None:
    async with with_account(tmp_path, "http://127.0.0.1:1") as place:
        broker = await serves(place)
        async with broker.caller() as caller, caller.get("/x") as reply:
            assert (reply.status, await reply.text()) == (502, "The API could not be reached.\n")


async def test_two_brokers_of_one_account_share_one_refresh(place: Place, api: Api) -> None:
    good = token_of(place)["token"]

    async def answer(request: web.Request) -> web.Response:
        if good in request.headers["Authorization"]:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        return web.Response(text="yes")

    brokers = [await serves(place) for _ in range(2)]
    api.answer = answer

    async def one(broker: Served) -> int:
        async with broker.caller() as caller, caller.get("/x") as reply:
            return reply.status

    assert await asyncio.gather(*(one(broker) for broker in brokers * 5)) == [200] * 10
    assert place.provider.refreshes == 1
