"""Where a credential goes, and where never; what a refusal tells, and what not."""
from __future__ import annotations

import base64
import html
import json
import posixpath
import random
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from SlyAPI import ApiError, Auth, HeaderApiKey, OAuth2, OAuth2App, OAuth2User, UrlApiKey, WebAPI
from SlyAPI.errors import ConfigError, OriginError, SlyError
from SlyAPI.web import Request
from SlyAPI.webapi.origin import Origin
from tests.support.renewing import Renewing

if TYPE_CHECKING:
    from tests.conftest import Seen, Serve, Server

KEY = 'k3y/"s+e c&r=e<t'
TOKEN = "t0ken~SECRET/+=="


class FormKey(Auth):
    """An auth of a user's own, which signs in the body."""

    async def sign(self, client: Any, request: Request) -> Request:
        request.data["api_key"] = KEY
        request.headers["X-Signed"] = f"Mine {KEY}"
        return request


def oauth2() -> OAuth2:
    app = OAuth2App("id", "secret", "https://provider.example/auth", "https://provider.example/token")
    return OAuth2(app, OAuth2User(TOKEN))


AUTHS: list[Callable[[], Auth]] = [
    lambda: UrlApiKey("key", KEY),
    lambda: HeaderApiKey("X-Api-Key", KEY),
    oauth2,
    FormKey,
]


@pytest.fixture(params=AUTHS, ids=["url", "header", "oauth2", "form"])
def auth(request: pytest.FixtureRequest) -> Auth:
    made: Auth = request.param()
    return made


def api_at(base_url: str, auth: Auth, **more: Any) -> WebAPI:
    api = WebAPI(auth, **more)
    api.base_url = base_url
    return api


def carries_a_secret(seen: Seen) -> bool:
    told = f"{seen.query} {list(seen.headers.items())} {seen.body!r}"
    return "key" in dict(seen.query) or "Authorization" in seen.headers or KEY in told or TOKEN in told


def redirecting(to: Callable[[web.Request], str], status: int = 302) -> Any:
    """Answers `/start` with a redirect, all else with what is asked for."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/start"):
            return web.Response(status=status, headers={"Location": to(request)})
        return web.json_response({"at": request.path})

    return handler


# What signing adds.


async def test_a_url_key_is_one_parameter_and_no_header(serve: Serve) -> None:
    server = await serve()
    await api_at(server.origin, UrlApiKey("key", KEY)).get_json("/a", {"q": 1})
    assert server.last.query == [("q", "1"), ("key", KEY)]
    assert "Authorization" not in server.last.headers


async def test_a_header_key_is_one_header(serve: Serve) -> None:
    server = await serve()
    await api_at(server.origin, HeaderApiKey("X-Api-Key", KEY)).get_json("/a")
    assert server.last.headers.getall("X-Api-Key") == [KEY]
    assert server.last.query == []


async def test_an_auth_of_ones_own_may_change_query_headers_and_data(serve: Serve) -> None:
    class Own(Auth):
        async def sign(self, client: Any, request: Request) -> Request:
            assert isinstance(client, aiohttp.ClientSession)
            request.query_params["who"] = f"{request.method} {request.url.rpartition('/')[2]}"
            request.headers["X-Own"] = "1"
            request.data["signed"] = "yes"
            return request

    server = await serve()
    await api_at(server.origin, Own()).post_form("/a", data={"b": "2"})
    assert (server.last.query, server.last.headers["X-Own"]) == ([("who", "POST a")], "1")
    assert server.last.body == b"b=2&signed=yes"
    await api_at(server.origin, Own()).post_json("/a", json={"b": 2})
    assert server.last.json == {"b": 2, "signed": "yes"}


# The origin.


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("https://api.example", ".evil.example/"),
        ("https://api.example", ":444/"),
        ("https://api.example", "\\@evil.example/"),
        ("https://api.example", "\\evil.example"),
        ("https:/", "/evil.example/"),
        ("", "https://evil.example/"),
        ("", "//evil.example/"),
        ("https://", "evil.example"),
        ("https://api.example", "//evil.example/"),
        ("https://api.example/v1", "https://api.example/v2"),
        ("https://api.example/v1", "https://api.example/v10"),
        ("https://api.example/v1", "HTTPS://evil.example/v1"),
    ],
)
async def test_a_path_that_leads_to_another_origin_is_refused_before_anything_is_sent(
    auth: Auth, base: str, path: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        await api_at(base, auth).post_form(path, data={})
    assert KEY not in str(caught.value)


async def test_an_absolute_url_from_get_full_url_is_signed_within_the_origin_only(serve: Serve, auth: Auth) -> None:
    server, other = await serve(), await serve()

    class Absolute(WebAPI):
        base_url = server.origin + "/v1"

        def get_full_url(self, path: str) -> str:
            return path if "://" in path else super().get_full_url(path)

    api = Absolute(auth)
    await api.post_form(server.origin + "/v2/next", data={})
    assert carries_a_secret(server.last)
    with pytest.raises(OriginError, match="base_url"):
        await api.post_form(other.origin + "/v2/next", data={})
    assert other.seen == []


@pytest.mark.parametrize(
    "path", ["/../a", "@evil.example", "43/", "ple/", "pass@evil.example/", "/\\evil.example", "/@e", "/a?b=@c"]
)
async def test_an_odd_path_stays_with_its_server(serve: Serve, path: str) -> None:
    server = await serve()
    await api_at(server.origin, HeaderApiKey("X-Api-Key", KEY)).get_json(path)
    assert len(server.seen) == 1


DOTS = st.sampled_from(["..", ".%2e", "%2E.", "%2e%2E", "%252e%252e", "..;a=b"])
SEGMENTS = st.lists(DOTS | st.sampled_from(["a", "b.c", "...", ".", "a%2Fb", "%41"]), min_size=1, max_size=5)


SLASHES = st.sampled_from(["/", "%2f", "\\", "%5C"])


@given(segments=SEGMENTS, slash=SLASHES, base=st.sampled_from(["/v1", "/v1/", "/a/v1"]))
def test_no_path_leaves_the_path_of_base_url(segments: list[str], slash: str, base: str) -> None:
    path = slash.join(segments)
    origin = Origin(f"https://api.example{base}")
    inside = posixpath.normpath(_decoded(f"/root/{path}")).startswith("/root")
    try:
        origin.check_path(f"https://api.example{base}/{path}?of=../..")
    except ConfigError:
        assert not inside
    else:
        assert inside


LEFT_OUT = ["\t", "\r", "\n", "\ud800", "\udc80", "\udfff"]
"""What aiohttp leaves out of a URL."""
PIECES = st.sampled_from([*LEFT_OUT, ".", "..", "/", "a", "%2e", "%", " ", "\xa0", "\x00", "é", "\u202e"])


@given(st.lists(PIECES, max_size=8).map("".join))
def test_what_is_sent_is_what_was_written_below_base_url(path: str) -> None:
    url = f"https://api.example/v1/{path}"
    try:
        Origin("https://api.example/v1").check_path(url)
    except ConfigError:
        return
    sent = URL(url).raw_path
    assert f"{posixpath.normpath(_decoded(sent))}/".startswith("/v1/")
    if "." not in sent and "." not in unquote(path):
        assert unquote(sent) == unquote(f"/v1/{path}")


async def _stream(api: WebAPI, path: str) -> None:
    async with api.stream(path):
        pass


WAYS: dict[str, Callable[[WebAPI, str], Awaitable[object]]] = {
    "delete": lambda api, path: api.delete(path),
    "get_json": lambda api, path: api.get_json(path),
    "post_form": lambda api, path: api.post_form(path, data={"a": "b"}),
    "pages": lambda api, path: api.paginated(path),
    "stream": _stream,
}


@pytest.mark.parametrize("left_out", LEFT_OUT, ids=ascii)
@pytest.mark.parametrize("way", WAYS)
async def test_a_path_of_which_aiohttp_leaves_something_out_is_not_sent(serve: Serve, way: str, left_out: str) -> None:
    server = await serve()
    for path in (f"/notes/1{left_out}2", f"/.{left_out}./admin", f"/notes?of={left_out}"):
        with pytest.raises(ConfigError):
            await WAYS[way](api_at(f"{server.origin}/v1", UrlApiKey("key", KEY)), path)
    assert server.seen == []


def _decoded(path: str) -> str:
    return re.sub(";[^/]*", "", unquote(unquote(path)).replace("\\", "/"))


@pytest.mark.parametrize("path", ["/../admin", "/a/../../admin", "/%2e%2e/admin", "/.%2E%2fadmin", "/..%5cadmin"])
async def test_a_path_out_of_base_url_is_refused_before_anything_is_sent(serve: Serve, auth: Auth, path: str) -> None:
    server = await serve()
    for signed in (auth, Auth.none()):
        with pytest.raises(ConfigError, match="leaves the path"):
            await api_at(f"{server.origin}/v1", signed).get_json(path)
    assert server.seen == []


@pytest.mark.parametrize("path", ["/a/../b", "/a..b", "/...", "/a?q=/../..", "/50%25", "/a%20b"])
async def test_a_path_with_dots_within_base_url_is_sent(serve: Serve, path: str) -> None:
    server = await serve()
    await api_at(f"{server.origin}/v1", Auth.none()).get_json(path)
    assert server.last.path.startswith("/v1/")


async def test_a_base_url_with_capitals_or_a_default_port_is_one_origin_all_the_same() -> None:
    origin = Origin("HTTPS://Api.Example:443/v1")
    assert origin.admits("HTTPS://Api.Example:443/v1/a")
    assert origin.admits("https://api.example/v2")
    assert not origin.admits("http://api.example/v1")
    assert not origin.admits("https://api.example.evil.example/")


# What asks for another credential.


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("challenge", ['Bearer error="insufficient_scope"', 'Bearer error="other"', ""])
async def test_a_403_that_lacks_a_scope_is_signed_again_where_the_auth_wants_it(
    serve: Serve, wanted: bool, challenge: str
) -> None:
    class StepUp(Renewing):
        answers_403 = wanted

    async def handler(request: web.Request) -> web.StreamResponse:
        headers = CIMultiDict([("WWW-Authenticate", "DPoP"), ("WWW-Authenticate", challenge)])
        return web.json_response({}, status=403 if request.headers["X-Number"] == "1" else 200, headers=headers)

    server = await serve(handler)
    api = api_at(server.origin, StepUp())
    if wanted and "scope" in challenge:
        assert await api.get_json("/") == {}
    else:
        with pytest.raises(ApiError, match="403"):
            await api.get_json("/")
        assert len(server.seen) == 1


class Levels(Auth):
    """A credential that is good once it was renewed, and a proof that is good once it has the server's nonce."""

    answers_403 = True

    def __init__(self) -> None:
        self.level, self.nonce, self.renewals = 1, "", 0

    async def sign(self, client: Any, request: Request) -> Request:
        request.headers["X-Level"], request.headers["X-Nonce"] = str(self.level), self.nonce
        return request

    async def sign_again(self, client: Any, request: Request, headers: Any) -> bool:
        if "use_dpop_nonce" not in headers["WWW-Authenticate"]:
            self.level, self.renewals = self.level + 1, self.renewals + 1
        await self.sign(client, request)
        return True

    def note_reply(self, url: str, status: int, headers: Any) -> None:
        self.nonce = headers.get("DPoP-Nonce", self.nonce)


REFUSALS = {
    "old": (401, "Bearer"),
    "scope": (403, 'Bearer error="insufficient_scope"'),
    "nonce": (401, 'DPoP error="use_dpop_nonce"'),
}


@pytest.mark.parametrize("moved", [302, 307])
@pytest.mark.parametrize("lacks", ["old", "scope", "nonce", "nonce old", "old nonce", "old old"])
@pytest.mark.parametrize("hops", [0, 1, 3])
async def test_a_refusal_is_answered_alike_wherever_a_redirect_led_within_the_origin(
    serve: Serve, hops: int, lacks: str, moved: int
) -> None:
    left = lacks.split()

    async def handler(request: web.Request) -> web.StreamResponse:
        place = int(request.path[1:])
        if place < hops:
            return web.Response(status=moved, headers={"Location": f"/{place + 1}", "DPoP-Nonce": f"n{place}"})
        if not left:
            return web.json_response(dict(request.headers))
        status, challenge = REFUSALS[left.pop(0)]
        return web.Response(status=status, headers={"WWW-Authenticate": challenge, "DPoP-Nonce": "n9"})

    server, auth = await serve(handler), Levels()
    api = api_at(server.origin, auth)
    if lacks == "old old":
        with pytest.raises(ApiError, match="401"):
            await api.get_json("/0")
    else:
        answer = await api.get_json("/0")
        assert (answer["X-Level"], answer["X-Nonce"]) == (str(1 + auth.renewals), "n9")
    assert auth.renewals == int(lacks != "nonce"), "one renewal for one call"


async def test_a_call_asks_for_one_renewal_though_a_redirect_follows_it(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/start" and request.headers["X-Level"] == "2":
            return web.Response(status=302, headers={"Location": "/end"})
        return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})

    auth = Levels()
    with pytest.raises(ApiError, match="401"):
        await api_at((await serve(handler)).origin, auth).get_json("/start")
    assert auth.renewals == 1


# Redirects.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_within_the_origin_is_followed_and_signed(serve: Serve, auth: Auth, status: int) -> None:
    server = await serve(redirecting(lambda _: "../end?x=%2F", status))
    answer = await api_at(server.origin + "/start", auth).get_form("/here", {"q": 1}, headers={"X-Mine": "1"})
    assert answer == {"at": "/end"}
    assert carries_a_secret(server.last)
    assert dict(server.last.query)["x"] == "/"
    assert server.last.headers["X-Mine"] == "1"
    assert "q" not in dict(server.last.query)


@pytest.mark.parametrize(
    ("location", "asked"),
    [("", "/x?a=1&b=2"), ("#part", "/x?a=1&b=2"), ("?c=3", "/x?c=3"), ("y", "/y"), ("/x", "/x"), ("y?c=3#d", "/y?c=3")],
)
async def test_a_redirect_is_relative_to_the_address_with_its_query(serve: Serve, location: str, asked: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        first = len(server.seen) == 1
        return web.Response(status=302, headers={"Location": location}) if first else web.json_response({})

    server = await serve(handler)
    api = WebAPI(UrlApiKey("key", "k3y"))
    api.base_url = server.origin
    await api.get("/x?a=1", params={"b": "2"})
    assert server.last.path + "?" + "&".join(f"{name}={value}" for name, value in server.last.query) == (
        f"{asked}{'&' if '?' in asked else '?'}key=k3y"
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_get_is_followed_to_another_origin_with_nothing_of_ours(
    serve: Serve, auth: Auth, status: int
) -> None:
    other = await serve()
    server = await serve(redirecting(lambda _: other.origin + "/end", status))
    headers = {"Authorization": "Theirs", "Cookie": "a=b", "X-Token": "theirs", "Accept": "text/x-mine"}
    session = aiohttp.ClientSession(headers={"X-Session": "theirs"}, cookies={"c": "d"})
    async with session:
        api = api_at(server.origin, auth, session=session)
        assert await api.get_form("/start", {"q": 1}, headers=headers) == {"ok": True}
    assert carries_a_secret(server.last)
    assert not carries_a_secret(other.last)
    assert not {"Cookie", "X-Token", "X-Session", "X-Signed", "X-Api-Key"}.intersection(other.last.headers)
    assert (other.last.headers["Accept"], other.last.body, other.last.query) == ("text/x-mine", b"", [])


async def test_a_header_of_the_callers_that_signing_replaced_does_not_lead_its_value_away(serve: Serve) -> None:
    other = await serve()
    server = await serve(redirecting(lambda _: other.origin))
    api = api_at(server.origin, HeaderApiKey("X-Api-Key", KEY))
    await api.get_json("/start", headers={"X-Api-Key": "to be replaced", "Accept-Key": "a"})
    assert not carries_a_secret(other.last)
    await api_at(server.origin, HeaderApiKey("Accept", KEY)).get_json("/start", headers={"Accept": "text/a"})
    assert other.last.headers["Accept"] == "text/a"


@pytest.mark.parametrize("name", ["Accept-Key", "Accept-Token", "User-Agent-Key", "Range-Id", "If-Range-Id", "Referer"])
async def test_only_headers_on_a_short_list_go_to_another_origin(serve: Serve, name: str) -> None:
    other = await serve()
    server = await serve(redirecting(lambda _: other.origin))
    await api_at(server.origin, Auth.none()).get_json("/start", headers={name: "mine", "Accept-Language": "de"})
    assert name not in other.last.headers
    assert other.last.headers["Accept-Language"] == "de"


class OneHost(AbstractResolver):
    """Finds every name on this machine."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[Any]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "me.localhost.", "[::1]", "127.1", "2130706433", "0x7f.1", "127.0.1", "nas.local"),
        *("10.0.0.1", "192.168.1.1", "172.16.0.9", "169.254.169.254", "[fd00::1]", "[fe80::1]", "[::ffff:10.0.0.1]"),
    ],
)
async def test_a_redirect_from_a_public_host_into_a_private_network_is_not_followed(serve: Serve, host: str) -> None:
    server = await serve(redirecting(lambda request: f"http://{host}:{request.url.port}/end"))
    port = server.origin.rpartition(":")[2]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=OneHost())) as session:
        api = api_at(f"http://api.example.com:{port}", Auth.none(), session=session)
        with pytest.raises(OriginError, match="private network"):
            await api.get_json("/start")
        assert len(server.seen) == 1
        api.base_url = f"http://nas.local:{port}"
        server.handler = redirecting(lambda _: f"{server.origin}/end")
        assert await api.get_json("/start") == {"at": "/end"}, "a private host may redirect to another"


async def test_a_redirect_to_another_public_host_is_followed(serve: Serve) -> None:
    server = await serve(redirecting(lambda request: f"http://files.example.com:{request.url.port}/end"))
    port = server.origin.rpartition(":")[2]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=OneHost())) as session:
        api = api_at(f"http://api.example.com:{port}", Auth.none(), session=session)
        assert await api.get_json("/start") == {"at": "/end"}


async def test_once_led_away_a_redirect_back_is_not_signed(serve: Serve, auth: Auth) -> None:
    server = await serve()  # the server that it was led to must not choose what is asked for with the credential
    other = await serve(redirecting(lambda _: server.origin + "/end"))
    server.handler = redirecting(lambda _: other.origin + "/start")
    assert await api_at(server.origin, auth).get_form("/start", headers={"X-Mine": "1"}) == {"at": "/end"}
    assert [carries_a_secret(seen) for seen in (*server.seen, *other.seen)] == [True, False, False]
    assert "X-Mine" not in server.last.headers


@pytest.mark.parametrize("status", [307, 308])
async def test_a_post_is_not_followed_to_another_origin(serve: Serve, auth: Auth, status: int) -> None:
    other = await serve()
    server = await serve(redirecting(lambda _: other.origin + "/end", status))
    with pytest.raises(OriginError, match="not followed"):
        await api_at(server.origin, auth).post_form("/start", data={"a": "1"})
    assert other.seen == []


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_post_that_is_told_to_look_elsewhere_goes_on_as_a_get_without_a_body(
    serve: Serve, status: int
) -> None:
    server = await serve(redirecting(lambda _: "/end", status))
    await api_at(server.origin, oauth2()).post_form("/start", data="a=1")
    assert (server.last.method, server.last.body, server.last.headers.get("Content-Type")) == ("GET", b"", None)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("away", [False, True], ids=["within", "away"])
async def test_a_redirect_changes_the_method_as_in_a_browser_and_only_reads_go_away(
    serve: Serve, method: str, status: int, away: bool
) -> None:
    other = await serve()
    server = await serve(redirecting(lambda _: (other.origin if away else "") + "/end", status))
    # Fetch Standard, HTTP-redirect fetch
    becomes_get = (status in (301, 302) and method == "POST") or (status == 303 and method not in ("GET", "HEAD"))
    then = "GET" if becomes_get else method

    async def ask() -> None:
        body: Any = {"data": "a"} if method in ("POST", "PUT", "PATCH") else {}
        async with api_at(server.origin, oauth2()).stream("/start", method=method, **body) as reply:
            assert reply.status == 200

    if away and then not in ("GET", "HEAD"):
        with pytest.raises(OriginError, match="not followed"):
            await ask()
        assert other.seen == []
    else:
        await ask()
        last = (other if away else server).last
        assert (last.method, last.path) == (then, "/end")
        assert carries_a_secret(last) is not away


async def test_a_redirect_that_takes_the_url_key_along_is_not_followed(serve: Serve) -> None:
    other = await serve()
    server = await serve(redirecting(lambda request: other.origin + request.raw_path))
    with pytest.raises(OriginError, match="credential") as caught:
        await api_at(server.origin, UrlApiKey("key", KEY)).get_json("/start")
    assert other.seen == []
    assert quote(KEY, safe="") not in str(caught.value)


async def test_a_parameter_of_the_callers_may_be_taken_along(serve: Serve) -> None:
    other = await serve()
    server = await serve(redirecting(lambda request: other.origin + "/?q=" + request.query["q"]))
    await api_at(server.origin, UrlApiKey("key", KEY)).get_json("/start", {"q": "search words"})
    assert other.last.query == [("q", "search words")]


@pytest.mark.parametrize("target", ["/start", "file:///etc/passwd", "javascript:1", "http://[", "mailto:a@b", ""])
async def test_a_redirect_without_end_or_to_what_is_no_http_is_an_error(
    serve: Serve, auth: Auth, target: str
) -> None:
    server = await serve(redirecting(lambda _: target))
    with pytest.raises(ConfigError, match="redirects"):
        await api_at(server.origin, auth).get_form("/start")
    assert len(server.seen) <= 11


async def test_a_refusal_after_a_redirect_is_an_api_error(serve: Serve, told_by: Callable[[Any], str]) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/start":
            return web.Response(status=302, headers={"Location": "/end"})
        return web.Response(status=403, text=f"no {request.query['key']}")

    server = await serve(handler)
    with pytest.raises(ApiError, match="HTTP 403: no") as caught:
        await api_at(server.origin, UrlApiKey("key", KEY)).get_json("/start")
    assert KEY not in told_by(caught.value)


@pytest.mark.parametrize("status", [300, 304, 302])
async def test_an_odd_3xx_is_an_answer(serve: Serve, status: int) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    server = await serve(handler)
    await api_at(server.origin, oauth2()).post_json_empty("/")


# What a refusal tells.


def _spellings(secret: str) -> list[str]:
    return [
        secret,
        quote(secret),
        quote(secret, safe=""),
        re.sub("%..", lambda found: found[0].lower(), quote(secret, safe="")),
        json.dumps({"k": secret}),
        json.dumps(secret).replace("/", "\\/"),
        html.escape(secret),
        base64.b64encode(secret.encode()).decode(),
        f"Bearer {secret}",
        secret * 3,
    ]


async def _refused(server: Server, auth: Auth) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await api_at(server.origin, auth).post_form("/things", data={})
    return caught.value


@pytest.mark.parametrize("status", [400, 401, 500])
async def test_a_credential_that_the_server_echoes_is_masked_everywhere(
    serve: Serve, auth: Auth, status: int, told_by: Callable[[Any], str]
) -> None:
    secret = TOKEN if isinstance(auth, OAuth2) else KEY
    spellings = _spellings(secret)

    async def handler(request: web.Request) -> web.StreamResponse:
        echo = spellings[len(server.seen) - 1]
        headers = {"X-Echo": echo, "WWW-Authenticate": f'Bearer realm="{echo}"'}
        return web.Response(status=status, text=f"you sent: {echo}.", headers=headers)

    server = await serve(handler)
    for _ in spellings:
        error = await _refused(server, auth)
        told = told_by(error)
        for spelled in spellings:
            assert spelled not in told
        assert "***" in str(error)
        assert "***" in str(error.reason)
        assert "***" in error.headers["x-echo"]


async def test_a_request_that_is_echoed_whole_shows_no_credential(
    serve: Serve, auth: Auth, told_by: Callable[[Any], str]
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        told = f"{request.raw_path} {dict(request.headers)} {await request.text()}"
        return web.Response(status=400, text=told)

    error = await _refused(await serve(handler), auth)
    for secret in (KEY, quote(KEY, safe=""), quote(KEY, safe="").replace("%20", "+"), TOKEN):
        assert secret not in told_by(error)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16"])
async def test_an_echo_in_another_encoding_is_masked_too(
    serve: Serve, encoding: str, told_by: Callable[[Any], str]
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=400, body=f"x{TOKEN}".encode(encoding), content_type="text/plain")

    error = await _refused(await serve(handler), oauth2())
    assert TOKEN not in told_by(error).replace("\\x00", "").replace("\0", "").replace("\\ufffd", "")


async def test_an_echo_cut_at_the_end_of_what_is_kept_shows_no_half(serve: Serve) -> None:
    secret = "0123456789" * 10

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=400, text=secret * 2000)

    error = await _refused(await serve(handler), HeaderApiKey("X-Api-Key", secret))
    assert "0123" not in str(error.reason)


async def test_an_error_on_the_way_shows_no_credential_either(
    serve: Serve, auth: Auth, told_by: Callable[[Any], str]
) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100", "X-Echo": f"{KEY} {TOKEN}"})
        await response.prepare(request)
        assert request.transport is not None
        request.transport.close()
        return response

    server = await serve(cut)
    with pytest.raises(SlyError) as caught:
        await api_at(server.origin, auth).post_form("/things", {"q": 1}, data={})
    told = told_by(caught.value)
    for secret in (KEY, quote(KEY, safe=""), quote(KEY, safe="").replace("%20", "+"), TOKEN):
        assert secret not in told


async def test_a_type_error_of_the_callers_data_shows_no_credential(
    serve: Serve, told_by: Callable[[Any], str]
) -> None:
    server = await serve()
    with pytest.raises(TypeError, match="not JSON serializable") as caught:
        await api_at(server.origin, oauth2()).post_json("/", json={"a": object()})
    assert TOKEN not in told_by(caught.value)


@pytest.mark.parametrize(
    ("status", "headers", "step"),
    [
        (401, {}, "grant again"),
        (403, {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}, "scope"),
        (403, {}, "may not"),
        (404, {}, "base_url"),
        (429, {}, "Wait, then"),
        (422, {}, "parameters"),
        (503, {"Retry-After": "3"}, "Wait 3 s, then"),
    ],
)
async def test_a_refusal_says_what_to_do_next(serve: Serve, status: int, headers: dict[str, str], step: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers=headers)

    error = await _refused(await serve(handler), HeaderApiKey("X-Api-Key", KEY))
    assert step in error.next_step
    assert error.retry_after == (3.0 if headers.get("Retry-After") else None)


# Any answers, in any order.


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("seed", range(25))
async def test_whatever_two_origins_answer_the_credential_stays_at_home_and_nothing_goes_on_without_end(
    serve: Serve, seed: int, method: str
) -> None:
    choose = random.Random(seed)

    def answer(home: str, away: str) -> web.Response:
        what = choose.choice(["ok", "move", "move", "move", "refuse", "error"])
        if what == "move":
            target = choose.choice([home, away, "", "//" + away.removeprefix("http://")]) + f"/{choose.random()}"
            return web.Response(status=choose.choice([301, 302, 303, 307, 308]), headers={"Location": target})
        if what == "refuse":
            status, challenge = choose.choice(list(REFUSALS.values()))
            return web.Response(status=status, headers={"WWW-Authenticate": challenge, "DPoP-Nonce": "n"})
        return web.json_response({}, status=200 if what == "ok" else choose.choice([404, 429, 500]))

    async def handler(request: web.Request) -> web.StreamResponse:
        return answer(server.origin, other.origin)

    server, other = await serve(handler), await serve(handler)
    for _ in range(12):
        auth = Levels()
        server.seen.clear()
        other.seen.clear()
        api = api_at(server.origin, auth)
        with suppress(SlyError):
            await (api.get_json("/") if method == "GET" else api.post_form("/", data={"a": "b"}))
        assert not [seen for seen in other.seen if "X-Level" in seen.headers or seen.body or seen.method != "GET"]
        signed = ["X-Level" in seen.headers for seen in server.seen]
        assert signed == sorted(signed, reverse=True), "once led away, it stays unsigned"
        assert auth.renewals <= 1
        assert len(server.seen) + len(other.seen) <= 11 + 2
