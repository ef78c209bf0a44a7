"""Who the person is: whole sign-ins at the practice provider, and the keys, userinfo and logout of an issuer."""
from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import aiohttp
import pytest
from aiohttp import web

from SlyAPI import OAuth2, OAuth2App, OAuth2User
from SlyAPI.errors import ApiError, BadReplyError, ConfigError, CredentialsError, IdentityError, NetworkError
from SlyAPI.stores import FileStore, MemoryStore
from tests.conftest import REDIRECT_URI, Practice
from tests.support.issuer import CLIENT_SECRET, NOW, Issuer, jwk_of, private_key, signed_in

if TYPE_CHECKING:
    from tests.conftest import Practise, Serve

OPENID: dict[str, Any] = {"openid": True, "signing_algs": ["ES256"], "client_secret": CLIENT_SECRET}


def app_at(practice: Practice, **settings: Any) -> OAuth2App:
    provider = practice.provider
    usual = {
        "issuer": provider.issuer,
        "jwks_uri": f"{provider.origin}/jwks",
        "userinfo_uri": f"{provider.origin}/userinfo",
        "logout_uri": f"{provider.origin}/logout",
        "id_token_alg": "ES256",
    }
    uris = (provider.authorize_url, provider.token_url)
    return OAuth2App("practice-client", CLIENT_SECRET, *uris, **{**usual, **settings})


async def sign_in(practice: Practice, app: OAuth2App, scopes: str = "openid notes", **wishes: Any) -> OAuth2User:
    login = app.begin_login(REDIRECT_URI, scopes, now=practice.clock(), **wishes)
    kept = json.loads(json.dumps(login.to_dict()))
    async with aiohttp.ClientSession() as browser, browser.get(login.url, allow_redirects=False) as answer:
        return await app.finish_login(kept, answer.headers["Location"], now=practice.clock())


def keys_asked(practice: Practice) -> int:
    return sum(seen.endpoint == "jwks" for seen in practice.provider.log)


# --- whole sign-ins ---


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519", "HS256"])
async def test_a_sign_in_says_who_the_person_is(practise: Practise, alg: str) -> None:
    signing = [alg] if alg != "HS256" else ["RS256"]
    registered = {"id_token_signed_response_alg": alg}
    practice = await practise(**{**OPENID, "signing_algs": signing}, client_metadata=registered)
    user = await sign_in(practice, app_at(practice, id_token_alg=alg), "openid email", max_age=60)
    identity = user.identity
    assert identity is not None
    assert identity.issuer == practice.provider.issuer
    assert identity.claims["email"] == f"{identity.subject}@practice.example"
    assert identity.authenticated_at == datetime.fromtimestamp(practice.clock(), UTC)
    assert keys_asked(practice) == (0 if alg == "HS256" else 1)


async def test_rs256_is_what_a_client_without_an_algorithm_accepts(practise: Practise) -> None:
    practice = await practise(**{**OPENID, "signing_algs": ["RS256"]})
    assert (await sign_in(practice, app_at(practice, id_token_alg=None))).identity is not None
    with pytest.raises(IdentityError, match=r"signed with RS256, .* \(ES256\).* id_token_alg"):
        await sign_in(practice, app_at(practice, id_token_alg="ES256"))


@pytest.mark.parametrize("scopes", ["notes", ["notes"]])
async def test_without_openid_there_is_no_nonce_and_no_identity(practise: Practise, scopes: Any) -> None:
    practice = await practise(**OPENID)
    app = app_at(practice)
    assert "nonce" not in app.begin_login(REDIRECT_URI, scopes).url
    user = await sign_in(practice, app, scopes)
    assert (user.identity, user.id_token) == (None, None)
    assert keys_asked(practice) == 0


async def test_openid_among_the_clients_own_scopes_counts(practise: Practise) -> None:
    practice = await practise(**OPENID)
    assert (await sign_in(practice, app_at(practice, scopes=["openid"]), "notes")).identity is not None


def test_each_login_has_a_nonce_of_its_own_which_it_keeps() -> None:
    app = Issuer(origin="https://issuer.example").app()
    logins = [app.begin_login(REDIRECT_URI, ["openid"], max_age=5) for _ in range(20)]
    sent = [dict(parse_qsl(urlsplit(login.url).query)) for login in logins]
    assert len({one["nonce"] for one in sent}) == 20
    assert [login.to_dict()["nonce"] for login in logins] == [one["nonce"] for one in sent]
    assert logins[0].to_dict()["max_age"] == 5
    assert not any(login.to_dict()["nonce"] in repr(login) for login in logins)


async def test_two_people_are_two_and_one_person_is_one(practise: Practise) -> None:
    practice = await practise(**OPENID, people=["Robin", "Kim"])
    app = app_at(practice)
    robin, again, kim = [await sign_in(practice, app, login_hint=who) for who in ("Robin", "Robin", "Kim")]
    assert robin.identity == again.identity
    assert len({robin.identity, again.identity, kim.identity}) == 2


async def test_a_login_that_comes_again_signs_nobody_in(practise: Practise) -> None:
    practice = await practise(**OPENID)
    app, other = app_at(practice), app_at(practice)
    logins = [app.begin_login(REDIRECT_URI, "openid", now=practice.clock()) for _ in range(2)]
    async with aiohttp.ClientSession() as browser, browser.get(logins[0].url, allow_redirects=False) as answer:
        redirect = answer.headers["Location"]
    # the code of one login in the session of another: its nonce is not the one (and PKCE says so first)
    stolen = {**logins[1].to_dict(), "state": logins[0].state, "verifier": logins[0].verifier}
    with pytest.raises(IdentityError, match="nonce"):
        await other.finish_login(stolen, redirect, now=practice.clock())


async def test_the_identity_outlives_a_restart_and_a_refresh(practise: Practise) -> None:
    practice = await practise(**OPENID)
    store = MemoryStore()
    user = await sign_in(practice, app_at(practice))
    await store.save("robin", user.to_dict())
    practice.clock.now += 200
    auth = OAuth2(app_at(practice), store.user("robin"), clock=practice.clock)
    await practice.api(auth).get_json("/me")
    saved = OAuth2User.from_json_obj(await store.load("robin"))
    assert saved.identity == user.identity
    assert saved.identity is not None
    assert saved.identity.claims["iat"] == user.identity.claims["iat"] + 200  # type: ignore[union-attr]
    assert saved.id_token != user.id_token


async def test_an_answer_without_an_id_token_keeps_the_identity(serve: Serve) -> None:
    issuer = await issuing(serve)
    app = issuer.app()
    user = await signed_in(issuer, app)
    issuer.id_token = None
    fresh = await app.refresh(None, user, now=NOW)
    assert (fresh.identity, fresh.id_token) == (user.identity, user.id_token)
    assert issuer.asked_keys == 1


@pytest.mark.parametrize("changes", [{"sub": "kim"}, {"nonce": "other"}, {"iss": "https://other.example"}])
async def test_nothing_is_saved_of_a_refresh_for_another_person(serve: Serve, changes: dict[str, Any]) -> None:
    # oidcc-client-test-refresh-token-invalid-sub, oidcc-client-test-refresh-token-invalid-issuer
    issuer = await issuing(serve)
    app, store = issuer.app(), MemoryStore()
    await store.save("robin", (await signed_in(issuer, app)).to_dict())
    before = await store.load("robin")
    issuer.access_token = "another"
    issuer.id_token = issuer.sign({**issuer.claims(None), **changes})
    requests = len(issuer.seen)
    for _ in range(3):  # the refresh token may be used up: it is not sent again
        with pytest.raises(IdentityError):
            await OAuth2(app, store.user("robin"), clock=lambda: NOW + 99).refresh_now()
    assert len(issuer.seen) == requests + 1
    assert await store.load("robin") == before


@pytest.mark.parametrize(("sub", "kept"), [("robin", True), ("kim", False)])
async def test_keys_that_cannot_be_had_lose_no_rotated_refresh_token(serve: Serve, sub: str, kept: bool) -> None:
    issuer = await issuing(serve)
    user = await signed_in(issuer, issuer.app())
    issuer.key_status, issuer.access_token = 503, "fresh"
    issuer.id_token = issuer.sign(issuer.claims(None, sub=sub))
    app = issuer.app()
    if not kept:
        with pytest.raises(IdentityError):
            await app.refresh(None, user, now=NOW)
        return
    fresh = await app.refresh(None, user, now=NOW)
    assert (fresh.token, fresh.identity, fresh.id_token) == ("fresh", user.identity, user.id_token)


async def test_a_program_that_ends_while_keys_are_fetched_keeps_the_rotated_refresh_token(
    serve: Serve, tmp_path: Path
) -> None:
    begun, go_on = threading.Event(), asyncio.Event()

    class Slow(Issuer):
        async def handle(self, request: web.Request) -> web.StreamResponse:
            if request.path == "/jwks":
                begun.set()
                await go_on.wait()
            return await super().handle(request)

    issuer, store = Slow(), FileStore(tmp_path)
    issuer.origin = (await serve(issuer.handle)).origin
    go_on.set()
    user = await signed_in(issuer, issuer.app())
    user.refresh_token = "spent"
    await store.user("robin").save(user)
    issuer.access_token = "fresh"
    issuer.id_token = issuer.sign(issuer.claims(None))
    begun.clear()
    go_on.clear()

    async def program() -> None:
        auth = OAuth2(issuer.app(), store.user("robin"), clock=lambda: NOW)
        asyncio.create_task(auth.refresh_now())  # noqa: RUF006 - the end of the loop cancels it
        await asyncio.to_thread(begun.wait)

    ending = asyncio.create_task(asyncio.to_thread(asyncio.run, program()))
    await asyncio.to_thread(begun.wait)
    await asyncio.sleep(0.1)  # for the loop to cancel its tasks; where it has not yet, the test passes all the same
    go_on.set()
    await ending
    assert (await store.user("robin").load()).refresh_token == "refresh-5EC9E7"


async def test_a_grant_without_a_login_keeps_no_unverified_id_token(practise: Practise) -> None:
    practice = await practise(**OPENID)
    practice.app = app_at(practice)
    user = await practice.grant("openid notes")
    assert (user.identity, user.id_token) == (None, None)
    assert (await practice.app.refresh(None, user)).id_token is None


async def test_a_login_without_an_id_token_is_refused(serve: Serve) -> None:
    issuer = await issuing(serve)
    login = issuer.app().begin_login(REDIRECT_URI, "openid", now=NOW)
    with pytest.raises(IdentityError):
        await issuer.app().finish_login(login, f"{REDIRECT_URI}?state={login.state}&code=c", now=NOW)


@pytest.mark.parametrize("lacking", [{"issuer": None}, {"jwks_uri": None}, {"id_token_alg": "HS256", "secret": "x"}])
async def test_what_cannot_be_verified_is_said_before_the_code_is_sent(serve: Serve, lacking: dict[str, Any]) -> None:
    issuer = await issuing(serve)
    secret = lacking.pop("secret", CLIENT_SECRET)
    app = issuer.app(**lacking)
    app.secret = secret
    with pytest.raises(ConfigError):
        await signed_in(issuer, app)
    assert issuer.seen == []


@pytest.mark.parametrize(
    ("tenant", "good"), [("9188040d-6c67", True), (None, False), ("9188/evil", False), ("other", False)]
)
async def test_an_issuer_that_is_a_template_is_filled_from_the_tables_claim(
    serve: Serve, tenant: str | None, good: bool
) -> None:
    issuer = await issuing(serve)
    app = issuer.app(issuer="https://login.microsoftonline.com/{tenantid}/v2.0")
    app.auth_uri = "https://login.microsoftonline.com/common/oauth2/v2.0/authorize"
    iss = f"https://login.microsoftonline.com/{tenant if good else '9188040d-6c67'}/v2.0"

    def make(issuer: Issuer, claims: dict[str, Any]) -> str:
        return issuer.sign({**claims, "iss": iss, "tid": tenant})

    if good:
        user = await signed_in(issuer, app, make)
        assert user.identity is not None
        assert user.identity.issuer == iss
        return
    with pytest.raises(IdentityError):
        await signed_in(issuer, app, make)


async def test_a_template_of_an_unknown_provider_says_which_address_to_use(serve: Serve) -> None:
    issuer = await issuing(serve)
    with pytest.raises(IdentityError) as refused:
        await signed_in(issuer, issuer.app(issuer="https://issuer.example/{tenant}"))
    assert "one tenant" in refused.value.next_step


@pytest.mark.parametrize("how", ["early", "unknown", "gone"])
async def test_a_rotated_key_costs_no_grant_while_the_keys_may_not_be_asked_again(serve: Serve, how: str) -> None:
    issuer = await issuing(serve)
    app = issuer.app()
    user = await signed_in(issuer, app)
    if how != "gone":
        with pytest.raises(IdentityError):  # the provider signs with a key that it publishes a moment later
            await signed_in(issuer, app, lambda i, claims: i.sign(claims, {"kid": "k1"}))
    else:
        app.jwks_uri = f"{issuer.origin}/elsewhere"
    issuer.access_token = "fresh"
    issuer.keys = [jwk_of(private_key("RS256", 1), kid="k1")]
    claims = issuer.claims(None, sub="kim" if how == "unknown" else "robin")
    issuer.id_token = issuer.sign(claims, {"kid": "k1"}, key=private_key("RS256", 1))
    if how == "unknown":
        with pytest.raises(IdentityError):
            await app.refresh(None, user, now=NOW)
        return
    fresh = await app.refresh(None, user, now=NOW)
    assert (fresh.token, fresh.identity, fresh.id_token) == ("fresh", user.identity, user.id_token)
    if how == "early":
        again = await app.refresh(None, user, now=NOW + 61)
        assert again.id_token == issuer.id_token


async def test_what_cannot_be_verified_costs_no_refresh_token(serve: Serve) -> None:
    issuer = await issuing(serve)
    user = await signed_in(issuer, issuer.app())
    before = len(issuer.seen)
    with pytest.raises(ConfigError):
        await issuer.app(jwks_uri=None).refresh(None, user, now=NOW)
    assert len(issuer.seen) == before


@pytest.mark.parametrize("alg", ["PS256", "ES256", "EdDSA"])
async def test_where_the_metadata_offer_several_algorithms_each_is_accepted(practise: Practise, alg: str) -> None:
    practice = await practise(**{**OPENID, "signing_algs": [alg, "ES384"]}, client_metadata={})
    issuer = practice.provider.issuer
    app = await OAuth2App.discover(issuer, "practice-client", CLIENT_SECRET)
    assert (await sign_in(practice, app)).identity is not None
    again = OAuth2App.from_json_obj(json.loads(json.dumps(app.to_dict())))
    assert again.id_token_alg == app.id_token_alg


# --- the user file ---


async def test_a_user_file_keeps_identity_and_id_token(practise: Practise) -> None:
    practice = await practise(**OPENID)
    user = await sign_in(practice, app_at(practice))
    saved = json.loads(json.dumps(user.to_dict()))
    assert set(saved["identity"]) == {"issuer", "subject", "claims", "authenticated_at"}
    for value in (saved, asdict(user)):
        read = OAuth2User.from_json_obj(value)
        assert read == user
        assert (read.identity.claims, read.id_token) == (user.identity.claims, user.id_token)  # type: ignore[union-attr]
    assert str(user.id_token) not in repr(user)


@pytest.mark.parametrize(
    "members",
    [
        {"identity": "robin"},
        {"identity": {}},
        {"identity": {"issuer": "i", "subject": 1, "claims": {}}},
        {"identity": {"issuer": "i", "subject": "s", "claims": []}},
        {"identity": {"issuer": "i", "subject": "s", "claims": {}, "authenticated_at": "soon"}},
        {"id_token": 7},
        {"dpop_key": "key"},
    ],
)
def test_a_user_file_with_a_broken_identity_is_named(members: dict[str, Any]) -> None:
    with pytest.raises(CredentialsError):
        OAuth2User.from_json_obj({"token": "t", **members})


def test_a_stored_token_reply_brings_no_identity_and_no_unverified_id_token() -> None:
    user = OAuth2User.from_json_obj({"access_token": "t", "token_type": "bearer", "id_token": "a.b.c"})
    assert (user.identity, user.id_token) == (None, None)


# --- the issuer's keys ---


async def issuing(serve: Serve, alg: str = "RS256") -> Issuer:
    issuer = Issuer(alg)
    issuer.origin = (await serve(issuer.handle)).origin
    return issuer


@pytest.mark.parametrize("keep_old", [True, False])
async def test_rotated_keys_cost_one_request_and_no_outage(practise: Practise, keep_old: bool) -> None:
    # oidcc-client-test-signing-key-rotation, oidcc-client-test-signing-key-rotation-just-before-signing
    practice = await practise(**OPENID)
    app = app_at(practice)
    for asked in (1, 1, 2, 2):
        if asked == 2 and keys_asked(practice) == 1:
            practice.provider.rotate_keys(keep_old=keep_old)
        assert (await sign_in(practice, app)).identity is not None
        assert keys_asked(practice) == asked


async def test_an_unknown_key_costs_one_request_a_minute(serve: Serve) -> None:
    issuer = await issuing(serve)
    app = issuer.app()
    await signed_in(issuer, app)
    asked = []
    for second in range(0, 180, 10):
        with pytest.raises(IdentityError):
            await signed_in(issuer, app, lambda i, claims: i.sign(claims, {"kid": "bogus"}), now=NOW + second)
        asked.append(issuer.asked_keys)
    assert asked == [2] * 6 + [3] * 6 + [4] * 6


async def test_strangers_tokens_delay_nobody_whose_key_is_new(serve: Serve) -> None:
    issuer = await issuing(serve)
    app = issuer.app()
    await signed_in(issuer, app)

    async def posted(kid: str, now: float) -> str:
        with pytest.raises(IdentityError) as refused:
            await app.read_logout_token(issuer.sign(issuer.claims(), {"kid": kid}), now=now)
        return refused.value.kind

    asked = issuer.asked_keys
    for tenth in range(300):  # another unknown key every 0.1 s, and one that a stranger guessed
        await posted(f"k{tenth % 50}", NOW + tenth / 10)
    assert issuer.asked_keys == asked + 6
    assert await posted("k1", NOW + 30) == "transient"  # it was looked for in the last minute
    issuer.keys = [jwk_of(private_key("RS256", 1), kid="k1")]
    new_key = lambda i, claims: i.sign(claims, {"kid": "k1"}, key=private_key("RS256", 1))  # noqa: E731
    assert (await signed_in(issuer, app, new_key, now=NOW + 30)).identity is not None


async def test_a_logout_signed_by_a_new_key_is_read_within_seconds_of_a_strangers_token(serve: Serve) -> None:
    issuer = await issuing(serve)
    app = issuer.app()
    await signed_in(issuer, app)
    issuer.keys = [jwk_of(private_key("RS256", 1), kid="k1")]
    event: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}
    claims = {**issuer.claims(None), "jti": "j", "events": event}
    with pytest.raises(IdentityError):
        await app.read_logout_token(issuer.sign(claims, {"kid": "bogus"}), now=NOW)
    issuer.keys.append(jwk_of(private_key("RS256", 2), kid="k2"))
    token = issuer.sign(claims, {"kid": "k2"}, key=private_key("RS256", 2))
    with pytest.raises(IdentityError) as soon:
        await app.read_logout_token(token, now=NOW + 1)
    assert (soon.value.kind, soon.value.retry_after) == ("transient", 4)
    assert (await app.read_logout_token(token, now=NOW + 5)).subject == "robin"


@pytest.mark.parametrize("nonce", ["left out", "another"])
@pytest.mark.parametrize("host", ["www.linkedin.com", "elsewhere.example"])
async def test_a_nonce_may_be_left_out_where_the_table_says_that_the_provider_does(
    serve: Serve, nonce: str, host: str
) -> None:
    issuer = await issuing(serve)
    app = issuer.app()
    app.auth_uri = f"https://{host}/authorize"
    change = None if nonce == "left out" else "another"
    make = lambda i, _: i.sign(i.claims(change))  # noqa: E731
    if host == "www.linkedin.com" and nonce == "left out":
        assert (await signed_in(issuer, app, make)).identity is not None
        return
    with pytest.raises(IdentityError):
        await signed_in(issuer, app, make)


@pytest.mark.parametrize(
    ("headers", "kept_for"),
    [
        ({}, 3600),
        ({"Cache-Control": "public, max-age=600"}, 600),
        ({"Cache-Control": "max-age=600", "Age": "100"}, 500),
        ({"Cache-Control": "max-age=0"}, 60),
        ({"Cache-Control": "no-store"}, 60),
        ({"Cache-Control": "max-age=99999999999999999999"}, 86400),
        ({"Cache-Control": "max-age=words"}, 3600),
        ({"Expires": "Thu, 01 Jan 2026 00:10:00 GMT", "Date": "Thu, 01 Jan 2026 00:00:00 GMT"}, 600),
        ({"Expires": "0", "Date": "Thu, 01 Jan 2026 00:00:00 GMT"}, 3600),
    ],
)
async def test_keys_are_kept_for_as_long_as_their_headers_say_within_bounds(
    serve: Serve, headers: dict[str, str], kept_for: int
) -> None:
    issuer = await issuing(serve)
    issuer.key_headers = headers
    app = issuer.app()

    def long(issuer: Issuer, claims: dict[str, Any]) -> str:
        return issuer.sign({**claims, "exp": NOW + 1e6})

    for now, asked in ((NOW, 1), (NOW + kept_for - 1, 1), (NOW + kept_for, 2)):
        await signed_in(issuer, app, long, now=now)
        assert issuer.asked_keys == asked


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (503, b"", ApiError),
        (404, b"", ApiError),
        (302, b"", ApiError),
        (200, b"<html>", BadReplyError),
        (200, b'"keys"', BadReplyError),
        (200, b'{"keys": {}}', BadReplyError),
        (200, b" " * (1 << 20) + b'{"keys": []}', BadReplyError),
        (200, b'{"keys": [1, null, {}]}', IdentityError),
    ],
)
async def test_a_failure_is_not_kept(serve: Serve, status: int, body: bytes, error: type[Exception]) -> None:
    issuer = await issuing(serve)
    app = issuer.app()
    issuer.key_status, issuer.key_body = status, body
    with pytest.raises(error):
        await signed_in(issuer, app)
    issuer.key_status, issuer.key_body = 200, None
    assert (await signed_in(issuer, app)).identity is not None


@pytest.mark.parametrize(("status", "body"), [(503, b""), (200, b"<html>")])
async def test_newer_keys_that_could_not_be_fetched_are_asked_for_again_at_once(
    serve: Serve, status: int, body: bytes
) -> None:
    issuer = await issuing(serve)
    app, published = issuer.app(), issuer.keys
    issuer.keys = []
    with pytest.raises(IdentityError):
        await signed_in(issuer, app)  # these keys are kept
    issuer.keys, issuer.key_status, issuer.key_body = published, status, body
    with pytest.raises((ApiError, BadReplyError)):
        await signed_in(issuer, app)
    issuer.key_status, issuer.key_body = 200, None
    assert (await signed_in(issuer, app)).identity is not None


async def test_an_issuer_that_cannot_be_reached_is_a_network_error(serve: Serve, unused_port: int) -> None:
    issuer = await issuing(serve)
    with pytest.raises(NetworkError):
        await signed_in(issuer, issuer.app(jwks_uri=f"http://127.0.0.1:{unused_port}/jwks"))


async def test_many_sign_ins_at_once_ask_for_the_keys_once(practise: Practise) -> None:
    practice = await practise(**OPENID)
    app = app_at(practice)
    users = await asyncio.gather(*(sign_in(practice, app) for _ in range(20)))
    assert all(user.identity for user in users)
    assert keys_asked(practice) == 1


async def test_a_sign_in_that_is_cancelled_does_not_cut_the_others_short(practise: Practise) -> None:
    practice = await practise(**OPENID)
    app = app_at(practice)
    tasks = [asyncio.create_task(sign_in(practice, app)) for _ in range(5)]
    await asyncio.sleep(0)
    for task in tasks[:3]:
        task.cancel()
    assert all([(await task).identity for task in tasks[3:]])


@pytest.mark.parametrize("keys", [1, 2, 6])
async def test_a_token_without_a_key_id_is_verified_by_any_published_key(serve: Serve, keys: int) -> None:
    # oidcc-client-test-kid-absent-single-jwks, oidcc-client-test-kid-absent-multiple-jwks
    issuer = await issuing(serve)
    others = [jwk_of(private_key("RS256", number), kid=f"k{number}") for number in range(1, keys)]
    issuer.keys = [*others, *issuer.keys, jwk_of(private_key("ES256"), kid="e")]
    assert (await signed_in(issuer, issuer.app(), lambda i, claims: i.sign(claims, {"kid": None}))).identity


async def test_certificates_in_the_header_make_it_long_and_are_not_used(serve: Serve) -> None:
    issuer = await issuing(serve)
    assert (await signed_in(issuer, issuer.app(), lambda i, claims: i.sign(claims, {"x5c": ["A" * 8000]}))).identity


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["client"]},
        {"aud": ["client", "other"], "azp": "client"},
        {"azp": "client"},
        {"exp": NOW - 59},
        {"iat": NOW + 59},
        {"nbf": NOW + 59},
        {"at_hash": None},
        {"auth_time": None},
        {"exp": NOW + 0.5},
        {"sub": "s" * 255},
        {"sub": "größe"},
    ],
    ids=str,
)
async def test_what_the_specification_allows_is_accepted(serve: Serve, changes: dict[str, Any]) -> None:
    issuer = await issuing(serve)

    def make(issuer: Issuer, claims: dict[str, Any]) -> str:
        return issuer.sign({name: value for name, value in {**claims, **changes}.items() if value is not None})

    assert (await signed_in(issuer, issuer.app(), make)).identity is not None


async def test_the_clocks_difference_is_that_of_the_last_token_reply(practise: Practise) -> None:
    practice = await practise(**OPENID)
    app = app_at(practice)
    login = app.begin_login(REDIRECT_URI, "openid", now=practice.clock())
    async with aiohttp.ClientSession() as browser, browser.get(login.url, allow_redirects=False) as answer:
        redirect = answer.headers["Location"]
    ours = practice.clock() - 400  # this machine is behind
    user = await app.finish_login(login, redirect, now=ours, lifetime=1000)
    assert user.identity is not None


# --- userinfo ---


async def test_userinfo_are_those_of_the_person(practise: Practise) -> None:
    practice = await practise(**OPENID)
    app = app_at(practice)
    user = await sign_in(practice, app, "openid profile")
    told = await app.userinfo(user)
    assert (told["sub"], told["name"]) == (user.identity.subject, "Robin Practice")  # type: ignore[union-attr]


@pytest.mark.parametrize("alg", ["ES256", "RS256", "EdDSA"])
async def test_signed_userinfo_are_verified(practise: Practise, alg: str) -> None:
    # oidcc-client-test-userinfo-signed
    metadata = {"id_token_signed_response_alg": "ES256", "userinfo_signed_response_alg": alg}
    practice = await practise(**{**OPENID, "signing_algs": ["ES256", "RS256", "EdDSA"]}, client_metadata=metadata)
    app = app_at(practice)
    user = await sign_in(practice, app, "openid email")
    assert (await app.userinfo(user))["email"]


@pytest.mark.parametrize("told", [{"sub": "kim"}, {"name": "Robin"}, {"sub": 7}, {"sub": ""}, ["robin"], "robin"])
async def test_userinfo_of_another_person_are_refused(serve: Serve, told: Any) -> None:
    # oidcc-client-test-userinfo-invalid-sub
    issuer = await issuing(serve)
    app = issuer.app()
    user = await signed_in(issuer, app)
    issuer.userinfo = told if not isinstance(told, str) else json.dumps(told)
    with pytest.raises(IdentityError):
        await app.userinfo(user)


@pytest.mark.parametrize("changes", [{"sub": "kim"}, {"iss": "https://other.example"}, {"aud": "other"}, {"iss": None}])
async def test_signed_userinfo_for_others_are_refused(serve: Serve, changes: dict[str, Any]) -> None:
    issuer = await issuing(serve)
    app = issuer.app()
    user = await signed_in(issuer, app)
    issuer.userinfo_type = "application/jwt"
    issuer.userinfo = issuer.sign(issuer.claims(None, **changes) if changes != {"iss": None} else {"sub": "robin"})
    with pytest.raises(IdentityError):
        await app.userinfo(user, now=NOW)


async def test_refused_userinfo_are_an_api_error_that_shows_no_token(practise: Practise) -> None:
    practice = await practise(**OPENID)
    app = app_at(practice)
    user = await sign_in(practice, app)
    practice.provider.revoke_access_tokens()
    with pytest.raises(ApiError) as refused:
        await app.userinfo(user)
    assert refused.value.status == 401
    assert user.token not in str(refused.value)


# --- signing out ---


async def test_the_logout_address_names_the_session_and_where_to_come_back(practise: Practise) -> None:
    practice = await practise(**OPENID)
    app = app_at(practice)
    user = await sign_in(practice, app)
    query = parse_qs(urlsplit(app.logout_url(user, "https://app.example/bye", "s-1")).query)
    assert query == {
        "id_token_hint": [user.id_token],
        "post_logout_redirect_uri": ["https://app.example/bye"],
        "state": ["s-1"],
    }
    assert parse_qs(urlsplit(app.logout_url(OAuth2User("t"))).query) == {"client_id": ["practice-client"]}
    app.logout_uri += "?theme=dark"  # type: ignore[operator]
    assert parse_qs(urlsplit(app.logout_url(OAuth2User("t"))).query) == {
        "theme": ["dark"],
        "client_id": ["practice-client"],
    }


@pytest.mark.parametrize("uri", [None, "javascript:alert(1)", "http://elsewhere.example/logout"])
def test_without_a_logout_endpoint_there_is_no_address(uri: str | None) -> None:
    with pytest.raises(ConfigError):
        Issuer(origin="https://issuer.example").app(logout_uri=uri).logout_url(OAuth2User("t"))


async def test_a_logout_token_says_whose_session_ends_and_counts_until_it_has(practise: Practise) -> None:
    practice = await practise(**OPENID)
    app = app_at(practice)
    user = await sign_in(practice, app)
    token = practice.provider.logout_token("practice-client", session_id="session-1")
    logout = await app.read_logout_token(token, now=practice.clock())
    assert (logout.issuer, logout.subject) == (user.identity.issuer, user.identity.subject)  # type: ignore[union-attr]
    assert logout.session_id == "session-1"
    again = await app.read_logout_token(token, now=practice.clock())  # the sessions could not be ended
    assert again == logout
    app.finish_logout(again, now=practice.clock())
    with pytest.raises(IdentityError):
        await app.read_logout_token(token, now=practice.clock())
    another = practice.provider.logout_token("practice-client", sub=None, session_id="session-1")
    assert (await app.read_logout_token(another, now=practice.clock())).subject is None


async def test_an_id_token_is_not_a_logout_token(practise: Practise) -> None:
    practice = await practise(**OPENID)
    app = app_at(practice)
    user = await sign_in(practice, app)
    assert user.id_token is not None
    with pytest.raises(IdentityError):
        await app.read_logout_token(user.id_token, now=practice.clock())


async def test_a_logout_token_is_not_an_id_token(serve: Serve) -> None:
    issuer = await issuing(serve)
    with pytest.raises(IdentityError):
        await signed_in(issuer, issuer.app(), lambda i, claims: i.sign(claims, {"typ": "logout+jwt"}))


@pytest.mark.parametrize("typ", ["logout+jwt", "application/logout+jwt", "LOGOUT+JWT", "JWT", None])
async def test_a_logout_tokens_kind_may_be_spelled_in_every_way_in_use(serve: Serve, typ: str | None) -> None:
    issuer = await issuing(serve)
    event: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}
    token = issuer.sign({**issuer.claims(None), "jti": "j", "events": event}, {"typ": typ})
    assert (await issuer.app().read_logout_token(token, now=NOW)).subject == "robin"
