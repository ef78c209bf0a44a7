"""What must be refused of an id_token, a logout token and userinfo: tables of claim, mutation, clause and error.

The rule: each row departs from a token that is accepted. A row that OpenID's conformance suite has a test for bears the
name of that test (`test_conformance_names.py`). Rows are signed by PyJWT.
"""
from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from SlyAPI.errors import IdentityError
from tests.support.issuer import CLIENT_SECRET, NOW, Issuer, Make, b64url, compact, jwk_of, private_key

THIRD = "https://attacker.example"


class Row(NamedTuple):
    """One mutation that must be refused: its name (that of OpenID's suite where it has one), and the clause."""

    name: str
    clause: str
    make: Make
    alg: str = "RS256"
    error: type[Exception] = IdentityError
    wishes: dict[str, Any] = {}


def claim(name: str, clause: str, wishes: dict[str, Any] | None = None, **changes: Any) -> Row:
    def make(issuer: Issuer, claims: dict[str, Any]) -> str:
        changed = {**claims, **{key: value(claims) if callable(value) else value for key, value in changes.items()}}
        return issuer.sign({key: value for key, value in changed.items() if value is not None})

    return Row(name, clause, make, wishes=wishes or {})


def header(name: str, clause: str, **changes: Any) -> Row:
    return Row(name, clause, lambda issuer, claims: issuer.sign(claims, changes))


ISS, AUD, SIG = "Core §3.1.3.7 (2)", "Core §3.1.3.7 (3)", "Core §3.1.3.7 (6)"
CLAIMS = [
    claim("oidcc-client-test-invalid-iss", ISS, iss=THIRD),
    claim("iss-missing", ISS, iss=None),
    claim("iss-with-a-slash", ISS, iss=lambda claims: claims["iss"] + "/"),
    claim("iss-in-a-list", ISS, iss=lambda claims: [claims["iss"]]),
    claim("oidcc-client-test-missing-sub", "Core §2", sub=None),
    claim("sub-empty", "Core §2", sub=""),
    claim("sub-number", "Core §2", sub=7),
    claim("sub-too-long", "Core §2", sub="s" * 256),
    claim("oidcc-client-test-invalid-aud", AUD, aud="other"),
    claim("oidcc-client-test-missing-aud", AUD, aud=None),
    claim("aud-empty-list", AUD, aud=[]),
    claim("aud-number", AUD, aud=7),
    claim("aud-that-contains-us", AUD, aud="client2"),
    claim("aud-several-without-azp", "Core §3.1.3.7 (4)", aud=["client", "other"]),
    claim("aud-several-with-another-azp", "Core §3.1.3.7 (5)", aud=["client", "other"], azp="other"),
    claim("azp-another", "Core §3.1.3.7 (5)", azp="other"),
    claim("exp-missing", "Core §2", exp=None),
    claim("exp-past", "Core §3.1.3.7 (9)", exp=NOW - 61),
    claim("exp-text", "RFC 7519 §4.1.4", exp=str(NOW + 100)),
    claim("exp-true", "RFC 7519 §4.1.4", exp=True),
    claim("exp-nan", "RFC 7519 §4.1.4", exp=float("nan")),
    claim("exp-infinite", "RFC 7519 §4.1.4", exp=float("inf")),
    claim("exp-huge", "RFC 7519 §4.1.4", exp=10**400),
    claim("oidcc-client-test-missing-iat", "Core §2", iat=None),
    claim("iat-future", "Core §3.1.3.7 (10)", iat=NOW + 61),
    claim("nbf-future", "RFC 7519 §4.1.5", nbf=NOW + 61),
    claim("nbf-text", "RFC 7519 §4.1.5", nbf="now"),
    claim("oidcc-client-test-invalid-athash", "Core §3.1.3.8", at_hash="A" * 22),
    claim("at_hash-number", "Core §3.1.3.8", at_hash=1),
    claim("at_hash-surrogate", "Core §3.1.3.8", at_hash="\ud800"),
    claim("auth_time-text", "Core §2", auth_time="yesterday"),
]
OF_A_REFRESH = [
    claim("oidcc-client-test-refresh-token-invalid-sub", "Core §12.2", sub="kim"),
    claim("oidcc-client-test-refresh-token-invalid-issuer", "Core §12.2", iss=THIRD),
    claim("oidcc-client-test-refresh-token-invalid-aud", "Core §12.2", aud="other"),
    claim("oidcc-client-test-refresh-token-invalid-azp", "Core §12.2", azp="other"),
    claim("refresh-nonce-of-another-login", "Core §12.2", nonce="other"),
]
OF_A_LOGIN = [
    claim("oidcc-client-test-nonce-invalid", "Core §3.1.3.7 (11)", nonce="other"),
    claim("nonce-missing", "Core §3.1.3.7 (11)", nonce=None),
    claim("nonce-number", "Core §3.1.3.7 (11)", nonce=7),
    claim("nonce-surrogate", "Core §3.1.3.7 (11)", nonce="\ud800"),
    claim("auth_time-missing-with-max_age", "Core §3.1.2.1", {"max_age": 60}, auth_time=None),
    claim("auth_time-too-old-for-max_age", "Core §3.1.3.7 (13)", {"max_age": 60}, auth_time=NOW - 121),
]
HEADERS = [
    header("alg-missing", "RFC 7515 §4.1.1", alg=None),
    header("alg-in-a-list", "RFC 7515 §4.1.1", alg=["RS256"]),
    header("alg-lower-case", "RFC 7515 §4.1.1", alg="rs256"),
    header("alg-of-another-kind", "RFC 8725 §3.1", alg="PS256"),
    header("kid-unknown", SIG, kid="other"),
    header("kid-number", SIG, kid=0),
    header("crit-unknown", "RFC 7515 §4.1.11", crit=["exp"], exp=NOW),
    header("crit-b64", "RFC 7797 §7", crit=["b64"], b64=False),
    header("b64-without-crit", "RFC 7797 §7", b64=False),
    header("crit-empty", "RFC 7515 §4.1.11", crit=[]),
    header("typ-logout-token", "RFC 8725 §3.11", typ="logout+jwt"),
    header("typ-access-token", "RFC 9068 §2.1", typ="at+jwt"),
    header("typ-dpop-proof", "RFC 9449 §4.2", typ="application/dpop+jwt"),
]


def _unsigned(alg: str, signature: str) -> Make:
    return lambda issuer, claims: compact({"alg": alg, "kid": "k0"}, claims, None, "none") + signature


def _hmac(secret: Callable[[Issuer], bytes]) -> Make:
    def make(issuer: Issuer, claims: dict[str, Any]) -> str:
        unsigned = compact({"alg": "HS256", "kid": "k0"}, claims, None, "none").rstrip(".")
        return f"{unsigned}.{b64url(hmac.digest(secret(issuer), unsigned.encode(), hashlib.sha256))}"

    return make


def _by_stranger(**more: Callable[[Any], Any]) -> Make:
    """A token whose header brings the key that made its signature (RFC 8725 §3.10)."""

    def make(issuer: Issuer, claims: dict[str, Any]) -> str:
        stranger = private_key(issuer.alg, 1)
        return issuer.sign(claims, {name: value(stranger) for name, value in more.items()}, key=stranger)

    return make


def _changed(change: Callable[[str], str]) -> Make:
    return lambda issuer, claims: change(issuer.sign(claims))


def _signature(change: Callable[[bytes], bytes]) -> Make:
    def make(issuer: Issuer, claims: dict[str, Any]) -> str:
        signed, _, signature = issuer.sign(claims).rpartition(".")
        return f"{signed}.{b64url(change(base64.urlsafe_b64decode(signature + '==')))}"

    return make


def _der(raw: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    return encode_dss_signature(*(int.from_bytes(raw[start : start + 32], "big") for start in (0, 32)))


def _pem(issuer: Issuer) -> bytes:
    public = issuer.key.public_key()
    return bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def _other_payload(issuer: Issuer, claims: dict[str, Any]) -> str:
    head, _, signature = issuer.sign(claims).split(".")
    return f"{head}.{b64url(json.dumps({**claims, 'sub': 'admin'}).encode())}.{signature}"


def _published(**changes: Any) -> Make:
    """The right token, while the key is published with changes."""

    def make(issuer: Issuer, claims: dict[str, Any]) -> str:
        issuer.keys = [{**issuer.keys[0], **changes}]
        return issuer.sign(claims)

    return make


def _published_whole(issuer: Issuer, claims: dict[str, Any]) -> str:
    issuer.keys = [jwk_of(issuer.key, whole=True, kid="k0")]
    return issuer.sign(claims)


def _short_key(issuer: Issuer, claims: dict[str, Any]) -> str:
    key = private_key("RS256-short")
    issuer.keys = [jwk_of(key, kid="k0")]
    return issuer.sign(claims, key=key)


def _published_secret(issuer: Issuer, claims: dict[str, Any]) -> str:
    issuer.keys.append({"kty": "oct", "k": b64url(b"s" * 32), "kid": "k1", "alg": "HS256"})
    unsigned = compact({"alg": "HS256", "kid": "k1"}, claims, None, "none").rstrip(".")
    return f"{unsigned}.{b64url(hmac.digest(b's' * 32, unsigned.encode(), hashlib.sha256))}"


def _serialized(issuer: Issuer, claims: dict[str, Any]) -> str:
    head, payload, signature = issuer.sign(claims).split(".")
    return json.dumps({"payload": payload, "protected": head, "signature": signature})


def _of_another_alg(alg: str) -> Make:
    """A good signature of a published key, by an algorithm that the client did not register."""

    def make(issuer: Issuer, claims: dict[str, Any]) -> str:
        issuer.keys.append(jwk_of(private_key(alg), kid="other"))
        return compact({"alg": alg, "kid": "other"}, claims, private_key(alg), alg)

    return make


ZEROS = bytes(64)
TOKENS = [
    Row("oidcc-client-test-idtoken-sig-none", "RFC 8725 §3.2", _unsigned("none", "")),
    *(Row(f"alg-{alg}-signed", "RFC 8725 §3.2", _unsigned(alg, "AAAA")) for alg in ("none", "None", "NONE", "nOnE")),
    Row("oidcc-client-test-invalid-sig-hs256", "RFC 8725 §3.1", _hmac(lambda _: b"wrong")),
    Row("hmac-with-the-public-key", "RFC 8725 §2.1", _hmac(_pem)),
    Row("hmac-with-the-jwk", "RFC 8725 §2.1", _hmac(lambda issuer: json.dumps(issuer.keys[0]).encode())),
    Row("hmac-with-the-modulus", "RFC 8725 §2.1", _hmac(lambda issuer: issuer.keys[0]["n"].encode())),
    Row("hmac-with-the-secret-not-registered", "RFC 8725 §3.1", _hmac(lambda _: CLIENT_SECRET.encode())),
    Row("hmac-with-a-published-secret", "RFC 8725 §2.1", _published_secret),
    *(Row(f"{alg}-not-registered", "RFC 8725 §3.1", _of_another_alg(alg)) for alg in ("ES256", "PS256", "EdDSA")),
    Row("RS512-not-registered", "RFC 8725 §3.1", _of_another_alg("RS512")),
    Row("oidcc-client-test-invalid-sig-rs256", SIG, _signature(lambda raw: bytes([raw[0] ^ 1]) + raw[1:])),
    Row("oidcc-client-test-invalid-sig-es256", SIG, _signature(lambda raw: bytes([raw[0] ^ 1]) + raw[1:]), "ES256"),
    Row("ecdsa-zeros", "CVE-2022-21449", _signature(lambda _: ZEROS), "ES256"),
    Row("ecdsa-der", "RFC 7518 §3.4", _signature(_der), "ES256"),
    Row("ecdsa-short", "RFC 7518 §3.4", _signature(lambda raw: raw[:-1]), "ES256"),
    Row("ecdsa-long", "RFC 7518 §3.4", _signature(lambda raw: raw + b"\0"), "ES256"),
    Row("eddsa-zeros", "RFC 8037 §3.1", _signature(lambda _: ZEROS), "EdDSA"),
    Row("signature-empty", SIG, _signature(lambda _: b"")),
    Row("signature-cut", SIG, _signature(lambda raw: raw[:-1])),
    Row("signature-twice", SIG, _signature(lambda raw: raw + raw)),
    Row("payload-changed", SIG, _other_payload),
    Row("by-a-stranger", SIG, _by_stranger()),
    Row("jwk-of-a-stranger", "RFC 8725 §3.10", _by_stranger(jwk=lambda key: jwk_of(key, kid="k0"))),
    Row("jku-of-a-stranger", "RFC 8725 §3.10", _by_stranger(jku=lambda _: f"{THIRD}/jwks")),
    Row("x5u-of-a-stranger", "RFC 8725 §3.10", _by_stranger(x5u=lambda _: f"{THIRD}/cert")),
    Row("x5c-of-a-stranger", "RFC 8725 §3.10", _by_stranger(x5c=lambda _: ["MIIB" * 1000])),
    Row("key-published-whole", "RFC 7517 §9.2", _published_whole),
    Row("key-of-1024-bits", "RFC 7518 §3.3", _short_key),
    Row("key-for-encryption", "RFC 7517 §4.2", _published(use="enc")),
    Row("key-of-another-alg", "RFC 7517 §4.4", _published(alg="PS256")),
    Row("key-ops-without-verify", "RFC 7517 §4.3", _published(use=None, key_ops=["encrypt"])),
    Row("key-on-another-curve", "RFC 7518 §6.2.1", _published(crv="P-384"), "ES256"),
    Row("key-off-its-curve", "RFC 7518 §6.2.1", _published(x="AA"), "ES256"),
    Row("encrypted", "Core §3.1.3.7 (1)", _changed(lambda token: token + ".AAAA.AAAA")),
    Row("nested", "RFC 7519 §5.2", lambda issuer, claims: issuer.sign(issuer.sign(claims).encode(), {"cty": "JWT"})),
    Row("json-serialization", "RFC 7519 §3", _serialized),
    Row("detached", "RFC 7515 F", _changed(lambda token: "..".join(token.split(".")[::2]))),
    Row("padded", "RFC 7515 §2", _changed(lambda token: token + "=")),
    Row("line-end", "RFC 7515 §2", _changed(lambda token: token + "\n")),
    Row("space-within", "RFC 7515 §2", _changed(lambda token: token.replace(".", ". ", 1))),
    Row("base64-not-of-urls", "RFC 7515 §2", _changed(lambda token: token[:-2] + "+/")),
    Row("beyond-ascii", "RFC 7515 §2", _changed(lambda token: token + "ä")),
    Row("empty", "RFC 7519 §7.2", _changed(lambda token: "")),
    Row("dots", "RFC 7519 §7.2", _changed(lambda token: "..")),
    Row("payload-a-list", "RFC 7519 §7.2", lambda issuer, claims: issuer.sign([claims])),
    Row("payload-text", "RFC 7519 §7.2", lambda issuer, claims: issuer.sign(b"robin")),
    Row("payload-deep", "RFC 7519 §7.2", lambda issuer, claims: issuer.sign(b'{"a":' * 20_000 + b"1" + b"}" * 20_000)),
    Row("payload-huge", "RFC 8725 §3", lambda issuer, claims: issuer.sign({**claims, "x": "x" * 100_000})),
    Row("payload-million", "RFC 8725 §3", lambda issuer, claims: issuer.sign({**claims, "x": "x" * 700_000})),
    Row("header-huge", "RFC 8725 §3", lambda issuer, claims: issuer.sign(claims, {"x": "x" * 20_000})),
    Row("header-a-list", "RFC 7515 §4", lambda issuer, claims: compact(["alg"], claims, issuer.key, "RS256")),
    Row("header-number", "RFC 7515 §4", lambda issuer, claims: compact(5, claims, issuer.key, "RS256")),
    Row("header-deep", "RFC 7515 §4", lambda issuer, claims: compact(b"[" * 9000, claims, issuer.key, "RS256")),
]
USERINFO = [
    claim("oidcc-client-test-userinfo-invalid-sub", "Core §5.3.2", sub="kim"),
    claim("userinfo-sub-missing", "Core §5.3.2", sub=None),
    claim("userinfo-sub-number", "Core §5.3.2", sub=7),
    claim("userinfo-for-another-client", "Core §5.3.2", aud="other"),
    claim("userinfo-of-another-issuer", "Core §5.3.2", iss=THIRD),
    claim("userinfo-without-issuer", "Core §5.3.2", iss=None),
]

BACKCHANNEL = "oidcc-client-test-rp-backchannel-rpinitlogout"
EVENT = "http://schemas.openid.net/event/backchannel-logout"
LOGOUTS = [
    claim(f"{BACKCHANNEL}-no-event", "Back-Channel §2.6 (6)", events=None),
    claim(f"{BACKCHANNEL}-wrong-event", "Back-Channel §2.6 (6)", events={"http://other": {}}),
    claim("events-in-a-list", "Back-Channel §2.4", events=[EVENT]),
    claim("event-without-object", "Back-Channel §2.4", events={EVENT: 1}),
    claim(f"{BACKCHANNEL}-with-nonce", "Back-Channel §2.6 (7)", nonce="n"),
    claim(f"{BACKCHANNEL}-wrong-aud", "Back-Channel §2.6 (3)", aud="other"),
    claim(f"{BACKCHANNEL}-wrong-iss", "Back-Channel §2.6 (3)", iss=THIRD),
    Row(f"{BACKCHANNEL}-wrong-alg", "Back-Channel §2.6 (2)", _of_another_alg("ES256")),
    Row(f"{BACKCHANNEL}-alg-none", "Back-Channel §2.6 (2)", _unsigned("none", "")),
    claim("neither-sub-nor-sid", "Back-Channel §2.6 (5)", sub=None, sid=None),
    claim("jti-missing", "Back-Channel §2.4", jti=None),
    claim("jti-surrogate", "Back-Channel §2.4", jti="\ud800"),
    claim("logout-iat-missing", "Back-Channel §2.4", iat=None),
    claim("logout-iat-old", "Back-Channel §2.6", iat=NOW - 121),
    claim("logout-iat-future", "Back-Channel §2.6", iat=NOW + 61),
    claim("logout-exp-past", "Back-Channel §2.4", exp=NOW - 61),
    header("typ-id-token", "Back-Channel §2.4", typ="at+jwt"),
]
ALL = [*CLAIMS, *OF_A_LOGIN, *OF_A_REFRESH, *HEADERS, *TOKENS, *USERINFO, *LOGOUTS]
