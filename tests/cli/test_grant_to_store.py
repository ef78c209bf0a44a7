"""grant --store URL --name NAME: the tokens are in the store, which is made where there is none."""
from __future__ import annotations

import json
import stat
from datetime import UTC, datetime

import pytest

from SlyAPI import OAuth2User
from SlyAPI.stores import EncryptedStore, FileStore, SqliteStore, TokenStore
from tests.support.place import Place, failure, secrets_in

ALICE = ("--store", "sqlite:users.db", "--name", "alice")


def stored(place: Place) -> SqliteStore:
    return SqliteStore(place.folder / "users.db")


@pytest.mark.posix
@pytest.mark.parametrize("url", ["sqlite:users.db", "file:users"])
async def test_the_store_is_made_and_holds_the_user(place: Place, url: str) -> None:
    ended = await place.runs("grant", "app.json", "notes", "--store", url, "--name", "alice", "--json")
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    assert (result["name"], result["scopes"], result["refreshable"]) == ("alice", ["notes"], True)
    store: TokenStore = stored(place) if "sqlite" in url else FileStore(place.folder / "users")
    user = await store.user("alice").load()
    assert not [secret for secret in (user.token, user.refresh_token) if str(secret) in ended.out + ended.err]
    assert not secrets_in(place, ended.out, ended.err)
    assert (await place.browser.page()).status == 200
    assert (await place.runs("token", "app.json", "--store", url, "--name", "alice")).out.strip() == user.token
    assert (await place.runs("grant", "app.json", "notes", "--store", url, "--name", "bob")).code == 0
    assert sorted(await store.names()) == ["alice", "bob"]
    path = place.folder / url.partition(":")[2]
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


async def test_a_name_that_is_taken_stays_unless_forced(place: Place) -> None:
    assert (await place.runs("grant", "app.json", "notes", *ALICE)).code == 0
    before = await stored(place).load("alice")
    failure(place, await place.runs("grant", "app.json", "notes", *ALICE), 9, "alice", "--force", "was not changed")
    assert await stored(place).load("alice") == before
    assert len(place.browser.opened) == 1
    assert (await place.runs("grant", "app.json", "notes", *ALICE, "--force")).code == 0
    assert await stored(place).load("alice") != before
    assert (await place.runs("grant", "app.json", "notes", *ALICE[:3], "bob")).code == 0
    assert sorted(await stored(place).names()) == ["alice", "bob"]


async def test_a_name_that_is_taken_while_the_person_consents_stays(place: Place) -> None:
    place.browser.follows = False
    child = await place.slyapi("grant", "app.json", "notes", *ALICE)
    link = await place.browser.asked()
    await stored(place).user("alice").save(OAuth2User("another"))
    page = await place.browser.visits(link)
    assert page.status == 400
    failure(place, await child.ends(), 9, "alice", "--force", talk=True)
    assert (await stored(place).user("alice").load()).token == "another"


async def test_if_needed_keeps_refreshes_or_grants_anew(place: Place) -> None:
    words = ("grant", "app.json", *ALICE, "--if-needed")
    assert (await place.runs(*words, "notes")).code == 0
    user = await stored(place).user("alice").load()
    ended = await place.runs(*words, "notes", "--json")
    assert json.loads(ended.out)["name"] == "alice"
    assert "nothing to do" in ended.err
    old = OAuth2User(user.token, user.refresh_token, datetime(2001, 1, 1, tzinfo=UTC), scopes=["notes"])
    await stored(place).user("alice").save(old)
    assert (await place.runs(*words)).code == 0
    assert (await stored(place).user("alice").load()).token != user.token
    assert len(place.browser.opened) == 1
    place.provider.end_all_grants()
    await stored(place).user("alice").save(old)
    assert (await place.runs(*words)).code == 0
    assert len(place.browser.opened) == 2
    assert (await stored(place).user("alice").load()).scopes == ["notes"]


async def test_a_no_leaves_no_store_behind(place: Place) -> None:
    place.provider.consent = "deny"
    failure(place, await place.runs("grant", "app.json", "notes", *ALICE), 4, "was not changed", talk=True)
    assert place.files() == {"app.json"}


async def test_the_environment_may_name_the_store_and_its_keys(place: Place) -> None:
    key = EncryptedStore.new_key()
    place.env |= {"SLYAPI_STORE": ALICE[1], "SLYAPI_STORE_KEYS": key}
    assert (await place.runs("grant", "app.json", "notes", "--name", "alice")).code == 0
    assert (await EncryptedStore(stored(place), [key]).user("alice").load()).scopes == ["notes"]
    assert "notes" not in json.dumps(await stored(place).load("alice"))
    assert (await place.runs("grant", "app.json", "user.json", "notes")).code == 0  # without a name: a user file
    assert place.reads("user.json")["scopes"] == ["notes"]


@pytest.mark.parametrize(
    ("words", "code", "word"),
    [
        ((*ALICE, "--user", "user.json"), 2, "exclude"),
        (("--store", "sqlite:users.db"), 2, "--name"),
        (("--name", "alice"), 2, "--store"),
        (("--store", "mysql://a:hush@b", "--name", "a"), 2, "sqlite:PATH"),
        (("--store", "sqlite:app.json/users.db", "--name", "a"), 3, "app.json"),
        (("--store", "sqlite:absent/users.db", "--name", "a"), 3, "folder that does not exist"),
    ],
)
async def test_what_cannot_be_meant_is_said_before_the_browser_opens(
    place: Place, words: tuple[str, ...], code: int, word: str
) -> None:
    ended = await place.runs("grant", "app.json", *words)
    failure(place, ended, code, word)
    assert "hush" not in ended.err
    assert place.browser.opened == []
    uris = dict.fromkeys(("request_uri", "authorize_uri", "access_uri"), "https://p.example/x")
    place.writes("one.json", {"key": "k3y", "secret": "s3cret", **uris})
    failure(place, await place.runs("grant", "oauth1", "one.json", *ALICE), 2, "OAuth 1")


async def test_git_is_mentioned_for_a_store_too(place: Place) -> None:
    await place.shell("git init -q")
    ended = await place.runs("grant", "app.json", "notes", "--store", "sqlite:users.db", "--name", "alice")
    assert "git would commit" in ended.err
    assert "/users.db" in ended.err
