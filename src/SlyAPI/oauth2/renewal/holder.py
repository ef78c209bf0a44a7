"""A user's tokens as one signer uses them: the shared state, and where they are kept and come from.

The rule: what the store holds is read under its lock before a request, and what it raises becomes one of our errors.
"""

import asyncio
import os
import time
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from ...errors import (
    CredentialsError,
    CredentialsNotFoundError,
    DecryptionError,
    SaveError,
    SlyError,
    UnavailableError,
)
from ...json_file import StrPath
from ...stores.contract import Lease, StoredUser, entry_of
from ...stores.file import file_of, user_file
from ...stores.locks import ThreadLocks
from ...tokens.user import OAuth2User
from ...web.events import refresh_log as log
from ...web.secret_values import SecretJson
from ..client.app import OAuth2App
from ..client.client import OnRefresh, check_leeway
from ..client.request_slots import WITHOUT_REQUEST, Slot
from .grant_again import first_grant, grant_again
from .state import NOT_LOADED, RETRY_PAUSE, TokenState, registry
from .token_source import TokenSource
from .uncancellable import is_cancelled

BROKEN = SecretJson()
"""Stands for a stored user that cannot be read, so that nothing is lost if it is replaced."""


@dataclass(slots=True, eq=False)
class Holder:
    """Tokens of one user for one signer. `leeway`: seconds before expiry at which a token is due (None: the client's).

    `clock` gives epoch seconds.
    """

    state: TokenState
    source: TokenSource
    entry: StoredUser | None = None
    hook: OnRefresh | None = None
    leeway: float | None = None
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self.is_due()  # a tenth of its life counts from when the token came

    @classmethod
    def of_entry(cls, entry: StoredUser, source: TokenSource, **settings: Any) -> "Holder":
        """The holder of an entry, which shares its state with all signers of the same tokens."""
        return cls(registry.one((entry.key, source.question), TokenState), source, entry, **settings)

    def __reduce__(self) -> tuple[Any, ...]:
        settings = (self.source, self.entry, self.hook, self.leeway, self.clock)
        return _rebuilt, (None if self.entry is not None else self.state, *settings)

    def is_due(self, min_life: float = 0.0) -> bool:
        """Whether the token has to be refreshed before the next call: in use for `min_life` seconds more."""
        state = self.state
        if state.user.expires_at is not state.timed:  # new tokens, or the program changed the time
            self.note_end()
        leeway = self.source.app.leeway if self.leeway is None else self.leeway
        due_at = state.ends - max(min(leeway, state.tenth), min_life)
        return max(due_at, state.quiet_until) <= self.clock()

    def note_end(self) -> None:
        """Notes when the token in use ends."""
        self.state.note_end(self.clock(), self.source.app.clock_skew, self.source.can_renew(self.state.user))

    def keeps_valid_token(self, error: SlyError) -> bool:
        """Whether to keep using a token that is due but still valid, because the refresh failed temporarily."""
        state, now = self.state, self.clock()
        if state.user is NOT_LOADED or now >= state.ends:
            return False
        if error.kind != "transient" and not isinstance(error, SaveError):
            return False
        if state.quiet_until <= now:
            log.warning("The refresh failed, and the token, which is still valid, stays in use: %s", error)
        state.quiet_until = min(state.ends, now + RETRY_PAUSE)
        return True

    async def load(self) -> SecretJson | None:
        """Adopts what another program saved. The stored value, None if there is none, `BROKEN` if it is garbage.

        An entry that is gone is signed out: its tokens are forgotten, but for those that are being saved. A broken
        one leaves the tokens in memory. Raises `CredentialsNotFoundError` where only a person can make new ones,
        `DecryptionError`, and `UnavailableError` or another transient error: what cannot be read now may be newer.
        """
        state, entry = self.state, self.entry
        if entry is None:
            return None
        before = state.stored
        try:
            loaded = await entry.store.load(entry.name)
            value = SecretJson(loaded if isinstance(loaded, dict) else {})
            stored = OAuth2User.from_json_obj(value, repr(entry))
        except (DecryptionError, UnavailableError):
            raise
        except CredentialsError as error:
            if isinstance(error, CredentialsNotFoundError):
                self._forget(error)
                return None
            if state.user is NOT_LOADED:
                raise
            log.warning("The stored user cannot be read, so the tokens held in memory are used: %s", error)
            return BROKEN
        except Exception as error:
            raise error if isinstance(error, SlyError) else self.unavailable(error) from None
        if state.stored is before:  # else a flight saved newer ones while we read
            self.adopt(stored)
        return value

    def _forget(self, error: CredentialsNotFoundError) -> None:
        """Forgets the tokens of an entry that is gone."""
        state, entry = self.state, self.entry
        if state.unsaved is not None:
            return
        state.take(NOT_LOADED)
        state.stored = None
        self.is_due()
        if self.source.needs_grant:
            if entry is not None and (self.source.account or file_of(entry.store)):
                error.next_step = grant_again(self.source.app._path, entry)
            raise error

    def adopt(self, stored: OAuth2User) -> None:
        """Takes over what the store has, if another program saved it."""
        self.state.adopt(stored, fits=self.source.fits(stored))
        self.is_due()

    def use(self, user: OAuth2User) -> None:
        """Uses these tokens from now on."""
        self.state.use(user)
        self.is_due()

    @contextmanager
    def store_errors(self) -> Generator[None, None, None]:
        """Raises `UnavailableError` in the place of a store's error that is not a `SlyError`."""
        try:
            yield
        except Exception as error:
            raise error if isinstance(error, SlyError) else self.unavailable(error) from None

    def unavailable(self, error: BaseException) -> UnavailableError:
        """The error for a store that failed in a way of its own, whose words may hold tokens."""
        return UnavailableError(f"{self.entry!r} failed ({type(error).__name__}).")


def holder_of(
    source: TokenSource,
    user: OAuth2User | StoredUser | StrPath | None,
    clock: Callable[[], float],
    leeway: float | None,
    hook: OnRefresh | None,
) -> Holder:
    """The tokens of a signer: an object, a path, an entry of a store; None for tokens that only memory holds.

    Raises `CredentialsError` for a file that is something else, or is missing where only a person can make it.
    """
    if leeway is not None:
        check_leeway(leeway)
    if user is None and not source.needs_grant:
        return Holder(TokenState(), source, None, hook, leeway, clock)
    if isinstance(user, OAuth2User):
        return Holder(TokenState(user), source, None, hook, leeway, clock)
    if not isinstance(user, str | os.PathLike):
        return Holder.of_entry(entry_of(user), source, hook=hook, leeway=leeway, clock=clock)
    loaded = _loaded(user, source.app) if source.needs_grant else None
    holder = Holder.of_entry(user_file(user), source, hook=hook, leeway=leeway, clock=clock)
    if loaded is not None:
        holder.adopt(loaded)
    return holder


def _loaded(path: StrPath, app: OAuth2App) -> OAuth2User:
    """The user in a file. Raises `CredentialsError`; where there is none, with the command that makes one."""
    try:
        return OAuth2User.from_json_file(path)
    except CredentialsNotFoundError as error:
        if app._path is not None:
            error.next_step = first_grant(app._path, path)
        raise


class Locked:
    """The user's lock, while its block runs: in the store, or among this process's threads for a user in memory.

    Raises `UnavailableError` for a lock that fails in a way of its own. One that cannot be released is logged: what was
    done in it is done, and an error of the block is the one to raise.
    """

    def __init__(self, holder: Holder, slot: Slot | None = None) -> None:
        """`slot`: what is given back if another program has the lock for long."""
        self._holder, self._slot = holder, slot

    async def __aenter__(self) -> Lease | None:
        """What the store's lock gives: None, or a lease that may run out."""
        holder = self._holder
        if self._slot is not None:
            self._slot.leave_after(WITHOUT_REQUEST)
        with holder.store_errors():
            self._lock: AbstractAsyncContextManager[Lease | None]
            if holder.entry is not None:
                self._lock = holder.entry.lock()
            else:
                self._lock = _in_memory.lock(str(id(holder.state)))  # the state outlives the lock
            lease: Lease | None = await self._lock.__aenter__()
        if self._slot is not None:
            self._slot.stay()
        return lease

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> bool | None:
        try:
            return await self._lock.__aexit__(kind, error, traceback)
        except (Exception, asyncio.CancelledError) as raised:
            problem = self._holder.unavailable(raised) if raised is not error else None
        if is_cancelled():  # whatever the store made of that
            raise asyncio.CancelledError
        if problem is not None:
            log.warning("The user's lock could not be released: %s", problem)
        return False


_in_memory = ThreadLocks()
"""The locks of users that are in no store."""


def _rebuilt(state: TokenState | None, source: TokenSource, entry: StoredUser | None, *settings: Any) -> Holder:
    if entry is None:
        assert state is not None
        return Holder(state, source, None, *settings)
    return Holder(registry.one((entry.key, source.question), TokenState), source, entry, *settings)
