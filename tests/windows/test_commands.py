"""What a person types, from scaffold to revoke, on either event loop; the browser is a stand-in that consents."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.place import SECRET, Place
from tests.support.program import Ended

ON_LOOP = Path(__file__).parent / "on_loop.py"


class Typed:
    """Types commands, each of which has to end well and say nothing of tracebacks, secrets or modes."""

    def __init__(self, place: Place, loop: str) -> None:
        self.place, self.loop = place, loop

    async def __call__(self, *words: str, codes: tuple[int, ...] = (0,)) -> Ended:
        child = await self.place.starts(str(ON_LOOP), self.loop, "slyapi", *words)
        ended = await child.ends()
        assert ended.code in codes, ended
        assert "Traceback" not in ended.err
        assert "never retrieved" not in ended.err
        for word in (SECRET, "0600", "only you"):  # there are no modes
            assert word not in ended.out + ended.err
        return ended


@pytest.fixture(params=["proactor", "selector"])
def typed(place: Place, request: pytest.FixtureRequest) -> Typed:
    return Typed(place, request.param)


async def test_a_grant_lives_from_scaffold_to_revoke(place: Place, typed: Typed) -> None:
    (place.folder / "app.json").unlink()
    secret = place.folder / "secret.txt"
    secret.write_text(SECRET)
    uris = ("--auth-uri", place.provider.authorize_url, "--token-uri", place.provider.token_url)
    await typed("scaffold", "app.json", "--id", "practice-client", "--secret-file", str(secret), *uris)
    client = place.reads("app.json")
    place.client(revoke_uri=place.provider.revoke_url, redirect_uri=client.get("redirect_uri", "http://127.0.0.1:0"))
    await typed("grant", "app.json", "user.json", "notes")
    assert (await place.browser.page()).status == 200
    first = place.reads("user.json")
    shown = await typed("show", "user.json")
    assert "notes" in shown.out
    token = await typed("token", "app.json", "user.json")
    assert token.out == first["token"] + "\n"
    called = await typed("call", "app.json", "user.json", f"{place.provider.api_url}/me")
    assert json.loads(called.out)
    await typed("refresh", "app.json", "user.json")
    assert place.reads("user.json")["refresh_token"] != first["refresh_token"]
    # the folder may be one that others read, as that of a test under Wine is
    examined = await typed("doctor", "app.json", "user.json", codes=(0, 3))
    assert "user.json" in examined.out
    wrong = [line.split()[1] for line in examined.out.splitlines() if line.startswith("\u2717")]
    assert set(wrong) <= {"access"}, examined.out
    await typed("revoke", "app.json", "user.json")
    assert place.provider.reuses == 0
    assert {"app.json", "secret.txt"} <= place.files() <= {"app.json", "secret.txt", "user.json"}


async def test_a_demo_shows_it_all(place: Place, typed: Typed) -> None:
    shown = await typed("demo", "--no-browser", "--folder", "mine")
    assert "The token was refreshed before the call" in shown.out + shown.err
    assert {"app.json", "user.json"} <= {path.name for path in (place.folder / "mine").iterdir()}


async def test_a_new_project_can_be_imported(place: Place, typed: Typed) -> None:
    await typed("new", "weather")
    child = await place.starts("-c", "import weather; print(weather.__name__)")
    ended = await child.ends()
    assert (ended.code, ended.out) == (0, "weather\n"), ended.err


async def test_a_path_with_a_space_and_one_with_other_letters_is_a_path(place: Place, typed: Typed) -> None:
    folder = place.folder / "Jürgen Größe"
    folder.mkdir()
    app, user = str(folder / "app.json"), str(folder / "user.json")
    (folder / "app.json").write_text(json.dumps(place.reads("app.json")))
    await typed("grant", app, user, "notes")
    assert (await typed("refresh", app, user)).code == 0
