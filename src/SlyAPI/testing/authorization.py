"""The endpoints a person meets: the authorization endpoint and the consent form that follows it.

The rule: nothing is redirected before client and redirect_uri are known to be good, and nothing is
granted but by this provider's own form, once.
"""
from __future__ import annotations

import secrets
from urllib.parse import urlencode

from aiohttp import web

from . import pages, request_reader
from .endpoint import Seen, Server
from .grants import AuthorizationRequest, Refused, digest

_TICKET_LIFETIME = 600.0


async def authorize(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET /authorize (RFC 6749 §4.1.1): ask the person, or answer as `server.consent` says."""
    try:
        pairs = request_reader.read_pairs(request_reader.query_of(request))
        seen.parameters = dict(pairs)
        wanted = request_reader.read_authorization_request(pairs, server.ledger.clients, server.scopes)
    except request_reader.ShowPage as shown:
        return _refusal(seen, str(shown))
    except request_reader.SendBack as back:
        seen.outcome = back.error
        return _send_back(
            server, back.redirect_uri, back.state, error=back.error, error_description=back.description
        )
    except Refused as refused:
        return _refusal(seen, f"The request cannot be read: {refused.description}.")
    hinted = seen.parameters.get("login_hint", "")  # OpenID Connect Core §3.1.2.1
    person = hinted if hinted in server.people else server.people[0]
    if server.consent != "ask":
        return _decided(server, wanted, person, server.consent == "allow", seen)
    return _question(server, wanted, person, seen)


async def answer_consent(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """POST /consent: the person's answer, good once, and only from our own page."""
    # a browser says where a form comes from; another site's must not answer for the person (CSRF)
    if (
        request.headers.get("Origin", server.origin) != server.origin
        or request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin"
    ):
        return _refusal(seen, "The answer came from another site.", 403)
    try:
        seen.parameters = await request_reader.read_form(request)
    except Refused as refused:
        return _refusal(seen, f"The answer cannot be read: {refused.description}.")
    wanted, ends = server.tickets.pop(digest(seen.parameters.get("ticket", "")), (None, 0.0))
    decision, person = seen.parameters.get("decision"), seen.parameters.get("person", server.people[0])
    if wanted is None or server.clock() >= ends or decision not in ("allow", "deny") or person not in server.people:
        return _refusal(seen, "This question was answered before, or is too old. Start again from the app.")
    return _decided(server, wanted, person, decision == "allow", seen)


def _question(server: Server, wanted: AuthorizationRequest, person: str, seen: Seen) -> web.Response:
    ticket = secrets.token_urlsafe(32)
    server.tickets[digest(ticket)] = (wanted, server.clock() + _TICKET_LIFETIME)
    seen.outcome = "asked"
    page = pages.consent_page(
        app=server.ledger.clients[wanted.client_id].name,
        people=server.people,
        person=person,
        scopes={scope: server.scopes[scope] for scope in wanted.scopes},
        destination=wanted.redirect_uri,
        ticket=ticket,
    )
    return _page(page, 200, pages.content_security_policy(wanted.redirect_uri))


def _decided(server: Server, wanted: AuthorizationRequest, person: str, allowed: bool, seen: Seen) -> web.Response:
    granted = tuple(wanted.scopes if server.granted_scopes is None else server.granted_scopes(wanted.scopes))
    if not allowed or not granted:
        seen.outcome = "access_denied"
        return _send_back(
            server,
            wanted.redirect_uri,
            wanted.state,
            error="access_denied",
            error_description="the person said no",
        )
    code = server.ledger.issue_code(wanted, granted, person, server.clock())
    return _send_back(server, wanted.redirect_uri, wanted.state, code=code)


def _send_back(server: Server, redirect_uri: str, state: str | None, **parameters: str) -> web.Response:
    """The redirect to the client, with state as it came and with the issuer (RFC 9207 §2: in errors too)."""
    if state is not None:
        parameters["state"] = state
    parameters["iss"] = server.origin
    joint = "&" if "?" in redirect_uri else "?"
    location = f"{redirect_uri}{joint}{urlencode(parameters)}"
    # RFC 9700 §4.12: 303, for a 307 would send the form on to the client
    return web.Response(status=303, headers={"Location": location, "Referrer-Policy": "no-referrer"})


def _refusal(seen: Seen, reason: str, status: int = 400) -> web.Response:
    seen.outcome = "refused"
    return _page(pages.refused_page(reason), status, pages.content_security_policy())


def _page(html: str, status: int, policy: str) -> web.Response:
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
