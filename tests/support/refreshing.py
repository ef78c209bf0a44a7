"""A place to refresh in: a token endpoint that answers as told, and an API that takes any token."""
from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from SlyAPI import OAuth2, OAuth2App, OAuth2User, WebAPI
from SlyAPI.errors import SaveError
from SlyAPI.oauth2.client.app import OnRefresh
from SlyAPI.stores import MemoryStore

if TYPE_CHECKING:
    from tests.conftest import Clock, Server

OLD, REFRESH = "old-token-0", "refresh-token-0"
Answer = Callable[[], web.Response]


@dataclass(repr=False)
class Place:
    """A token endpoint that answers as told, an API that takes any token, and a user whose token has expired."""

    clock: Clock
    endpoint: Server
    api_server: Server
    folder: Path
    on_refresh: OnRefresh | None = None
    forms: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    answers: list[Answer] = field(default_factory=list[Answer])
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def token(self, request: web.Request) -> web.StreamResponse:
        self.forms.append({name: str(value) for name, value in (await request.post()).items()})
        number = len(self.forms)
        self.asked.set()
        await self.gate.wait()
        return self.answers.pop(0)() if self.answers else self.tokens(number)

    def tokens(self, number: int, **more: Any) -> web.Response:
        told = {"access_token": f"new-token-{number}", "token_type": "Bearer", "expires_in": 100}
        return web.json_response({**told, "refresh_token": f"refresh-token-{number}", **more})

    @property
    def app(self) -> OAuth2App:
        uri = f"{self.endpoint.origin}/token"
        return OAuth2App("id", "client-secret-0", uri, uri, self.on_refresh)

    def user(self, due_in: float = -1.0) -> OAuth2User:
        return OAuth2User(OLD, REFRESH, datetime.fromtimestamp(self.clock() + due_in, UTC))

    def file(self, user: OAuth2User | None = None) -> Path:
        path = self.folder / "user.json"
        path.write_text(json.dumps((user or self.user()).to_dict()))
        return path

    def api(self, user: Any = None, **more: Any) -> WebAPI:
        api = WebAPI(OAuth2(self.app, self.user() if user is None else user, clock=self.clock, **more))
        api.base_url = self.api_server.origin
        return api

    @property
    def sent(self) -> list[str]:
        """The tokens that the API was shown."""
        return [seen.headers["Authorization"].removeprefix("Bearer ") for seen in self.api_server.seen]


async def is_touch(store: MemoryStore, name: str, value: dict[str, Any]) -> bool:
    """Whether a save changes nothing: the one before a token request, which shows that the store can be written."""
    return name in await MemoryStore.names(store) and await MemoryStore.load(store, name) == value


class FullDisk(MemoryStore):
    """A store that saves nothing new while its disk is `full`, which it did not know before the request."""

    full = False

    async def save(self, name: str, value: dict[str, Any]) -> None:
        if self.full and not await is_touch(self, name, value):
            raise SaveError("The disk is full.")
        await super().save(name, value)


def status(code: int, body: Any = None) -> Answer:
    return lambda: web.json_response(body, status=code) if body else web.Response(status=code)


INVALID_GRANT = status(400, {"error": "invalid_grant"})
