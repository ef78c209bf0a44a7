"""The endpoints a person meets: the authorization endpoint, the consent form, pushed requests.

The rule: nothing is redirected before client and redirect_uri are verified, and only this provider's own form
grants anything, once.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from ..clients.client_auth import authenticated
from ..clients.client_metadata import load_client
from ..endpoint import Seen, Server
from ..features import changed
from ..ledger.grants import AuthorizationRequest, Refused, digest
from ..login import pages
from ..messages import request_reader
from ..messages.request_reader import Pairs, read_form
from ..tokens import dpop, identity
from .authorization_request import (
    BadRequestObject,
    SendBack,
    ShowPage,
    opened,
    policy_error,
    read_authorization_request,
)

ACR_VALUES = ("urn:practice:password", "urn:practice:strong")
_TICKET_LIFETIME = 600.0


async def authorize(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET /authorize (RFC 6749 §4.1.1): ask the person, or answer as `server.consent` says."""
    try:
        pairs = request_reader.read_pairs(request_reader.query_of(request))
        seen.parameters = request_reader.collected(pairs)
        wanted = await _wanted(server, pairs, seen)
    except ShowPage as shown:
        return refusal(seen, str(shown))
    except SendBack as back:
        return _sent_back_error(server, seen, back)
    except Refused as refused:
        return refusal(seen, f"The request cannot be read: {refused.description}.")
    person = wanted.login_hint if wanted.login_hint in server.people else server.people[0]
    if server.consent != "ask":
        return _decided(server, wanted, person, server.consent == "allow", seen)
    if "none" in wanted.prompt:  # OpenID Connect Core §3.1.2.6
        why = ("interaction_required", "a person has to answer")
        needs_person = SendBack(wanted.redirect_uri, wanted.state, *why, _signed_for(wanted))
        return _sent_back_error(server, seen, needs_person)
    return _question(server, wanted, person, seen)


async def answer_consent(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """POST /consent: the person's answer, good once, and only from our own page."""
    if not request_reader.answered_by_our_page(request, server.origin):
        return refusal(seen, "The answer came from another site.", 403)
    try:
        seen.parameters = await request_reader.read_form(request)
    except Refused as refused:
        return refusal(seen, f"The answer cannot be read: {refused.description}.")
    wanted, ends = server.tickets.pop(digest(seen.parameters.get("ticket", "")), (None, 0.0))
    decision, person = seen.parameters.get("decision"), seen.parameters.get("person", server.people[0])
    known = decision in ("allow", "deny") and person in server.people
    if wanted is None or server.clock() >= ends or not known:
        return refusal(seen, "This question was answered before, or is too old. Start again from the app.")
    return _decided(server, wanted, person, decision == "allow", seen)


async def _wanted(server: Server, pairs: Pairs, seen: Seen) -> AuthorizationRequest:
    """The request of these parameters, or the pushed one that they name (RFC 9126 §4)."""
    client_id = seen.parameters.get("client_id", "")
    uri = seen.parameters.get("request_uri", "")
    if uri.startswith(PUSHED):
        wanted, ends = server.pushed.pop(digest(uri), (None, 0.0))
        if wanted is None or wanted.client_id != client_id or server.clock() >= ends:
            raise ShowPage("The app's request is unknown, too old, used before, or another app's (request_uri).")
        return wanted
    client = await load_client(server, client_id) or server.ledger.clients.get(client_id)
    if client is not None:
        try:
            pairs = await opened(server, client, pairs)
        except BadRequestObject as bad:
            raise ShowPage(f"The app's request cannot be trusted: {bad}.") from bad
    wanted = read_authorization_request(pairs, server.ledger.clients, server.scopes, server.response_modes)
    wrong = policy_error(server, server.ledger.clients[wanted.client_id], wanted, pushed=False)
    if wrong is not None:
        raise SendBack(wanted.redirect_uri, wanted.state, *wrong, _signed_for(wanted))
    return wanted


def _question(server: Server, wanted: AuthorizationRequest, person: str, seen: Seen) -> web.Response:
    ticket = secrets.token_urlsafe(32)
    server.tickets[digest(ticket)] = (wanted, server.clock() + _TICKET_LIFETIME)
    seen.outcome = "asked"
    html = pages.consent_page(
        app=server.ledger.clients[wanted.client_id].name,
        people=server.people,
        person=person,
        scopes={scope: server.scopes[scope] for scope in wanted.scopes},
        destination=wanted.redirect_uri,
        ticket=ticket,
    )
    return page(html, 200, pages.content_security_policy(wanted.redirect_uri))


def _decided(server: Server, wanted: AuthorizationRequest, person: str, allowed: bool, seen: Seen) -> web.Response:
    granted = tuple(wanted.scopes if server.granted_scopes is None else server.granted_scopes(wanted.scopes))
    if not allowed or not granted:
        seen.outcome = "access_denied"
        why = {"error": "access_denied", "error_description": "the person refused"}
        return _send_back(server, wanted.redirect_uri, wanted.state, _signed_for(wanted), **why)
    wanted = replace(wanted, acr_values=tuple(acr for acr in wanted.acr_values if acr in ACR_VALUES)[:1])
    code = server.ledger.issue_code(wanted, granted, person, server.clock())
    return _send_back(server, wanted.redirect_uri, wanted.state, _signed_for(wanted), code=code)


def _signed_for(wanted: AuthorizationRequest) -> str:
    """The client to which a signed response goes; empty for a plain one."""
    return "" if wanted.response_mode == "query" else wanted.client_id


def _sent_back_error(server: Server, seen: Seen, back: SendBack) -> web.Response:
    seen.outcome = back.error
    why = {"error": back.error, "error_description": back.description}
    return _send_back(server, back.redirect_uri, back.state, back.signed_for, **why)


def _send_back(
    server: Server, redirect_uri: str, state: str | None, signed_for: str, **parameters: str
) -> web.Response:
    """The redirect to the client, with state as it came and with the issuer (RFC 9207 §2: in errors too)."""
    if state is not None:
        parameters["state"] = state
    parameters["iss"] = server.issuer
    if signed_for:
        parameters = {"response": signed_response(server, signed_for, parameters)}
    joint = "&" if "?" in redirect_uri else "?"
    location = f"{redirect_uri}{joint}{urlencode(parameters)}"
    # RFC 9700 §4.12: 303, for a 307 would send the form on to the client
    return web.Response(status=303, headers={"Location": location, "Referrer-Policy": "no-referrer"})


def refusal(seen: Seen, reason: str, status: int = 400) -> web.Response:
    """The page for a request that cannot be answered."""
    seen.outcome = "refused"
    return page(pages.refused_page(reason), status, pages.content_security_policy())


def page(html: str, status: int, policy: str) -> web.Response:
    """A page of ours with the headers that keep it to itself."""
    return web.Response(
        text=html,
        status=status,
        content_type="text/html",
        charset="utf-8",
        headers={
            "Content-Security-Policy": policy,
            "X-Frame-Options": "DENY",
            # not no-referrer: with it browsers say "Origin: null" even for our own form
            "Referrer-Policy": "same-origin",
        },
    )


_LIFETIME = 60


def signed_response(server: Server, client_id: str, parameters: Mapping[str, str]) -> str:
    """The JWT of a response (JARM §2.1), good for a minute."""
    client = server.ledger.clients[client_id]
    end = int(server.clock()) + _LIFETIME
    claims: dict[str, Any] = {**parameters, "iss": server.issuer, "aud": client_id, "exp": end}
    algorithm = client.metadata.get("authorization_signed_response_alg", next(iter(server.signing_algs)))
    return identity.sign(server, client, changed(claims, server.response_changes), algorithm)


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
