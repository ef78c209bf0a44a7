"""RFC 9449, DPoP: a proof that the sender of a token has the key to which it is bound. Pure but for its jti.

The rule: a proof serves one request. Nonces are the server's, kept by origin.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from secrets import token_urlsafe
from typing import Any

from ..errors import ConfigError
from .jose import ASYMMETRIC, SigningKey, public_members, signed_jwt, thumbprint

PREFERRED = ("ES256", "Ed25519", "EdDSA", "ES384", "PS256", "RS256")


def choose_algorithm(offered: Sequence[str] | None) -> str:
    """The algorithm of new keys: ES256 unless the server's list wants another. Raises `ConfigError`."""
    if offered is None:
        return "ES256"
    for alg in PREFERRED:
        if alg in offered and alg in ASYMMETRIC:
            return alg
    raise ConfigError("The server takes DPoP proofs with none of our algorithms (dpop_signing_alg_values_supported).")


def target_uri(url: str) -> str:
    """The `htu` of a request (RFC 9449 §4.2): its URL without query and fragment."""
    return url.partition("?")[0].partition("#")[0]


def key_thumbprint(key: SigningKey) -> str:
    """`dpop_jkt` of an authorization request (RFC 9449 §10)."""
    return thumbprint(key.public or {})


async def dpop_proof(
    key: SigningKey,
    method: str,
    url: str,
    *,
    now: float,
    nonce: str | None = None,
    access_token: str | None = None,
) -> str:
    """The value of the `DPoP` header for one request (RFC 9449 §4.2).

    `now` in epoch seconds by the server's clock; `access_token` is the one in the `Authorization` header, for `ath`.
    """
    claims: dict[str, Any] = {"jti": token_urlsafe(16), "htm": method, "htu": target_uri(url), "iat": int(now)}
    if nonce is not None:
        claims["nonce"] = nonce
    if access_token is not None:
        claims["ath"] = access_token_hash(access_token)
    header = {"typ": "dpop+jwt", "jwk": public_members(key.public or {})}
    return await signed_jwt(claims, key._replace(key_id=None), header)


def access_token_hash(access_token: str) -> str:
    """`ath` (RFC 9449 §4.2): the base64url SHA-256 hash of the token."""
    digest = hashlib.sha256(access_token.encode("ascii", "replace")).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
