"""Tokens that only their owner can use (RFC 9449): whole grants at a strict provider, nonces, refresh, restart."""
from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import httpx2
import jwt
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from SlyAPI import OAuth2, OAuth2App, OAuth2User, WebAPI
from SlyAPI.errors import ApiError, BadReplyError, ConfigError, GrantEndedError, TokenError
from SlyAPI.httpx2 import signed
from SlyAPI.oauth2.messages.dpop import target_uri
from SlyAPI.oauth2.messages.jose import thumbprint
from SlyAPI.stores import EncryptedStore, FileStore, MemoryStore
from SlyAPI.testing import PracticeProvider
from tests.conftest import REDIRECT_URI, Practice

if TYPE_CHECKING:
    from tests.conftest import Practise, Serve

DPOP: dict[str, Any] = {"client_secret": None, "dpop": "required"}


def app_at(practice: Practice, **settings: Any) -> OAuth2App:
    provider = practice.provider
    return OAuth2App("practice-client", None, provider.authorize_url, provider.token_url, dpop=True, **settings)


async def redirect_of(url: str) -> str:
    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
        return answer.headers["Location"]


async def sign_in(practice: Practice, app: OAuth2App) -> OAuth2User:
    login = app.begin_login(REDIRECT_URI, "notes", now=practice.clock())
    kept = json.loads(json.dumps(login.to_dict()))
    return await app.finish_login(kept, await redirect_of(login.url), now=practice.clock())


def asked(practice: Practice, endpoint: str) -> list[Any]:
    return [seen for seen in practice.provider.log if seen.endpoint == endpoint]


@pytest.mark.parametrize("nonces", [False, True])
async def test_a_grant_its_calls_and_its_refresh_are_bound_to_one_key(practise: Practise, nonces: bool) -> None:
    practice = await practise(**DPOP, dpop_nonces=nonces)
    practice.app = app_at(practice)
    user = await sign_in(practice, practice.app)
    assert (user.token_type, user.dpop_key is not None) == ("DPoP", True)
    api = practice.api(practice.auth(user))
    for _ in range(3):
        assert (await api.get_json("/me"))["scopes"] == ["notes"]
    practice.clock.now += 200
    assert (await api.get_json("/me"))["scopes"] == ["notes"]
    assert practice.provider.refreshes == 1


@pytest.mark.parametrize("where", ["token", "api"])
async def test_a_new_nonce_costs_one_repeat_and_no_refresh(practise: Practise, where: str) -> None:
    practice = await practise(**DPOP, dpop_nonces=True)
    practice.app = app_at(practice)
    auth = practice.auth(await sign_in(practice, practice.app))
    api = practice.api(auth)
    await api.get_json("/me")
    practice.provider.demand_dpop_nonces(where)
    practice.provider.log.clear()
    if where == "token":
        await auth.refresh_now()
        assert len(asked(practice, "token")) == 2
        return
    await api.get_json("/me")
    assert len(asked(practice, "api/me")) == 2
    assert practice.provider.refreshes == 0
    practice.provider.log.clear()
    await api.get_json("/me")
    assert len(asked(practice, "api/me")) == 1


@asynccontextmanager
async def caller(by: str, auth: OAuth2, url: str) -> AsyncGenerator[Callable[[], Awaitable[int]], None]:
    """Calls `url` by a library, and gives the status."""
    if by == "WebAPI":
        async with WebAPI(auth) as api:
            api.base_url = url

            async def call() -> int:
                try:
                    await api.get_json("")
                except ApiError as error:
                    return error.status
                return 200

            yield call
    elif by == "middleware":
        async with aiohttp.ClientSession(middlewares=(auth,)) as session:

            async def call() -> int:
                async with session.get(url) as reply:
                    return reply.status

            yield call
    else:
        async with httpx2.AsyncClient(auth=signed(auth)) as client:

            async def call() -> int:
                return int((await client.get(url)).status_code)

            yield call


@pytest.mark.parametrize("by", ["WebAPI", "middleware", "httpx2"])
@pytest.mark.parametrize("refusals", ["nonce", "token", "nonce token", "token nonce"])
async def test_a_stale_nonce_and_a_dead_token_cost_one_repeat_each_in_either_order(
    serve: Serve, by: str, refusals: str
) -> None:
    left = refusals.split()

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            return web.json_response({"access_token": "new", "token_type": "DPoP", "refresh_token": "r2"})
        if not left:
            return web.json_response({})
        error = {"nonce": "use_dpop_nonce", "token": "invalid_token"}[left.pop(0)]
        headers = {"WWW-Authenticate": f'DPoP error="{error}"', "DPoP-Nonce": f"n-{len(left)}"}
        return web.json_response({}, status=401, headers=headers)

    server = await serve(handle)
    app = OAuth2App("c", None, f"{server.origin}/auth", f"{server.origin}/token", dpop=True)
    auth = OAuth2(app, OAuth2User("t", "r", token_type="DPoP", dpop_key=app._new_dpop_key()))
    async with caller(by, auth, f"{server.origin}/me") as call:
        assert await call() == 200
    asked = [seen.path for seen in server.seen]
    assert (asked.count("/me"), asked.count("/token")) == (1 + len(refusals.split()), int("token" in refusals))


@pytest.mark.parametrize("by", ["WebAPI", "middleware", "httpx2"])
@pytest.mark.parametrize("first", ["use_dpop_nonce", "invalid_token"])
async def test_an_api_that_refuses_in_turns_is_asked_three_times(serve: Serve, by: str, first: str) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            return web.json_response({"access_token": "new", "token_type": "DPoP", "refresh_token": "r2"})
        calls = sum(seen.path == "/me" for seen in server.seen)
        second = ({"use_dpop_nonce", "invalid_token"} - {first}).pop()
        error = first if calls % 2 else second
        headers = {"WWW-Authenticate": f'DPoP error="{error}"', "DPoP-Nonce": f"n-{calls}"}
        return web.json_response({}, status=401, headers=headers)

    server = await serve(handle)
    app = OAuth2App("c", None, f"{server.origin}/auth", f"{server.origin}/token", dpop=True)
    auth = OAuth2(app, OAuth2User("t", "r", token_type="DPoP", dpop_key=app._new_dpop_key()))
    async with caller(by, auth, f"{server.origin}/me") as call:
        assert await call() == 401
    assert [seen.path for seen in server.seen].count("/me") == 3


async def test_many_calls_at_once_learn_one_new_nonce_without_a_refresh(practise: Practise) -> None:
    practice = await practise(**DPOP, dpop_nonces=True)
    practice.app = app_at(practice)
    api = practice.api(practice.auth(await sign_in(practice, practice.app)))
    for _ in range(3):
        practice.provider.demand_dpop_nonces()
        await asyncio.gather(*(api.get_json("/me") for _ in range(10)))
    assert practice.provider.refreshes == 0


async def test_many_token_requests_at_once_learn_one_new_nonce(practise: Practise) -> None:
    practice = await practise(**DPOP, dpop_nonces=True)
    app = app_at(practice)
    users = [await sign_in(practice, app) for _ in range(10)]
    practice.provider.demand_dpop_nonces()
    fresh = await asyncio.gather(*(app.refresh(None, user, now=practice.clock()) for user in users))
    assert len({user.token for user in fresh}) == 10
    assert [user.dpop_key for user in fresh] == [user.dpop_key for user in users]


@pytest.mark.parametrize("status", [200, 400, 402, 403, 404, 503])
async def test_the_nonce_of_any_answer_but_a_401_is_the_next_ones(serve: Serve, status: int) -> None:
    """RFC 9449 §8.2; a 401 asks for its own nonce at once."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response({}, status=status, headers={"DPoP-Nonce": f"after-{request.path[1:]}"})

    server = await serve(handle)
    app = OAuth2App("c", None, "https://p.example/auth", "https://p.example/token", dpop=True)
    api = WebAPI(OAuth2(app, OAuth2User("t", token_type="DPoP", dpop_key=app._new_dpop_key())))
    api.base_url = server.origin
    for path in ("/1", "/2"):
        with suppress(ApiError):
            await api.get_json(path)
    claims = [jwt.decode(seen.headers["DPoP"], options={"verify_signature": False}) for seen in server.seen]
    assert [one.get("nonce") for one in claims] == [None, "after-1"]


@pytest.mark.parametrize("by", ["WebAPI", "middleware"])
async def test_the_nonce_of_a_good_answer_is_the_next_ones(serve: Serve, by: str) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response({}, headers={"DPoP-Nonce": f"after-{request.path[1:]}"})

    server = await serve(handle)
    app = OAuth2App("c", None, "https://p.example/auth", "https://p.example/token", dpop=True)
    auth = OAuth2(app, OAuth2User("t", token_type="DPoP", dpop_key=app._new_dpop_key()))
    if by == "WebAPI":
        api = WebAPI(auth)
        api.base_url = server.origin
        for path in ("/1", "/2"):
            await api.get_json(path)
    else:
        async with aiohttp.ClientSession(middlewares=(auth,)) as session:
            for path in ("/1", "/2"):
                async with session.get(server.origin + path):
                    pass
    claims = [jwt.decode(seen.headers["DPoP"], options={"verify_signature": False}) for seen in server.seen]
    assert [one.get("nonce") for one in claims] == [None, "after-1"]
    assert [one["htu"] for one in claims] == [server.origin + "/1", server.origin + "/2"]


async def test_a_nonce_that_is_always_another_one_costs_one_repeat_and_no_grant(serve: Serve) -> None:
    numbers = iter(range(100))

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = {"DPoP-Nonce": f"n-{next(numbers)}", "WWW-Authenticate": 'DPoP error="use_dpop_nonce"'}
        return web.json_response({"error": "use_dpop_nonce"}, status=400, headers=headers)

    server = await serve(handle)
    app = OAuth2App("c", None, f"{server.origin}/auth", f"{server.origin}/token", dpop=True)
    user = OAuth2User("t", "r", token_type="DPoP", dpop_key=app._new_dpop_key())
    with pytest.raises(TokenError) as refused:
        await app.refresh(None, user)
    assert not isinstance(refused.value, GrantEndedError)
    assert (refused.value.kind, len(server.seen)) == ("transient", 2)


async def test_the_proof_of_each_request_is_its_own(serve: Serve) -> None:
    server = await serve()
    app = OAuth2App("c", None, "https://p.example/auth", "https://p.example/token", dpop=True)
    user = OAuth2User("t", token_type="DPoP", dpop_key=app._new_dpop_key())
    api = WebAPI(OAuth2(app, user))
    api.base_url = server.origin
    for _ in range(2):
        await api.get_json("/größe a", {"q": "x y"})
    proofs = [seen.headers["DPoP"] for seen in server.seen]
    claims = [jwt.decode(proof, options={"verify_signature": False}) for proof in proofs]
    assert len({one["jti"] for one in claims}) == 2
    assert claims[0]["htu"] == f"{server.origin}/gr%C3%B6%C3%9Fe%20a"
    assert claims[0]["htm"] == "GET"
    assert set(jwt.get_unverified_header(proofs[0])["jwk"]) == {"kty", "crv", "x", "y"}
    assert server.last.headers["Authorization"] == "DPoP t"


_PARTS = st.sampled_from([*"aZ0.-_~/ü @:+=&", "..", "//", "%41", "%2f"])


@given(
    st.sampled_from(["https", "http", "HTTPS"]),
    st.sampled_from(["api.example", "API.example", "127.0.0.1", "[::1]", "a-b.example", "bücher.example"]),
    st.sampled_from(["", ":443", ":80", ":8080", ":0443", ":8"]),
    st.lists(_PARTS, max_size=6).map("".join),
    st.sampled_from(["", "?", "?a=b", "?a=b#c", "#c", "#?"]),
)
def test_a_proof_names_the_url_as_it_is_sent(scheme: str, host: str, port: str, path: str, rest: str) -> None:
    url = f"{scheme}://{host}{port}/{path}{rest}"
    assert target_uri(url) == str(URL(url).with_query(None).with_fragment(None))


@pytest.mark.parametrize("store", ["file", "memory", "encrypted"])
async def test_the_key_outlives_a_restart_and_is_in_the_store_alone(
    practise: Practise, tmp_path: Path, store: str
) -> None:
    practice = await practise(**DPOP, dpop_nonces=True)
    practice.app = app_at(practice)
    user = await sign_in(practice, practice.app)
    assert user.dpop_key is not None
    inner = FileStore(tmp_path) if store != "memory" else MemoryStore()
    kept = EncryptedStore(inner, EncryptedStore.new_key()) if store == "encrypted" else inner
    await kept.save("robin", user.to_dict())
    practice.clock.now += 200
    practice.app = app_at(practice)
    auth = OAuth2(practice.app, kept.user("robin"), clock=practice.clock)
    await practice.api(auth).get_json("/me")
    assert auth.user.dpop_key == user.dpop_key
    assert (await kept.load("robin"))["dpop_key"] == dict(user.dpop_key)
    if store == "encrypted":
        assert not any(user.dpop_key["d"] in path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert user.dpop_key["d"] not in repr(user) + repr(auth) + repr(user.dpop_key)


async def test_a_fleet_on_one_user_refreshes_once(practise: Practise) -> None:
    practice = await practise(**DPOP, dpop_nonces=True)
    app, store = app_at(practice), MemoryStore()
    await store.save("robin", (await sign_in(practice, app)).to_dict())
    practice.clock.now += 200
    members = [OAuth2(app_at(practice), store.user("robin"), clock=practice.clock) for _ in range(8)]
    practice.app = app
    await asyncio.gather(*(practice.api(auth).get_json("/me") for auth in members))
    assert practice.provider.refreshes == 1


async def test_each_user_has_a_key_of_their_own_which_the_login_names(practise: Practise) -> None:
    practice = await practise(**DPOP)
    app = app_at(practice)
    logins = [app.begin_login(REDIRECT_URI, "notes") for _ in range(3)]
    named = [dict(parse_qsl(urlsplit(login.url).query))["dpop_jkt"] for login in logins]
    assert len(set(named)) == 3
    for login, jkt in zip(logins, named, strict=True):
        kept = login.to_dict()
        assert thumbprint(kept["dpop_key"]) == jkt
        assert kept["dpop_key"]["d"] not in repr(login) + repr(kept) + str(kept)


async def test_a_code_is_useless_without_the_logins_key(practise: Practise) -> None:
    practice = await practise(**DPOP)
    app = app_at(practice)
    login = app.begin_login(REDIRECT_URI, "notes", now=practice.clock())
    kept = {**login.to_dict(), "dpop_key": app.begin_login(REDIRECT_URI, "notes").to_dict()["dpop_key"]}
    with pytest.raises(TokenError):
        await app.finish_login(kept, await redirect_of(login.url), now=practice.clock())


async def test_a_token_that_is_not_bound_is_refused(serve: Serve) -> None:
    async def bearer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"access_token": "t", "token_type": "Bearer"})

    server = await serve(bearer)
    app = OAuth2App("c", None, f"{server.origin}/auth", f"{server.origin}/token", dpop=True)
    login = app.begin_login(REDIRECT_URI, "notes")
    with pytest.raises(BadReplyError) as caught:
        await app.finish_login(login, f"{REDIRECT_URI}?state={login.state}&code=c")
    assert "dpop" in caught.value.next_step


@pytest.mark.parametrize("setting", [True, "", "on"])
def test_a_practice_provider_names_the_settings_of_dpop(setting: Any) -> None:
    with pytest.raises(ValueError, match="required"):
        PracticeProvider(dpop=setting)


async def test_a_bound_token_that_was_not_asked_for_is_refused(serve: Serve) -> None:
    async def bound(request: web.Request) -> web.StreamResponse:
        return web.json_response({"access_token": "t", "token_type": "DPoP"})

    server = await serve(bound)
    app = OAuth2App("c", None, f"{server.origin}/auth", f"{server.origin}/token")
    login = app.begin_login(REDIRECT_URI, "notes")
    with pytest.raises(BadReplyError):
        await app.finish_login(login, f"{REDIRECT_URI}?state={login.state}&code=c")


async def test_users_from_before_stay_as_they_are(practise: Practise) -> None:
    practice = await practise(client_secret=None, dpop="allowed")
    user = await practice.grant("notes")
    practice.clock.now += 200
    practice.app = app_at(practice)
    await practice.api(practice.auth(user)).get_json("/me")
    assert practice.provider.refreshes == 1


@pytest.mark.parametrize(
    ("offered", "alg"),
    [
        (None, "ES256"),
        (["RS256", "ES256"], "ES256"),
        (["EdDSA"], "EdDSA"),
        (["PS256", "RS256"], "PS256"),
        (["ES384"], "ES384"),
    ],
)
async def test_the_key_is_of_a_kind_that_the_provider_takes(practise: Practise, offered: Any, alg: str) -> None:
    practice = await practise(**DPOP)
    practice.app = app_at(practice, dpop_algs=offered)
    user = await sign_in(practice, practice.app)
    assert user.dpop_key is not None
    assert user.dpop_key["alg"] == alg
    again = OAuth2User.from_json_obj(json.loads(json.dumps(user.to_dict())))
    assert (await practice.api(practice.auth(again)).get_json("/me"))["scopes"] == ["notes"]


@pytest.mark.parametrize("offered", [[], ["HS256"], ["none", "ES256K"]])
def test_where_no_algorithm_fits_nothing_is_asked(offered: list[str]) -> None:
    app = OAuth2App("c", None, "https://p.example/auth", "https://p.example/token", dpop=True, dpop_algs=offered)
    with pytest.raises(ConfigError):
        app.begin_login(REDIRECT_URI, "notes")


async def test_a_stolen_token_is_worth_nothing(practise: Practise) -> None:
    practice = await practise(**DPOP)
    practice.app = app_at(practice)
    user = await sign_in(practice, practice.app)
    for key in (None, practice.app._new_dpop_key()):
        thief = OAuth2User(user.token, token_type="Bearer" if key is None else "DPoP", dpop_key=key)
        with pytest.raises(ApiError) as refused:
            await practice.api(practice.auth(thief)).get_json("/me")
        assert refused.value.status in (400, 401)


async def test_userinfo_are_asked_for_with_a_proof(practise: Practise) -> None:
    secret: dict[str, Any] = {**DPOP, "openid": True, "signing_algs": ["ES256"], "dpop_nonces": True}
    practice = await practise(**secret)
    origin = practice.provider.origin
    app = app_at(
        practice, issuer=origin, jwks_uri=f"{origin}/jwks", userinfo_uri=f"{origin}/userinfo", id_token_alg="ES256"
    )
    login = app.begin_login(REDIRECT_URI, "openid", now=practice.clock())
    user = await app.finish_login(login, await redirect_of(login.url), now=practice.clock())
    practice.provider.demand_dpop_nonces("api")
    assert user.identity is not None
    assert (await app.userinfo(user, now=practice.clock()))["sub"] == user.identity.subject


async def test_a_program_of_its_own_has_bound_tokens_too(practise: Practise) -> None:
    from SlyAPI.oauth2 import ClientCredentials

    grants = ["client_credentials"]
    practice = await practise(dpop="required", dpop_nonces=True, grant_types=grants)
    secret = practice.app.secret
    app = OAuth2App("practice-client", secret, practice.provider.authorize_url, practice.provider.token_url, dpop=True)
    auth = ClientCredentials(app, "notes", clock=practice.clock)
    api = practice.api(auth)  # type: ignore[arg-type]
    assert (await api.get_json("/me"))["scopes"] == ["notes"]
    assert auth.user.token_type == "DPoP"


async def test_a_grant_is_ended_with_a_proof_of_its_key(serve: Serve) -> None:
    proofs: list[dict[str, Any]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        proofs.append(jwt.decode(request.headers["DPoP"], options={"verify_signature": False}))
        if proofs[-1].get("nonce") != "n":
            return web.json_response({"error": "use_dpop_nonce"}, status=400, headers={"DPoP-Nonce": "n"})
        return web.json_response({})

    server = await serve(handle)
    app = OAuth2App("c", None, f"{server.origin}/a", f"{server.origin}/t", revoke_uri=f"{server.origin}/r", dpop=True)
    user = OAuth2User("t", "r", token_type="DPoP", dpop_key=app._new_dpop_key())
    await app.revoke(user)
    assert [(proof["htm"], proof["htu"]) for proof in proofs] == [("POST", f"{server.origin}/r")] * 2
    assert "ath" not in proofs[1]


@pytest.mark.parametrize("ahead", [-7200, -100, 0, 100, 7200])
@pytest.mark.parametrize("nonces", [False, True])
async def test_a_clock_that_is_wrong_costs_one_repeat_of_the_first_proof(
    practise: Practise, nonces: bool, ahead: int
) -> None:
    practice = await practise(**DPOP, dpop_nonces=nonces)
    app = app_at(practice, revoke_uri=f"{practice.provider.origin}/revoke")
    user = await sign_in(practice, app)
    later = app_at(practice)  # another process, which knows neither the server's clock nor its nonce
    fresh = await later.refresh(None, user, now=practice.clock() + ahead)
    assert fresh.token != user.token
    assert len(asked(practice, "token")) <= 2 + 3
    assert practice.provider.refreshes == 1
    practice.provider.log.clear()
    await later.refresh(None, fresh, now=practice.clock() + ahead)
    assert len(asked(practice, "token")) == 1


async def test_a_proof_that_is_refused_for_another_reason_is_not_repeated(serve: Serve) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "invalid_dpop_proof"}, status=400)

    server = await serve(handle)
    app = OAuth2App("c", None, f"{server.origin}/auth", f"{server.origin}/token", dpop=True)
    user = OAuth2User("t", "r", token_type="DPoP", dpop_key=app._new_dpop_key())
    with pytest.raises(TokenError, match="clock"):
        await app.refresh(None, user, now=0.0)
    assert len(server.seen) == 2  # the server's clock is far from ours: dated by it, and refused again
    server.seen.clear()
    with pytest.raises(TokenError, match="clock"):
        await app.refresh(None, user, now=0.0)
    assert len(server.seen) == 1
