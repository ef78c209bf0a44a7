"""Many calls at once on an expired token, beside the same on a live one: token requests, failures and wall time.

The rule: each round begins with no connection open, on both sides.
"""

import asyncio
import time
from dataclasses import dataclass

import aiohttp

from SlyAPI import OAuth2, SlyError, WebAPI
from tests.bench.calls import api_at


@dataclass
class Stampede:
    """What came of `calls` at once; seconds of wall time."""

    calls: int
    live: float
    token_request: float
    expired: float
    asked: int

    @property
    def ratio(self) -> float:
        """Of the calls on an expired token to those on a live one and one token request."""
        return self.expired / (self.live + self.token_request)


async def stampede(url: str, calls: int, rounds: int) -> Stampede:
    """The round with the least wall time."""
    live: list[float] = []
    token: list[float] = []
    expired: list[float] = []
    asked = 0
    for _ in range(rounds):
        async with api_at(url) as api:
            live.append(await _wall(api, calls))
        async with api_at(url, lives=False) as api:
            begun = time.perf_counter()
            assert isinstance(api.auth, OAuth2)
            await api.auth.refresh_now()
            token.append(time.perf_counter() - begun)
        before = await _asked(url)
        async with api_at(url, lives=False) as api:
            expired.append(await _wall(api, calls))
        asked = max(asked, await _asked(url) - before)
    return Stampede(calls, min(live), min(token), min(expired), asked)


async def errors(url: str, calls: int) -> tuple[int, int, int]:
    """Of as many calls whose refresh is refused: those that failed, different errors, and token requests."""
    before = await _asked(url)
    async with api_at(url, lives=False, endpoint="refuse") as api:
        told = await asyncio.gather(*(api.get_json("/small") for _ in range(calls)), return_exceptions=True)
    failed = [error for error in told if isinstance(error, SlyError)]
    return len(failed), len({id(error) for error in failed}), await _asked(url) - before


async def _wall(api: WebAPI, calls: int) -> float:
    begun = time.perf_counter()
    await asyncio.gather(*(api.get_json("/small") for _ in range(calls)))
    return time.perf_counter() - begun


async def _asked(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/asked") as reply:
        return int(await reply.json())
