"""One refresh of one user in one event loop: renew while due or refused, save while unsaved.

The rule: lock, load, touch, request, save, use. One flight at a time for each user, however many calls wait; what the
provider rotated is saved as soon as the store works, and until then nobody else gets the lock.

A `TokenSource` sends the token request, a `Holder` is the user's tokens as the signer that began the flight uses them.
Calls come by `callers.py`: they join the flight of their event loop or begin one, and wait for a round of it.
"""

import asyncio
import inspect
import math
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from ...errors import (
    BadReplyError,
    GrantEndedError,
    IdentityError,
    LoginEndedError,
    NetworkError,
    SaveError,
    SlyError,
    SupersededError,
    TokenError,
    UnavailableError,
)
from ...stores.contract import Lease, missing
from ...tokens.times import as_utc
from ...tokens.user import OAuth2User
from ...web.events import refresh_log as log
from ...web.events import refreshed
from ...web.secret_values import SecretJson, Secrets
from ..client.request_slots import Slot
from .failures import IN_A_ROW, Failures
from .grant_again import name_command
from .holder import BROKEN, Holder, Locked
from .hooks import Hooks
from .state import TokenState, fingerprint, registry
from .uncancellable import LAST_TRY, SHORT_PAUSE, is_cancelled, uncancellable

LONG_PAUSE = 15.0
"""Seconds between two tries to save, at most, where waiting will hardly help: a full disk, a read-only folder."""
TRIES = 3
"""How often a flight begins again because its lock ran out, and how many requests one of its rounds may take."""


Round = asyncio.Future[SlyError | asyncio.CancelledError | None]


class Flight:
    """One flight. `rejected`: tokens that an API refused; `why`: for the log; `reads`: the entry was not read yet."""

    def __init__(self, holder: Holder, session: Any, why: str, rejected: Secrets, *, reads: bool) -> None:
        self.holder: Holder = holder
        self.session: Any = session
        self.why: str = why
        self.rejected: Secrets = rejected
        self.reads: bool = reads
        self.state: TokenState = holder.state
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.round: Round = self.loop.create_future()
        """What callers wait for: None for tokens to use, or why there are none."""
        self.context: Context | None = None
        """Of the caller of a later round; a tracer finds the token request below the call that needs it."""
        self.endpoint: Failures = registry.one(holder.source.endpoint, partial(Failures, IN_A_ROW))
        self.known: SecretJson | None = None
        """The store's value before the request, which alone the new tokens may replace."""
        self.refused: SlyError | None = None
        """Why the tokens of the last reply are not used; only its refresh token is."""
        self.newest: OAuth2User | None = None
        """The tokens that this flight asked for."""
        self.hooks: Hooks = Hooks(holder)
        """Only the end of the client or the program waits for those that are coroutines."""
        self.joinable: bool = True
        self.steps: uncancellable = uncancellable()
        self.state.flights.append(self)
        self.task: asyncio.Task[None] = self.loop.create_task(self._run())
        self.task.add_done_callback(self._ended)

    # --- its callers ---

    def join(self, rejected: Secrets) -> Round:
        """The round that brings tokens other than those, to be awaited with a shield."""
        self.rejected = Secrets({*self.rejected, *rejected})
        if self.round.done():
            self.round, self.context = self.loop.create_future(), copy_context()
            self.steps.hurry.set()
        return self.round

    def give_up(self) -> None:
        """Ends a login whose program ends; nobody may answer the page for minutes."""
        self._wake(LoginEndedError("The login was given up, since its session closes."))
        self.task.cancel()

    def drop(self) -> None:
        """Ends the flight of an event loop that was closed too early, so that its lock is free."""
        self.state.flights.remove(self)
        coroutine = self.task.get_coro()
        if inspect.iscoroutine(coroutine):
            try:
                coroutine.close()
            except (Exception, asyncio.CancelledError):
                log.debug("A lock of a closed event loop could not be given back.")

    def _wake(self, error: SlyError | asyncio.CancelledError | None = None) -> None:
        if not self.round.done():
            self.round.set_result(error)
            self.steps.hurry.clear()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.state.flights.remove(self)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, SlyError):
            self.loop.call_exception_handler({"message": "A refresh failed", "exception": error, "task": task})
            error = SlyError(f"The refresh failed ({type(error).__name__}).")
        self._wake(error if error is not None else asyncio.CancelledError())

    # --- the flight ---

    async def _run(self) -> None:
        async with self.steps:
            try:
                await self._fly()
            except (SlyError, asyncio.CancelledError) as error:
                if is_cancelled():
                    raise
                # a store that raises CancelledError by itself must not make its callers try again without end
                self._wake(error if isinstance(error, SlyError) else self.holder.unavailable(error))
            finally:
                self.joinable = False
            if self.hooks.running:
                await self.steps.finish(self.hooks.ended(), LAST_TRY)

    async def _fly(self) -> None:
        if self.reads:  # most often the stored token is good, and needs no lock
            await self.holder.load()
            if self.state.unsaved in (None, self.state.user) and not self._needs_newer():
                return self._wake()
        registry.recent.append(self.state)
        source = self.holder.source
        for _ in range(TRIES):
            async with source.slot(self.state.user) as slot, Locked(self.holder, slot) as lease:
                await self._load()
                if await self._rounds(slot, lease):
                    return
        raise UnavailableError("The user's lock was lost each time before the token request. Nothing was sent.")

    async def _load(self) -> None:
        entry = self.holder.entry
        self.known = await self.holder.load()
        if self.known is None and entry is not None and self.holder.source.needs_grant:
            raise missing(entry.store, entry.name)  # signed out, maybe on another machine
        if self.state.unsaved is not None:  # of a flight whose event loop ended
            self.holder.use(self.state.unsaved)

    async def _rounds(self, slot: Slot | None, lease: Lease | None) -> bool:
        """The loop of the flight, in the lock; False where the lock was lost before a request."""
        state, pause, since, requests = self.state, 0.05, -math.inf, 0
        while True:
            current = self.round
            try:
                if not current.done() and self._needs_newer() and requests < TRIES:
                    requests += 1
                    if not await self._renew(lease):
                        return False
                    pause, since = 0.05, self.loop.time()
            except SlyError as failure:
                if state.unsaved is None:
                    raise
                self._wake(failure)
            if slot is not None:
                slot.leave()
            error = await self._save()
            adopted = error is None and state.user is not self.newest and not current.done()
            if adopted and self._needs_newer() and requests < TRIES:
                continue  # what another program saved is due too
            refuses = error is not None and error.kind != "transient" and not self.steps.ending
            if error is None or refuses or self._waited_enough(self.loop.time() - since):
                self._use(error, current)
            if (error is None and self.round is current) or self.steps.over():
                return True
            requests = 0
            if error is not None:
                await self.steps.pause(pause)
                pause = min(pause * 1.5, SHORT_PAUSE if error.kind == "transient" else LONG_PAUSE)

    def _waited_enough(self, seconds: float) -> bool:
        """Whether callers wait no longer for the save: after the time limit, or half the life of the new token."""
        ends = None if self.newest is None else self.newest.expires_at
        life = math.inf if ends is None else as_utc(ends).timestamp() - self.holder.clock()
        return seconds >= min(self.holder.source.app.save_timeout, life)

    def _needs_newer(self) -> bool:
        """Whether a request is needed: not for tokens that were just granted and wait for their save."""
        state = self.state
        if state.unsaved is not None and state.unsaved is not state.user:
            return False
        return self.holder.is_due() or state.user.token in self.rejected

    # --- touch and request ---

    async def _renew(self, lease: Lease | None) -> bool:
        """New tokens, kept as unsaved; False where the lock was lost. Nothing is sent that could not be saved."""
        holder, state = self.holder, self.state
        now, refresh_token = self.loop.time(), state.user.refresh_token
        if not holder.source.needs_login(state.user):  # a login may help where a refresh cannot
            state.failures.raise_known(now, refresh_token)
            self.endpoint.raise_known(now)
        holder.source.check_client(state.user)
        if state.unsaved is None:
            await self._touch()
        if lease is not None and lease.expired():
            if state.unsaved is None:
                return False
            raise UnavailableError("The user's lock was lost, and new tokens are not saved yet.")
        # a reply with a new refresh token is heard out; another is given up when the program ends
        consumes = state.user.refresh_token and not holder.source.needs_login(state.user)
        renewed = await self.steps.finish(self._request(), math.inf if consumes else 0.0, self.context)
        if renewed is not None:
            self._keep(renewed)
        return True

    async def _touch(self) -> None:
        """Proves by a write of what is stored that the store can be written, and that nobody saved since we loaded."""
        entry = self.holder.entry
        if entry is None:
            return
        for _ in range(TRIES):
            try:
                with self.holder.store_errors():
                    if self.known is BROKEN:
                        await entry.save(self.state.user)
                    else:
                        await entry.touch(self.known)
                        return
            except SupersededError:
                pass
            await self._load()
            if not self._needs_newer():
                return

    async def _request(self) -> OAuth2User | None:
        """One token request; None if another program saved other tokens, for which it may have ended these."""
        holder, asked = self.holder, self.state.user
        self.refused = None
        if not self._needs_newer():
            return None  # another program saved others before the touch
        if not holder.source.needs_login(asked):
            holder.source.app._slots.within()
        try:
            renewed = await holder.source.new_tokens(self.session, asked, holder.clock())
        except GrantEndedError as error:
            name_command(error, holder.source.app._path, holder.entry)
            self._remember(error, asked)  # of these tokens, also where the store cannot be read now
            await self._load()
            if fingerprint(self.state.user) != fingerprint(asked):
                return None
            raise
        except (IdentityError, BadReplyError) as error:
            kept: OAuth2User | None
            kept, error._kept = error._kept, None
            self._remember(error, kept or asked)
            if kept is None:
                raise
            self.refused = error
            return kept
        except (TokenError, NetworkError) as error:
            self._remember(error, asked)
            raise
        self.state.failures.clear()
        self.endpoint.clear()
        holder.source.app._slots.succeeded()
        return renewed if self.state.user is asked else None  # the program gave other tokens meanwhile

    def _remember(self, error: SlyError, asked: OAuth2User) -> None:
        if error.tries == 0:
            return  # the source repeated what it remembers
        now = self.loop.time()
        self.state.failures.note_of_user(error, now, asked.refresh_token)
        if not isinstance(error, IdentityError):
            self.endpoint.note_of_endpoint(error, now)

    def _keep(self, renewed: OAuth2User) -> None:
        """Keeps new tokens until they are saved."""
        state, app = self.state, self.holder.source.app
        self.newest = renewed
        if self.refused is None:
            refreshed(app.token_uri, self.why, renewed.expires_at)
            state.note_granted(self.loop.time(), state.user.token in self.rejected)
        if self.refused is None or self.holder.entry is None:
            self.hooks.expect()
        if self.holder.entry is not None:
            return state.keep(renewed)
        self.holder.use(renewed)  # memory has them
        if self.hooks.unheard:
            state.keep(renewed)  # and the program does not

    # --- save and use ---

    async def _save(self) -> SaveError | None:
        """One try to save new tokens, if there are any; why the store refuses them."""
        renewed, entry = self.state.unsaved, self.holder.entry
        if renewed is None:
            return None
        if entry is None:
            return await self._save_by_hooks(renewed)
        try:
            save = entry.save(renewed) if self.known is BROKEN else entry.replace(self.known, renewed)
            await self.steps.finish(save, LAST_TRY)
        except SupersededError as error:
            return await self._adopt_newer(renewed, error)
        except (Exception, asyncio.CancelledError) as raised:
            if self.steps.ending and isinstance(raised, asyncio.CancelledError):
                return SaveError("The program ended before the store accepted them.")
            return _save_error(raised)
        if self.state.not_saved is not None:
            log.warning("The store works again, and the new tokens are saved.")
        self.holder.use(renewed)
        self.state.saved(renewed)
        return None

    async def _adopt_newer(self, renewed: OAuth2User, superseded: SaveError) -> SaveError | None:
        """Adopts what another program saved during our request: its tokens win. None if nothing is left to save.

        Returns a transient error where ours may be saved in the next try, or where the store cannot be read now.
        """
        state = self.state
        try:
            value = await self.holder.load()
        except SlyError as unreadable:
            if unreadable.kind == "transient":
                return _save_error(unreadable)
            log.warning("The stored user cannot be read: %s", unreadable)
            value = BROKEN
        if state.unsaved is None:
            if fingerprint(state.user) != fingerprint(renewed):
                self.hooks.unheard, self.refused = [], None
            return None
        if value is None:  # deleted, and stays deleted
            self.holder.use(renewed)
            state.forget_unsaved()
            self._report(superseded)
            return None
        # garbage, tokens that our source does not want, or another member was changed
        self.known = value
        if value is not BROKEN:
            renewed.extra = {**(OAuth2User.from_json_obj(value).extra or {}), **(renewed.extra or {})} or None
        return SaveError("Another program changed the stored user meanwhile.", kind="transient")

    async def _save_by_hooks(self, renewed: OAuth2User) -> SaveError | None:
        """For tokens that only the program holds, its hook is the save; no caller waits for a coroutine."""
        self.hooks.call(renewed)
        self._wake(self.refused)
        if self.hooks.running:
            await self.steps.finish(self.hooks.ended(), LAST_TRY)
        if self.hooks.unheard:
            error = SaveError("on_refresh failed, so the new tokens are in memory alone.")
            self._report(error)
            return error
        if self.state.unsaved is renewed:
            self.state.saved(renewed)
        return None

    def _use(self, error: SaveError | None, current: Round) -> None:
        """Uses the newest tokens, saved or not, calls the hooks, and wakes the callers of the current round."""
        newest = self.state.unsaved or self.state.user
        if error is not None:
            self._report(error)
        self.holder.use(newest)
        if self.holder.entry is not None:
            self.hooks.call(newest)
        if self.round is current:
            self._wake(self.refused)

    def _report(self, error: SaveError) -> None:
        if self.state.not_saved is None:  # the old refresh token may be used up: memory holds all there is
            log.error("New tokens are in use but were not saved, and may be lost with this process: %s", error)
        self.state.not_saved = error


def _save_error(raised: BaseException) -> SaveError:
    """The error for one of a store's, also of somebody's own, whose words may hold tokens."""
    if isinstance(raised, SaveError):
        return raised
    kind = raised.kind if isinstance(raised, SlyError) else None
    return SaveError(f"The store failed ({type(raised).__name__}).", kind=kind)
