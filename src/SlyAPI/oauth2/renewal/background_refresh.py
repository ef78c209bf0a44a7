"""Renews the tokens of a store's users before they expire, in the background, so that no call waits for a refresh.

The rule: each renewal is the one refresh of `refresh.py`, with its lock, its save and its memory of refusals. This
module only decides whose token is renewed, and when.
"""

import asyncio
import inspect
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from types import TracebackType
from typing import Any, Self
from zlib import crc32

from ...errors import ConfigError, CredentialsError, CredentialsNotFoundError, SlyError, UnavailableError
from ...json_file import StrPath
from ...stores.contract import StoredUser, TokenStore
from ...stores.expiring_users import users_ending
from ...tokens.user import OAuth2User
from ...web.events import refresh_log as log
from ...web.secret_values import Secrets
from ..client.app import OAuth2App
from ..client.bound_tokens import is_bound
from .callers import renew, wait_for_flights
from .failures import LONGEST_RETRY_AFTER
from .holder import Holder
from .token_source import RefreshTokenSource
from .uncancellable import is_cancelled, uncancellable

OnError = Callable[[StoredUser | None, SlyError], Any]

TASK = "keep-fresh"
"""The lock that says which program renews (`TokenStore.task_lock`)."""
TERM = 60.0
"""Seconds after which the lock is given back and taken again: a lease that was lost meanwhile is noticed by then."""
PATIENCE = 5.0
"""Seconds to try for the lock; then another program has it."""
RETRY = 60.0
"""Seconds until a user whose renewal failed, and may succeed later, is tried again; the longest pause for all users."""
SHORTEST = 5.0
"""Seconds that a new token stays in use, at least, however short its life is."""


def keep_fresh(
    store: TokenStore,
    app: OAuth2App | StrPath,
    *,
    ahead: float = 300.0,
    at_once: int = 4,
    behind: float = 86_400.0,
    on_error: OnError | None = None,
    clock: Callable[[], float] = time.time,
) -> "KeepFresh":
    """Renews, while its block runs, the access tokens of the store's users that expire within `ahead` seconds.

    `async with keep_fresh(store, app):` around what a program does all day. Of several programs with the same store,
    on any machines, one renews at a time. Each user's moment lies between `ahead` and half of it before the end, so
    that tokens that expire together are not renewed together. At most `at_once` token requests are under way; a
    `Retry-After` holds back all of them. Tokens that ended longer than `behind` seconds ago are left to the user's
    next call, and those that `OAuth2.for_resource` logged in by another client or issuer are left to that one.
    `on_error` is called with the entry, or None for the whole store, and the error, and may be a coroutine function;
    without it errors are logged. `clock` gives epoch seconds. Raises `ConfigError`.
    """
    if not (ahead > 0 and behind >= 0 and at_once >= 1):
        raise ConfigError("keep_fresh needs ahead > 0 and behind >= 0, in seconds, and at_once >= 1.")
    app = app if isinstance(app, OAuth2App) else OAuth2App.from_json_file(app)
    return KeepFresh(store, app, ahead, at_once, behind, on_error, clock)


def renewal_time(name: str, end: float, ahead: float) -> float:
    """When to renew a token that ends at `end`: a moment of the user's own, `ahead` to half of it before."""
    return end - ahead * (1 + crc32(name.encode("utf-8", "surrogatepass")) / 2**32) / 2


class KeepFresh:
    """A running `keep_fresh`. `renewed` and `failed` count its renewals; `leading`: its program has the turn now."""

    __module__ = "SlyAPI.oauth2"

    def __init__(
        self,
        store: TokenStore,
        app: OAuth2App,
        ahead: float,
        at_once: int,
        behind: float,
        on_error: OnError | None,
        clock: Callable[[], float],
    ) -> None:
        self.renewed: int = 0
        self.failed: int = 0
        self.leading: bool = False
        self._store, self._source, self._clock = store, RefreshTokenSource(app), clock
        self._ahead, self._behind, self._at_once, self._on_error = ahead, behind, at_once, on_error
        self._pause = ahead / 10
        self._left_alone: dict[str, tuple[float, float]] = {}
        """By name, the token's end and until when, in the event loop's time, that token is not renewed."""
        self._failures = 0
        self._not_before = 0.0
        """When the provider may be asked again, in the event loop's time."""
        self._task: asyncio.Task[None] | None = None
        self._renewing: set[Holder] = set()
        """Those whose refresh may not have ended; its new tokens may still have to be saved."""

    def __repr__(self) -> str:
        return f"keep_fresh({self._store!r}, {self._source.app!r})"

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends the task. A token request under way, and its save, are finished, also where the program is cancelled."""
        if self._task is not None:
            self._task.cancel()
            async with uncancellable() as steps:
                await steps.finish(asyncio.wait([self._task]))
                await steps.finish(_all_refreshed(self._renewing))

    # --- which program renews ---

    async def _run(self) -> None:
        while True:
            await _sleep(await self._turn())

    async def _turn(self) -> float:
        """Renews for a term, if no other program does; the seconds until the next try."""
        try:
            async with AsyncExitStack() as stack:
                try:
                    async with asyncio.timeout(PATIENCE):
                        await stack.enter_async_context(self._store.task_lock(TASK))
                except TimeoutError as error:
                    if isinstance(error, SlyError):
                        raise
                    return self._pause
                self.leading = True
                return await self._term()
        except SlyError as error:
            await self._report(None, error)
        except (Exception, asyncio.CancelledError) as error:  # of somebody's own store, whose words may hold tokens
            if not is_cancelled():
                await self._report(None, UnavailableError(f"{self._store!r} failed ({type(error).__name__})."))
        finally:
            self.leading = False
        return self._pause

    async def _term(self) -> float:
        now = asyncio.get_running_loop().time
        end = now() + TERM
        while True:
            await self._renew_due(end)
            pause = max(self._pause if now() < end else 0.0, self._not_before - now())
            if now() + pause >= end:
                return pause
            await _sleep(pause)

    # --- which users are due ---

    async def _renew_due(self, end: float) -> None:
        """Renews the users who are due now, until `end` in the event loop's time."""
        now, slots, tasks = asyncio.get_running_loop().time, asyncio.Semaphore(self._at_once), set[asyncio.Task[None]]()
        self._forget_old()
        here = self._now()
        try:
            async with aclosing(users_ending(self._store, "access", here + self._ahead, here - self._behind)) as users:
                async for entry, user in users:
                    if not self._is_due(entry.name, user):
                        continue
                    await slots.acquire()
                    if max(now(), self._not_before) >= end or self._not_before > now():
                        break
                    task = asyncio.create_task(self._renew(entry, user, slots))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise
        finally:
            await asyncio.gather(*tasks, return_exceptions=True)  # which a cancel cancels, and waits for

    def _now(self) -> float:
        """Epoch seconds by the provider's clock, as the ends of tokens are."""
        return self._clock() + self._source.app.clock_skew

    def _is_due(self, name: str, user: OAuth2User) -> bool:
        end = _end(user)
        kept = self._left_alone.get(name)
        if kept is not None and kept[0] == end and asyncio.get_running_loop().time() < kept[1]:
            return False
        mine = self._source.can_renew(user) and is_bound(user, self._source.app)
        return mine and self._now() >= renewal_time(name, end, self._ahead)

    def _forget_old(self) -> None:
        """Forgets users whose time is over, those that `users_ending` no longer gives, and those who are saved now."""
        time, oldest = asyncio.get_running_loop().time(), self._now() - self._behind
        self._left_alone = {
            name: (end, until) for name, (end, until) in self._left_alone.items() if until > time and end > oldest
        }
        self._renewing = {holder for holder in self._renewing if holder.state.flights}

    # --- one user ---

    async def _renew(self, entry: StoredUser, user: OAuth2User, slots: asyncio.Semaphore) -> None:
        holder = Holder.of_entry(entry, self._source, clock=self._clock)
        holder.adopt(user)
        self._renewing.add(holder)
        try:
            # with the token as refused, so that one that is stored by now, and is another, is taken over
            await renew(holder, None, "ahead of need", Secrets((user.token,)))
            if holder.state.not_saved is None:
                self._note_renewed(entry.name, holder.state.user)
            else:  # they are in use, but each further grant would end with this process too
                await self._note_failed(entry, user, holder.state.not_saved)
        except SlyError as error:
            await self._note_failed(entry, user, error)
        except Exception as error:  # of somebody's own code, whose words may hold tokens
            await self._note_failed(entry, user, SlyError(f"The renewal failed ({type(error).__name__})."))
        finally:
            await wait_for_flights(holder)
            slots.release()
            if not holder.state.flights:
                self._renewing.discard(holder)

    def _note_renewed(self, name: str, user: OAuth2User) -> None:
        self.renewed += 1
        self._failures = 0
        end = _end(user)
        left = end - self._now()
        if left <= self._ahead:  # a life shorter than `ahead`: half of it, lest it be renewed without end
            self._left_alone[name] = end, asyncio.get_running_loop().time() + max(SHORTEST, left / 2)

    async def _note_failed(self, entry: StoredUser, user: OAuth2User, error: SlyError) -> None:
        if isinstance(error, CredentialsNotFoundError):
            return  # signed out meanwhile
        self.failed += 1
        now = asyncio.get_running_loop().time()
        of_user = error.kind == "permanent" or isinstance(error, CredentialsError)
        self._left_alone[entry.name] = _end(user), float("inf") if of_user else now + RETRY
        if error.retry_after is not None:
            self._not_before = max(self._not_before, now + min(error.retry_after, LONGEST_RETRY_AFTER))
        elif not of_user:
            self._failures += 1
            if self._failures >= self._at_once:  # not of one user, but of the provider or the store
                # min: 2.0**n overflows for a very large n
                self._not_before = now + min(RETRY, 2.0 ** min(self._failures - self._at_once, 60))
        await self._report(entry, error)

    async def _report(self, entry: StoredUser | None, error: SlyError) -> None:
        if self._on_error is None:
            whose = repr(entry) if entry is not None else "Users"
            log.warning("%s could not be renewed ahead of need: %s", whose, error)
            return
        try:
            result = self._on_error(entry, error)
            if inspect.isawaitable(result):
                await result
        except (Exception, asyncio.CancelledError) as failure:
            if isinstance(failure, asyncio.CancelledError) and is_cancelled():
                raise
            asyncio.get_running_loop().call_exception_handler(
                {"message": "on_error of keep_fresh failed; the renewal goes on", "exception": failure}
            )


async def _sleep(seconds: float) -> None:
    """As `asyncio.sleep`; ends the task also where a store or a hook swallowed its cancellation."""
    if is_cancelled():
        raise asyncio.CancelledError
    await asyncio.sleep(seconds)


async def _all_refreshed(users: set[Holder]) -> None:
    await asyncio.gather(*map(wait_for_flights, users))


def _end(user: OAuth2User) -> float:
    return user.expires_at.timestamp() if user.expires_at is not None else float("inf")
