"""OpenID Connect: id_tokens that another library verifies, keys that rotate, userinfo, and signing out."""
from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import jwt
import pytest

from SlyAPI.testing import GRANT_TYPES

if TYPE_CHECKING:
    from .conftest import Practice, Publisher, Reply, Start

ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]
BYE = "http://localhost:8080/bye"
OPENID: dict[str, Any] = {"openid": True, "signing_algs": ["ES256"]}


async def published(practice: Practice) -> dict[str, Any]:
    reply = await practice.send("GET", practice.provider.origin + "/jwks")
    assert "max-age=" in reply.headers["Cache-Control"]
    return {key["kid"]: key for key in reply.json["keys"]}


async def claims_of(practice: Practice, token: str) -> dict[str, Any]:
    """The claims of a token of ours, verified by PyJWT with the published key."""
    header = jwt.get_unverified_header(token)
    key = jwt.PyJWK((await published(practice))[header["kid"]])
    unchecked: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
    return dict(jwt.decode(token, key, [header["alg"]], audience=practice.client_id, options=unchecked))


@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_an_id_token_says_who_signed_in_where_when_and_for_whom(start: Start, alg: str) -> None:
    async with start(openid=True, signing_algs=[alg]) as practice:
        practice.clock.now += 0.5
        scope, acr = "openid profile email notes", "urn:practice:strong"
        tokens = await practice.tokens(scope=scope, nonce="n-1", acr_values=acr)
        claims = await claims_of(practice, tokens["id_token"])
        sub = (await practice.call("/me", tokens["access_token"])).json["id"]
        hashed = hashlib.new({"ES384": "sha384", "EdDSA": "sha512"}.get(alg, "sha256"), tokens["access_token"].encode())
        half = base64.urlsafe_b64encode(hashed.digest()[: hashed.digest_size // 2]).rstrip(b"=").decode()
        assert claims.pop("sid")
        assert claims == {
            "iss": practice.provider.issuer,
            "sub": sub,
            "aud": "practice-client",
            "iat": 1_800_000_000,
            "exp": 1_800_000_300,
            "auth_time": 1_800_000_000,
            "nonce": "n-1",
            "acr": "urn:practice:strong",
            "at_hash": half,
            "name": "Robin Practice",
            "email": f"{sub}@practice.example",
            "email_verified": True,
        }


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA", "HS256"])
async def test_a_client_registers_the_algorithm_of_its_id_tokens(start: Start, alg: str) -> None:
    settings = {"client_secret": "s" * 40, "client_metadata": {"id_token_signed_response_alg": alg}}
    async with start(openid=True, **settings) as practice:
        token = (await practice.tokens(scope="openid"))["id_token"]
        assert jwt.get_unverified_header(token)["alg"] == alg
        if alg == "HS256":
            assert jwt.decode(token, "s" * 40, ["HS256"], audience="practice-client", options={"verify_iat": False})
        else:
            assert await claims_of(practice, token)


@pytest.mark.parametrize(("feature", "scope"), [(True, "notes"), (False, "notes")])
async def test_without_the_scope_there_is_no_id_token(start: Start, feature: bool, scope: str) -> None:
    async with start(openid=feature, signing_algs=["ES256"]) as practice:
        assert "id_token" not in await practice.tokens(scope=scope)


async def test_without_the_feature_there_is_no_such_scope_and_no_endpoint(start: Start) -> None:
    async with start() as practice:
        assert (await practice.authorize(scope="openid")).sent_back["error"] == "invalid_scope"
        for path in ("/jwks", "/userinfo", "/logout"):
            assert (await practice.send("GET", practice.provider.origin + path)).status == 404


async def test_a_refreshed_id_token_is_about_the_same_sign_in(start: Start) -> None:
    async with start(**OPENID) as practice:
        tokens = await practice.tokens(scope="openid", nonce="n-1")
        practice.clock.now += 3
        fresh = (await practice.refresh(tokens["refresh_token"])).json
        first, second = [await claims_of(practice, one["id_token"]) for one in (tokens, fresh)]
        same = ("iss", "sub", "aud", "auth_time", "sid", "nonce")
        assert [first[name] for name in same] == [second[name] for name in same]
        assert second["iat"] == first["iat"] + 3


@pytest.mark.parametrize("changes", [{"aud": "other"}, {"nonce": "other"}, {"sub": None}, {"exp": 1}], ids=str)
async def test_an_id_token_can_be_made_wrong(start: Start, changes: dict[str, Any]) -> None:
    async with start(**OPENID, id_token_changes=changes) as practice:
        token = (await practice.tokens(scope="openid"))["id_token"]
        claims = jwt.decode(token, options={"verify_signature": False})
        assert {name: claims.get(name) for name in changes} == changes


@pytest.mark.parametrize("keep_old", [True, False])
async def test_keys_rotate(start: Start, keep_old: bool) -> None:
    async with start(**OPENID) as practice:
        old = (await practice.tokens(scope="openid"))["id_token"]
        practice.provider.rotate_keys(keep_old=keep_old)
        new = (await practice.tokens(scope="openid"))["id_token"]
        kids = [jwt.get_unverified_header(token)["kid"] for token in (old, new)]
        assert kids[0] != kids[1]
        assert (kids[0] in await published(practice)) is keep_old
        assert await claims_of(practice, new)
        assert not any("d" in key for key in (await published(practice)).values())


@pytest.mark.parametrize(
    ("prompt", "consent", "outcome"),
    [
        ("none", "ask", "interaction_required"),
        ("none", "allow", "code"),
        ("login consent", "allow", "code"),
        ("none login", "allow", "invalid_request"),
        ("create", "allow", "invalid_request"),
    ],
)
async def test_prompt_is_kept_to(start: Start, prompt: str, consent: str, outcome: str) -> None:
    async with start(**OPENID, consent=consent) as practice:
        sent_back = (await practice.authorize(prompt=prompt)).sent_back
        assert outcome in (sent_back.get("error"), *sent_back)


async def test_a_refresh_token_needs_offline_access_where_there_is_that_scope(start: Start) -> None:
    scopes = {"notes": "Notes", "offline_access": "Stay signed in"}
    async with start(**OPENID, scopes=scopes) as practice:
        assert "refresh_token" not in await practice.tokens(scope="openid notes")
        assert "refresh_token" in await practice.tokens(scope="openid offline_access")


# Userinfo.


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_userinfo_says_what_the_scopes_allow(start: Start, method: str) -> None:
    async with start(**OPENID) as practice:
        url = practice.provider.origin + "/userinfo"
        for scope, names in {"openid": {"sub"}, "openid email": {"sub", "email", "email_verified"}}.items():
            token = (await practice.tokens(scope=scope))["access_token"]
            assert set((await practice.send(method, url, Authorization=f"Bearer {token}")).json) == names
        token = (await practice.tokens(scope="notes"))["access_token"]
        assert (await practice.send(method, url, Authorization=f"Bearer {token}")).error == "insufficient_scope"
        assert (await practice.send(method, url)).status == 401


async def test_userinfo_may_be_signed(start: Start) -> None:
    async with start(**OPENID, client_metadata={"userinfo_signed_response_alg": "ES256"}) as practice:
        token = (await practice.tokens(scope="openid"))["access_token"]
        url = practice.provider.origin + "/userinfo"
        reply = await practice.send("GET", url, Authorization=f"Bearer {token}")
        assert reply.headers["Content-Type"].startswith("application/jwt")
        claims = await claims_of(practice, reply.text)
        assert (claims["iss"], set(claims)) == (practice.provider.issuer, {"iss", "aud", "sub"})


# Signing out.


async def logout(practice: Practice, **parameters: str) -> Reply:
    return await practice.send("GET", f"{practice.provider.origin}/logout?{urlencode(parameters)}")


async def test_signing_out_sends_the_browser_back_and_ends_the_session(start: Start) -> None:
    async with start(**OPENID, client_metadata={"post_logout_redirect_uris": [BYE]}) as practice:
        tokens, other = [await practice.tokens(scope="openid") for _ in range(2)]
        practice.clock.now += 1
        reply = await logout(practice, id_token_hint=tokens["id_token"], post_logout_redirect_uri=BYE, state="a b")
        assert (reply.status, reply.headers["Location"]) == (303, BYE + "?state=a+b")
        assert not await practice.works(tokens["access_token"])
        assert await practice.works(other["access_token"])


async def test_a_grant_with_offline_access_outlives_its_session(start: Start) -> None:
    async with start(**OPENID, scopes={"notes": "Notes", "offline_access": "Stay signed in"}) as practice:
        tokens = await practice.tokens(scope="openid offline_access")
        assert (await logout(practice, id_token_hint=tokens["id_token"])).status == 200
        assert (await practice.refresh(tokens["refresh_token"])).status == 200


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({}, 200),
        ({"client_id": "practice-client", "post_logout_redirect_uri": BYE}, 303),
        ({"post_logout_redirect_uri": BYE}, 400),
        ({"client_id": "practice-client", "post_logout_redirect_uri": BYE + "/"}, 400),
        ({"client_id": "unknown", "post_logout_redirect_uri": BYE}, 400),
        ({"id_token_hint": "x.y.z"}, 400),
    ],
)
async def test_a_browser_is_sent_only_to_a_registered_address(
    start: Start, parameters: dict[str, str], status: int
) -> None:
    async with start(**OPENID, client_metadata={"post_logout_redirect_uris": [BYE]}) as practice:
        assert (await logout(practice, **parameters)).status == status


async def test_an_id_token_of_another_client_is_refused(start: Start) -> None:
    async with start(**OPENID) as practice:
        practice.provider.add_client("other", None, [])
        token = (await practice.tokens(scope="openid"))["id_token"]
        assert (await logout(practice, id_token_hint=token, client_id="other")).status == 400


@pytest.mark.parametrize("way", ["endpoint", "method"])
async def test_clients_hear_of_it_by_a_logout_token(start: Start, publisher: Publisher, way: str) -> None:
    metadata = {"backchannel_logout_uri": publisher.origin + "/logout"}
    async with start(**OPENID, client_metadata=metadata) as practice:
        tokens = await practice.tokens(scope="openid")
        session = (await claims_of(practice, tokens["id_token"]))["sid"]
        if way == "endpoint":
            await logout(practice, id_token_hint=tokens["id_token"])
        else:
            assert await practice.provider.sign_out() == [404]
        token = publisher.posted[0]["logout_token"]
        claims = await claims_of(practice, token)
        assert jwt.get_unverified_header(token)["typ"] == "logout+jwt"
        assert claims["events"] == {"http://schemas.openid.net/event/backchannel-logout": {}}
        assert (claims["sid"], claims["iat"]) == (session, 1_800_000_000)
        assert claims["jti"]
        assert "nonce" not in claims


@pytest.mark.parametrize(
    "changes", [{"events": {}}, {"nonce": "x"}, {"jti": None}, {"sub": None, "sid": None}], ids=str
)
async def test_a_logout_token_can_be_made_wrong(start: Start, changes: dict[str, Any]) -> None:
    async with start(**OPENID, grant_types=GRANT_TYPES) as practice:
        token = practice.provider.logout_token("practice-client", session_id="s-1", **changes)
        claims = await claims_of(practice, token)
        assert {name: claims.get(name) for name in changes} == changes
