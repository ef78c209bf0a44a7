"""Client certificates (RFC 8705) at real TLS servers: who presents them where, and their renewal."""
from __future__ import annotations

import hashlib
import logging
import ssl
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
from aiohttp import web

import SlyAPI.httpx
import SlyAPI.httpx2
from SlyAPI import OAuth2, OAuth2App, OAuth2User, WebAPI
from SlyAPI.errors import BadReplyError, ConfigError, NetworkError
from SlyAPI.transport.certificates import thumbprint
from tests.support.certificates import Issued, make_certificate, server_context
from tests.support.serving import all_by, served

# RFC 8705 Appendix A
EXAMPLE = """-----BEGIN CERTIFICATE-----
MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAx
ODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqG
SM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ
/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwID
SQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOV
bUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=
-----END CERTIFICATE-----
"""
BOUND_TO = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"


@dataclass
class Demanding:
    """An API and a provider that want a certificate in TLS, and what was shown (`x5t#S256`) for which path."""

    folder: Path
    ca: Issued
    origin: str = ""
    seen: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def app(self, **more: Any) -> OAuth2App:
        usual: dict[str, Any] = {"certificate": (self.folder / "client.crt", self.folder / "client.key")}
        uris = (f"{self.origin}/authorize", f"{self.origin}/token")
        return OAuth2App("c", None, *uris, client_auth="tls_client_auth", **{**usual, **more})

    def auth(self, **more: Any) -> OAuth2:
        return OAuth2(self.app(**more), OAuth2User("t", "r"))

    async def answer(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        der = request.transport.get_extra_info("ssl_object").getpeercert(True)
        shown = urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode() if der else ""
        self.seen.append((request.path, shown))
        if request.path == "/away":
            raise web.HTTPFound("https://127.0.0.1:1/")
        return web.json_response({"access_token": "t2", "token_type": "Bearer", "expires_in": 100, "sub": "s"})


@pytest.fixture
async def demanding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Demanding, None]:
    async with demanding_at(tmp_path, monkeypatch) as it:
        yield it


@asynccontextmanager
async def demanding_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Demanding, None]:
    it = Demanding(folder, make_certificate(folder, "ca"))
    for name in ("server", "client", "other"):
        make_certificate(folder, name, it.ca)
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.crt"))
    async with served(all_by(it.answer), ssl_context=server_context(folder)) as origin:
        it.origin = origin.replace("http://127.0.0.1", "https://localhost")
        yield it


# --- who presents it ---


async def by_webapi(auth: OAuth2, url: str) -> None:
    api = WebAPI(auth)
    api.base_url = url
    async with api:
        await api.get_json("/")


async def by_stream(auth: OAuth2, url: str) -> None:
    api = WebAPI(auth)
    api.base_url = url
    async with api, api.stream("/") as reply:
        async for _ in reply.lines():
            pass


async def by_middleware(auth: OAuth2, url: str) -> None:
    async with aiohttp.ClientSession(middlewares=(auth,)) as session, session.get(f"{url}/") as reply:
        assert reply.status == 200


async def by_request_middleware(auth: OAuth2, url: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/", middlewares=(auth,)) as reply:
        assert reply.status == 200


WAYS: dict[str, Callable[[OAuth2, str], Awaitable[None]]] = {
    "WebAPI": by_webapi,
    "stream": by_stream,
    "middleware": by_middleware,
    "middleware of a request": by_request_middleware,
}


@pytest.mark.parametrize("way", WAYS)
async def test_an_api_that_demands_the_certificate_gets_it(demanding: Demanding, way: str) -> None:
    await WAYS[way](demanding.auth(), demanding.origin)
    assert demanding.seen == [("/", thumbprint(demanding.folder / "client.pem"))]


@pytest.mark.parametrize("way", ["WebAPI", "stream"])
async def test_without_a_certificate_the_api_is_not_reached(demanding: Demanding, way: str) -> None:
    with pytest.raises(NetworkError):
        await WAYS[way](demanding.auth(certificate=None), demanding.origin)
    assert not demanding.seen


@pytest.mark.parametrize("library", [(SlyAPI.httpx, httpx), (SlyAPI.httpx2, httpx2)], ids=["httpx", "httpx2"])
async def test_httpx_says_who_has_to_present_it(demanding: Demanding, library: Any) -> None:
    ours, theirs = library
    context = ssl.create_default_context(cafile=str(demanding.folder / "ca.crt"))
    context.load_cert_chain(demanding.folder / "client.pem")
    async with theirs.AsyncClient(auth=ours.signed(demanding.auth()), verify=context) as client:
        with pytest.raises(ConfigError, match="certificate") as refused:
            await client.get(f"{demanding.origin}/")
    assert "presents_certificate" in refused.value.next_step
    assert not demanding.seen, "nothing is sent"
    signed = ours.signed(demanding.auth(), presents_certificate=True)
    async with theirs.AsyncClient(auth=signed, verify=context) as client:
        assert (await client.get(f"{demanding.origin}/")).status_code == 200
    assert demanding.seen == [("/", thumbprint(demanding.folder / "client.pem"))]


async def test_a_request_with_tls_settings_of_its_own_keeps_them(demanding: Demanding) -> None:
    context = ssl.create_default_context(cafile=str(demanding.folder / "ca.crt"))
    context.load_cert_chain(demanding.folder / "other.pem")
    async with aiohttp.ClientSession(middlewares=(demanding.auth(),)) as session:
        async with session.get(f"{demanding.origin}/", ssl=context):
            pass
    assert demanding.seen == [("/", thumbprint(demanding.folder / "other.pem"))]


async def test_another_origin_sees_no_certificate(demanding: Demanding) -> None:
    shown: list[bool] = []

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        shown.append(bool(request.transport.get_extra_info("peercert")))
        return web.json_response({})

    tls = server_context(demanding.folder, ssl.CERT_OPTIONAL)
    trusting = ssl.create_default_context(cafile=str(demanding.folder / "ca.crt"))
    async with served(all_by(answer), ssl_context=tls) as other:
        target = other.replace("http://127.0.0.1", "https://localhost")

        async def away(request: web.Request) -> web.Response:
            raise web.HTTPFound(target)

        async with served(all_by(away), ssl_context=server_context(demanding.folder)) as origin:
            at = origin.replace("http://127.0.0.1", "https://localhost")
            connector = aiohttp.TCPConnector(ssl=trusting)
            async with aiohttp.ClientSession(connector=connector, middlewares=(demanding.auth(),)) as session:
                async with session.get(at):
                    pass
    assert shown == [False]


@pytest.mark.parametrize("endpoint", ["token", "userinfo", "revoke", "introspect", "par"])
async def test_each_endpoint_of_the_provider_gets_it_at_its_alias(demanding: Demanding, endpoint: str) -> None:
    names = {
        "token": "token_endpoint",
        "userinfo": "userinfo_endpoint",
        "revoke": "revocation_endpoint",
        "introspect": "introspection_endpoint",
        "par": "pushed_authorization_request_endpoint",
    }
    aliases = {name: f"{demanding.origin}/alias/{ours}" for ours, name in names.items()}
    plain = {f"{ours}_uri": "https://p.example/plain" for ours in names if ours != "token"}
    app, user = demanding.app(mtls_aliases=aliases, **plain), OAuth2User("t", "r")
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "token": lambda: app.refresh(None, user),
        "userinfo": lambda: app.userinfo(user),
        "revoke": lambda: app.revoke(user),
        "introspect": lambda: app.introspect("t"),
        "par": lambda: app.push_login("http://127.0.0.1:8080", "notes"),
    }
    with suppress(BadReplyError):  # what the server answers does not matter here
        await calls[endpoint]()
    assert demanding.seen == [(f"/alias/{endpoint}", thumbprint(demanding.folder / "client.pem"))]


# --- renewed files ---


def renew(demanding: Demanding, *endings: str) -> str:
    """Replaces the client's files, as an agent for short-lived certificates does; the new `x5t#S256`."""
    make_certificate(demanding.folder, "renewed", demanding.ca)
    for ending in endings:
        (demanding.folder / f"renewed.{ending}").replace(demanding.folder / f"client.{ending}")
    return thumbprint(demanding.folder / "client.crt")


async def test_a_renewed_certificate_is_presented_without_a_restart(demanding: Demanding) -> None:
    auth, first = demanding.auth(), thumbprint(demanding.folder / "client.crt")
    api = WebAPI(auth)
    api.base_url = demanding.origin
    async with api, aiohttp.ClientSession(middlewares=(auth,)) as session:
        await api.get_json("/1")
        async with session.get(f"{demanding.origin}/1"):
            pass
        second = renew(demanding, "crt", "key")
        await api.get_json("/2")
        async with session.get(f"{demanding.origin}/2"):
            pass
        await auth.refresh_now()
    assert second != first
    assert [shown for _, shown in demanding.seen] == [first, first, second, second, second]


async def test_between_two_files_the_old_certificate_serves(
    demanding: Demanding, caplog: pytest.LogCaptureFixture
) -> None:
    app, first = demanding.app(), thumbprint(demanding.folder / "client.crt")
    user = await app.refresh(None, OAuth2User("t", "r"))
    second = renew(demanding, "crt")
    with caplog.at_level(logging.WARNING, "SlyAPI"):
        for _ in range(3):
            await app.refresh(None, user)
        (demanding.folder / "renewed.key").replace(demanding.folder / "client.key")
        await app.refresh(None, user)
        (demanding.folder / "client.key").unlink()
        for _ in range(3):
            await app.refresh(None, user)
    assert [shown for _, shown in demanding.seen] == [first] * 4 + [second] * 4
    reports = [record.getMessage() for record in caplog.records if "certificate" in record.getMessage()]
    assert len(reports) == 2
    assert "client.crt" in reports[0]


async def test_files_that_never_worked_are_an_error_before_anything_is_sent(demanding: Demanding) -> None:
    (demanding.folder / "other.key").replace(demanding.folder / "client.key")
    with pytest.raises(ConfigError, match=r"client\.crt"):
        await demanding.app().refresh(None, OAuth2User("t", "r"))
    with pytest.raises(ConfigError, match=r"client\.crt"):
        await by_middleware(demanding.auth(), demanding.origin)
    assert not demanding.seen


# --- thumbprints ---


_KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("before", ["", "Bag Attributes\n", _KEY])
def test_the_thumbprint_is_that_of_rfc_8705_appendix_a(tmp_path: Path, before: str) -> None:
    path = tmp_path / "client.pem"
    path.write_text(before + EXAMPLE + EXAMPLE.replace("MIIBBj", "MIIBBk"))
    assert thumbprint(path) == thumbprint((path, tmp_path / "key.pem")) == BOUND_TO


@pytest.mark.parametrize("content", [None, "", "-----BEGIN CERTIFICATE-----\n", EXAMPLE.replace("=", "!")])
def test_a_file_without_a_certificate_has_no_thumbprint(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "client.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"client\.pem"):
        thumbprint(path)
