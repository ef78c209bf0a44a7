"""Keys and signed tokens as a client makes them, by PyJWT: the provider verifies with another library."""
from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from jwt.algorithms import ECAlgorithm


@dataclass
class ClientKey:
    """A P-256 key of a client, or of another issuer."""

    kid: str = "client-key"
    private: EllipticCurvePrivateKey = field(default_factory=lambda: generate_private_key(SECP256R1()), repr=False)

    @property
    def jwk(self) -> dict[str, Any]:
        return {k: v for k, v in ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True).items() if k != "kid"}

    @property
    def private_jwk(self) -> dict[str, Any]:
        return dict(ECAlgorithm.to_jwk(self.private, as_dict=True))

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [{**self.jwk, "kid": self.kid, "use": "sig", "alg": "ES256"}]}

    @property
    def thumbprint(self) -> str:
        members = json.dumps({k: self.jwk[k] for k in ("crv", "kty", "x", "y")}, separators=(",", ":"))
        return b64url(hashlib.sha256(members.encode()).digest())

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return jwt.encode(present(claims), self.private, "ES256", headers=present({"kid": self.kid, **header}))


def assertion(key: ClientKey, client_id: str, audience: Any, now: float, **changed: Any) -> str:
    """A client assertion (RFC 7523 §2.2); claims changed, or left out (None)."""
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "iat": int(now) - 60,
        "exp": int(now) + 60,
        "jti": secrets.token_urlsafe(9),
        **changed,
    }
    return key.sign(claims)


def proof(
    key: ClientKey, method: str, url: str, now: float, *, header: dict[str, Any] | None = None, **claims: Any
) -> str:
    """A DPoP proof (RFC 9449 §4.2); claims and header parameters changed, or left out (None)."""
    values = {"htm": method, "htu": url, "iat": int(now), "jti": secrets.token_urlsafe(9), **claims}
    return key.sign(values, **{"typ": "dpop+jwt", "jwk": key.jwk, "kid": None, **(header or {})})


def ath(token: str) -> str:
    return b64url(hashlib.sha256(token.encode()).digest())


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def label(value: object) -> str:
    """A test's id without key material: keys differ from one process to the next."""
    return str(value)[:40]
