"""grant and its two files: what is refused before a browser opens, what stays, what `--if-needed` means."""
from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from typing import Any

import pytest

from SlyAPI.stores.file_lock import folder_lock
from tests.support.place import Place, failure


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"type": "service_account", "private_key": "hush"}, ("service-account",)),
        ({"token": "hush", "refresh_token": "hush", "expires_at": None}, ("user file",)),
        ({"id": "", "secret": "", "auth_uri": "", "token_uri": ""}, ("not filled in", "id")),
        ({"id": "a", "auth_uri": "javascript:alert(1)", "token_uri": "https://a.example"}, ("auth_uri",)),
        ({"id": "a", "auth_uri": "http://a.example", "token_uri": "https://a.example"}, ("auth_uri", "http")),
        ("{", ("half",)),
    ],
)
async def test_a_client_file_that_is_something_else_is_named(
    place: Place, content: Any, words: tuple[str, ...]
) -> None:
    place.writes("app.json", content)
    ended = await place.grants()
    failure(place, ended, 3, "app.json", *words)
    assert "hush" not in ended.err
    assert place.browser.opened == []


UNUSABLE: dict[str, Any] = {
    "id": ["a\nb", 5, ["a"]],
    "secret": ["a\x1bb", 5],
    "auth_uri": ["javascript:1", "http://a.example", "https://a b", "--flag", 5, "https://u@a.example"],
    "token_uri": ["file:///etc/passwd", "http://a.example", "", {}],
    "revoke_uri": ["http://a.example", "--flag", 5],
    "issuer": ["http://a.example", "a.example", 5],
    "redirect_uri": ["callback", "localhost:8080", "http://localhost:99999", "http://localhost:8080/#x", "a b:c", 5],
    "auth_params": [{"state": "mine"}, {"client_id": "x"}, {"x": 5}, "x"],
    "token_params": [{"code": "mine"}, {"x": 5}, "x"],
    "client_auth": ["magic", 5],
    "pkce": ["yes"],
    "scopes": [5, [5]],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in UNUSABLE.items() for value in values], ids=str
)
async def test_a_value_that_cannot_be_used_is_the_files_fault_in_every_command(
    place: Place, key: str, value: object
) -> None:
    place.client(**{key: value})  # type: ignore[arg-type]
    place.user(expires_at="2099-01-01T00:00:00Z")
    for command in (("grant", "--force"), ("token",)):
        ended = await place.runs(*command, "app.json", "user.json")
        failure(place, ended, 3, "app.json")
    assert not place.provider.log
    assert not place.browser.opened


@pytest.mark.parametrize("value", ["http://a.example", "ftp://a.example", 5])
@pytest.mark.parametrize("key", ["request_uri", "authorize_uri", "access_uri"])
async def test_a_value_that_cannot_be_used_in_oauth_1_is_the_files_fault_too(
    place: Place, key: str, value: object
) -> None:
    uris = dict.fromkeys(("request_uri", "authorize_uri", "access_uri"), "https://p.example/x")
    place.writes("one.json", {"key": "k", "secret": "its-secret", **uris, key: value})
    failure(place, await place.runs("grant", "oauth1", "one.json", "user.json"), 3, "one.json")


async def test_an_address_in_the_place_of_the_client_file_gets_the_flags_for_one(place: Place) -> None:
    failure(place, await place.runs("grant", "https://api.example", "user.json"), 2, "--resource", "--issuer")


async def test_a_client_file_that_is_a_folder_is_named(place: Place) -> None:
    failure(place, await place.runs("grant", ".", "user.json"), 3, "folder")


@pytest.mark.parametrize("path", [".", "absent/user.json", "/dev/null/user.json"])
@pytest.mark.parametrize("force", [(), ("--force",)])
async def test_a_user_path_that_cannot_be_written_is_found_before_the_browser_opens(
    place: Place, path: str, force: tuple[str, ...]
) -> None:
    ended = await place.runs("grant", "app.json", path, "notes", *force)
    failure(place, ended, 3, path)
    assert place.browser.opened == []
    assert place.files() == {"app.json"}


async def test_the_client_file_is_never_written_over(place: Place) -> None:
    before = place.client()
    place.client("other.json")
    os.link(place.folder / "app.json", place.folder / "link.json")
    for path, code in (("app.json", 2), ("link.json", 2), ("other.json", 9)):
        failure(place, await place.runs("grant", "app.json", path, "--force"), code, "--user")
    assert place.reads("app.json") == place.reads("other.json") == before


@pytest.mark.parametrize("content", ['{"token": "t-0", "expires_at": null}', "{", "{}", '{"expiry": 1, "token": 2}'])
async def test_an_existing_file_stays_without_a_yes(place: Place, content: str) -> None:
    place.writes("user.json", content)
    for flags in ((), ("--if-needed",)) if "expires_at" not in content else ((),):
        failure(place, await place.grants(*flags), 9, "user.json", "--force")
    assert (place.folder / "user.json").read_text() == content
    assert place.browser.opened == []
    assert (await place.grants("--force")).code == 0
    assert place.reads("user.json")["refresh_token"]
    assert stat.S_IMODE((place.folder / "user.json").stat().st_mode) == (0o666 if os.name == "nt" else 0o600)


async def test_an_empty_file_is_in_nobodys_way(place: Place) -> None:
    place.writes("user.json", "")
    assert (await place.grants()).code == 0


@pytest.mark.parametrize("word", ["notes", "weather.read", "https://a.example/auth/notes", "openid"])
async def test_a_scope_in_the_place_of_the_user_file_is_an_error_and_no_file(place: Place, word: str) -> None:
    before = place.files()
    ended = await place.runs("grant", "app.json", word)
    assert ended.code == 2
    assert "does not look like a user file" in ended.err
    assert place.files() == before


# --if-needed


async def test_if_needed_keeps_the_scopes_of_before_beside_those_that_are_asked_for(place: Place) -> None:
    assert (await place.runs("grant", "app.json", "user.json", "notes", "--port", "0")).code == 0
    ended = await place.runs("grant", "app.json", "user.json", "weather.read", "--if-needed", "--port", "0")
    assert ended.code == 0, ended.err
    assert set(place.reads("user.json")["scopes"]) == {"notes", "weather.read"}



async def test_if_needed_keeps_a_good_user(place: Place) -> None:
    assert (await place.grants("--if-needed")).code == 0
    before = place.reads("user.json")
    asked = len(place.provider.log)
    ended = await place.grants("--if-needed", "--json")
    assert json.loads(ended.out)["scopes"] == ["weather.read", "notes"]
    assert place.reads("user.json") == before
    assert len(place.provider.log) == asked


async def test_if_needed_refreshes_an_expired_user(place: Place) -> None:
    assert (await place.grants()).code == 0
    before = place.reads("user.json") | {"expires_at": "2001-01-01T00:00:00Z"}
    place.writes("user.json", before)
    assert (await place.grants("--if-needed")).code == 0
    assert place.reads("user.json")["token"] != before["token"]
    assert len(place.browser.opened) == 1


async def test_if_needed_grants_anew_when_the_grant_is_over(place: Place) -> None:
    before = place.user(expires_at="2001-01-01T00:00:00Z", scopes=["notes", "weather.read"])
    assert (await place.grants("--if-needed")).code == 0
    assert place.reads("user.json")["refresh_token"] != before["refresh_token"]


async def test_if_needed_grants_anew_for_a_scope_that_was_never_asked_for(place: Place) -> None:
    place.user(expires_at="2099-01-01T00:00:00Z")
    assert (await place.grants("--if-needed")).code == 0
    assert place.reads("user.json")["scopes"] == ["weather.read", "notes"]


async def test_if_needed_asks_nobody_twice_for_what_was_not_granted(place: Place) -> None:
    place.provider.granted_scopes = lambda asked: asked[:1]
    assert (await place.grants()).code == 0
    ended = await place.grants("--if-needed")
    assert ended.code == 0
    assert len(place.browser.opened) == 1
    assert "Requested but not granted: notes" in ended.err


async def test_if_needed_does_not_take_a_broken_network_for_the_end_of_a_grant(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place.client(token_uri=f"http://127.0.0.1:{server.getsockname()[1]}/token")
    before = place.user(expires_at="2001-01-01T00:00:00Z", scopes=["notes", "weather.read"])
    failure(place, await place.grants("--if-needed"), 7, "user.json was not changed")
    assert place.reads("user.json") == before
    assert place.browser.opened == []


async def test_a_user_file_is_not_replaced_between_the_comparison_and_the_rename_of_a_refresh(place: Place) -> None:
    """Which would then undo the grant."""
    before = place.user()
    with folder_lock(str(place.folder)):
        granting = asyncio.create_task(place.grants("--force"))
        while "token" not in {seen.endpoint for seen in place.provider.log}:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        done, _ = await asyncio.wait([granting], timeout=0.5)
        assert not done
        assert place.reads("user.json") == before
    assert (await granting).code == 0
    assert place.reads("user.json") != before
