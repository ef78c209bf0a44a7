"""OAuth1 against an independent server: every kind of request that a `WebAPI` sends is found rightly signed."""
from __future__ import annotations

import dataclasses
import io
import json
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from SlyAPI import ApiError, OAuth1, OAuth1App, OAuth1User, WebAPI
from SlyAPI.errors import ConfigError, CredentialsError, CredentialsNotFoundError, OriginError
from SlyAPI.oauth1.signature import SignatureMethod
from SlyAPI.web import Method, Request
from tests.oauth1.conftest import USER, api_of
from tests.oauth1.test_signature import PEM, PUBLIC
from tests.support.oauth1_judge import CLIENT_SECRET, Judge, Token
from tests.support.secret_search import Kept, told_by

if TYPE_CHECKING:
    from tests.conftest import Clock, Serve

SIGNED = {"signed": True, "method": "HMAC-SHA1"}


class Size(Enum):
    LARGE = "large & wide"
    COUNT = 5


# --- requests that a server must find right ---


@pytest.mark.parametrize("path", ["/Photos/MINE", "/r%20v/X", "/a~b/ü", "/x;p=1/", "", "/a/../B", "/%7Eme"])
async def test_a_path_keeps_its_capitals_and_its_spelling(judge: Judge, auth: OAuth1, path: str) -> None:
    assert await api_of(auth, judge.origin).get_json(path) == SIGNED


@pytest.mark.parametrize(
    "params",
    [
        {"q": "a b+c~d%2B&e=f"},
        {"empty": ""},
        {"n": 5, "zero": 0, "yes": True},
        {"e": Size.LARGE, "count": Size.COUNT, "list": ["b", "a"], "none": None},
        {"ü": "ñ 漢 😀", "a&b": "=", "%41": "+"},
        {"z": "1", "a": "2", "A": "3"},
        {"oauth": "no protocol name"},
    ],
    ids=repr,
)
async def test_parameters_are_signed_as_they_are_sent(judge: Judge, auth: OAuth1, params: dict[str, Any]) -> None:
    api = api_of(auth, judge.origin)
    assert await api.get_json("/Path", params) == SIGNED
    assert await api.get_json("/Path?b=1&a=2&a=1&c", params) == SIGNED
    assert await api.post_json("/Path", params, json={"a": 1}) == SIGNED


@pytest.mark.parametrize(
    "query", ["a=2&a=1", "a=b+c&d=%20%2B", "c&=x&&d=", "x=%C3%BC&y=%e4%BD%a0", "a=1;b=2", "q=~%7E"]
)
async def test_a_query_in_the_path_is_decoded_once(judge: Judge, auth: OAuth1, query: str) -> None:
    assert await api_of(auth, judge.origin).get_json(f"/Path?{query}") == SIGNED


@pytest.mark.parametrize(
    "data",
    [
        {"status": "Hello Ladies + Gentlemen, a signed OAuth request!"},
        {"a": "", "ü": "ñ~", "n": 5, "size": Size.LARGE, "none": None},
        {},
        None,
        "b=2&a=1&a=0&plus=a+b&pct=%7E",
        "",
    ],
    ids=repr,
)
async def test_form_fields_are_signed(judge: Judge, auth: OAuth1, data: Any) -> None:
    api = api_of(auth, judge.origin)
    assert await api.post_form("/Form", {"a": "3"}, data) == SIGNED
    assert await api.put_form("/Form", None, data) == SIGNED
    assert await api.patch_form("/Form", None, data) == SIGNED
    assert await api.get_form("/Form", None, data) == SIGNED
    assert await api_of(auth, judge.origin, use_form_data=True)._post(dict, "/Form", None, data) == SIGNED


async def test_a_body_that_is_no_form_is_no_part_of_the_signature(judge: Judge, auth: OAuth1) -> None:
    api = api_of(auth, judge.origin)
    assert await api.post_json("/Json", json={"a": "b & c"}) == SIGNED
    assert await api.post_json("/Json") == SIGNED
    assert await api.post_form("/Text", data="a=b&c", headers={"Content-Type": "text/plain"}) == SIGNED
    assert await api.put_form("/Xml", data="<a b='c'/>", headers={"content-type": "application/xml"}) == SIGNED
    assert await api.delete_json("/Gone") == SIGNED


async def test_the_type_of_a_form_may_be_spelled_in_any_way(judge: Judge, auth: OAuth1) -> None:
    for kind in ("application/x-www-form-urlencoded; charset=UTF-8", "application/x-www-form-urlencoded;charset=utf-8"):
        for name in ("Content-Type", "content-type"):
            assert await api_of(auth, judge.origin).post_form("/Form", data="a=b+c", headers={name: kind}) == SIGNED


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("http://API.Example.com", "api.example.com"),
        ("http://api.example.com:80", "api.example.com"),
        ("https://api.example.com:443", "api.example.com"),
        ("https://Api.example.com:8443", "api.example.com:8443"),
        ("http://bücher.example", "xn--bcher-kva.example"),
    ],
)
async def test_host_and_port_are_signed_as_the_host_header_has_them(
    judge: Judge, auth: OAuth1, base_url: str, host: str
) -> None:
    request = await auth.sign(None, Request(Method.GET, f"{base_url}/Path?a=b", {"c": "d"}))
    scheme = base_url.partition(":")[0]
    headers = {"Host": host, "Authorization": request.headers["Authorization"]}
    uri = f"{scheme}://{host}/Path?a=b&c=d"
    assert judge.server.validate_protected_resource_request(uri, "GET", "", headers)[0]


class Suffixed(WebAPI):
    def get_full_url(self, path: str) -> str:
        return super().get_full_url(path) + ".json"


async def test_what_is_signed_is_what_get_full_url_gives(judge: Judge, auth: OAuth1) -> None:
    api = Suffixed(auth)
    api.base_url = f"{judge.origin}/1.1/"
    assert await api.get_json("statuses/Update", {"a": "b"}) == SIGNED
    assert judge.log[-1].path == "/1.1/statuses/Update.json"


@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256", "RSA-SHA1", "PLAINTEXT"])
async def test_every_method_is_found_right(judge: Judge, app: OAuth1App, clock: Clock, method: SignatureMethod) -> None:
    judge.rsa_key = PUBLIC.decode()
    auth = OAuth1(app, USER, method=method, private_key=PEM if method == "RSA-SHA1" else None, clock=clock)
    assert await api_of(auth, judge.origin).post_form("/A", {"b": "c"}, {"d": "e f"}) == {**SIGNED, "method": method}


async def test_each_request_has_a_nonce_of_its_own_and_the_time_in_utc(
    judge: Judge, auth: OAuth1, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    api = api_of(auth, judge.origin)
    for _ in range(10):
        await api.get_json("/A")
    assert len(judge.nonces) == 10
    assert {timestamp for timestamp, _ in judge.nonces} == {str(int(clock.now))}


async def test_an_api_that_knows_clients_only_gets_no_token(judge: Judge, app: OAuth1App, clock: Clock) -> None:
    auth = OAuth1(app, OAuth1User("", ""), clock=clock)
    request = await auth.sign(None, Request(Method.GET, "https://api.example.com/"))
    assert "oauth_token" not in request.headers["Authorization"]


async def test_a_realm_is_sent_and_not_signed(judge: Judge, app: OAuth1App, clock: Clock) -> None:
    auth = OAuth1(app, USER, realm="Photos 1", clock=clock)
    assert await api_of(auth, judge.origin).get_json("/A") == SIGNED
    assert judge.log[-1].headers["Authorization"].startswith('OAuth realm="Photos 1", oauth_consumer_key="')


# --- refusals and redirects ---


async def test_a_wrong_secret_is_a_401_and_asked_once(judge: Judge, app: OAuth1App, clock: Clock) -> None:
    auth = OAuth1(app, OAuth1User(USER.key, "wrong"), clock=clock)
    with pytest.raises(ApiError) as caught:
        await api_of(auth, judge.origin).get_json("/A")
    assert caught.value.status == 401
    assert len(judge.log) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_within_the_origin_is_signed_anew(judge: Judge, auth: OAuth1, status: int) -> None:
    def moved(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=status, headers={"Location": "/New?x=1"}) if request.path == "/Old" else None

    judge.answer = moved
    api = api_of(auth, judge.origin)
    assert await api.get_json("/Old", {"a": "b"}) == SIGNED
    assert await api.post_form("/Old", None, {"a": "b c"}) == SIGNED
    assert len(judge.nonces) == 2  # the redirected ones were not the judge's to see


async def test_another_origin_gets_no_signature(judge: Judge, auth: OAuth1, serve: Serve) -> None:
    other = await serve()
    judge.answer = lambda request: web.Response(status=302, headers={"Location": f"{other.origin}/"})
    assert await api_of(auth, judge.origin).get_json("/A") == {"ok": True}
    assert "Authorization" not in other.last.headers
    with pytest.raises(OriginError):
        await api_of(auth, judge.origin).get_json("//evil.example/")


# --- what cannot be signed ---


async def pieces() -> Any:
    yield b"a=b"


@pytest.mark.parametrize(
    "data", [pieces(), io.BytesIO(b"a=b"), aiohttp.FormData({"a": "b"})], ids=["stream", "file", "form"]
)
async def test_a_form_that_nobody_can_read_beforehand_is_refused(auth: OAuth1, data: Any) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    with pytest.raises(ConfigError, match="mapping or as text"):
        await auth.sign(None, Request(Method.POST, "https://h.example/", headers=headers, data=data))


async def test_a_form_data_object_without_files_is_refused_and_one_with_files_is_not_signed(auth: OAuth1) -> None:
    with pytest.raises(ConfigError, match="mapping or as text"):
        await auth.sign(None, Request(Method.POST, "https://h.example/", data=aiohttp.FormData({"a": "b"})))
    files = aiohttp.FormData({"a": io.BytesIO(b"b")})
    assert await auth.sign(None, Request(Method.POST, "https://h.example/", data=files))


async def test_text_that_cannot_be_encoded_is_refused(judge: Judge, auth: OAuth1) -> None:
    with pytest.raises(ConfigError):
        await api_of(auth, judge.origin).get_json("/A", {"a": "\ud800"})
    assert judge.log == []


async def test_plaintext_is_refused_where_others_could_read_it(app: OAuth1App) -> None:
    with pytest.raises(ConfigError, match="https"):
        await api_of(OAuth1(app, USER, method="PLAINTEXT"), "http://api.example.com").get_json("/A")


# --- files and secrets ---


def test_both_are_read_from_files(tmp_path: Path, app: OAuth1App) -> None:
    (tmp_path / "app.json").write_text(json.dumps(dataclasses.asdict(app)))
    (tmp_path / "user.json").write_text(json.dumps(dataclasses.asdict(USER)))
    auth = OAuth1(str(tmp_path / "app.json"), tmp_path / "user.json")
    assert (auth.app, auth.user) == (app, USER)
    with pytest.raises(CredentialsNotFoundError):
        OAuth1(app, tmp_path / "none.json")
    with pytest.raises(CredentialsError, match="an OAuth 1 client file"):
        OAuth1(app, tmp_path / "app.json")


def test_nothing_prints_a_secret(auth: OAuth1) -> None:
    for text in (repr(auth), str(auth), repr(auth.app), repr(auth.user), str(auth.user)):
        assert CLIENT_SECRET not in text
        assert USER.secret not in text
        assert USER.key not in text


SECRETS = Kept({"client": "C1ientSecretCore", "token": "T0kenKeyCore0000", "secret": "T0kenSecretCore0"})
KEPT_USER = OAuth1User("t&T0kenKeyCore0000~", "s T0kenSecretCore0%")


@pytest.mark.parametrize("method", ["HMAC-SHA1", "PLAINTEXT"])
async def test_a_server_that_echoes_what_it_was_sent_makes_no_error_tell_a_secret(
    serve: Serve, method: SignatureMethod
) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        sent = request.headers["Authorization"]
        told = f"{sent} {KEPT_USER.key} {KEPT_USER.secret} C1ientSecretCore/ü&{KEPT_USER.secret}"
        return web.Response(status=400, text=told, headers={"X-Sent": sent})

    server = await serve(echo)
    auth = OAuth1(OAuth1App("key", "C1ientSecretCore/ü", "", "", ""), KEPT_USER, method=method)
    with pytest.raises(ApiError) as caught:
        await api_of(auth, server.origin).get_json("/A")
    SECRETS.assert_hidden(told_by(caught.value))


async def test_a_key_that_cannot_be_used_is_not_shown(app: OAuth1App) -> None:
    key = f"-----BEGIN PRIVATE KEY----- {SECRETS.cores['client']}"
    with pytest.raises(ConfigError) as caught:
        OAuth1(app, USER, method="RSA-SHA1", private_key=key)
    SECRETS.assert_hidden(told_by(caught.value))
    with pytest.raises(ConfigError, match="private_key"):
        OAuth1(app, USER, method="RSA-SHA1")


def test_without_the_extra_the_error_names_it(app: OAuth1App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(ConfigError, match="pip install cryptography"):
        OAuth1(app, USER, method="RSA-SHA1", private_key=PEM)


async def test_a_token_may_be_replaced_while_the_object_lives(judge: Judge, auth: OAuth1) -> None:
    auth.user = OAuth1User("another", "secret")
    judge.tokens["another"] = Token("secret")
    assert await api_of(auth, judge.origin).get_json("/A") == SIGNED
