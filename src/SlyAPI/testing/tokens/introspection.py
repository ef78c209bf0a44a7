"""Token introspection (RFC 7662): whether a token is good, and for what.

The rule: a client sees its own tokens; every other token is inactive for it, without a reason.
"""
from __future__ import annotations

from typing import Any

from aiohttp import web

from ..clients.client_auth import authenticated, invalid_client
from ..endpoint import Seen, Server
from ..ledger.grants import AccessToken, RefreshToken, digest, subject_of
from ..messages.request_reader import read_form, required


async def introspect(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """POST /introspect (RFC 7662 §2.1), for clients that authenticate."""
    seen.parameters = await read_form(request)
    client = await authenticated(server, request, seen)
    if client.is_public:
        raise invalid_client("introspection needs a client that authenticates")
    (token,) = required(seen.parameters, "token")
    key = digest(token)
    known = server.ledger.access_tokens.get(key) or server.ledger.refresh_tokens.get(key)
    if known is None or not _is_live(server, known, client.client_id):
        return web.json_response({"active": False})
    return web.json_response(_described(server, known))


def _is_live(server: Server, token: AccessToken | RefreshToken, client_id: str) -> bool:
    grant = server.ledger.grants[token.grant_id]
    ended = token.ended if isinstance(token, AccessToken) else token.state != "live"
    over = token.expires_at is not None and server.clock() >= token.expires_at
    return grant.client_id == client_id and not grant.ended and not ended and not over


def _described(server: Server, token: AccessToken | RefreshToken) -> dict[str, Any]:
    grant = server.ledger.grants[token.grant_id]
    reply: dict[str, Any] = {
        "active": True,
        "iss": server.issuer,
        "client_id": grant.client_id,
        "username": grant.person,
        "sub": subject_of(grant.person),
        "scope": " ".join(token.scopes if isinstance(token, AccessToken) else grant.scopes),
    }
    if token.expires_at is not None:
        reply["exp"] = int(token.expires_at)
    if grant.actor:
        reply["act"] = {"sub": grant.actor}
    if token.jkt:
        reply["cnf"] = {"jkt": token.jkt}
    if isinstance(token, AccessToken):
        reply["token_type"] = "DPoP" if token.jkt else "Bearer"
        reply["iat"] = int(token.issued_at)
        if token.resources:
            reply["aud"] = list(token.resources)
    return reply
