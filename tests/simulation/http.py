"""The one seam of HTTP: a class in the place of `aiohttp.ClientSession`.

The rule: whoever makes a session while a simulation runs gets this one, wherever in the package that happens;
nothing of the package is patched, and what aiohttp promises (errors, time limits) this class keeps.
"""

import asyncio
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from unittest import mock

import aiohttp
from multidict import CIMultiDict

from tests.simulation.provider import TOKEN_URI, Answer, form_of
from tests.simulation.worlds import EPOCH, World

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

REVOKE_URI = "https://provider.example/revoke"
OTHER_TOKEN_URI = "https://other-provider.example/token"
AUTH_URI = "https://provider.example/authorize"
API = "https://api.example"
TOKEN_LIMIT = 30.0
"""Seconds that a token request may take, by the documentation of `OAuth2App.token_timeout`."""


class Content:
    """A body that is there at once."""

    def __init__(self, body: bytes) -> None:
        self._left = body

    def at_eof(self) -> bool:
        return not self._left

    async def readany(self) -> bytes:
        left, self._left = self._left, b""
        return left


class Response:
    """What `aiohttp.ClientResponse` is to the package."""

    def __init__(self, answer: Answer) -> None:
        self.status, headers, body = answer
        self.headers: CIMultiDict[str] = CIMultiDict(headers)
        self.content = Content(body)

    def close(self) -> None:
        pass

    def release(self) -> None:
        pass


class Session:
    """What `aiohttp.ClientSession` is to the package: the running loop says of which world it is."""

    scenario: "Scenario"

    def __init__(self, **options: Any) -> None:
        self.closed = False
        self.connector = None
        self.connector_owner = False
        self.trust_env = False
        self.timeout = aiohttp.ClientTimeout(total=300)

    async def __aenter__(self) -> "Session":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self.closed = True

    def detach(self) -> None: ...

    async def request(
        self, method: str, url: Any, *, headers: Any = None, data: Any = None, timeout: Any = None, **_: Any
    ) -> Response:
        world: World = asyncio.get_running_loop().world  # type: ignore[attr-defined]
        limit = (timeout or self.timeout).total
        async with asyncio.timeout(limit):
            authorization = dict(headers or {}).get("Authorization", "")
            if str(url) in (TOKEN_URI, OTHER_TOKEN_URI):
                form = form_of(data)
                client = form.get("client_id") or _client(authorization) if str(url) == TOKEN_URI else str(url)
                status, answered, body = await self._token(world, form, client)
                if self.scenario.plan.dated:
                    answered = {**answered, "Date": formatdate(EPOCH + self.scenario.universe.now, usegmt=True)}
                return Response((status, answered, body))
            if str(url) == REVOKE_URI:
                return Response(await self._revoke(world, form_of(data)))
            return Response(await self._api(world, authorization))

    async def _token(self, world: World, form: dict[str, str], client: str) -> Answer:
        """Two operations: the request arrives, the reply arrives."""
        provider, universe = self.scenario.provider, self.scenario.universe
        refresh = provider.note_request(world, form, client)
        began = universe.now
        answer, rotation = await universe.do(world, "token", {"tokens": True}, lambda: provider.token(world, refresh))

        def receive() -> Answer:
            if rotation is not None:
                provider.received(rotation)
            provider.heard(world, refresh, answer)
            return answer  # type: ignore[no-any-return]

        try:
            reply: Answer = await universe.do(world, "reply", {"tokens": False}, receive)
        except asyncio.CancelledError:
            if rotation is not None and universe.now - began > TOKEN_LIMIT - 0.001:
                rotation.excuse = "its reply came after the time limit"
            raise
        return reply

    async def _revoke(self, world: World, form: dict[str, str]) -> Answer:
        provider, universe = self.scenario.provider, self.scenario.universe
        reply: Answer = await universe.do(
            world, "revoke", {"tokens": True}, lambda: provider.revoke(world, form.get("token", ""))
        )
        return reply

    async def _api(self, world: World, authorization: str) -> Answer:
        provider, universe = self.scenario.provider, self.scenario.universe
        reply: Answer = await universe.do(world, "api", {}, lambda: provider.api(world, authorization))
        return reply


def _client(authorization: str) -> str:
    """The client that authenticates by Basic."""
    return b64decode(authorization.removeprefix("Basic ")).decode().partition(":")[0]


@contextmanager
def sessions_of(scenario: "Scenario") -> Iterator[type[Session]]:
    """While it lasts, `aiohttp.ClientSession` is the simulated one."""
    kind: Any = type("ClientSession", (Session,), {"scenario": scenario})
    with mock.patch.object(aiohttp, "ClientSession", kind):
        try:
            yield kind
        finally:
            del kind.scenario  # the package keeps a session for as long as its client lives, which the scenario holds
