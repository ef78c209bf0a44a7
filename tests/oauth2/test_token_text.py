"""`await auth.token()`: a valid access token as text, on every signer."""
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from SlyAPI import ClientCredentials, OAuth2
from SlyAPI.errors import GrantEndedError
from SlyAPI.stores import MemoryStore
from tests.support.refreshing import INVALID_GRANT, OLD, status

if TYPE_CHECKING:
    from tests.support.refreshing import Place


def reply(number: int, lasts: int) -> dict[str, object]:
    return {"access_token": f"text-{number}", "token_type": "Bearer", "expires_in": lasts}


async def test_a_valid_token_is_given_as_it_is_and_a_due_one_refreshed(place: Place) -> None:
    auth = OAuth2(place.app, place.user(1000), clock=place.clock)
    assert await auth.token() == OLD
    place.clock.now += 990
    assert await auth.token() == "new-token-1"
    assert len(place.forms) == 1


async def test_a_token_that_must_live_longer_is_refreshed_once(place: Place) -> None:
    place.answers = [status(200, reply(1, 600)), status(200, reply(2, 600))]
    auth = OAuth2(place.app, place.user(1000), clock=place.clock)
    assert await auth.token(min_life=900) == OLD
    assert await auth.token(min_life=3600) == "text-1"
    for _ in range(3):  # the provider grants no more
        assert await auth.token(min_life=3600) == "text-1"
    place.clock.now += 500
    assert await auth.token(min_life=300) == "text-2"
    assert len(place.forms) == 2


async def test_a_machine_has_its_token_as_text_too(place: Place) -> None:
    auth = ClientCredentials(place.app, clock=place.clock)
    assert await auth.token() == await auth.token() == "new-token-1"


async def test_a_grant_that_has_ended_is_an_error(place: Place) -> None:
    place.answers = [INVALID_GRANT]
    store = MemoryStore()
    await store.user("robin").save(place.user())
    with pytest.raises(GrantEndedError):
        await OAuth2(place.app, store.user("robin"), clock=place.clock).token()
