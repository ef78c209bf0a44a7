"""One OAuth2 in threads, in one event loop after another, after a fork, and cancelled wherever it waits."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import ExitStack
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest

from SlyAPI import OAuth2, OAuth2User
from SlyAPI.errors import SaveError
from SlyAPI.stores import FileStore, MemoryStore
from tests.support.folders import listed
from tests.support.other_process import Spawn, spawning

if TYPE_CHECKING:
    from tests.conftest import Practice, Practise

HELD = pytest.mark.parametrize("held", ["object", "file"])
"""Where the user is: in the program alone, or in a file."""


@pytest.fixture
async def practice(practise: Practise) -> Practice:
    """A strict provider that takes its time between the rotation and the reply."""
    return await practise(delay_after_rotation=0.03)


async def auth_of(practice: Practice, held: str) -> OAuth2:
    return practice.auth(await practice.granted_file() if held == "file" else await practice.grant())


def call(practice: Practice, auth: OAuth2) -> Coroutine[Any, Any, Any]:
    return practice.api(auth).get_json("/me")


async def asked(practice: Practice, times: int) -> None:
    """Waits, in whichever loop, until the provider has been asked to refresh so often."""
    while practice.refreshes < times:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def nothing_is_lost(practice: Practice, auth: OAuth2, held: str) -> None:
    """What we hold, in memory and on disk, is what the provider takes."""
    assert practice.provider.reuses == 0
    assert practice.refreshes == practice.provider.refreshes  # none was refused
    if held == "file":
        kept = OAuth2User.from_json_file(practice.folder / "user.json")
        assert (kept.token, kept.refresh_token) == (auth.user.token, auth.user.refresh_token)
        assert set(listed(practice.folder)) <= {"user.json"}


# Threads and loops.


@HELD
async def test_threads_that_have_a_loop_each_share_one_refresh(practice: Practice, held: str) -> None:
    auth = await auth_of(practice, held)
    practice.clock.now += 1000
    begin = Barrier(6)

    async def calls() -> None:
        begin.wait()
        await asyncio.gather(*(call(practice, auth) for _ in range(3)))

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, calls()) for _ in range(6)))
    assert practice.refreshes == 1
    nothing_is_lost(practice, auth, held)


@HELD
async def test_threads_whose_token_is_revoked_share_one_refresh(practice: Practice, held: str) -> None:
    auth = await auth_of(practice, held)
    practice.provider.revoke_access_tokens()
    begin = Barrier(6)

    async def calls() -> None:
        begin.wait()
        await call(practice, auth)

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, calls()) for _ in range(6)))
    assert practice.refreshes == 1
    nothing_is_lost(practice, auth, held)


@pytest.fixture
def stack() -> Generator[ExitStack, None, None]:
    with ExitStack() as stack:
        yield stack


class Refusing(MemoryStore):
    """A store that takes no new tokens while its disk is full, and says beforehand that it is read-only."""

    full, refused, read_only = False, 0, False

    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        if self.read_only:
            raise SaveError("The disk is read-only.", kind="configuration")
        if self.full and old != new:
            self.refused += 1
            raise SaveError("The disk is full.")
        await super().replace(name, old, new)


class Hanging(Refusing):
    """One that does not answer, and makes an error of its own of a cancellation, as some drivers do."""

    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        if self.full and old != new:
            self.refused += 1
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ConnectionError("The connection was cut.") from None
        await super().replace(name, old, new)


@pytest.mark.slow  # the five seconds that a save has at the end of a loop
@pytest.mark.parametrize("due", [False, True])
@pytest.mark.parametrize("kind", [Refusing, Hanging])
async def test_tokens_that_a_loop_could_not_save_before_its_end_are_saved_by_the_next_one(
    practice: Practice, due: bool, kind: type[Refusing]
) -> None:
    """With new objects, which load the spent ones."""
    store = kind()
    await store.user("robin").save(await practice.grant())
    practice.clock.now += 1000

    def program() -> Coroutine[Any, Any, Any]:
        return call(practice, OAuth2(practice.app, store.user("robin"), clock=practice.clock))

    store.full = True

    async def impatient() -> None:
        task = asyncio.create_task(program())
        while not store.refused:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        task.cancel()

    await asyncio.to_thread(asyncio.run, impatient())
    store.full = False
    practice.clock.now += 1000 * due
    for _ in range(2):
        await asyncio.to_thread(asyncio.run, program())
    assert (practice.refreshes, practice.provider.reuses) == (1 + due, 0)
    assert {seen.outcome for seen in practice.provider.log if seen.endpoint.startswith("api")} == {"ok"}
    assert store.refused


def closed_by_hand(store: Refusing, program: Coroutine[Any, Any, Any]) -> None:
    """Runs a program until the store has refused its new tokens; then its event loop is closed."""

    async def refused() -> None:
        while not store.refused:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    loop = asyncio.new_event_loop()
    calling = loop.create_task(program)
    loop.run_until_complete(refused())
    loop.run_until_complete(asyncio.wait([calling], timeout=0.01))  # a hook is called meanwhile
    loop.close()


@pytest.mark.parametrize("hook", [False, True], ids=["no hook", "a hook that waits"])
@pytest.mark.parametrize("kind", [Refusing, Hanging])
@pytest.mark.filterwarnings("ignore")  # asyncio complains of such programs, and rightly
async def test_tokens_that_were_not_saved_yet_when_their_loop_was_closed_are_saved_by_the_next_one(
    practice: Practice, kind: type[Refusing], hook: bool
) -> None:
    """As programs did before `asyncio.run`: nothing is cancelled, and nothing runs on."""
    store = kind()
    await store.user("robin").save(await practice.grant())
    practice.clock.now += 1000
    store.full = True

    def program() -> Coroutine[Any, Any, Any]:
        return call(practice, OAuth2(practice.app, store.user("robin"), clock=practice.clock))

    def old_program() -> None:
        if hook:
            practice.app.on_refresh = lambda user: asyncio.Event().wait()  # type: ignore[assignment,return-value]
        closed_by_hand(store, program())

    await asyncio.to_thread(old_program)
    store.full, practice.app.on_refresh = False, None
    async with asyncio.timeout(5):
        await asyncio.to_thread(asyncio.run, program())
    assert (practice.refreshes, practice.provider.reuses) == (1, 0)
    gc.collect()  # what such a program left is complained of here, not in the next test


async def left_unsaved(practice: Practice) -> tuple[Refusing, Callable[[], Coroutine[Any, Any, Any]]]:
    """A store with the spent tokens of a user whose new ones a closed loop left in memory, and that user's program."""
    store = Refusing()
    for name in ("robin", "kim"):
        await store.user(name).save(await practice.grant())
    practice.clock.now += 1000

    def program(name: str = "robin") -> Coroutine[Any, Any, Any]:
        return call(practice, OAuth2(practice.app, store.user(name), clock=practice.clock))

    store.full = True
    await asyncio.to_thread(closed_by_hand, store, program())
    store.full = False
    await asyncio.to_thread(asyncio.run, program("kim"))  # any refresh finds what closed loops left
    return store, program


@pytest.fixture
async def spawn() -> AsyncGenerator[Spawn, None]:
    async with spawning() as start:
        yield start


EXITING = """
app = OAuth2App.from_json_file(sys.argv[3])
async def main():
    calling = asyncio.ensure_future(OAuth2(app, entry).refresh_now())
    say("asking")
    await told()
    return calling
calling = asyncio.new_event_loop().run_until_complete(main())
assert not calling.done()
"""
"""Ends during a refresh, with an event loop that was never closed."""


@HELD
async def test_one_loop_after_another_refreshes_once_each_time_the_token_is_due(practice: Practice, held: str) -> None:
    auth = await auth_of(practice, held)
    for _ in range(3):
        practice.clock.now += 1000
        for _ in range(2):
            await asyncio.to_thread(asyncio.run, call(practice, auth))
    assert practice.refreshes == 3
    nothing_is_lost(practice, auth, held)


@HELD
@pytest.mark.filterwarnings("ignore")  # asyncio and aiohttp complain of such programs, and rightly
async def test_a_loop_that_is_closed_amid_a_refresh_holds_no_lock(practise: Practise, held: str) -> None:
    """As programs did before `asyncio.run`. The reply is lost with the loop, so this provider has a leeway."""
    practice = await practise(delay_after_rotation=0.2, reuse_leeway=10.0)
    auth = await auth_of(practice, held)
    practice.clock.now += 1000

    def old_program() -> None:
        loop = asyncio.new_event_loop()
        left = loop.create_task(auth.refresh_now())
        loop.run_until_complete(asyncio.sleep(0.01))
        assert not left.done()
        loop.close()

    await asyncio.to_thread(old_program)
    async with asyncio.timeout(5):
        await asyncio.to_thread(asyncio.run, call(practice, auth))
    gc.collect()  # what such a program left is complained of here, not in the next test


# Cancelled.


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def serves(task: asyncio.Task[Any]) -> bool:
    """Whether it is a task of the provider, which lives in the same loop."""
    coroutine: Any = task.get_coro()
    return "aiohttp/web_" in coroutine.cr_code.co_filename or "accept_connection" in coroutine.__qualname__


async def test_a_call_that_is_due_while_a_hook_of_the_last_refresh_runs_refreshes_again(practice: Practice) -> None:
    """Only the hook itself never begins another refresh."""
    auth = await auth_of(practice, "file")
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slow_hook(user: OAuth2User) -> None:
        begun.set()
        await finish.wait()

    auth.on_refresh = slow_hook
    practice.clock.now += 1000
    first = asyncio.create_task(call(practice, auth))
    await begun.wait()
    practice.clock.now += 1000
    second = asyncio.create_task(call(practice, auth))
    async with asyncio.timeout(5):
        await asked(practice, 2)
        finish.set()
        assert await second
        assert await first


async def test_a_task_that_a_hook_began_is_no_hook_any_more_when_the_hook_has_ended(practice: Practice) -> None:
    auth = await auth_of(practice, "file")
    began: list[asyncio.Task[Any]] = []
    go = asyncio.Event()

    async def later() -> Any:
        await go.wait()
        return await call(practice, auth)

    auth.on_refresh = lambda user: began.append(asyncio.create_task(later()))
    practice.clock.now += 1000
    await call(practice, auth)
    practice.clock.now += 1000
    auth.on_refresh = None
    go.set()
    assert await began[0]
    assert practice.refreshes == 2


# After a fork.

FORKED = """
app, url, clock = OAuth2App.from_json_file(sys.argv[3]), sys.argv[4], lambda: float(sys.argv[5])
auth = OAuth2(app, entry, clock=clock)

async def calls():
    api = WebAPI(auth)
    api.base_url = url
    await asyncio.gather(*(api.get_json("/me") for _ in range(3)))
    say("done " + auth.user.token)

def work():
    asyncio.run(calls())

"""


async def forked(practice: Practice, spawn: Spawn, program: str) -> list[str]:
    """What a program says that has one OAuth2 for a user whose token has expired."""
    place = await practice.granted_file()
    app = practice.folder / "app.json"
    app.write_text(json.dumps(practice.app.to_dict()))
    practice.clock.now += 1000
    other = await spawn(FORKED + program, "file", place, app, practice.provider.api_url, practice.clock.now)
    said = [await other.says() for _ in range(2)]
    assert await other.ends() == 0
    app.unlink()
    assert practice.provider.reuses == 0
    assert practice.refreshes == practice.provider.refreshes == 1
    stored = OAuth2User.from_json_file(place)
    assert said == [f"done {stored.token}"] * 2
    return said


@pytest.mark.posix
async def test_parent_and_forked_child_share_one_refresh(practice: Practice, spawn: Spawn) -> None:
    program = """
child = os.fork()
work()
if child:
    assert os.waitpid(child, 0)[1] == 0
else:
    os._exit(0)
"""
    await forked(practice, spawn, program)


@pytest.mark.posix
async def test_a_child_forked_amid_a_refresh_of_its_parents_waits_for_it(practice: Practice, spawn: Spawn) -> None:
    """Forked from another thread while the first one waits for the provider, its lock held."""
    program = """
thread = threading.Thread(target=work)
thread.start()
while not auth._holder.state.flights:
    time.sleep(0.001)
time.sleep(0.01)
child = os.fork()
if child == 0:
    work()
    os._exit(0)
thread.join()
assert os.waitpid(child, 0)[1] == 0
"""
    await forked(practice, spawn, program)


@pytest.mark.posix
async def test_a_child_does_not_go_back_to_what_its_parent_could_not_save_at_the_fork(
    practice: Practice, spawn: Spawn
) -> None:
    program = """
from SlyAPI.errors import SaveError

class Refusing(FileStore):
    full, refused = True, 0
    async def replace(self, *values):
        if self.full and values[1] != values[2]:
            self.refused += 1
            raise SaveError("The disk is full.")
        await super().replace(*values)

store, clock = Refusing(place), lambda: float(sys.argv[4])
app, before = OAuth2App.from_json_file(sys.argv[3]), asyncio.run(store.load("alice"))

async def refresh(times):
    auth = OAuth2(app, store.user("alice"), clock=clock)
    for _ in range(times):
        await auth.refresh_now()
    while await store.load("alice") == before:
        await asyncio.sleep(0.01)

thread = threading.Thread(target=lambda: asyncio.run(refresh(1)))
thread.start()
while store.refused < 2:
    time.sleep(0.001)
child = os.fork()
store.full = False
if child == 0:
    while asyncio.run(store.load("alice")) == before:
        time.sleep(0.01)
    asyncio.run(refresh(3))
    os._exit(0)
thread.join()
assert os.waitpid(child, 0)[1] == 0
"""
    place, app = practice.folder / "users", practice.folder / "app.json"
    await FileStore(place).user("alice").save(await practice.grant())
    app.write_text(json.dumps(practice.app.to_dict()))
    assert await (await spawn(program, "folder", place, app, practice.clock.now)).ends() == 0
    assert practice.provider.reuses == 0
    assert practice.refreshes == practice.provider.refreshes == 4
