"""OAuth1 as aiohttp client middleware, without a `WebAPI`: the same judge, the requests as aiohttp makes them."""
from __future__ import annotations

import io
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from SlyAPI import Auth, OAuth1
from SlyAPI.errors import ConfigError
from SlyAPI.web import Method, Request
from tests.support.oauth1_judge import Judge

if TYPE_CHECKING:
    from tests.conftest import Serve

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def ask(auth: Auth, method: str, url: str, **more: Any) -> int:
    async with aiohttp.ClientSession(middlewares=(auth,)) as client, client.request(method, url, **more) as response:
        await response.read()
        return response.status


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("GET", {"params": [("a", "2"), ("a", "1"), ("b c", "ü+~&=")]}),
        ("HEAD", {}),
        ("OPTIONS", {}),
        ("PROPFIND", {}),
        ("POST", {}),
        ("POST", {"data": {"a": "b c+~ü", "n": "5"}}),
        ("PUT", {"data": aiohttp.FormData([("a", "2"), ("a", "1"), ("", "x")])}),
        ("POST", {"data": "a=b+c&a=%C3%BC&d", "headers": FORM}),
        ("POST", {"data": b"a=%C3%BC&b=c", "headers": {"content-type": FORM["Content-Type"] + "; charset=utf-8"}}),
        ("POST", {"json": {"a": "b"}}),
        ("PATCH", {"data": b"a=b", "headers": {"Content-Type": "application/octet-stream"}}),
        ("POST", {"data": {"file": io.BytesIO(b"a=b")}}),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{', '.join(value) or 'nothing'}",
)
async def test_a_request_is_found_rightly_signed(judge: Judge, auth: OAuth1, method: str, more: dict[str, Any]) -> None:
    assert await ask(auth, method, f"{judge.origin}/Path?q=%20x", **more) == 200


async def test_redirects_are_signed_anew(judge: Judge, auth: OAuth1) -> None:
    judge.answer = (
        lambda request: web.Response(status=307, headers={"Location": "/New"}) if request.path == "/Old" else None
    )
    assert await ask(auth, "POST", f"{judge.origin}/Old", data={"a": "b"}) == 200
    assert await ask(auth, "GET", f"{judge.origin}/Old") == 200


async def test_another_origin_gets_no_signature(judge: Judge, auth: OAuth1, serve: Serve) -> None:
    other = await serve()
    judge.answer = lambda request: web.Response(status=302, headers={"Location": f"{other.origin}/"})
    assert await ask(auth, "GET", judge.origin) == 200
    assert "Authorization" not in other.last.headers


async def pieces() -> AsyncGenerator[bytes, None]:
    yield b"a=b"


async def test_a_form_that_is_a_stream_is_refused_before_it_is_sent(judge: Judge, auth: OAuth1) -> None:
    for data in (pieces(), io.BytesIO(b"a=b")):
        with pytest.raises(ConfigError, match="mapping or as text"):
            await ask(auth, "POST", judge.origin, data=data, headers=FORM)
    assert judge.log == []


class Signing(Auth):
    """An auth of one's own that sees, and may add to, a form."""

    def __init__(self, added: str) -> None:
        self.added = added

    async def sign(self, client: Any, request: Request) -> Request:
        request.headers["X-Saw"] = f"{request.method} {request.data!r}"
        if self.added:
            request.data = f"{request.data}{self.added}"
        return request


async def test_any_auth_sees_the_form_and_the_method_and_cannot_change_the_form(serve: Serve) -> None:
    server = await serve()
    assert await ask(Signing(""), "POST", server.origin, data={"a": "b c"}) == 200
    assert server.last.headers["X-Saw"] == "POST 'a=b+c'"
    assert await ask(Signing(""), "HEAD", server.origin) == 200
    assert server.last.headers["X-Saw"] == "HEAD {}"
    with pytest.raises(ConfigError, match="changes the body"):
        await ask(Signing("&key=x"), "POST", server.origin, data={"a": "b c"})


def test_a_method_without_a_name_of_ours_is_one_all_the_same() -> None:
    assert Method("HEAD") == "HEAD"
    assert Method("GET") is Method.GET
    assert f"{Method('PROPFIND')} {Request(Method('REPORT'), 'https://h.example/a').name}" == (
        "PROPFIND REPORT https://h.example/a"
    )
    for odd in ("/notes", "GET ", ""):
        with pytest.raises(ValueError):
            Method(odd)
