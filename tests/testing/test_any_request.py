"""Any request at all gets an answer: never an internal error, and never a token."""
from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from SlyAPI.testing import GRANT_TYPES
from tests.testing.signing import ClientKey, assertion, proof

if TYPE_CHECKING:
    from .conftest import Practice, Start

FORM = "application/x-www-form-urlencoded"
KEY = ClientKey()
ENDPOINTS = [
    "/authorize",
    "/consent",
    "/par",
    "/token",
    "/revoke",
    "/introspect",
    "/device_authorization",
    "/device",
    "/register",
    "/register/practice-client",
    "/userinfo",
    "/logout",
    "/api/me",
    "/api/vault",
]
NAMES = re.findall(
    r"\w+",
    """grant_type code redirect_uri code_verifier refresh_token scope client_id client_secret assertion client_assertion
    client_assertion_type subject_token subject_token_type actor_token actor_token_type audience resource state nonce
    requested_token_type device_code user_code decision person token id_token_hint post_logout_redirect_uri request
    request_uri prompt max_age acr_values dpop_jkt response_type code_challenge code_challenge_method ticket
    access_token""",
)
MEMBERS = re.findall(
    r"\w+",
    """redirect_uris grant_types response_types token_endpoint_auth_method jwks jwks_uri scope client_name contacts
    application_type client_uri client_id token_endpoint_auth_signing_alg id_token_signed_response_alg
    post_logout_redirect_uris backchannel_logout_uri dpop_bound_access_tokens""",
)
WORDS = [
    *GRANT_TYPES,
    *(f"urn:ietf:params:oauth:token-type:{kind}" for kind in ("access_token", "refresh_token", "id_token", "id-jag")),
    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    "urn:ietf:params:oauth:request_uri:x",
    *("practice-client", "http://localhost:8080/back", "code", "S256", "v" * 43, "notes", "openid", "allow", "none"),
    *("", " ", "\x00", "\ud7ff", "é", "x.y.z", "e30.e30.", "eyJhbGciOiJub25lIn0.e30.", "..", "9" * 400, "["),
    *("http://[", "%", "https://[::1", "http://127.0.0.1:99999/", "-1", "1e9", "a" * 3000),
]


def any_pairs(chance: random.Random, signed: list[str]) -> list[tuple[str, str]]:
    values = [*WORDS, *signed]
    return [(chance.choice(NAMES), chance.choice(values)) for _ in range(chance.randrange(12))]


def any_json(chance: random.Random) -> str:
    values = ["[]", "{}", "null", "1", "true", '"x"', '["x"]', "[null]", '{"keys": [1]}']
    values.append('{"keys": [{"kty": "EC"}]}')
    members = [f'"{chance.choice(MEMBERS)}": {chance.choice(values)}' for _ in range(chance.randrange(6))]
    return "{" + ", ".join(members) + "}"


def any_headers(chance: random.Random, practice: Practice, url: str) -> dict[str, str]:
    proofs = ["x", "e30.e30.x", proof(KEY, "POST", url, practice.clock()), proof(KEY, "GET", url, practice.clock())]
    schemes = ["Basic Og==", "Basic cHJhY3RpY2UtY2xpZW50Og==", "Bearer x", "DPoP x", "DPoP", "", "Odd a=b, c"]
    headers = {"DPoP": chance.choice(proofs), "Authorization": chance.choice(schemes), "Origin": "null"}
    return {name: value for name, value in headers.items() if chance.random() < 0.4}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_any_request_is_answered(start: Start, endpoint: str) -> None:
    chance = random.Random(endpoint)
    everything: dict[str, Any] = {
        "grant_types": GRANT_TYPES,
        "registration": True,
        "client_metadata_documents": True,
        "dpop": "allowed",
        "openid": True,
        "signing_algs": ["ES256"],
        "resource_metadata": "challenge",
        "client_metadata": {"token_endpoint_auth_method": "private_key_jwt", "jwks": KEY.jwks},
    }
    async with start(**everything, consent="ask") as practice:
        url = practice.provider.origin + endpoint
        for _ in range(50):
            odd = KEY.sign({"iss": "", "sub": {}, "exp": "x", "aud": [[]], "sid": {}})
            signed = [assertion(KEY, "practice-client", url, practice.clock()), odd]
            query = urlencode(any_pairs(chance, signed), errors="replace")
            content_type = chance.choice([FORM, "application/json"])
            body = any_json(chance) if content_type != FORM else urlencode(any_pairs(chance, signed), errors="replace")
            method = chance.choice(["GET", "POST", "PUT", "DELETE"])
            reply = await practice.send(
                method,
                f"{url}?{query}" if method == "GET" or chance.random() < 0.1 else url,
                body if method in ("POST", "PUT") else None,
                Content_Type=content_type,
                **any_headers(chance, practice, url),
            )
            assert reply.status < 500, (method, query, body)
            assert "refresh_token" not in reply.text or reply.status >= 400, (method, query, body)
