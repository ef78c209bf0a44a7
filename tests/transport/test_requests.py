"""Servers that misbehave on the wire: every call ends in an error of ours, and the next call works."""
from __future__ import annotations

import asyncio
import gzip
import os
import pickle
import ssl
import sys
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from SlyAPI import HeaderApiKey, OAuth2App, OAuth2User, SlyError, UrlApiKey, WebAPI
from SlyAPI.errors import ApiError, BadReplyError, ConfigError, NetworkError, RequestTimeoutError, TokenError
from SlyAPI.transport.public_only import public_socket
from SlyAPI.transport.requests import send
from SlyAPI.web import Method, Request
from SlyAPI.web.secret_values import SecretForm
from tests.support.certificates import make_certificate

if TYPE_CHECKING:
    from tests.conftest import Serve

SECRETS = ("s3cret-key-0", "s3cret-query-0", "s3cret-refresh-0", "s3cret-client-0")
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n" + b'{"access_token": "T", "ok": "ok ok"}'
Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(repr=False)
class Hostile:
    """A listener that reads a request's head and then does what it was told."""

    act: Act
    origin: str = ""
    heads: list[bytes] = field(default_factory=list[bytes])
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]])

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            self.asked.set()
            await self.act(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def hostile(act: Act, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Hostile, None]:
    made = Hostile(act)
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0, ssl=tls)
    made.origin = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)


def says(raw: bytes) -> Act:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return act


def headed(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(headed(b"{", "Content-Length: 100"))
    await writer.drain()
    writer.transport.abort()


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(headed(b"", "Content-Length: 100000"))
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.005)


async def never_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(headed(b"", "Transfer-Encoding: chunked"))
    while True:
        writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await writer.drain()


def bomb(encoding: str) -> Act:
    raw = b" " * (64 << 20)
    packed = gzip.compress(raw, 9) if encoding == "gzip" else zlib.compress(raw, 9)
    return says(headed(packed, f"Content-Encoding: {encoding}", f"Content-Length: {len(packed)}"))


Kind = type[SlyError] | tuple[type[SlyError], ...]
CASES: dict[str, tuple[Act, Kind]] = {
    "closed at once": (says(b""), NetworkError),
    "reset in the middle": (reset, NetworkError),
    "cut body": (says(headed(b'{"a"', "Content-Length: 100")), NetworkError),
    "cut chunk": (says(headed(b"5\r\nab", "Transfer-Encoding: chunked")), NetworkError),
    "cut head": (says(b"HTTP/1.1 200 OK\r\nContent-Le"), NetworkError),
    "garbage": (says(b"\x00\xff\x16\x03garbage\r\n\r\n"), BadReplyError),
    "another protocol": (says(b"SSH-2.0-OpenSSH_9.2\r\n"), BadReplyError),
    "no number for a status": (says(b"HTTP/1.1 two OK\r\n\r\n"), BadReplyError),
    "wrong length": (says(headed(b"{}", "Content-Length: x")), BadReplyError),
    "negative length": (says(headed(b"{}", "Content-Length: -1")), BadReplyError),
    "two lengths": (says(headed(b"{}", "Content-Length: 2", "Content-Length: 1")), BadReplyError),
    "bad chunk size": (
        says(headed(b"zz\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked")),
        (NetworkError, BadReplyError),  # by whether it came with the head
    ),
    "not gzip": (says(headed(b"{}", "Content-Encoding: gzip", "Content-Length: 2")), NetworkError),
    "huge header": (says(headed(b"{}", "X-Huge: " + "x" * 100_000, "Content-Length: 2")), BadReplyError),
    "many headers": (
        says(headed(b"{}", *(f"X-{n}: {'x' * 50}" for n in range(50_000)), "Content-Length: 2")),
        SlyError,  # aiohttp bounds the single header only; what comes is read or refused
    ),
    "endless interim answers": (says(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), NetworkError),
    "silence": (say_nothing, RequestTimeoutError),
    "dripping body": (drip, RequestTimeoutError),
    "endless body": (never_end, BadReplyError),
    "gzip bomb": (bomb("gzip"), BadReplyError),
    "deflate bomb": (bomb("deflate"), BadReplyError),
    "empty": (says(headed(b"", "Content-Length: 0")), BadReplyError),
    "html": (says(headed(b"<html>", "Content-Length: 6")), BadReplyError),
    "error status cut": (says(headed(b"no", "Content-Length: 9", status="500 Oops")), NetworkError),
}


def of_ours(error: SlyError, kind: Kind, told: str) -> None:
    """The error is of the family and says nothing that it must not."""
    assert isinstance(error, kind)
    assert str(error).isprintable()
    assert len(str(error)) < 1000
    assert "127.0.0.1" in str(error)
    for secret in SECRETS:
        assert secret not in told


def api_at(origin: str, **more: Any) -> WebAPI:
    class Signed(HeaderApiKey):
        async def sign(self, client: Any, request: Request) -> Request:
            await UrlApiKey("key", SECRETS[1]).sign(client, request)
            return await super().sign(client, request)

    api = WebAPI(Signed("X-Api-Key", SECRETS[0]), **more)
    api.base_url = origin
    api.reply_limit = 1 << 20
    return api


@pytest.mark.parametrize(("act", "kind"), CASES.values(), ids=CASES.keys())
async def test_an_api_call_ends_in_an_error_of_ours_and_the_next_one_works(
    act: Act, kind: Kind, told_by: Callable[[Any], str]
) -> None:
    timeout = aiohttp.ClientTimeout(total=0.3 if kind is RequestTimeoutError else 20)
    async with hostile(act) as server, aiohttp.ClientSession(timeout=timeout) as session:
        api = api_at(server.origin, session=session)
        try:
            await api.get_json("/things")
        except SlyError as error:
            of_ours(error, kind, told_by(error))
        else:
            assert kind is SlyError
        server.act = says(GOOD)
        assert (await api.get_json("/things"))["ok"] == "ok ok"


@pytest.mark.parametrize(("act", "kind"), CASES.values(), ids=CASES.keys())
async def test_a_refresh_ends_in_an_error_of_ours_and_the_next_one_works(
    act: Act, kind: Kind, told_by: Callable[[Any], str]
) -> None:
    async with hostile(act) as server:
        app = OAuth2App("id", SECRETS[3], f"{server.origin}/auth", f"{server.origin}/token")
        app.token_timeout = 0.3 if kind is RequestTimeoutError else 20.0
        user = OAuth2User("old", SECRETS[2])
        try:
            await app.refresh(None, user)
        except SlyError as error:
            of_ours(error, kind, told_by(error))
        else:
            raise AssertionError("no error")
        server.act = says(GOOD)
        assert (await app.refresh(None, user)).token == "T"


async def test_a_connection_that_nobody_takes_is_a_network_error(unused_port: int) -> None:
    with pytest.raises(NetworkError, match="no connection") as caught:
        await api_at(f"http://127.0.0.1:{unused_port}").get_json("/")
    assert caught.value.kind == "transient"


async def test_a_network_error_is_one_of_aiohttps_too_as_programs_for_0_6_catch_it(unused_port: int) -> None:
    api = api_at(f"http://127.0.0.1:{unused_port}")
    with pytest.raises(aiohttp.ClientError) as caught:
        await api.get_json("/", {"key": SECRETS[0]})
    error = caught.value
    assert isinstance(error, NetworkError)
    assert isinstance(error, aiohttp.ClientConnectionError)
    assert repr(type(error)) == repr(NetworkError)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.next_step) == (NetworkError, str(error), error.next_step)
    with pytest.raises(aiohttp.ClientError):
        await send(Request(Method.POST, f"{api.base_url}/", data=SecretForm(refresh_token=SECRETS[2])), timeout=5.0)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "xn--", "a" * 64 + ".invalid", "256.256.256.256"])
async def test_a_host_that_nobody_knows_is_an_error_that_says_so(host: str, told_by: Callable[[Any], str]) -> None:
    app = OAuth2App("id", None, f"http://{host}/", f"http://{host}/", allow_http=True)
    for call in (api_at(f"http://{host}").get_json("/"), app.refresh(None, OAuth2User("old", SECRETS[2]))):
        with pytest.raises(SlyError) as caught:
            await call
        assert isinstance(caught.value, NetworkError | ConfigError)
        for secret in SECRETS:
            assert secret not in told_by(caught.value)


@pytest.mark.parametrize("url", ["", "nonsense", "http://", "ftp://127.0.0.1/", "http://127.0.0.1:99999/", "http://[::1"])
async def test_what_is_no_http_url_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError):
        await send(Request(Method.POST, url))
    with pytest.raises(ConfigError):
        await api_at(url).get_json("")


async def test_a_plain_server_that_is_asked_for_tls_is_a_configuration_error_about_tls(serve: Serve) -> None:
    server = await serve()
    with pytest.raises(NetworkError, match="TLS failed") as caught:
        await api_at(server.origin.replace("http:", "https:")).get_json("/")
    assert caught.value.kind == "configuration"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and key for 127.0.0.1 that nobody has signed."""
    folder = tmp_path_factory.mktemp("tls")
    make_certificate(folder, "both", hosts=["127.0.0.1"])
    return folder / "both.pem"


async def test_a_certificate_that_nobody_vouches_for_is_a_configuration_error_about_tls(certificate: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    async with hostile(says(GOOD), tls) as server:
        with pytest.raises(NetworkError, match=r"TLS failed.*certificate") as caught:
            await api_at(server.origin).get_json("/")
        assert caught.value.kind == "configuration"
        assert server.heads == []


async def test_a_refresh_over_the_callers_session_goes_by_its_tls_settings(certificate: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    trusting = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=certificate))
    async with hostile(says(GOOD), tls) as server, aiohttp.ClientSession(connector=trusting) as session:
        app = OAuth2App("id", None, f"{server.origin}/auth", f"{server.origin}/token")
        assert (await app.refresh(session, OAuth2User("old", "r"))).token == "T"
        assert (await api_at(server.origin, session=session).get_json("/"))["ok"] == "ok ok"
        assert not session.closed


async def test_a_token_request_is_never_redirected(serve: Serve) -> None:
    other = await serve()
    for status in (301, 302, 303, 307, 308):
        answer = headed(b"", f"Location: {other.origin}/", "Content-Length: 0", status=f"{status} Moved")
        async with hostile(says(answer)) as server:
            app = OAuth2App("id", None, f"{server.origin}/auth", f"{server.origin}/token")
            with pytest.raises(TokenError, match="redirects elsewhere"):
                await app.refresh(None, OAuth2User("old", "r"))
    assert other.seen == []


@pytest.mark.parametrize("start", range(0x80, 0x100, 16))
async def test_a_redirect_leads_to_the_bytes_that_were_sent_whatever_their_encoding(start: int) -> None:
    target = b"/x" + bytes(range(start, start + 16)) + b"?q=\xc3\xa9"
    moved = b"HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: " + target + b"\r\n\r\n"

    async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at = server.heads[-1].split(b" ")[1]
        writer.write(moved if at.startswith(b"/?") else headed(b'{"at": "%s"}' % at, "Connection: close"))
        await writer.drain()

    async with hostile(act) as server:
        at = (await api_at(server.origin).get_json("/"))["at"]
    assert unquote_to_bytes(at).startswith(target)


@pytest.mark.parametrize("act", [never_end, bomb("gzip")], ids=["endless", "bomb"])
async def test_an_error_whose_body_does_not_end_is_an_api_error_all_the_same(act: Act) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        write = writer.write
        writer.write = lambda data: write(bytes(data).replace(b"200 OK", b"503 No"))  # type: ignore[method-assign]
        await act(reader, writer)

    async with hostile(refuse) as server:
        api = api_at(server.origin)
        with pytest.raises(ApiError) as caught:
            await api.get_json("/")
        assert caught.value.status == 503
        server.act = says(GOOD)
        await api.get_json("/")


async def test_a_limit_of_a_megabyte_holds_for_token_replies_and_less_passes() -> None:
    async with hostile(says(b"")) as server:
        request = Request(Method.POST, f"{server.origin}/token")
        for size in (1 << 20, (1 << 20) + 1):
            server.act = says(headed(b"x" * size, f"Content-Length: {size}"))
            if size > 1 << 20:
                with pytest.raises(BadReplyError, match="larger than 1048576 bytes"):
                    await send(request)
            else:
                assert len((await send(request)).body) == size


async def test_a_call_that_is_cancelled_leaves_no_connection_busy() -> None:
    async with hostile(say_nothing) as server:
        api = api_at(server.origin)
        call = asyncio.create_task(api.get_json("/"))
        await server.asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        server.act = says(GOOD)
        assert (await api.get_json("/"))["ok"] == "ok ok"


async def test_a_post_whose_connection_breaks_is_not_sent_again() -> None:
    async def close_on_the_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GOOD)
        server.heads.append(await reader.readuntil(b"\r\n\r\n"))

    async with hostile(close_on_the_second) as server:
        api = api_at(server.origin)
        await api.get_json("/")
        with pytest.raises(NetworkError):
            await api.post_json_empty("/notes", json={"a": 1})
    assert [head.split(b" ")[0] for head in server.heads] == [b"GET", b"POST"]


async def test_netrc_and_proxies_of_the_environment_stay_out(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server = await serve()
    await api_at(server.origin).get_json("/")
    await send(Request(Method.POST, f"{server.origin}/token"))
    assert len(server.seen) == 2
    assert not any("Authorization" in seen.headers for seen in server.seen)


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
async def test_a_proxy_in_the_environment_that_is_ignored_is_named_where_there_is_no_connection(
    name: str, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setenv(name, "http://me:s3cret@127.0.0.1:1")
    monkeypatch.setenv("https_proxy", "http://of-another-scheme")
    name = next(each for each in os.environ if each in (name, name.upper()))  # Windows has them in upper case
    with pytest.raises(NetworkError) as caught:
        await api_at(f"http://127.0.0.1:{unused_port}").get_json("/")
    assert caught.value.next_step.startswith(f"{name} is set, but ignored.")
    assert "session=" in caught.value.next_step
    assert "s3cret" not in str(caught.value)


INSIDE = ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "[fe80::1]", "[64:ff9b::a00:1]", "0.0.0.0"]


@pytest.mark.parametrize("host", INSIDE)
async def test_an_address_that_is_not_public_is_refused_at_the_connection(serve: Serve, host: str) -> None:
    server = await serve()
    url = f"http://{host}:{server.origin.rpartition(':')[2]}/token"
    with pytest.raises(ConfigError, match="not public") as caught:
        await send(Request(Method.POST, url), public_only=True)
    assert caught.value.kind == "configuration"
    assert server.seen == []


async def test_a_name_that_resolves_to_a_private_address_is_refused_whatever_session_the_caller_gives(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve()

    class Rebinding(AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
            found = {"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}
            return [found]

        async def close(self) -> None:
            pass

    request = Request(Method.POST, f"http://public.example:{server.origin.rpartition(':')[2]}/token")
    checked: dict[str, Any] = {"socket_factory": public_socket}
    for more in (checked, {}):
        connector = aiohttp.TCPConnector(resolver=Rebinding(), **more)
        async with aiohttp.ClientSession(connector=connector) as session:
            if not more:
                assert (await send(request, session)).status == 200
            with pytest.raises(ConfigError, match="not public" if more else "public_only does not work"):
                await send(request, session, public_only=True)


def test_a_call_without_an_event_loop_of_asyncio_says_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    sniffio = ModuleType("sniffio")
    sniffio.current_async_library = lambda: "trio"  # type: ignore[attr-defined]
    for running, known in (("no event loop runs", None), ("trio runs", sniffio)):
        monkeypatch.setitem(sys.modules, "sniffio", known)
        for call in (api_at("http://127.0.0.1:9").get_json("/"), send(Request(Method.GET, "http://127.0.0.1:9"))):
            with pytest.raises(ConfigError, match=f"asyncio, but {running} here"):
                call.send(None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("where", "call"), [("auth", "an API call"), ("netrc", "an API call"), ("netrc", "a refresh")]
)
async def test_a_session_with_credentials_of_its_own_is_named_as_the_reason(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, call: str
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password s3cret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = await serve()
    app = OAuth2App("id", "secret", f"{server.origin}/auth", f"{server.origin}/token", client_auth="basic")
    own: Any = {"auth": aiohttp.BasicAuth("me", "s3cret")} if where == "auth" else {"trust_env": True}
    async with aiohttp.ClientSession(**own) as session:
        api = WebAPI(HeaderApiKey("Authorization", SECRETS[0]), session=session)
        api.base_url = server.origin
        with pytest.raises(ConfigError, match="credentials of its own") as caught:
            await (api.get_json("/") if call == "an API call" else app.refresh(session, OAuth2User("old", "r")))
    assert "trust_env" in caught.value.next_step
    assert server.seen == []


@pytest.mark.parametrize("call", ["an API call", "a refresh"])
@pytest.mark.parametrize("how", ["proxy=", "trust_env"])
@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 Forbidden", "502 Bad Gateway", ""])
async def test_a_proxy_that_lets_nothing_through_is_named_and_gets_nothing_of_ours(
    monkeypatch: pytest.MonkeyPatch, unused_port: int, status: str, how: str, call: str
) -> None:
    async with hostile(says(headed(b"", "Content-Length: 0", status=status))) as proxy:
        origin = proxy.origin if status else f"http://127.0.0.1:{unused_port}"
        monkeypatch.setenv("https_proxy", origin)
        how_given: Any = {"proxy": origin} if how == "proxy=" else {"trust_env": True}
        app = OAuth2App("id", SECRETS[3], "https://api.example/auth", "https://api.example/token")
        async with aiohttp.ClientSession(**how_given) as session:
            api = api_at("https://api.example", session=session)
            with pytest.raises(NetworkError, match="proxy") as caught:
                await (api.get_json("/") if call == "an API call" else app.refresh(session, OAuth2User("old", "r")))
        assert caught.value.kind == "transient"
        assert status[:3] in str(caught.value)
        assert not any(secret.encode() in head for secret in SECRETS for head in proxy.heads)
