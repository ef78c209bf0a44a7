"""The example behind nginx on two machines: what people see when a process dies, or the store restarts or is cut off.

The store is a real Redis, then PostgreSQL; the provider ends a grant whose refresh token comes back. `TOWN_SECONDS`
says for how long a test does its worst (default 4).
"""
from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from tests.end_to_end.network.tcp_proxy import TcpProxy
from tests.end_to_end.network.town import PEOPLE, Town, names_stored, town
from tests.support import servers
from tests.support.servers import Served

pytestmark = pytest.mark.long

log = logging.getLogger(__name__)
SECONDS = float(os.environ.get("TOWN_SECONDS", "4"))


@pytest.fixture(params=["redis", "postgres"])
def server(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server of the test's own, which it may stop."""
    with servers.redis() if request.param == "redis" else servers.postgres() as it:
        yield it


async def nobody_lost_anything(it: Town) -> None:
    log.warning("%s", it)  # `--log-cli-level=WARNING` shows it
    assert it.failures == []
    assert it.provider.reuses == 0
    assert await names_stored(it) == len(PEOPLE)
    for program in it.programs:
        assert "Traceback" not in program.log.read_text()


async def test_what_is_signed_in_on_one_machine_is_signed_in_on_the_other(server: Served, tmp_path: Path) -> None:
    async with town(server, tmp_path) as it:
        assert all(person.redirect.startswith(f"{it.url}/callback?") for person in it.people)
        assert await it.everybody_is_served() < 30
        for program in it.programs:  # each alone
            others = [other for other in it.programs if other is not program]
            await others[0].stops()
            await it.everybody_is_served()
            await others[0].starts()
        async with aiohttp.ClientSession() as stranger:
            forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher"}
            async with stranger.get(f"{it.url}/login", headers=forged, allow_redirects=False) as answer:
                assert answer.status == 303
                assert "evil" not in answer.headers["Location"]
    await nobody_lost_anything(it)
    assert it.away == 0


async def test_a_process_killed_amid_refreshes_costs_nobody_a_page_or_a_grant(server: Served, tmp_path: Path) -> None:
    """The provider forgives the refresh token rotated last, for ten seconds.

    It must: a process that dies between the provider's rotation and our save takes the only copy of the
    new refresh token along. Without the leeway no client can keep such a grant.
    """
    async with town(server, tmp_path, lease=1.5, reuse_leeway=10.0) as it:
        kills, end = 0, time.monotonic() + SECONDS
        while time.monotonic() < end or kills < 2:
            victim = it.programs[kills % 2]
            await it.a_refresh()
            await asyncio.sleep(random.uniform(0, 0.06))
            await victim.dies()
            kills += 1
            await it.everybody_is_served()
            await victim.starts()
            # nginx asks each machine once: who waits on the other, as this one was dead, must not see a second death
            await it.everybody_is_served()
    await nobody_lost_anything(it)
    assert it.away == 0
    assert it.slowest < 20  # nobody's lock outlived him


async def test_a_store_that_restarts_is_503_meanwhile_and_then_all_goes_on(server: Served, tmp_path: Path) -> None:
    async with town(server, tmp_path) as it:
        restarts, end = 0, time.monotonic() + SECONDS
        while time.monotonic() < end or restarts < 2:
            await it.a_refresh()
            before = it.away
            await asyncio.to_thread(server.stop, kill=restarts % 2 == 0)
            await it.until(partial(it.more_away, before))
            await asyncio.sleep(random.uniform(0, 3))
            await asyncio.to_thread(server.start)
            restarts += 1
            assert await it.everybody_is_served() < 20  # no lock is left to run out, which takes 30
    await nobody_lost_anything(it)
    assert it.away > 0


@pytest.mark.parametrize("trouble", ["stall", "cut", "refuse"])
async def test_a_connection_to_the_store_that_breaks_costs_no_grant(
    server: Served, trouble: str, tmp_path: Path
) -> None:
    async with town(server, tmp_path) as it:
        rounds, end = 0, time.monotonic() + SECONDS
        while time.monotonic() < end or rounds < 2:
            await it.a_refresh()
            hit = it.programs if rounds % 2 == 0 else it.programs[:1]
            for program in hit:
                await {"stall": stall, "cut": cut, "refuse": refuse}[trouble](program.to_store)
            await asyncio.sleep(random.uniform(0.5, 3.0))
            for program in hit:
                await program.to_store.passes()
            rounds += 1
            assert await it.everybody_is_served() < 20
    await nobody_lost_anything(it)


async def stall(proxy: TcpProxy) -> None:
    proxy.stalls()


async def cut(proxy: TcpProxy) -> None:
    proxy.cuts()


async def refuse(proxy: TcpProxy) -> None:
    await proxy.refuses()
