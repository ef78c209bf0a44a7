"""One refresh, step by step: join or begin, lock and load again, request, save, and only then use.

The rule: one refresh at a time for each user, however many calls wait, and no cancel loses a rotated token.

The seam on which every way to a token is built:

- A `TokenSource` has one coroutine, `new_tokens(client, user, now) -> OAuth2User`. It sends the token request. Whether
  that carries a refresh token, a client's credentials, an assertion or another token, nobody else knows.
- A `HeldUser(source, user, clock)` is the state: tokens, when they are due, the entry of a store.
- A `Signer` (`signer.py`) is the `Auth` on top of both. `OAuth2` is a `Signer` with a `RefreshTokenSource`; another
  way to a token derives from `Signer` with a source of its own, and adds neither a lock nor a save nor a request.
"""

import asyncio
import inspect
import math
from contextlib import AsyncExitStack
from contextvars import ContextVar
from enum import Enum, auto
from typing import Any
from urllib.parse import urlsplit

from ..errors import GrantEndedError, SaveError, SlyError, SupersededError, clean_traceback
from ..stores.contract import missing
from ..tokens.user import OAuth2User
from ..web.events import refresh_log as log
from ..web.events import refreshed
from ..web.masking import SecretJson, Secrets
from .app import OnRefresh
from .background_save import as_save_error, save_in_background, save_with_retries
from .held_user import NOT_LOADED, HeldUser, mark_of
from .uncancellable import LAST_TRY, uncancellable

_NONE = Secrets()


class Outcome(Enum):
    """How a refresh ended that raised nothing."""

    STORED_IS_GOOD = auto()
    """Another program, thread or event loop had refreshed: no token request was sent."""
    RENEWED = auto()
    """New tokens are in use."""
    ADOPTED = auto()
    """Another program saved newer tokens during our request: those are in use."""
    KEPT = auto()
    """The refresh failed temporarily, and the old token is still valid."""


class Refresh:
    """One refresh of one user in one event loop. `rejected`: a token that was refused; `why`: for the log."""

    def __init__(self, held: HeldUser, client: Any, why: str, rejected: Secrets) -> None:
        self.held, self.client, self.why, self.rejected = held, client, why, rejected
        self.known: SecretJson | None = None
        """The store's value before the request."""
        self.renewed: OAuth2User | None = None
        """The new tokens, as soon as they are in use: from then on nobody may join."""
        self.task = asyncio.get_running_loop().create_task(self.run())
        self.task.add_done_callback(_retrieve_exception)
        held.own().refreshes.append(self)

    async def run(self) -> None:
        """The five steps; the first, to join one in flight, is `refresh`."""
        try:
            async with uncancellable() as self.steps:
                outcome = await self._refresh()
                if outcome is Outcome.RENEWED:
                    # after unlocking: a hook that calls the API must not wait for the refresh that it reports
                    app = self.held.source.app
                    self.renewed = self.held.user
                    refreshed(urlsplit(app.token_uri).hostname or "", self.why, self.renewed.expires_at)
                    for hook in (app.on_refresh, self.held.rare.on_refresh):
                        if hook is not None:
                            await self.steps.finish(self._notify(hook, self.renewed), LAST_TRY)
        finally:
            self.held.rare.refreshes.remove(self)

    async def _refresh(self) -> Outcome:
        held = self.held
        try:
            if held.user is NOT_LOADED:  # most often the stored token is good, and needs no lock
                await held.load()
                if not held.is_due():
                    return Outcome.STORED_IS_GOOD
            async with AsyncExitStack() as lock:
                await lock.enter_async_context(held.lock())
                if await self._stored_is_good():
                    return Outcome.STORED_IS_GOOD
                # a reply with a new refresh token is heard out; another is given up when the program ends
                grace = math.inf if held.user.refresh_token else 0.0
                fresh = await self.steps.finish(self._request(), grace)
                return Outcome.ADOPTED if fresh is None else await self._save(fresh, lock)
        except SlyError as error:
            if self.rejected or not held.keep_valid_token(error):
                raise
            return Outcome.KEPT

    async def _stored_is_good(self) -> bool:
        """Step 2, in the lock: whether another program has refreshed meanwhile."""
        held, rare = self.held, self.held.rare
        self.known = await held.load()
        if self.known is None and rare.entry is not None and not rare.in_file and held.source.needs_grant:
            raise missing(rare.entry.store, rare.entry.name)  # signed out, maybe on another machine
        return held.user.token not in self.rejected and not held.is_due()

    async def _request(self) -> OAuth2User | None:
        """Step 3: new tokens from the source; None if another program saved good ones meanwhile."""
        held = self.held
        asked = held.user
        try:
            return await held.source.new_tokens(self.client, asked, held.clock())
        except GrantEndedError:
            # a program that takes no lock may have rotated the refresh token meanwhile
            self.known = await held.load()
            if held.user.refresh_token != asked.refresh_token:
                if not held.is_due():
                    return None
            elif held.rare.fallback is not None:
                held.take(held.rare.fallback)
                held.rare.fallback = None
            else:
                raise
        return await held.source.new_tokens(self.client, held.user, held.clock())

    async def _save(self, fresh: OAuth2User, lock: AsyncExitStack) -> Outcome:
        """Step 4: saves the new tokens where the store holds what it held; they are used even if that fails."""
        held, rare = self.held, self.held.rare
        if rare.saving is not None:
            rare.saving.cancel()  # its refresh token is used up
        if rare.entry is not None:
            try:
                saving = save_with_retries(rare.entry, fresh, self.known, held.source.app.save_timeout)
                await self.steps.finish(saving, LAST_TRY)
                rare.stored, rare.not_saved, rare.fallback = mark_of(fresh), None, None
            except SupersededError as error:
                if await self._adopt_newer(fresh, error):
                    return Outcome.ADOPTED
            except Exception as error:  # of a store of somebody's own: whatever it is, the tokens must not be lost
                failed = as_save_error(error)
                self._report_not_saved(failed)
                if failed.kind == "transient":
                    saved = self._note_saved
                    rare.saving = save_in_background(rare.entry, fresh, self.known, lock.pop_all(), saved)
        held.take(fresh)
        return Outcome.RENEWED

    async def _adopt_newer(self, fresh: OAuth2User, error: SupersededError) -> bool:
        """Takes over what somebody saved during our request; False where there is nothing: the user was deleted.

        Of two refreshes at once a provider may keep the refresh token of either alive. All programs use the stored
        one; ours is kept in case that one is refused.
        """
        rare, before = self.held.rare, self.held.rare.stored
        try:
            await self.held.load()
        except SlyError as unreadable:
            log.warning("The stored user cannot be read: %s", unreadable)
        if rare.stored == before:
            self._report_not_saved(error)
            return False
        rare.fallback = fresh
        return True

    def _report_not_saved(self, error: SaveError) -> None:
        self.held.rare.not_saved = error
        # the old refresh token may be used up: memory holds all there is
        log.error("New tokens are in use but were not saved, and may be lost with this process: %s", error)

    def _note_saved(self) -> None:
        self.held.rare.not_saved = None

    async def _notify(self, hook: OnRefresh, user: OAuth2User) -> None:
        """Calls a hook; its failure is reported to the event loop's handler."""
        _notifying.set(self)  # in this task, and in those that the hook begins
        try:
            result = hook(user)
            if inspect.isawaitable(result):
                await result
        except Exception as error:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "on_refresh failed; the new tokens were saved and are in use", "exception": error}
            )


_notifying: ContextVar[Refresh | None] = ContextVar("_notifying", default=None)
"""The refresh whose hook is calling."""


def is_hook_of(held: HeldUser) -> bool:
    """Whether the caller is a hook that a refresh of this user is waiting for."""
    refresh = _notifying.get()
    return refresh is not None and refresh.held is held and not refresh.task.done()


@clean_traceback
async def refresh(held: HeldUser, client: Any, why: str = "due", rejected: Secrets = _NONE) -> None:
    """Step 1: waits for the user's refresh in this event loop, and begins it if there is none.

    A caller that is cancelled does not cancel it.
    """
    loop, me = asyncio.get_running_loop(), asyncio.current_task()
    while True:
        free = (one for one in _of_loop(held, loop) if one.renewed is None)
        task = (next(free, None) or Refresh(held, client, why, rejected)).task
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled() or (me is not None and me.cancelling()):
                raise  # else somebody cancelled the refresh, not us


async def wait_for_refresh(held: HeldUser) -> None:
    """Waits for the user's refresh in this event loop, its hooks too, unless the caller is one of them."""
    if not is_hook_of(held):
        tasks = {one.task for one in _of_loop(held, asyncio.get_running_loop())}
        if tasks:
            await asyncio.wait(tasks)


def _of_loop(held: HeldUser, loop: asyncio.AbstractEventLoop) -> list[Refresh]:
    return [one for one in list(held.rare.refreshes) if one.task.get_loop() is loop and not one.task.done()]


def _retrieve_exception(task: "asyncio.Task[None]") -> None:
    """For when all callers were cancelled: else asyncio reports that nobody retrieved the exception."""
    if not task.cancelled():
        task.exception()
