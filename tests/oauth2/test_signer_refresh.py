"""A refresh that goes wrong, is waited for, told of and stored: OAuth2 against a token endpoint that obeys the test."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from SlyAPI import ApiError, GrantEndedError, OAuth2, OAuth2User, SlyError, TokenError
from SlyAPI.errors import CredentialsNotFoundError, NetworkError, RequestTimeoutError, SaveError
from SlyAPI.oauth2.client.app import OnRefresh
from SlyAPI.stores import MemoryStore
from tests.support.folders import listed
from tests.support.refreshing import INVALID_GRANT, OLD, REFRESH, Answer, FullDisk, Place, status

if TYPE_CHECKING:
    from tests.conftest import Practise


# Waiting.


async def test_a_waiter_who_is_cancelled_cancels_neither_the_refresh_nor_the_others(place: Place) -> None:
    place.gate.clear()
    api = place.api(path := place.file())
    first, second, third = (asyncio.create_task(api.get_json("/")) for _ in range(3))
    await place.asked.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    place.gate.set()
    assert list(await asyncio.gather(second, third)) == [{"ok": True}] * 2
    assert (len(place.forms), place.sent) == (1, ["new-token-1"] * 2)
    assert json.loads(path.read_text())["token"] == "new-token-1"


async def test_a_refresh_that_all_its_waiters_left_is_finished_and_saved_before_the_client_closes(
    place: Place,
) -> None:
    place.gate.clear()
    path = place.file()
    async with place.api(path) as api:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.gather(api.get_json("/"), api.get_json("/"))
        asyncio.get_running_loop().call_later(0.02, place.gate.set)
    assert json.loads(path.read_text())["refresh_token"] == "refresh-token-1"
    assert len(place.forms) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status(503), TokenError),
        (status(429, {"error": "slow_down"}), TokenError),
        (status(302), TokenError),
    ],
)
async def test_a_refresh_that_fails_fails_all_who_wait_and_the_next_call_works(
    place: Place, answer: Answer, error: type[SlyError]
) -> None:
    place.answers = [answer]
    api = place.api(path := place.file())
    before = json.loads(path.read_text())
    results = await asyncio.gather(*(api.get_json("/") for _ in range(10)), return_exceptions=True)
    assert isinstance(results[0], error)
    assert [type(result) for result in results] == [error] * 10
    assert (len(place.forms), place.sent, json.loads(path.read_text())) == (1, [], before)
    assert await api.get_json("/") == {"ok": True}
    assert [form["refresh_token"] for form in place.forms] == [REFRESH] * 2


@pytest.mark.parametrize("answer", [INVALID_GRANT, status(200, {"error": "bad_refresh_token"})])
async def test_an_ended_grant_is_not_asked_for_again_until_the_person_granted_anew(
    place: Place, answer: Answer
) -> None:
    place.answers = [answer]
    path = place.file()
    for api in (place.api(path), place.api(path)):
        results = await asyncio.gather(*(api.get_json("/") for _ in range(10)), return_exceptions=True)
        assert {type(result) for result in results} == {GrantEndedError}
    assert (len(place.forms), place.sent) == (1, [])
    path.write_text(json.dumps({**place.user().to_dict(), "refresh_token": "granted-anew"}))
    await api.get_json("/")
    assert [form["refresh_token"] for form in place.forms] == [REFRESH, "granted-anew"]


async def test_retry_after_of_the_token_endpoint_is_kept_by_all_objects_of_the_user(place: Place) -> None:
    place.answers = [lambda: web.json_response({"error": "slow_down"}, status=429, headers={"Retry-After": "60"})]
    path = place.file()
    for _ in range(3):
        with pytest.raises(TokenError) as caught:
            await place.api(path).get_json("/")
        assert caught.value.kind == "transient"
        assert 50 < (caught.value.retry_after or 0) <= 60
    assert len(place.forms) == 1


async def test_a_refused_refresh_is_an_api_error_with_the_code_of_the_token_endpoint(place: Place) -> None:
    place.answers = [status(400, {"error": "invalid_grant", "error_description": "revoked"})]
    with pytest.raises(ApiError) as caught:
        await place.api().get_json("/")
    error = caught.value
    assert (error.status, error.reason, error.kind) == (400, "invalid_grant", "permanent")
    assert "grant" in error.next_step
    assert place.sent == []


async def test_what_a_token_endpoint_echoes_is_masked(place: Place, told_by: Callable[[Any], str]) -> None:
    def echo() -> web.Response:
        told = f"{place.forms[-1]} {OLD}"
        return web.json_response({"error": "odd", "error_description": told}, status=400, headers={"X-Echo": told})

    place.answers = [echo]
    with pytest.raises(TokenError) as caught:
        await place.api().get_json("/")
    told = told_by(caught.value)
    for secret in (REFRESH, "client-secret-0", OLD):
        assert secret not in told


async def test_a_lost_reply_keeps_the_old_refresh_token_and_the_next_call_tries_it_once(place: Place) -> None:
    api = place.api(path := place.file())
    assert isinstance(api.auth, OAuth2)
    api.auth.app.token_timeout = 0.05
    place.gate.clear()
    with pytest.raises(RequestTimeoutError, match=r"0\.05 s"):
        await api.get_json("/")
    assert json.loads(path.read_text())["refresh_token"] == REFRESH
    place.gate.set()
    api.auth.app.token_timeout = 5.0
    await api.get_json("/")
    assert [form["refresh_token"] for form in place.forms] == [REFRESH] * 2


# Within the leeway.


@pytest.mark.parametrize("answer", [status(500), status(503), status(429)])
async def test_a_token_that_is_still_good_carries_on_while_its_provider_is_out_of_order(
    place: Place, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    place.answers = [answer] * 3
    api = place.api(place.user(100))
    place.clock.now += 92
    for _ in range(5):
        await api.get_json("/")
    assert (len(place.forms), place.sent) == (1, [OLD] * 5)  # not asked again at every call
    assert OLD not in caplog.text
    place.clock.now += 5.1
    await api.get_json("/")
    assert (len(place.forms), place.sent[-1]) == (2, OLD)
    place.clock.now += 5
    with pytest.raises(TokenError, match="Remembered: no request for 1 s"):
        await api.get_json("/")
    assert len(place.forms) == 2


async def test_a_refused_grant_within_the_leeway_is_told_at_once(place: Place) -> None:
    place.answers = [INVALID_GRANT]
    api = place.api(place.user(100))
    place.clock.now += 92
    with pytest.raises(GrantEndedError):
        await api.get_json("/")


# Hooks.


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_on_refresh_hears_once_of_the_new_user_after_it_was_saved(place: Place, kind: str) -> None:
    heard: list[tuple[str, str, str]] = []
    path = place.file()

    def hear(who: str, user: OAuth2User) -> None:
        heard.append((who, user.token, json.loads(path.read_text())["token"]))

    def hook(who: str) -> OnRefresh:
        async def later(user: OAuth2User) -> None:
            await asyncio.sleep(0)
            hear(who, user)

        return later if kind == "async" else lambda user: hear(who, user)

    place.on_refresh = hook("app")
    api = place.api(path, on_refresh=hook("auth"))
    await asyncio.gather(*(api.get_json("/") for _ in range(10)))
    assert heard == [("app", "new-token-1", "new-token-1"), ("auth", "new-token-1", "new-token-1")]
    await api.get_json("/")
    assert len(heard) == 2


async def test_on_refresh_may_call_the_api(place: Place) -> None:
    async def call(user: OAuth2User) -> None:
        assert await api.get_json("/from-the-hook") == {"ok": True}

    api = place.api(on_refresh=call)
    async with asyncio.timeout(5):
        await asyncio.gather(*(api.get_json("/") for _ in range(3)))
    assert (len(place.forms), place.sent) == (1, ["new-token-1"] * 4)


async def test_on_refresh_that_calls_an_api_which_refuses_every_token_does_not_go_round(place: Place) -> None:
    async def never(request: web.Request) -> web.StreamResponse:
        return web.Response(status=401)

    async def call(user: OAuth2User) -> None:
        with pytest.raises(ApiError):
            await api.get_json("/from-the-hook")

    place.api_server.handler = never
    api = place.api(on_refresh=call)
    async with asyncio.timeout(5):
        with pytest.raises(ApiError):
            await api.get_json("/")
    assert len(place.forms) == 1  # because the token was due; a new one that is refused too is not replaced


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_on_refresh_that_fails_is_reported_and_loses_nothing(place: Place, kind: str) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def plain(user: OAuth2User) -> None:
        raise RuntimeError("hook broke")

    async def later(user: OAuth2User) -> None:
        plain(user)

    api = place.api(path := place.file(), on_refresh=later if kind == "async" else plain)
    assert await api.get_json("/") == {"ok": True}
    (context,) = reported
    assert str(context["exception"]) == "hook broke"
    assert "saved" in context["message"]
    assert json.loads(path.read_text())["token"] == "new-token-1"


async def test_on_refresh_is_silent_when_another_process_refreshed(practise: Practise) -> None:
    practice = await practise()
    heard: list[str] = []
    path = await practice.granted_file()
    one = practice.auth(path, on_refresh=lambda user: heard.append("one"))
    other = practice.auth(path, on_refresh=lambda user: heard.append("other"))
    practice.clock.now += 1000
    await practice.api(one).get_json("/me")
    await practice.api(other).get_json("/me")
    assert (heard, practice.refreshes) == (["one"], 1)


# The user file.


@pytest.mark.posix
async def test_new_tokens_are_on_disk_with_mode_0600_before_they_are_used(place: Place) -> None:
    path = place.file()
    path.chmod(0o600)

    async def look(request: web.Request) -> web.StreamResponse:
        saved.append(json.loads(path.read_text())["token"])
        return web.json_response({})

    saved: list[str] = []
    place.api_server.handler = look
    await place.api(str(path)).get_json("/")
    assert saved == place.sent == ["new-token-1"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert OAuth2User.from_json_file(path).refresh_token == "refresh-token-1"
    assert listed(path.parent) == ["user.json"]


async def test_what_else_the_file_says_survives_a_refresh(place: Place) -> None:
    path = place.folder / "user.json"
    path.write_text(json.dumps({**place.user().to_dict(), "note": {"mine": 1}, "client_auth": "basic"}))
    await place.api(path).get_json("/")
    saved = json.loads(path.read_text())
    assert (saved["note"], saved["client_auth"]) == ({"mine": 1}, "basic")


async def test_tokens_that_another_process_saved_are_taken_over_without_asking(place: Place) -> None:
    api = place.api(path := place.file())
    path.write_text(json.dumps(OAuth2User("theirs", "r", datetime.fromtimestamp(place.clock() + 99, UTC)).to_dict()))
    await asyncio.gather(*(api.get_json("/") for _ in range(3)))
    assert (place.sent, place.forms) == (["theirs"] * 3, [])


async def test_after_a_401_a_newer_token_in_the_file_is_used_before_asking(place: Place) -> None:
    async def only_theirs(request: web.Request) -> web.StreamResponse:
        return web.json_response({}, status=200 if request.headers["Authorization"] == "Bearer theirs" else 401)

    place.api_server.handler = only_theirs
    for refresh_token in (REFRESH, None):
        user = place.user(1000)
        user.refresh_token = refresh_token
        api = place.api(path := place.file(user))
        theirs = OAuth2User("theirs", refresh_token, datetime.fromtimestamp(place.clock() + 999, UTC))
        path.write_text(json.dumps(theirs.to_dict()))
        await api.get_json("/")
    assert (place.sent, place.forms) == ([OLD, "theirs"] * 2, [])


async def test_a_refused_refresh_looks_at_the_file_again_before_it_gives_up(place: Place) -> None:
    path = place.file()

    def rotated_meanwhile() -> web.Response:  # by a program that takes no lock
        theirs = OAuth2User("theirs", "their-refresh", datetime.fromtimestamp(place.clock() + 99, UTC))
        path.write_text(json.dumps(theirs.to_dict()))
        return web.json_response({"error": "invalid_grant"}, status=400)

    place.answers = [rotated_meanwhile]
    assert await place.api(path).get_json("/") == {"ok": True}
    assert (len(place.forms), place.sent) == (1, ["theirs"])
    assert json.loads(path.read_text())["token"] == "theirs"


async def test_a_refused_refresh_tries_a_newer_refresh_token_from_the_file(place: Place) -> None:
    path = place.file()

    def rotated_long_ago() -> web.Response:
        theirs = OAuth2User("theirs", "their-refresh", datetime.fromtimestamp(place.clock() - 1, UTC))
        path.write_text(json.dumps(theirs.to_dict()))
        return web.json_response({"error": "invalid_grant"}, status=400)

    place.answers = [rotated_long_ago]
    await place.api(path).get_json("/")
    assert [form["refresh_token"] for form in place.forms] == [REFRESH, "their-refresh"]
    assert place.sent == ["new-token-2"]


@pytest.mark.posix
async def test_a_user_file_that_is_gone_is_signed_out(place: Place) -> None:
    api = place.api(path := place.file())
    path.unlink()
    with pytest.raises(CredentialsNotFoundError, match="Grant again"):
        await api.get_json("/")
    assert (place.forms, path.exists()) == ([], False)


@pytest.mark.parametrize("text", ["", '{"token": "ha', "[]", "\0\0\0\0"])
async def test_a_user_file_that_broke_is_told_of_and_replaced_by_what_is_good(
    place: Place, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    api = place.api(path := place.file())
    path.write_text(text)
    await api.get_json("/")
    assert "cannot be read" in caplog.text
    assert OAuth2User.from_json_file(path).token == "new-token-1"


async def test_tokens_that_cannot_be_saved_are_used_and_renewed_from_memory(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FullDisk()
    await disk.user("alice").save(place.user())
    disk.full = True
    api = place.api(disk.user("alice"))
    await api.get_json("/")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "The disk is full." in caplog.text
    assert "not saved" in caplog.text
    assert "token-" not in caplog.text
    await api.get_json("/")
    place.clock.now += 1000
    await api.get_json("/")
    assert place.sent == ["new-token-1", "new-token-1", "new-token-2"]
    assert [form["refresh_token"] for form in place.forms] == [REFRESH, "refresh-token-1"]
    disk.full = False  # else the end of the event loop waits for it


async def test_a_user_file_that_can_never_be_saved_is_noticed_before_a_token_request(place: Place) -> None:
    api = place.api(path := place.file())
    path.unlink()
    path.mkdir()
    with pytest.raises(SaveError, match="is a folder"):
        await api.get_json("/")
    assert (place.sent, place.forms) == ([], [])


async def test_an_entry_of_a_store_is_loaded_with_the_first_call(place: Place) -> None:
    store = MemoryStore()
    await store.user("alice").save(place.user(1000))
    await place.api(store.user("alice")).get_json("/")
    assert (place.sent, place.forms) == ([OLD], [])
    with pytest.raises(SlyError, match="no user 'nobody'"):
        await place.api(store.user("nobody")).get_json("/")


async def test_a_users_first_call_on_a_live_token_reads_the_store_once_and_takes_no_lock(place: Place) -> None:
    calls: list[str] = []

    class Watched(MemoryStore):
        async def load(self, name: str) -> dict[str, Any]:
            calls.append("load")
            return await super().load(name)

        def lock(self, name: str) -> AbstractAsyncContextManager[None]:
            calls.append("lock")
            return super().lock(name)

    store = Watched()
    await store.user("alice").save(place.user(1000))
    await place.api(store.user("alice")).get_json("/")
    assert (calls, place.sent) == (["load"], [OLD])
    calls.clear()
    await store.user("alice").save(place.user(-1))
    await place.api(store.user("alice")).get_json("/")
    assert calls[:3] == ["load", "lock", "load"], "in the lock it is looked at again"


# The network.


async def test_a_token_endpoint_that_cannot_be_reached_is_named(place: Place, unused_port: int) -> None:
    api = place.api()
    assert isinstance(api.auth, OAuth2)
    api.auth.app.token_uri = f"http://127.0.0.1:{unused_port}/token"
    with pytest.raises(NetworkError, match=f"{unused_port}/token: no connection") as caught:
        await api.get_json("/")
    assert caught.value.kind == "transient"
