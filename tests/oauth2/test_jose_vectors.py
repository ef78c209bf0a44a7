"""Signed tokens and keys: the vectors of the RFCs, keys of every kind, and keys that are elsewhere."""
from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from SlyAPI.errors import ConfigError, IdentityError
from SlyAPI.oauth2.messages.dpop import access_token_hash, target_uri
from SlyAPI.oauth2.messages.jose import ASYMMETRIC, load_signing_key, new_key, signed_jwt, thumbprint
from SlyAPI.oauth2.messages.signed_tokens import read_jwt
from tests.support.issuer import jwk_of, private_key

# RFC 7515 Appendix A
PAYLOAD = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
A1 = f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
A1_KEY = {
    "kty": "oct",
    "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
}
A2 = (
    f"eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}."
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1"
    "dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwu"
    "sC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)
A2_KEY = {
    "kty": "RSA",
    "e": "AQAB",
    "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT"
    "-SFd2lZS-pC"
    "gNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsm"
    "tdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
}
A3 = (
    f"eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
A3_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
A5 = f"eyJhbGciOiJub25lIn0.{PAYLOAD}."
# RFC 8037 Appendix A
OKP = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
OKP_PRIVATE = {**OKP, "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}
# RFC 7638 §3.1
RFC_7638 = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZ"
    "CiFV4n3okn"
    "jhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5"
    "hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}
# RFC 9449 §4.1 and §6.1
PROOF = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQy"
    "VVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19."
    "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0Ijox"
    "NTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
)
PROOF_KEY = {
    "kty": "EC",
    "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
    "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
    "crv": "P-256",
}


@pytest.mark.parametrize(("token", "key", "alg"), [(A1, A1_KEY, "HS256"), (A2, A2_KEY, "RS256"), (A3, A3_KEY, "ES256")])
def test_the_examples_of_rfc_7515_appendix_a_verify(token: str, key: dict[str, str], alg: str) -> None:
    claims = read_jwt(token, [key], [alg]).claims
    assert claims == {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}
    for others in [[name for name in (*ASYMMETRIC, "HS256") if name != alg], []]:
        with pytest.raises(IdentityError):
            read_jwt(token, [A1_KEY, A2_KEY, A3_KEY], others)


@pytest.mark.parametrize("algs", [["none"], ["RS256"], [*ASYMMETRIC, "HS256", "none"]])
def test_the_unsecured_example_of_rfc_7515_appendix_a_5_is_refused(algs: list[str]) -> None:
    with pytest.raises(IdentityError):
        read_jwt(A5, [A1_KEY, A2_KEY, A3_KEY], algs)


async def test_the_signature_of_rfc_8037_appendix_a_4_is_made() -> None:
    made = load_signing_key(OKP_PRIVATE).sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc")
    assert isinstance(made, bytes)
    assert base64.urlsafe_b64encode(made).rstrip(b"=") == (
        b"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (RFC_7638, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        (OKP_PRIVATE, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        (PROOF_KEY, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"),
    ],
)
def test_thumbprints_are_those_of_rfc_7638_rfc_8037_and_rfc_9449(key: dict[str, str], expected: str) -> None:
    assert thumbprint(key) == expected


def test_the_proof_of_rfc_9449_verifies_and_its_hash_is_the_one_there() -> None:
    token = read_jwt(PROOF, [PROOF_KEY], ["ES256"])
    assert token.header["jwk"] == PROOF_KEY
    assert token.claims["htu"] == target_uri("https://server.example.com/token?a=b#c")
    assert access_token_hash("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU") == (
        "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
    )


# --- keys to sign with ---

KINDS: dict[str, Callable[[], Any]] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def pem_of(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


async def verified_by_pyjwt(key: Any, given: Any, alg: str, *, named: bool = False) -> dict[str, Any]:
    loaded = load_signing_key(given, alg=alg if named else None, key_id="k")
    token = await signed_jwt({"sub": "größe"}, loaded, {"typ": "JWT"})
    assert jwt.get_unverified_header(token)["kid"] == "k"
    assert jwt.get_unverified_header(token)["alg"] == alg
    return dict(jwt.decode(token, key.public_key(), [alg]))


@pytest.mark.parametrize("alg", KINDS)
@pytest.mark.parametrize("form", ["path", "Path", "text", "bytes", "jwk", "jwk file"])
async def test_a_key_may_be_given_in_every_form(tmp_path: Path, alg: str, form: str) -> None:
    key = KINDS[alg]()
    pem, jwk = pem_of(key), jwk_of(key, whole=True)
    (tmp_path / "key.pem").write_bytes(pem)
    (tmp_path / "key.json").write_text(json.dumps(jwk))
    given: dict[str, Any] = {
        "path": str(tmp_path / "key.pem"),
        "Path": tmp_path / "key.pem",
        "text": pem.decode(),
        "bytes": pem,
        "jwk": jwk,
        "jwk file": tmp_path / "key.json",
    }
    assert await verified_by_pyjwt(key, given[form], alg) == {"sub": "größe"}


async def test_ps256_is_signed_where_it_is_named() -> None:
    key = KINDS["RS256"]()
    assert await verified_by_pyjwt(key, pem_of(key), "PS256", named=True)


@pytest.mark.parametrize("alg", ["ES256", "ES384"])
@pytest.mark.parametrize("form", ["der", "raw"])
@pytest.mark.parametrize("waits", [True, False])
async def test_a_key_that_is_elsewhere_signs_by_a_callable(alg: str, form: str, waits: bool) -> None:
    key = KINDS[alg]()
    size = key.key_size // 8
    by = ec.ECDSA(SHA256() if alg == "ES256" else SHA384())

    def sign(data: bytes) -> bytes:
        der = bytes(key.sign(data, by))
        return der if form == "der" else b"".join(part.to_bytes(size, "big") for part in decode_dss_signature(der))

    async def sign_later(data: bytes) -> bytes:
        return sign(data)

    assert await verified_by_pyjwt(key, sign_later if waits else sign, alg, named=True)


def test_a_callable_needs_its_algorithm() -> None:
    with pytest.raises(ConfigError, match="key_alg"):
        load_signing_key(lambda data: data)


async def test_a_callable_that_gives_something_else_is_named() -> None:
    with pytest.raises(ConfigError):
        await signed_jwt({}, load_signing_key(lambda _: b"no signature", alg="ES256"))


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"secret-5EC9E7",
        "-----BEGIN PRIVATE KEY-----\nsecret-5EC9E7\n-----END PRIVATE KEY-----",
        {"kty": "EC", "d": "secret-5EC9E7"},
        {"kty": "secret-5EC9E7"},
        {"kty": "EC", "crv": "secret-5EC9E7", "x": "AQ", "y": "AQ", "d": "secret-5EC9E7"},
        {"kty": "OKP", "crv": "secret-5EC9E7", "x": "AQ", "d": "secret-5EC9E7"},
        {},
        "/no/such/file.pem",
        "\0",
        pem_of(ec.generate_private_key(ec.SECP521R1())),
    ],
    ids=range(11),
)
def test_what_is_not_a_key_is_named_and_not_shown(given: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        load_signing_key(given)
    assert "5EC9E7" not in str(refused.value)
    assert refused.value.__context__ is None


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_a_public_key_or_one_of_another_kind_cannot_sign(alg: str) -> None:
    key = private_key("ES256")
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ConfigError):
        load_signing_key(public if alg == "ES256" else pem_of(key), alg=alg)


@pytest.mark.parametrize("alg", ["none", "HS512", "ES256K", ""])
def test_an_algorithm_that_is_not_ours_is_refused(alg: str) -> None:
    with pytest.raises(ConfigError):
        load_signing_key(pem_of(private_key("ES256")), alg=alg)


@pytest.mark.parametrize("alg", ["RS512", "RSA-OAEP", "ES256K", "none", "x"])
@pytest.mark.parametrize("kind", ["RS256", "ES256", "EdDSA"])
def test_a_key_whose_own_algorithm_is_not_ours_is_refused(alg: str, kind: str) -> None:
    jwk = jwk_of(private_key(kind), whole=True, alg=alg)
    with pytest.raises(ConfigError):
        load_signing_key(jwk)


@pytest.mark.parametrize("alg", ASYMMETRIC)
async def test_new_keys_sign_and_print_nothing(alg: str) -> None:
    jwk = new_key(alg)
    assert jwk["d"] not in repr(jwk)
    key = load_signing_key(jwk, alg=alg)
    token = await signed_jwt({"a": 1}, key)
    assert read_jwt(token, [dict(key.public or {})], [alg]).claims == {"a": 1}
    assert jwk["d"] not in repr(key)
