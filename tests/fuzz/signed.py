"""The readers of signed tokens and of published keys: id_token, userinfo, logout token, JWKS, service account.

The rule is that of `promise`. Tokens are signed here by a secret of the client's, so that the fuzzer gets beyond the
signature; what is not signed is never believed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from base64 import urlsafe_b64encode
from contextlib import suppress
from typing import Any

from SlyAPI.errors import IdentityError, SlyError
from SlyAPI.oauth2 import OAuth2User, ServiceAccount
from SlyAPI.oauth2.client.issuer_keys import LONGEST, SHORTEST, kept_for, read_keys
from SlyAPI.oauth2.client.login import FinishedLogins
from SlyAPI.oauth2.messages.identity import Identity, read_id_token, read_logout_token, read_userinfo
from SlyAPI.oauth2.messages.jose import ASYMMETRIC, library
from SlyAPI.oauth2.messages.signed_tokens import Jwt, read_jwt, secret_jwk, unverified
from tests.fuzz.promise import NOW, PLANTED, Target, as_json, as_replies, check_error, json_of, reply_of

library()
KEY = "a-secret-of-the-client-with-32-bytes"
ISSUER = "https://provider.example"
CLIENT = "some-id"
PRIVATE_JWK = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}
"""The example of RFC 7515 appendix A.3."""
ES256_TOKEN = (
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl"
    "fQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)


def base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: bytes, claims: bytes) -> str:
    """A token in compact form with this header, whatever it says, signed by HS256."""
    signing_input = f"{base64url(header)}.{base64url(claims)}"
    return f"{signing_input}.{base64url(hmac.digest(KEY.encode(), signing_input.encode(), hashlib.sha256))}"


# --- what is in a token whose signature holds: a line for the header, then the claims ---

PREVIOUS = Identity(ISSUER, "person", {"nonce": "n"})


def check_signed(data: bytes) -> None:
    header, _, claims = data.partition(b"\n")
    try:
        token = read_jwt(signed(header, claims), [secret_jwk(KEY)], ("HS256",))
    except IdentityError as error:
        return check_error(error, KEY)
    assert token.header["alg"] == "HS256"
    assert token.claims == json.loads(claims)
    for more in ({}, {"nonce": "n", "access_token": PLANTED}, {"max_age": 60.0}, {"previous": PREVIOUS}):
        check_identity(token, more)
    for issuer in (ISSUER, "https://{tenantid}.example/v2"):
        with suppress(IdentityError):
            read_userinfo(token, issuer=issuer, client_id=CLIENT, template_claim="tid")
        try:
            logout = read_logout_token(token, issuer=issuer, client_id=CLIENT, now=NOW, template_claim="tid")
        except IdentityError as error:
            check_error(error)
        else:
            assert logout.subject or logout.session_id
            name = f"{logout.issuer} {logout.claims['jti']}"
            assert FinishedLogins().ends(name, NOW + 240, NOW)


def check_identity(token: Jwt, more: Any) -> None:
    try:
        identity = read_id_token(token, issuer=ISSUER, client_id=CLIENT, now=NOW, **more)
    except IdentityError as error:
        return check_error(error, PLANTED)
    assert (identity.issuer, identity.subject) == (token.claims["iss"], token.claims["sub"])
    user = OAuth2User("a-token", identity=identity)
    saved = json.dumps(user.to_dict())
    again = OAuth2User.from_json_obj(json.loads(saved)).identity
    assert again == identity
    assert again is not None
    assert again.authenticated_at == identity.authenticated_at


HEADER = b'{"alg":"HS256","typ":"JWT"}'
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"
CLAIMS: dict[str, object] = {"iss": ISSUER, "aud": CLIENT, "sub": "person", "iat": NOW, "exp": NOW + 600, "nonce": "n"}
CLAIM_SETS: list[object] = [
    CLAIMS | {"auth_time": NOW - 5, "at_hash": base64url(hashlib.sha256(PLANTED.encode()).digest()[:16])},
    CLAIMS | {"aud": [CLIENT, "other"], "azp": CLIENT, "nbf": NOW, "at_hash": "\ud800"},
    CLAIMS | {"nonce": "\ud800", "auth_time": 1e300, "tid": "a-tenant", "iss": "https://a-tenant.example/v2"},
    CLAIMS | {"exp": math.inf, "sub": "\ud800"},
    {"iss": ISSUER, "aud": [CLIENT], "iat": NOW, "jti": "1", "sid": "s", "events": {LOGOUT: {}}},
    {"iss": ISSUER, "aud": CLIENT, "iat": NOW, "jti": "\ud800", "sub": "person", "events": {LOGOUT: {}}},
    [CLAIMS],
]
SIGNED = [HEADER + b"\n" + claims for claims in as_json(CLAIM_SETS)]
SIGNED += [head + SIGNED[0][len(HEADER) :] for head in (b'{"alg":"none"}', b'{"alg":"HS256","crit":["b64"]}', b"[1]")]


# --- what is in the place of a token ---


def check_token(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    keys: list[dict[str, Any]] = [secret_jwk(KEY), {**PRIVATE_JWK}, PUBLIC_JWK, {"kty": "EC"}]
    for algs in (("HS256",), ASYMMETRIC):
        try:
            token = read_jwt(text, keys, algs)
        except IdentityError as error:
            check_error(error, KEY)
        else:
            assert token.header["alg"] in algs
    with suppress(IdentityError):
        unverified(text)


PUBLIC_JWK = {name: value for name, value in PRIVATE_JWK.items() if name != "d"}
TEXTS = [signed(HEADER, b'{"sub":"x"}'), ES256_TOKEN, "a.b.c", "a.b.c.d.e", f"{base64url(b'[1]')}.e30.", "." * 300]


# --- an issuer's keys: a line for each of three headers, then the reply ---


def check_keys(data: bytes) -> None:
    control, age, expires, body = [*data.split(b"\n", 3), b"", b"", b"", b""][:4]
    names = {"Cache-Control": control, "Age": age, "Expires": expires, "Date": b"Wed, 21 Oct 2026 07:28:00 GMT"}
    headers = {name: value.decode("utf-8", "surrogateescape") for name, value in names.items()}
    assert SHORTEST <= kept_for(headers) <= LONGEST
    try:
        keys = read_keys(reply_of(body, headers))
    except SlyError as error:
        return check_error(error)  # the request holds no secret
    assert len(keys) <= 500
    for alg, text in (("ES256", ES256_TOKEN), ("RS256", UNKNOWN)):
        try:
            read_jwt(text, keys, (alg,))
        except IdentityError as error:
            check_error(error)


UNKNOWN = f"{base64url(b'{}')[:-3]}{base64url(json.dumps({'alg': 'RS256', 'kid': '1'}).encode())}.e30.c2ln"
KEY_SETS: list[object] = [
    {"keys": [PUBLIC_JWK | {"kid": "1", "use": "sig", "alg": "ES256"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}, None]},
    {"keys": [{"kty": "RSA", "kid": "1", "n": "w" * 342, "e": "AQAB", "key_ops": ["verify"], "x5c": ["a"]}]},
    {"keys": [{"kty": ["RSA"], "kid": {"a": 1}}, {"kty": "OKP", "crv": "X25519", "x": "a"}, {"kty": "oct", "k": ""}]},
    [PRIVATE_JWK, PUBLIC_JWK | {"x": 1}],
    {"keys": {"a": 1}},
]
CACHES = [b"max-age=600\n5\n\n", b"no-store\n\nWed, 21 Oct 2026 08:28:00 GMT\n", b'max-age="9999999999"\n-1\n0\n']


# --- a service account's key file ---


def check_account(data: bytes) -> None:
    try:
        account = ServiceAccount.from_json_obj(json_of(data))
    except SlyError as error:
        return check_error(error, PLANTED)
    assert account.token_uri.casefold().startswith(("https://", "http://"))
    assert PLANTED not in repr(account) or account.client_email == PLANTED


ACCOUNT = {
    "type": "service_account",
    "client_email": "a@p.example",
    "private_key": f"-----BEGIN PRIVATE KEY-----\\n{PLANTED}",
    "token_uri": f"{ISSUER}/t",
}
ACCOUNTS: list[object] = [
    ACCOUNT | {"client_id": "1", "private_key_id": "2", "auth_uri": f"{ISSUER}/a"},
    ACCOUNT | {"private_key": [PLANTED], "client_id": 1},
    ACCOUNT | {"type": "authorized_user"},
    [ACCOUNT],
]


TARGETS = {
    "signed": Target(check_signed, SIGNED),
    "compact": Target(check_token, [text.encode() for text in TEXTS]),
    "key_set": Target(check_keys, [cache + reply for cache in CACHES for reply in as_replies(KEY_SETS)]),
    "account": Target(check_account, as_json(ACCOUNTS)),
}
