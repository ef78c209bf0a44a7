"""OAuth2: keeps one user's tokens fresh and signs with them.

The rule of a refresh: lock, load again, re-check, ask, save, and only then use; one at a time,
however many calls wait, and none of them can cut it short.
"""

import asyncio
import inspect
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from ..auth.contract import Auth
from ..errors import (
    CredentialsError,
    CredentialsNotFoundError,
    DecryptionError,
    GrantEndedError,
    SaveError,
    SlyError,
    SupersededError,
)
from ..json_file import StrPath
from ..stores import StoredUser, user_file
from ..stores.contract import entry_of, missing
from ..stores.locks import ThreadLocks
from ..tokens.times import as_utc
from ..tokens.user import OAuth2User, authorization
from ..web.events import refresh_log as log
from ..web.events import refreshed
from ..web.masking import SecretJson, Secrets
from ..web.messages import Request
from .app import OAuth2App, OnRefresh
from .background_save import BROKEN, as_save_error, save_beside, save_patiently
from .refresh_task import Flight, seen
from .seldom import Seldom

LEEWAY = 30.0
"""Seconds before expiry at which a token counts as due, but never more than a tenth of its life."""
RETRY_PAUSE = 5.0
"""Seconds until a refresh that failed while the token is still good is tried again."""
SAVE_PATIENCE = 20.0
"""Seconds for which a call waits until new tokens are saved in a store that is away; then it is tried beside the calls.

Less than a store's lease, so that meanwhile nobody can use the old ones.
"""
_NONE = Secrets()


class OAuth2(Auth):
    """Signs requests as one user of one client; `OAuth2("app.json", "user.json")`.

    `app` and `user` are objects or paths. With a path or a store's entry (`store.user("alice")`) as
    user, new tokens are saved there before they are used, and those that another process saved are
    taken over; an entry is first read by the first request. One object serves any number of calls,
    event loops and threads at once, and with a path or an entry a forked child too: a user held in
    memory alone goes two ways after a fork, and a refresh token that rotates allows but one.
    `on_refresh` hears of new tokens after the save, and may be a coroutine function. `clock` gives
    epoch seconds. Raises `CredentialsError` for files that are something else.
    """

    __module__ = "SlyAPI.oauth2"

    __slots__ = ("__weakref__", "_clock", "_due", "_seldom", "_timed", "app", "user")

    on_refresh = Seldom[OnRefresh]()
    not_saved = Seldom[SaveError]()
    """Why the tokens in use are held in memory alone, if they are."""
    _entry = Seldom[StoredUser]()
    _in_file = Seldom[bool]()  # it is written anew where it is gone
    # What the store held when we last read or wrote it: only a change of it is another process's doing.
    _stored = Seldom[Secrets]()
    _spare = Seldom[OAuth2User]()
    _flights = Seldom[dict[asyncio.AbstractEventLoop, asyncio.Task[None]]]()
    _telling = Seldom[OAuth2User]()
    _saving = Seldom[asyncio.Task[None]]()

    def __init__(
        self,
        app: OAuth2App | StrPath,
        user: OAuth2User | StoredUser | StrPath,
        on_refresh: OnRefresh | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.app = app if isinstance(app, OAuth2App) else OAuth2App.from_json_file(app)
        self._seldom: dict[str, Any] | None = None
        self.on_refresh = on_refresh
        self._clock = clock
        if isinstance(user, OAuth2User):
            self.user = user
        elif isinstance(user, str | os.PathLike):
            self._entry, self._in_file = user_file(user), True
            self.user = OAuth2User.from_json_file(user)
            self._stored = _mark(self.user)
        else:
            self._entry = entry_of(user)
            self.user = _NOT_LOADED
        self._timed: datetime | None = None
        self._due = 0.0
        self._time()

    def __repr__(self) -> str:
        held = getattr(self, "_entry", None) or getattr(self, "user", None)  # none yet, in a traceback of `__init__`
        return f"OAuth2({getattr(self, 'app', None)!r}, {held!r})"

    @property
    def due(self) -> bool:
        """Whether the next call refreshes the user's token first."""
        if self.user.expires_at is not self._timed:
            self._time()
        return self._due <= self._clock()

    async def sign(self, client: Any, request: Request) -> Request:
        """The request with the user's token, refreshed first if it is due.

        Raises `GrantEndedError` where the person has to grant again; `TokenError`, `NetworkError` or
        `BadReplyError` where a due token could not be refreshed.
        """
        user = self.user
        if user.expires_at is not self._timed:
            self._time()
        if self._due <= self._clock():
            await self._fresh(client)
            user = self.user
        request.headers["Authorization"] = authorization(user)
        return request

    async def sign_again(self, client: Any, request: Request, headers: Mapping[str, str]) -> bool:
        """After a 401: signs with a newer token, had by one refresh if nobody has it yet."""
        sent = Secrets((request.headers.get("Authorization", ""),))
        if authorization(self.user) in sent:
            if self._telling is self.user and _in_hook.get():
                return False  # new, and refused already: a hook that calls the API must not go round for ever
            if self.app.can_refresh(self.user):
                await self._fresh(client, "refused", Secrets((self.user.token,)))
            else:
                await self._reload()  # the person may have granted again
        request.headers["Authorization"] = authorization(self.user)
        return request.headers["Authorization"] not in sent

    async def refresh_now(self, client: Any = None) -> OAuth2User:
        """The user with tokens newer than those held now, due or not. Raises as `sign` does."""
        if self.user is _NOT_LOADED:
            await self._reload()
        await self._fresh(client, "asked for", Secrets((self.user.token,)))
        return self.user

    async def wait_for_refresh(self) -> None:
        """Waits for a refresh in flight, its hooks too: cut short, it could lose a rotated refresh token."""
        loop = asyncio.get_running_loop()
        flight = (self._flights or {}).get(loop)
        mine = {flight} if flight is not None else set()
        if not _in_hook.get():  # a hook that closes its client must not wait for itself
            mine |= {told for told in _in_hooks if told.signer is self and told.get_loop() is loop}
        if mine:
            await asyncio.wait(mine)

    async def revoke(self, client: Any = None) -> None:
        """Ends the grant at the provider (RFC 7009), then forgets the user in the store or file.

        In this order, so that what fails midway can be done again. No process refreshes meanwhile. Raises
        what `OAuth2App.revoke` raises, after which nothing was forgotten, and `SaveError`.
        """
        await self.wait_for_refresh()
        async with self._lock():
            await self._reload()
            await self.app.revoke(self.user, client)
            if self._entry is not None:
                await self._entry.delete()

    def _time(self) -> None:
        """Notes when the user's token is due. A leeway by what is left of its life fits short lives too."""
        self._timed = self.user.expires_at
        if self._timed is None:
            self._due = math.inf
            return
        ends = as_utc(self._timed).timestamp() - self.app.clock_skew
        leeway = min(LEEWAY, max(0.0, ends - self._clock()) / 10) if self.app.can_refresh(self.user) else 0.0
        self._due = ends - leeway

    async def _fresh(self, client: Any, why: str = "due", rejected: Secrets = _NONE) -> None:
        """Waits for the one refresh in flight in this event loop, begun here if there is none.

        `rejected` is the token that is no good though it seems so, `why` for the log.
        """
        loop, me = asyncio.get_running_loop(), asyncio.current_task()
        if self._flights is None:
            self._flights = {}
        while True:
            flight = self._flights.get(loop)
            if flight is None or flight.done():
                self._forget_closed_loops()
                flight = self._flights[loop] = Flight(self._refresh(client, why, rejected), loop=loop)
                flight.signer = self
                flight.add_done_callback(seen)
            try:
                return await asyncio.shield(flight)
            except asyncio.CancelledError:
                if not flight.cancelled() or (me is not None and me.cancelling()):
                    raise  # else somebody cancelled the refresh, not us

    def _lock(self) -> AbstractAsyncContextManager[None]:
        return self._entry.lock() if self._entry is not None else _turns.lock(str(id(self)))

    async def _refresh(self, client: Any, why: str, rejected: Secrets) -> None:
        flight = asyncio.current_task()
        assert isinstance(flight, Flight)
        try:
            try:
                if self.user is _NOT_LOADED:  # most often what is stored is good, and nobody need wait for a lock
                    await self._reload()
                    if self._due > self._clock():
                        return
                async with AsyncExitStack() as lock:
                    await lock.enter_async_context(self._lock())
                    renewed = await self._renew(client, rejected, flight)
                    if flight.unsaved is not None:
                        # holds us too, whom a web application drops after the call
                        self._saving = save_beside(*flight.unsaved, flight.known, lock.pop_all(), self._was_saved)
            except SlyError as error:
                if rejected or not self._bridge(error):
                    raise
                renewed = False
            finally:
                # before the hooks: one that calls the API must not wait for the refresh it hears of
                if self._flights is not None:
                    self._flights.pop(asyncio.get_running_loop(), None)
            if renewed:
                refreshed(urlsplit(self.app.token_uri).hostname or "", why, self.user.expires_at)
                await self._tell_hooks(flight)
        finally:
            flight.land()  # only now: a hook may be all that keeps the tokens

    async def _tell_hooks(self, flight: Flight) -> None:
        self._telling = self.user
        _in_hook.set(True)  # in this task, and those that the hooks begin
        _in_hooks.add(flight)
        try:
            for hook in (self.app.on_refresh, self.on_refresh):
                await self._tell(hook)
        finally:
            self._telling = None
            _in_hooks.discard(flight)

    async def _renew(self, client: Any, rejected: Secrets, flight: Flight) -> bool:
        """Gets a token that is good, by the store or by asking; True if we asked. Holds the lock."""
        flight.known = await self._reload()
        if flight.known is None and self._entry is not None and not self._in_file:
            raise missing(self._entry.store, self._entry.name)  # signed out, maybe on another machine
        if self.user.token not in rejected and self._due > self._clock():
            return False
        fresh = await self._ask(client, flight)
        if fresh is None:
            return False
        flight.has_answer()
        if not await self._save(fresh, flight):
            return False
        self.user = fresh
        self._time()
        return True

    async def _ask(self, client: Any, flight: Flight) -> OAuth2User | None:
        """New tokens of the provider's; None if somebody saved good ones meanwhile."""
        flight.asks(self.app.token_timeout, at_stake=bool(self.user.refresh_token))
        try:
            return await self.app.refresh(client, self.user, now=self._clock())
        except GrantEndedError:
            # a program that takes no lock may have rotated it meanwhile
            asked = self.user
            flight.known = await self._reload()
            if self.user.refresh_token != asked.refresh_token:
                if self._due > self._clock():
                    return None
            elif self._spare is not None:
                self.user, self._spare = self._spare, None
            else:
                raise
        flight.asks(self.app.token_timeout, at_stake=True)
        return await self.app.refresh(client, self.user, now=self._clock())

    def _forget_closed_loops(self) -> None:
        """Frees the lock of a refresh whose loop was closed in the midst of it; it would be held for ever."""
        for loop in [loop for loop in list(self._flights or ()) if loop.is_closed()]:
            flight = (self._flights or {}).pop(loop, None)
            coroutine = flight.get_coro() if flight is not None else None
            if inspect.iscoroutine(coroutine):
                with suppress(RuntimeError):  # what it held of the loop cannot be given back
                    coroutine.close()

    def _bridge(self, error: SlyError) -> bool:
        """Whether a token that is due but not over carries on while its provider is out of order."""
        ends = as_utc(self._timed).timestamp() - self.app.clock_skew if self._timed is not None else math.inf
        if error.kind != "transient" or self._clock() >= ends:
            return False
        log.warning("The refresh failed and the token is still good for a while: %s", error)
        self._due = min(ends, self._clock() + RETRY_PAUSE)
        return True

    async def _reload(self) -> SecretJson | None:
        """Takes over what another process saved, and gives it as the store did; None if there is nothing.

        A file that is gone or broken leaves what we hold. Raises `DecryptionError`: that may be newer.
        """
        if self._entry is None:
            return None
        try:
            value = _as_object(await self._entry.store.load(self._entry.name))
            stored = OAuth2User.from_json_obj(value, repr(self._entry))
        except DecryptionError:
            raise
        except CredentialsError as error:
            if self.user is _NOT_LOADED:
                raise
            if isinstance(error, CredentialsNotFoundError):
                return None
            log.warning("The stored user cannot be read, so the tokens held in memory are used: %s", error)
            return BROKEN
        if _mark(stored) != self._stored:
            self._stored = _mark(stored)
            self.user = stored
            self._time()
        return value

    async def _save(self, fresh: OAuth2User, flight: Flight) -> bool:
        """Whether the new tokens are those to use; False where the store holds newer ones, which are taken over."""
        if self._entry is None:
            return True
        if self._saving is not None:
            self._saving.cancel()  # what it has is used up
        try:
            await save_patiently(self._entry, fresh, flight.known, SAVE_PATIENCE)
            self._stored = _mark(fresh)
            self.not_saved = self._spare = None
        except SupersededError as error:
            return not await self._give_way(fresh, error)
        except Exception as error:  # of a store of somebody's own: whatever it is, the tokens must not be lost
            failed = as_save_error(error)
            self._not_saved(failed)
            if failed.kind == "transient":
                flight.unsaved = self._entry, fresh
        return True

    def _was_saved(self) -> None:
        self.not_saved = None

    async def _give_way(self, fresh: OAuth2User, error: SupersededError) -> bool:
        """Takes over what somebody saved while we asked; False where there is nothing, as the user was deleted.

        Two refreshes at once, one past its lock: a provider that allows that may keep the refresh token of
        either alive. The stored one is what all others use; ours is kept, in case that one is refused.
        """
        before = self._stored
        try:
            await self._reload()
        except SlyError as unreadable:
            log.warning("The stored user cannot be read: %s", unreadable)
        if self._stored == before:
            self._not_saved(error)
            return False
        self._spare = fresh
        return True

    def _not_saved(self, error: SaveError) -> None:
        self.not_saved = error
        # the old refresh token may be dead by now: what we hold in memory is all there is
        log.error("New tokens are in use but were not saved, and may be lost with this process: %s", error)

    async def _tell(self, hook: OnRefresh | None) -> None:
        if hook is None:
            return
        try:
            told = hook(self.user)
            if inspect.isawaitable(told):
                await told
        except Exception as error:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "on_refresh failed; the new tokens were saved and are in use", "exception": error}
            )


_in_hooks: set[Flight] = set()
"""Refreshes that are saved and whose hooks hear of it now."""
_in_hook: ContextVar[bool] = ContextVar("_in_hook", default=False)
"""Whether it is a hook that calls; others need not stand back for it."""


_NOT_LOADED = OAuth2User("", expires_at=datetime.fromtimestamp(0, UTC))
"""Stands for the user of a store's entry until the first request loads it."""
_turns = ThreadLocks()
"""Whose refresh it is among threads, for users that are in no store."""


def _mark(user: OAuth2User) -> Secrets:
    """What tells one state of a user's tokens from another, though the program changes the object."""
    return Secrets((user.token, user.refresh_token or "", str(user.expires_at)))


def _as_object(value: Any) -> SecretJson:
    return SecretJson(value if isinstance(value, dict) else {})
