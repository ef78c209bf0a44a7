"""What the programs of a run do: their objects, which live as long as their process, and the work of their calls.

The rule: only public names of the package, as the author of a program uses them.
"""

import asyncio
import copy
import io
import pickle
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

from tests.simulation import http, redis_seam
from tests.simulation.disk import FILE, FOLDER, Calls
from tests.simulation.faults import LEASE
from tests.simulation.provider import CLIENT, TOKEN_URI
from tests.simulation.stores import InUniverse, make_store
from tests.simulation.worlds import OUTSIDE_CALL, Call, World

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

WORKS = ("call", "refresh", "revoke", "close", "keep fresh")
"""What a call of a program may do: call the API, refresh at once, revoke, close its client, or keep users fresh."""
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda auth: pickled(auth),
    "pickled list": lambda auth: pickled([auth, {"again": auth}])[1]["again"],
}
"""How a program copies a signer, so that each call has its own."""
KEPT_FRESH = 40.0
"""Seconds for which a program keeps users fresh."""


def pickled(value: Any) -> Any:
    """The value written and read; what stands for it elsewhere (classes, stores, the clock) stays what it is."""
    file, kept = io.BytesIO(), list[Any]()

    class Writer(pickle.Pickler):
        def persistent_id(self, obj: Any) -> int | None:
            if not (callable(obj) or hasattr(obj, "entry_key")):
                return None
            kept.append(obj)
            return len(kept) - 1

    class Reader(pickle.Unpickler):
        def persistent_load(self, pid: int) -> Any:
            return kept[pid]

    Writer(file).dump(value)
    file.seek(0)
    return Reader(file).load()


class Program:
    """The objects of one process. All its calls share one client, or (`Plan.objects`) each has its own."""

    def __init__(self, scenario: "Scenario", world: World, session: Any, wrong: str = "") -> None:
        self._scenario, self._plan, self._session = scenario, scenario.plan, session
        self._sly, self._clock = world.sly, lambda: world.clock()
        self._given = self._store(world)
        if wrong:
            scenario.provider.strangers.add(world.name)
        uri = http.OTHER_TOKEN_URI if wrong == "endpoint" else TOKEN_URI
        self._app = self._sly.OAuth2App(
            "other" if wrong == "id" else CLIENT, "secret", http.AUTH_URI, uri, revoke_uri=http.REVOKE_URI
        )
        self._clients: list[Any] = []
        self._keeping: dict[asyncio.Task[Any], asyncio.Event] = {}
        self.api = self._client((lambda user: self._hook(user)) if self._plan.hook else None)

    def begin(self, world: World, calls: "list[tuple[float, str]]") -> None:
        """Begins these calls in an event loop of the process: when, and what each does."""
        world.before_close = self._close
        for start, work in calls:
            call = Call(len(world.calls) + 1)
            world.calls.append(call)
            number = call.number % self._plan.users
            call.task = world.spawn(self._call(world, call, start, self._work(work, f"user{number}" if number else "")))

    def _store(self, world: World) -> Any:
        if self._plan.store == "redis":
            return world.sly.stores.RedisStore(redis_seam.URL)
        if self._plan.store != "disk":
            around = InUniverse(self._scenario.universe)
            return make_store(world.sly, self._plan.store, self._scenario.shelf, around, LEASE)
        calls = Calls(self._scenario.disk, world)
        world.process.package.use_disk(calls, calls.open_file, calls.fcntl)
        return world.sly.stores.FileStore(FOLDER)

    def _auth(self, hook: Any = None, name: str = "alice") -> Any:
        if self._plan.objects == "machine":
            entry = self._given.user("alice")
            return self._sly.ClientCredentials(self._app, user=entry, on_refresh=hook, clock=self._clock)
        if self._plan.objects != "file":
            return self._sly.OAuth2(self._app, self._given.user(name), hook, clock=self._clock)
        with mock.patch.object(self._scenario.disk, "strike", _nothing):  # else the program would not start
            return self._sly.OAuth2(self._app, FILE, hook, clock=self._clock)

    def _client(self, hook: Any = None, auth: Any = None) -> Any:
        api = self._sly.WebAPI(auth or self._auth(hook), session=self._session)
        api.base_url = http.API
        self._clients.append(api)
        return api

    async def _close(self) -> None:
        """What a program that closes its event loop by itself does first."""
        here = [task for task in self._keeping if task.get_loop() is asyncio.get_running_loop()]
        for task in here:
            self._keeping[task].set()
        await asyncio.gather(*here, *(api.close() for api in self._clients), return_exceptions=True)

    async def _hook(self, user: Any) -> None:
        await (self.api if self._plan.hook == "call" else self._client(self._hook)).get_json("/me")

    def _work(self, work: str, name: str) -> Callable[[], Awaitable[Any]]:
        api = self._client() if self._plan.objects == "each" else self.api
        if name:
            api = self._client(auth=self._auth(name=name))
        if self._plan.objects in COPIES:
            api = self._client(auth=COPIES[self._plan.objects](self.api.auth))
        if work == "refresh":
            return api.auth.refresh_now  # type: ignore[no-any-return]
        if work == "revoke":
            return api.auth.revoke  # type: ignore[no-any-return]
        if work == "close":
            return api.close  # type: ignore[no-any-return]
        return self._keep_fresh if work == "keep fresh" else partial(api.get_json, "/me")

    async def _keep_fresh(self) -> None:
        task, over = asyncio.current_task(), asyncio.Event()
        assert task is not None
        self._keeping[task] = over
        task.add_done_callback(lambda task: self._keeping.pop(task))
        async with self._sly.oauth2.keep_fresh(self._given, self._app, clock=self._clock):
            with suppress(TimeoutError):
                async with asyncio.timeout(KEPT_FRESH):
                    await over.wait()

    async def _call(self, world: World, call: Call, start: float, work: Callable[[], Any]) -> None:
        universe = self._scenario.universe
        if start:
            await asyncio.sleep(start)
        call.started = universe.now
        OUTSIDE_CALL.set(call)
        try:
            await work()
            call.outcome = "ok"
        except asyncio.CancelledError:
            call.outcome = "cancelled"
            raise
        except Exception as error:
            call.outcome = type(error).__name__
        finally:
            call.ended = universe.now
            universe.say(f"{world.name}: call {call.number} ends: {call.outcome}")


def _nothing(world: World, call: str) -> None:
    return None
