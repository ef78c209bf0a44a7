"""A refresh whose save comes too late, or whose user cannot be read: nothing newer is lost, and no grant."""
from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from SlyAPI import OAuth2, OAuth2User, WebAPI
from SlyAPI.errors import (
    ApiError,
    CredentialsNotFoundError,
    DecryptionError,
    GrantEndedError,
    NetworkError,
    SaveError,
    SupersededError,
    TokenError,
    UnavailableError,
)
from SlyAPI.stores import EncryptedStore, FileStore, MemoryStore, SqliteStore, TokenStore
from tests.support.refreshing import INVALID_GRANT, OLD, REFRESH, Answer, Place, status

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


async def test_if_what_was_taken_over_is_refused_our_own_refresh_token_is_tried(place: Place) -> None:
    """Of two refreshes with one refresh token some providers keep the first alive, some the last."""
    store = MemoryStore()
    api = await stored(place, store)
    call = await paused_call(place, api)
    await store.user("alice").save(theirs(place, "theirs"))
    place.gate.set()
    await call
    place.clock.now += 1000
    place.answers = [INVALID_GRANT]
    await api.get_json("/")
    assert [form["refresh_token"] for form in place.forms[1:]] == ["refresh-theirs", "refresh-token-1"]
    assert (await store.load("alice"))["token"] == "new-token-3"
    place.clock.now += 1000
    place.answers = [INVALID_GRANT]
    with pytest.raises(GrantEndedError):  # it was tried once
        await api.get_json("/")
    assert len(place.forms) == 4


async def test_our_own_refresh_token_is_not_tried_for_tokens_that_came_later(place: Place) -> None:
    """They may be of another login, perhaps as somebody else, whose end must not bring back the one before it."""
    store = MemoryStore()
    api = await stored(place, store)
    call = await paused_call(place, api)
    await store.user("alice").save(theirs(place, "theirs"))
    place.gate.set()
    await call
    await store.user("alice").save(theirs(place, "later", -5))
    place.clock.now += 1000
    place.answers = [INVALID_GRANT]
    with pytest.raises(GrantEndedError):
        await api.get_json("/")
    assert [form["refresh_token"] for form in place.forms[1:]] == ["refresh-later"]
    assert (await store.load("alice"))["refresh_token"] == "refresh-later"


class Watched(MemoryStore):
    """Notes when a user's lock is taken and released, among the refresh tokens that are sent."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__()
        self._notes = notes

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[None, None]:
        async with super().lock(name):
            self._notes.append("locked")
            try:
                yield
            finally:
                self._notes.append("released")


@pytest.mark.parametrize("ended_again", [False, True], ids=["then granted", "then ended"])
async def test_tokens_that_replaced_refused_ones_are_renewed_in_a_lock_taken_anew(
    place: Place, ended_again: bool
) -> None:
    """The lock on a file ends when a program that takes none replaces the file."""
    notes: list[str] = []
    store = Watched(notes)
    api = await stored(place, store)

    def answer(reply: Callable[[], Any]) -> Callable[[], Any]:
        def noted() -> Any:
            notes.append(place.forms[-1]["refresh_token"])
            return reply()

        return noted

    place.answers = [answer(INVALID_GRANT), answer(INVALID_GRANT if ended_again else lambda: place.tokens(2))]
    call = await paused_call(place, api)
    await store.user("alice").save(theirs(place, "theirs", -5))
    place.gate.set()
    if ended_again:
        with pytest.raises(GrantEndedError):
            await call
    else:
        await call
        assert place.sent == ["new-token-2"]
    assert notes == ["locked", REFRESH, "released", "locked", "refresh-theirs", "released"]


async def test_what_was_taken_over_and_is_due_already_is_refreshed_by_the_next_call(place: Place) -> None:
    store = MemoryStore()
    api = await stored(place, store)
    call = await paused_call(place, api)
    await store.user("alice").save(theirs(place, "theirs", -5))
    place.gate.set()
    await call
    await api.get_json("/")
    assert place.forms[-1]["refresh_token"] == "refresh-theirs"
    assert (await store.load("alice"))["token"] == "new-token-2"


async def test_a_store_that_is_away_just_after_another_program_saved_loses_nothing(place: Place) -> None:
    """Whether what it saved is newer is only known when the store is back."""

    class Away(AwayStore):
        begins = True

        async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
            try:
                await super().replace(name, old, new)
            except SupersededError:
                self.loads, self.begins = 2 * self.begins, False
                raise

    store = Away()
    api = await stored(place, store)
    call = await paused_call(place, api)
    await store.save("alice", {**await store.load("alice"), "note": "theirs"})

    place.gate.set()
    await call
    assert (await store.load("alice"))["refresh_token"] == "refresh-token-1"


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
        if self.saves:
            self.saves -= 1
            raise self._error or SaveError("The store is away.", kind="transient")
        await super().save(name, value)

    async def load(self, name: str) -> dict[str, Any]:
        if self.loads:
            self.loads -= 1
            raise NetworkError("The store is away.")
        return await super().load(name)


async def next_try(store: AwayStore) -> None:
    tried = store.tried
    while store.tried == tried:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def settled() -> None:
    """Everything that needs no time has happened."""
    for _ in range(20):
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


async def test_a_store_that_stays_away_is_waited_for_only_so_long(place: Place) -> None:
    store = AwayStore()
    api = await stored(place, store)
    auth(api).app.save_timeout = 0.2
    store.saves = 1000
    await api.get_json("/")
    assert place.sent == ["new-token-1"]
    assert store.tried > 3
    assert isinstance(auth(api).not_saved, SaveError)
    store.saves = 0  # else the end of the event loop waits for it


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


async def test_a_save_that_goes_on_overwrites_nothing_newer(place: Place) -> None:
    store = AwayStore()
    api = await stored(place, store)
    auth(api).app.save_timeout = 0.1
    store.saves = 1000
    await api.get_json("/")
    await MemoryStore.save(store, "alice", theirs(place, "theirs").to_dict())  # the person signed in again
    store.saves = 0
    async with asyncio.timeout(10):
        while any("Refresh" in repr(task) for task in asyncio.all_tasks()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (await store.load("alice"))["token"] == "theirs"
    await api.get_json("/")
    assert place.sent[-1] == "theirs"  # as for all other programs
    assert len(place.forms) == 1


@pytest.mark.parametrize("error", [SaveError("The disk is full."), OSError(28, "full"), RuntimeError("a store's own")])
async def test_a_save_refused_by_any_error_is_repeated_without_the_call_and_again_before_the_client_closes(
    place: Place, error: Exception
) -> None:
    class Full(AwayStore):
        async def save(self, name: str, value: dict[str, Any]) -> None:
            self.tried += 1
            if self.saves:
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


async def test_a_renewal_that_the_provider_refuses_leaves_the_tokens_before_it_to_be_saved(place: Place) -> None:
    store = AwayStore()
    api = await with_unsaved_tokens(place, store)
    place.clock.now += 1000
    place.answers = [status(400, {"error": "invalid_request"})]
    with pytest.raises(TokenError, match="invalid_request"):
        await api.get_json("/")
    assert len(place.forms) == 2
    store.saves = 0
    await auth(api).wait_for_refresh()
    assert (await store.load("alice"))["refresh_token"] == "refresh-token-1"
    await api.close()


def slow_down() -> web.Response:
    return web.json_response({"error": "slow_down"}, status=429, headers={"Retry-After": "60"})


@pytest.mark.parametrize("refusal", [INVALID_GRANT, slow_down], ids=["the grant has ended", "Retry-After"])
async def test_a_refusal_is_remembered_while_new_tokens_cannot_be_saved(place: Place, refusal: Answer) -> None:
    store = AwayStore()
    api = await with_unsaved_tokens(place, store)
    place.clock.now += 1000
    place.answers = [refusal] * 9
    for one in (api, place.api(store.user("alice")), api):
        with pytest.raises(TokenError):
            await one.get_json("/")
    assert len(place.forms) == 2
    store.saves = 0
    await api.close()


async def test_tokens_that_came_as_a_client_closed_have_a_last_try_of_their_own(
    place: Place, time_passes: Callable[[float], None]
) -> None:
    store = AwayStore()
    api = await with_unsaved_tokens(place, store)
    place.clock.now += 1000
    closing = asyncio.create_task(auth(api).wait_for_refresh())
    await asyncio.sleep(0)
    call = await paused_call(place, place.api(store.user("alice")))
    time_passes(5)  # that of the tokens before them is over
    place.gate.set()
    await call
    await next_try(store)
    store.saves = 0
    await closing
    assert (await store.load("alice"))["refresh_token"] == "refresh-token-2"
    await api.close()


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


async def test_a_store_that_refuses_is_tried_often_only_while_a_client_closes(
    place: Place, time_passes: Callable[[float], None]
) -> None:
    store = AwayStore(SaveError("The disk is full."))
    api = await with_unsaved_tokens(place, store)

    async def tries(seconds: int) -> int:
        before = store.tried
        for _ in range(seconds):
            time_passes(1)
            await settled()
        return store.tried - before

    while await tries(10):
        pass
    closing = asyncio.create_task(auth(api).wait_for_refresh())
    await settled()
    assert await tries(4) == 4
    await tries(2)
    assert closing.done()
    assert await tries(10) == 0
    store.saves = 0
    await api.close()


async def test_unsaved_tokens_that_the_api_refuses_are_not_renewed_by_each_call(place: Place) -> None:
    """Nor is the API shown the spent token that the store still has."""
    store = AwayStore()
    api = await stored(place, store)
    auth(api).app.save_timeout = 0.0
    store.saves = 1000

    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.Response(status=401)

    place.api_server.handler = refuse
    for one in (api, place.api(store.user("alice")), api, place.api(store.user("alice"))):
        for _ in range(3):
            with pytest.raises(ApiError):
                await one.get_json("/")
    assert len(place.forms) == 1
    assert set(place.sent) == {"new-token-1"}
    store.saves = 0
    await api.close()


async def test_a_login_while_new_tokens_cannot_be_saved_is_not_undone(place: Place) -> None:
    """A call that the API refuses reads the login's tokens; what they are renewed to is saved in their place."""

    refused = {f"Bearer {OLD}", "Bearer new-token-1"}

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({}, status=401 if request.headers["Authorization"] in refused else 200)

    class FullDisk(AwayStore):
        async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
            if self.saves:  # before it compares
                raise SaveError("The disk is full.", kind="transient")
            await super().replace(name, old, new)

    place.api_server.handler = answer
    store = FullDisk()
    api = await stored(place, store, 1000)
    auth(api).app.save_timeout = 0.0
    store.saves = 1000
    with pytest.raises(ApiError):
        await api.get_json("/")
    await MemoryStore.save(store, "alice", theirs(place, "theirs", -5).to_dict())
    await api.get_json("/")  # reads the login's tokens
    await api.get_json("/")  # renews them
    store.saves = 0
    await api.close()
    assert [form["refresh_token"] for form in place.forms] == [REFRESH, "refresh-theirs"]
    assert (await store.load("alice"))["refresh_token"] == "refresh-token-2"


@pytest.mark.slow  # more than the five seconds that a save has
async def test_a_client_that_closes_hears_out_the_renewal_of_tokens_that_are_not_saved(place: Place) -> None:
    store = AwayStore()
    api = await with_unsaved_tokens(place, store)
    place.clock.now += 1000
    call = await paused_call(place, api)
    ending = asyncio.create_task(api.close())
    await asyncio.wait([ending], timeout=6)
    assert not ending.done()
    store.saves = 0
    place.gate.set()
    await ending
    assert (await store.load("alice"))["refresh_token"] == "refresh-token-2"
    await asyncio.gather(call, return_exceptions=True)


@pytest.mark.parametrize("due_in", [1000.0, -5.0], ids=["good", "due"])
async def test_unsaved_tokens_that_are_refused_do_not_replace_those_of_a_login(place: Place, due_in: float) -> None:
    class FullDisk(AwayStore):
        async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
            if self.saves:  # before it compares
                raise SaveError("The disk is full.", kind="transient")
            await super().replace(name, old, new)

    store = FullDisk()
    api = await with_unsaved_tokens(place, store)
    place.clock.now += 1000
    await MemoryStore.save(store, "alice", theirs(place, "theirs", due_in).to_dict())
    place.answers = [INVALID_GRANT, INVALID_GRANT]
    call = asyncio.create_task(api.get_json("/"))
    await asyncio.wait([call], timeout=5)
    store.saves = 0
    await asyncio.gather(call, return_exceptions=True)
    await auth(api).wait_for_refresh()
    assert (await store.load("alice"))["refresh_token"] == "refresh-theirs"
    await api.close()


async def test_tokens_that_were_saved_without_a_reply_are_not_taken_for_another_programs(place: Place) -> None:
    """They are renewed while the store is away, and what they became is saved in their place."""

    class Cut(AwayStore):
        async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
            if self.saves == 1000:
                await MemoryStore.save(self, name, new or {})
            if self.saves:
                self.saves -= 1
                raise SaveError("No reply.", kind="transient")
            await super().replace(name, old, new)

    store = Cut()
    api = await with_unsaved_tokens(place, store)
    place.clock.now += 1000
    await api.get_json("/")
    store.saves = 0
    await auth(api).wait_for_refresh()
    assert (await store.load("alice"))["refresh_token"] == "refresh-token-2"
    place.clock.now += 1000
    await api.get_json("/")
    assert [form["refresh_token"] for form in place.forms] == [REFRESH, "refresh-token-1", "refresh-token-2"]
    await api.close()


async def test_a_hook_that_calls_the_api_never_waits_for_a_renewal_that_waits_for_the_hook(place: Place) -> None:
    """Also where the store refuses the tokens before, so that the refresh goes on when its callers have gone on."""
    store = AwayStore()
    api = await stored(place, store)
    auth(api).app.save_timeout = 0.0
    store.saves = 1000
    heard: list[str] = []

    async def hook(user: OAuth2User) -> None:
        place.clock.now += 1000  # a token that is due already, as any that the API refuses
        heard.append(user.token)
        await api.get_json("/")

    await api.get_json("/")
    auth(api).on_refresh = hook
    place.clock.now += 1000
    async with asyncio.timeout(20):
        await api.get_json("/")
    assert heard == ["new-token-2"]
    store.saves = 0
    await api.close()


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
