"""Clients that authenticate by a signed assertion (RFC 7523 §2.2): what is accepted, once."""
from __future__ import annotations

import hmac
import json
import warnings
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from SlyAPI.testing import GRANT_TYPES
from tests.testing.signing import ClientKey, assertion, b64url

if TYPE_CHECKING:
    from .conftest import Practice, Publisher, Reply, Start

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KEY = ClientKey()
LONG_SECRET = "s" * 40


def settings(method: str = "private_key_jwt", **more: Any) -> dict[str, Any]:
    metadata = {"token_endpoint_auth_method": method, "jwks": KEY.jwks, **more.pop("client_metadata", {})}
    secret = LONG_SECRET if method == "client_secret_jwt" else None
    return {"grant_types": GRANT_TYPES, "client_secret": secret, "client_metadata": metadata, **more}


async def machine_token(practice: Practice, signed: str, **changed: str | None) -> Reply:
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": TYPE,
        "client_assertion": signed,
        **changed,
    }
    pairs = [(name, value) for name, value in form.items() if value is not None]
    return await practice.post(practice.provider.token_url, pairs)


def signed_by(practice: Practice, key: ClientKey = KEY, **claims: Any) -> str:
    return assertion(key, "practice-client", practice.provider.token_url, practice.clock(), **claims)


async def test_a_client_authenticates_by_its_key_once_for_each_assertion(start: Start) -> None:
    async with start(**settings()) as practice:
        signed = signed_by(practice)
        assert (await machine_token(practice, signed)).status == 200
        assert practice.provider.log[-1].client_auth == "private_key_jwt"
        again = await machine_token(practice, signed)
        assert (again.status, again.error) == (401, "invalid_client")


async def test_a_registered_key_that_cannot_be_used_hides_no_other(start: Start) -> None:
    unknown = {"kty": "EC", "crv": "brainpoolP256r1", "x": "AQ", "y": "AQ", "kid": KEY.jwks["keys"][0].get("kid")}
    jwks = {"keys": [unknown, {"kty": "EC"}, *KEY.jwks["keys"]]}
    async with start(**settings(client_metadata={"jwks": jwks})) as practice:
        assert (await machine_token(practice, signed_by(practice))).status == 200
        assert (await machine_token(practice, signed_by(practice, ClientKey()))).status == 401


async def test_a_client_authenticates_by_an_hmac_with_its_secret(start: Start) -> None:
    async with start(**settings("client_secret_jwt")) as practice:
        now = int(practice.clock())
        claims = {"iss": "practice-client", "sub": "practice-client", "aud": practice.provider.issuer, "exp": now + 60}
        for secret, status in ((LONG_SECRET, 200), ("x" * 40, 401)):
            signed = jwt.encode({**claims, "jti": secret}, secret, "HS256")
            assert (await machine_token(practice, signed)).status == status
        assert practice.provider.log[0].client_auth == "client_secret_jwt"


async def test_after_a_restart_no_hmac_is_accepted_since_no_secret_is_stored(start: Start) -> None:
    async with start(**settings("client_secret_jwt")) as practice:
        saved = json.loads(json.dumps(practice.provider.to_json()))
        assert LONG_SECRET not in json.dumps(saved)
        again = type(practice.provider).from_json(saved, clock=practice.clock, grant_types=GRANT_TYPES)
        practice.provider = again
        async with again.running():
            claims = {"iss": "practice-client", "sub": "practice-client", "aud": again.issuer, "exp": 1_800_000_060}
            with warnings.catch_warnings(action="ignore"):
                tokens = [jwt.encode({**claims, "jti": key}, key, "HS256") for key in (LONG_SECRET, "0")]
            for signed in (*tokens, hmac_by_nothing({**claims, "jti": "x"})):
                assert (await machine_token(practice, signed)).error == "invalid_client"


def hmac_by_nothing(claims: dict[str, Any]) -> str:
    parts = [b64url(json.dumps(part).encode()) for part in ({"alg": "HS256"}, claims)]
    mac = hmac.new(b"", ".".join(parts).encode(), "sha256").digest()
    return ".".join([*parts, b64url(mac)])


@pytest.mark.parametrize("client_id", [None, "practice-client"])
async def test_the_client_id_may_be_repeated_in_the_form(start: Start, client_id: str | None) -> None:
    async with start(**settings()) as practice:
        assert (await machine_token(practice, signed_by(practice), client_id=client_id)).status == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "other"},
        {"sub": "other"},
        {"sub": None},
        {"aud": "https://elsewhere.example"},
        {"aud": None},
        {"aud": []},
        {"exp": None},
        {"exp": 1_800_000_000 - 10},
        {"exp": 1_800_000_000 + 301},
        {"exp": True},
        {"exp": "1800000060"},
        {"exp": float("nan")},
        {"iat": 1_800_000_000 + 11},
        {"iat": 1_800_000_000 - 301},
        {"nbf": 1_800_000_000 + 11},
        {"jti": None},
        {"jti": 1},
    ],
    ids=str,
)
async def test_an_assertion_with_a_wrong_claim_is_an_invalid_client(start: Start, claims: dict[str, Any]) -> None:
    async with start(**settings()) as practice:
        signed = KEY.sign(
            {
                "iss": "practice-client",
                "sub": "practice-client",
                "aud": practice.provider.token_url,
                "iat": 1_800_000_000,
                "exp": 1_800_000_060,
                "jti": "one",
                **claims,
            }
        )
        reply = await machine_token(practice, signed)
        assert (reply.status, reply.error) == (401, "invalid_client")


@pytest.mark.parametrize(
    "make",
    [
        lambda practice: signed_by(practice, ClientKey()),
        lambda practice: signed_by(practice, ClientKey("another id", KEY.private)),
        lambda practice: jwt.encode({"sub": "practice-client"}, "", "none"),
        lambda practice: jwt.encode({"sub": "practice-client"}, "s" * 40, "HS256"),
        lambda practice: signed_by(practice)[:-4],
        lambda practice: "x.y.z",
        lambda practice: "",
    ],
)
async def test_an_assertion_that_the_client_did_not_sign_is_refused(start: Start, make: Any) -> None:
    async with start(**settings()) as practice:
        reply = await machine_token(practice, make(practice))
        assert reply.error in ("invalid_client", "invalid_request")


@pytest.mark.parametrize(
    ("audience", "accepted"),
    [("either", {"issuer", "token"}), ("issuer", {"issuer"}), ("endpoint", {"token"})],
)
async def test_the_provider_says_which_audience_it_wants(start: Start, audience: str, accepted: set[str]) -> None:
    async with start(**settings(assertion_audience=audience, issuer_path="/tenant")) as practice:
        values = {"issuer": practice.provider.issuer, "token": practice.provider.token_url}
        for name, value in values.items():
            for form in (value, [value]):
                reply = await machine_token(practice, signed_by(practice, aud=form))
                assert (reply.status == 200) is (name in accepted)
        both = await machine_token(practice, signed_by(practice, aud=list(values.values())))
        assert both.error == "invalid_client"


async def test_two_ways_at_once_and_the_wrong_way_are_refused(start: Start) -> None:
    async with start(**settings()) as practice:
        signed = signed_by(practice)
        assert (await machine_token(practice, signed, client_secret="x")).error == "invalid_request"
        assert (await machine_token(practice, signed, client_assertion_type="x")).error == "invalid_request"
        assert (await machine_token(practice, signed, client_id="other")).error == "invalid_client"
        plain = [("grant_type", "client_credentials"), ("client_id", "practice-client")]
        assert (await practice.post(practice.provider.token_url, plain)).error == "invalid_client"
        assert (await machine_token(practice, signed)).status == 200
    async with start(grant_types=GRANT_TYPES) as practice:
        assert (await machine_token(practice, signed_by(practice))).error == "invalid_client"


async def test_keys_may_be_at_an_address_and_rotate_there(start: Start, publisher: Publisher) -> None:
    metadata = {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": publisher.origin + "/jwks"}
    new = ClientKey("new")
    async with start(grant_types=GRANT_TYPES, client_secret=None, client_metadata=metadata) as practice:
        assert (await machine_token(practice, signed_by(practice))).error == "invalid_client"
        for key in (KEY, new):
            publisher.replies["/jwks"] = key.jwks
            accepted = [(await machine_token(practice, signed_by(practice, one))).status for one in (KEY, new)]
            assert accepted == [200 if one is key else 401 for one in (KEY, new)]


@pytest.mark.parametrize("alg", ["RS256", "ES384"])
async def test_the_registered_algorithm_is_the_only_one(start: Start, alg: str) -> None:
    async with start(**settings(client_metadata={"token_endpoint_auth_signing_alg": alg})) as practice:
        assert (await machine_token(practice, signed_by(practice))).error == "invalid_client"
