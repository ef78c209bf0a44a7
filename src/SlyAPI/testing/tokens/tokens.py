"""The token endpoint, revocation and introspection: a client exchanges a grant for tokens, ends or describes them.

The rule: RFC 6749 and 7009 to the letter, with the error codes of RFC 6749 §5.2; each grant type is one function.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from ..clients.client_auth import authenticated, invalid_client
from ..clients.client_policy import checked_scopes, may_use, resource_error
from ..endpoint import Seen, Server
from ..features import AUTHORIZATION_CODE, CLIENT_CREDENTIALS, DEVICE_CODE, JWT_BEARER, REFRESH_TOKEN, TOKEN_EXCHANGE
from ..ledger.grants import AccessToken, Binding, Client, Grant, Issued, RefreshToken, Refused, digest, subject_of
from ..login import device
from ..messages import request_reader
from ..messages.request_reader import read_form, required
from ..tokens import dpop, exchange, identity


@dataclass(frozen=True)
class TokenRequest:
    """A request to the token endpoint whose client is authenticated; `now` in epoch seconds."""

    server: Server
    client: Client
    form: dict[str, str]
    binding: Binding
    now: float


async def token(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """POST /token (RFC 6749 §3.2)."""
    seen.parameters = form = await request_reader.read_form(request)
    grant_type = form.get("grant_type")
    anonymous = grant_type == JWT_BEARER and "Authorization" not in request.headers and not _names_client(form)
    client = None if anonymous else await authenticated(server, request, seen)
    if grant_type is None:
        raise Refused("invalid_request", "grant_type is missing")
    if grant_type not in server.grant_types or (grant_type not in _GRANTS and grant_type != JWT_BEARER):
        raise Refused("unsupported_grant_type", f"supported: {' '.join(server.grant_types)}")
    if client is not None and not may_use(server, client, grant_type):
        raise Refused("unauthorized_client", "the client did not register this grant type")
    needs_proof = client is not None and bool(client.metadata.get("dpop_bound_access_tokens"))
    resources = tuple(form.get("resource", "").split())
    wrong = resource_error(server, resources) if resources or grant_type == CLIENT_CREDENTIALS else ""
    if wrong and not (grant_type == TOKEN_EXCHANGE and "requested_token_type" in form):
        raise Refused("invalid_target", wrong)
    binding = Binding(resources, dpop.required_key(server, request, required=needs_proof))
    if client is None or grant_type == JWT_BEARER:
        issued = exchange.exchange_assertion(server, client, form, binding)
    else:
        issued = _GRANTS[grant_type](TokenRequest(server, client, form, binding, server.clock()))
    if grant_type == REFRESH_TOKEN and server.ledger.rules.rotation and server.delay_after_rotation:
        await asyncio.sleep(server.delay_after_rotation)
    return web.json_response(_reply(server, issued))


async def revoke(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """POST /revoke (RFC 7009): an unknown token is answered like a known one."""
    seen.parameters = await request_reader.read_form(request)
    client = await authenticated(server, request, seen)
    (ended,) = required(seen.parameters, "token")
    server.ledger.revoke(client, ended)
    return web.Response()


def _names_client(form: dict[str, str]) -> bool:
    return any(name in form for name in ("client_id", "client_secret", "client_assertion", "client_assertion_type"))


def _code(sent: TokenRequest) -> Issued:
    code, redirect_uri, verifier = required(sent.form, "code", "redirect_uri", "code_verifier")
    verifier = request_reader.read_verifier(verifier)
    return sent.server.ledger.exchange_code(
        sent.client,
        code,
        redirect_uri,
        verifier,
        sent.now,
        sent.binding,
        with_refresh_token=may_use(sent.server, sent.client, REFRESH_TOKEN),
        offline_needs_scope="offline_access" in sent.server.scopes,
    )


def _refresh(sent: TokenRequest) -> Issued:
    (refresh_token,) = required(sent.form, "refresh_token")
    scopes = request_reader.read_scope(sent.form["scope"]) if "scope" in sent.form else None
    return sent.server.ledger.refresh(sent.client, refresh_token, scopes, sent.now, sent.binding)


def _client_credentials(sent: TokenRequest) -> Issued:
    """RFC 6749 §4.4: for confidential clients only, and without a refresh token (§4.4.3)."""
    if sent.client.is_public:
        raise invalid_client("client_credentials needs a client that authenticates")
    scopes = checked_scopes(sent.server, sent.client, sent.form.get("scope"))
    if {"openid", "offline_access"} & set(scopes):
        raise Refused("invalid_scope", "openid and offline_access need a person")
    grant = Grant(sent.client.client_id, scopes, person=sent.client.client_id, resources=sent.binding.resources)
    return sent.server.ledger.start(sent.client, grant, sent.binding, sent.now)


def _device(sent: TokenRequest) -> Issued:
    (device_code,) = required(sent.form, "device_code")
    return device.poll(sent.server, sent.client, device_code, sent.binding, sent.now)


def _exchange(sent: TokenRequest) -> Issued:
    return exchange.exchange_token(sent.server, sent.client, sent.form, sent.binding)


_GRANTS: dict[str, Callable[[TokenRequest], Issued]] = {
    AUTHORIZATION_CODE: _code,
    REFRESH_TOKEN: _refresh,
    CLIENT_CREDENTIALS: _client_credentials,
    DEVICE_CODE: _device,
    TOKEN_EXCHANGE: _exchange,
}


def _reply(server: Server, issued: Issued) -> dict[str, Any]:
    """RFC 6749 §5.1; without a refresh token where the old one goes on. One that ends says when."""
    reply: dict[str, Any] = {
        "access_token": issued.access_token,
        "token_type": issued.token_type,
        "expires_in": issued.expires_in,
        "scope": " ".join(issued.scopes),
        **issued.extra,
    }
    if issued.refresh_token is not None:
        reply["refresh_token"] = issued.refresh_token
        if issued.refresh_expires_in is not None:
            reply["refresh_token_expires_in"] = issued.refresh_expires_in  # GitHub's name; no RFC has one
    # only a person's sign-in has a session; machines and exchanged tokens get no id_token
    if server.openid and "openid" in issued.scopes and identity.has_session(server, issued):
        reply["id_token"] = identity.id_token(server, issued)
    return reply


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
