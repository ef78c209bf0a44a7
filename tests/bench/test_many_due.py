"""Many users whose tokens are due at once cost time in proportion to their number, and nothing of them is kept.

The rule: CPU time of this process is compared with itself, the best of some rounds, so that a busy machine passes.
"""
from __future__ import annotations

import asyncio
import gc
import sys
import time
from typing import Any
from unittest import mock

import aiohttp
import pytest

from SlyAPI import OAuth2, OAuth2App
from SlyAPI.stores import MemoryStore
from SlyAPI.web import Method, Request
from tests.bench.scale import user
from tests.simulation.http import Response, Session

pytestmark = pytest.mark.slow

APP = OAuth2App("id", "secret", "https://p.example/authorize", "https://p.example/token", token_timeout=600.0)
TOKENS = b'{"access_token": "new", "refresh_token": "renewed", "token_type": "Bearer", "expires_in": 3600}'


class Answered(Session):
    """What `aiohttp.ClientSession` is meanwhile: every token request is answered at once."""

    async def request(self, method: str, url: Any, **_: Any) -> Response:
        await asyncio.sleep(0)
        return Response((200, {"Content-Type": "application/json"}, TOKENS))


async def all_due(count: int) -> float:
    """Seconds of CPU time for the refresh of as many users, all at once."""
    store = MemoryStore()
    for number in range(count):
        await store.save(f"user-{number}", user(number).to_dict())
    auths = [OAuth2(APP, store.user(f"user-{number}")) for number in range(count)]
    requests = [Request(Method.GET, "https://api.example/") for _ in auths]
    gc.collect()
    gc.disable()  # how long a collection takes depends on the rest of the process
    try:
        with mock.patch.object(aiohttp, "ClientSession", Answered):
            began = time.process_time()
            await asyncio.gather(*(auth.sign(None, request) for auth, request in zip(auths, requests, strict=True)))
            took = time.process_time() - began
    finally:
        gc.enable()
    assert {request.headers["Authorization"] for request in requests} == {"Bearer new"}
    return took


def ratio() -> float:
    """What eight thousand cost, as a multiple of what a thousand cost just before."""
    one = asyncio.run(all_due(1000))
    return asyncio.run(all_due(8000)) / one


def test_eight_thousand_users_due_at_once_cost_at_most_a_fifth_more_than_eight_times_a_thousand() -> None:
    asyncio.run(all_due(1000))
    assert min(ratio() for _ in range(4)) <= 1.2 * 8


def test_what_is_remembered_of_users_is_bounded() -> None:
    asyncio.run(all_due(11_000))  # more than are remembered
    gc.collect()
    before = sys.getallocatedblocks()
    asyncio.run(all_due(3000))
    gc.collect()
    assert sys.getallocatedblocks() - before < 3000  # less than one block of memory for each
