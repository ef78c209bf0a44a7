"""A small API behind Bearer tokens: a forecast, an archive, notes, and who the person is.

The rule: RFC 6750 to the letter; a token counts in the Authorization header and nowhere else.
"""
from __future__ import annotations

import asyncio
import json
import re
from typing import Any, cast

from aiohttp import web

from .endpoint import Seen, Server
from .grants import AccessToken, Refused, digest
from .request_reader import query_of, read_pairs

_DAYS = 100
_SKIES = ("sunny", "rain", "cloudy")
_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


async def forecast(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET /api/forecast?city=: the next three days; the same each time, so that tests can rely on it."""
    _authorized(server, request, seen, "weather.read")
    days = [("Monday", 14, "sunny"), ("Tuesday", 11, "rain"), ("Wednesday", 12, "cloudy")]
    return web.json_response(
        {
            "city": seen.parameters.get("city", "Bergen"),
            "days": [{"day": day, "celsius": celsius, "sky": sky} for day, celsius, sky in days],
        }
    )


async def notes(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET /api/notes: all notes of the person, oldest first."""
    person = _person(server, _authorized(server, request, seen, "notes"))
    items = [{"id": number, "text": text} for number, text in enumerate(server.notes.get(person, ()), 1)]
    return web.json_response({"items": items})


async def add_note(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """POST /api/notes: one more, from `{"text": ...}` in JSON or `text=...` in a form."""
    person = _person(server, _authorized(server, request, seen, "notes"))
    note = _read_note(request.content_type, await request.read())
    written = server.notes.setdefault(person, [])
    written.append(note)
    return web.json_response({"id": len(written), "text": note}, status=201)


async def archive(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET /api/archive?pageToken=: the weather of a hundred days, ten to a page; the same each time."""
    _authorized(server, request, seen, "weather.read")
    told = seen.parameters.get("pageToken", "0")
    if not re.fullmatch("0|[1-9]0", told):
        raise Refused("invalid_page", "pageToken is one that a page named")
    await asyncio.sleep(server.delay_per_page)
    first = int(told)
    days = [{"day": day, "celsius": 5 + day * 7 % 19, "sky": _SKIES[day % 3]} for day in range(first, first + 10)]
    more = {"nextPageToken": str(first + 10)} if first + 10 < _DAYS else {}
    return web.json_response({"items": days, "total": _DAYS, **more})


async def me(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET /api/me: whose token this is, and what it may do; any scope will do."""
    token = _authorized(server, request, seen, "")
    client_id = server.ledger.grants[token.grant_id].client_id
    person = _person(server, token)
    told = {"id": digest(person)[:12], "name": person, "client_id": client_id, "scopes": list(token.scopes)}
    return web.json_response(told)


def _person(server: Server, token: AccessToken) -> str:
    """Who granted it."""
    return server.ledger.grants[token.grant_id].person or server.people[0]


def _authorized(server: Server, request: web.Request, seen: Seen, scope: str) -> AccessToken:
    """The token of a request, good now and for this scope (empty: any); RFC 6750 §3.1 names the errors."""
    seen.parameters = dict(read_pairs(query_of(request)))
    token = server.ledger.access(_read_bearer(request, seen), server.clock())
    if token is None:
        raise _refused("invalid_token", "the access token is expired, revoked or unknown", 401)
    if scope and scope not in token.scopes:
        raise _refused("insufficient_scope", f"this needs the scope {scope}", 403, f', scope="{scope}"')
    return token


def _read_bearer(request: web.Request, seen: Seen) -> str:
    """The text of the access token (RFC 6750 §2.1); one in the URL is refused (§5.3)."""
    if "access_token" in seen.parameters:
        raise _refused("invalid_request", "an access token belongs in the header, never in the URL")
    headers = request.headers.getall("Authorization", [])
    if not headers:
        # RFC 6750 §3.1: no error code for a request that showed no token
        raise Refused("missing_token", "an access token is needed", 401, 'Bearer realm="practice"')
    # RFC 9110 §11.1 ignores the case of a scheme, but servers that take only this spelling exist
    scheme, _, token = headers[0].partition(" ")
    if len(headers) > 1 or scheme != "Bearer" or not _B64TOKEN.fullmatch(token):
        raise _refused("invalid_request", "one Authorization header is expected: Bearer and the token")
    return token


def _refused(error: str, description: str, status: int = 400, more: str = "") -> Refused:
    """A refusal with its challenge (RFC 6750 §3)."""
    challenge = f'Bearer realm="practice", error="{error}", error_description="{description}"{more}'
    return Refused(error, description, status, challenge)


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
