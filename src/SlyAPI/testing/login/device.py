"""The device flow (RFC 8628): a device shows a code, the person types it in a browser, the device polls.

The rule: a poll that comes too early gets `slow_down`, and a device code is accepted once.
"""
from __future__ import annotations

import re
import secrets

from aiohttp import web

from ..clients.client_auth import authenticated
from ..clients.client_policy import checked_scopes, may_use, resource_error
from ..endpoint import Seen, Server
from ..features import DEVICE_CODE, REFRESH_TOKEN
from ..ledger.grants import Binding, Client, Device, Grant, Issued, Refused, digest
from ..ledger.ledger import check_resources
from ..messages import request_reader
from . import pages
from .authorization import page, refusal

_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 §6.1: no vowels, so no words
_SLOWER = 5.0


async def begin(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """POST /device_authorization (RFC 8628 §3.1)."""
    seen.parameters = form = await request_reader.read_form(request)
    client = await authenticated(server, request, seen)
    if not may_use(server, client, DEVICE_CODE):
        raise Refused("unauthorized_client", "this client may not use the device flow")
    resources = tuple(form.get("resource", "").split())
    wrong = resource_error(server, resources)
    if wrong:
        raise Refused("invalid_target", wrong)
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    user_code, device_code = f"{letters[:4]}-{letters[4:]}", secrets.token_urlsafe(32)
    device = Device(
        client.client_id,
        checked_scopes(server, client, form.get("scope")),
        resources,
        user_code,
        server.clock() + server.device_code_lifetime,
        server.device_interval,
    )
    server.devices[digest(device_code)] = device
    if server.consent != "ask":
        decide(server, user_code, allow=server.consent == "allow")
    reply = {
        "device_code": device_code,
        "user_code": user_code,
        "verification_uri": f"{server.origin}/device",
        "verification_uri_complete": f"{server.origin}/device?user_code={user_code}",
        "expires_in": int(server.device_code_lifetime),
        "interval": server.device_interval,
    }
    return web.json_response(reply)


async def show(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET /device: the person's page, which asks for the code, or for consent where the URL has the code."""
    seen.parameters = request_reader.collected(request_reader.read_pairs(request_reader.query_of(request)))
    typed = seen.parameters.get("user_code", "")
    device = _pending(server, typed)
    seen.outcome = "asked"
    policy = pages.content_security_policy(server.origin)
    if device is None:
        reason = "This code is unknown, too old, or answered already." if typed else ""
        return page(pages.device_code_page(reason), 200, policy)
    html = pages.device_page(
        app=server.ledger.clients[device.client_id].name,
        people=server.people,
        scopes={scope: server.scopes[scope] for scope in device.scopes},
        user_code=device.user_code,
    )
    return page(html, 200, policy)


async def answer(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """POST /device: the person's answer, only from our own page."""
    if not request_reader.answered_by_our_page(request, server.origin):
        return refusal(seen, "The answer came from another site.", 403)
    try:
        seen.parameters = form = await request_reader.read_form(request)
    except Refused as refused:
        return refusal(seen, f"The answer cannot be read: {refused.description}.")
    decision, person = form.get("decision"), form.get("person", server.people[0])
    if decision not in ("allow", "deny") or person not in server.people:
        return refusal(seen, "The answer is neither Allow nor Deny, or nobody's.")
    if not decide(server, form.get("user_code", ""), allow=decision == "allow", person=person):
        return refusal(seen, "This code is unknown, too old, or answered already.")
    words = "Your device is connected." if decision == "allow" else "Nothing was granted."
    return page(pages.done_page(words), 200, pages.content_security_policy())


def decide(server: Server, user_code: str, *, allow: bool, person: str = "") -> bool:
    """Answer for the person; False where no device waits with this code."""
    device = _pending(server, user_code)
    if device is None:
        return False
    device.state = "allowed" if allow else "denied"
    device.person, device.decided_at = person or server.people[0], server.clock()
    return True


def poll(server: Server, client: Client, device_code: str, binding: Binding, now: float) -> Issued:
    """The tokens of a device that was allowed (RFC 8628 §3.4); Refused with the codes of §3.5."""
    device = server.devices.get(digest(device_code))
    if device is None or device.client_id != client.client_id or device.state == "used":
        raise Refused("invalid_grant", "the device code is unknown, used before, or another client's")
    if now >= device.expires_at:
        raise Refused("expired_token", "the device code has expired")
    if now < device.next_poll:
        device.interval += _SLOWER
        device.next_poll = now + device.interval
        raise Refused("slow_down", f"the next poll is due in {device.interval:g} seconds")
    device.next_poll = now + device.interval
    if device.state == "pending":
        raise Refused("authorization_pending", "the person has not answered yet")
    if device.state == "denied":
        raise Refused("access_denied", "the person refused")
    check_resources(binding, device.resources)
    device.state = "used"
    grant = Grant(
        client.client_id,
        device.scopes,
        person=device.person,
        resources=device.resources,
        authenticated_at=device.decided_at,
        session_id=secrets.token_urlsafe(16),
    )
    refreshes = may_use(server, client, REFRESH_TOKEN)
    offline = "offline_access" not in server.scopes or "offline_access" in device.scopes
    return server.ledger.start(client, grant, binding, now, with_refresh_token=refreshes and offline)


def _pending(server: Server, user_code: str) -> Device | None:
    """The device that waits for this code, however the person typed it (RFC 8628 §6.1)."""
    letters = re.sub(r"[^A-Z]", "", user_code.upper())
    for device in server.devices.values():
        waits = device.state == "pending" and device.expires_at > server.clock()
        if waits and letters and device.user_code.replace("-", "") == letters:
            return device
    return None
