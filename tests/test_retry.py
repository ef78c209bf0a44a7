"""Whether and when a call is tried again, and what its error tells then."""
from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import ApiError, Auth, HeaderApiKey, SlyError, WebAPI
from SlyAPI.errors import ConfigError, NetworkError, RequestTimeoutError
from SlyAPI.limits import Limits
from SlyAPI.retry import IDEMPOTENT, Retry
from SlyAPI.web import Request

if TYPE_CHECKING:
    from tests.conftest import Practise, Serve

ALL = {**dict.fromkeys(("POST", "PATCH", "CONNECT", "PROPPATCH"), False), **dict.fromkeys(sorted(IDEMPOTENT), True)}


def refused(status: int, wait: float | None = None) -> ApiError:
    return ApiError(status, retry_after=wait)


# --- the policy ---


@pytest.mark.parametrize(("method", "again"), ALL.items())
def test_only_idempotent_methods_are_tried_again_unless_the_policy_names_others(method: str, again: bool) -> None:
    assert (Retry().delay(1, 0.0, method, refused(503)) is not None) is again
    assert Retry(methods={*IDEMPOTENT, method}).delay(1, 0.0, method, refused(503)) is not None


@pytest.mark.parametrize("status", range(400, 600))
def test_statuses_that_pass_are_tried_again_and_no_others(status: int) -> None:
    again = Retry().delay(1, 0.0, "GET", refused(status)) is not None
    assert again is (status in (429, 502, 503, 504))


async def test_a_retry_after_in_any_form_makes_these_refusals_transient(serve: Serve) -> None:
    async def refuses(request: web.Request) -> web.StreamResponse:
        status, form = map(int, request.path.strip("/").split("/"))
        moment = [format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True) for at in (now, now + 9)]
        said = [{"Retry-After": "9"}, {"Retry-After": "8.5"}, {"Retry-After": moment[1], "Date": moment[0]}]
        said += [{"Retry-After": moment[1], "Date": word} for word in ("", "yesterday")]  # by our own clock
        return web.Response(status=status, headers=said[form])

    now = time.time()
    async with api_at((await serve(refuses)).origin) as api:
        for status in (403, 409, 413, 421, 423, 429, 503):
            for form in range(5):
                with pytest.raises(ApiError) as caught:
                    await api.get_json(f"/{status}/{form}")
                assert caught.value.kind == "transient"
                assert 2 < (caught.value.retry_after or 0) <= 9
                assert (Retry().delay(1, 0.0, "GET", caught.value) or 0) > 2


def test_connections_that_broke_are_tried_again_and_failed_tls_is_not() -> None:
    assert Retry().delay(1, 0.0, "GET", NetworkError("broke")) is not None
    assert Retry().delay(1, 0.0, "GET", RequestTimeoutError("late")) is not None
    assert Retry().delay(1, 0.0, "GET", NetworkError("no TLS", kind="configuration")) is None
    assert Retry().delay(1, 0.0, "GET", ConfigError("no URL")) is None


def test_pauses_double_up_to_the_longest_and_chance_takes_any_part_of_them() -> None:
    whole = Retry(tries=9, total=1000, first=0.5, longest=5, chance=lambda: 1.0)
    assert [whole.delay(n, 0.0, "GET", refused(503)) for n in range(1, 7)] == [0.5, 1, 2, 4, 5, 5]
    none = Retry(chance=lambda: 0.0)
    assert none.delay(1, 0.0, "GET", refused(503)) == 0.0


def test_what_the_server_says_about_waiting_is_waited_out_and_not_all_come_back_at_once() -> None:
    assert Retry(first=0.5, chance=lambda: 0.5).delay(3, 0.0, "GET", refused(429, 7.0)) == 7.25


def test_a_wait_that_the_total_has_no_room_for_is_not_begun() -> None:
    policy = Retry(total=60, chance=lambda: 0.0)
    assert policy.delay(1, 0.0, "GET", refused(429, 60.0)) == 60.0
    assert policy.delay(1, 0.1, "GET", refused(429, 60.0)) is None
    assert policy.delay(1, 0.0, "GET", refused(429, 3600.0)) is None


@given(
    tried=st.integers(1, 10**6),
    elapsed=st.floats(0, 1e9),
    wait=st.none() | st.floats(0, 1e12),
    chance=st.floats(0, 1),
)
def test_no_pause_is_negative_or_beyond_the_total(
    tried: int, elapsed: float, wait: float | None, chance: float
) -> None:
    policy = Retry(tries=10**7, chance=lambda: chance)
    delay = policy.delay(tried, elapsed, "GET", refused(503, wait))
    assert delay is None or (delay >= 0 and elapsed + delay <= policy.total)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"tries": 0}, {"total": -1}, {"total": float("nan")}, {"first": -1}, {"first": 2, "longest": 1}),
        *({"statuses": {404}}, {"statuses": {401, 503}}, {"statuses": {200}}, {"methods": "POST"}),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Retry(**wrong)


@pytest.mark.parametrize("given", [{"retry": 3}, {"retry": True}, {"retry": Retry}, {"limits": 5}, {"limits": Limits}])
def test_what_is_given_in_the_place_of_a_policy_is_refused_and_not_passed_over(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"Give (a Retry|Limits), such as"):
        WebAPI(Auth.none(), **given)


# --- calls ---


@dataclass
class Time:
    """Passes only while somebody sleeps."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list[float])

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def policy(time: Time, **more: Any) -> Retry:
    return Retry(**{"chance": lambda: 1.0, "clock": time, "sleep": time.sleep, **more})


def answering(*statuses: int, **headers: str) -> Any:
    """Answers with each status in turn, the last one for ever."""
    left = list(statuses)

    async def handler(request: web.Request) -> web.Response:
        status = left.pop(0) if len(left) > 1 else left[0]
        return web.json_response({"status": status}, status=status, headers=headers if status >= 400 else {})

    return handler


def api_at(origin: str, auth: Auth | None = None, **more: Any) -> WebAPI:
    api = WebAPI(auth or Auth.none(), **more)
    api.base_url = origin
    return api


async def test_without_a_policy_a_call_is_sent_once(serve: Serve) -> None:
    server = await serve(answering(503, 200))
    with pytest.raises(ApiError) as caught:
        await api_at(server.origin).get_json("/")
    assert len(server.seen) == 1
    assert (caught.value.tries, caught.value.tried_for) == (1, 0.0)


async def test_a_policy_is_given_to_the_object_or_to_its_class(serve: Serve) -> None:
    class Patient(WebAPI):
        retry = policy(Time())

    server = await serve(answering(503, 200))
    for api in (api_at(server.origin, retry=policy(Time())), Patient(Auth.none())):
        api.base_url = (await serve(answering(503, 200))).origin
        assert await api.get_json("/") == {"status": 200}


async def test_a_client_of_0_6_with_members_by_these_names_runs_as_it_did(serve: Serve) -> None:
    class Client(WebAPI):
        async def limits(self) -> Any:  # type: ignore[override]
            return await self.get_json("/limits")

        async def retry(self) -> Any:  # type: ignore[override]
            return await self.get_json("/retry")

    server = await serve(answering(200))
    client = Client(Auth.none())
    client.base_url = server.origin
    assert await client.limits() == await client.retry() == {"status": 200}


async def test_a_get_is_tried_until_it_works_and_a_post_is_not(serve: Serve) -> None:
    time, server = Time(), await serve(answering(503, 502, 200))
    assert await api_at(server.origin, retry=policy(time)).get_json("/") == {"status": 200}
    assert time.slept == [0.5, 1.0]
    with pytest.raises(ApiError):
        await api_at((await serve(answering(503, 200))).origin, retry=policy(time)).post_json("/", json={})
    assert time.slept == [0.5, 1.0]


async def test_each_try_sends_the_same_and_is_signed_anew(serve: Serve) -> None:
    class Counting(Auth):
        signed = 0

        async def sign(self, client: Any, request: Request) -> Request:
            self.signed += 1
            request.query_params["n"] = self.signed
            request.headers["X-Signed"] = str(self.signed)
            return request

    server = await serve(answering(503, 503, 200))
    await api_at(server.origin, Counting(), retry=policy(Time())).put_json("/", {"q": "a"}, {"b": [1]}, {"X-Mine": "m"})
    assert [seen.headers["X-Signed"] for seen in server.seen] == ["1", "2", "3"]
    assert [dict(seen.query) for seen in server.seen] == [{"q": "a", "n": str(n)} for n in (1, 2, 3)]
    assert {(seen.headers["X-Mine"], seen.body) for seen in server.seen} == {("m", b'{"b": [1]}')}


async def test_a_refresh_that_fails_is_not_tried_again_by_the_policy(practise: Practise, unused_port: int) -> None:
    place, time = await practise(), Time()
    user = await place.grant()
    place.clock.now += 1000
    place.app.token_uri = f"http://127.0.0.1:{unused_port}/token"
    with pytest.raises(NetworkError) as caught:
        await place.api(place.auth(user), retry=policy(time)).get_json("/me")
    assert time.slept == []
    assert caught.value.tries == 1


async def test_the_last_error_is_told_and_how_often_and_long_it_was_tried(serve: Serve) -> None:
    server = await serve(answering(503, 503, 502))
    with pytest.raises(ApiError) as caught:
        await api_at(server.origin, retry=policy(Time(), tries=3)).get_json("/")
    error = caught.value
    assert (error.status, error.tries, error.tried_for) == (502, 3, 1.5)
    assert error.__notes__ == ["Tried 3 times in 1.5 s; this is the last error."]
    again = pickle.loads(pickle.dumps(error))
    assert (again.tries, again.tried_for, again.__notes__) == (3, 1.5, error.__notes__)


async def test_a_refusal_on_the_second_try_is_the_error(serve: Serve) -> None:
    server = await serve(answering(503, 404))
    with pytest.raises(ApiError) as caught:
        await api_at(server.origin, retry=policy(Time())).get_json("/")
    assert (caught.value.status, caught.value.tries) == (404, 2)


async def test_a_connection_that_breaks_is_tried_again(serve: Serve) -> None:
    breaks_left = [3]  # aiohttp itself asks twice for a GET

    async def breaks(request: web.Request) -> web.Response:
        if breaks_left[0] and request.transport is not None:
            breaks_left[0] -= 1
            request.transport.abort()
        return web.json_response({"ok": True})

    server, time = await serve(breaks), Time()
    assert await api_at(server.origin, retry=policy(time)).get_json("/") == {"ok": True}
    assert time.slept


async def test_a_body_that_can_be_sent_but_once_is_not_sent_again(serve: Serve) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"part"

    server, time = await serve(answering(503, 200)), Time()
    api = api_at(server.origin, retry=policy(time))
    with pytest.raises(ApiError):
        await api.put("/", data=parts())
    assert (len(server.seen), time.slept) == (1, [])


async def test_a_file_is_sent_again_from_its_beginning(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(b"scene" * 1000)
    server = await serve(answering(503, 200))
    await api_at(server.origin, retry=policy(Time())).put("/", data=tmp_path / "film")
    assert [seen.body for seen in server.seen] == [b"scene" * 1000] * 2


async def test_a_file_that_cannot_be_read_is_not_tried_again(serve: Serve, tmp_path: Path) -> None:
    server, time = await serve(answering(200)), Time()
    with pytest.raises((SlyError, OSError)):
        await api_at(server.origin, retry=policy(time)).put("/", data=tmp_path / "missing")
    assert time.slept == []


async def test_a_stream_that_is_refused_is_begun_again(serve: Serve) -> None:
    api = api_at((await serve(answering(503, 200))).origin, retry=policy(Time()), limits=Limits(concurrent=1))
    async with api.stream("/") as reply:
        assert b"".join([piece async for piece in reply]) == b'{"status": 200}'
    assert await api.get_json("/") == {"status": 200}


async def test_a_wait_can_be_cancelled_and_nothing_more_is_sent(serve: Serve) -> None:
    asleep = asyncio.Event()

    async def sleep(seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    server = await serve(answering(503))
    call = asyncio.create_task(api_at(server.origin, retry=Retry(sleep=sleep)).get_json("/"))
    await asleep.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(server.seen) == 1


async def test_an_error_on_the_way_shows_no_key(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    server = await serve(answering(503))
    with pytest.raises(SlyError):
        await api_at(server.origin, HeaderApiKey("X-Key", "s3cretkey"), retry=policy(Time())).get_json("/?k=s3cretkey")
    events = [record for record in caplog.records if record.name == "SlyAPI.retry"]
    assert [getattr(record, "tried", None) for record in events] == [1, 2, 3]
    assert "HTTP 503; try 2 of 4 in 0.5 s" in events[0].getMessage()
    assert "s3cretkey" not in "".join(f"{vars(record)}" for record in caplog.records if record.name.startswith("Sly"))
