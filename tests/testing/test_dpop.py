"""Proof of possession (RFC 9449): a token opens nothing for who does not hold its key."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt
import pytest

from SlyAPI.testing import GRANT_TYPES
from tests.testing.signing import ClientKey, ath, label, proof

if TYPE_CHECKING:
    from .conftest import Practice, Reply, Start

KEY, OTHER = ClientKey(), ClientKey("other")
NOW = 1_800_000_000


async def ask(practice: Practice, key: ClientKey | None, signed: str = "", **form: str) -> Reply:
    """A form to the token endpoint, by the public client, with a proof."""
    url = practice.provider.token_url
    proofs = {"DPoP": signed or proof(key, "POST", url, practice.clock())} if key else {}
    return await practice.post(url, [("client_id", "practice-client"), *form.items()], **proofs)


async def exchange(practice: Practice, key: ClientKey | None, signed: str = "", **authorization: str) -> Reply:
    form = {
        "grant_type": "authorization_code",
        "code": await practice.code(**authorization),
        "redirect_uri": practice.asked["redirect_uri"],
        "code_verifier": "v" * 43,
    }
    return await ask(practice, key, signed, **form)


async def call(
    practice: Practice, token: str, key: ClientKey | None = KEY, scheme: str = "DPoP", signed: str = "", **claims: Any
) -> Reply:
    url = practice.provider.api_url + "/me"
    made = signed or (proof(key, "GET", url, practice.clock(), **{"ath": ath(token), **claims}) if key else "")
    return await practice.call("/me", Authorization=f"{scheme} {token}", **({"DPoP": made} if made else {}))


@pytest.mark.parametrize("mode", ["allowed", "required"])
async def test_a_token_is_bound_to_the_key_of_its_proof(start: Start, mode: str) -> None:
    async with start(dpop=mode, client_secret=None) as practice:
        tokens = (await exchange(practice, KEY)).json
        token = tokens["access_token"]
        assert tokens["token_type"] == "DPoP"
        assert (await call(practice, token)).status == 200
        assert (await call(practice, token, OTHER)).error == "invalid_token"
        assert (await call(practice, token, None)).error == "invalid_dpop_proof"
        bearer = await call(practice, token, None, "Bearer")
        assert bearer.status == (401 if mode == "allowed" else 400)


async def test_without_a_proof_a_token_is_a_bearer_token_unless_proofs_are_required(start: Start) -> None:
    async with start(dpop="allowed", client_secret=None) as practice:
        tokens = (await exchange(practice, None)).json
        assert tokens["token_type"] == "Bearer"
        assert (await call(practice, tokens["access_token"], None, "Bearer")).status == 200
        assert (await call(practice, tokens["access_token"])).error == "invalid_token"
    for settings in ({"dpop": "required"}, {"dpop": "allowed", "client_metadata": {"dpop_bound_access_tokens": True}}):
        async with start(client_secret=None, **settings) as practice:
            assert (await exchange(practice, None)).error == "invalid_dpop_proof"
    async with start(client_secret=None) as practice:
        assert (await exchange(practice, KEY)).json["token_type"] == "Bearer"


@pytest.mark.parametrize("public", [True, False])
async def test_a_public_clients_refresh_token_is_bound_too(start: Start, public: bool) -> None:
    async with start(dpop="allowed", **({"client_secret": None} if public else {})) as practice:
        form = {"grant_type": "refresh_token"}
        if public:
            first = (await exchange(practice, KEY)).json["refresh_token"]
            for key in (OTHER, None):
                assert (await ask(practice, key, **form, refresh_token=first)).error == "invalid_grant"
            assert (await ask(practice, KEY, **form, refresh_token=first)).json["token_type"] == "DPoP"
            return
        first = (await practice.tokens())["refresh_token"]
        assert (await practice.refresh(first)).json["token_type"] == "Bearer"


@pytest.mark.parametrize("named", ["same", "other"])
async def test_a_code_is_bound_by_dpop_jkt(start: Start, named: str) -> None:
    key = KEY if named == "same" else OTHER
    async with start(dpop="allowed", client_secret=None) as practice:
        reply = await exchange(practice, KEY, dpop_jkt=key.thumbprint)
        assert reply.status == (200 if named == "same" else 400)
        assert (await exchange(practice, None, dpop_jkt=key.thumbprint)).error == "invalid_grant"


WRONG: list[dict[str, Any]] = [
    {"htm": "GET"},
    {"htm": None},
    {"htu": "http://127.0.0.1:1/token"},
    {"htu": "{token}?x=1"},
    {"htu": "{token}#x"},
    {"htu": "{token}/"},
    {"htu": None},
    {"iat": NOW - 61},
    {"iat": NOW + 61},
    {"iat": None},
    {"iat": True},
    {"iat": float("nan")},
    {"iat": str(NOW)},
    {"jti": None},
    {"jti": ""},
    {"jti": 1},
    {"header": {"typ": "JWT"}},
    {"header": {"typ": None}},
    {"header": {"jwk": None}},
    {"header": {"jwk": OTHER.jwk}},
    {"header": {"jwk": KEY.private_jwk}},
    {"header": {"jwk": {"kty": "oct", "k": "c2VjcmV0"}}},
    {"header": {"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}}},
    {"header": {"crit": ["odd"], "odd": 1}},
]


@pytest.mark.parametrize("changed", WRONG, ids=label)
async def test_a_proof_that_is_wrong_is_refused_and_costs_nothing(start: Start, changed: dict[str, Any]) -> None:
    async with start(dpop="required", client_secret=None) as practice:
        url = practice.provider.token_url
        if isinstance(changed.get("htu"), str):
            changed = {"htu": changed["htu"].format(token=url)}
        claims = {"htm": "POST", "htu": url, "iat": NOW, "jti": "one", **changed}
        header = {"typ": "dpop+jwt", "jwk": KEY.jwk, "kid": None, **claims.pop("header", {})}
        signed = KEY.sign(claims, **header)
        form = {
            "grant_type": "authorization_code",
            "code": await practice.code(),
            "redirect_uri": practice.asked["redirect_uri"],
            "code_verifier": "v" * 43,
        }
        reply = await ask(practice, KEY, signed, **form)
        assert (reply.status, reply.error) == (400, "invalid_dpop_proof")
        assert (await ask(practice, KEY, **form)).status == 200


@pytest.mark.parametrize("signed", ["x", "x.y.z", jwt.encode({}, "", "none"), jwt.encode({}, "k" * 40, "HS256")])
async def test_what_is_not_a_proof_is_refused(start: Start, signed: str) -> None:
    async with start(dpop="allowed", client_secret=None) as practice:
        assert (await exchange(practice, KEY, signed)).error == "invalid_dpop_proof"
        token = (await exchange(practice, KEY)).json["access_token"]
        assert (await call(practice, token, signed=signed)).error == "invalid_dpop_proof"


async def test_a_proof_is_good_once_at_both_servers(start: Start) -> None:
    async with start(dpop="required", client_secret=None) as practice:
        url = practice.provider.token_url
        signed = proof(KEY, "POST", url, NOW)
        token = (await exchange(practice, KEY, signed)).json["access_token"]
        assert (await exchange(practice, KEY, signed)).error == "invalid_dpop_proof"
        signed = proof(KEY, "GET", practice.provider.api_url + "/me", NOW, ath=ath(token))
        statuses = [(await call(practice, token, signed=signed)).status for _ in range(2)]
        assert statuses == [200, 401]


@pytest.mark.parametrize("value", [None, "", "x", ath("another token")])
async def test_a_proof_at_the_api_is_for_its_token(start: Start, value: str | None) -> None:
    async with start(dpop="required", client_secret=None) as practice:
        token = (await exchange(practice, KEY)).json["access_token"]
        reply = await call(practice, token, ath=value)
        assert (reply.status, reply.error) == (401, "invalid_dpop_proof")
        challenge = reply.headers["WWW-Authenticate"]
        assert challenge.startswith("DPoP realm=")
        assert 'algs="' in challenge


async def test_two_proofs_are_one_too_many(start: Start) -> None:
    async with start(dpop="required", client_secret=None) as practice:
        url = practice.provider.token_url
        headers = [("DPoP", proof(KEY, "POST", url, NOW)) for _ in range(2)]
        form = {"client_id": "practice-client", "grant_type": "refresh_token"}
        async with practice.http.post(url, data=form, headers=headers) as reply:
            assert (await reply.json())["error"] == "invalid_dpop_proof"


async def test_both_servers_demand_nonces_and_send_the_latest(start: Start) -> None:
    async with start(dpop="required", dpop_nonces=True, client_secret=None) as practice:
        refused = await exchange(practice, KEY)
        assert (refused.status, refused.error) == (400, "use_dpop_nonce")
        nonce = refused.headers["DPoP-Nonce"]
        url = practice.provider.token_url
        token = (await exchange(practice, KEY, proof(KEY, "POST", url, NOW, nonce=nonce))).json["access_token"]
        assert (await call(practice, token, nonce=nonce)).status == 200
        practice.provider.demand_dpop_nonces("api")
        refused = await call(practice, token, nonce=nonce)
        assert (refused.status, refused.error) == (401, "use_dpop_nonce")
        assert 'error="use_dpop_nonce"' in refused.headers["WWW-Authenticate"]
        assert refused.headers["DPoP-Nonce"] != nonce
        good = await call(practice, token, nonce=refused.headers["DPoP-Nonce"])
        assert good.status == 200
        assert good.headers["DPoP-Nonce"] == refused.headers["DPoP-Nonce"]


@pytest.mark.parametrize("places", [("token",), ("api",), ()])
async def test_a_nonce_is_demanded_on_demand(start: Start, places: tuple[str, ...]) -> None:
    async with start(dpop="allowed", client_secret=None) as practice:
        token = (await exchange(practice, KEY)).json["access_token"]
        practice.provider.demand_dpop_nonces(*places)
        api = (await call(practice, token)).status
        endpoint = (await exchange(practice, KEY)).status
        assert (api == 401) is (places != ("token",))
        assert (endpoint == 400) is (places != ("api",))


async def test_introspection_names_the_key(start: Start) -> None:
    async with start(dpop="allowed", grant_types=GRANT_TYPES) as practice:
        url = practice.provider.token_url
        proofs = {"DPoP": proof(KEY, "POST", url, NOW)}
        reply = await practice.ask(url, proofs, grant_type="client_credentials")
        described = await practice.ask(practice.provider.origin + "/introspect", token=reply.json["access_token"])
        assert described.json["token_type"] == "DPoP"
        assert described.json["cnf"] == {"jkt": KEY.thumbprint}
