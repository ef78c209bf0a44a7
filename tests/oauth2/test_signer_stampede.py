"""A thousand calls at once on a token that is over: one refresh for them all, whatever becomes of it."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from SlyAPI import GrantEndedError, WebAPI
from tests.support.refreshing import INVALID_GRANT, Place

CALLS = [100, 1000]


@pytest.mark.parametrize("calls", CALLS)
async def test_a_stampede_asks_for_one_token_and_all_are_served(place: Place, calls: int) -> None:
    api = place.api(place.file())
    assert await asyncio.gather(*(api.get_json("/") for _ in range(calls))) == [{"ok": True}] * calls
    assert (len(place.forms), place.sent) == (1, ["new-token-1"] * calls)


@pytest.mark.parametrize("calls", CALLS)
async def test_a_stampede_whose_refresh_is_refused_fails_at_once_with_one_error(place: Place, calls: int) -> None:
    place.answers = [INVALID_GRANT]
    api = place.api(place.file())
    told = await asyncio.gather(*(api.get_json("/") for _ in range(calls)), return_exceptions=True)
    assert isinstance(told[0], GrantEndedError)
    assert {id(error) for error in told} == {id(told[0])}
    assert (len(place.forms), place.sent) == (1, [])


@pytest.mark.parametrize("calls", CALLS)
async def test_a_stampede_opens_few_connections(place: Place, calls: int) -> None:
    opened: list[object] = []

    async def note(*_: object) -> None:
        opened.append(None)

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(note)
    async with aiohttp.ClientSession(trace_configs=[trace]) as session:
        api = WebAPI(place.api().auth, session=session)
        api.base_url = place.api_server.origin
        await asyncio.gather(*(api.get_json("/") for _ in range(calls)))
    assert len(opened) <= 25  # both servers run in this event loop, so that the machine's load hardly matters
