"""OAuth2 at the edges: the moment a token falls due, limits of time, what is cut short and by whom."""

from __future__ import annotations

import asyncio
import gc
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from SlyAPI import ApiError, Auth, ClientCredentials, OAuth2, OAuth2User
from SlyAPI.errors import ConfigError, GrantEndedError, RequestTimeoutError, TokenError
from SlyAPI.oauth2.renewal.state import RETRY_PAUSE
from SlyAPI.stores import MemoryStore
from SlyAPI.web import Method, Request
from tests.support.refreshing import INVALID_GRANT, OLD, REFRESH, Place, status

if TYPE_CHECKING:
    from tests.conftest import Clock, Serve


def auth_at(place: Place, user: Any, **more: Any) -> OAuth2:
    return OAuth2(place.app, user, clock=place.clock, **more)


def in_seconds(clock: Clock, seconds: float) -> datetime:
    return datetime.fromtimestamp(clock() + seconds, UTC)


async def signed(auth: Auth) -> str:
    request = await auth.sign(None, Request(Method.GET, "https://api.example/"))
    return request.headers["Authorization"].removeprefix("Bearer ")


async def until(true: Any) -> None:
    while not true():  # noqa: ASYNC110 - the server is in this loop
        await asyncio.sleep(0)


@pytest.mark.parametrize("user", [MemoryStore(), None, {"access_token": "token-5EC9E7"}])
async def test_what_is_no_user_is_refused_where_it_is_given(place: Place, user: Any) -> None:
    with pytest.raises(ConfigError, match=r"store\.user\(name\)") as refused:
        auth_at(place, user)
    assert "5EC9E7" not in str(refused.value)


# When a token is due.


@pytest.mark.parametrize(("life", "leeway"), [(95.0, 9.5), (4.0, 0.4), (1000.0, 30.0)])
async def test_a_token_is_due_from_its_leeway_on_and_not_before(place: Place, life: float, leeway: float) -> None:
    auth = auth_at(place, place.user(life))
    place.clock.now += life - leeway - 0.01
    assert not auth.due
    assert await signed(auth) == OLD
    place.clock.now += 0.02
    assert auth.due
    assert await signed(auth) == "new-token-1"
    assert not auth.due


async def test_a_token_is_due_at_the_very_second_of_its_end(place: Place) -> None:
    auth = auth_at(place, OAuth2User(OLD, None, in_seconds(place.clock, 100)))
    place.clock.now += 100
    assert auth.due
    assert auth_at(place, place.user(0)).due


async def test_a_token_with_a_refresh_token_is_refreshed_at_the_very_second_of_its_leeway(place: Place) -> None:
    auth = auth_at(place, place.user(1000))
    place.clock.now += 970
    assert await signed(auth) == "new-token-1"


async def test_at_the_very_second_of_its_end_a_token_carries_on_no_more(place: Place) -> None:
    auth = auth_at(place, place.user(1000))
    place.answers += [status(503)]
    place.clock.now += 1000
    with pytest.raises(ApiError):
        await signed(auth)


async def test_an_expiry_that_the_program_changes_counts_from_then_on(place: Place) -> None:
    auth = auth_at(place, place.user(100))
    assert not auth.due
    auth.user.expires_at = in_seconds(place.clock, -1)
    assert auth.due
    auth.user.expires_at = None
    assert not auth.due
    auth.user.expires_at = in_seconds(place.clock, 100)
    assert not auth.due


async def test_a_user_with_a_refresh_token_alone_is_refreshed_before_the_first_call(place: Place) -> None:
    api = place.api(OAuth2User("", REFRESH))
    place.answers = [status(503)]
    with pytest.raises(TokenError):
        await api.get_json("/")
    assert place.sent == []
    await api.get_json("/")
    assert place.sent == ["new-token-2"]


async def test_a_user_without_any_token_sends_nothing(place: Place) -> None:
    with pytest.raises(GrantEndedError):
        await place.api(OAuth2User("")).get_json("/")
    assert place.sent == []


async def test_a_user_that_the_program_gives_during_a_refresh_stays(place: Place) -> None:
    """As after a new login, perhaps of somebody else."""
    api = place.api()
    assert isinstance(api.auth, OAuth2)
    place.gate.clear()
    call = asyncio.create_task(api.get_json("/"))
    await place.asked.wait()
    api.auth.user = OAuth2User("theirs", "refresh-theirs")
    place.gate.set()
    await call
    assert (place.sent, api.auth.user.refresh_token) == (["theirs"], "refresh-theirs")


async def test_whether_a_user_is_due_is_known_before_the_first_call(place: Place) -> None:
    store = MemoryStore()
    for name, left in (("alice", 100), ("robin", -100)):
        await store.user(name).save(place.user(left))
    auth = auth_at(place, store.user("alice"))
    assert "alice" in repr(auth)
    assert not auth.due
    assert await signed(auth) == OLD
    assert auth_at(place, store.user("robin")).due


async def test_a_providers_clock_that_is_ahead_makes_tokens_due_sooner(place: Place) -> None:
    auth = auth_at(place, OAuth2User(OLD, None, in_seconds(place.clock, 300)))
    auth.app.clock_skew = 120.0
    auth.user.expires_at = in_seconds(place.clock, 300)  # what the provider's clock will say
    place.clock.now += 179
    assert not auth.due
    place.clock.now += 2
    assert auth.due


async def test_a_token_that_the_providers_clock_calls_over_does_not_carry_on_while_it_is_out_of_order(
    place: Place,
) -> None:
    """The provider's replies bear the time of `place.clock`, two minutes ahead of ours."""
    auth = OAuth2(place.app, place.user(180), clock=lambda: place.clock() - 120)
    auth.app.clock_skew = 120.0
    auth.user.expires_at = in_seconds(place.clock, 180)
    place.answers += [status(503), status(503)]
    place.clock.now += 175  # in the leeway, and for 5 s more good by the provider's clock
    assert await signed(auth) == OLD
    place.clock.now += 6
    with pytest.raises(ApiError):
        await signed(auth)


async def test_a_failed_refresh_is_tried_again_after_the_pause(place: Place) -> None:
    auth = auth_at(place, place.user(1000))
    place.answers += [status(503)]
    place.clock.now += 975
    assert await signed(auth) == OLD
    place.clock.now += RETRY_PAUSE - 0.01
    assert await signed(auth) == OLD
    place.clock.now += 0.02
    assert await signed(auth) == "new-token-2"
    assert RETRY_PAUSE == 5.0


# Who hears of it.


async def test_a_hook_does_not_hear_of_a_refresh_that_failed_and_was_bridged(place: Place) -> None:
    heard: list[OAuth2User] = []
    auth = auth_at(place, place.user(1000), on_refresh=heard.append)
    place.answers += [status(503)]
    place.clock.now += 975
    assert await signed(auth) == OLD
    assert heard == []


async def test_a_hook_does_not_hear_of_tokens_that_another_program_rotated_meanwhile(place: Place) -> None:
    heard: list[OAuth2User] = []
    path = place.file()
    auth = auth_at(place, path, on_refresh=heard.append)

    def rotated() -> Any:
        path.write_text(json.dumps(OAuth2User("theirs", "newer", in_seconds(place.clock, 100)).to_dict()))
        return INVALID_GRANT()

    place.answers += [rotated]
    assert await signed(auth) == "theirs"
    assert heard == []


async def test_a_refresh_token_alone_that_changed_in_the_file_is_taken_over(place: Place) -> None:
    path = place.file(user := place.user())
    auth = auth_at(place, path)
    path.write_text(json.dumps({**user.to_dict(), "refresh_token": "newer"}))
    await signed(auth)
    assert [form["refresh_token"] for form in place.forms] == ["newer"]


async def test_a_hooks_call_that_is_refused_is_not_repeated(place: Place, serve: Serve) -> None:
    async def refuse(request: Any) -> Any:
        return status(401)()

    place.api_server = await serve(refuse)
    api = place.api()
    assert isinstance(api.auth, OAuth2)

    async def call(user: OAuth2User) -> None:
        with suppress(ApiError):
            await api.get_json("/")

    api.auth.on_refresh = call
    await signed(api.auth)
    await api.auth.wait_for_refresh()
    assert place.sent == ["new-token-1"]


async def test_a_client_that_closes_does_not_wait_for_the_hooks_of_another_user(place: Place) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def hook(user: OAuth2User) -> None:
        begun.set()
        await never.wait()

    slow, other = auth_at(place, place.user(), on_refresh=hook), auth_at(place, place.user())
    refreshing = asyncio.create_task(slow.refresh_now())
    await begun.wait()
    async with asyncio.timeout(20):
        await other.wait_for_refresh()
    never.set()
    await refreshing


# What is cut short.


async def test_a_token_endpoint_that_never_answers_is_given_up_when_its_time_is_over(place: Place) -> None:
    place.gate.clear()
    auth = auth_at(place, place.user())
    auth.app.token_timeout = 1.2
    async with asyncio.timeout(30):
        with pytest.raises(RequestTimeoutError):
            await signed(auth)
    place.gate.set()


def cancel_all_but_this(after: float = 0.0) -> None:
    """What a signal handler does, so many seconds from now."""
    here = asyncio.current_task()

    def cancel() -> None:
        for task in asyncio.all_tasks() - {here}:
            if "Flight" in repr(task) or "signed" in repr(task):
                assert task.cancel()

    asyncio.get_running_loop().call_later(after, cancel)


async def waiting_for_the_lock(auth: OAuth2) -> tuple[asyncio.Task[str], asyncio.Task[Any]]:
    """A call, and the refresh that it has begun, while somebody else holds the user's lock."""
    calling = asyncio.create_task(signed(auth))
    await until(lambda: any("Flight" in repr(task) for task in asyncio.all_tasks()))
    (refresh,) = [task for task in asyncio.all_tasks() if "Flight" in repr(task)]
    return calling, refresh


def cancel_together(calling: asyncio.Task[Any], refresh: asyncio.Task[Any]) -> None:
    cancel_all_but_this()


def cancel_the_caller_next(calling: asyncio.Task[Any], refresh: asyncio.Task[Any]) -> None:
    refresh.add_done_callback(lambda _: calling.cancel())
    refresh.cancel()


async def test_a_token_request_that_can_be_repeated_does_not_keep_its_program_from_ending(place: Place) -> None:
    auth = ClientCredentials(place.app, clock=place.clock)
    place.gate.clear()
    calling = asyncio.create_task(signed(auth))
    await until(lambda: place.forms)
    cancel_all_but_this()
    async with asyncio.timeout(10):
        await asyncio.wait([calling])
        await auth.wait_for_refresh()
    assert calling.cancelled()
    place.gate.set()


async def test_a_refresh_whose_callers_all_left_fails_in_silence(place: Place) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    place.gate.clear()
    place.answers += [status(400, {"error": "invalid_request"})]
    auth = auth_at(place, place.user())
    calling = asyncio.create_task(signed(auth))
    await until(lambda: place.forms)
    calling.cancel()
    await asyncio.wait([calling])
    place.gate.set()
    await auth.wait_for_refresh()
    del auth, calling
    gc.collect()
    assert told == []


@pytest.mark.slow
async def test_a_hook_that_never_ends_is_cancelled_five_seconds_after_its_refresh(place: Place) -> None:
    begun = asyncio.Event()

    async def hook(user: OAuth2User) -> None:
        begun.set()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.Event().wait()
        raise asyncio.CancelledError

    auth = auth_at(place, place.user(), on_refresh=hook)
    calling = asyncio.create_task(signed(auth))
    await begun.wait()
    cancel_all_but_this()
    async with asyncio.timeout(30):
        await asyncio.wait([calling])
        await auth.wait_for_refresh()
