"""A refresh whose save comes too late, or whose user cannot be read: nothing newer is lost, and no grant."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from SlyAPI import OAuth2, OAuth2User, WebAPI
from SlyAPI.errors import (
    CredentialsNotFoundError,
    DecryptionError,
    GrantEndedError,
    NetworkError,
    SaveError,
    SupersededError,
    UnavailableError,
)
from SlyAPI.stores import EncryptedStore, FileStore, MemoryStore, SqliteStore, TokenStore
from tests.support.refreshing import INVALID_GRANT, REFRESH, Place, is_touch

OLD_KEY, NEW_KEY = EncryptedStore.new_key(), EncryptedStore.new_key()


async def stored(place: Place, store: TokenStore, due_in: float = -1.0) -> WebAPI:
    await store.user("alice").save(place.user(due_in))
    return place.api(store.user("alice"))


def auth(api: WebAPI) -> OAuth2:
    assert isinstance(api.auth, OAuth2)
    return api.auth


def theirs(place: Place, token: str, lives: float = 1000.0) -> OAuth2User:
    return OAuth2User(token, f"refresh-{token}", datetime.fromtimestamp(place.clock() + lives, UTC))


async def paused_call(place: Place, api: WebAPI) -> asyncio.Task[Any]:
    """A call whose refresh was asked for, and has no answer yet."""
    place.gate.clear()
    place.asked.clear()
    call = asyncio.create_task(api.get_json("/"))
    await place.asked.wait()
    return call


async def test_tokens_that_another_saved_meanwhile_are_taken_over(place: Place) -> None:
    store = MemoryStore()
    heard: list[str] = []
    api = await stored(place, store)
    auth(api).on_refresh = lambda user: heard.append(user.token)
    call = await paused_call(place, api)
    await store.user("alice").save(theirs(place, "theirs"))
    place.gate.set()
    await call
    assert place.sent == ["theirs"]
    assert (await store.load("alice"))["token"] == "theirs"
    assert auth(api).not_saved is None
    assert heard == []


@pytest.mark.parametrize("make", [lambda _: MemoryStore(), FileStore, lambda at: SqliteStore(at / "users.db")])
async def test_new_tokens_are_saved_though_another_program_changed_something_else_of_the_user_meanwhile(
    place: Place, make: Callable[[Path], TokenStore]
) -> None:
    store = make(place.folder)
    api = await stored(place, store)
    call = await paused_call(place, api)
    await store.save("alice", {**await store.load("alice"), "note": "theirs"})
    place.gate.set()
    await call
    assert (place.sent, auth(api).not_saved) == (["new-token-1"], None)
    assert (await store.load("alice"))["refresh_token"] == "refresh-token-1"
    assert (await store.load("alice"))["note"] == "theirs"


def _spoil_file(at: Path, text: str) -> None:
    (at / "alice.json").write_text(text)


def _spoil_database(at: Path, text: str) -> None:
    with closing(sqlite3.connect(at / "users.db")) as database, database:
        database.execute("UPDATE slyapi_users SET value = ?", (text,))


@pytest.mark.parametrize("text", ["", '{"token": "old', "[]", "{}", '{"token": "\\ud800"}'])
@pytest.mark.parametrize(
    ("make", "spoil"),
    [(FileStore, _spoil_file), (lambda at: SqliteStore(at / "users.db"), _spoil_database)],
    ids=["file", "sqlite"],
)
async def test_new_tokens_replace_what_is_not_a_user_any_more(
    place: Place, make: Callable[[Path], TokenStore], spoil: Callable[[Path, str], None], text: str
) -> None:
    """Those in memory are the only ones."""
    store = make(place.folder)
    api = await stored(place, store)
    call = await paused_call(place, api)
    spoil(place.folder, text)
    place.gate.set()
    await call
    await auth(api).wait_for_refresh()
    assert (await store.load("alice"))["refresh_token"] == "refresh-token-1"


async def test_a_user_who_was_deleted_meanwhile_is_not_brought_back(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    api = await stored(place, store)
    call = await paused_call(place, api)
    await store.delete("alice")
    place.gate.set()
    await call
    assert place.sent == ["new-token-1"]
    assert await store.names() == []
    assert isinstance(auth(api).not_saved, SupersededError)
    assert "not saved" in caplog.text


async def test_a_user_who_was_deleted_before_is_not_brought_back_nor_renewed(place: Place) -> None:
    store = MemoryStore()
    api = await stored(place, store)
    await api.get_json("/")
    asked = len(place.forms)
    await store.delete("alice")  # signed out, maybe on another machine
    place.clock.now += 4000
    with pytest.raises(CredentialsNotFoundError, match="alice"):
        await api.get_json("/")
    assert len(place.forms) == asked
    assert await store.names() == []


class AwayStore(MemoryStore):
    """A store whose server is away for so many saves or loads."""

    saves = loads = tried = 0

    def __init__(self, error: SaveError | None = None) -> None:
        super().__init__()
        self._error = error

    async def save(self, name: str, value: dict[str, Any]) -> None:
        self.tried += 1
        if self.saves and not await is_touch(self, name, value):
            self.saves -= 1
            raise self._error or SaveError("The store is away.", kind="transient")
        await super().save(name, value)

    async def load(self, name: str) -> dict[str, Any]:
        if self.loads:
            self.loads -= 1
            raise NetworkError("The store is away.")
        return await super().load(name)


async def test_an_ended_grant_is_remembered_although_the_store_is_away_then(place: Place) -> None:
    store = AwayStore()
    api = await stored(place, store)
    place.answers.append(INVALID_GRANT)
    call = await paused_call(place, api)
    store.loads = 1
    place.gate.set()
    with pytest.raises(NetworkError):
        await call
    with pytest.raises(GrantEndedError):
        await api.get_json("/")
    assert len(place.forms) == 1


async def next_try(store: AwayStore) -> None:
    tried = store.tried
    while store.tried == tried:  # noqa: ASYNC110
        await asyncio.sleep(0)


@pytest.fixture
async def time_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the event loop's time on by so many seconds."""
    loop = asyncio.get_running_loop()
    real, ahead = loop.time, 0.0

    def move_on(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    monkeypatch.setattr(loop, "time", lambda: real() + ahead)
    return move_on


async def with_unsaved_tokens(place: Place, store: AwayStore) -> WebAPI:
    """A client that uses new tokens, which the store refuses for as long as its `saves` is not 0."""
    api = await stored(place, store)
    auth(api).app.save_timeout = 0.0
    store.saves = 1000
    await api.get_json("/")
    return api


async def test_new_tokens_are_saved_as_soon_as_a_store_that_was_away_is_back(place: Place) -> None:
    store = AwayStore()
    api = await stored(place, store)
    store.saves = 3
    await api.get_json("/")
    assert place.sent == ["new-token-1"]
    assert (await store.load("alice"))["token"] == "new-token-1"
    assert auth(api).not_saved is None


async def test_what_was_not_saved_in_time_is_saved_when_the_store_is_back_though_nobody_holds_the_signer(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a web application, which makes one for each request: else the grant is lost."""
    store = AwayStore()
    api: WebAPI | None = await stored(place, store)
    assert api is not None
    auth(api).app.save_timeout = 0.1
    store.saves = 1000
    await api.get_json("/")
    kept = auth(api)
    assert isinstance(kept.not_saved, SaveError)
    del api
    waiting = asyncio.create_task(store.lock("alice").__aenter__())
    await asyncio.sleep(0.3)
    assert not waiting.done()  # whoever got the lock now would ask with the old refresh token
    store.saves = 0
    async with asyncio.timeout(10):
        await waiting
    assert (await store.load("alice"))["refresh_token"] == "refresh-token-1"
    await asyncio.sleep(0)
    assert kept.not_saved is None
    assert "the new tokens are saved" in caplog.text
    assert len(place.forms) == 1


@pytest.mark.parametrize("error", [SaveError("The disk is full."), OSError(28, "full"), RuntimeError("a store's own")])
async def test_a_save_refused_by_any_error_is_repeated_without_the_call_and_again_before_the_client_closes(
    place: Place, error: Exception
) -> None:
    class Full(AwayStore):
        async def save(self, name: str, value: dict[str, Any]) -> None:
            self.tried += 1
            if self.saves and not await is_touch(self, name, value):
                raise error
            await MemoryStore.save(self, name, value)

    store = Full()
    api = await stored(place, store)
    store.saves = 1
    await api.get_json("/")  # does not wait for what waiting hardly helps
    assert isinstance(auth(api).not_saved, SaveError)
    store.saves = 0
    await api.close()
    assert auth(api).not_saved is None
    assert (await store.load("alice"))["token"] == "new-token-1"


async def test_tokens_that_are_not_saved_yet_serve_all_objects_of_the_user_and_are_renewed_when_they_are_due(
    place: Place,
) -> None:
    store = AwayStore()
    api = await with_unsaved_tokens(place, store)
    await place.api(store.user("alice")).get_json("/")
    place.clock.now += 1000
    await asyncio.gather(*(place.api(store.user("alice")).get_json("/") for _ in range(3)), api.get_json("/"))
    assert [form["refresh_token"] for form in place.forms] == [REFRESH, "refresh-token-1"]
    assert place.sent == ["new-token-1"] * 2 + ["new-token-2"] * 4
    store.saves = 0
    await api.close()
    assert (await store.load("alice"))["refresh_token"] == "refresh-token-2"


async def test_a_client_whose_store_stays_away_closes_all_the_same(
    place: Place, time_passes: Callable[[float], None]
) -> None:
    store = AwayStore()
    api = await with_unsaved_tokens(place, store)
    closing = asyncio.create_task(api.close())
    await next_try(store)
    time_passes(5)
    await asyncio.wait([closing], timeout=1)
    assert closing.done()
    assert isinstance(auth(api).not_saved, SaveError)
    store.saves = 0
    time_passes(1)
    await next_try(store)


@pytest.mark.parametrize("error", [OSError(24, "EMFILE"), RuntimeError("a store's own"), asyncio.CancelledError()])
async def test_a_read_that_fails_sends_nothing_and_overwrites_nothing(place: Place, error: BaseException) -> None:
    class Unreadable(MemoryStore):
        fails = False

        async def load(self, name: str) -> dict[str, Any]:
            if self.fails:
                raise error
            return await super().load(name)

    store = Unreadable()
    api = await stored(place, store, due_in=100)
    await api.get_json("/")
    place.clock.now += 1000
    store.fails = True
    with pytest.raises(UnavailableError) as caught:
        await api.get_json("/")
    assert caught.value.kind == "transient"
    assert place.forms == []
    store.fails = False
    await api.get_json("/")
    assert place.sent[-1] == "new-token-1"


async def test_while_the_store_is_away_a_token_that_is_due_but_good_is_used(place: Place) -> None:
    store = AwayStore()
    api = await stored(place, store, due_in=100)
    await api.get_json("/")
    place.clock.now += 95
    store.loads = 1
    await api.get_json("/")
    assert (place.sent, place.forms) == (["old-token-0"] * 2, [])
    place.clock.now += 5
    store.loads = 1
    with pytest.raises(NetworkError):
        await api.get_json("/")
    assert place.forms == []  # what another saved is not known
    await api.get_json("/")
    assert place.sent[-1] == "new-token-1"


# --- encrypted, and the key is lost ---

Spoil = Callable[[MemoryStore], Awaitable[None]]


async def _another_key(inner: MemoryStore) -> None:
    value = await EncryptedStore(inner, [OLD_KEY]).load("alice")
    await inner.delete("alice")
    await EncryptedStore(inner, [NEW_KEY]).save("alice", value)


async def _changed(inner: MemoryStore) -> None:
    await inner.save("alice", {**await inner.load("alice"), "nonce": "AAAA"})


async def _plain(inner: MemoryStore) -> None:
    await inner.save("alice", OAuth2User("plain", "plain").to_dict())


@pytest.mark.parametrize("spoil", [_another_key, _changed, _plain])
async def test_where_the_user_cannot_be_decrypted_no_refresh_is_asked_for_and_nothing_overwritten(
    place: Place, spoil: Spoil
) -> None:
    inner = MemoryStore()
    api = await stored(place, EncryptedStore(inner, [OLD_KEY]), due_in=50)
    await api.get_json("/")
    await spoil(inner)
    before = json.dumps(await inner.load("alice"))
    place.clock.now += 60
    for _ in range(2):
        with pytest.raises(DecryptionError):
            await api.get_json("/")
    assert place.forms == []
    assert json.dumps(await inner.load("alice")) == before


@pytest.mark.parametrize("spoil", [_another_key, _changed, _plain])
async def test_where_the_key_is_lost_amid_a_refresh_its_tokens_are_used_and_nothing_overwritten(
    place: Place, spoil: Spoil
) -> None:
    inner = MemoryStore()
    api = await stored(place, EncryptedStore(inner, [OLD_KEY]))
    call = await paused_call(place, api)
    await spoil(inner)
    before = json.dumps(await inner.load("alice"))
    place.gate.set()
    await call
    assert place.sent == ["new-token-1"]
    assert json.dumps(await inner.load("alice")) == before
    assert auth(api).not_saved is not None
    await inner.delete("alice")  # else the end of the event loop tries on
