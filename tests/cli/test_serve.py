"""The broker on the command line: programs that call an API with a pass, and never see a token."""
from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp
import pytest

from SlyAPI.testing import GRANT_TYPES
from tests.cli.test_login import held, logs_in
from tests.support.place import Place, failure, place_at, secrets_in
from tests.support.program import Child

pytestmark = pytest.mark.slow


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place, None]:
    async with place_at(tmp_path, grant_types=GRANT_TYPES) as place:
        place.client(revoke_uri=place.provider.revoke_url)
        place.env["SLYAPI_HOME"] = str(tmp_path / "accounts")
        await logs_in(place, "notes weather.read")
        yield place


async def serves(place: Place, *more: str) -> tuple[Child, str, dict[str, str]]:
    """The running broker, its address, and the header with the pass."""
    child = await place.slyapi("serve", "work", "--json", *more)
    assert child.process.stdout is not None
    told = json.loads(await asyncio.wait_for(child.process.stdout.readline(), 60))
    assert told["account"] == "work"
    return child, told["url"], {"Authorization": f"Bearer {told['pass']}"}


async def test_a_program_calls_with_the_pass_and_sees_no_token(place: Place) -> None:
    child, url, headers = await serves(place)
    async with aiohttp.ClientSession(headers=headers) as caller:
        async with caller.post(f"{url}/notes", json={"text": "milk"}) as reply:
            assert (reply.status, await reply.json()) == (201, {"id": 1, "text": "milk"})
        async with caller.get(f"{url}/notes?private=1") as reply:
            assert (await reply.json())["items"] == [{"id": 1, "text": "milk"}]
        async with caller.get(f"{url}/forecast", params={"city": "Ås & Ø"}) as reply:
            assert (await reply.json())["city"] == "Ås & Ø"
        async with caller.delete(f"{url}/notes") as reply:
            assert reply.status == 405, "the API's own refusal"
    if sys.platform != "win32":
        child.process.send_signal(signal.SIGTERM)
        ended = await child.ends()
        assert (ended.code, ended.out) == (0, "")
        assert "GET /notes 200" in ended.err and "private" not in ended.err
        assert not secrets_in(place, ended.err)
        assert headers["Authorization"].partition(" ")[2] not in ended.err
        assert "Traceback" not in ended.err
