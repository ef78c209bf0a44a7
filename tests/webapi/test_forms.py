"""What goes out where a form is promised and it is not only text: pairs, files, and aiohttp's own forms."""
from __future__ import annotations

import io
from typing import TYPE_CHECKING

import aiohttp
import pytest

from SlyAPI import Auth, WebAPI

if TYPE_CHECKING:
    from tests.conftest import Serve, Server


def api_of(server: Server) -> WebAPI:
    api = WebAPI(Auth.none())
    api.base_url = server.origin
    return api


async def test_a_form_may_be_pairs_or_one_that_aiohttp_makes(serve: Serve) -> None:
    server = await serve()
    own = aiohttp.FormData([("a", "1"), ("a", "2")])
    for data in ([("a", 1), ("b", True), ("a", "2")], own):
        await api_of(server).post_form("/", data=data)
    assert [seen.body for seen in server.seen] == [b"a=1&b=true&a=2", b"a=1&a=2"]
    assert {seen.headers["Content-Type"] for seen in server.seen} == {"application/x-www-form-urlencoded"}


@pytest.mark.parametrize("content", [b"\0raw", io.BytesIO(b"\0raw")], ids=["bytes", "file"])
async def test_a_form_with_a_file_among_its_fields_is_multipart(serve: Serve, content: object) -> None:
    server = await serve()
    await api_of(server).post_form("/", data={"tag": ["a", "b"], "file": content})
    kind, _, boundary = server.last.headers["Content-Type"].partition("; boundary=")
    assert kind == "multipart/form-data"
    heads = [part.partition(b"\r\n\r\n") for part in server.last.body.split(b"--" + boundary.encode())[1:-1]]
    assert [value.strip() for _, _, value in heads] == [b"a", b"b", b"\0raw"]
    assert [b'name="tag"' in head for head, _, _ in heads] == [True, True, False]
    assert b'name="file"; filename="file"' in heads[2][0]


async def test_a_file_in_place_of_a_form_goes_out_as_it_is(serve: Serve) -> None:
    server = await serve()
    await api_of(server).put_form("/", data=io.BytesIO(b"\0raw"))
    assert (server.last.body, server.last.headers["Content-Type"]) == (b"\0raw", "application/octet-stream")


async def test_a_file_of_a_form_that_cannot_be_read_says_so(serve: Serve) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(size) if size == 0 else self.fails()

        def fails(self) -> bytes:
            raise ZeroDivisionError

    server = await serve()
    with pytest.raises(ZeroDivisionError):
        await api_of(server).post_form("/", data={"file": Broken(b"x")})
