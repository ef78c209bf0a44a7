"""Pushed authorization requests (RFC 9126): the client sends the request itself, the browser only its name.

The rule: checked like a request in a URL, by a client that authenticated itself, and good once, for a minute.
"""
from __future__ import annotations

import secrets
from dataclasses import replace

from aiohttp import web

from ..clients.client_auth import authenticated
from ..endpoint import Seen, Server
from ..ledger.grants import Refused, digest
from ..messages.request_reader import read_form
from ..tokens import dpop
from .authorization_request import SendBack, ShowPage, policy_error, read_authorization_request
from .signed_request import BadRequestObject, opened

PUSHED = "urn:ietf:params:oauth:request_uri:"
_CREDENTIALS = ("client_secret", "client_assertion", "client_assertion_type")


async def push(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """POST /par (RFC 9126 §2.1)."""
    seen.parameters = form = await read_form(request)
    client = await authenticated(server, request, seen)
    if "request_uri" in form:
        raise Refused("invalid_request", "request_uri does not belong in a pushed request")
    values = {name: value for name, value in form.items() if name not in _CREDENTIALS}
    pairs = list({**values, "client_id": client.client_id}.items())
    try:
        pairs = await opened(server, client, pairs)
        wanted = read_authorization_request(pairs, server.ledger.clients, server.scopes, server.response_modes)
    except BadRequestObject as bad:
        raise Refused("invalid_request_object", str(bad)) from bad
    except ShowPage as shown:
        raise Refused("invalid_request", str(shown)) from shown
    except SendBack as back:
        raise Refused(back.error, back.description) from back
    wrong = policy_error(server, client, wanted, pushed=True)
    if wrong is not None:
        raise Refused(*wrong)
    key = dpop.proof_key(server, request)
    if key and wanted.dpop_jkt not in ("", key):  # RFC 9449 §10.1
        raise Refused("invalid_dpop_proof", "dpop_jkt is not the thumbprint of the proof's key")
    uri = PUSHED + secrets.token_urlsafe(32)
    wanted = replace(wanted, dpop_jkt=wanted.dpop_jkt or key)
    server.pushed[digest(uri)] = (wanted, server.clock() + server.pushed_lifetime)
    return web.json_response({"request_uri": uri, "expires_in": int(server.pushed_lifetime)}, status=201)
