"""Pushed authorization requests (RFC 9126): what is pushed, what the browser carries, what is refused."""
from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import aiohttp
import pytest
from aiohttp import web

from SlyAPI import OAuth2App
from SlyAPI.errors import BadReplyError, ConfigError, TokenError
from SlyAPI.oauth2.messages.jose import new_key
from tests.conftest import REDIRECT_URI, Practice

if TYPE_CHECKING:
    from tests.conftest import Practise, Serve


def app_at(practice: Practice, **settings: Any) -> OAuth2App:
    provider = practice.provider
    uris = (provider.authorize_url, provider.token_url)
    usual = {"par_uri": f"{provider.origin}/par", "require_par": True}
    return OAuth2App("practice-client", practice.app.secret, *uris, **{**usual, **settings})


async def redirect_of(url: str) -> str:
    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
        return answer.headers["Location"]


@pytest.mark.parametrize("secret", ["client-secret-5EC9E7", None])
@pytest.mark.parametrize("method", [None, "basic", "post"])
async def test_a_pushed_login_is_a_login(practise: Practise, secret: str | None, method: Any) -> None:
    practice = await practise(require_par=True, client_secret=secret)
    practice.app.secret = secret
    app = app_at(practice, client_auth=method if secret else None)
    login = await app.push_login(REDIRECT_URI, "notes", login_hint="Robin", now=practice.clock())
    query = dict(parse_qsl(urlsplit(login.url).query))
    assert set(query) == {"client_id", "request_uri"}
    assert login.expires_at == datetime.fromtimestamp(practice.clock() + 60, UTC)
    user = await app.finish_login(login.to_dict(), await redirect_of(login.url), now=practice.clock())
    assert user.scopes == ["notes"]


async def test_a_pushed_login_with_identity_proofs_and_nonces(practise: Practise) -> None:
    features: dict[str, Any] = {"openid": True, "signing_algs": ["ES256"], "dpop": "required", "dpop_nonces": True}
    practice = await practise(require_par=True, resources=["https://api.example/a"], **features)
    origin = practice.provider.origin
    app = app_at(practice, dpop=True, issuer=origin, jwks_uri=f"{origin}/jwks", id_token_alg="ES256")
    wishes: Any = {"max_age": 60, "resource": "https://api.example/a", "now": practice.clock()}
    login = await app.push_login(REDIRECT_URI, "openid", **wishes)
    user = await app.finish_login(login.to_dict(), await redirect_of(login.url), now=practice.clock())
    assert user.identity is not None
    assert user.token_type == "DPoP"


def test_where_pushing_is_required_begin_login_says_so() -> None:
    app = OAuth2App("c", None, "https://p.example/auth", "https://p.example/token", require_par=True)
    with pytest.raises(ConfigError) as refused:
        app.begin_login(REDIRECT_URI, "notes")
    assert "push_login" in refused.value.next_step


async def test_without_an_endpoint_nothing_is_pushed() -> None:
    app = OAuth2App("c", None, "https://p.example/auth", "https://p.example/token")
    with pytest.raises(ConfigError):
        await app.push_login(REDIRECT_URI, "notes")


async def test_a_refusal_is_a_token_error_that_shows_no_secret(practise: Practise) -> None:
    practice = await practise(require_par=True)
    app = app_at(practice, client_auth="basic")
    with pytest.raises(TokenError) as refused:
        await app.push_login(REDIRECT_URI, "unknown-scope", now=practice.clock())
    assert refused.value.error == "invalid_scope"
    app.secret = "wrong-5EC9E7"
    with pytest.raises(TokenError) as refused:
        await app.push_login(REDIRECT_URI, "notes", now=practice.clock())
    assert "wrong-5EC9E7" not in str(refused.value)


@pytest.mark.parametrize("reply", [{}, [], *({"request_uri": uri} for uri in ("", " ", 7, "\ud800", None))])
async def test_a_reply_without_a_name_is_refused(serve: Serve, reply: Any) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response(reply, status=201)

    server = await serve(handle)
    app = OAuth2App("c", None, f"{server.origin}/auth", f"{server.origin}/token", par_uri=f"{server.origin}/par")
    with pytest.raises(BadReplyError):
        await app.push_login(REDIRECT_URI, "notes")


@pytest.mark.parametrize("name", ["urn:a b", "urn:ü&x=1#y?%2F", "urn:\n"])
async def test_a_name_with_characters_of_its_own_is_encoded(serve: Serve, name: str) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response({"request_uri": name, "expires_in": 60}, status=201)

    server = await serve(handle)
    app = OAuth2App("c", None, f"{server.origin}/auth?a=b", f"{server.origin}/token", par_uri=f"{server.origin}/par")
    login = await app.push_login(REDIRECT_URI, "notes")
    assert parse_qsl(urlsplit(login.url).query) == [("a", "b"), ("client_id", "c"), ("request_uri", name)]


async def test_what_is_in_the_authorization_address_stays_there(serve: Serve) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response({"request_uri": "urn:x", "expires_in": 90}, status=201)

    server = await serve(handle)
    uris = (f"{server.origin}/auth?tenant=t", f"{server.origin}/token")
    app = OAuth2App("c", None, *uris, par_uri=f"{server.origin}/par")
    resources = ["https://api.example/a", "https://api.example/b"]
    login = await app.push_login(REDIRECT_URI, "notes", prompt="login", resource=resources)
    assert login.url == f"{server.origin}/auth?tenant=t&client_id=c&request_uri=urn%3Ax"
    pairs = parse_qsl(server.last.body.decode())
    assert [value for name, value in pairs if name == "resource"] == resources
    pushed = dict(pairs)
    assert pushed["prompt"] == "login"
    assert pushed["client_id"] == "c"
    assert "tenant" not in pushed


SAME = {
    "response_type": "code",
    "client_id": "c",
    "redirect_uri": REDIRECT_URI,
    "scope": "openid notes",
    "code_challenge_method": "S256",
    "prompt": "login",
    "audience": "api",
}


@pytest.mark.parametrize("value", ["same", "another"])
@pytest.mark.parametrize("name", SAME)
async def test_what_the_request_sets_is_pushed_or_signed_though_the_authorization_address_has_it_too(
    serve: Serve, name: str, value: str
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response({"request_uri": "urn:x", "expires_in": 90}, status=201)

    server = await serve(handle)
    theirs = urlencode({"tenant": "t", name: SAME[name] if value == "same" else "x"})
    app = OAuth2App("c", None, f"{server.origin}/auth?{theirs}", f"{server.origin}/token", issuer=server.origin)
    app.par_uri, app.jwks_uri, app.auth_params = f"{server.origin}/par", f"{server.origin}/jwks", {"audience": "api"}
    app.key = new_key("ES256")
    pushed = await app.push_login(REDIRECT_URI, "openid notes", prompt="login")
    form = dict(parse_qsl(server.last.body.decode()))
    assert SAME.items() <= form.items()
    assert parse_qsl(urlsplit(pushed.url).query) == [("tenant", "t"), ("client_id", "c"), ("request_uri", "urn:x")]
    signed = await app.sign_login(REDIRECT_URI, "openid notes", prompt="login")
    pairs = parse_qsl(urlsplit(signed.url).query)
    claims = json.loads(base64.urlsafe_b64decode(dict(pairs)["request"].split(".")[1] + "=="))
    assert SAME.items() <= claims.items()
    assert [name for name, _ in pairs] == ["tenant", "client_id", "response_type", "scope", "request"]
