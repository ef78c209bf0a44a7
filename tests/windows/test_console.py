"""Ctrl-C and the end of a process, as a console of Windows has them."""
from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from SlyAPI import OAuth2App, OAuth2User
from SlyAPI.testing import PracticeProvider
from tests.windows.test_processes import REDIRECT_URI, WORKER, grant

HERE = Path(__file__).parent
NEW_CONSOLE = getattr(subprocess, "CREATE_NEW_CONSOLE", 0)


@pytest.mark.parametrize("loop", ["proactor", "selector"])
async def test_ctrl_c_during_a_refresh_saves_the_new_token(loop: str, tmp_path: Path) -> None:
    provider = PracticeProvider(
        client_secret="secret", redirect_uris=[REDIRECT_URI], consent="allow",
        access_token_lifetime=1.0,
        delay_after_rotation=1.0,
    )
    async with provider.running():
        app = OAuth2App("practice-client", "secret", provider.authorize_url, provider.token_url)
        (tmp_path / "app.json").write_text(json.dumps(app.to_dict()))
        (tmp_path / "user.json").write_text(json.dumps((await grant(app)).to_dict()))
        place = ("file", tmp_path / "user.json", tmp_path / "app.json", provider.api_url)
        words = [HERE / "on_loop.py", loop, WORKER, *place]
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, *map(str, words)), stdout=asyncio.subprocess.PIPE, creationflags=NEW_CONSOLE
        )
        async with asyncio.timeout(60):
            while not provider.refreshes:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        press = await asyncio.create_subprocess_exec(sys.executable, HERE / "press_ctrl_c.py", str(child.pid))
        assert await press.wait() == 0
        out, _ = await asyncio.wait_for(child.communicate(), 30)
        assert b"stopped" in out
        assert (child.returncode, provider.reuses) == (0, 0)
        user = OAuth2User.from_json_file(tmp_path / "user.json")
        assert await app.refresh(None, user)  # the provider takes it: it is the last one
        assert provider.reuses == 0


@pytest.mark.parametrize("loop", ["proactor", "selector"])
async def test_ctrl_c_ends_a_grant_that_waits_for_the_person(loop: str, tmp_path: Path) -> None:
    client = {"id": "a", "secret": "b", "auth_uri": "https://login.example/authorize"}
    urls = {"token_uri": "https://login.example/token", "redirect_uri": "http://127.0.0.1:0"}
    (tmp_path / "app.json").write_text(json.dumps(client | urls))
    words = [HERE / "on_loop.py", loop, "slyapi", "grant", "app.json", "user.json", "notes", "--no-browser"]
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, *map(str, words)), cwd=tmp_path, stderr=asyncio.subprocess.PIPE, creationflags=NEW_CONSOLE
    )
    assert child.stderr is not None
    said = b""
    async with asyncio.timeout(60):
        while b"https://login.example/authorize" not in said:
            said += await child.stderr.read(1000)
        press = await asyncio.create_subprocess_exec(sys.executable, HERE / "press_ctrl_c.py", str(child.pid))
        assert await press.wait() == 0
    said += await asyncio.wait_for(child.stderr.read(), 15)  # a grant waits for the person for five minutes
    assert (await child.wait(), b"never retrieved" in said, b"Traceback" in said) == (130, False, False), said.decode()
    assert {path.name for path in tmp_path.iterdir()} == {"app.json"}
