"""Who will soon have to grant again."""
from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from SlyAPI import OAuth2User
from SlyAPI.stores import MemoryStore, expiring

if TYPE_CHECKING:
    from tests.conftest import Clock


async def names(store: MemoryStore, days: float, clock: Clock) -> list[str]:
    return [entry.name async for entry, _ in expiring(store, days, clock=clock)]


def ending(clock: Clock, days: float | None) -> OAuth2User:
    now = datetime.fromtimestamp(clock(), UTC)
    return OAuth2User("T", "R", refresh_expires_at=None if days is None else now + timedelta(days=days))


async def test_users_whose_refresh_token_ends_within_the_days_are_found_and_no_others(clock: Clock) -> None:
    store = MemoryStore()
    for name, days in (("over", -1), ("soon", 6.9), ("today", 0), ("later", 7.1), ("never told", None)):
        await store.user(name).save(ending(clock, days))
    assert await names(store, 7, clock) == ["over", "soon", "today"]
    assert await names(store, 0, clock) == ["over", "today"]


async def test_each_comes_with_its_tokens_and_its_entry(clock: Clock) -> None:
    store = MemoryStore()
    await store.user("alice").save(ending(clock, 1))
    async for entry, user in expiring(store, 7, clock=clock):
        assert user == ending(clock, 1)
        await entry.delete()
    assert await store.names() == []


async def test_one_that_cannot_be_read_hides_no_other(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    await store.save("broken", {"token": ["secret-5EC9E7"]})
    await store.user("alice").save(ending(clock, 1))
    with caplog.at_level(logging.WARNING, "SlyAPI"):
        assert await names(store, 7, clock) == ["alice"]
    assert "broken" in caplog.text
    assert "5EC9E7" not in caplog.text


async def test_one_that_is_deleted_meanwhile_is_passed_over(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    class Forgetful(MemoryStore):
        async def names(self) -> list[str]:
            return [*await super().names(), "gone"]

    assert await names(Forgetful(), 7, clock) == []
    assert caplog.text == ""
