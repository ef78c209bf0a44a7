"""A rotated token is kept, whatever a store, a hook or a signal does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from SlyAPI import GrantEndedError, OAuth2, OAuth2User
from SlyAPI.errors import SaveError
from SlyAPI.stores import MemoryStore
from tests.support.refreshing import INVALID_GRANT, REFRESH, Place, is_touch


async def test_whatever_a_store_of_ones_own_raises_the_rotated_tokens_stay_in_use(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    class Away(MemoryStore):
        away = False

        async def save(self, name: str, value: dict[str, Any]) -> None:
            if self.away and not await is_touch(self, name, value):
                raise ConnectionError(f"no route for {value}")
            await super().save(name, value)

    store = Away()
    await store.user("alice").save(place.user())
    store.away = True
    api = place.api(store.user("alice"))
    await api.get_json("/")
    place.clock.now += 1000
    await api.get_json("/")
    assert [form["refresh_token"] for form in place.forms] == [REFRESH, "refresh-token-1"]
    assert "ConnectionError" in caplog.text
    assert "token-" not in caplog.text
    store.away = False  # else the end of the event loop waits for it


async def test_refresh_now_is_no_idle_word_as_the_first_call_of_a_stores_entry(place: Place) -> None:
    store = MemoryStore()
    await store.user("alice").save(place.user(1000))
    auth = place.api(store.user("alice")).auth
    assert isinstance(auth, OAuth2)
    assert (await auth.refresh_now()).token == "new-token-1"


async def test_a_hook_that_keeps_the_tokens_is_heard_out_when_the_client_closes(place: Place) -> None:
    kept: list[str] = []
    saving = asyncio.Event()

    async def keep(user: OAuth2User) -> None:
        saving.set()
        await asyncio.sleep(0.05)
        kept.append(user.token)

    api = place.api(place.user())
    assert isinstance(api.auth, OAuth2)
    api.auth.on_refresh = keep
    call = asyncio.create_task(api.get_json("/"))
    await saving.wait()
    call.cancel()
    await asyncio.wait([call])
    await api.close()
    assert kept == ["new-token-1"]


class HardToRelease(MemoryStore):
    """A store whose lock is released by an error, as where the connection to its server is lost."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[None, None]:
        async with super().lock(name):
            yield
            raise self.error


LOST = pytest.mark.parametrize(
    "error", [OSError("lost"), SaveError("lost"), asyncio.CancelledError()], ids=lambda error: type(error).__name__
)


@LOST
async def test_a_lock_that_cannot_be_released_costs_neither_the_new_tokens_nor_their_hook(
    place: Place, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []
    store = HardToRelease(error)
    await store.user("alice").save(place.user(1000))
    auth = place.api(store.user("alice"), on_refresh=lambda user: heard.append(user.token)).auth
    assert isinstance(auth, OAuth2)
    assert (await auth.refresh_now()).token == "new-token-1"
    assert heard == ["new-token-1"]
    place.clock.now += 50
    assert not auth.due
    assert "could not be released" in caplog.text


@LOST
async def test_a_lock_that_cannot_be_released_hides_no_refusal(place: Place, error: BaseException) -> None:
    store = HardToRelease(error)
    await store.user("alice").save(place.user())
    place.answers = [INVALID_GRANT]
    with pytest.raises(GrantEndedError):
        await place.api(store.user("alice")).get_json("/")
