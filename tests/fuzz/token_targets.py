"""What the readers of signed tokens, of an issuer's keys, and of claims promise, as functions of any bytes.

The rule: nobody but the holder of the key makes a token that is accepted, and no claims are taken that are another's.
"""
from __future__ import annotations

import json
from typing import Any

from SlyAPI.errors import SlyError
from SlyAPI.oauth2.client.issuer_keys import read_keys
from SlyAPI.oauth2.messages.identity import Identity, read_id_token, read_logout_token, read_userinfo
from SlyAPI.oauth2.messages.jose import ASYMMETRIC
from SlyAPI.oauth2.messages.signed_tokens import Jwt, read_jws, read_jwt
from SlyAPI.web import Reply
from tests.fuzz.promise import NOW, PLANTED, Target, as_json, check_error, json_of
from tests.support.issuer import Issuer, jwk_of, private_key
from tests.support.signed_messages import as_json as in_json
from tests.support.signed_messages import good, published

ALGS = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "HS256")
SIGNED = {alg: good(alg) for alg in ALGS}
ES256 = SIGNED["ES256"]
KEYS = [published(alg) for alg in ALGS]


# --- a signed token ---


def check_token(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for accepted in (ALGS, ("ES256",)):
        try:
            read_jws(text, KEYS, accepted)
        except SlyError as error:
            check_error(error, PLANTED)
        else:
            assert text in SIGNED.values(), "a forgery is accepted"


TOKENS = [*SIGNED.values(), in_json(ES256), f"{ES256}.AAAA.AAAA", ES256.partition(".")[0] + "..", PLANTED]


# --- the keys that an issuer publishes ---


def check_keys(data: bytes) -> None:
    try:
        keys = read_keys(Reply(200, {}, data, "https://issuer.example/jwks"))
        read_jwt(ES256, keys, ASYMMETRIC)
    except SlyError as error:
        check_error(error, PLANTED)
    else:
        mine = {name: KEYS[2][name] for name in ("kty", "crv", "x", "y")}
        assert any(mine.items() <= key.items() for key in keys), "another key verifies"


KEY_SETS: list[object] = [
    {"keys": KEYS},
    {"keys": [KEYS[2] | {"use": None, "key_ops": ["verify"], "x5c": [PLANTED]}]},
    {"keys": [jwk_of(private_key("ES256"), whole=True), {"kty": "oct", "k": PLANTED}, {}, None, 1]},
    [KEYS[0] | {"n": "A" * 400, "e": "AQ"}, KEYS[2] | {"crv": "P-521"}, {"kty": PLANTED}],
]


# --- claims whose signature holds ---

ISSUER = Issuer(origin="https://issuer.example")
TERMS: dict[str, Any] = {"issuer": ISSUER.origin, "client_id": "client"}
EVENT: dict[str, object] = {"http://schemas.openid.net/event/backchannel-logout": {}}


def check_claims(data: bytes) -> None:
    claims = json_of(data)
    if not isinstance(claims, dict):
        return
    token = Jwt({"alg": "RS256"}, claims)
    try:
        who = read_id_token(token, **TERMS, now=NOW, nonce="n", access_token=ISSUER.access_token, max_age=60)
    except SlyError as error:
        check_error(error, PLANTED)
    else:
        assert (claims["iss"], claims["sub"], claims["nonce"]) == (ISSUER.origin, who.subject, "n")
        kept = json.loads(json.dumps(who.to_dict()))
        assert Identity.from_dict(kept) == who
    try:
        logout = read_logout_token(token, **TERMS, now=NOW)
    except SlyError as error:
        check_error(error, PLANTED)
    else:
        assert logout.issuer == ISSUER.origin
        assert logout.subject or logout.session_id
    try:
        read_userinfo(token, **TERMS)
    except SlyError as error:
        check_error(error, PLANTED)


CLAIMS: list[object] = [
    ISSUER.claims() | {"name": PLANTED},
    ISSUER.claims(aud=["client", "other"], azp="client", nbf=NOW - 1, auth_time=NOW - 59.5),
    ISSUER.claims(None) | {"jti": "j", "sid": "s", "events": EVENT},
    ISSUER.claims(iss=PLANTED, sub=PLANTED, aud=PLANTED, at_hash=PLANTED),
]

TOKEN_TARGETS = {
    "token": Target(check_token, [text.encode() for text in TOKENS]),
    "keys": Target(check_keys, as_json(KEY_SETS)),
    "claims": Target(check_claims, as_json(CLAIMS)),
}
