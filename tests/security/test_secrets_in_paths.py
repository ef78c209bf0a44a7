"""A secret in a path, which an auth names by `secrets_to_mask`, is in no message, log or reply."""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from SlyAPI import Auth, HeaderApiKey, SlyError, UrlApiKey, WebAPI
from SlyAPI.web import Request

if TYPE_CHECKING:
    from tests.conftest import Serve

SECRET = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


class InThePath(Auth):
    async def sign(self, client: Any, request: Request) -> Request:
        return request

    def secrets_to_mask(self) -> Iterable[str]:
        return (SECRET,)


ANSWERS: dict[str, Callable[[], web.StreamResponse]] = {
    "a refusal": lambda: web.Response(status=400),
    "not JSON": lambda: web.Response(text="<html>"),
    "another shape": lambda: web.json_response([]),
    "too long": lambda: web.Response(body=bytes(100_000)),
    "redirected away": lambda: web.Response(status=302, headers={"Location": f"ftp://other.example/{SECRET}"}),
}


@pytest.mark.parametrize("answer", [*ANSWERS, "no connection"])
async def test_a_secret_in_a_path_is_masked_in_every_message(
    serve: Serve, answer: str, caplog: pytest.LogCaptureFixture, told_by: Callable[[Any], str], unused_port: int
) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return ANSWERS[answer]()

    api = WebAPI(InThePath())
    api.base_url = f"http://127.0.0.1:{unused_port}" if answer == "no connection" else (await serve(handler)).origin
    api.reply_limit = 50_000
    with caplog.at_level(logging.DEBUG, "SlyAPI"), pytest.raises(SlyError) as caught:
        await api.get(f"/bot{SECRET}/getMe", returns=dict[str, int])
    assert SECRET not in told_by(caught.value) + caplog.text
    assert "/bot***/getMe" in str(caught.value)


@pytest.mark.parametrize("auth", [HeaderApiKey("X-Key", SECRET.encode()), UrlApiKey("key", SECRET.encode())])  # type: ignore[arg-type]
async def test_a_key_that_is_not_text_is_refused_without_its_value(auth: Auth, told_by: Callable[[Any], str]) -> None:
    api = WebAPI(auth)
    api.base_url = "http://127.0.0.1:9"
    with pytest.raises(SlyError, match="is bytes, not text") as caught:
        await api.get("/")
    assert SECRET not in told_by(caught.value)
