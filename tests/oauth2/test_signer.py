"""OAuth2 against the practice provider: when it refreshes, how often, and what it signs with."""
from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from SlyAPI import ApiError, ClientCredentials, GrantEndedError, OAuth2, OAuth2App, OAuth2User, TokenError, WebAPI
from SlyAPI.errors import NetworkError
from SlyAPI.stores import MemoryStore
from SlyAPI.testing import PracticeProvider
from SlyAPI.web import Method, Request

if TYPE_CHECKING:
    from tests.conftest import Clock, Practise, Serve


def at(clock: Clock, seconds: float) -> datetime:
    return datetime.fromtimestamp(clock() + seconds, UTC)


# Signing.


async def test_a_call_carries_the_users_token_once(practise: Practise) -> None:
    practice = await practise()
    api = practice.api(practice.auth(await practice.grant()))
    assert (await api.get_json("/me"))["client_id"] == "practice-client"
    assert (await api.get_json("/forecast", {"city": "Oslo"}))["city"] == "Oslo"
    assert await api.post_json("/notes", json={"text": "a"}) == {"id": 1, "text": "a"}
    assert practice.refreshes == 0


@pytest.mark.parametrize(("token_type", "scheme"), [("Bearer", "Bearer"), ("bearer", "Bearer"), ("Own", "Own")])
async def test_the_scheme_is_spelled_bearer_whatever_the_file_says(token_type: str, scheme: str) -> None:
    app = OAuth2App("i", None, "https://p.example/a", "https://p.example/t")
    auth = OAuth2(app, OAuth2User("T", None, None, token_type))
    signed = await auth.sign(None, Request(Method.GET, "https://api.example/"))
    assert signed.headers == {"Authorization": f"{scheme} T"}


async def test_an_authorization_header_of_the_callers_is_replaced_whatever_its_case(serve: Serve) -> None:
    server = await serve()
    app = OAuth2App("i", None, "https://p.example/a", "https://p.example/t")
    api = WebAPI(OAuth2(app, OAuth2User("T")))
    api.base_url = server.origin
    await api.get_json("/", headers={"authorization": "mine"})
    assert server.last.headers.getall("Authorization") == ["Bearer T"]


def test_auth_and_its_parts_print_without_a_secret() -> None:
    app = OAuth2App("id", "the-secret", "https://p.example/a", "https://p.example/t")
    auth = OAuth2(app, OAuth2User("the-token", "the-refresh-token"))
    for text in (repr(auth), str(auth), repr(app), repr(auth.user)):
        assert "the-" not in text


# When.


@pytest.mark.parametrize(("lifetime", "leeway"), [(100.0, 10.0), (10.0, 1.0), (1000.0, 30.0), (86400.0, 30.0)])
async def test_a_token_is_refreshed_a_tenth_of_its_life_before_its_end_but_30_s_at_most(
    practise: Practise, lifetime: float, leeway: float
) -> None:
    practice = await practise(access_token_lifetime=lifetime)
    api = practice.api(practice.auth(await practice.grant()))
    practice.clock.now += lifetime - leeway - 0.01
    await api.get_json("/me")
    assert practice.refreshes == 0
    practice.clock.now += 0.02
    await api.get_json("/me")
    assert practice.refreshes == 1


@pytest.mark.parametrize("calls", [1, 10, 100])
async def test_many_calls_after_expiry_refresh_once_and_all_go_out_with_the_new_token(
    practise: Practise, calls: int
) -> None:
    practice = await practise(revoke_old_access_token=True)
    api = practice.api(practice.auth(await practice.grant()))
    practice.clock.now += 1000
    answers = await asyncio.gather(*(api.get_json("/me") for _ in range(calls)))
    assert len(answers) == calls
    assert (practice.refreshes, practice.provider.reuses) == (1, 0)
    assert [seen.status for seen in practice.provider.log if seen.endpoint == "api/me"] == [200] * calls


async def test_two_clients_that_share_the_auth_refresh_once(practise: Practise) -> None:
    practice = await practise()
    auth = practice.auth(await practice.grant())
    one, other = practice.api(auth), practice.api(auth)
    practice.clock.now += 1000
    await asyncio.gather(*(api.get_json("/me") for api in (one, other) * 5))
    assert practice.refreshes == 1


async def test_twenty_lives_are_twenty_refreshes(practise: Practise) -> None:
    practice = await practise()
    auth = practice.auth(await practice.granted_file())
    api = practice.api(auth)
    for _ in range(20):
        practice.clock.now += 95
        await asyncio.gather(*(api.get_json("/me") for _ in range(3)))
    assert (practice.refreshes, practice.provider.reuses) == (20, 0)


async def test_a_clock_that_jumps_ahead_costs_one_refresh(practise: Practise) -> None:
    practice = await practise()
    api = practice.api(practice.auth(await practice.grant()))
    practice.clock.now += 365 * 86400
    for _ in range(5):
        await api.get_json("/me")
    assert practice.refreshes == 1


@pytest.mark.parametrize("rotation", [True, False])
async def test_the_refresh_token_is_kept_unless_a_new_one_came(practise: Practise, rotation: bool) -> None:
    practice = await practise(rotation=rotation)
    auth = practice.auth(await practice.grant())
    before = auth.user
    for _ in range(3):
        practice.clock.now += 1000
        await practice.api(auth).get_json("/me")
    assert auth.user is not before
    assert auth.user.token != before.token
    assert (auth.user.refresh_token != before.refresh_token) is rotation
    assert auth.user.scopes == before.scopes
    assert (practice.refreshes, practice.provider.reuses) == (3, 0)


async def test_a_token_of_unknown_expiry_is_used_until_it_is_refused(practise: Practise) -> None:
    practice = await practise()
    user = await practice.grant()
    user.expires_at = None
    api = practice.api(practice.auth(user))
    await api.get_json("/me")
    assert practice.refreshes == 0
    practice.clock.now += 1000
    await api.get_json("/me")
    assert practice.refreshes == 1


async def test_a_naive_expiry_is_utc(practise: Practise) -> None:
    practice = await practise()
    granted = await practice.grant()
    naive = at(practice.clock, 50).replace(tzinfo=None)
    api = practice.api(practice.auth(OAuth2User(granted.token, granted.refresh_token, naive)))
    await api.get_json("/me")
    assert practice.refreshes == 0
    practice.clock.now += 60
    await api.get_json("/me")
    assert practice.refreshes == 1


async def test_a_token_without_refresh_token_is_used_to_its_end_and_then_the_person_must_grant_again(
    practise: Practise,
) -> None:
    practice = await practise()
    user = await practice.grant()
    user.refresh_token = None
    api = practice.api(practice.auth(user))
    practice.clock.now += 99.5
    await api.get_json("/me")
    practice.clock.now += 1
    calls = len(practice.provider.log)
    with pytest.raises(GrantEndedError, match=r"no refresh token.*grant"):
        await api.get_json("/me")
    assert len(practice.provider.log) == calls


# What the program does with `auth.user`.


async def test_a_user_that_the_program_puts_there_is_signed_with_at_once(practise: Practise) -> None:
    practice = await practise()
    auth = practice.auth(await practice.granted_file())
    api = practice.api(auth)
    await api.get_json("/me")
    practice.clock.now += 50
    auth.user = await practice.grant("notes")
    assert (await api.get_json("/me"))["scopes"] == ["notes"]
    practice.clock.now += 60  # the first user's end, not this one's
    await api.get_json("/me")
    assert practice.refreshes == 0


async def test_a_user_that_the_program_puts_there_is_the_one_refreshed_and_saved(practise: Practise) -> None:
    practice = await practise()
    path = await practice.granted_file()
    auth = practice.auth(path)
    auth.user = await practice.grant("notes")
    practice.clock.now += 1000
    assert (await practice.api(auth).get_json("/me"))["scopes"] == ["notes"]
    assert OAuth2User.from_json_file(path) == auth.user


@pytest.mark.parametrize("stored", [True, False])
async def test_a_program_may_set_expires_at_back_to_have_the_token_refreshed(
    practise: Practise, stored: bool
) -> None:
    practice = await practise()
    auth = practice.auth(await practice.granted_file() if stored else await practice.grant())
    api = practice.api(auth)
    await api.get_json("/me")
    auth.user.expires_at = at(practice.clock, -1).replace(tzinfo=None)
    await api.get_json("/me")
    await api.get_json("/me")
    assert practice.refreshes == 1


async def test_refresh_now_gets_new_tokens_before_they_are_due(practise: Practise) -> None:
    practice = await practise()
    path = await practice.granted_file()
    auth = practice.auth(path)
    before = auth.user.token
    assert (await auth.refresh_now()).token == auth.user.token != before
    assert OAuth2User.from_json_file(path) == auth.user
    assert practice.refreshes == 1


# After a 401.


async def test_a_401_on_a_good_token_costs_one_refresh_and_one_repeat(practise: Practise) -> None:
    practice = await practise()
    api = practice.api(practice.auth(await practice.grant()))
    practice.provider.revoke_access_tokens()
    assert await api.post_json("/notes", json={"text": "once"}) == {"id": 1, "text": "once"}
    assert practice.refreshes == 1
    assert practice.provider.notes == {"Robin Practice": ["once"]}


async def test_ten_401s_cost_one_refresh(practise: Practise) -> None:
    practice = await practise()
    api = practice.api(practice.auth(await practice.grant()))
    practice.provider.revoke_access_tokens()
    await asyncio.gather(*(api.get_json("/me") for _ in range(10)))
    assert practice.refreshes == 1


async def test_a_second_401_is_the_error(practise: Practise, serve: Serve) -> None:
    async def never(request: web.Request) -> web.StreamResponse:
        return web.Response(status=401)

    practice, server = await practise(), await serve(never)
    api = practice.api(practice.auth(await practice.grant()))
    api.base_url = server.origin
    with pytest.raises(ApiError) as caught:
        await api.get_json("/")
    assert caught.value.status == 401
    assert (practice.refreshes, len(server.seen)) == (1, 2)
    assert server.seen[0].headers["Authorization"] != server.seen[1].headers["Authorization"]


async def test_a_401_without_refresh_token_is_the_error_at_once(practise: Practise) -> None:
    practice = await practise()
    user = await practice.grant()
    user.refresh_token = None
    practice.provider.revoke_access_tokens()
    with pytest.raises(ApiError, match="grant") as caught:
        await practice.api(practice.auth(user)).get_json("/me")
    assert caught.value.status == 401
    assert practice.refreshes == 0


async def test_a_401_whose_refresh_is_refused_says_that_the_grant_is_over(practise: Practise) -> None:
    practice = await practise()
    api = practice.api(practice.auth(await practice.grant()))
    practice.provider.end_all_grants()
    with pytest.raises(GrantEndedError, match=r"invalid_grant.*grant"):
        await api.get_json("/me")
    assert practice.refreshes == 1


async def test_a_403_costs_no_refresh(practise: Practise) -> None:
    practice = await practise()
    api = practice.api(practice.auth(await practice.grant("notes")))
    with pytest.raises(ApiError, match="scope") as caught:
        await api.get_json("/forecast")
    assert caught.value.status == 403
    assert practice.refreshes == 0


# Loops and threads.


def test_one_auth_works_in_several_event_loops_one_after_the_other() -> None:
    provider = PracticeProvider(client_secret=None, consent="allow", redirect_uris=["http://127.0.0.1"])
    app = OAuth2App("practice-client", None, "https://unset.example", "https://unset.example")
    auth: OAuth2 | None = None

    async def call() -> None:
        nonlocal auth
        async with provider.running():
            app.auth_uri, app.token_uri = provider.authorize_url, provider.token_url
            if auth is None:
                auth = OAuth2(app, await _granted(app))
            auth.user.expires_at = datetime.fromtimestamp(0, UTC)
            api = WebAPI(auth)
            api.base_url = provider.api_url
            await asyncio.gather(*(api.get_json("/me") for _ in range(3)))

    for refreshes in (1, 2, 3):
        asyncio.run(call())
        assert provider.refreshes == refreshes


def test_a_loop_that_ended_in_the_middle_of_a_refresh_blocks_no_later_one() -> None:
    app = OAuth2App("id", None, "https://unset.example", "https://unset.example")
    auth = OAuth2(app, OAuth2User("old", "refresh", datetime.fromtimestamp(0, UTC)))
    hang = True

    async def token(request: web.Request) -> web.StreamResponse:
        if hang:
            await asyncio.Event().wait()
        return web.json_response({"access_token": "new", "token_type": "Bearer", "expires_in": 100})

    async def call() -> None:
        runner = web.AppRunner(application := web.Application(), shutdown_timeout=0.01)
        application.router.add_post("/", token)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        app.token_uri = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        try:
            async with asyncio.timeout(0.05 if hang else 5):
                async with aiohttp.ClientSession() as client:
                    await auth.sign(client, Request(Method.GET, "https://api.example/"))
        finally:
            await runner.cleanup()

    with pytest.raises(TimeoutError):
        asyncio.run(call())
    hang = False
    asyncio.run(call())
    assert auth.user.token == "new"


async def test_threads_with_loops_of_their_own_refresh_once(practise: Practise) -> None:
    practice = await practise(delay_after_rotation=0.02)
    auth = practice.auth(await practice.grant())
    practice.clock.now += 1000
    together = threading.Barrier(4)

    def work() -> dict[str, Any]:
        async def call() -> dict[str, Any]:
            return await practice.api(auth).get_json("/me")

        together.wait(5)
        return asyncio.run(call())

    answers = await asyncio.gather(*(asyncio.to_thread(work) for _ in range(4)))
    assert len(answers) == 4
    assert (practice.refreshes, practice.provider.reuses) == (1, 0)


async def _granted(app: OAuth2App) -> OAuth2User:
    from SlyAPI.oauth2.messages.authorization_code import read_redirect

    url, verifier, challenge = app.auth_url_with_pkce("http://127.0.0.1:8080", "s", "notes")
    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
        code = read_redirect(answer.headers["Location"], state="s" + challenge)
    return await app.exchange_code(code, verifier, "notes", "http://127.0.0.1:8080")


# The client's proof.


@pytest.mark.parametrize("wanted", ["basic", "post", "any"])
async def test_what_the_exchange_learned_of_the_client_auth_serves_the_refresh(
    practise: Practise, wanted: str
) -> None:
    practice = await practise(client_auth=wanted)
    path = await practice.granted_file()
    practice.clock.now += 1000
    await practice.api(OAuth2(practice.app, str(path), clock=practice.clock)).get_json("/me")
    (refresh,) = [seen for seen in practice.provider.log if seen.parameters.get("grant_type") == "refresh_token"]
    assert refresh.client_auth == ("post" if wanted == "post" else "basic")


async def test_a_refresh_with_the_wrong_client_auth_is_an_error_and_never_tried_in_another_way(
    practise: Practise,
) -> None:
    practice = await practise(client_auth="basic")
    user = await practice.grant()
    user.client_auth = None
    practice.clock.now += 1000
    with pytest.raises(TokenError, match="client-auth") as caught:
        await practice.api(practice.auth(user)).get_json("/me")
    assert caught.value.error == "invalid_client"
    assert caught.value.kind == "configuration"
    assert practice.refreshes == 1


async def test_an_exchange_over_the_callers_session_takes_nothing_of_it_but_connections(serve: Serve) -> None:
    async def token(request: web.Request) -> web.StreamResponse:
        return web.json_response({"access_token": "T", "token_type": "Bearer", "expires_in": 100})

    server = await serve(token)
    app = OAuth2App("id", "secret", f"{server.origin}/a", f"{server.origin}/token", client_auth="post")
    auth = OAuth2(app, OAuth2User("their-token", "their-refresh", datetime.now(UTC) + timedelta(hours=1)))
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(
        f"{server.origin}/base/",
        cookie_jar=jar,
        headers={"Authorization": "theirs", "X-Theirs": "1", "Content-Type": "application/json"},
        middlewares=(auth,),
        raise_for_status=True,
        timeout=aiohttp.ClientTimeout(total=0.000001),
    ) as client:
        jar.update_cookies({"theirs": "1"})
        user = await app.exchange_code("code", "v" * 43, ["a"], "http://127.0.0.1:8080", client)
        assert user.token == "T"
        await app.refresh(client, OAuth2User("old", "refresh"))
    for seen in server.seen:
        assert seen.path == "/token"
        assert not {"Cookie", "X-Theirs"}.intersection(seen.headers)
        assert "theirs" not in seen.headers.get("Authorization", "")
        assert seen.headers.getall("Content-Type") == ["application/x-www-form-urlencoded"]


async def test_a_closed_session_or_none_is_no_obstacle(practise: Practise) -> None:
    practice = await practise()
    user = await practice.grant()
    async with aiohttp.ClientSession() as client:
        pass
    user = await practice.app.refresh(client, user, now=practice.clock())
    await practice.app.refresh(None, user, now=practice.clock())
    assert practice.provider.refreshes == 2


async def test_an_unreachable_token_endpoint_is_a_network_error(practise: Practise, unused_port: int) -> None:
    practice = await practise()
    auth = practice.auth(await practice.grant())
    practice.app.token_uri = f"http://127.0.0.1:{unused_port}/token"
    practice.clock.now += 1000
    with pytest.raises(NetworkError, match="no connection"):
        await practice.api(auth).get_json("/me")
    practice.app.token_uri = practice.provider.token_url
    await practice.api(auth).get_json("/me")


NEEDS_SCOPE = {"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="more"'}


@pytest.mark.parametrize("status", [200, 400, 401, 402, 403, 404, 500])
def test_a_401_alone_is_worth_another_try_and_a_403_where_a_login_brings_scopes(status: int, tmp_path: Path) -> None:
    app, user = OAuth2App("i", None, "https://p.example/a", "https://p.example/t"), OAuth2User("T")
    assert OAuth2(app, user).may_sign_again(status, NEEDS_SCOPE) is (status == 401)
    logging_in = OAuth2.for_resource("https://api.example/v1", tmp_path / "app.json", tmp_path / "user.json")
    assert logging_in.may_sign_again(status, NEEDS_SCOPE) is (status in (401, 403))
    assert logging_in.may_sign_again(status, {}) is (status == 401)


@pytest.mark.parametrize(("status", "accepted"), [(200, True), (399, True), (400, False), (403, False), (500, False)])
async def test_a_new_token_that_is_refused_is_worth_a_refresh_once_an_api_has_accepted_it(
    practise: Practise, status: int, accepted: bool
) -> None:
    practice = await practise()
    auth = practice.auth(await practice.grant())
    await auth.refresh_now()
    request = await auth.sign(None, Request(Method.GET, "https://api.example/"))
    auth.note_reply(request.url, status, {})
    assert await auth.sign_again(None, request, {}) is accepted
    assert practice.refreshes == 1 + accepted


async def test_a_refresh_that_was_asked_for_renews_a_good_token_of_an_entry_that_was_not_read_yet(
    practise: Practise,
) -> None:
    practice = await practise()
    entry = MemoryStore().user("alice")
    user = await practice.grant()
    await entry.save(user)
    auth = OAuth2(practice.app, entry, clock=practice.clock)
    assert (await auth.refresh_now()).token != user.token
    assert practice.refreshes == 1


async def test_a_request_presents_the_clients_certificate() -> None:
    app = OAuth2App("i", None, "https://p.example/a", "https://p.example/t", certificate="cert.pem")
    signed = await OAuth2(app, OAuth2User("T")).sign(None, Request(Method.GET, "https://api.example/"))
    assert signed.certificate == "cert.pem"


def test_a_signer_prints_its_entry_or_its_user_and_nothing_before_there_is_one() -> None:
    app = OAuth2App("i", "s3cret", "https://p.example/a", "https://p.example/t")
    assert "alice" in repr(OAuth2(app, MemoryStore().user("alice")))
    assert "scopes=['read']" in repr(OAuth2(app, OAuth2User("s3cret", scopes=["read"])))
    assert repr(ClientCredentials(app, ["read"])).endswith("None)")
