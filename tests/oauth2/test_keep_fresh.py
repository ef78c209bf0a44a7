"""Tokens renewed ahead of need: one program at a time, spread out, no provider asked too much, in virtual time."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import SlyAPI
import SlyAPI.errors
import SlyAPI.stores
from SlyAPI import OAuth2, OAuth2App, OAuth2User, keep_fresh
from SlyAPI.errors import ConfigError, GrantEndedError, NetworkError, SaveError, SlyError, TokenError, UnavailableError
from SlyAPI.stores import FileStore, MemoryStore, StoredUser, TokenStore
from SlyAPI.web import Method, Request
from tests.simulation.stores import Shelf, make_store
from tests.support.refreshing import FullDisk, is_touch
from tests.support.virtual_time import clock, run

LIFE, AHEAD, AT_ONCE = 3600.0, 300.0, 3


@dataclass
class Provider:
    """A token endpoint in virtual time."""

    life: float = LIFE
    takes: float = 0.5
    asked: list[tuple[float, str]] = field(default_factory=list)
    """When, and with which refresh token."""
    inside: int = 0
    most: int = 0
    revoked: set[str] = field(default_factory=set)
    busy_until: float = 0.0
    down_until: float = 0.0
    answer: Callable[[OAuth2User], None] = lambda user: None

    async def refresh(self, user: OAuth2User) -> OAuth2User:
        self.asked.append((clock(), str(user.refresh_token)))
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.inside -= 1
        self.answer(user)
        if user.refresh_token in self.revoked:
            raise GrantEndedError(400, "invalid_grant", message="The grant has ended.")
        if clock() < self.busy_until:
            left = self.busy_until - clock()
            raise TokenError(429, "slow_down", message="Too many.", kind="transient", retry_after=left)
        if clock() < self.down_until:
            raise NetworkError("The provider is away.")
        number = int(user.token.rpartition("-")[2]) + 1
        name = user.token.rpartition("-")[0]
        return OAuth2User(f"{name}-{number}", user.refresh_token, at(clock() + self.life))


class App(OAuth2App):
    """A client of it."""

    endpoint: Provider

    async def refresh(self, client: Any, user: OAuth2User, **more: Any) -> OAuth2User:
        return await self.endpoint.refresh(user)


@dataclass
class Machine:
    """Where a store runs: in virtual time, until it dies, and not while the store is away."""

    away_until: float = 0.0
    dead: bool = False

    def now(self) -> float:
        return clock()

    def alive(self) -> bool:
        return not self.dead

    async def do(self, label: str, footprint: Any, act: Callable[[], Any], **more: Any) -> Any:
        ready: Callable[[], bool] = more.get("ready", lambda: True)
        await asyncio.sleep(0)
        while True:
            if clock() < self.away_until:
                raise SlyAPI.errors.SaveError("The store is away.", kind="transient")
            if not self.dead and ready():
                return act()
            await asyncio.sleep(0.5)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def app_of(provider: Provider) -> App:
    app = App("id", "secret", "https://p.example/authorize", "https://p.example/token")
    app.endpoint = provider
    return app


def leased(shelf: Shelf, machine: Machine) -> TokenStore:
    store: TokenStore = make_store(SlyAPI, "leased", shelf, machine, lease=9.0)
    return store


async def fill(store: TokenStore, count: int, end: Callable[[int], float]) -> None:
    for number in range(count):
        await store.user(f"u{number}").save(OAuth2User(f"u{number}-0", f"r{number}", at(end(number))))


async def ends(store: TokenStore) -> dict[str, float]:
    users = {name: await store.user(name).load() for name in await store.names()}
    return {name: user.expires_at.timestamp() for name, user in users.items() if user.expires_at}


def test_tokens_are_renewed_before_their_end_and_not_much_before() -> None:
    async def main() -> None:
        store, provider = MemoryStore(), Provider()
        await fill(store, 50, lambda number: clock() + 100 + 40 * number)
        known = await ends(store)
        async with keep_fresh(store, app_of(provider), ahead=AHEAD, clock=clock) as fresh:
            for _ in range(60):
                await asyncio.sleep(60)
                now_ends = await ends(store)
                assert min(now_ends.values()) > clock()
                for name, end in now_ends.items():
                    if end != known[name]:
                        assert clock() >= known[name] - AHEAD
                        known[name] = end
        assert fresh.renewed == len(provider.asked)
        assert fresh.failed == 0

    run(main())


def test_tokens_that_end_together_are_spread_out_and_few_at_once() -> None:
    async def main() -> None:
        store, provider = MemoryStore(), Provider()
        await fill(store, 200, lambda _: clock() + 400)
        async with keep_fresh(store, app_of(provider), ahead=AHEAD, at_once=AT_ONCE, clock=clock):
            await asyncio.sleep(399)
        assert len(provider.asked) == 200
        assert provider.most <= AT_ONCE
        times = sorted(moment for moment, _ in provider.asked)
        assert times[-1] - times[0] >= AHEAD / 3
        assert max(Counter(int(moment // 30) for moment in times).values()) < 100

    run(main())


def test_a_backlog_is_worked_off_and_what_ended_long_ago_is_left_alone() -> None:
    async def main() -> None:
        store, provider = MemoryStore(), Provider()
        await fill(store, 40, lambda number: clock() - 3600 * number)
        async with keep_fresh(store, app_of(provider), behind=20 * 3600 + 1, clock=clock):
            await asyncio.sleep(120)
        assert {token for _, token in provider.asked} == {f"r{number}" for number in range(21)}

    run(main())


def test_an_ended_grant_is_asked_for_once_and_again_when_the_person_has_granted_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        store, provider = MemoryStore(), Provider(revoked={"r0"})
        await fill(store, 3, lambda _: clock() + 200)
        async with keep_fresh(store, app_of(provider), clock=clock) as fresh:
            await asyncio.sleep(3000)
            assert Counter(token for _, token in provider.asked) == {"r0": 1, "r1": 1, "r2": 1}
            assert fresh.failed == 1
            provider.revoked.clear()
            await store.user("u0").save(OAuth2User("u0-5", "r0", at(clock() + 100)))
            await asyncio.sleep(200)
        assert min((await ends(store)).values()) > clock()

    with caplog.at_level(logging.WARNING, "SlyAPI"):
        run(main())
    (record,) = caplog.records
    assert "'u0'" in record.getMessage()
    assert "ended" in record.getMessage()


@pytest.mark.parametrize("coroutine", [False, True])
def test_errors_go_to_the_hook_that_was_given_and_one_that_fails_stops_nothing(coroutine: bool) -> None:
    heard: list[tuple[str | None, SlyError]] = []

    def hook(entry: StoredUser | None, error: SlyError) -> None:
        heard.append((entry.name if entry else None, error))
        raise LookupError

    async def later(entry: StoredUser | None, error: SlyError) -> None:
        hook(entry, error)

    async def main() -> None:
        failures: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))
        store, provider = MemoryStore(), Provider(revoked={"r0", "r1"})
        await fill(store, 5, lambda _: clock() + 10)
        async with keep_fresh(store, app_of(provider), on_error=later if coroutine else hook, clock=clock) as fresh:
            await asyncio.sleep(300)
        assert fresh.renewed == 3
        assert sorted(str(name) for name, _ in heard) == ["u0", "u1"]
        assert all(isinstance(error, GrantEndedError) for _, error in heard)
        assert [type(failure) for failure in failures] == [LookupError] * 2

    run(main())


def test_retry_after_holds_back_everybody() -> None:
    async def main() -> None:
        store, provider = MemoryStore(), Provider()
        await fill(store, 60, lambda _: clock() + 200)
        provider.busy_until = start = clock()
        provider.busy_until += 100
        async with keep_fresh(store, app_of(provider), at_once=AT_ONCE, on_error=lambda *_: None, clock=clock):
            await asyncio.sleep(400)
        early = [moment for moment, _ in provider.asked if moment < start + 100]
        assert 1 <= len(early) <= AT_ONCE
        assert min((await ends(store)).values()) > clock()

    run(main())


def test_a_provider_that_is_away_is_asked_ever_more_rarely() -> None:
    async def main() -> None:
        store, provider = MemoryStore(), Provider()
        await fill(store, 500, lambda _: clock() - 10)
        provider.down_until = clock() + 3600
        async with keep_fresh(store, app_of(provider), at_once=AT_ONCE, on_error=lambda *_: None, clock=clock):
            await asyncio.sleep(3600)
            assert len(provider.asked) < 400
            await asyncio.sleep(900)
        assert min((await ends(store)).values()) > clock()

    run(main())


def test_an_outage_of_hours_is_reported_to_its_end_and_presses_nobody() -> None:
    heard: list[SlyError] = []

    async def main() -> None:
        store, provider = MemoryStore(), Provider()
        await fill(store, 60, lambda _: clock() - 10)
        provider.down_until = clock() + 2 * 3600

        def on_error(entry: StoredUser | None, error: SlyError) -> None:
            heard.append(error)

        async with keep_fresh(store, app_of(provider), at_once=20, on_error=on_error, clock=clock) as fresh:
            await asyncio.sleep(2 * 3600)
            assert len(provider.asked) <= len(heard) == fresh.failed
            last_hour = [moment for moment, _ in provider.asked if moment > clock() - 3600]
            assert len(last_hour) <= 60 * 20
            await asyncio.sleep(300)
        assert min((await ends(store)).values()) > clock()

    run(main())


class Cancelling(MemoryStore):
    """A store that raises `CancelledError` by itself, a few times, at one of its steps."""

    def __init__(self, step: str) -> None:
        super().__init__()
        self.step, self.left = step, 0

    def _pass(self, step: str) -> None:
        if step == self.step and self.left:
            self.left -= 1
            raise asyncio.CancelledError

    async def load(self, name: str) -> dict[str, Any]:
        self._pass("load")
        return await super().load(name)

    async def names(self) -> list[str]:
        self._pass("names")
        return await super().names()

    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        self._pass("replace")
        await super().replace(name, old, new)

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[None, None]:
        self._pass("task_lock" if "keep-fresh" in name else "lock")
        async with super().lock(name):
            yield


@pytest.mark.parametrize("step", ["task_lock", "names", "load", "lock", "replace", "on_error"])
def test_a_store_or_hook_that_raises_cancelled_error_by_itself_stops_nothing(step: str) -> None:
    async def main() -> None:
        store, provider = Cancelling(step), Provider()
        await fill(store, 5, lambda _: clock() + 10)
        store.left = 2
        if step == "on_error":
            provider.down_until = clock() + 5

        def on_error(entry: StoredUser | None, error: SlyError) -> None:
            if step == "on_error":
                raise asyncio.CancelledError

        async with keep_fresh(store, app_of(provider), on_error=on_error, clock=clock):
            await asyncio.sleep(600)
            store.left = 0
            assert min((await ends(store)).values()) > clock()
            assert len(provider.asked) < 15

    run(main())


class Swallowing(MemoryStore):
    """A store, one of whose steps takes long, and reacts to its cancellation in a way of its own."""

    def __init__(self, step: str, reaction: type[Exception] | None) -> None:
        super().__init__()
        self.step, self.reaction, self.inside = step, reaction, asyncio.Event()

    async def linger(self, step: str) -> None:
        if step == self.step:
            self.inside.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if self.reaction is not None:
                    raise self.reaction("secret-words") from None

    async def names(self) -> list[str]:
        await self.linger("names")
        return await super().names()

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[None, None]:
        if "keep-fresh" in name:
            await self.linger("task_lock")
        async with super().lock(name):
            yield


@pytest.mark.parametrize("reaction", [None, OSError, UnavailableError])
@pytest.mark.parametrize("step", ["task_lock", "names", "on_error"])
def test_the_block_ends_at_once_whatever_a_store_or_hook_makes_of_the_cancellation(
    step: str, reaction: type[Exception] | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "asyncio")

    async def main() -> None:
        store, provider = Swallowing(step, reaction), Provider()
        await fill(store, 2, lambda _: clock() + (10 if step == "on_error" else LIFE))
        provider.down_until = clock() + 60

        async def on_error(entry: StoredUser | None, error: SlyError) -> None:
            await store.linger("on_error")

        async with keep_fresh(store, app_of(provider), on_error=on_error, clock=clock):
            await store.inside.wait()
            began = clock()
        assert clock() - began < 10
        assert len(asyncio.all_tasks()) == 1

    run(main())
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_token_that_lives_shorter_than_ahead_is_renewed_at_half_its_life() -> None:
    async def main() -> None:
        store, provider = MemoryStore(), Provider(life=120.0)
        await fill(store, 1, lambda _: clock() + 60)
        async with keep_fresh(store, app_of(provider), ahead=AHEAD, clock=clock):
            await asyncio.sleep(1200)
        assert 10 <= len(provider.asked) <= 21
        assert min((await ends(store)).values()) > clock()

    run(main())


def test_a_user_without_a_refresh_token_and_one_without_an_end_are_left_alone() -> None:
    async def main() -> None:
        store, provider = MemoryStore(), Provider()
        await store.user("none").save(OAuth2User("none-0", None, at(clock() + 10)))
        await store.user("endless").save(OAuth2User("endless-0", "r"))
        await store.save("broken", {"token": ["x"]})
        async with keep_fresh(store, app_of(provider), clock=clock) as fresh:
            await asyncio.sleep(300)
        assert provider.asked == []
        assert fresh.failed == 0

    run(main())


def test_a_refresh_token_of_another_client_or_issuer_is_not_sent_to_this_one() -> None:
    ours = {"client_id": "id", "issuer": "https://p.example"}
    marks = {"r0": ours, "r1": None, "r2": {**ours, "client_id": "other"}, "r3": {**ours, "issuer": "https://o.example"}}

    async def main() -> None:
        store, provider = MemoryStore(), Provider()
        app = app_of(provider)
        app.issuer = "https://p.example"
        for token, extra in marks.items():
            await store.user(token).save(OAuth2User(f"{token}-0", token, at(clock() + 10), extra=extra))
        async with keep_fresh(store, app, clock=clock):
            await asyncio.sleep(300)
        assert {token for _, token in provider.asked} == {"r0", "r1"}

    run(main())


@pytest.mark.parametrize("users", [AT_ONCE, 10])
def test_at_the_end_of_the_block_a_request_under_way_is_finished_and_saved(users: int) -> None:
    async def main() -> None:
        store, provider = MemoryStore(), Provider(takes=20.0)
        await fill(store, users, lambda _: clock() + 10)
        async with keep_fresh(store, app_of(provider), at_once=AT_ONCE, clock=clock):
            await asyncio.sleep(5)
            assert provider.inside == AT_ONCE
        assert provider.inside == 0
        renewed = [name for name, end in (await ends(store)).items() if end > clock()]
        assert len(renewed) == len(provider.asked) == AT_ONCE
        assert len(asyncio.all_tasks()) == 1
        async with asyncio.timeout(1), store.task_lock("keep-fresh"), store.lock(renewed[0]):
            pass

    run(main())


@pytest.mark.parametrize("ends_after", [0.25, 1.0, 4.0, 8.0, 60.0])
def test_the_end_of_the_block_waits_for_the_save_of_tokens_that_the_store_refuses_for_a_moment(
    ends_after: float,
) -> None:
    """Whatever the program does then: it may close its event loop by itself."""

    class Refusing(MemoryStore):
        refuses_until = 0.0

        async def save(self, name: str, value: dict[str, Any]) -> None:
            if clock() < self.refuses_until and not await is_touch(self, name, value):
                raise OSError("The disk is full.")
            await super().save(name, value)

    async def main() -> None:
        store, provider = Refusing(), Provider()
        await fill(store, 2, lambda _: clock() + 10)
        store.refuses_until = clock() + ends_after + 3.0
        async with keep_fresh(store, app_of(provider), at_once=AT_ONCE, clock=clock):
            await asyncio.sleep(ends_after)
        assert [(await store.load(name))["token"] for name in ("u0", "u1")] == ["u0-1", "u1-1"]

    run(main())


def test_while_the_store_refuses_new_tokens_only_a_few_grants_depend_on_this_program_alone() -> None:
    async def main() -> None:
        store, provider, heard = FullDisk(), Provider(), list[type[SlyError]]()
        await fill(store, 100, lambda _: clock() + 10)
        store.full = True
        on_error = lambda entry, error: heard.append(type(error))  # noqa: E731
        async with keep_fresh(store, app_of(provider), at_once=AT_ONCE, on_error=on_error, clock=clock) as fresh:
            await asyncio.sleep(300)
            assert len(provider.asked) < 30
            assert {*heard} == {SaveError}
            assert fresh.renewed == 0
            store.full = False
            await asyncio.sleep(120)
            assert min((await ends(store)).values()) > clock()
        assert len(provider.asked) == 100

    run(main())


@pytest.mark.parametrize("error", [OSError, UnavailableError], ids=lambda kind: kind.__name__)
def test_the_end_of_the_block_waits_for_a_request_though_the_list_of_users_broke_off(error: type[Exception]) -> None:
    class BreakingOff(MemoryStore):
        async def each_name(self) -> AsyncGenerator[str, None]:
            for name in await self.names():
                yield name
            raise error("The list is incomplete.")

    async def main() -> None:
        store, provider = BreakingOff(), Provider(takes=20.0)
        await fill(store, 2, lambda _: clock() + 10)
        async with keep_fresh(store, app_of(provider), at_once=AT_ONCE, clock=clock):
            await asyncio.sleep(5)
            assert provider.inside == 2
        assert [(await store.load(name))["token"] for name in ("u0", "u1")] == ["u0-1", "u1-1"]
        assert len(asyncio.all_tasks()) == 1

    run(main())


def test_a_program_that_ends_in_the_block_saves_what_was_asked_for() -> None:
    store, provider = MemoryStore(), Provider(takes=20.0)

    async def main() -> None:
        await fill(store, 1, lambda _: clock() + 10)
        await keep_fresh(store, app_of(provider), clock=clock).__aenter__()
        await asyncio.sleep(5)
        assert provider.inside == 1

    run(main())
    assert asyncio.run(store.load("u0"))["token"] == "u0-1"


def test_a_call_and_the_background_together_send_one_request() -> None:
    async def main() -> None:
        store, provider = MemoryStore(), Provider(takes=20.0)
        await fill(store, 1, lambda _: clock() - 10)
        app = app_of(provider)
        async with keep_fresh(store, app, clock=clock):
            await asyncio.sleep(5)
            request = Request(Method.GET, "https://api.example/")
            await OAuth2(app, store.user("u0"), clock=clock).sign(None, request)
            assert request.headers["Authorization"] == "Bearer u0-1"
            await asyncio.sleep(100)
        assert len(provider.asked) == 1

    run(main())


def test_an_error_of_another_kind_in_one_renewal_is_reported_and_stops_nothing() -> None:
    async def main() -> None:
        store, provider, heard = MemoryStore(), Provider(), list[SlyError]()

        def answer(user: OAuth2User) -> None:
            if user.refresh_token == "r0":
                raise TypeError("secret-5EC9E7")

        provider.answer = answer
        await fill(store, 5, lambda _: clock() + 10)
        async with keep_fresh(
            store, app_of(provider), on_error=lambda _, error: heard.append(error), clock=clock
        ) as fresh:
            await asyncio.sleep(30)
        assert fresh.renewed == 4
        assert len(heard) == len(provider.asked) - 4 == 1
        assert "5EC9E7" not in str(heard[0])

    run(main())


async def test_over_real_connections_tokens_are_renewed_too(practise: Any, tmp_path: Any) -> None:
    practice = await practise()
    store = FileStore(tmp_path / "users")
    await store.user("alice").save(await practice.grant())
    practice.clock.now += 800
    renewed = asyncio.Event()
    practice.app.on_refresh = lambda _: renewed.set()
    async with keep_fresh(store, practice.app, ahead=3600.0, clock=practice.clock) as fresh, asyncio.timeout(30):
        await renewed.wait()
    assert practice.refreshes == 1
    assert fresh.failed == 0


@pytest.mark.parametrize("wrong", [{"ahead": 0}, {"ahead": float("nan")}, {"at_once": 0}, {"behind": -1}])
def test_figures_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        keep_fresh(MemoryStore(), app_of(Provider()), **wrong)


# --- several machines ---


async def renew_on(machine: Machine, shelf: Shelf, provider: Provider, heard: list[Any]) -> None:
    async with keep_fresh(
        leased(shelf, machine),
        app_of(provider),
        ahead=AHEAD,
        at_once=AT_ONCE,
        on_error=lambda entry, error: heard.append((entry and entry.name, error)),
        clock=clock,
    ):
        await asyncio.Event().wait()


def test_of_two_machines_one_renews_and_the_other_takes_over_when_it_dies() -> None:
    async def main() -> None:
        shelf, provider, heard = Shelf(), Provider(), list[Any]()
        machines = [Machine(), Machine()]
        store = leased(shelf, Machine())
        await fill(store, 60, lambda number: clock() + 20 * number)
        tasks = [asyncio.create_task(renew_on(machine, shelf, provider, heard)) for machine in machines]
        await asyncio.sleep(600)
        assert provider.most <= AT_ONCE
        tokens = Counter(token for _, token in provider.asked)
        assert max(tokens.values()) == 1
        (holder,) = [lock.owner for name, lock in shelf.locks.items() if name.endswith("keep-fresh")]
        (victim,) = [number for number, machine in enumerate(machines) if leased_by(holder, machine)]
        machines[victim].dead = True
        tasks[victim].cancel()
        for _ in range(60):
            await asyncio.sleep(60)
            assert min((await ends(store)).values()) > clock()
        tasks[1 - victim].cancel()
        await asyncio.wait(tasks)

    run(main())


def leased_by(holder: Any, machine: Machine) -> bool:
    return getattr(holder, "around", None) is machine


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3000),
        st.sampled_from(["die", "busy", "away", "down", "revoke", "delete", "call"]),
        st.integers(0, 11),
    ),
    max_size=10,
)


@pytest.mark.slow
@given(EVENTS)
@settings(max_examples=30, deadline=None)
def test_whatever_happens_healthy_users_stay_fresh_and_the_provider_is_not_pressed(
    events: list[tuple[int, str, int]],
) -> None:
    async def main() -> None:
        shelf, provider, heard = Shelf(), Provider(), list[Any]()
        machines = [Machine(), Machine()]
        store = leased(shelf, Machine())
        app, start = app_of(provider), clock()
        await fill(store, 12, lambda number: clock() + 100 + 150 * number)
        tasks = [asyncio.create_task(renew_on(machine, shelf, provider, heard)) for machine in machines]
        silent: list[tuple[float, float]] = []
        gone: set[str] = set()
        in_flight_at_death = 0
        for moment, what, number in sorted(events):
            await asyncio.sleep(max(0.0, start + moment - clock()))
            if what == "die" and not machines[0].dead:
                in_flight_at_death += provider.inside
                machines[0].dead = True
                tasks[0].cancel()
            elif what == "busy":
                provider.busy_until = clock() + 40
                silent.append((clock() + provider.takes + 0.1, provider.busy_until))
            elif what == "away":
                for machine in machines:
                    machine.away_until = clock() + 20
            elif what == "down":
                provider.down_until = clock() + 20
            elif what == "revoke":
                provider.revoked.add(f"r{number}")
                gone.add(f"u{number}")
            elif what == "delete":
                await store.delete(f"u{number}")
                gone.add(f"u{number}")
            elif f"u{number}" not in gone:
                request = Request(Method.GET, "https://api.example/")
                await OAuth2(app, store.user(f"u{number}"), clock=clock).sign(None, request)
        await asyncio.sleep(start + 5000 - clock())
        fresh = await ends(store)
        assert {name for name, end in fresh.items() if end <= clock()} <= gone
        assert not {name for name in gone if name in fresh} - {f"u{token[1:]}" for token in provider.revoked}
        assert provider.most <= AT_ONCE + in_flight_at_death
        for token in provider.revoked:  # once by each machine, and once more by one that a dead one had asked for
            assert Counter(token for _, token in provider.asked)[token] <= 5
        for begin, end in silent:  # those that were under way when it began may learn of it, and nobody more
            assert len([moment for moment, _ in provider.asked if begin + 1 < moment < end]) <= 2 * AT_ONCE
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run(main())
