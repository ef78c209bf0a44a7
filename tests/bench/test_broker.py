"""What a call through the broker costs beside a bare relay and a call by hand: least figures of one run."""
from __future__ import annotations

import sys
import time
from pathlib import Path

import aiohttp
import pytest

from tests.bench.measure import server
from tests.support.brokered import serves, with_account

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

TIMES = 2.5
"""The CPU of the broker, divided by that of a relay in bare aiohttp: a server and a client, and nothing in between."""
LATER = 0.001
"""Seconds that a call through the broker may take longer than by hand."""
CALLS = 300
RELAY = """
import asyncio, sys
import aiohttp
from aiohttp import web

async def main() -> None:
    async with aiohttp.ClientSession(sys.argv[1], headers={"Authorization": "Bearer x"}) as api:

        async def relay(request: web.BaseRequest) -> web.Response:
            async with api.get(request.raw_path) as reply:
                return web.Response(body=await reply.read(), content_type=reply.content_type)

        server = await asyncio.get_running_loop().create_server(web.Server(relay, access_log=None), "127.0.0.1", 0)
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def cpu_of(pid: int) -> float:
    """The CPU seconds of a process, to the nanosecond; `/proc/PID/stat` counts ticks of a clock."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


async def latencies(caller: aiohttp.ClientSession) -> list[float]:
    """The seconds of each of the calls, one after the other."""
    took: list[float] = []
    for _ in range(CALLS):
        start = time.perf_counter()
        async with caller.get("/small") as reply:
            assert reply.status == 200
            await reply.read()
        took.append(time.perf_counter() - start)
    return took


async def test_a_call_through_the_broker_costs_little_more_than_a_bare_relay(tmp_path: Path) -> None:
    with server() as url:
        async with with_account(tmp_path, url.rstrip("/")) as place:
            broker = await serves(place)
            relay = await place.starts("-c", RELAY, url)
            assert relay.process.stdout is not None
            address = (await relay.process.stdout.readline()).decode().strip()
            spent: dict[str, list[float]] = {"broker": [], "relay": []}
            took: dict[str, list[float]] = {"broker": [], "relay": [], "hand": []}
            headers = broker.headers
            async with (
                aiohttp.ClientSession(url, headers=headers) as hand,
                aiohttp.ClientSession(address, headers=headers) as relayed,
                broker.caller() as brokered,
            ):
                for _ in range(6):
                    for name, caller, child in (("broker", brokered, broker.child), ("relay", relayed, relay)):
                        before = cpu_of(child.process.pid)
                        took[name] += await latencies(caller)
                        spent[name].append(cpu_of(child.process.pid) - before)
                    took["hand"] += await latencies(hand)
    assert min(spent["broker"]) / min(spent["relay"]) <= TIMES
    assert min(took["broker"]) - min(took["hand"]) <= LATER
