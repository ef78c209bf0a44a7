"""Failovers of real servers under load: what a strict provider would refuse is counted, and with `replicas` it is 0."""
from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field

import pytest

from SlyAPI.errors import SlyError
from SlyAPI.stores import RedisStore, TokenStore
from tests.support import servers

pytestmark = [pytest.mark.slow, pytest.mark.long]

USERS = [f"user{number}" for number in range(12)]
SECONDS, BETWEEN = 45.0, 10.0
"""How long the load lasts, and how long the servers have between two failovers."""


@dataclass
class Provider:
    """Rotates a token with each use, and counts the uses of one that was spent."""

    current: dict[str, int] = field(default_factory=lambda: dict.fromkeys(USERS, 0))
    reused: int = 0
    rotated: int = 0

    def rotate(self, name: str, token: int) -> int:
        if token != self.current[name]:
            self.reused += 1
            return self.current[name]
        self.rotated += 1
        self.current[name] += 1
        return self.current[name]


async def refreshes(store: TokenStore, provider: Provider, name: str, end: float) -> None:
    """Lock, load, touch, request, save until it is saved: what a refresh does."""
    while time.monotonic() < end:
        with suppress(SlyError):
            async with store.lock(name) as lease:
                value = await store.load(name)
                await store.replace(name, value, value)
                if lease is not None and lease.expired():
                    continue
                token = provider.rotate(name, value["token"])
                while time.monotonic() < end + 60:
                    with suppress(SlyError):
                        await store.replace(name, value, {"token": token})
                        break
                    await asyncio.sleep(0.05)
        await asyncio.sleep(0.02)


def killed(group: servers.RedisGroup) -> None:
    master = group.masters()[0]
    master.stop(kill=True)
    time.sleep(BETWEEN / 2)
    master.start()


def planned(group: servers.RedisGroup) -> None:
    if group.watchers:
        group.ask(group.watchers[0], "SENTINEL", "FAILOVER", "grants")
    else:
        replica = next(server for server in group.servers if group.ask(server, "ROLE").startswith("slave"))
        group.ask(replica, "CLUSTER", "FAILOVER")


@pytest.fixture(scope="module", params=["sentinel", "cluster"])
def group(request: pytest.FixtureRequest) -> Iterator[servers.RedisGroup]:
    block: AbstractContextManager[servers.RedisGroup] = (
        servers.redis_sentinel(2) if request.param == "sentinel" else servers.redis_cluster(3, 1)
    )
    with block as it:
        yield it


async def test_with_replicas_that_confirm_no_failover_costs_a_grant(group: servers.RedisGroup) -> None:
    replicas = 2 if group.watchers else 1
    stores = [RedisStore(group.url, timeout=4.0, replicas=replicas) for _ in range(2)]
    provider = Provider()
    for name in USERS:
        await stores[0].save(name, {"token": 0})
    end = time.monotonic() + SECONDS
    load = [asyncio.create_task(refreshes(store, provider, name, end)) for store in stores for name in USERS]
    failovers = 0
    for fail in (planned, killed, planned, killed):
        await asyncio.sleep(BETWEEN / 2)
        await asyncio.to_thread(fail, group)
        failovers += 1
    await asyncio.gather(*load)
    lost = [name for name in USERS if (await stores[0].load(name))["token"] != provider.current[name]]
    counted = {"failovers": failovers, "rotated": provider.rotated, "reused": provider.reused, "lost": len(lost)}
    sys.stdout.write(f"{counted}\n")
    for store in stores:
        await store.close()
    assert provider.rotated > 100
    assert (provider.reused, lost) == (0, []), counted
