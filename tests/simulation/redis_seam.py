"""The one seam of Redis: a class in the place of `redis.asyncio.Redis`, so that the real `RedisStore` runs.

The rule: it knows commands and what the store's scripts are for (by their number of arguments), keeps leases by
virtual time, and fails as the driver does.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import redis.asyncio
import redis.exceptions

from tests.simulation.stores import LOCK, READ, WRITE
from tests.simulation.universe import Footprint
from tests.simulation.worlds import World

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

URL = "redis://server.example"
ERRORS: dict[str, Callable[[], Exception]] = {
    "connection": lambda: redis.exceptions.ConnectionError("gone"),
    "memory": lambda: redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'"),
    "replica": lambda: redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
    "loading": lambda: redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
    "error": lambda: redis.exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"),
}
"""What the driver raises, by a name for faults."""


class Server:
    """The keys of a Redis server: users' values lie in the run's shelf, leases here."""

    def __init__(self, scenario: "Scenario") -> None:
        self._scenario = scenario
        self._leases: dict[str, tuple[str, float]] = {}

    def get(self, name: str) -> bytes | None:
        text = self._scenario.shelf.values.get(name)
        return None if text is None else text.encode()

    def set(self, world: World, name: str, text: str | None) -> None:
        self._scenario.shelf.write(world, name, text)

    def swap(self, world: World, name: str, old: str, new: str) -> int:
        if (self._scenario.shelf.values.get(name) or "") != old:
            return 0
        self.set(world, name, new)
        return 1

    def lease(self, name: str, holder: str, milliseconds: int, renew: bool) -> int:
        now = self._scenario.universe.now
        held_by, until = self._leases.get(name, ("", 0.0))
        if until <= now:
            held_by = ""
        if (held_by and held_by != holder) or (not held_by and renew):
            return 0
        self._leases[name] = holder, now + milliseconds / 1000
        return 1

    def release(self, name: str, holder: str) -> int:
        if self._leases.get(name, ("", 0.0))[0] == holder:
            del self._leases[name]
        return 0


class Client:
    """What `redis.asyncio.Redis` is to the package."""

    scenario: "Scenario"

    def __init__(self, **options: Any) -> None: ...

    async def initialize(self) -> "Client":
        return self

    @property
    def connection(self) -> "Client":
        return self

    async def disconnect(self, *, nowait: bool = False) -> None:
        pass

    async def aclose(self) -> None:
        pass

    async def _do(self, label: str, footprint: Footprint, act: Callable[[World], Any]) -> Any:
        world: World = asyncio.get_running_loop().world  # type: ignore[attr-defined]
        return await self.scenario.universe.do(world, label, footprint, lambda: act(world))

    async def execute_command(self, command: str, key: Any, *values: Any) -> Any:
        assert command == "GET"
        server, name = self.scenario.redis, _name(key)
        return await self._do("get", READ, lambda world: server.get(name))

    async def eval(self, script: str, keys: int, key: Any, *values: Any) -> Any:
        server, name = self.scenario.redis, _name(key)
        if keys == 3:  # a value and the two indexes
            texts = [_text(value) for value in values[5:]]  # after two indexes, the name and two ends
            if not texts:
                return await self._do("set", WRITE, lambda world: server.set(world, name, None))
            if len(texts) == 1:
                return await self._do("set", WRITE, lambda world: server.set(world, name, texts[0]))
            return await self._do("swap", WRITE, lambda world: server.swap(world, name, texts[1], texts[0]))
        if len(values) == 1:
            return await self._do("release", LOCK, lambda world: server.release(name, values[0]))
        label = "renew" if int(values[2]) else "lease"
        return await self._do(
            label, LOCK, lambda world: server.lease(name, values[0], int(values[1]), bool(int(values[2])))
        )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _name(key: Any) -> str:
    return _text(key).rpartition(":")[2]


@contextmanager
def clients_of(scenario: "Scenario") -> Iterator[None]:
    """While it lasts, `redis.asyncio.Redis` is the simulated one."""
    kind: Any = type("Redis", (Client,), {"scenario": scenario})
    with mock.patch.object(redis.asyncio, "Redis", kind):
        try:
            yield
        finally:
            del kind.scenario  # see `http.sessions_of`
