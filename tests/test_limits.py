"""How many calls are under way, how fast they follow, whose turn it is, and what providers say of it."""
from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import ApiError, Auth, WebAPI
from SlyAPI.errors import ConfigError, LimitError
from SlyAPI.limits import Bucket, Limits, NamedQuotas, Quota, quota_from_headers
from SlyAPI.web import Method, Request

if TYPE_CHECKING:
    from tests.conftest import Practise, Serve

NOW = 1_800_000_000.0
DATE = {"Date": "Fri, 15 Jan 2027 08:00:00 GMT"}  # NOW
ASKED = Request(Method.GET, "https://api.example/things?key=s3cret")


class Time:
    """Passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def limits(time: Time, **more: Any) -> Limits:
    return Limits(**{"clock": time, "sleep": time.sleep, "wall": lambda: NOW, **more})


def api_at(origin: str, auth: Auth | None = None, **more: Any) -> WebAPI:
    api = WebAPI(auth or Auth.none(), **more)
    api.base_url = origin
    return api


# --- the bucket ---


@given(
    rate=st.floats(0.01, 1000),
    burst=st.integers(1, 20),
    rests=st.lists(st.floats(0, 5), min_size=1, max_size=40),
)
def test_in_any_stretch_of_time_no_more_go_out_than_the_rate_and_one_burst(
    rate: float, burst: int, rests: list[float]
) -> None:
    bucket, now, went = Bucket(rate, burst), 0.0, list[float]()
    for rest in rests:
        now += rest
        now += bucket.wait(now)
        bucket.take(now)
        went.append(now)
    for first in range(len(went)):
        for last in range(first, len(went)):
            assert last - first + 1 <= (went[last] - went[first]) * rate + burst + 1e-3


def test_a_burst_goes_at_once_and_comes_back_with_rest() -> None:
    bucket = Bucket(10, 3)
    for _ in range(3):
        assert bucket.wait(0.0) == 0.0
        bucket.take(0.0)
    assert bucket.wait(0.0) == pytest.approx(0.1)
    assert bucket.wait(0.0, ahead=4) == pytest.approx(0.5)
    assert bucket.wait(0.3) == 0.0


def test_nothing_goes_out_once_the_provider_says_that_nothing_is_left() -> None:
    bucket = Bucket(None, 1)
    bucket.update(Quota(2, 30.0), now=0.0, under_way=1)  # the one on its way takes one of the two
    assert bucket.wait(0.0) == 0.0
    bucket.take(0.0)
    assert bucket.wait(1.0) == pytest.approx(29.0)
    bucket.update(Quota(1, 28.0), now=2.0, under_way=0)  # sent before, arrived late
    assert bucket.wait(2.0) == pytest.approx(28.0)
    assert bucket.wait(31.0) == 0.0


def test_a_quota_that_resets_in_a_year_holds_back_for_an_hour() -> None:
    bucket = Bucket(None, 1)
    bucket.update(Quota(0, 86400.0 * 365), now=0.0, under_way=0)
    assert bucket.wait(1.0) == pytest.approx(3599.0)
    bucket.take(3600.0)
    assert bucket.wait(3600.0, ahead=99) == 0.0


# --- what providers say ---

SAYINGS: dict[str, tuple[dict[str, str], Quota | None]] = {
    "nothing": ({}, None),
    "GitHub": ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW) + 90)}, Quota(0, 90.0)),
    "X": ({"x-rate-limit-remaining": "12", "x-rate-limit-reset": str(int(NOW) + 900)}, Quota(12, 900.0)),
    "Discord": (
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1800000099.5", "X-RateLimit-Reset-After": "1.25"},
        Quota(0, 1.25),
    ),
    "seconds": ({"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "55"}, Quota(3, 55.0)),
    "milliseconds": ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW + 5) * 1000)}, Quota(0, 5.0)),
    "the elder draft": ({"RateLimit-Remaining": "7", "RateLimit-Reset": "20"}, Quota(7, 20.0)),
    "a reset that is over": ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000000"}, Quota(0, 0.0)),
    "microseconds, which would be a wait of years": (
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{NOW:.0f}000000"},
        None,
    ),
    "words": ({"X-RateLimit-Remaining": "none", "X-RateLimit-Reset": "soon"}, None),
}


@pytest.mark.parametrize("with_date", [True, False])
@pytest.mark.parametrize(("headers", "told"), SAYINGS.values(), ids=SAYINGS.keys())
def test_what_providers_say_is_read(headers: dict[str, str], told: Quota | None, with_date: bool) -> None:
    from multidict import CIMultiDict

    given_headers = CIMultiDict({**headers, **(DATE if with_date else {})})
    # the server's own clock counts where it tells it
    assert quota_from_headers(given_headers, 200, 1.0 if with_date else NOW) == told


def test_retry_after_counts_for_those_who_were_sent_away_and_nobody_else() -> None:
    for status in (403, 409, 413, 421, 423, 429, 503):
        assert quota_from_headers({"Retry-After": "9.5"}, status, NOW) == Quota(0, 9.5)
    assert quota_from_headers({"Retry-After": "9"}, 200, NOW) is None


HEADER = st.text(st.sampled_from('", 0123456789.-eE+'), max_size=60)


@given(st.dictionaries(st.sampled_from(["X-RateLimit-Remaining", "X-RateLimit-Reset", "Date"]), HEADER))
def test_any_headers_are_a_bounded_saying_or_none(headers: dict[str, str]) -> None:
    told = quota_from_headers(headers, 429, NOW)
    assert told is None or (told.left >= 0 and 0 <= told.reset <= 86400 * 366)


# --- turns ---


@pytest.mark.parametrize(
    "wrong",
    [
        *({}, {"concurrent": 0}, {"per_second": 0}, {"per_second": float("nan")}, {"per_second": 1, "burst": 0}),
        *({"concurrent": 1, "max_wait": -1}, {"concurrent": 1, "max_wait": float("nan")}),
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Limits(**wrong)


async def test_no_more_calls_are_under_way_than_allowed_and_all_get_through(serve: Serve) -> None:
    now, most = 0, 0

    async def counting(request: web.Request) -> web.Response:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        for _ in range(5):
            await asyncio.sleep(0)
        now -= 1
        return web.json_response({"n": request.query["n"]}, status=500 if request.query["n"] == "3" else 200)

    api = api_at((await serve(counting)).origin, limits=Limits(concurrent=3))
    calls = [api.get_json("/", {"n": n}) for n in range(20)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [answer["n"] if isinstance(answer, dict) else None for answer in answers] == [
        str(n) if n != 3 else None for n in range(20)
    ]
    assert most == 3


async def test_calls_follow_each_other_at_the_rate_in_the_order_they_came() -> None:
    time, went = Time(), list[tuple[int, float]]()
    paced = limits(time, per_second=10, burst=2, concurrent=6)

    async def call(n: int) -> None:
        await paced.wait(ASKED)
        went.append((n, time.now))

    await asyncio.gather(*(call(n) for n in range(6)))
    assert [n for n, _ in went] == [0, 1, 2, 3, 4, 5]
    assert [at for _, at in went] == pytest.approx([0, 0, 0.1, 0.2, 0.3, 0.4])


async def test_a_wait_that_would_be_too_long_is_an_error_at_once_and_nothing_is_sent(serve: Serve) -> None:
    time, server = Time(), await serve()
    api = api_at(server.origin, limits=limits(time, per_second=0.01))
    await api.get_json("/")
    with pytest.raises(LimitError) as caught:
        await api.get_json("/things", {"key": "s3cret"})
    assert caught.value.retry_after == pytest.approx(100)
    assert caught.value.kind == "transient"
    assert "GET " in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert (len(server.seen), time.now) == (1, 0.0)
    time.now = 100.0
    await api.get_json("/")


async def test_a_turn_that_does_not_come_in_time_is_an_error_and_takes_nothing() -> None:
    full = Limits(concurrent=1, max_wait=0)
    await full.wait(ASKED)
    for _ in range(3):
        with pytest.raises(LimitError, match="had no turn within 0 s"):
            await full.wait(ASKED)
    full.release()
    await full.wait(ASKED)
    full.release()


@given(st.lists(st.integers(0, 9), max_size=20), st.integers(1, 3))
def test_whoever_is_cancelled_and_whenever_no_turn_is_lost(cancelled: list[int], at_once: int) -> None:
    async def main() -> None:
        some = Limits(concurrent=at_once)

        async def call() -> None:
            await some.wait(ASKED)
            try:
                await asyncio.sleep(0)
            finally:
                some.release()

        calls = [asyncio.create_task(call()) for _ in range(10)]
        for n in cancelled:
            await asyncio.sleep(0)
            calls[n].cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        async with asyncio.timeout(5):
            for _ in range(at_once):
                await some.wait(ASKED)

    asyncio.run(main())


async def test_a_call_that_is_cancelled_on_its_way_gives_its_turn_back(serve: Serve) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        asked.set()
        await answer.wait()
        return web.json_response({"ok": True})

    api = api_at((await serve(slow)).origin, limits=Limits(concurrent=1))
    first = asyncio.create_task(api.get_json("/"))
    await asked.wait()
    second = asyncio.create_task(api.get_json("/"))
    first.cancel()
    answer.set()
    assert await second == {"ok": True}
    with pytest.raises(asyncio.CancelledError):
        await first


def test_threads_with_loops_of_their_own_share_one_budget() -> None:
    shared, guard, now, most = Limits(concurrent=2), threading.Lock(), 0, 0

    async def call() -> None:
        nonlocal now, most
        await shared.wait(ASKED)
        with guard:
            now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0)
        with guard:
            now -= 1
        shared.release()

    async def calls() -> None:
        await asyncio.gather(*(call() for _ in range(50)))

    threads = [threading.Thread(target=lambda: asyncio.run(calls())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert (now, most) == (0, 2)


def test_a_loop_that_is_closed_with_waiters_stands_in_nobodys_way() -> None:
    one = Limits(concurrent=1)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(one.wait(ASKED))
    waiting = [one.wait(ASKED) for _ in range(3)]
    tasks = [loop.create_task(call) for call in waiting]
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    one.release()

    async def next_one() -> None:
        async with asyncio.timeout(5):
            await one.wait(ASKED)

    asyncio.run(next_one())
    for task, call in zip(tasks, waiting, strict=True):
        call.close()
        task._log_destroy_pending = False  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_begins_anew() -> None:
    one = Limits(concurrent=1)
    asyncio.run(one.wait(ASKED))
    child = os.fork()
    if not child:
        code = 1
        try:
            asyncio.run(asyncio.wait_for(one.wait(ASKED), 5))
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_that_ends_its_parents_turn_waits_for_no_thread_of_the_parents() -> None:
    held, go = threading.Event(), threading.Event()

    def clock() -> float:  # which is asked with the guard held
        if threading.current_thread() is not threading.main_thread():
            held.set()
            go.wait(30)
        return 0.0

    one = Limits(concurrent=1, respect_headers=True, clock=clock)
    asyncio.run(one.wait(ASKED))
    thread = threading.Thread(target=one.update, args=({"Retry-After": "1"}, 429))
    thread.start()
    assert held.wait(10)
    child = os.fork()
    if not child:
        signal.alarm(10)  # which ends a child that waits
        one.update({"Retry-After": "1"}, 429)
        one.release()
        os._exit(0)
    go.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


async def test_what_the_provider_says_is_obeyed_when_asked_for(serve: Serve) -> None:
    async def told(request: web.Request) -> web.Response:
        return web.json_response({}, headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "2.5"})

    time, server = Time(), await serve(told)
    api = api_at(server.origin, limits=limits(time, respect_headers=True))
    await api.get_json("/")
    await api.get_json("/")
    assert time.now == 2.5
    heedless = Time()
    api = api_at(server.origin, limits=limits(heedless, concurrent=1))
    await api.get_json("/")
    await api.get_json("/")
    assert heedless.now == 0.0


def named(resource: str, left: int, **more: str) -> dict[str, str]:
    told = {"X-RateLimit-Resource": resource, "X-RateLimit-Remaining": str(left), "X-RateLimit-Reset-After": "90"}
    return told | more


@pytest.mark.parametrize(("endpoints", "names"), [(2500, 7), (7, 2500), (1, 2500), (2500, 2500)])
def test_the_quotas_that_an_api_names_take_bounded_memory(endpoints: int, names: int) -> None:
    quotas = NamedQuotas()
    for number in range(2500):
        request = Request(Method.GET, f"https://api.example/{number % endpoints}")
        assert quotas.learn(request, str(number % names)) is quotas.of(request)
        assert len(quotas) <= 1000


async def test_a_quota_that_the_api_names_holds_back_the_endpoints_that_count_to_it_and_no_other(serve: Serve) -> None:
    async def told(request: web.Request) -> web.Response:
        if request.path.startswith("/search"):
            return web.json_response({}, headers=named("search", 0))
        return web.json_response({}, headers=named("core", 10))

    server = await serve(told)
    api = api_at(server.origin, limits=limits(Time(), respect_headers=True))
    for path in ("/repos/a/b", "/search/code", "/repos/a/b", "/repos/a/c", "/user"):
        await api.get_json(path)  # a new endpoint counts to the quota of the one most like it
    for path in ("/search/code", "/search/users"):
        with pytest.raises(LimitError) as caught:
            await api.get_json(path)
        assert caught.value.retry_after == pytest.approx(90, abs=1)
    assert [seen.path for seen in server.seen][-1] == "/user"


async def test_who_waits_for_a_named_quota_keeps_no_other_endpoint_waiting(serve: Serve) -> None:
    async def told(request: web.Request) -> web.Response:
        left = 0 if request.path == "/search" else 10
        return web.json_response({}, headers=named(request.path, left))

    reset, server = asyncio.Event(), await serve(told)

    async def sleep(seconds: float) -> None:
        assert seconds == pytest.approx(90, abs=1)
        time.now += seconds
        await reset.wait()

    time = Time()
    shared = Limits(concurrent=1, respect_headers=True, max_wait=100, clock=time, sleep=sleep)
    api = api_at(server.origin, limits=shared)
    await api.get_json("/core")
    await api.get_json("/search")
    waiting = asyncio.create_task(api.get_json("/search"))
    await asyncio.sleep(0)
    await asyncio.wait_for(api.get_json("/core"), 20)
    assert not waiting.done()
    reset.set()
    await waiting
    assert [seen.path for seen in server.seen] == ["/core", "/search", "/core", "/search"]


@pytest.mark.parametrize(
    "headers",
    [
        named("core", 10, **{"Retry-After": "90"}),  # GitHub's secondary limit
        {"X-RateLimit-Bucket": "ab", "X-RateLimit-Global": "true", "Retry-After": "90"},
        named("core", 0, **{"X-RateLimit-Scope": "global"}),
    ],
)
async def test_a_refusal_that_is_about_all_endpoints_holds_them_all_back(serve: Serve, headers: dict[str, str]) -> None:
    async def told(request: web.Request) -> web.Response:
        return web.json_response({}, status=429, headers=headers)

    server = await serve(told)
    api = api_at(server.origin, limits=limits(Time(), respect_headers=True))
    with pytest.raises(ApiError):
        await api.get_json("/repos")
    with pytest.raises(LimitError):
        await api.get_json("/other")


async def test_a_429_holds_back_all_others_and_no_longer_than_they_would_wait(serve: Serve) -> None:
    async def told(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "3600"})

    server = await serve(told)
    api = api_at(server.origin, limits=limits(Time(), respect_headers=True))
    with pytest.raises(ApiError):
        await api.get_json("/")
    with pytest.raises(LimitError) as caught:
        await api.get_json("/")
    assert caught.value.retry_after == pytest.approx(3600, abs=1)
    assert len(server.seen) == 1


async def test_a_hook_that_calls_the_api_finds_a_turn_though_there_is_but_one(practise: Practise) -> None:
    place, heard = await practise(), list[str]()
    user = await place.grant()

    async def hook(_: object) -> None:
        heard.append((await api.get_json("/me"))["name"])

    api = place.api(place.auth(user, on_refresh=hook), limits=Limits(concurrent=1))
    place.clock.now += 1000
    async with asyncio.timeout(20):
        await asyncio.gather(*(api.get_json("/me") for _ in range(3)))
        place.provider.revoke_access_tokens()  # a 401 on tokens that seem good
        await asyncio.gather(*(api.get_json("/me") for _ in range(3)))
    assert heard == ["Robin Practice"] * 2


def the_class() -> Callable[[str], WebAPI]:
    class Gentle(WebAPI):
        limits = Limits(concurrent=1)

    def made(origin: str) -> WebAPI:
        api = Gentle(Auth.none())
        api.base_url = origin
        return api

    return made


async def test_a_class_shares_one_budget_among_its_clients(serve: Serve) -> None:
    now, most = 0, 0

    async def counting(request: web.Request) -> web.Response:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0)
        now -= 1
        return web.json_response({})

    origin, gentle = (await serve(counting)).origin, the_class()
    await asyncio.gather(*(gentle(origin).get_json("/") for _ in range(8)))
    assert most == 1


async def test_a_wait_of_a_second_and_more_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    time = Time()
    slow = limits(time, per_second=0.05)
    await slow.wait(ASKED)
    slow.release()
    await slow.wait(ASKED)
    (told,) = [record for record in caplog.records if record.name == "SlyAPI.wait"]
    assert (told.levelname, told.getMessage()) == (
        "WARNING",
        "GET https://api.example/things waits about 20.0 s for its turn",
    )


@pytest.mark.parametrize("status", [200, 503])
async def test_what_another_host_says_of_its_limits_after_a_redirect_is_not_obeyed(serve: Serve, status: int) -> None:
    told = {"RateLimit-Remaining": "0", "RateLimit-Reset": "30000000", "Retry-After": "30000000"}

    async def answer(request: web.Request) -> web.Response:
        if request.host == server.origin.removeprefix("http://"):
            moved = {"Location": f"{other.origin}/file"}
            return web.json_response({}, status=302 if request.path == "/file" else 200, headers=moved)
        return web.json_response({}, status=status, headers=told)

    other, server = await serve(answer), await serve(answer)
    api = api_at(server.origin, limits=limits(Time(), respect_headers=True))
    with suppress(ApiError):
        await api.get_json("/file")
    assert other.seen
    await api.get_json("/x")
