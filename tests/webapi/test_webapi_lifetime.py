"""Sessions that nobody closes: no warning, no "Unclosed" line and no delay at exit, in whole programs.

Each program runs in a child process with `-X dev -W error`, so that nothing it leaves open goes unsaid.
"""
from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Serve

BEGINNING = """
import asyncio, atexit, gc, sys, threading, time

@atexit.register  # what is registered first is run last
def tell():
    assert all(o.closed for o in gc.get_objects() if type(o) is aiohttp.ClientSession)
    for loop in loops:  # a loop that is left open complains by itself
        loop.close()
    print(time.perf_counter() - ended)

loops = []
import aiohttp
from SlyAPI import ApiError, Auth, WebAPI

class Api(WebAPI):
    base_url = sys.argv[1]

async def call(api):
    await asyncio.gather(*(api.get_json("/") for _ in range(5)))

async def local():
    await call(Api(Auth.none()))

async def in_a_cycle():
    api = Api(Auth.none())
    try:
        await api.get_json("/missing")
    except ApiError as error:
        api.last = error  # error -> traceback -> frame -> api
    else:
        raise SystemExit("no error")
"""

PROGRAMS = {
    "asyncio.run": "asyncio.run(call(Api(Auth.none())))",
    "an api made and dropped inside": "asyncio.run(local())",
    "a global api": """
        api = Api(Auth.none())
        asyncio.run(call(api))
        """,
    "two loops after each other with one api": """
        api = Api(Auth.none())
        asyncio.run(call(api))
        asyncio.run(call(api))
        """,
    "async with": """
        async def main():
            async with Api(Auth.none()) as api:
                await call(api)
        asyncio.run(main())
        """,
    "a loop that is never closed": """
        api = Api(Auth.none())
        loops.append(loop := asyncio.new_event_loop())
        loop.run_until_complete(call(api))
        loop.run_until_complete(call(api))
        """,
    "a loop that is never closed, api dropped inside": """
        loops.append(loop := asyncio.new_event_loop())
        loop.run_until_complete(local())
        """,
    "a loop closed after shutdown_asyncgens": """
        api = Api(Auth.none())
        for _ in range(2):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(call(api))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
        """,
    "a loop closed after shutdown_asyncgens, api dropped inside": """
        loop = asyncio.new_event_loop()
        loop.run_until_complete(local())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        """,
    "a loop closed after api.close": """
        api = Api(Auth.none())
        loop = asyncio.new_event_loop()
        loop.run_until_complete(call(api))
        loop.run_until_complete(api.close())
        loop.close()
        gc.collect()
        """,
    "a session of the caller's": """
        async def main():
            async with aiohttp.ClientSession() as session:
                await call(Api(Auth.none(), session=session))
        asyncio.run(main())
        """,
    "an api in a cycle that nobody collects": "asyncio.run(in_a_cycle())",
    "an api in a cycle that is collected after its loop": """
        asyncio.run(in_a_cycle())
        gc.collect()
        """,
    "an api in a cycle that is collected in another thread": """
        async def main():
            gc.disable()
            await in_a_cycle()
            await asyncio.to_thread(gc.collect)
            await asyncio.sleep(0.02)
        asyncio.run(main())
        """,
    "two threads, each with a loop": """
        api = Api(Auth.none())
        def work():
            for _ in range(5):
                asyncio.run(call(api))
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """,
    "a thousand sessions in one loop": """
        async def main():
            api = Api(Auth.none())
            for _ in range(1000):
                api._client
                await api.close()
            await call(api)
        asyncio.run(main())
        """,
    "an api that was never used": """
        api = Api(Auth.none())
        async def main():
            async with Api(Auth.none()):
                pass
        asyncio.run(main())
        """,
    "an error that ends the program": """
        async def main():
            api = Api(Auth.none())
            await api.get_json("/missing")
        try:
            asyncio.run(main())
        except ApiError:
            pass
        """,
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
async def test_nothing_is_left_open_and_the_end_is_not_delayed(serve: Serve, program: str) -> None:
    server = await serve()
    began = time.perf_counter()
    lines = program.splitlines()
    code = BEGINNING + "\n".join(line.removeprefix(" " * 8) for line in lines)
    code += "\nended = time.perf_counter()\n"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-W", "error", "-c", code, server.origin),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    output, _ = await asyncio.wait_for(child.communicate(), 30)
    assert child.returncode == 0, output.decode()
    # anything beside the number is a complaint, but for asyncio's of a machine that is busy
    said = [line for line in output.decode().splitlines() if not line.startswith("Executing <")]
    assert len(said) == 1, output.decode()
    assert float(said[0]) < 0.5, output.decode()
    assert time.perf_counter() - began < 25
    assert server.seen or "pass" in program
