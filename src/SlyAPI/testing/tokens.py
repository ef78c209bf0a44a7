"""The endpoints a client meets without its person: token, revocation, metadata.

The rule: RFC 6749, 7009 and 8414 to the letter, with the error codes of RFC 6749 §5.2.
"""
from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from . import request_reader
from .endpoint import ClientAuth, Seen, Server
from .grants import Client, Issued, Refused


async def token(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """POST /token (RFC 6749 §3.2)."""
    seen.parameters = form = await request_reader.read_form(request)
    client = _client(server, request, seen)
    grant_type = form.get("grant_type")
    if grant_type == "authorization_code":
        code, redirect_uri, verifier = _required(form, "code", "redirect_uri", "code_verifier")
        verifier = request_reader.read_verifier(verifier)
        issued = server.ledger.exchange_code(client, code, redirect_uri, verifier, server.clock())
    elif grant_type == "refresh_token":
        (refresh_token,) = _required(form, "refresh_token")
        scopes = request_reader.read_scope(form["scope"]) if "scope" in form else None
        issued = server.ledger.refresh(client, refresh_token, scopes, server.clock())
        if server.ledger.rules.rotation and server.delay_after_rotation:
            await asyncio.sleep(server.delay_after_rotation)
    elif grant_type is None:
        raise Refused("invalid_request", "grant_type is missing")
    else:
        raise Refused("unsupported_grant_type", "authorization_code and refresh_token are supported")
    return web.json_response(_reply(issued))


async def revoke(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """POST /revoke (RFC 7009): an unknown token is answered like a known one."""
    seen.parameters = await request_reader.read_form(request)
    client = _client(server, request, seen)
    (ended,) = _required(seen.parameters, "token")
    server.ledger.revoke(client, ended)
    return web.Response()


async def metadata(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET /.well-known/oauth-authorization-server (RFC 8414 §2, RFC 9207 §3)."""
    methods = [f"client_secret_{method}" for method in _secret_methods(server.client_auth)]
    if any(client.secret_digest is None for client in server.ledger.clients.values()):
        methods.append("none")
    described: dict[str, Any] = {
        "issuer": server.origin,
        "authorization_endpoint": server.authorize_url,
        "token_endpoint": server.token_url,
        "revocation_endpoint": server.revoke_url,
        "scopes_supported": list(server.scopes),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }
    return web.json_response(described)


def _client(server: Server, request: web.Request, seen: Seen) -> Client:
    """The client that asks, sure to be itself; a refresh token shown with wrong credentials ends.

    Some providers do end it, which is why a client must never try out methods on a refresh.
    """
    try:
        credentials = request_reader.read_credentials(request.headers.getall("Authorization", []), seen.parameters)
        seen.client_auth = credentials.method
        return _authenticated(server, credentials)
    except Refused as refused:
        if refused.error == "invalid_client" and seen.parameters.get("grant_type") == "refresh_token":
            server.ledger.end_refresh_token(seen.parameters.get("refresh_token", ""))
        raise


def _authenticated(server: Server, credentials: request_reader.Credentials) -> Client:
    client = server.ledger.clients.get(credentials.client_id)
    if client is None:
        raise _invalid_client("the client is unknown, or did not say who it is")
    wanted = ("none",) if client.secret_digest is None else _secret_methods(server.client_auth)
    if credentials.method not in wanted:
        raise _invalid_client(f"this client authenticates by: {' or '.join(wanted)}")
    if client.secret_digest is not None and not client.knows_secret(credentials.secret):
        raise _invalid_client("the client secret is wrong")
    return client


def _invalid_client(description: str) -> Refused:
    return Refused("invalid_client", description, 401, request_reader.BASIC_CHALLENGE)


def _secret_methods(client_auth: ClientAuth) -> tuple[str, ...]:
    return ("basic", "post") if client_auth == "any" else (client_auth,)


def _required(form: Mapping[str, str], *names: str) -> list[str]:
    missing = [name for name in names if name not in form]
    if missing:
        raise Refused("invalid_request", f"missing: {', '.join(missing)}")
    return [form[name] for name in names]


def _reply(issued: Issued) -> dict[str, Any]:
    """RFC 6749 §5.1; without a refresh token where the old one goes on. One that ends says when."""
    reply: dict[str, Any] = {
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "scope": " ".join(issued.scopes),
    }
    if issued.refresh_token is not None:
        reply["refresh_token"] = issued.refresh_token
        if issued.refresh_expires_in is not None:
            reply["refresh_token_expires_in"] = issued.refresh_expires_in  # no RFC has it; GitHub and others say it so
    return reply
