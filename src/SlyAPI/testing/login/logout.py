"""Signing out (OpenID Connect RP-Initiated and Back-Channel Logout): a session ends, and its clients hear of it.

The rule: a browser is sent on only to an address that the client registered for it.
"""
from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from ..endpoint import Seen, Server
from ..ledger.grants import Client, Refused
from ..messages import request_reader
from ..messages.fetching import FetchFailed, post_form
from ..tokens.identity import logout_token, read_id_token, session_of
from . import pages
from .authorization import page, refusal


async def end_session(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET or POST /logout (RP-Initiated Logout §2)."""
    try:
        if request.method == "POST":
            seen.parameters = await request_reader.read_form(request)
        else:
            pairs = request_reader.read_pairs(request_reader.query_of(request))
            if request_reader.repeated(pairs):
                raise Refused("invalid_request", "a parameter is repeated")
            seen.parameters = dict(pairs)
    except Refused as refused:
        return refusal(seen, f"The request cannot be read: {refused.description}.")
    form = seen.parameters
    claims = read_id_token(server, form["id_token_hint"]) if "id_token_hint" in form else {}
    if claims is None:
        return refusal(seen, "The app sent an id_token that this provider did not issue (id_token_hint).")
    client_id = form.get("client_id", str(claims.get("aud", "")))
    if claims and claims["aud"] != client_id:
        return refusal(seen, "The app's id_token is another app's (client_id).")
    client = server.ledger.clients.get(client_id)
    target = form.get("post_logout_redirect_uri")
    if target is not None and (client is None or target not in client.metadata.get("post_logout_redirect_uris", ())):
        return refusal(seen, "The app wants you back at an address that is not registered (post_logout_redirect_uri).")
    for grant in session_of(server, claims):
        await sign_out(server, grant.client_id, grant.person, grant.session_id)
    if target is None:
        return page(pages.done_page("You are signed out."), 200, pages.content_security_policy())
    joint = "&" if "?" in target else "?"
    state = joint + urlencode({"state": form["state"]}) if "state" in form else ""
    return web.Response(status=303, headers={"Location": target + state, "Referrer-Policy": "no-referrer"})


async def sign_out(server: Server, client_id: str, person: str, session_id: str) -> int | None:
    """End a session and send a logout token; the reply's status, 0 without a reply, None without an address."""
    server.ledger.end_session(session_id)
    client: Client | None = server.ledger.clients.get(client_id)
    address = None if client is None else client.metadata.get("backchannel_logout_uri")
    if address is None:
        return None
    try:
        return await post_form(address, {"logout_token": logout_token(server, client_id, person, session_id, {})})
    except FetchFailed:
        return 0
