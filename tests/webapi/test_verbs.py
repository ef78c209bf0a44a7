"""`get`, `post` and their siblings: what comes back is what `returns` says, what goes out is what was given."""
from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from SlyAPI import ApiError, Auth, OAuth1, OAuth1App, OAuth1User, WebAPI
from SlyAPI.errors import BadReplyError, ConfigError
from SlyAPI.web import Request
from tests.conftest import Server
from tests.support.renewing import Renewing

if TYPE_CHECKING:
    from tests.conftest import Practise, Serve


@dataclass
class City:
    name: str
    people: int = 0


class Day(TypedDict):
    sky: str


def api_of(server: Server, auth: Auth | None = None) -> WebAPI:
    api = WebAPI(auth or Auth.none())
    api.base_url = server.origin
    return api


def answering(body: bytes, status: int = 200) -> Any:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body)

    return handler


async def parts(request: web.Request) -> web.StreamResponse:
    """Tells what aiohttp's server reads in a form."""
    told = []
    for name, part in (await request.post()).items():
        if isinstance(part, web.FileField):
            told.append([name, part.filename, part.content_type, part.file.read().decode("latin-1")])
        else:
            told.append([name, str(part)])
    return web.json_response(told)


async def once_refused(request: web.Request) -> web.StreamResponse:
    if request.headers.get("X-Number") == "1":
        return web.Response(status=401)
    return web.json_response({"bytes": len(await request.read())})


async def pieces(*given: Any) -> AsyncGenerator[Any, None]:
    for piece in given:
        yield piece


# What comes back.


@pytest.mark.parametrize("verb", ["get", "post", "put", "patch", "delete"])
async def test_the_answer_is_what_returns_says(serve: Serve, verb: str) -> None:
    server = await serve(answering(b'{"name": "Oslo", "people": 5, "more": 1}'))
    ask = getattr(api_of(server), verb)
    assert await ask("/x", params={"q": 1}, returns=City) == City("Oslo", 5)
    assert await ask("/x", returns=dict[str, Any]) == await ask("/x") == {"name": "Oslo", "people": 5, "more": 1}
    assert await ask("/x", returns=str) == '{"name": "Oslo", "people": 5, "more": 1}'
    assert await ask("/x", returns=bytes) == b'{"name": "Oslo", "people": 5, "more": 1}'
    assert await ask("/x", returns=None) is None
    assert {seen.method for seen in server.seen} == {verb.upper()}
    assert server.seen[0].query == [("q", "1")]


async def test_json_of_another_shape_is_an_error_that_names_the_call_and_the_place(
    serve: Serve, told_by: Callable[[BaseException], str]
) -> None:
    server = await serve(answering(b'[{"sky": "clear"}, {"sky": {"hunter2": "hunter2"}}]'))
    with pytest.raises(BadReplyError, match=r"\[1\]\.sky: expected str, found object") as caught:
        await api_of(server).get("/x", returns=list[Day])
    assert "hunter2" not in told_by(caught.value)


async def test_an_empty_answer_is_none_where_the_type_has_none_and_else_an_error(serve: Serve) -> None:
    api = api_of(await serve(answering(b"", 204)))
    assert await api.get("/x", returns=City | None) is None
    assert await api.delete("/x") is None
    with pytest.raises(BadReplyError, match="empty"):
        await api.get("/x", returns=City)


async def test_items_of_pages_are_what_returns_says(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.query.get("pageToken"):
            return web.json_response({"items": [{"name": "Bergen"}, {"name": None}]})
        return web.json_response({"items": [{"name": "Oslo"}], "nextPageToken": "t"})

    api = api_of(await serve(handler))
    assert await api.paginated("/x", returns=City, limit=2) == [City("Oslo"), City("Bergen")]
    found = api.paginated("/x", returns=City, prefetch=True).__aiter__()
    assert await anext(found) == City("Oslo")
    with pytest.raises(BadReplyError, match=r"items\[1\]\.name: expected str, found null"):
        await anext(found)


async def test_the_older_names_read_a_dataclass_that_could_not_be_called_in_0_6(serve: Serve) -> None:
    @dataclass
    class Two:
        name: str
        people: int

    api = api_of(await serve(answering(b'{"name": "Oslo", "people": 5}')))
    assert await api._get(Two, "/x") == Two("Oslo", 5)
    in_0_6: Any = await api._get(City, "/x")
    assert in_0_6.name == {"name": "Oslo", "people": 5}


async def test_what_a_call_does_not_take_is_a_type_error_before_anything_is_sent(serve: Serve) -> None:
    server = await serve()
    with pytest.raises(TypeError, match="content"):
        await api_of(server).post("/x", content=b"x")  # type: ignore[call-overload]  # pyright: ignore
    assert server.seen == []


# What goes out.


@pytest.mark.parametrize(
    ("sent", "kind", "body"),
    [
        ({"json": {"a": [1]}}, "application/json", b'{"a": [1]}'),
        ({"json": City("x")}, "application/json", b'{"name": "x", "people": 0}'),
        ({"data": {"a": "b c", "d": [1, 2]}}, "application/x-www-form-urlencoded", b"a=b+c&d=1&d=2"),
        ({"data": "text ü"}, "text/plain; charset=utf-8", "text ü".encode()),
        ({"data": b"\0raw"}, "application/octet-stream", b"\0raw"),
        ({"data": io.BytesIO(b"read")}, "application/octet-stream", b"read"),
        ({"data": b"x", "headers": {"content-type": "image/png"}}, "image/png", b"x"),
        ({}, "application/octet-stream", b""),  # aiohttp says so of no body
    ],
)
async def test_a_body_goes_out_as_what_it_is(serve: Serve, sent: dict[str, Any], kind: str | None, body: bytes) -> None:
    server = await serve()
    await api_of(server).post("/x", returns=None, **sent)
    assert (server.last.headers.get("Content-Type"), server.last.body) == (kind, body)
    assert server.last.headers.getall("Content-Length", []) in ([str(len(body))], [])


@pytest.mark.parametrize(
    "sent", [{"json": 1, "data": b"x"}, {"json": 1, "files": {"a": b"x"}}, {"data": b"x", "files": {"a": b"x"}}]
)
async def test_two_bodies_are_a_mistake_of_the_program(serve: Serve, sent: dict[str, Any]) -> None:
    server = await serve()
    with pytest.raises(ConfigError):
        await api_of(server).post("/x", **sent)
    assert server.seen == []


@pytest.mark.parametrize("data", [5, object(), [b"x"], io.StringIO("text")])
async def test_what_is_no_body_is_a_type_error_before_anything_is_sent(serve: Serve, data: Any) -> None:
    server = await serve()
    with pytest.raises(TypeError):
        await api_of(server).post("/x", data=data)
    assert server.seen == []


async def test_a_file_goes_out_from_where_it_stands_and_a_path_from_its_beginning(
    serve: Serve, tmp_path: Path
) -> None:
    server = await serve()
    path = tmp_path / "a.bin"
    path.write_bytes(content := os.urandom(1_000_000))
    with path.open("rb") as file:
        file.seek(10)
        await api_of(server).put("/x", data=file, returns=None)
        assert server.last.body == content[10:]
        assert not file.closed
    await api_of(server).put("/x", data=path, returns=None)
    assert server.last.body == content
    assert server.last.headers["Content-Length"] == "1000000"


async def test_a_body_of_unknown_size_goes_out_in_chunks(serve: Serve) -> None:
    server = await serve()
    read, write = os.pipe()
    os.write(write, b"from a pipe")
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        await api_of(server).post("/x", data=pipe, returns=None)
    assert (server.last.body, server.last.headers["Transfer-Encoding"]) == (b"from a pipe", "chunked")
    await api_of(server).post("/x", data=pieces(b"a", b"", b"b"), returns=None)
    assert server.last.body == b"ab"


class Unread(Server):
    """A server whose handler reads the body itself."""

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        return await self.handler(request)


async def test_a_form_with_files_is_read_by_a_server_as_it_was_meant(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("on disk")
    server = Unread(parts, lambda: 0.0)
    async with server.running(), api_of(server) as api:
        opened = io.BytesIO(b"on disk")
        opened.name = "/home/me/notes.txt"
        answer = await api.post(
            "/x",
            data={"title": "Ü", "tags": ["a", "b"], "none": None},
            files=[
                ("file", opened),
                ("file", tmp_path / "notes.txt"),
                ("named", ("photo.png", b"\x89PNG")),
                ("whole", ("ö.bin", io.BytesIO(b"x"), "image/x-own")),
                ("plain", b"bytes"),
                ("pieces", ("p", pieces(b"a", b"b"))),
            ],
            returns=list[Any],
        )
    assert answer == [
        ["title", "Ü"],
        ["tags", "a"],
        ["tags", "b"],
        ["file", "notes.txt", "text/plain", "on disk"],
        ["file", "notes.txt", "text/plain", "on disk"],
        ["named", "photo.png", "image/png", "\x89PNG"],
        ["whole", "ö.bin", "image/x-own", "x"],
        ["plain", "plain", "application/octet-stream", "bytes"],
        ["pieces", "p", "application/octet-stream", "ab"],
    ]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20), st.binary(max_size=50))
async def test_no_name_of_a_file_or_field_forges_a_part(serve: Serve, name: str, filename: str, raw: bytes) -> None:
    server = await serve()
    await api_of(server).post("/x", data={name: "v"}, files={name: (filename, raw)}, returns=None)
    boundary = server.last.headers["Content-Type"].partition("boundary=")[2].encode()
    assert server.last.body.count(b"--" + boundary) == 3
    heads = [part.partition(b"\r\n\r\n")[0] for part in server.last.body.split(b"--" + boundary)[1:3]]
    assert [head.count(b"\r\n") for head in heads] == [1, 2]
    assert [head.count(b'"') for head in heads] == [2, 4]


def _of_no_text(folder: Path) -> Path:
    path = Path(os.fsdecode(os.fsencode(folder) + b"/\xff.txt"))
    path.write_bytes(b"content")
    return path


@pytest.mark.skipif(os.name != "posix", reason="names of files are text")
async def test_a_file_whose_name_is_no_text_is_sent(serve: Serve, tmp_path: Path) -> None:
    path = _of_no_text(tmp_path)
    server = await serve()
    await api_of(server).post("/x", files={"a": path}, returns=None)
    assert b'filename="?.txt"' in server.last.body
    assert b"content" in server.last.body


@pytest.mark.parametrize("how", [{"data": "\ud800"}, {"data": "\ud800", "progress": len}, {"files": {"a": "\ud800"}}])
async def test_text_that_no_encoding_can_write_is_refused_in_our_words(serve: Serve, how: Any) -> None:
    with pytest.raises(ConfigError, match="surrogate"):
        await api_of(await serve()).post("/x", **how)


async def _streamed(api: WebAPI, headers: dict[str, str]) -> None:
    async with api.stream("/x", headers=headers):
        pass


WITH_HEADERS: dict[str, Callable[[WebAPI, dict[str, str], Path], Awaitable[object]]] = {
    "a call": lambda api, headers, _: api.get("/x", headers=headers),
    "a form": lambda api, headers, _: api.post_form("/x", data={"a": "b"}, headers=headers),
    "a file": lambda api, headers, _: api.post("/x", data=io.BytesIO(b"x"), headers=headers),
    "a page": lambda api, headers, _: api.paginated("/x", headers=headers).__aiter__().__anext__(),
    "a stream": lambda api, headers, _: _streamed(api, headers),
    "a download": lambda api, headers, folder: api.download("/x", folder / "out", headers=headers),
}


@pytest.mark.parametrize("headers", [{"X-Name": "a\ud800b"}, {"X-\udfffName": "a"}], ids=["value", "name"])
@pytest.mark.parametrize("call", WITH_HEADERS)
async def test_a_header_with_half_a_character_is_not_sent_without_it(
    serve: Serve, tmp_path: Path, call: str, headers: dict[str, str]
) -> None:
    server = await serve()
    with pytest.raises(ConfigError, match="surrogate"):
        await WITH_HEADERS[call](api_of(server), headers, tmp_path)
    assert server.seen == []


BODIES: dict[str, dict[str, Any]] = {
    "json": {"json": {"a": 1}},
    "form": {"data": {"a": "12345"}},
    "text": {"data": "1234567"},
    "bytes": {"data": b"1234567"},
    "progress": {"data": b"1234567", "progress": abs},
    "files": {"files": {"a": b"1"}},
    "compressed": {"json": {"a": 1}, "compress": True},
    "none": {},
}


@pytest.mark.parametrize("name", ["Content-Length", "content-length", "Transfer-Encoding"])
@pytest.mark.parametrize("value", ["3", "1000", "chunked"])
@pytest.mark.parametrize("what", BODIES)
async def test_where_a_body_ends_is_not_for_the_callers_headers_to_say(
    serve: Serve, what: str, name: str, value: str
) -> None:
    server = await serve()
    async with asyncio.timeout(5):
        await api_of(server).post("/x", **BODIES[what])
        plain = server.last
        await api_of(server).post("/x", **BODIES[what], headers={name: value, "X-Own": "1"})
    assert len(server.last.body) == len(plain.body)
    for each in ("Content-Length", "Transfer-Encoding"):
        assert server.last.headers.get(each) == plain.headers.get(each)
    assert server.last.headers["X-Own"] == "1"


async def test_a_content_type_with_a_line_end_is_refused(serve: Serve) -> None:
    with pytest.raises(ConfigError):
        await api_of(await serve()).post("/x", files={"a": ("n", b"x", "text/plain\r\nX-Own: 1")})


async def test_a_path_that_cannot_be_read_is_named_before_anything_is_sent(serve: Serve, tmp_path: Path) -> None:
    server = await serve()
    for path, why in ((tmp_path / "none", "No such file"), (tmp_path, "not a regular file")):
        with pytest.raises(ConfigError, match=why):
            await api_of(server).post("/x", data=path)
    assert server.seen == []


def _closed(file: Any) -> Any:
    file.close()
    return file


UNREADABLE: dict[str, Callable[[Path], Any]] = {
    "a closed file": lambda folder: _closed((folder / "a").open("w+b")),
    "a closed buffer": lambda _: _closed(io.BytesIO(b"x")),
    "a file opened to write": lambda folder: (folder / "a").open("wb"),
}


@pytest.mark.parametrize(
    "how", [lambda file: {"data": file}, lambda file: {"files": {"f": file}}], ids=["data", "files"]
)
@pytest.mark.parametrize("what", UNREADABLE)
async def test_a_file_that_cannot_be_read_is_our_error_before_anything_is_sent(
    serve: Serve, tmp_path: Path, what: str, how: Callable[[Any], Any]
) -> None:
    server = await serve()
    with closing(UNREADABLE[what](tmp_path)) as file, pytest.raises(ConfigError, match="cannot be read"):
        await api_of(server).post("/x", **how(file))
    assert server.seen == []


@pytest.mark.parametrize("packed", [False, True])
async def test_a_path_whose_file_goes_before_it_is_sent_is_our_error(
    serve: Serve, tmp_path: Path, packed: bool
) -> None:
    path = tmp_path / "gone"
    path.write_bytes(b"content")
    api = api_of(await serve())
    with pytest.raises(ConfigError, match="gone cannot be sent"):
        await api.post("/x", data=path, total=lambda _: path.unlink(), compress=packed)
    assert await api.get("/x") == {"ok": True}


# Progress.


async def test_progress_is_told_every_byte_and_the_size_when_the_body_begins(serve: Serve) -> None:
    server, told = await serve(), list[Any]()
    content = os.urandom(700_000)
    await api_of(server).post("/x", data=content, progress=told.append, total=lambda n: told.append((n,)))
    assert told[0] == (700_000,)
    assert sum(told[1:]) == 700_000
    assert len(told) > 2
    told.clear()
    await api_of(server).post("/x", data=pieces(b"abc"), progress=told.append, total=lambda n: told.append((n,)))
    assert told == [(None,), 3]
    told.clear()
    await api_of(server).post("/x", files={"a": b"abc"}, total=told.append)
    assert told == [len(server.last.body)]


async def test_what_a_body_or_its_progress_raises_comes_out_as_it_is(serve: Serve) -> None:
    async def breaking() -> AsyncGenerator[bytes, None]:
        yield b"x"
        raise KeyError("the program's own")

    def stop(_: int) -> None:
        raise InterruptedError("enough")

    api = api_of(await serve())
    with pytest.raises(KeyError, match="the program's own"):
        await api.post("/x", data=breaking())
    with pytest.raises(InterruptedError, match="enough"):
        await api.post("/x", data=b"x", progress=stop)
    with pytest.raises(TypeError, match="is a str, not bytes"):
        await api.post("/x", data=pieces("text"))
    assert await api.get("/x") == {"ok": True}


async def test_a_file_that_shrinks_while_it_is_sent_is_an_error_and_no_wait(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 1_000_000)

    def shrink(_: int) -> None:
        os.truncate(path, 10)

    async with asyncio.timeout(30):
        with pytest.raises(ConfigError, match="became shorter"):
            await api_of(await serve()).post("/x", data=path, progress=shrink)


# Sent again, or not.


@pytest.mark.parametrize("kind", ["file", "path", "bytes", "form", "multipart"])
async def test_after_a_401_a_body_that_can_be_is_sent_again_whole(serve: Serve, tmp_path: Path, kind: str) -> None:
    server, told = await serve(once_refused), list[int | None]()
    path = tmp_path / "f"
    path.write_bytes(os.urandom(600_000))
    with path.open("rb") as file:
        file.seek(7)
        each: dict[str, dict[str, Any]] = {
            "file": {"data": file, "total": told.append},
            "path": {"data": path, "total": told.append},
            "bytes": {"data": b"x" * 600_000, "total": told.append},
            "form": {"data": {"a": "b"}},
            "multipart": {"data": {"a": "b"}, "files": {"f": file}, "total": told.append},
        }
        await api_of(server, Renewing()).post("/x", **each[kind])
    first, second = server.seen
    assert second.headers["X-Number"] == "2"
    assert first.body == b"" or second.body == first.body
    assert len(second.body) >= 599_993 or kind == "form"
    assert len(told) == (0 if kind == "form" else 2), "a bar begins anew"


async def test_after_a_401_a_body_that_cannot_be_is_not_and_the_next_call_works(serve: Serve) -> None:
    server = await serve(once_refused)
    api = api_of(server, Renewing())
    with pytest.raises(ApiError, match="renewed: call again") as caught:
        await api.post("/x", data=pieces(b"abc"))
    assert (caught.value.status, caught.value.kind, len(server.seen)) == (401, "transient", 1)
    assert await api.post("/x", data=pieces(b"abc")) == {"bytes": 3}


async def test_after_a_401_a_file_that_an_auth_put_into_the_request_is_not_sent_again_empty(serve: Serve) -> None:
    class Uploading(Renewing):
        async def sign(self, client: Any, request: Request) -> Request:
            request.data = request.data or io.BytesIO(b"abc")
            return await super().sign(client, request)

    server = await serve(once_refused)
    with pytest.raises(ApiError, match="renewed: call again"):
        await api_of(server, Uploading()).post("/x")
    assert [seen.body for seen in server.seen] == [b"abc"]


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_takes_a_body_along_only_if_it_can_be_sent_again(serve: Serve, status: int) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/old":
            return web.Response(status=status, headers={"Location": "/new"})
        return web.json_response({"at": request.path})

    server = await serve(handler)
    api = api_of(server)
    assert await api.put("/old", data=io.BytesIO(b"abc")) == {"at": "/new"}
    assert server.last.body == b"abc"
    with pytest.raises(ConfigError, match="cannot be sent twice"):
        await api.put("/old", data=pieces(b"abc"))
    assert [seen.path for seen in server.seen] == ["/old", "/new", "/old"]


async def test_an_iterable_that_was_sent_is_not_sent_again(serve: Serve) -> None:
    from SlyAPI.transport.bodies import body_of

    body = body_of(pieces(b"a"))
    assert [piece async for piece in body] == [b"a"]
    with pytest.raises(ConfigError, match="second time"):
        _ = [piece async for piece in body]


async def test_many_calls_may_send_one_path_at_once(serve: Serve, tmp_path: Path) -> None:
    server = await serve()
    (tmp_path / "f").write_bytes(content := os.urandom(900_000))
    api = api_of(server)
    await asyncio.gather(*(api.post("/x", data=tmp_path / "f") for _ in range(4)))
    assert [seen.body == content for seen in server.seen] == [True] * 4


async def test_oauth_1_signs_a_form_with_files_without_reading_it(serve: Serve) -> None:
    uris = ["https://p.example/r", "https://p.example/a", "https://p.example/t"]
    auth = OAuth1(OAuth1App("key", "secret", *uris), OAuth1User("token", "its-secret"))
    server = await serve()
    await api_of(server, auth).post("/x", data={"a": "b"}, files={"f": b"x"})
    assert server.last.headers["Authorization"].startswith("OAuth ")
    assert b"x" in server.last.body


async def test_a_large_upload_with_an_expired_token_costs_one_refresh(practise: Practise, tmp_path: Path) -> None:
    practice = await practise()
    user = await practice.grant()
    api = practice.api(practice.auth(user))
    practice.clock.now += 1000
    assert await api.post("/notes", data={"text": "x"}, returns=dict[str, Any]) == {"id": 1, "text": "x"}
    assert practice.refreshes == 1
