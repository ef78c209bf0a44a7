"""The commands on a user in a store: found by URL and name, with the same words as for a file."""
from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from SlyAPI import OAuth2User
from SlyAPI.cli.chosen_user import needs_selector_loop
from SlyAPI.stores import EncryptedStore, FileStore, SqliteStore, store_at
from tests.support.place import Place, failure, place_at, secrets_in

pytestmark = pytest.mark.slow

IN = ("--store", "sqlite:users.db")
ALICE = (*IN, "--name", "alice")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place, None]:
    async with place_at(tmp_path) as place:
        place.client(revoke_uri=place.provider.revoke_url)
        yield place


async def granted(place: Place, name: str = "alice") -> OAuth2User:
    """A user whom the provider knows, in the store and in no file."""
    assert (await place.grants()).code == 0
    user = OAuth2User.from_json_file(place.folder / "user.json")
    (place.folder / "user.json").unlink()
    await stored(place).user(name).save(user)
    return user


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("url", ["postgresql://db.example/a", "redis://db.example", "sqlite:users.db", "file:users"])
def test_postgresql_alone_needs_another_event_loop_on_windows(url: str, platform: str) -> None:
    assert needs_selector_loop(store_at(url), platform) is (url.startswith("postgresql") and platform == "win32")


def stored(place: Place) -> SqliteStore:
    return SqliteStore(place.folder / "users.db")


async def held(place: Place, name: str = "alice") -> OAuth2User:
    return await stored(place).user(name).load()


async def test_show_tells_a_users_scopes_and_no_secret(place: Place) -> None:
    await granted(place)
    ended = await place.runs("show", *ALICE)
    assert (ended.code, ended.err) == (0, "")
    for word in ("alice", "users.db", "weather.read notes", "refreshable: yes"):
        assert word in ended.out
    assert "mode" not in ended.out
    told = json.loads((await place.runs("show", *ALICE, "--json")).out)
    assert (told["name"], told["scopes"]) == ("alice", ["weather.read", "notes"])
    assert not secrets_in(place, ended.out, json.dumps(told))


async def test_show_of_a_store_lists_the_names(place: Place) -> None:
    for name in ("bob", "alice", "\x1b[31mred"):
        await stored(place).user(name).save(OAuth2User("T"))
    ended = await place.runs("show", *IN)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-2:] == ["alice", "bob"]
    assert "\x1b" not in ended.out
    assert json.loads((await place.runs("show", *IN, "--json")).out) == {"names": ["\x1b[31mred", "alice", "bob"]}


async def test_show_of_an_empty_store_says_so_on_stderr(place: Place) -> None:
    await stored(place).user("alice").save(OAuth2User("T"))
    await stored(place).user("alice").delete()
    ended = await place.runs("show", *IN)
    assert (ended.code, ended.out) == (0, "")
    assert "has no user" in ended.err


@pytest.mark.parametrize("url", ["sqlite:user.db", "file:user"])
@pytest.mark.parametrize("words", [("show",), ("show", "--name", "alice"), ("token", "app.json", "--name", "alice")])
async def test_a_store_that_is_not_there_is_told_and_not_made(place: Place, url: str, words: tuple[str, ...]) -> None:
    before = place.files()
    failure(place, await place.runs(*words, "--store", url), 3, "There is no store", url.partition(":")[2], "path")
    assert place.files() == before


async def test_show_lists_who_will_soon_have_to_grant_again(place: Place) -> None:
    for name, days in (("soon", 3), ("later", 30)):
        ends = datetime.now(UTC) + timedelta(days=days)
        await stored(place).user(name).save(OAuth2User("T", "R", refresh_expires_at=ends))
    assert (await place.runs("show", *IN, "--expiring", "7")).out == "soon\n"
    assert "no user whose refresh token is known to expire within 1 day" in (
        await place.runs("show", *IN, "--expiring", "1")
    ).err
    assert (await place.runs("show", *IN, "--expiring", "-1")).code == 2


async def test_token_refreshes_a_dead_one_and_saves_it_in_the_store(place: Place) -> None:
    user = await granted(place)
    ended = await place.runs("token", "app.json", *ALICE)
    assert (ended.code, ended.out, ended.err) == (0, user.token + "\n", "")
    await stored(place).user("alice").save(OAuth2User("dead", user.refresh_token, datetime(2001, 1, 1, tzinfo=UTC)))
    ended = await place.runs("token", "app.json", *ALICE)
    after = await held(place)
    assert ended.out == after.token + "\n"
    assert after.refresh_token != user.refresh_token


async def test_refresh_renews_a_token_that_is_still_good(place: Place) -> None:
    user = await granted(place)
    ended = await place.runs("refresh", "app.json", *ALICE, "--json")
    assert ended.code == 0, ended.err
    assert (await held(place)).token != user.token
    assert json.loads(ended.out)["name"] == "alice"
    assert not secrets_in(place, ended.out, ended.err)


async def test_a_user_without_a_refresh_token_cannot_be_refreshed(place: Place) -> None:
    await stored(place).user("alice").save(OAuth2User("T"))
    failure(place, await place.runs("refresh", "app.json", *ALICE), 3, "no refresh token", "was not changed")


async def test_revoke_ends_the_grant_and_forgets_the_user_alone(place: Place) -> None:
    await granted(place)
    await stored(place).user("bob").save(OAuth2User("T"))
    ended = await place.runs("revoke", "app.json", *ALICE, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out) == {"name": "alice", "revoked": True}
    assert await stored(place).names() == ["bob"]
    assert [seen.outcome for seen in place.provider.log if seen.endpoint == "revoke"] == ["ok"]


@pytest.mark.parametrize("command", [("token", "app.json"), ("refresh", "app.json"), ("revoke", "app.json"), ("show",)])
async def test_a_name_that_the_store_does_not_know_is_told(place: Place, command: tuple[str, ...]) -> None:
    await stored(place).user("bob").save(OAuth2User("T"))
    failure(place, await place.runs(*command, *ALICE), 3, "alice", "users.db", "save a user file")


async def test_the_environment_may_name_the_store_so_that_no_list_of_processes_shows_its_password(place: Place) -> None:
    await FileStore(place.folder / "users").user("alice").save(OAuth2User("T", scopes=["notes"]))
    place.env["SLYAPI_STORE"] = "file:users"
    assert "notes" in (await place.runs("show", "--name", "alice")).out
    assert (await place.runs("show")).out == "alice\n"


async def test_an_encrypted_store_is_opened_by_the_keys_in_the_environment(place: Place) -> None:
    user = await granted(place)
    inner, keys = stored(place), [EncryptedStore.new_key() for _ in range(2)]
    await inner.delete("alice")
    await EncryptedStore(inner, keys).user("alice").save(user)
    failure(place, await place.runs("token", "app.json", *ALICE), 3, "alice", "is encrypted", "SLYAPI_STORE_KEYS")
    place.env["SLYAPI_STORE_KEYS"] = " ".join(keys[1:])
    failure(place, await place.runs("token", "app.json", *ALICE), 3, "key")
    place.env["SLYAPI_STORE_KEYS"] = " ".join(reversed(keys))
    assert (await place.runs("token", "app.json", *ALICE)).out == user.token + "\n"
    ended = await place.runs("refresh", "app.json", *ALICE)
    assert ended.code == 0, ended.err
    assert (await EncryptedStore(inner, keys[1:]).user("alice").load()).token != user.token
    assert not [key for key in keys if key in ended.out + ended.err]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show",), "Which user"),
        (("show", "--name", "alice"), "Which store"),
        (("token", "app.json", *IN), "Which user"),
        (("show", "user.json", *ALICE), "exclude each other"),
        (("show", "user.json", "--expiring", "7"), "whole store"),
        (("show", *ALICE, "--expiring", "7"), "whole store"),
        (("show", "--expiring", "7"), "Which store"),
        (("show", "--store", "mysql://me:client-secret-5EC9E7@db/users"), "URL of a store"),
    ],
)
async def test_half_a_choice_is_told_with_what_is_missing(place: Place, words: tuple[str, ...], told: str) -> None:
    failure(place, await place.runs(*words), 2, told, "--store" if "URL" not in told else "sqlite:PATH")
