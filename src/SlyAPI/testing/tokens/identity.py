"""Who the person is (OpenID Connect Core 1.0): id_tokens, the keys that sign them, and userinfo.

The rule: an id_token is signed by the key that is published for its algorithm, and is for one client.
"""
from __future__ import annotations

import secrets
from typing import Any

from aiohttp import web

from ..endpoint import Seen, Server
from ..features import changed
from ..ledger.grants import Client, Grant, Issued, Refused, subject_of
from ..messages import jose
from ..protection import authorized, grant_of

SCOPES = {
    "openid": "Know who you are",
    "profile": "See your name",
    "email": "See your email address",
}
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_JWKS_MAX_AGE = 3600


def new_keys(server: Server) -> list[jose.SigningKey]:
    """Fresh signing keys, one for each algorithm."""
    return [jose.new_key(alg) for alg in server.signing_algs]


def jwks(server: Server) -> dict[str, Any]:
    """The public keys, newest first."""
    return {"keys": [key.public() for key in server.keys]}


async def publish_keys(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET /jwks (RFC 7517 §5), which may be cached."""
    return web.json_response(jwks(server), headers={"Cache-Control": f"public, max-age={_JWKS_MAX_AGE}"})


async def userinfo(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET or POST /userinfo (OpenID Connect Core §5.3): signed where the client registered an algorithm."""
    token = authorized(server, request, seen, "openid")
    grant = grant_of(server, token)
    claims = {"sub": subject_of(grant.person), **_profile(grant.person, token.scopes)}
    client = server.ledger.clients.get(grant.client_id)
    algorithm = "" if client is None else client.metadata.get("userinfo_signed_response_alg", "")
    if client is None or not algorithm:
        return web.json_response(claims)
    claims |= {"iss": server.issuer, "aud": client.client_id}
    return web.Response(text=sign(server, client, claims, algorithm), content_type="application/jwt")


def has_session(server: Server, issued: Issued) -> bool:
    """Whether these tokens come from a person's sign-in."""
    grant = server.ledger.grants.get(issued.grant_id)
    return grant is not None and grant.session_id != ""


def id_token(server: Server, issued: Issued) -> str:
    """The id_token that belongs to these tokens (OpenID Connect Core §2 and §12.2)."""
    grant = server.ledger.grants[issued.grant_id]
    client = server.ledger.clients[grant.client_id]
    algorithm = client.metadata.get("id_token_signed_response_alg", next(iter(server.signing_algs)))
    now = int(server.clock())
    claims: dict[str, Any] = {
        "iss": server.issuer,
        "sub": subject_of(grant.person),
        "aud": grant.client_id,
        "iat": now,
        "exp": now + int(server.id_token_lifetime),
        "auth_time": int(grant.authenticated_at),
        "at_hash": jose.half_hash(issued.access_token, algorithm),
        "sid": grant.session_id,
    }
    if grant.nonce:
        claims["nonce"] = grant.nonce
    if grant.acr:
        claims["acr"] = grant.acr
    claims |= _profile(grant.person, issued.scopes)
    return sign(server, client, changed(claims, server.id_token_changes), algorithm)


def logout_token(server: Server, client_id: str, person: str, session_id: str, changes: dict[str, Any]) -> str:
    """A logout token (OpenID Connect Back-Channel Logout §2.4), good for two minutes."""
    client = server.ledger.clients[client_id]
    now = int(server.clock())
    claims: dict[str, Any] = {
        "iss": server.issuer,
        "sub": subject_of(person),
        "aud": client_id,
        "iat": now,
        "exp": now + 120,
        "jti": secrets.token_urlsafe(16),
        "events": {LOGOUT_EVENT: {}},
    }
    if session_id:
        claims["sid"] = session_id
    algorithm = client.metadata.get("id_token_signed_response_alg", next(iter(server.signing_algs)))
    return sign(server, client, changed(claims, changes), algorithm, "logout+jwt")


def read_id_token(server: Server, token: str) -> dict[str, Any] | None:
    """The claims of an id_token of ours, expired or not; None for anything else."""
    try:
        claims = jose.verify(token, [key.public() for key in server.keys], tuple(server.signing_algs), "JWT")
    except jose.BadToken:
        return None
    return claims if claims.get("iss") == server.issuer else None


def person_of(server: Server, token: str, client_id: str) -> tuple[str, float]:
    """The person of an id_token that is good now for this client, and until when; an empty name otherwise."""
    claims = read_id_token(server, token) or {}
    people = {subject_of(name): name for name in server.people}
    if claims.get("aud") != client_id or server.clock() >= claims.get("exp", 0):
        return "", 0.0
    return people.get(claims.get("sub", ""), ""), claims["exp"]


def _profile(person: str, scopes: tuple[str, ...]) -> dict[str, Any]:
    claims: dict[str, Any] = {}
    if "profile" in scopes:
        claims["name"] = person
    if "email" in scopes:
        claims |= {"email": f"{subject_of(person)}@practice.example", "email_verified": True}
    return claims


def sign(server: Server, client: Client, claims: dict[str, Any], algorithm: str, typ: str = "JWT") -> str:
    """The claims as a JWT for a client; Refused where there is no key for the algorithm."""
    if algorithm == "HS256" and client.secret:
        return jose.sign_with_secret(claims, client.secret, typ)
    for key in server.keys:
        if key.alg == algorithm:
            return jose.sign(claims, key, typ)
    raise Refused("server_error", f"there is no key for {algorithm}", 500)


def session_of(server: Server, claims: dict[str, Any]) -> list[Grant]:
    """The grants of the session that an id_token names."""
    session = claims.get("sid")
    return [grant for grant in server.ledger.grants.values() if session and grant.session_id == session]
