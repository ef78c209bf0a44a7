"""Every kind of auth as aiohttp client middleware, for people who want no `WebAPI`."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from SlyAPI import Auth, GrantEndedError, HeaderApiKey, OAuth2, OAuth2App, OAuth2User, UrlApiKey, WebAPI
from SlyAPI.auth import NoAuth
from SlyAPI.errors import ConfigError, OriginError
from SlyAPI.web import Request
from SlyAPI.web.challenges import challenges_in, needs_scope
from tests.support.renewing import Renewing

if TYPE_CHECKING:
    from tests.conftest import Practice, Practise, Seen, Serve

KEY = "k3y/s+cr=t"
TOKEN = "t0ken~SECRET"


def oauth2() -> OAuth2:
    return OAuth2(OAuth2App("id", None, "https://p.example/a", "https://p.example/t"), OAuth2User(TOKEN))


AUTHS: list[Callable[[], Auth]] = [lambda: UrlApiKey("key", KEY), lambda: HeaderApiKey("X-Api-Key", KEY), oauth2]


@pytest.fixture(params=AUTHS, ids=["url", "header", "oauth2"])
def auth(request: pytest.FixtureRequest) -> Auth:
    made: Auth = request.param()
    return made


def signed(seen: Seen) -> bool:
    told = f"{seen.query} {list(seen.headers.items())}"
    return KEY in told or TOKEN in told


@asynccontextmanager
async def client_of(auth: Auth, **more: Any) -> AsyncGenerator[aiohttp.ClientSession, None]:
    async with aiohttp.ClientSession(middlewares=(auth,), **more) as client:
        yield client


async def get(client: aiohttp.ClientSession, url: str, **more: Any) -> int:
    async with client.get(url, **more) as response:
        await response.read()
        return response.status


def redirect(location: Callable[[], str], status: int = 302, header: str = "Location") -> Any:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/start":
            return web.Response(status=status, headers={header: location()})
        return web.json_response({})

    return handler


async def test_a_request_is_signed(serve: Serve, auth: Auth) -> None:
    server = await serve()
    async with client_of(auth) as client:
        assert await get(client, f"{server.origin}/a", params={"q": "a b"}) == 200
        async with client.post(server.origin, json={"a": 1}) as response:
            assert response.status == 200
        async with client.head(server.origin) as response:
            assert response.status == 200
    assert [signed(seen) for seen in server.seen] == [True] * 3
    assert ("q", "a b") in server.seen[0].query
    assert server.seen[1].json == {"a": 1}


async def test_headers_of_the_callers_stay_as_they_are(serve: Serve, auth: Auth) -> None:
    server = await serve()
    async with client_of(auth) as client:
        await get(client, server.origin, headers=[("X-Two", "1"), ("X-Two", "2")])
    assert server.last.headers.getall("X-Two") == ["1", "2"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_within_the_origin_is_signed(serve: Serve, auth: Auth, status: int) -> None:
    server = await serve(redirect(lambda: "/end", status))
    async with client_of(auth) as client:
        await get(client, f"{server.origin}/start")
        await get(client, f"{server.origin}/start")
    assert [(seen.path, signed(seen)) for seen in server.seen] == [("/start", True), ("/end", True)] * 2


@pytest.mark.parametrize("header", ["Location", "URI"])
@pytest.mark.parametrize(
    "path", ["/end", "/end#fragment", "", "/%7Eend/../x", "?q=%41", "/end;a=b", "/\u00e9nd", "//end"]
)
async def test_a_redirect_to_another_origin_is_followed_unsigned_however_it_is_written(
    serve: Serve, auth: Auth, path: str, header: str
) -> None:
    other = await serve()
    server = await serve(redirect(lambda: other.origin + path, header=header))
    async with client_of(auth) as client:
        assert await get(client, f"{server.origin}/start") == 200
    assert [signed(seen) for seen in (*server.seen, *other.seen)] == [True, False]


@pytest.mark.parametrize("user", ["u:p@", "@", "u@"])
async def test_user_information_in_a_redirect_does_not_get_it_signed(serve: Serve, auth: Auth, user: str) -> None:
    other = await serve()
    server = await serve(redirect(lambda: other.origin.replace("://", f"://{user}")))
    async with client_of(auth) as client:
        await get(client, f"{server.origin}/start")
    assert [signed(seen) for seen in other.seen] == [False]


async def test_a_request_to_another_origin_than_the_first_one_goes_unsigned(serve: Serve, auth: Auth) -> None:
    first, other = await serve(), await serve()
    async with client_of(auth) as client:
        for origin in (first.origin, other.origin, first.origin):
            await get(client, f"{origin}/end")
    assert [signed(seen) for seen in (*first.seen, *other.seen)] == [True, True, False]


async def test_an_auth_is_bound_to_the_origins_that_the_program_names(serve: Serve, auth: Auth) -> None:
    servers = [await serve() for _ in range(3)]
    bound = auth.at(servers[0].origin + "/any/path", servers[1].origin)
    assert bound is auth
    async with client_of(bound) as client:
        for server in reversed(servers):
            await get(client, f"{server.origin}/end")
    assert [signed(server.last) for server in servers] == [True, True, False]


@pytest.mark.parametrize("origins", [(), ("",), ("api.example",), ("ftp://api.example",), ("https://[::1",)])
def test_what_is_not_an_origin_is_refused(auth: Auth, origins: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"https://api\.example"):
        auth.at(*origins)


async def test_each_of_several_auths_of_a_session_stays_at_home(serve: Serve) -> None:
    home, other = await serve(), await serve()
    auths = HeaderApiKey("X-Home", "one").at(home.origin), HeaderApiKey("X-Other", "two").at(other.origin)
    async with aiohttp.ClientSession(middlewares=auths) as client:
        for server in (home, other):
            await get(client, f"{server.origin}/end")
    assert [name in home.last.headers for name in ("X-Home", "X-Other")] == [True, False]
    assert [name in other.last.headers for name in ("X-Home", "X-Other")] == [False, True]


Handler = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]
Outside = Callable[[aiohttp.ClientRequest, Handler], Awaitable[aiohttp.ClientResponse]]


def repeats_elsewhere(other: str) -> Outside:
    async def middleware(request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
        (await handler(request)).release()
        request.url = URL(f"{other}/end")
        return await handler(request)

    return middleware


def calls_the_session(other: str) -> Outside:
    async def middleware(request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
        if request.url.path == "/start":
            async with request.session.get(f"{other}/end") as response:
                await response.read()
        return await handler(request)

    return middleware


def retries(other: str) -> Outside:
    async def middleware(request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
        (await handler(request)).release()
        return await handler(request)

    return middleware


def runs_it_in_a_task(other: str) -> Outside:
    async def middleware(request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
        return await asyncio.create_task(handler(request))  # type: ignore[arg-type]

    return middleware


@pytest.mark.parametrize("outside", [repeats_elsewhere, calls_the_session, retries, runs_it_in_a_task])
async def test_whoever_repeats_or_redirects_a_request_takes_no_credential_to_another_origin(
    serve: Serve, auth: Auth, outside: Callable[[str], Outside]
) -> None:
    other = await serve()
    server = await serve(redirect(lambda: f"{other.origin}/end"))
    async with aiohttp.ClientSession(middlewares=(outside(other.origin), auth.at(server.origin))) as client:
        for how in ({"allow_redirects": False}, {}, {}):
            await get(client, f"{server.origin}/start", **how)
        await get(client, f"{server.origin}/end")
    assert [signed(seen) for seen in server.seen] == [True] * len(server.seen)
    assert other.seen
    assert not any(signed(seen) for seen in other.seen)


async def test_a_request_that_aiohttp_repeats_after_a_closed_connection_stays_at_its_origin(
    serve: Serve, auth: Auth
) -> None:
    other, paths = await serve(), list[str]()

    async def closes_once(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        assert request.transport is not None
        if paths.count(request.path) == 1 and request.path != "/first":
            request.transport.close()  # aiohttp repeats what it sent on a connection that was kept
        if request.path == "/start":
            return web.Response(status=302, headers={"Location": f"{other.origin}/end"})
        return web.json_response({})

    server = await serve(closes_once)
    async with client_of(auth) as client:
        for path in ("/first", "/start", "/end"):
            assert await get(client, server.origin + path) == 200
    assert paths.count("/start") == paths.count("/end") == 2
    assert all(signed(seen) for seen in server.seen)
    assert not any(signed(seen) for seen in other.seen)


async def test_a_request_is_signed_again_once(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/0":
            return web.Response(status=302, headers={"Location": "/1#here"})
        return web.Response(status=200 if int(request.headers["X-Number"]) > 1 else 401)

    server, auth = await serve(handler), Renewing()
    async with client_of(auth) as client:
        for _ in range(3):
            auth.number = 1
            assert await get(client, f"{server.origin}/0") == 200
            assert auth.number == 2


async def test_requests_at_once_do_not_mistake_each_others_redirects(serve: Serve, auth: Auth) -> None:
    other = await serve()
    server = await serve(redirect(lambda: f"{other.origin}/end"))
    async with client_of(auth) as client:
        paths = ["/start", "/end"] * 10
        await asyncio.gather(*(get(client, server.origin + path) for path in paths))
    assert [signed(seen) for seen in server.seen] == [True] * 20
    assert [signed(seen) for seen in other.seen] == [False] * 10


async def test_a_redirect_that_takes_the_url_key_along_is_not_followed(serve: Serve) -> None:
    other = await serve()
    server = await serve()

    async def along(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": other.origin + request.raw_path})

    server.handler = along
    async with client_of(UrlApiKey("key", KEY)) as client:
        with pytest.raises(OriginError, match="credential") as caught:
            await get(client, f"{server.origin}/start")
    assert other.seen == []
    assert quote(KEY, safe="") not in str(caught.value)


async def test_an_auth_that_signs_the_body_says_that_a_middleware_cannot(serve: Serve) -> None:
    class FormKey(Auth):
        async def sign(self, client: Any, request: Request) -> Request:
            request.data["key"] = KEY
            return request

    server = await serve()
    async with client_of(FormKey()) as client:
        with pytest.raises(ConfigError, match="WebAPI"):
            await get(client, server.origin)
    assert server.seen == []


async def test_no_auth_changes_nothing(serve: Serve) -> None:
    server = await serve()
    assert isinstance(Auth.none(), NoAuth)
    async with client_of(Auth.none()) as client:
        await get(client, server.origin)
    assert "Authorization" not in server.last.headers


def test_keys_print_without_their_secret() -> None:
    for auth in (UrlApiKey("key", KEY), HeaderApiKey("X-Api-Key", KEY)):
        assert KEY not in f"{auth!r} {auth}"


async def test_a_subclass_adds_a_second_parameter_or_header_as_in_0_6(serve: Serve) -> None:
    class Two(HeaderApiKey):
        def __init__(self) -> None:
            super().__init__("X-Api-Key", KEY)
            self.headers["X-App"] = "app"

    class TwoInTheUrl(UrlApiKey):
        def __init__(self) -> None:
            super().__init__("key", "k")
            self.params["app"] = "a"

    server = await serve()
    for auth in (Two(), TwoInTheUrl()):
        api = WebAPI(auth)
        api.base_url = server.origin
        await api.get_json("/", {"q": 1})
    assert [server.seen[0].headers[name] for name in ("X-Api-Key", "X-App")] == [KEY, "app"]
    assert server.seen[1].query == [("q", "1"), ("key", "k"), ("app", "a")]


# OAuth2 with the practice provider.


def expire(practice: Practice) -> None:
    practice.clock.now += 1000


async def test_a_middleware_refreshes_once_for_many_requests(practise: Practise) -> None:
    practice = await practise()
    auth = practice.auth(await practice.granted_file())
    expire(practice)
    async with client_of(auth, base_url=practice.provider.api_url + "/") as client:
        assert await asyncio.gather(*(get(client, "me") for _ in range(10))) == [200] * 10
    assert (practice.refreshes, practice.provider.reuses) == (1, 0)


@pytest.mark.parametrize("body", [{"json": {"text": "a"}}, {"data": {"text": "a"}}])
async def test_after_a_401_a_middleware_refreshes_and_repeats_once(practise: Practise, body: dict[str, Any]) -> None:
    practice = await practise()
    auth = practice.auth(await practice.grant())
    practice.provider.revoke_access_tokens()
    async with client_of(auth) as client:
        async with client.post(practice.provider.api_url + "/notes", **body) as response:
            assert response.status == 201
            assert await response.json() == {"id": 1, "text": "a"}
    assert practice.refreshes == 1


async def test_a_body_that_can_be_sent_but_once_is_not_repeated(practise: Practise) -> None:
    practice = await practise()
    auth = practice.auth(await practice.grant())
    practice.provider.revoke_access_tokens()

    async def body() -> AsyncGenerator[bytes, None]:
        yield b"text=a"

    async with client_of(auth) as client:
        async with client.post(practice.provider.api_url + "/notes", data=body()) as response:
            assert response.status == 401
    assert practice.refreshes == 0


async def test_a_refused_refresh_reaches_the_caller_and_leaves_nothing_open(practise: Practise) -> None:
    practice = await practise()
    auth = practice.auth(await practice.grant())
    practice.provider.end_all_grants()
    async with client_of(auth) as client:
        with pytest.raises(GrantEndedError):
            await get(client, practice.provider.api_url + "/me")
        assert client.connector is not None
        expire(practice)
        with pytest.raises(GrantEndedError):
            await get(client, practice.provider.api_url + "/me")


async def test_a_second_401_is_the_response(practise: Practise, serve: Serve) -> None:
    async def never(request: web.Request) -> web.StreamResponse:
        return web.Response(status=401)

    practice, server = await practise(), await serve(never)
    async with client_of(practice.auth(await practice.grant())) as client:
        assert await get(client, server.origin) == 401
    assert (practice.refreshes, len(server.seen)) == (1, 2)


async def test_a_subclass_needs_no_more_than_sign(serve: Serve) -> None:
    class Dated(Auth):
        async def sign(self, client: Any, request: Request) -> Request:
            assert isinstance(client, aiohttp.ClientSession)
            request.headers["X-Date"] = datetime.now(UTC).isoformat()
            return request

    server = await serve()
    async with client_of(Dated()) as client:
        await get(client, server.origin)
    assert "X-Date" in server.last.headers


# --- 403 ---


class StepsUp(Auth):
    """Adds the scope that a challenge names, as a signer does that can ask the person for more."""

    answers_403 = True

    def __init__(self) -> None:
        self.scopes: list[str] = []

    async def sign(self, client: Any, request: Request) -> Request:
        request.headers["X-Scopes"] = " ".join(self.scopes)
        return request

    async def sign_again(self, client: Any, request: Request, headers: Any) -> bool:
        wanted = needs_scope(challenges_in(headers))
        assert wanted is not None
        self.scopes += wanted.scopes
        await self.sign(client, request)
        return True


class StaysDown(StepsUp):
    answers_403 = False


def wanting(challenge: str) -> Any:
    async def handler(request: web.Request) -> web.StreamResponse:
        if "notes" in request.headers["X-Scopes"]:
            return web.json_response({})
        return web.Response(status=403, headers={"WWW-Authenticate": challenge})

    return handler


@pytest.mark.parametrize(
    ("auth", "challenge", "status"),
    [
        (StepsUp, 'Bearer error="insufficient_scope", scope="notes"', 200),
        (StepsUp, 'Bearer error="insufficient_scope", scope="other"', 403),
        (StepsUp, "Bearer", 403),
        (StaysDown, 'Bearer error="insufficient_scope", scope="notes"', 403),
    ],
)
async def test_an_auth_that_answers_403_hears_of_a_lacking_scope_once(
    serve: Serve, auth: type[StepsUp], challenge: str, status: int
) -> None:
    server = await serve(wanting(challenge))
    async with client_of(auth()) as client:
        assert await get(client, server.origin) == status
    assert len(server.seen) == 1 + (auth is StepsUp and "scope=" in challenge)
