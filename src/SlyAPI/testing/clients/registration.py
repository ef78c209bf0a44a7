"""Dynamic registration of clients (RFC 7591), and what they may change of it later (RFC 7592).

The rule: only the registration access token opens a registration, and each reply contains a new one.
"""
from __future__ import annotations

import re
import secrets
from dataclasses import replace
from typing import Any

from aiohttp import web

from ..endpoint import Seen, Server
from ..ledger.grants import Client, Refused, digest
from ..messages.request_reader import read_object
from .client_metadata import checked_metadata

_BEARER = re.compile(r"Bearer ([A-Za-z0-9\-._~+/]+=*)")
_NEVER_UPDATED = (
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
)


async def register(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """POST /register (RFC 7591 §3.1): a new client, with a secret where its method needs one."""
    if server.initial_access_token is not None and _bearer(request) != digest(server.initial_access_token):
        raise _invalid_token("an initial access token is needed")
    metadata = checked_metadata(server, await read_object(request))
    client_id = secrets.token_urlsafe(12)
    client = _with_metadata(Client(client_id, "", None, (), issued_at=int(server.clock())), metadata)
    return _reply(server, client, 201)


async def read_registration(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET /register/{client_id} (RFC 7592 §2.1)."""
    return _reply(server, _registered(server, request), 200)


async def update_registration(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """PUT /register/{client_id} (RFC 7592 §2.2): all metadata anew; what is omitted gets its default."""
    client = _registered(server, request)
    sent = await read_object(request)
    if sent.get("client_id") != client.client_id:
        raise Refused("invalid_request", "client_id has to be in the body, and to be the registered one")
    if any(name in sent for name in _NEVER_UPDATED):
        raise Refused("invalid_request", f"not to be sent: {', '.join(_NEVER_UPDATED)}")
    if "client_secret" in sent and not client.knows_secret(str(sent["client_secret"])):
        raise Refused("invalid_request", "client_secret is not the client's; it cannot be chosen")
    return _reply(server, _with_metadata(client, checked_metadata(server, sent)), 200)


async def delete_registration(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """DELETE /register/{client_id} (RFC 7592 §2.3): the client and its grants end."""
    client = _registered(server, request)
    server.ledger.end_grants(client.client_id)
    del server.ledger.clients[client.client_id]
    return web.Response(status=204)


def _registered(server: Server, request: web.Request) -> Client:
    """The client of this URL, if the request has its registration access token; 401 otherwise (RFC 7592 §2)."""
    client = server.ledger.clients.get(request.match_info["client_id"])
    if client is None or not client.registration_digest or _bearer(request) != client.registration_digest:
        raise _invalid_token("the registration access token is wrong, or the client is gone")
    return client


def _bearer(request: web.Request) -> str:
    """The digest of the Bearer token of a request; empty where there is none."""
    headers = request.headers.getall("Authorization", [])
    match = _BEARER.fullmatch(headers[0]) if len(headers) == 1 else None
    return digest(match[1]) if match else ""


def _with_metadata(client: Client, metadata: dict[str, Any]) -> Client:
    """The client with new metadata; it gets a secret if its method needs one, and loses it otherwise."""
    needs_secret = metadata["token_endpoint_auth_method"].startswith("client_secret")
    secret = (client.secret or secrets.token_urlsafe(32)) if needs_secret else ""
    return replace(
        client,
        name=metadata.get("client_name", client.client_id),
        redirect_uris=tuple(metadata["redirect_uris"]),
        metadata=metadata,
        secret=secret,
        secret_digest=digest(secret) if needs_secret else None,
    )


def _reply(server: Server, client: Client, status: int) -> web.Response:
    """Client information (RFC 7591 §3.2.1, RFC 7592 §3): all that is registered, and how to change it."""
    reply = {**client.metadata, "client_id": client.client_id, "client_id_issued_at": client.issued_at}
    reply["registration_client_uri"] = f"{server.origin}/register/{client.client_id}"
    if client.secret:
        reply |= {"client_secret": client.secret, "client_secret_expires_at": 0}
    token = reply["registration_access_token"] = secrets.token_urlsafe(32)
    server.ledger.clients[client.client_id] = replace(client, registration_digest=digest(token))
    return web.json_response(reply, status=status)


def _invalid_token(description: str) -> Refused:
    return Refused("invalid_token", description, 401, 'Bearer realm="registration", error="invalid_token"')
