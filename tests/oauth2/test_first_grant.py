"""The first grant at an unknown provider: Basic first, the other way once, and what worked is remembered."""
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from SlyAPI.errors import TokenError
from SlyAPI.oauth2 import OAuth2App, OAuth2User

if TYPE_CHECKING:
    from tests.conftest import Serve

GOOD = {"access_token": "access", "token_type": "Bearer", "refresh_token": "refresh"}
OCCASIONS: list[tuple[int, Any]] = [
    (401, {"error": "invalid_client"}),
    (401, ""),
    (401, "Unauthorized"),
    (403, {"error": "forbidden"}),
    (403, "<html>Forbidden</html>"),
    (400, {"error": "invalid_client"}),
    (400, {"error": "unauthorized_client", "error_description": "Missing valid authorization header"}),
    (400, {"error": "invalid_request"}),
    (400, {"error": "invalid_request", "error_description": "client_id is missing"}),
    (400, {"errors": [{"errorType": "invalid_client"}], "success": False}),
    (400, ""),
    (200, {"ok": False, "error": "bad_client_secret"}),
]
OF_THE_CODE: list[tuple[int, Any]] = [
    (400, {"error": "invalid_grant"}),
    (401, {"error": "invalid_grant"}),
    (400, {"error": "redirect_uri_mismatch"}),
    (400, {"error": "invalid_request", "error_description": "redirect_uri does not match"}),
    (400, {"error": "invalid_request", "error_description": "The code has expired"}),
    (403, {"message": "Invalid authorization code"}),
    (200, {"error": "bad_verification_code"}),
    (400, {"error": "invalid_request", "error_description": "code_verifier is wrong"}),
    (400, {"error": "invalid_scope"}),
    (400, {"error": "unsupported_grant_type"}),
    (429, ""),
    (503, ""),
    (404, ""),
    (302, ""),
]


class Endpoint:
    """A token endpoint that takes the secret in one way and refuses the other, and notes how it was asked."""

    def __init__(self, accepts: str, status: int = 401, body: Any = "") -> None:
        self.accepts = accepts
        self.status = status
        self.text = body if isinstance(body, str) else json.dumps(body)
        self.seen: list[str] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        in_form = "post" if "client_secret" in form else "none"
        self.seen.append("basic" if "Authorization" in request.headers else in_form)
        if self.seen[-1] == self.accepts:
            return web.json_response(GOOD)
        return web.Response(status=self.status, text=self.text, headers={"Location": "/other"})


async def exchange(serve: Serve, endpoint: Endpoint, **more: Any) -> tuple[OAuth2App, OAuth2User]:
    origin = (await serve(endpoint)).origin
    app = OAuth2App("id", "secret", f"{origin}/authorize", f"{origin}/token", **more)
    return app, await app.exchange_code("the-code", "", [], "http://localhost:8080")


@pytest.mark.parametrize(("status", "body"), OCCASIONS)
async def test_a_refusal_that_names_neither_code_nor_redirect_is_an_occasion_for_the_form(
    serve: Serve, status: int, body: Any
) -> None:
    endpoint = Endpoint("post", status, body)
    app, user = await exchange(serve, endpoint)
    assert endpoint.seen == ["basic", "post"]
    assert user.client_auth == "post"
    await app.refresh(None, OAuth2User.from_json_obj(user.to_dict()))
    assert endpoint.seen == ["basic", "post", "post"]


async def test_basic_is_tried_first_and_remembered(serve: Serve) -> None:
    endpoint = Endpoint("basic")
    app, user = await exchange(serve, endpoint)
    assert (endpoint.seen, user.client_auth) == (["basic"], "basic")
    await app.refresh(None, OAuth2User.from_json_obj(user.to_dict()))
    assert endpoint.seen == ["basic", "basic"]


@pytest.mark.parametrize(("status", "body"), OF_THE_CODE)
async def test_any_other_refusal_is_final(serve: Serve, status: int, body: Any) -> None:
    endpoint = Endpoint("post", status, body)
    with pytest.raises(TokenError):
        await exchange(serve, endpoint)
    assert endpoint.seen == ["basic"]


@pytest.mark.parametrize(("status", "body"), OCCASIONS)
async def test_the_other_way_is_tried_once(serve: Serve, status: int, body: Any) -> None:
    endpoint = Endpoint("neither", status, body)
    with pytest.raises(TokenError):
        await exchange(serve, endpoint)
    assert endpoint.seen == ["basic", "post"]


@pytest.mark.parametrize("method", ["basic", "post"])
async def test_a_method_that_the_client_file_names_is_the_only_one(serve: Serve, method: Any) -> None:
    endpoint = Endpoint("neither")
    with pytest.raises(TokenError):
        await exchange(serve, endpoint, client_auth=method)
    assert endpoint.seen == [method]


async def test_a_user_file_that_remembers_nothing_is_refreshed_as_by_0_6(serve: Serve) -> None:
    endpoint = Endpoint("basic", 400, {"error": "invalid_client"})
    origin = (await serve(endpoint)).origin
    app = OAuth2App("id", "secret", f"{origin}/authorize", f"{origin}/token")
    with pytest.raises(TokenError):
        await app.refresh(None, OAuth2User("access", "refresh"))
    assert endpoint.seen == ["post"], "a refresh never tries: a refused one may end the grant"
