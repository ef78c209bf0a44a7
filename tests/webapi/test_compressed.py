"""Bodies that are sent in gzip: what arrives is what was given, and it can be sent again."""
from __future__ import annotations

import gzip
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from SlyAPI import Auth, HeaderApiKey, WebAPI
from SlyAPI.errors import ApiError, BadReplyError, ConfigError

if TYPE_CHECKING:
    from tests.conftest import Serve

TEXT = "snow over Oslo, " * 50_000


async def _pieces() -> AsyncGenerator[bytes, None]:
    for at in range(0, len(TEXT), 10_000):
        yield TEXT[at : at + 10_000].encode()


def _file(folder: Path) -> Path:
    (folder / "sent").write_text(TEXT)
    return folder / "sent"


BODIES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "text": lambda _: {"data": TEXT},
    "bytes": lambda _: {"data": TEXT.encode()},
    "pieces": lambda _: {"data": _pieces()},
    "a file": lambda folder: {"data": _file(folder)},
    "JSON": lambda _: {"json": {"text": TEXT}},
    "an empty text": lambda _: {"data": ""},
    "files": lambda folder: {"files": {"file": _file(folder)}, "data": {"title": "Oslo"}},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_what_arrives_is_what_was_given(
    serve: Serve, tmp_path: Path, body: Callable[[Path], dict[str, Any]]
) -> None:
    server = await serve()
    async with WebAPI(Auth.none()) as api:
        api.base_url = server.origin
        for compress in (True, False):
            await api.post("/", compress=compress, headers={"Content-Type": "text/x-own"}, **body(tmp_path))
    packed, plain = server.seen
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Type"] == plain.headers["Content-Type"] == "text/x-own"
    if b"boundary" not in plain.body and b"form-data" not in plain.body:
        assert packed.body == plain.body
    else:
        assert TEXT.encode() in packed.body


async def test_compressed_json_is_declared_as_json(serve: Serve) -> None:
    server = await serve()
    async with WebAPI(Auth.none()) as api:
        api.base_url = server.origin
        await api.post("/", json={"n": 1}, compress=True)
    assert server.last.headers["Content-Type"] == "application/json"
    assert json.loads(server.last.body) == {"n": 1}


async def test_a_compressed_body_is_sent_again_after_a_redirect(serve: Serve) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/old":
            return web.Response(status=308, headers={"Location": "/new"})
        return web.json_response({"ok": True})

    server = await serve(answer)
    async with WebAPI(HeaderApiKey("X-Key", "hunter2")) as api:
        api.base_url = server.origin
        await api.post("/old", data=TEXT, compress=True)
    assert [seen.body for seen in server.seen] == [TEXT.encode()] * 2


async def test_a_form_without_files_is_refused_before_it_is_sent(serve: Serve) -> None:
    server = await serve()
    async with WebAPI(Auth.none()) as api:
        api.base_url = server.origin
        with pytest.raises(ConfigError, match="form"):
            await api.post("/", data={"title": "Oslo"}, compress=True)
    assert server.seen == []


async def test_x_gzip_is_gzip_and_no_way_around_the_limit_of_a_reply(serve: Serve) -> None:
    async def sends(request: web.Request) -> web.StreamResponse:
        status = 400 if request.path == "/refused" else 200
        head = {"Content-Encoding": "X-GZip", "Content-Type": "application/json"}
        body = b"no" if request.path == "/plain" else gzip.compress(json.dumps({"text": TEXT}).encode())
        return web.Response(body=body, headers=head, status=status)

    server = await serve(sends)
    async with WebAPI(Auth.none(), server.origin) as api:
        assert await api.get_json("/") == {"text": TEXT}
        async with api.stream("/") as reply:
            assert json.loads(b"".join([piece async for piece in reply])) == {"text": TEXT}
        with pytest.raises(ApiError, match="Oslo"):
            await api.get_json("/refused")
        with pytest.raises(BadReplyError, match="gzip"):
            await api.get_json("/plain")
        api.reply_limit = len(TEXT)
        with pytest.raises(BadReplyError, match="larger"):
            await api.get_json("/")
