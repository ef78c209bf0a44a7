"""Signed tokens: keys, signatures and thumbprints, by the package joserfc.

The rule: the only file that imports joserfc, in functions; every bad token is a `BadToken`.
"""
from __future__ import annotations

import hashlib
import json
import math
import secrets
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..ledger.grants import base64url

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
    from joserfc.jws import JWSRegistry

ASYMMETRIC = ("RS256", "PS256", "ES256", "ES384", "Ed25519", "EdDSA")
HMAC = ("HS256", "HS384", "HS512")
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP", "HS": "oct"}
_CURVES = {"ES256": "P-256", "ES384": "P-384"}
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
_LONGEST_HEADER = 8192  # bytes: an RSA key of 4096 bits in a DPoP proof needs more than joserfc's 512


class BadToken(Exception):
    """A signed token that cannot be accepted, and why."""


@dataclass(frozen=True)
class SigningKey:
    """A private key, the algorithm that it signs with, and the id that its public part is published with."""

    alg: str
    kid: str
    key: RSAKey | ECKey | OKPKey = field(repr=False)

    def public(self) -> dict[str, Any]:
        """The public part as a JWK."""
        return {**self.key.as_dict(private=False), "kid": self.kid, "alg": self.alg, "use": "sig"}


def installed() -> bool:
    """Whether joserfc can be imported."""
    try:
        require()
    except ModuleNotFoundError:
        return False
    return True


def require() -> None:
    """Raise ModuleNotFoundError, naming the package, where joserfc is missing."""
    try:
        import joserfc  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Signed tokens of the practice provider need the package joserfc. Install it with: pip install joserfc",
            name="joserfc",
        ) from error


def new_key(alg: str) -> SigningKey:
    """A fresh key for this algorithm; ValueError for an unknown one."""
    require()
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    kid = secrets.token_urlsafe(9)
    if alg in ("RS256", "PS256"):
        return SigningKey(alg, kid, RSAKey.generate_key(2048))
    if alg in _CURVES:
        return SigningKey(alg, kid, ECKey.generate_key(_CURVES[alg]))
    if alg in ("EdDSA", "Ed25519"):
        return SigningKey(alg, kid, OKPKey.generate_key("Ed25519"))
    raise ValueError(f"not an algorithm of a signing key: {alg!r}")


def sign(claims: Mapping[str, Any], key: SigningKey, typ: str = "JWT") -> str:
    """The claims as a signed JWT in compact form (RFC 7519)."""
    return _signed(claims, key.key, {"alg": key.alg, "kid": key.kid, "typ": typ})


def sign_with_secret(claims: Mapping[str, Any], secret: str, typ: str = "JWT") -> str:
    """The claims as a JWT with an HMAC by a client secret (HS256)."""
    return _signed(claims, _secret_key(secret), {"alg": "HS256", "typ": typ})


def verify(token: str, keys: Sequence[Mapping[str, Any]], algorithms: Collection[str], typ: str = "") -> dict[str, Any]:
    """The claims that one of these JWKs (by `kid`, if named) signed by one of these algorithms; BadToken otherwise."""
    require()
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key

    header, claims = read(token)
    alg = str(header.get("alg"))
    if alg not in algorithms:
        raise BadToken(f"the algorithm is not one of {', '.join(algorithms)}")
    if typ and header.get("typ") != typ:
        raise BadToken(f"typ is not {typ}")
    for key in keys:
        if key.get("kty") != _KEY_TYPES[alg[:2]] or header.get("kid", key.get("kid")) != key.get("kid"):
            continue
        try:
            if _verified(token, import_key(dict(key)), alg):
                return claims
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    raise BadToken("the signature is not by a known key")


def verify_with_secret(token: str, secret: str) -> dict[str, Any]:
    """The claims of a token whose HMAC was made with this client secret; BadToken otherwise."""
    from joserfc.errors import JoseError

    if not secret:
        raise BadToken("the client's secret is not in memory; after a restart it is not")
    header, claims = read(token)
    alg = str(header.get("alg"))
    if alg not in HMAC:
        raise BadToken(f"the algorithm is not one of {', '.join(HMAC)}")
    try:
        if _verified(token, _secret_key(secret), alg):
            return claims
    except (JoseError, ValueError) as error:
        raise BadToken("the HMAC cannot be checked") from error
    raise BadToken("the HMAC is not by the client's secret")


def read(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token in compact form, nothing of it verified; BadToken where they are not JSON."""
    require()
    from joserfc.errors import JoseError
    from joserfc.jws import extract_compact

    try:
        parts = extract_compact(token.encode("ascii"), registry=_registry(()))
        claims = json.loads(parts.payload or b"")
    except (JoseError, ValueError, RecursionError) as error:
        raise BadToken("not a signed token in compact form") from error
    if not isinstance(claims, dict):
        raise BadToken("the claims are not an object")
    return dict(parts.headers()), claims


def is_public_jwk(jwk: object) -> bool:
    """Whether this is an asymmetric public key that can be used, without any private part."""
    require()
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key

    if not isinstance(jwk, dict) or jwk.get("kty") not in ("RSA", "EC", "OKP") or any(p in jwk for p in _PRIVATE):
        return False
    try:
        import_key(dict(jwk))
    except (JoseError, ValueError, TypeError, KeyError):
        return False
    return True


def is_time(value: object) -> bool:
    """Whether a claim is a NumericDate (RFC 7519 §2); JSON's true and NaN are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The SHA-256 thumbprint of a JWK (RFC 7638)."""
    from joserfc.jwk import import_key

    return import_key(dict(jwk)).thumbprint()


def half_hash(text: str, alg: str) -> str:
    """The left half of a hash in base64url, as `at_hash` has it (OpenID Connect Core §3.1.3.6)."""
    name = {"ES384": "sha384", "EdDSA": "sha512", "Ed25519": "sha512"}.get(alg, "sha256")
    hashed = hashlib.new(name, text.encode()).digest()
    return base64url(hashed[: len(hashed) // 2])


def _secret_key(secret: str) -> OctKey:
    from joserfc.jwk import OctKey

    return OctKey.import_key({"kty": "oct", "k": base64url(secret.encode())})


def _registry(algorithms: Collection[str]) -> JWSRegistry:
    from joserfc.jws import JWSRegistry

    registry = JWSRegistry(algorithms=list(algorithms))
    registry.max_header_length = _LONGEST_HEADER
    return registry


def _signed(claims: Mapping[str, Any], key: Key, header: dict[str, Any]) -> str:
    require()
    from joserfc.jws import serialize_compact

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RFC 9864 renames EdDSA; providers still use the name
        return serialize_compact(header, json.dumps(claims), key, registry=_registry([header["alg"]]))


def _verified(token: str, key: Key, alg: str) -> bool:
    from joserfc.errors import BadSignatureError
    from joserfc.jws import deserialize_compact

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            deserialize_compact(token, key, registry=_registry([alg]))
        except BadSignatureError:
            return False
    return True
