"""A server of pages, and a client of it."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from SlyAPI import Auth, WebAPI

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.support.serving import Handler

Answers = Mapping[str | None, Any]


def api_of(server: Server, auth: Auth | None = None) -> WebAPI:
    api = WebAPI(auth or Auth.none())
    api.base_url = server.origin
    return api


def by_token(answers: Answers, name: str = "pageToken") -> Handler:
    """A server that answers by the token in the query."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response(answers[request.query.get(name)])

    return handler
