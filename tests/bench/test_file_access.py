"""What a signed request does beside the network: nothing. Lock, re-read and fsync are paid per refresh."""
from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.other_process import PLACES, entry_of, spawning

if TYPE_CHECKING:
    from tests.conftest import Practise

pytestmark = pytest.mark.slow

PROGRAM = """
now, seen = float(sys.argv[5]), None

def hook(event, arguments):
    if seen is not None and not event.startswith("socket.") and event != "builtins.id":
        seen.append(event)

sys.addaudithook(hook)

async def counted(api, calls):
    global seen
    seen = []
    for _ in range(calls // 4):
        await asyncio.gather(*(api.get_json("/me") for _ in range(4)))
    heard, seen = seen, None
    say(json.dumps(heard))

async def main():
    global now
    app = OAuth2App.from_json_file(sys.argv[3])
    api = WebAPI(OAuth2(app, place if kind == "file" else entry, clock=lambda: now))
    api.base_url = sys.argv[4]
    await counted(api, 4)  # what is loaded late, and the entry of a store
    await counted(api, 200)
    now += 1000  # the provider's clock stays, lest the two moves race: its `Date` tells how far ours is ahead
    await counted(api, 4)
    await counted(api, 200)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", sorted(PLACES))
async def test_a_signed_request_on_a_live_token_touches_no_file_no_lock_and_no_thread(
    practise: Practise, kind: str
) -> None:
    practice = await practise()
    place = practice.folder / PLACES[kind]
    await entry_of(kind, place).save(await practice.grant())
    app = practice.folder / "app.json"
    app.write_text(json.dumps(practice.app.to_dict()))
    async with spawning() as spawn:
        child = await spawn(PROGRAM, kind, place, app, practice.provider.api_url, practice.clock())
        await child.says()
        live = json.loads(await child.says())
        refresh = json.loads(await child.says())
        live_again = json.loads(await child.says())
    assert practice.refreshes == 1
    assert live == live_again == []
    # the hook would have seen it
    assert {"open", "fcntl.flock"} < set(refresh)
    assert "sqlite3.connect" in refresh if kind == "sqlite" else "os.rename" in refresh
