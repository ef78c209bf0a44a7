"""A stand-in for Google: an authorization server with Google's scopes, and the API's manners, on loopback.

The rule: it says what Google's documentation says, shares no code with the client, and refuses what Google refuses.
"""
from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from SlyAPI.testing import PracticeProvider
from tests.support.serving import all_by, served

AUTH = "https://www.googleapis.com/auth"
SHEETS, SHEETS_READONLY = f"{AUTH}/spreadsheets", f"{AUTH}/spreadsheets.readonly"
YOUTUBE_READONLY, YOUTUBE_MEMBERS = f"{AUTH}/youtube.readonly", f"{AUTH}/youtube.channel-memberships.creator"
SCOPES = {
    SHEETS: "See, edit, create, and delete all your Google Sheets spreadsheets",
    SHEETS_READONLY: "See all your Google Sheets spreadsheets",
    YOUTUBE_READONLY: "View your YouTube account",
    YOUTUBE_MEMBERS: "See a list of your current active channel members",
}
CLIENT_SECRET = "GOCSPX-5EC9E7-5EC9E7"


class GoogleError(Exception):
    """An error as Google writes it (google.rpc.Status in JSON; `reason` as the older APIs have it)."""

    def __init__(self, code: int, status: str, message: str, reason: str = "", **headers: str) -> None:
        self.code = code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.body: dict[str, Any] = {"code": code, "message": message, "status": status}
        if reason:
            self.body["errors"] = [{"message": message, "domain": "global", "reason": reason}]


@dataclass
class Asked:
    """One API call as it came over the wire: parameters decoded once, each once; `rest` is behind the endpoint."""

    method: str
    path: str
    params: dict[str, str]
    credential: str
    body: Any = None
    rest: str = ""


Endpoint = Callable[[Asked], Mapping[str, Any]]


@dataclass
class Google:
    """The accounts, and a table of API endpoints. `asked` is what the API saw, refusals included."""

    provider: PracticeProvider
    api_key: str = "AIza-5EC9E7-5EC9E7"
    asked: list[Asked] = field(default_factory=list[Asked])
    quota: int = 1_000_000
    """Calls that are answered before the API says that the quota is exceeded."""
    tokens_end_after: int | None = None
    """Calls after which every access token is revoked, once."""
    origin: str = ""
    endpoints: dict[str, tuple[Endpoint, tuple[str, ...]]] = field(default_factory=dict)
    """What answers `METHOD /path`, and the scopes of which the token must have one; none: a key will do."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response(self._answer(request, await request.read()))
        except GoogleError as error:
            return web.json_response({"error": error.body}, status=error.code, headers=error.headers)

    def _answer(self, request: web.Request, body: bytes) -> Mapping[str, Any]:
        pairs = parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True, strict_parsing=bool(request.query))
        asked = Asked(request.method, request.path, dict(pairs), request.headers.get("Authorization", ""))
        self.asked.append(asked)
        if len(pairs) != len(asked.params) or len(request.headers.getall("Authorization", [])) > 1:
            raise invalid("a parameter or the credential came twice")
        if len(self.asked) > self.quota:
            raise GoogleError(403, "", "You have exceeded your quota.", "quotaExceeded")
        endpoint, scopes, asked.rest = self._find(request)
        self._authorize(asked, scopes)
        if body.strip() and request.content_type != "application/json":
            raise invalid(f"Invalid content type {request.content_type}")
        asked.body = _json(body)
        answer = endpoint(asked)
        if self.tokens_end_after == len(self.asked):
            self.provider.revoke_access_tokens()
        return answer

    def _find(self, request: web.Request) -> tuple[Endpoint, tuple[str, ...], str]:
        for name, (endpoint, scopes) in self.endpoints.items():
            method, _, start = name.partition(" ")
            exact = request.path == start or (start.endswith("/") and request.path.startswith(start))
            if method == request.method and exact:
                return endpoint, scopes, request.path.removeprefix(start)
        raise GoogleError(404, "NOT_FOUND", "Not found.", "notFound")

    def _authorize(self, asked: Asked, scopes: tuple[str, ...]) -> None:
        if not asked.credential and not scopes and "key" in asked.params:
            if asked.params.pop("key") != self.api_key:
                raise invalid("API key not valid. Please pass a valid API key.")
            return
        scheme, _, text = asked.credential.partition(" ")
        token = self.provider.ledger.access(text, self.provider.clock())
        if scheme != "Bearer" or token is None:
            challenge = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
            message = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or "
            raise GoogleError(
                401, "UNAUTHENTICATED", f"{message}other valid authentication credential.", WWW_Authenticate=challenge
            )
        if scopes and not set(scopes) & set(token.scopes):
            challenge = f'Bearer realm="https://accounts.google.com/", error="insufficient_scope", scope="{scopes[0]}"'
            message = "Request had insufficient authentication scopes."
            raise GoogleError(403, "PERMISSION_DENIED", message, "insufficientPermissions", WWW_Authenticate=challenge)


def invalid(message: str, reason: str = "badRequest") -> GoogleError:
    return GoogleError(400, "INVALID_ARGUMENT", message, reason)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body) if body.strip() else {}
    except ValueError as error:
        raise invalid("Invalid JSON payload received.") from error


def page_of(rows: list[Any], asked: Asked, default: int, most: int) -> dict[str, Any]:
    """A page of a list method: maxResults, pageToken, pageInfo, and tokens that are no numbers."""
    size = asked.params.get("maxResults", str(default))
    if not size.isdecimal() or not 0 <= int(size) <= most:
        raise invalid(f"Invalid value '{size}'. Values must be within the range: [0, {most}]", "invalidParameter")
    token = asked.params.get("pageToken", "")
    start = 0
    if token:
        if not token.startswith("CA+/=") or not token[5:].isdecimal():
            raise invalid("The request specifies an invalid page token.", "invalidPageToken")
        start = int(token[5:])
    end = start + (int(size) or default)
    page: dict[str, Any] = {"pageInfo": {"totalResults": len(rows), "resultsPerPage": int(size)}}
    if end < len(rows):
        page["nextPageToken"] = f"CA+/={end}"
    return {**page, "items": rows[start:end]}


@asynccontextmanager
async def running_google(**settings: Any) -> AsyncGenerator[Google, None]:
    """A Google that listens on loopback, without a refresh token's rotation, as Google is."""
    usual: dict[str, Any] = {
        "client_secret": CLIENT_SECRET,
        "redirect_uris": ["http://localhost", "http://127.0.0.1"],
        "consent": "allow",
        "access_token_lifetime": 3600.0,
        "rotation": False,
        "scopes": SCOPES,
    }
    google = Google(PracticeProvider(**{**usual, **settings}))
    async with google.provider.running(), served(all_by(google.answer), patience=0.5) as google.origin:
        yield google
