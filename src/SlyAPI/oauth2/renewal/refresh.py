"""One refresh, step by step: lock and load again, request, save, and only then use.

The rule: one refresh at a time for each user, however many calls wait; what the provider rotated is saved as soon as
the store works, and until then nobody else gets the lock.

The seam on which every way to a token is built:

- A `TokenSource` has one coroutine, `new_tokens(client, user, now) -> OAuth2User`. It sends the token request. Whether
  that carries a refresh token, a client's credentials, an assertion or another token, nobody else knows.
- A `HeldUser(source, user, clock)` is the state: tokens, when they are due, the entry of a store.
- A `Signer` (`signer.py`) is the `Auth` on top of both. `OAuth2` is a `Signer` with a `RefreshTokenSource`; another
  way to a token derives from `Signer` with a source of its own, and adds neither a lock nor a save nor a request.

Calls come by `refresh_callers.py`, which is step 1: they join the refresh in flight or begin one.
"""

import asyncio
import inspect
import math
import os
from collections.abc import Hashable
from contextvars import Context, ContextVar
from enum import Enum, auto
from functools import partial
from typing import Any

from ...errors import (
    BadReplyError,
    GrantEndedError,
    IdentityError,
    LoginEndedError,
    SaveError,
    SlyError,
    SupersededError,
    TokenError,
)
from ...stores.contract import StoredUser, missing
from ...tokens.user import OAuth2User
from ...web.events import refresh_log as log
from ...web.events import refreshed
from ...web.secret_values import SecretJson, Secrets
from ..client.app import OnRefresh
from .grant_again import name_command
from .held_user import BROKEN, NOT_LOADED, HeldUser, Locked, mark_of, store_errors, unavailable
from .learned import known_error, learn_error, learn_renewed
from .outcome import Outcome
from .saving import with_retries
from .uncancellable import LAST_TRY, free_closed_loops, is_cancelled, uncancellable


class Saved(Enum):
    """What became of new tokens on their way to the store."""

    YES = auto()
    NOT_YET = auto()
    """The store refuses them for now."""
    SUPERSEDED = auto()
    """Another program saved newer tokens, which are in use."""
    DELETED = auto()
    """The user was deleted, and stays deleted."""


class Refresh:
    """One refresh of one user in one event loop. `rejected`: a token that was refused; `why`: for the log.

    `done` is what callers wait for. The task runs on beyond it for tokens that the store refuses for a while.
    """

    def __init__(self, held: HeldUser, key: Hashable, client: Any, why: str, rejected: Secrets) -> None:
        self.held, self.key, self.client, self.why, self.rejected = held, key, client, why, rejected
        self.loop = asyncio.get_running_loop()
        self.known: SecretJson | None = None
        """The store's value before the request, which alone the new tokens may replace."""
        self.known_mark = held.rare.stored
        self.asked = held.user
        """The user whose tokens the last request renewed."""
        self.unsaved: set[Secrets] = set()
        """The marks of new tokens whose save failed; the store may have them all the same, if a reply was lost."""
        self.joinable = True
        self.replaced = False
        """Whether another program replaced the stored tokens while a request of ours was refused."""
        self.refused: SlyError | None = None
        """Why the tokens of the last reply are not used; only its refresh token is."""
        self.renew_again: Outcome | None = None
        """A caller that waits for tokens newer than those that are not saved yet."""
        self.context: Context | None = None
        """Of that caller; a tracer finds the token request below the call that needs it."""
        self.outer = calling_hook.get()
        self.notifying = False
        """Whether it waits for a hook now."""
        self.done = Outcome()
        self.turns = asyncio.Lock()
        """Those who join it go on one after the other, so that later calls find the connections of earlier ones."""
        self.steps = uncancellable()
        held.own().refreshes.append(self)
        self.task = self.loop.create_task(self._run())
        self.task.add_done_callback(self._ended)

    async def _run(self) -> None:
        async with self.steps:
            try:
                await self._refresh()
            except (SlyError, asyncio.CancelledError) as error:
                if is_cancelled():
                    raise
                # a store that raises CancelledError by itself must not make its callers try again without end
                self._fail(error if isinstance(error, SlyError) else unavailable(self.held, error))

    def _fail(self, error: SlyError) -> None:
        if self.done.done():
            log.error("The refresh ended after its new tokens were in use: %s", error)
        elif self.rejected or not self.held.keep_valid_token(error):
            self.done.end(error)
        else:
            self.done.end()

    def awaited(self) -> list[Outcome]:
        """What callers wait for now: the refresh, or a renewal of tokens that are not saved yet."""
        return [outcome for outcome in (self.done, self.renew_again) if outcome is not None and not outcome.done()]

    def give_up(self) -> None:
        """Ends a login whose program ends; nobody may answer the page for minutes."""
        if not self.done.done():
            self.done.end(LoginEndedError("The login was given up, since its session closes."))
        self.task.cancel()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.held.rare.refreshes.remove(self)
        error = None if task.cancelled() else task.exception()
        if not self.done.done():
            self.done.end(error if error is not None else asyncio.CancelledError())

    async def _refresh(self) -> None:
        held = self.held
        if held.user is NOT_LOADED:  # most often the stored token is good, and needs no lock
            await held.load()
            if not held.is_due():
                return self.done.end()
        async with held.source.turn(held.user), Locked(held):
            renewed = await self._renewed()
        if self.replaced and held.is_due() and not self.done.done():
            # the lock on a file ended as the file was replaced
            async with held.source.turn(held.user), Locked(held):
                renewed = await self._renewed()
        if self.done.done():
            return
        if renewed is not None:
            await self._call_hooks(renewed)
        self._end()

    def _end(self) -> None:
        """Ends what callers wait for: with the error, where only the refresh token of the reply is used."""
        if self.refused is not None:
            self._fail(self.refused)
        else:
            self.done.end()

    async def _renewed(self) -> OAuth2User | None:
        """Steps 2 to 4, in the lock: new tokens, saved and in use; None where the hooks are not to hear of them now.

        In use before the lock is free: the next one to have it may be a thread with the same object.
        """
        held = self.held
        if await self._stored_is_good():
            return None
        renewed = self._left_unsaved()
        if renewed is None:
            self._raise_known_error()
            if held.rare.entry is not None and (held.user.refresh_token or held.source.begins_anew(held.user)):
                with store_errors(held):
                    await held.rare.entry.check_writable()  # the reply may be the only copy of a rotated token
            renewed = await self._request()
        if renewed is None:
            return None
        saved = await self._save(renewed)
        if saved is Saved.NOT_YET:
            await self._go_on_unsaved(renewed)
            return None
        if saved is Saved.SUPERSEDED:
            self.refused = None
            return None
        return renewed

    async def _stored_is_good(self) -> bool:
        """Step 2, in the lock: whether another program has refreshed meanwhile."""
        held, rare = self.held, self.held.rare
        await self._load()
        if self.known is None and rare.entry is not None and not rare.in_file and held.source.needs_grant:
            raise missing(rare.entry.store, rare.entry.name)  # signed out, maybe on another machine
        return held.user.token not in self.rejected and not held.is_due()

    def _raise_known_error(self) -> None:
        """Raises what the token endpoint would answer again, if that is known."""
        held = self.held
        error = known_error(self.key, held.user.refresh_token, self.loop.time())
        # a login may help where a refresh cannot
        if error is not None and not (error.kind != "transient" and held.source.begins_anew(held.user)):
            raise error

    async def _load(self) -> None:
        self.known = await self.held.load()
        self.known_mark = self.held.rare.stored

    def _left_unsaved(self) -> OAuth2User | None:
        """New tokens that a refresh in an event loop that ended could not save; None if they are due again.

        They stay known until newer ones are saved: the next request may fail, and another object have the next try.
        """
        free_closed_loops()  # one may have been closed while we waited for the lock
        held, (mark, left) = self.held, _left.get(self.key, (None, None))
        if left is None or mark != held.rare.stored:
            _left.pop(self.key, None)
            return None
        held.take(left)
        return None if held.is_due() or left.token in self.rejected else left

    async def _request(self) -> OAuth2User | None:
        """Step 3: new tokens from the source; None if another program saved others meanwhile."""
        held, self.refused = self.held, None
        # a reply with a new refresh token is heard out; another is given up when the program ends
        grace = math.inf if held.user.refresh_token and not held.source.begins_anew(held.user) else 0.0
        renewed = await self.steps.finish(self._new_tokens(), grace, self.context)
        if renewed is not None and self.refused is None:
            learn_renewed(self.key, renewed.token, any(self.rejected), self.loop.time())
        return renewed

    async def _new_tokens(self) -> OAuth2User | None:
        held, asked = self.held, self.held.user
        try:
            return await self._ask_source()
        except GrantEndedError:
            # a program that takes no lock may have saved other tokens meanwhile
            await self._load()
            if held.user.refresh_token != asked.refresh_token and not (self.replaced and held.is_due()):
                self.replaced = True
                return None
            if held.user.refresh_token != asked.refresh_token or held.rare.fallback is None:
                raise
            held.take(held.rare.fallback)
            held.rare.fallback = None
        return await self._ask_source()

    async def _ask_source(self) -> OAuth2User:
        held = self.held
        self.asked = held.user
        try:
            return await held.source.new_tokens(self.client, held.user, held.clock())
        except (IdentityError, BadReplyError) as error:
            kept: OAuth2User | None
            kept, error._kept = error._kept, None
            refresh_token = (kept or held.user).refresh_token
            learn_error(self.key, refresh_token, error, self.loop.time(), ready=kept is not None)
            if kept is None:
                raise
            self.refused = error
            return kept
        except TokenError as error:
            if isinstance(error, GrantEndedError):
                name_command(error, held.source.app._path, held.rare.entry)
            learn_error(self.key, held.user.refresh_token, error, self.loop.time())
            raise

    async def _save(self, renewed: OAuth2User, *, wait: bool = True) -> Saved:
        """Step 4: saves the new tokens in the place of what the store held; with `wait`, only as long as callers may.

        Callers wait for a store that is away, and not for one that refuses. At the end of the program both are tried
        again for `LAST_TRY`.
        """
        rare, limit = self.held.rare, self.loop.time() + self.held.source.app.save_timeout

        def give_up(error: SaveError) -> bool:
            if not wait:  # if a call has read newer tokens, those are adopted first
                return self.renew_again is not None and rare.stored == self.known_mark
            return self.loop.time() >= limit or not (error.kind == "transient" or self.steps.ending)

        if rare.entry is None:
            if self.held.user is not self.asked:
                return Saved.SUPERSEDED  # by one that the program gave meanwhile
            self.held.take(renewed)
            return Saved.YES
        try:
            saved = await self.steps.finish(
                with_retries(partial(self._replace, rare.entry, renewed), self.steps, give_up), LAST_TRY
            )
        except (asyncio.CancelledError, GeneratorExit):  # the latter by `free_closed_loops`
            self.held.take(renewed)
            self._report_not_saved(SaveError("The program ended before the store accepted them."))
            _left[self.key] = self.known_mark, renewed
            raise
        if isinstance(saved, SaveError):
            self.unsaved.add(mark_of(renewed))
            self._report_not_saved(saved)
            return Saved.NOT_YET
        _left.pop(self.key, None)
        return saved

    async def _replace(self, entry: StoredUser, renewed: OAuth2User) -> Saved:
        """One try to save the new tokens. Raises `SaveError`, and what the store raises."""
        rare = self.held.rare
        if rare.stored not in (self.known_mark, mark_of(renewed)):  # a call that was refused has read newer ones
            return await self._adopt_newer(renewed)
        try:
            await (entry.save(renewed) if self.known is BROKEN else entry.replace(self.known, renewed))
        except SupersededError as superseded:
            return await self._adopt_newer(renewed, superseded)
        self.held.take(renewed)
        rare.stored, rare.not_saved, rare.fallback = mark_of(renewed), None, None
        return Saved.YES

    async def _adopt_newer(self, renewed: OAuth2User, error: SaveError | None = None) -> Saved:
        """Takes over what another program saved during our request.

        Of two refreshes at once a provider may keep the refresh token of either alive. All programs use the stored
        one; ours is kept in case that one is refused. Raises a transient error where the new tokens may be saved in the
        next try, or where the store cannot be read now.
        """
        held, rare = self.held, self.held.rare
        seen, rare.stored = rare.stored, self.known_mark  # a call may have read the newer ones before our reply came
        value = None
        try:
            value = await held.load()
        except SlyError as unreadable:
            if unreadable.kind == "transient":
                rare.stored = seen
                raise
            log.warning("The stored user cannot be read: %s", unreadable)
        if rare.stored not in (self.known_mark, *self.unsaved) and mark_of(held.user) == rare.stored:
            rare.not_saved, rare.fallback = None, renewed
            return Saved.SUPERSEDED
        if value is None:
            if error is not None:
                self._report_not_saved(error)
            held.take(renewed)
            return Saved.DELETED
        # garbage, or tokens that our source does not want, or another member was changed, or ours, whose reply was lost
        if value is not BROKEN and rare.stored == self.known_mark:
            renewed.extra = {**(OAuth2User.from_json_obj(value).extra or {}), **(renewed.extra or {})} or None
        self.known, self.known_mark = value, rare.stored
        held.take(renewed)
        raise SaveError("Another program changed the stored user meanwhile.", kind="transient")

    def _report_not_saved(self, error: SaveError) -> None:
        self.held.rare.not_saved = error
        # the old refresh token may be used up: memory holds all there is
        log.error("New tokens are in use but were not saved, and may be lost with this process: %s", error)

    async def _go_on_unsaved(self, renewed: OAuth2User) -> None:
        """Uses tokens that are not saved yet, and tries on with the lock kept; renews them when a caller needs that."""
        rare, saved = self.held.rare, Saved.NOT_YET
        unsaved_refreshes[self.key] = self
        try:
            self.held.take(renewed)
            await self._call_hooks(renewed)
            self._end()
            while (saved := await self._save(renewed, wait=False)) is Saved.NOT_YET:
                if self.renew_again is not None and rare.stored == self.known_mark:
                    before = self.known_mark
                    renewed = await self._renew_again(self.renew_again, renewed)
                    self.renew_again = None
                    if self.known_mark != before:
                        saved = Saved.SUPERSEDED  # ours were refused, and another program has saved others
                        break
                    self.steps.hurry.clear()
        finally:
            unsaved_refreshes.pop(self.key, None)
            if saved is Saved.NOT_YET:  # the event loop ended
                _left[self.key] = self.known_mark, renewed
            if self.renew_again is not None:
                self.renew_again.end(asyncio.CancelledError())
        if saved is Saved.YES:
            log.warning("The store works again, and the new tokens are saved.")

    async def _renew_again(self, again: Outcome, before: OAuth2User) -> OAuth2User:
        try:
            self._raise_known_error()
            renewed = await self._request()
            if renewed is None:
                again.end(asyncio.CancelledError())  # its caller begins another refresh, in a lock of its own
                return before
            self.held.take(renewed)
            await self._call_hooks(renewed)
            again.end(self.refused)
        except SlyError as error:
            again.end(error)
            return before
        return renewed

    async def _call_hooks(self, renewed: OAuth2User) -> None:
        """Step 5: calls the hooks, which do not wait for this refresh if they call the API."""
        held, app = self.held, self.held.source.app
        self.joinable = False
        if self.refused is None:
            refreshed(app.token_uri, self.why, renewed.expires_at)
        self.notifying = True
        try:
            for hook in (app.on_refresh, held.rare.on_refresh):
                if hook is not None:
                    await self.steps.finish(self._notify(hook, renewed), LAST_TRY)
        finally:
            self.notifying = False

    async def _notify(self, hook: OnRefresh, user: OAuth2User) -> None:
        """Calls a hook; its failure is reported to the event loop's handler."""
        calling_hook.set(self)  # in this task, and in those that the hook begins
        try:
            result = hook(user)
            if inspect.isawaitable(result):
                await result
        except (Exception, asyncio.CancelledError) as error:
            if is_cancelled():
                raise
            self.loop.call_exception_handler(
                {"message": "on_refresh failed; the new tokens were saved and are in use", "exception": error}
            )


unsaved_refreshes: dict[Hashable, Refresh] = {}
"""By user, the refresh whose new tokens are not saved yet: other objects of the same user use them too."""
_left: dict[Hashable, tuple[Secrets | None, OAuth2User]] = {}
"""By user, new tokens that could not be saved before their event loop ended, and the mark of the spent ones stored."""
if hasattr(os, "register_at_fork"):  # they go on in the parent alone, and the store says how
    os.register_at_fork(after_in_child=unsaved_refreshes.clear)
calling_hook: ContextVar[Refresh | None] = ContextVar("calling_hook", default=None)
"""The refresh whose hook is calling."""
