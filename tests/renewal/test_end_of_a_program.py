"""How a program ends, with a refresh in flight: real processes, one row each, and the new tokens are in the file.

The rule: the provider takes each refresh token once, and takes a second over its reply.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

if TYPE_CHECKING:
    from tests.conftest import Serve

BEGIN = """
import asyncio, os, signal, sys, threading, time
from SlyAPI import OAuth2, OAuth2App
app = OAuth2App("id", "secret", {uri!r}, {uri!r}, allow_http=True)
auth = OAuth2(app, {path!r})

async def refresh():
    await auth.refresh_now()

def loop_in_thread():
    asyncio.run(refresh())
"""
RUN = "asyncio.run(refresh())"
PROGRAMS = {
    "asyncio.run returns, the refresh was only begun": """
        async def main():
            begun = asyncio.create_task(refresh())
            await asyncio.sleep(0.3)
        asyncio.run(main())
    """,
    "exit, a loop that stands still and is open": """
        loop = asyncio.new_event_loop()
        begun = loop.create_task(refresh())
        loop.run_until_complete(asyncio.sleep(0.3))
    """,
    "a thread that outlives main": """
        threading.Thread(target=loop_in_thread).start()
        time.sleep(0.3)
    """,
    "a daemon thread": """
        threading.Thread(target=loop_in_thread, daemon=True).start()
        time.sleep(0.3)
    """,
    "sys.exit in main": """
        async def main():
            begun = asyncio.create_task(refresh())
            await asyncio.sleep(0.3)
            sys.exit(0)
        asyncio.run(main())
    """,
    "Ctrl-C": RUN,
    "Ctrl-C twice": RUN,
    "SIGTERM, handled as the documentation shows": """
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
        asyncio.run(refresh())
    """,
    "SIGTERM of a job in the background, which ignores SIGINT": """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        asyncio.run(refresh())
    """,
}
SIGNALS = {"Ctrl-C": [signal.SIGINT], "Ctrl-C twice": [signal.SIGINT] * 2}
NOT_YET = {"a daemon thread", "Ctrl-C twice"}
ROWS = [pytest.param(how, marks=[pytest.mark.xfail(strict=True)] if how in NOT_YET else []) for how in PROGRAMS]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("how", ROWS)
async def test_a_program_that_ends_amid_a_refresh_has_saved_the_new_tokens(
    how: str, serve: Serve, tmp_path: Path
) -> None:
    asked = asyncio.Event()

    async def token(request: web.Request) -> web.Response:
        asked.set()
        await asyncio.sleep(1.0)
        return web.json_response({"access_token": "new", "refresh_token": "new-refresh", "expires_in": 3600})

    server = await serve(token)
    path = tmp_path / "user.json"
    path.write_text(json.dumps({"token": "old", "refresh_token": "old-refresh", "expires_at": "2020-01-01T00:00:00Z"}))
    path.chmod(0o600)
    program = BEGIN.format(uri=f"{server.origin}/token", path=str(path)) + textwrap.dedent(PROGRAMS[how])
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(40):
            await asked.wait()
            for number in SIGNALS.get(how, [signal.SIGTERM] if how.startswith("SIGTERM") else []):
                await asyncio.sleep(0.2)  # it waits for the reply: an exception amid its own code would end that
                child.send_signal(number)
            _, said = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
    assert json.loads(path.read_text())["refresh_token"] == "new-refresh", said.decode()
