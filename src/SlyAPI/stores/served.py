"""What stores on a server share: a few connections for each event loop, time limits, and a lock that is a lease.

The rule: a call ends within `timeout`, whatever the server does, and what a driver raises is told in our
words, because its own errors and frames hold the password and the tokens.
"""

import asyncio
import os
import secrets
from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, TypeVar

from ..errors import NetworkError, RequestTimeoutError, SaveError, SlyError
from ..transport.per_loop import PerLoop
from .contract import TokenStore
from .locks import ThreadLocks, poll_until

C = TypeVar("C")
T = TypeVar("T")

CONNECTIONS = 8
"""Connections that a store holds in one event loop, at most."""
RELEASE_SECONDS = 2.0
"""Seconds that giving a lock back may take; after them it is tried on in the background."""
RELEASE_PAUSE = 0.25
"""Seconds between two tries to give a lock back; whoever waits for it waits for the server anyhow."""
_NOT_KNOWN = "Whether that was carried out is not known."


class ServedStore(TokenStore, Generic[C]):
    """A store on a server: `timeout` bounds every call, `lease` is how long a dead holder's lock is held; in seconds.

    One object serves any number of event loops and threads, and forked children. Its connections are
    closed with their event loop, by `async with`, or by `close`.
    """

    _late = "Try again later."

    def __init__(self, timeout: float, lease: float) -> None:
        self.timeout = timeout
        self.lease = lease
        self._locks = ThreadLocks()
        # what is held for a loop must not hold the store
        kind, address = type(self), self._address()
        self._pools: PerLoop[_Pool[C]] = PerLoop(lambda: _Pool(lambda: kind._open(address), kind), _Pool.close)

    async def close(self) -> None:
        """Closes the connections of the running event loop; the next call makes new ones."""
        await self._pools.close()

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[None, None]:
        """One user's lock, a lease: renewed while held, and free `lease` seconds after its holder died or hung."""
        loop = asyncio.get_running_loop()
        began, process, holder = loop.time(), os.getpid(), secrets.token_hex(16)
        async with self._locks.lock(name):
            keeper: asyncio.Task[None] | None = None
            try:
                if await poll_until(lambda: self._take(name, holder), loop.time() - began):
                    keeper = loop.create_task(self._keep(name, holder))
                yield
            finally:
                if process == os.getpid():  # else the parent holds it
                    if keeper is not None:
                        keeper.cancel()
                    await self._give_back(name, holder)

    async def _keep(self, name: str, holder: str) -> None:
        """Renews the lease. One that is lost is not sought again: `replace` refuses what came too late."""
        renewed = True
        while renewed:
            await asyncio.sleep(self.lease / 3)
            with suppress(SlyError):
                renewed = await self._take(name, holder, renew=True)

    async def _give_back(self, name: str, holder: str) -> None:
        """Frees the lock, in the background if the server is away; at last it runs out by itself."""
        if not await self._released(name, holder):
            later = asyncio.create_task(self._give_back_later(name, holder))
            _ending.add(later)
            later.add_done_callback(_ending.discard)

    async def _give_back_later(self, name: str, holder: str) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self.lease
        while loop.time() < end:
            await asyncio.sleep(RELEASE_PAUSE)
            if await self._released(name, holder):
                return

    async def _released(self, name: str, holder: str) -> bool:
        try:
            await self._ask(lambda connection: self._release(connection, name, holder), limit=RELEASE_SECONDS)
        except SlyError as error:
            return error.kind != "transient"
        return True

    async def _take(self, name: str, holder: str, *, renew: bool = False) -> bool:
        return await self._ask(lambda connection: self._lease(connection, name, holder, renew))

    async def _ask(
        self, work: Callable[[C], Coroutine[Any, Any, T]], *, saving: bool = False, limit: float = 0.0
    ) -> T:
        """What `work` answers. Raises `NetworkError` and its kin, `ConfigError`, or `SaveError` where it is `saving`.

        A connection that was used before may have died since: then once more, on a new one. Every
        `work` may be done twice.
        """
        try:
            return await self._pools.get().use(work, limit or self.timeout, self._is_lost)
        except asyncio.CancelledError as cancelled:
            del work
            raise cancelled.with_traceback(None) from None  # a driver's frames hold what is sent
        except SlyError:
            raise
        except TimeoutError:
            left = _NOT_KNOWN
            problem: SlyError = RequestTimeoutError(
                f"{self!r} did not answer within {limit or self.timeout:g} s.", next_step=self._late
            )
        except Exception as error:
            left = _NOT_KNOWN if self._is_lost(error) else "What was there is untouched."
            problem = self._told(error)
        del work
        if saving:
            said = str(problem.args[0]).removesuffix(".")
            raise SaveError(f"{said}. {left}", next_step=problem.next_step, kind=problem.kind)
        raise problem

    def _away(self, what: str) -> NetworkError:
        return NetworkError(f"{self!r}: {what}.", next_step="Check that the server runs, then try again.")

    @abstractmethod
    def _address(self) -> Any:
        """What `_open` needs; prints no password."""

    @staticmethod
    @abstractmethod
    async def _open(address: Any) -> C:
        """A new connection."""

    @staticmethod
    @abstractmethod
    async def _close(connection: C) -> None:
        """Ends a connection."""

    @staticmethod
    def _break(connection: C) -> bool:
        """Whether the call on a connection will now end at once by itself, whatever the server does; else cancel it."""
        return False

    @abstractmethod
    async def _lease(self, connection: C, name: str, holder: str, renew: bool) -> bool:
        """Takes or prolongs the lock for `holder`; False where another has it, or to `renew` what is lost."""

    @abstractmethod
    async def _release(self, connection: C, name: str, holder: str) -> None:
        """Frees the lock if it is still `holder`'s."""

    @abstractmethod
    def _is_lost(self, error: Exception) -> bool:
        """Whether the connection is at fault, not the server's answer."""

    @abstractmethod
    def _told(self, error: Exception) -> SlyError:
        """The error of ours for one of the driver's."""


class _Pool(Generic[C]):
    """The connections of one event loop."""

    def __init__(self, open_: Callable[[], Awaitable[C]], kind: "type[ServedStore[C]]") -> None:
        self._open, self._kind = open_, kind
        self._idle: list[C] = []
        self._broken: list[C] = []
        self._turns = asyncio.Semaphore(CONNECTIONS)

    async def use(
        self, work: Callable[[C], Coroutine[Any, Any, T]], limit: float, is_lost: Callable[[Exception], bool]
    ) -> T:
        """What `work` answers. Raises `TimeoutError`, and what the driver raises."""
        async with asyncio.timeout(limit), self._turns:
            if self._idle:
                try:
                    async with asyncio.timeout(limit / 2):
                        return await self._on(self._idle.pop(), work)
                except Exception as error:
                    if not (isinstance(error, TimeoutError) or is_lost(error)):
                        raise
                while self._idle:  # what ended one connection ended those that are as old
                    self._end(self._idle.pop(), None)
            return await self._on(await self._open(), work)

    async def _on(self, connection: C, work: Callable[[C], Coroutine[Any, Any, T]]) -> T:
        call, me = _Call(_until_broken(work, connection)), asyncio.current_task()
        call.breaks = lambda: self._kind._break(connection)
        try:
            answer = await asyncio.shield(call)
        except asyncio.CancelledError:
            self._end(connection, call)
            if not call.cancelled() or (me is not None and me.cancelling()):
                raise
        except BaseException:
            self._end(connection, call)
            raise
        else:
            self._idle.append(connection)
            return answer
        # at its end a loop cancels each of its tasks, but who waits here may be a refresh that has yet to save
        raise ConnectionAbortedError

    def _end(self, connection: C, call: "_Call[Any] | None") -> None:
        """Ends a connection and the call on it, in the background: who is cancelled or late does not wait."""
        self._broken.append(connection)
        if call is not None:
            call.cancel()
        ending = asyncio.ensure_future(self._finish(connection, call))
        _ending.add(ending)
        ending.add_done_callback(_ending.discard)

    async def _finish(self, connection: C, call: "_Call[Any] | None") -> None:
        if call is not None:
            await asyncio.wait([call], timeout=RELEASE_SECONDS)
            if call.done() and not call.cancelled():
                call.exception()  # or it would be "never retrieved"
        await self._close(connection, self._broken)

    async def _close(self, connection: C, among: list[C]) -> None:
        with suppress(Exception):
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._kind._close(connection)
        if connection in among:  # until now: the loop may end before we do, and `close` is what it waits for
            among.remove(connection)

    async def close(self) -> None:
        """Closes all that is not in use."""
        for among in (self._idle, self._broken):
            for connection in list(among):
                await self._close(connection, among)


class _Call(asyncio.Task[T]):
    """A call on a connection. Who cancels it, the end of its loop too, breaks the connection."""

    breaks: Callable[[], bool]
    broken = False

    def cancel(self, msg: Any = None) -> bool:
        if self.done():
            return False
        self.broken = True
        return self.breaks() or super().cancel(msg)


async def _until_broken(work: Callable[[C], Coroutine[Any, Any, T]], connection: C) -> T:
    """What `work` gives; where it was broken it ends as if cancelled, not in an error that nobody waits for."""
    try:
        return await work(connection)
    except Exception:
        call = asyncio.current_task()
        if isinstance(call, _Call) and call.broken:
            raise asyncio.CancelledError from None
        raise


_ending: set[asyncio.Task[None]] = set()
"""A loop holds its tasks but weakly."""
