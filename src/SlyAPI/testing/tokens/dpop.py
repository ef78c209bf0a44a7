"""Proof of possession (RFC 9449): whether a request comes from the holder of a key.

The rule: a proof is good once, for one method and one URL, now, and with the server's latest nonce.
"""
from __future__ import annotations

import hmac
import secrets
from typing import Any

from aiohttp import web

from ..endpoint import Server, nonce_place
from ..ledger.grants import Refused, challenge_of
from ..messages import jose

ALGORITHMS = jose.ASYMMETRIC
_AGE = 60.0  # seconds by which `iat` may differ from now


def proof_key(server: Server, request: web.Request, token: str | None = None) -> str:
    """The thumbprint of a proof's key, "" without one; `token`: the one that it must be for (RFC 9449 §7). Refused."""
    proofs = request.headers.getall("DPoP", [])
    if server.dpop == "off" or not proofs:
        return ""
    if len(proofs) > 1:
        raise _invalid("more than one DPoP header")
    try:
        jwk, claims = _verified(proofs[0])
    except jose.BadToken as bad:
        raise _invalid(str(bad)) from bad
    _check_request(server, request, claims)
    if token is not None and not _equal(claims.get("ath"), challenge_of(token)):
        raise _invalid("ath is not the hash of the access token")
    nonce = server.nonces.get(nonce_place(request.path.strip("/")))
    if nonce is not None and not _equal(claims.get("nonce"), nonce):
        raise Refused("use_dpop_nonce", "the proof needs the nonce of the DPoP-Nonce header")
    key = jose.thumbprint(jwk)
    if not server.first_use(f"proof {key} {claims['jti']}", server.clock() + 2 * _AGE):
        raise _invalid("jti was used before")
    return key


def required_key(server: Server, request: web.Request, *, required: bool) -> str:
    """The thumbprint for a token request; Refused where the proof is missing and tokens have to be bound."""
    key = proof_key(server, request)
    if not key and (server.dpop == "required" or (required and server.dpop != "off")):
        raise _invalid("a DPoP proof is needed")
    return key


def new_nonce() -> str:
    """A fresh nonce."""
    return secrets.token_urlsafe(16)


def _verified(proof: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, _ = jose.read(proof)
    jwk = header.get("jwk")
    if not isinstance(jwk, dict) or not jose.is_public_jwk(jwk):
        raise jose.BadToken("jwk is not a public key")
    named = {"kid": header["kid"]} if "kid" in header else {}
    return jwk, jose.verify(proof, [{**jwk, **named}], ALGORITHMS, "dpop+jwt")


def _check_request(server: Server, request: web.Request, claims: dict[str, Any]) -> None:
    """RFC 9449 §4.3: method, URL, time, identifier."""
    if claims.get("htm") != request.method:
        raise _invalid("htm is not the method")
    if claims.get("htu") != server.origin + request.raw_path.partition("?")[0]:
        raise _invalid("htu is not the URL without query and fragment")
    issued: Any = claims.get("iat")
    if not jose.is_time(issued) or abs(server.clock() - issued) > _AGE:
        raise _invalid("iat is missing, or not now")
    if not isinstance(claims.get("jti"), str) or not claims["jti"]:
        raise _invalid("jti is missing")


def _equal(value: object, expected: str) -> bool:
    return isinstance(value, str) and hmac.compare_digest(value.encode(), expected.encode())


def _invalid(description: str) -> Refused:
    return Refused("invalid_dpop_proof", description)
