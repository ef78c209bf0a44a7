"""Runs calls in a measured process, as its parent says: `MODE CALLS` on stdin, the CPU and wall seconds on stdout.

The rule: standard library only, for it runs in every peer's environment.
"""

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

TOKEN = "ya29." + "A0AbCdEfGhIjKlMn" * 10
HEADERS = {"Authorization": f"Bearer {TOKEN}"}

Call = Callable[[], Awaitable[object]]
Mode = Callable[[str], AbstractAsyncContextManager[Call]]
"""Given the server's URL, lends what makes one call."""


async def times(call: Call, calls: int) -> dict[str, float]:
    """CPU and wall seconds of so many calls, one after the other."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        await call()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


async def _obey(modes: dict[str, Mode], url: str) -> None:
    for line in sys.stdin:
        name, count = line.split()
        async with modes[name](url) as call:  # no other mode's session is open meanwhile
            await times(call, min(int(count), 3))
            print(json.dumps(await times(call, int(count))), flush=True)


async def _for_callgrind(modes: dict[str, Mode], url: str, asked: list[tuple[str, int]]) -> None:
    """Each mode's calls between two marks, at which callgrind writes what it counted since the last one."""
    for name, count in asked:
        async with modes[name](url) as call:
            await times(call, min(count, 10))
            os.getsid(0)  # the mark: a function that nothing else calls
            for _ in range(count):
                await call()
            os.getsid(0)


def drive(modes: dict[str, Mode]) -> None:
    """`URL`: as stdin says; `URL MODE=CALLS ...`: so many calls of each, in this order, for callgrind."""
    if len(sys.argv) == 2:
        asyncio.run(_obey(modes, sys.argv[1]))
    else:
        asked = [(name, int(count)) for name, _, count in (each.partition("=") for each in sys.argv[2:])]
        asyncio.run(_for_callgrind(modes, sys.argv[1], asked))
