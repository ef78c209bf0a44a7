"""Signed messages (RFC 7515) that are right, and the ways to make one wrong, by cryptography and PyJWT.

The rule: nothing here is the code under test, which uses joserfc.
"""
from __future__ import annotations

import base64
import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import HashAlgorithm

from tests.support.issuer import b64url, compact, jwk_of, private_key

SECRET = b"a shared secret of 32 characters"
PAYLOAD = b'{"sub": "robin"}'
N_256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # FIPS 186-4 D.1.2.3
L_25519 = 2**252 + 27742317777372353535851937790883648493  # RFC 8032 §5.1
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")  # of SHA-256: RFC 8017 §9.2, note 1
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

Keys = list[dict[str, Any]]
Change = Callable[[str], Any]


class Row(NamedTuple):
    """What is wrong, the clause that forbids it, and a message and keys that show it, by the algorithm `alg`."""

    name: str
    clause: str
    make: Callable[[str, Keys], tuple[Any, Keys]]
    alg: str = "ES256"


def message(name: str, clause: str, change: Change, alg: str = "ES256") -> Row:
    """The message with a change."""
    return Row(name, clause, lambda token, keys: (change(token), keys), alg)


def key(name: str, clause: str, by: str = "ES256", /, **changes: Any) -> Row:
    """The right message, while the key is published with changes; None removes a member."""

    def make(token: str, keys: Keys) -> tuple[str, Keys]:
        changed = {**keys[0], **changes}
        return token, [{member: value for member, value in changed.items() if value is not None}]

    return Row(name, clause, make, by)


def key_of(alg: str) -> Any:
    return SECRET if alg == "HS256" else private_key("EdDSA" if alg == "Ed25519" else alg)


def published(alg: str) -> dict[str, Any]:
    if alg == "HS256":
        return {"kty": "oct", "k": b64url(SECRET), "kid": "k"}
    return jwk_of(key_of(alg), kid="k", use="sig", alg=alg)


def good(alg: str) -> str:
    return compact({"alg": alg, "kid": "k"}, PAYLOAD, key_of(alg), "EdDSA" if alg == "Ed25519" else alg)


def signed_as(alg: str) -> tuple[str, dict[str, Any]]:
    """A message that really is signed by this algorithm, and its key, which names no algorithm."""
    curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1(), "ES256K": ec.SECP256K1()}
    if alg == "none":
        return compact({"alg": alg}, PAYLOAD, None, alg), {}
    if alg.startswith("HS"):
        return compact({"alg": alg}, PAYLOAD, SECRET, alg), {"kty": "oct", "k": b64url(SECRET)}
    usual = private_key("EdDSA" if alg == "EdDSA" else "RS256")
    signer = ec.generate_private_key(curves[alg]) if alg in curves else usual
    jwk = jwt.get_algorithm_by_name(alg).to_jwk(signer.public_key(), as_dict=True)
    return compact({"alg": alg}, PAYLOAD, signer, alg), {name: jwk[name] for name in jwk if name != "key_ops"}


# --- changes ---


def part(number: int, change: Callable[[str], str]) -> Change:
    """Changes one of the three parts."""

    def changed(token: str) -> str:
        parts = token.split(".")
        parts[number] = change(parts[number])
        return ".".join(parts)

    return changed


def signature(change: Callable[[bytes], bytes]) -> Change:
    return part(2, lambda text: b64url(change(decoded(text))))


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def flipped(raw: bytes, bit: int) -> bytes:
    return bytes([raw[0] ^ 1 << bit]) + raw[1:]


def with_unused_bits(text: str) -> str:
    """The same octets in base64url, with a bit set that means nothing."""
    return text[:-1] + ALPHABET[ALPHABET.index(text[-1]) | 1]


def as_json(token: str) -> str:
    """The general JSON serialization."""
    protected, payload, made = token.split(".")
    return json.dumps({"payload": payload, "signatures": [{"protected": protected, "signature": made}]})


def block(prefix: bytes = DIGEST_INFO, *, kind: int = 1, fill: int = 0xFF, behind: bytes = b"") -> Change:
    """Signs a block that may not be built as RFC 8017 §9.2 says, by the bare RSA function."""

    def change(token: str) -> str:
        signed = token.rpartition(".")[0]
        numbers = private_key("RS256").private_numbers()
        modulus = numbers.public_numbers.n
        size = (modulus.bit_length() + 7) // 8
        content = b"\0" + prefix + sha256(signed.encode()).digest() + behind
        whole = bytes([0, kind]) + bytes([fill]) * (size - 2 - len(content)) + content
        raw = pow(int.from_bytes(whole, "big"), numbers.d, modulus).to_bytes(size, "big")
        return f"{signed}.{b64url(raw)}"

    return change


def plus_modulus(raw: bytes) -> bytes:
    more = int.from_bytes(raw, "big") + private_key("RS256").public_key().public_numbers().n
    return int(more).to_bytes(max(len(raw), (int(more).bit_length() + 7) // 8), "big")


def pss(hash: HashAlgorithm, mask: HashAlgorithm, salt: int) -> Change:
    def change(token: str) -> str:
        signed = token.rpartition(".")[0]
        made = private_key("PS256").sign(signed.encode(), padding.PSS(padding.MGF1(mask), salt), hash)
        return f"{signed}.{b64url(made)}"

    return change


def halves(r: int, s: int) -> Change:
    """An ECDSA signature of these two numbers."""
    return signature(lambda _: r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def der(raw: bytes) -> bytes:
    return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))


def s_plus_order(raw: bytes) -> bytes:
    return raw[:32] + (int.from_bytes(raw[32:], "little") + L_25519).to_bytes(32, "little")


# --- whole rows ---


def short_key(name: str, zeros: int) -> Row:
    """A key of 1024 bits, whose modulus is written with zeros before it."""

    def make(token: str, keys: Keys) -> tuple[str, Keys]:
        short = private_key("RS256-short")
        jwk = jwk_of(short, kid="k")
        jwk["n"] = b64url(bytes(zeros) + decoded(jwk["n"]))
        return compact({"alg": "RS256", "kid": "k"}, PAYLOAD, short, "RS256"), [jwk]

    return Row(name, "RFC 7518 §3.3", make, "RS256")


def short_secret(size: int) -> Row:
    def make(token: str, keys: Keys) -> tuple[str, Keys]:
        return compact({"alg": "HS256"}, PAYLOAD, SECRET[:size], "HS256"), [{"kty": "oct", "k": b64url(SECRET[:size])}]

    return Row(f"secret-of-{size}-octets", "RFC 7518 §3.2", make, "HS256")


def brought_along(member: str) -> Row:
    """A stranger's message whose header offers the stranger's key."""

    def make(token: str, keys: Keys) -> tuple[str, Keys]:
        stranger = private_key("ES256", 1)
        offer: Any = jwk_of(stranger, kid="k") if member == "jwk" else "https://stranger.example/key"
        return compact({"alg": "ES256", "kid": "k", member: offer}, PAYLOAD, stranger, "ES256"), keys

    return Row(f"brought-along-{member}", "RFC 8725 §3.10", make)
