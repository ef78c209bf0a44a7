"""Signed tokens: ours hold at another library, and nothing else is believed than what the caller names."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI.errors import ConfigError, IdentityError, MissingExtraError
from SlyAPI.oauth2.messages import jose
from SlyAPI.oauth2.messages.jose import load_signing_key, new_key, signed_jwt, thumbprint
from SlyAPI.oauth2.messages.signed_tokens import read_jwt

ALGS = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]
KEYS = {alg: new_key(alg) for alg in ALGS}
CLAIMS = {"sub": "robin", "n": 1}


def public(alg: str, **more: Any) -> dict[str, Any]:
    found = load_signing_key(KEYS[alg], alg=alg).public
    assert found is not None
    return {**found, **more}


@pytest.mark.parametrize("alg", ALGS)
async def test_a_token_of_ours_holds_at_another_library_and_here(alg: str) -> None:
    token = await signed_jwt(CLAIMS, load_signing_key(KEYS[alg], alg=alg, key_id="one"), {"typ": "JWT"})
    theirs = jwt.decode(token, jwt.PyJWK(public(alg), algorithm=alg).key, algorithms=[alg])
    assert theirs == CLAIMS
    read = read_jwt(token, [public(alg)], [alg])
    assert (read.claims, read.header["kid"]) == (CLAIMS, "one")


@pytest.mark.parametrize("alg", ALGS)
def test_a_token_of_another_library_holds_here(alg: str) -> None:
    token = jwt.encode(CLAIMS, jwt.PyJWK(dict(KEYS[alg]), algorithm=alg).key, alg)
    assert read_jwt(token, [public(alg)], [alg]).claims == CLAIMS


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def es256(**header: Any) -> str:
    return jwt.encode(CLAIMS, jwt.PyJWK(dict(KEYS["ES256"]), algorithm="ES256").key, "ES256", headers=header)


GOOD = es256()
HEAD, BODY, SIGNATURE = GOOD.split(".")
REFUSED = {
    "no signature": f"{part({'alg': 'none'})}.{BODY}.",
    "none with a signature": f"{part({'alg': 'none'})}.{BODY}.{SIGNATURE}",
    "None": f"{part({'alg': 'None'})}.{BODY}.",
    "the public key as a secret": jwt.encode(CLAIMS, public("ES256")["x"], "HS256"),
    "an algorithm that was not named": jwt.encode(
        CLAIMS, jwt.PyJWK(dict(KEYS["RS256"]), algorithm="RS256").key, "RS256"
    ),
    "another body": f"{HEAD}.{part({**CLAIMS, 'sub': 'eve'})}.{SIGNATURE}",
    "another header": f"{part({'alg': 'ES256', 'typ': 'x'})}.{BODY}.{SIGNATURE}",
    "a cut signature": GOOD[:-4],
    "an empty signature": f"{HEAD}.{BODY}.",
    "another kid": es256(kid="two"),
    "a key in the header": es256(jwk=public("ES256"), kid="two"),
    "critical extensions": es256(crit=["b64"], b64=False),
    "five parts": f"{GOOD}.a.b",
    "two parts": f"{HEAD}.{BODY}",
    "not JSON": f"{base64.urlsafe_b64encode(b'{').decode()}.{BODY}.{SIGNATURE}",
    "no alg": f"{part({})}.{BODY}.{SIGNATURE}",
    "alg of another kind": f"{part({'alg': 5})}.{BODY}.{SIGNATURE}",
    "alg in a list": f"{part({'alg': ['ES256']})}.{BODY}.{SIGNATURE}",
    "empty": "",
    "too long": f"{HEAD}.{'A' * 70_000}.{SIGNATURE}",
    "not ASCII": GOOD + "é",
    "claims in a list": jwt.PyJWS().encode(b"[1]", jwt.PyJWK(dict(KEYS["ES256"]), algorithm="ES256").key, "ES256"),
}


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED)
def test_what_is_not_signed_as_named_is_refused(token: str) -> None:
    with pytest.raises(IdentityError) as caught:
        read_jwt(token, [public("ES256", kid="one"), public("RS256", kid="three")], ["ES256"])
    assert not token or token not in str(caught.value)


def test_a_header_with_certificates_is_read() -> None:
    assert read_jwt(es256(x5c=["A" * 2000]), [public("ES256")], ["ES256"]).claims == CLAIMS


BAD_KEYS: list[dict[str, object]] = [{}, {"kty": "EC"}, {"kty": "x"}, {"kty": "RSA", "n": "x", "e": "y"}, {"kty": 5}]
CURVES: list[object] = ["brainpoolP256r1", "", None, 5, [], "é"]
COORDINATES: list[object] = [None, 5, "", "é", [], "AQ"]


@pytest.mark.parametrize(
    "key",
    [
        *BAD_KEYS,
        *({"kty": "EC", "crv": curve, "x": "AQ", "y": "AQ"} for curve in CURVES),
        *({"kty": "EC", "crv": "P-256", "x": part, "y": "AQ"} for part in COORDINATES),
    ],
    ids=str,
)
def test_a_published_key_that_cannot_be_used_is_passed_over(key: dict[str, Any]) -> None:
    assert read_jwt(GOOD, [key, public("ES256")], ["ES256"]).claims == CLAIMS
    with pytest.raises(IdentityError):
        read_jwt(GOOD, [key], ["ES256"])


ABSENT = [{name: value} for name in ("kid", "use", "alg", "x5c", "key_ops") for value in (None, "")]
FURTHER = [{"key_ops": ["verify", "sign", "of-tomorrow"]}, {"key_ops": ["of-tomorrow"]}, {"key_ops": []}]


@pytest.mark.parametrize("members", [*ABSENT, *FURTHER, {"use": "sig", "key_ops": ["verify", "x"]}], ids=str)
def test_what_a_key_leaves_empty_or_we_do_not_know_does_not_refuse_it(members: dict[str, Any]) -> None:
    for header in ({}, {"kid": "7"}, {"kid": ""}):
        assert read_jwt(es256(**header), [{**public("ES256"), **members}], ["ES256"]).claims == CLAIMS
    ops = {"key_ops": ["sign", "x"]} if members.get("use") == "sig" else {}
    assert load_signing_key({**KEYS["ES256"], **members, **ops}).alg == "ES256"


@pytest.mark.parametrize("members", [{"key_ops": ["sign"]}, {"use": "enc"}, {"key_ops": ["encrypt", "x"]}], ids=str)
def test_a_key_for_something_else_does_not_verify(members: dict[str, Any]) -> None:
    with pytest.raises(IdentityError):
        read_jwt(GOOD, [public("ES256", **members)], ["ES256"])


@given(st.text() | st.binary().map(lambda raw: f"{HEAD}.{base64.urlsafe_b64encode(raw).decode()}.{SIGNATURE}"))
def test_any_text_is_claims_or_our_error(token: str) -> None:
    with suppress(IdentityError):
        read_jwt(token, [public("ES256")], ["ES256"])


def test_the_thumbprint_is_that_of_rfc_7638_section_3_1() -> None:
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
        "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA"
        "ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
        "kEgU8awapJzKnqDKgw"
    )
    key = {"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert thumbprint(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize("signature", [b"", b"\x30", b"x" * 63, b"\x30\x06\x02\x01\x01\x02\x01\x01\x00"])
async def test_what_a_callable_gives_in_place_of_a_signature_is_an_error(signature: bytes) -> None:
    key = load_signing_key(lambda data: signature, alg="ES256")
    with pytest.raises(ConfigError):
        await signed_jwt(CLAIMS, key)


def test_a_key_prints_nothing_of_itself() -> None:
    key = load_signing_key(KEYS["ES256"])
    assert KEYS["ES256"]["d"] not in repr(key) + repr(KEYS["ES256"])


def test_without_the_package_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("joserfc.jwk", "joserfc.jws", "joserfc.errors", "joserfc"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match="pip install joserfc"):
        jose.load_signing_key(KEYS["ES256"])
