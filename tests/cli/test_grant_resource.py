"""`grant --resource URL`: the client file is made, the person consents, and both files work for every command."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from SlyAPI import OAuth2, OAuth2App
from tests.support.place import Place, place_at, secrets_in

pytestmark = pytest.mark.slow


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place, None]:
    """A place whose provider registers clients, and whose API says where."""
    async with place_at(tmp_path, registration=True, resource_metadata="path", require_resource=True) as place:
        (place.folder / "app.json").unlink()
        yield place


async def test_a_url_is_all_that_a_grant_needs(place: Place, unused_port: int) -> None:
    words = ("grant", "--resource", place.provider.api_url, "app.json", "user.json", "notes", "--json")
    ended = await place.runs(*words, "--port", str(unused_port))
    assert ended.code == 0, ended
    assert json.loads(ended.out)["scopes"] == ["notes"]
    assert place.reads("app.json")["issuer"] == place.provider.issuer
    assert place.exchanged["resource"] == place.provider.api_url
    assert not secrets_in(place, ended.err)
    for command in ("refresh", "token", "revoke"):
        assert (await place.runs(command, "app.json", "user.json")).code == 0


async def test_the_client_that_is_there_is_used_again(place: Place, unused_port: int) -> None:
    for user in ("one.json", "two.json"):
        words = ("grant", "--resource", place.provider.api_url, "app.json", user, "notes")
        ended = await place.runs(*words, "--port", str(unused_port))
        assert ended.code == 0, ended
    assert len([seen for seen in place.provider.log if seen.endpoint == "register"]) == 1


async def test_its_files_are_those_of_for_resource(place: Place, unused_port: int) -> None:
    words = ("grant", "--resource", place.provider.api_url, "app.json", "user.json", "notes")
    ended = await place.runs(*words, "--port", str(unused_port))
    assert ended.code == 0, ended
    app, user = place.folder / "app.json", place.folder / "user.json"

    async def never(url: str) -> str:
        raise AssertionError

    auth = OAuth2.for_resource(place.provider.api_url, app, user, consent=never)
    assert (await auth.refresh_now()).scopes == ["notes"]
    assert auth.app == OAuth2App.from_json_file(app)


async def test_a_user_may_be_kept_in_a_store(place: Place, unused_port: int) -> None:
    store, port = ("--store", "sqlite:users.db", "--name", "robin"), ("--port", str(unused_port))
    ended = await place.runs("grant", "--resource", place.provider.api_url, "--app", "app.json", *store, *port, "notes")
    assert ended.code == 0, ended
    assert (await place.runs("refresh", "app.json", *store)).code == 0


async def test_metadata_of_another_resource_end_it_before_anything_is_written(place: Place, unused_port: int) -> None:
    place.provider.resource_changes = {"resource": "https://evil.example/"}
    words = ("grant", "--resource", place.provider.api_url, "app.json", "user.json", "notes")
    ended = await place.runs(*words, "--port", str(unused_port))
    assert ended.code == 6, ended
    assert place.files() == set()
    assert not place.browser.opened


@pytest.mark.parametrize("other", ["--device", "--client-credentials"])
async def test_it_excludes_the_other_ways(place: Place, other: str) -> None:
    ended = await place.runs("grant", "--resource", place.provider.api_url, "app.json", "user.json", other)
    assert ended.code == 2
    assert "exclude" in ended.err
