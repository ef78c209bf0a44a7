"""A thousand calls at once on a token that is over: one refresh for them all, whatever becomes of it."""

from __future__ import annotations

import asyncio

import pytest

from SlyAPI import GrantEndedError
from tests.support.refreshing import INVALID_GRANT, Place

CALLS = [100, 1000]


@pytest.mark.parametrize("calls", CALLS)
async def test_a_stampede_asks_for_one_token_and_all_are_served(place: Place, calls: int) -> None:
    api = place.api(place.file())
    assert await asyncio.gather(*(api.get_json("/") for _ in range(calls))) == [{"ok": True}] * calls
    assert (len(place.forms), place.sent) == (1, ["new-token-1"] * calls)


@pytest.mark.parametrize("calls", CALLS)
async def test_a_stampede_whose_refresh_is_refused_fails_with_an_error_for_each_call(place: Place, calls: int) -> None:
    place.answers = [INVALID_GRANT]
    api = place.api(place.file())
    told = await asyncio.gather(*(api.get_json("/") for _ in range(calls)), return_exceptions=True)
    assert [type(error) for error in told] == [GrantEndedError] * calls
    assert len({id(error) for error in told}) == calls
    assert (len(place.forms), place.sent) == (1, [])
