"""The simulated stores: one like a folder of files, one like a server whose locks are leases.

The rule: they are stores of somebody's own by the public contract (`SlyAPI.stores.TokenStore`), and pass
`SlyAPI.testing.store_contract`; what is shared lies in a `Shelf`, the objects are each world's own.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.simulation.universe import Footprint, Universe
from tests.simulation.worlds import World

READ: Footprint = {"entry": False}
WRITE: Footprint = {"entry": True}
LOCK: Footprint = {"lock": True}


@dataclass
class Holder:
    """Who has a lock: a program, and until when the lock is its own if nobody renews it."""

    owner: object
    until: float


@dataclass
class Shelf:
    """What the stores of all worlds share."""

    values: dict[str, str] = field(default_factory=dict)
    locks: dict[str, Holder] = field(default_factory=dict)
    wrote: Callable[[object, str, str | None, str | None], None] = lambda owner, name, old, new: None
    """Hears of each change: by which owner, the old text and the new one, None for nothing."""

    def write(self, owner: object, name: str, text: str | None) -> None:
        old = self.values.get(name)
        if text is None:
            self.values.pop(name, None)
        else:
            self.values[name] = text
        self.wrote(owner, name, old, text)


class Surroundings(Protocol):
    """Where a store runs: in a universe, or in real time for the contract tests."""

    def now(self) -> float: ...
    def alive(self) -> bool: ...
    async def do(self, label: str, footprint: Footprint, act: Callable[[], Any], **more: Any) -> Any: ...


class InUniverse:
    """A store of a process, whose event loops are worlds."""

    def __init__(self, universe: Universe) -> None:
        self.universe = universe

    @property
    def world(self) -> World:
        """The one whose loop runs."""
        return asyncio.get_running_loop().world  # type: ignore[attr-defined, no-any-return]

    def now(self) -> float:
        return self.universe.now

    def alive(self) -> bool:
        world = getattr(asyncio._get_running_loop(), "world", None)  # none for what is freed after the run
        return world is not None and world.alive

    async def do(self, label: str, footprint: Footprint, act: Callable[[], Any], **more: Any) -> Any:
        return await self.universe.do(self.world, label, footprint, act, **more)


class InRealTime:
    """A store of this very program."""

    guard = threading.Lock()

    def now(self) -> float:
        return time.monotonic()

    def alive(self) -> bool:
        return True

    async def do(
        self,
        label: str,
        footprint: Footprint,
        act: Callable[[], Any],
        **more: Any,
    ) -> Any:
        ready: Callable[[], bool] | None = more.get("ready")
        while True:
            await asyncio.sleep(0)
            with self.guard:
                if ready is None or ready():
                    return act()
            await asyncio.sleep(0.002)


class _Kept:
    """The methods that both stores share, `replace` in one step among them; mixed into a world's own `TokenStore`."""

    sly: Any
    shelf: Shelf
    around: Surroundings

    def __repr__(self) -> str:
        return type(self).__name__

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    async def load(self, name: str) -> dict[str, Any]:
        text = await self.around.do("load", READ, lambda: self.shelf.values.get(name))
        if text is None:
            raise self.sly.errors.CredentialsNotFoundError(f"There is no user {name!r}.")
        value: dict[str, Any] = json.loads(text)
        return value

    async def save(self, name: str, value: dict[str, Any]) -> None:
        text, owner = json.dumps(value), self.owner
        await self.around.do("save", WRITE, lambda: self.shelf.write(owner, name, text))

    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        text, owner = json.dumps(new), self.owner

        def swap() -> bool:
            held = self.shelf.values.get(name)
            now = None if held is None else json.loads(held)
            if now not in (old, new):
                return False
            if new is not None:
                self.shelf.write(owner, name, text)
            return True

        if not await self.around.do("replace", WRITE, swap):
            raise self.sly.errors.SupersededError(f"There is something newer for {name!r}, or nothing any more.")

    async def delete(self, name: str) -> None:
        owner = self.owner
        await self.around.do("delete", WRITE, lambda: self.shelf.write(owner, name, None))

    async def names(self) -> list[str]:
        return list(self.shelf.values)

    @property
    def owner(self) -> object:
        return getattr(self.around, "world", self)

    def _take(self, name: str, mine: Holder) -> None:
        self.shelf.locks[name] = mine

    def _free(self, name: str, mine: Holder) -> None:
        if self.around.alive() and self.shelf.locks.get(name) is mine:
            del self.shelf.locks[name]

    async def _locked(self, name: str, mine: Holder, lease: float) -> None:
        """Waits for the lock. A cancelled wait leaves nothing locked."""

        def is_free() -> bool:
            held = self.shelf.locks.get(name)
            return held is None or held.until <= self.around.now()

        def take() -> None:
            mine.until = self.around.now() + lease
            self._take(name, mine)

        def wake() -> float | None:
            held = self.shelf.locks.get(name)
            return held.until if held is not None else None

        try:
            await self.around.do("lock", LOCK, take, ready=is_free, wake=wake)
        except BaseException:
            self._free(name, mine)
            raise


class _FileLike(_Kept):
    """A lock that its holder's death frees, as `flock`."""

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[None, None]:
        mine = Holder(self.owner, float("inf"))
        await self._locked(name, mine, float("inf"))
        try:
            yield
        finally:
            self._free(name, mine)


class _Leased(_Kept):
    """As on a server: a lock is a lease that its holder renews."""

    lease: float

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[Any, None]:
        mine = Holder(self.owner, 0.0)
        lease = self.sly.stores.Lease(self.lease)
        await self._locked(name, mine, self.lease)
        lease.ends = tuple(mine.until - self.around.now() + end - self.lease for end in lease.ends_if_requested_now())
        keeper = asyncio.get_running_loop().create_task(self._keep(name, mine, lease))
        try:
            yield lease
        finally:
            keeper.cancel()
            self._free(name, mine)

    async def _keep(self, name: str, mine: Holder, lease: Any) -> None:
        while True:
            await asyncio.sleep(self.lease / 3)
            if self.shelf.locks.get(name) is not mine:
                lease.ends = ()
                return
            mine.until, lease.ends = self.around.now() + self.lease, lease.ends_if_requested_now()


def make_store(sly: Any, kind: str, shelf: Shelf, around: Surroundings, lease: float = 30.0) -> Any:
    """A store of one program: `kind` is "file" or "leased", `sly` the program's copy of the package."""
    body = _FileLike if kind == "file" else _Leased
    store = type(f"Simulated{body.__name__}", (body, sly.stores.TokenStore), {})()
    store.sly, store.shelf, store.around, store.lease = sly, shelf, around, lease
    return store


def free_locks_of(shelf: Shelf, world: World) -> None:
    """What the death of a process does to locks on files."""
    for name, holder in list(shelf.locks.items()):
        if holder.owner is world and holder.until == float("inf"):
            del shelf.locks[name]
