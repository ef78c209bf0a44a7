"""A small API behind access tokens: a forecast, an archive, notes, a vault, and the token's person.

The rule: the same answers each time, so that tests can rely on them; `protection` decides who gets them.
"""
from __future__ import annotations

import asyncio
import json
import re
from typing import Any, cast

from aiohttp import web

from .endpoint import Seen, Server
from .ledger.grants import AccessToken, Refused, subject_of
from .messages.request_reader import read_pairs
from .protection import STRONG, authorized, check_authentication, grant_of

_DAYS = 100
_SKIES = ("sunny", "rain", "cloudy")
_VAULT_MAX_AGE = 300  # seconds


async def forecast(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET /api/forecast?city=: the next three days; the same each time, so that tests can rely on it."""
    authorized(server, request, seen, "weather.read")
    days = [("Monday", 14, "sunny"), ("Tuesday", 11, "rain"), ("Wednesday", 12, "cloudy")]
    return web.json_response(
        {
            "city": seen.parameters.get("city", "Bergen"),
            "days": [{"day": day, "celsius": celsius, "sky": sky} for day, celsius, sky in days],
        }
    )


async def notes(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET /api/notes: all notes of the person, oldest first."""
    person = _person(server, authorized(server, request, seen, "notes"))
    items = [{"id": number, "text": text} for number, text in enumerate(server.notes.get(person, ()), 1)]
    return web.json_response({"items": items})


async def add_note(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """POST /api/notes: one more, from `{"text": ...}` in JSON or `text=...` in a form."""
    person = _person(server, authorized(server, request, seen, "notes"))
    note = _read_note(request.content_type, await request.read())
    written = server.notes.setdefault(person, [])
    written.append(note)
    return web.json_response({"id": len(written), "text": note}, status=201)


async def archive(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET /api/archive?pageToken=: the weather of a hundred days, ten to a page; the same each time."""
    authorized(server, request, seen, "weather.read")
    page = seen.parameters.get("pageToken", "0")
    if not re.fullmatch("0|[1-9]0", page):
        raise Refused("invalid_page", "pageToken is one that a page named")
    await asyncio.sleep(server.delay_per_page)
    first = int(page)
    days = [{"day": day, "celsius": 5 + day * 7 % 19, "sky": _SKIES[day % 3]} for day in range(first, first + 10)]
    more = {"nextPageToken": str(first + 10)} if first + 10 < _DAYS else {}
    return web.json_response({"items": days, "total": _DAYS, **more})


async def me(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET /api/me: the token's person, client and scopes; any scope will do."""
    token = authorized(server, request, seen, "")
    grant, person = grant_of(server, token), _person(server, token)
    value = {
        "id": subject_of(person),
        "name": person,
        "client_id": grant.client_id,
        "scopes": list(token.scopes),
        **({"actor": grant.actor} if grant.actor else {}),
    }
    return web.json_response(value)


async def vault(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET /api/vault: only after a strong sign-in of the last five minutes (RFC 9470)."""
    token = authorized(server, request, seen, "notes")
    check_authentication(server, token, STRONG, _VAULT_MAX_AGE)
    return web.json_response({"secret": "the cake is in the pantry"})


def _person(server: Server, token: AccessToken) -> str:
    """The person, or machine, that the token's grant is for."""
    return grant_of(server, token).person or server.people[0]


def _read_note(content_type: str, body: bytes) -> str:
    try:
        if content_type == "application/json":
            note: Any = json.loads(body)
        elif content_type == "application/x-www-form-urlencoded":
            note = dict(read_pairs(body.decode("ascii")))
        else:
            raise Refused("unsupported_media_type", "a note is sent as JSON or as a form", 415)
    except (ValueError, RecursionError) as error:
        raise Refused("invalid_note", "the body cannot be read") from error
    text = cast("dict[str, Any]", note).get("text") if isinstance(note, dict) else None
    if not isinstance(text, str) or not text:
        raise Refused("invalid_note", "a note has a member text, a string")
    return text
