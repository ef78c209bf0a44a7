"""What stores on a server share: load, save and replace, a few connections for each event loop, and leased locks.

The rule: a call ends within its timeout, whatever the server does, and no exception of a driver escapes,
because its message and its frames hold the password and the tokens.
"""

import asyncio
import os
import secrets
from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from enum import IntEnum
from math import inf
from typing import Any, Generic, TypeVar

from ..errors import ConfigError, NetworkError, RequestTimeoutError, SaveError, SlyError, clean_traceback, printable
from ..transport.per_loop import PerLoop
from .contract import Lease, TokenStore, as_text, as_value, is_one_of, superseded
from .locks import LOCK_TIMEOUT, ThreadLocks, poll_until

C = TypeVar("C")
T = TypeVar("T")

CONNECTIONS = 8
"""Connections that a store opens in one event loop, at most."""
RELEASE_SECONDS = 2.0
"""Timeout for releasing a lock and for closing a connection; then the release is retried in the background."""
RELEASE_PAUSE = 0.25
"""Seconds between two tries to release a lock."""


LEASE = 9.0
"""Seconds for which a lock is held after its last renewal; a process that hangs for eight seconds keeps its lock."""
RENEWAL = 1 / 12
"""How often a lock is renewed, as a part of the lease."""
TAKEOVER_PAUSE = 1 / 24
"""How long a process that takes over an expired lock waits, as a part of the lease.

A holder that was cut off from the server, with new tokens to save, tries four times a second and so saves first.
"""


class LockReply(IntEnum):
    """What came of taking or renewing a lock."""

    REFUSED = 0
    TAKEN = 1
    TAKEN_OVER = 2
    """Another holder's, who neither renewed nor released it."""


class ServedStore(TokenStore, Generic[C]):
    """A store on a server. `timeout` limits every call; `lease` is how long a dead holder's lock is held; in seconds.

    One object serves any number of event loops and threads, and forked children. Its connections are
    closed with their event loop, by `async with`, or by `close`. A driver implements the abstract methods.
    """

    _timeout_step = "Try again later."

    def __init__(self, timeout: float, lease: float) -> None:
        for name, seconds in (("timeout", timeout), ("lease", lease)):
            if not isinstance(seconds, int | float) or not 0 < seconds < inf:
                raise ConfigError(f"`{name}` is not a number of seconds above 0.", next_step="Leave it out.")
        self.timeout = timeout
        self.lease = lease
        self._locks = ThreadLocks()
        close, drop = self._close, self._drop  # static methods: what is kept for a loop must not keep the store alive
        self._pools: PerLoop[_Pool[C]] = PerLoop(lambda: _Pool(close, drop), _Pool.close, drop=_Pool.drop)

    @clean_traceback
    async def load(self, name: str) -> dict[str, Any]:
        """The value last saved."""
        self._check_name(name)
        return as_value(self, name, await self._call(lambda connection: self._get(connection, name)))

    @clean_traceback
    async def save(self, name: str, value: dict[str, Any]) -> None:
        """Saves the value. Raises `SaveError`."""
        self._check_name(name)
        text = as_text(self, value)
        await self._call(lambda connection: self._put(connection, name, text), saving=True)

    @clean_traceback
    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        """Saves the value if `old` is still stored, in one step. Raises `SupersededError`, `SaveError`."""
        self._check_name(name)
        text = None if new is None else as_text(self, new)

        async def swap(connection: C) -> bool:
            stored = await self._get(connection, name)  # `new` after an earlier try whose reply was lost
            return is_one_of(self, name, stored, old, new) and await self._swap(connection, name, stored, text)

        if not await self._call(swap, saving=True):
            raise superseded(self, name)

    @clean_traceback
    async def delete(self, name: str) -> None:
        """Deletes a user."""
        self._check_name(name)
        await self._call(lambda connection: self._remove(connection, name), saving=True)

    async def names(self) -> list[str]:
        """The names of all users."""
        return list(dict.fromkeys([name async for name in self.each_name()]))

    async def close(self) -> None:
        """Closes the connections of the running event loop; the next call opens new ones."""
        await self._pools.close()

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[Lease, None]:
        """One user's lock, a lease: renewed while held, and free `lease` seconds after its holder died or hung."""
        self._check_name(name)
        loop = asyncio.get_running_loop()
        began, process, holder = loop.time(), os.getpid(), secrets.token_hex(16)
        async with self._locks.lock(name):
            keeper: asyncio.Task[None] | None = None
            try:
                taken, lease = await self._taken(name, holder, LOCK_TIMEOUT - (loop.time() - began))
                keeper = loop.create_task(self._keep(name, holder, lease))
                # `asyncio.run` must not cancel it while a refresh that holds the lock waits for its reply
                asyncio._unregister_task(keeper)
                if taken is LockReply.TAKEN_OVER:
                    await asyncio.sleep(self.lease * TAKEOVER_PAUSE)
                yield lease
            finally:
                if process == os.getpid():  # in a forked child the lock is the parent's
                    if keeper is not None:
                        keeper.cancel()
                    await self._give_back(name, holder)

    async def _taken(self, name: str, holder: str, timeout: float) -> tuple[LockReply, Lease]:
        reply, lease = LockReply.REFUSED, Lease(self.lease)

        async def attempt() -> bool:
            nonlocal reply, lease
            lease = Lease(self.lease)
            reply = await self._call(lambda connection: self._lease(connection, name, holder, False))
            return reply is not LockReply.REFUSED

        await poll_until(attempt, f"{self!r}: {printable(name, 80)!r}", timeout)
        return reply, lease

    async def _keep(self, name: str, holder: str, lease: Lease) -> None:
        """Renews the lease until another holder has it."""
        pause = self.lease * RENEWAL
        while lease.ends:
            await asyncio.sleep(pause)
            pause = self.lease * RENEWAL
            ends = lease.ends_if_requested_now()
            try:
                renewed = await self._call(
                    lambda connection: self._lease(connection, name, holder, True), limit=self.lease / 3
                )
                lease.ends = () if renewed is LockReply.REFUSED else ends
            except RequestTimeoutError:
                pause = 0.0  # a loop that stood still for that long has no time to lose
            except SlyError:
                pass

    async def _give_back(self, name: str, holder: str) -> None:
        """Releases the lock, in the background if the server is away; without that it expires."""
        if not await self._released(name, holder):
            later = asyncio.create_task(self._give_back_later(name, holder))
            _background.add(later)
            later.add_done_callback(_background.discard)

    async def _give_back_later(self, name: str, holder: str) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self.lease
        while loop.time() < end:
            await asyncio.sleep(RELEASE_PAUSE)
            if await self._released(name, holder):
                return

    async def _released(self, name: str, holder: str) -> bool:
        try:
            await self._call(lambda connection: self._release(connection, name, holder), limit=RELEASE_SECONDS)
        except SlyError as error:
            return error.kind != "transient"
        return True

    @clean_traceback  # a driver's frames hold secrets, and `lock`, a context manager, has no boundary of its own
    async def _call(self, work: Callable[[C], Awaitable[T]], *, saving: bool = False, limit: float = 0.0) -> T:
        """The result of `work`, which may run twice. Raises `NetworkError`, `ConfigError`; `SaveError` if `saving`."""
        limit = limit or self.timeout
        effect, problem = "Whether it was carried out is not known.", SlyError("")
        try:
            async with asyncio.timeout(limit):
                return await self._on_connection(work, limit)
        except SlyError as error:
            problem = error
        except TimeoutError:
            problem = RequestTimeoutError(
                f"{self!r} did not answer within {limit:g} s.", next_step=self._timeout_step
            )
        except Exception as error:
            problem = self._translated(error)
            if not self._is_lost(error):
                effect = "The stored value is unchanged."
        # outside the handlers: a driver's error, as context, would bring its message along
        if saving:
            said = str(problem.args[0]).removesuffix(".")
            raise SaveError(f"{said}. {effect}", next_step=problem.next_step, kind=problem.kind)
        raise problem

    async def _on_connection(self, work: Callable[[C], Awaitable[T]], limit: float) -> T:
        """The result of `work` on an idle connection, which may have died since; then once more on a new one."""
        pool = self._pools.get()
        async with pool.slots:
            if pool.idle:
                try:
                    async with asyncio.timeout(limit / 2):
                        return await pool.use(pool.idle.pop(), work)
                except Exception as error:
                    if not (isinstance(error, TimeoutError) or self._is_lost(error)):
                        raise
                await pool.close_idle(at_once=True)  # what ended one connection ended the others
            connection = await self._open()
            pool.all.append(connection)
            return await pool.use(connection, work)

    def _away(self, what: str) -> NetworkError:
        return NetworkError(f"{self!r}: {what}.", next_step="Check that the server runs, then try again.")

    def _check_name(self, name: str) -> None:
        """Raises `ConfigError` for a name that the server cannot store."""

    @abstractmethod
    async def _open(self) -> C:
        """A new connection."""

    @staticmethod
    @abstractmethod
    async def _close(connection: C, at_once: bool) -> None:
        """Closes a connection; `at_once` without waiting for the server."""

    @staticmethod
    @abstractmethod
    def _drop(connection: C) -> None:
        """Ends a connection whose event loop is closed."""

    @abstractmethod
    async def _get(self, connection: C, name: str) -> str | None:
        """The text stored for a user."""

    @abstractmethod
    async def _put(self, connection: C, name: str, text: str) -> None:
        """Stores a user's text."""

    @abstractmethod
    async def _swap(self, connection: C, name: str, old: str | None, new: str | None) -> bool:
        """Stores `new` if `old` is still stored, in one step; whether it did. Both None: writes, and leaves nothing."""

    @abstractmethod
    async def _remove(self, connection: C, name: str) -> None:
        """Deletes a user's text, if any."""

    @abstractmethod
    async def _lease(self, connection: C, name: str, holder: str, renew: bool) -> LockReply:
        """Takes or renews the lock for `holder`; `REFUSED` if another holds it, or if a lock to renew is lost."""

    @abstractmethod
    async def _release(self, connection: C, name: str, holder: str) -> None:
        """Releases the lock if `holder` still holds it."""

    @abstractmethod
    def _is_lost(self, error: Exception) -> bool:
        """Whether the connection failed, as opposed to a refusal by the server."""

    @abstractmethod
    def _translated(self, error: Exception) -> SlyError:
        """Our error for one of the driver's."""


class _Pool(Generic[C]):
    """The connections of one event loop."""

    def __init__(self, close: Callable[[C, bool], Awaitable[None]], drop: Callable[[C], None]) -> None:
        self.all: list[C] = []
        self.idle: list[C] = []
        self.slots = asyncio.Semaphore(CONNECTIONS)
        self._close_one, self._drop_one = close, drop
        self._closed = False

    async def _close(self, connection: C, at_once: bool) -> None:
        self.all.remove(connection)
        await self._close_one(connection, at_once)

    def drop(self) -> None:
        """Ends all connections, where no event loop runs that could close them."""
        for connection in self.all:
            with suppress(Exception):
                self._drop_one(connection)

    async def use(self, connection: C, work: Callable[[C], Awaitable[T]]) -> T:
        """The result of `work`. After an error or a cancellation the connection is not used again."""
        try:
            result = await work(connection)
        except BaseException:
            await self._close(connection, True)
            raise
        self.idle.append(connection)
        if self._closed:
            await self.close_idle()
        return result

    async def close(self) -> None:
        """Closes the connections, and those in use after that."""
        self._closed = True
        await self.close_idle()

    async def close_idle(self, *, at_once: bool = False) -> None:
        """Closes the connections that are not in use."""
        while self.idle:
            with suppress(Exception):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._close(self.idle.pop(), at_once)


_background: set[asyncio.Task[None]] = set()
"""Strong references: the event loop keeps only weak ones to its tasks."""
