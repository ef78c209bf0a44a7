"""What a token store is: load, save, replace, delete, names and lock, over plain JSON values.

The rule: `save` returns when the value would survive a crash, and a lock never outlives its holder.
"""

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, suppress
from math import inf
from typing import TYPE_CHECKING, Any, Self

from ..errors import (
    ConfigError,
    CredentialsError,
    CredentialsNotFoundError,
    SaveError,
    SupersededError,
    clean_traceback,
    printable,
)
from ..json_file import StrPath, display_path
from ..json_file.windows import DEVICE, WINDOWS, followed, is_device, system_path
from ..tokens.user import OAuth2User
from ..web.secret_values import SecretJson

if TYPE_CHECKING:
    from .token_ends import Page, Token


class TokenStore(ABC):
    """Users' tokens by name. Derive from it for a store of your own, and run `SlyAPI.testing.store_contract` on it.

    Names are any text. Values are JSON objects, which a store neither interprets nor changes. A login calls `save`;
    a refresh calls `replace`, with the lock held.
    """

    __module__ = "SlyAPI.stores"

    @abstractmethod
    async def load(self, name: str) -> dict[str, Any]:
        """The value last saved. Raises `CredentialsNotFoundError` if there is none.

        A store that cannot be read at this moment raises an error of kind `transient`, such as `UnavailableError`:
        it is neither missing nor broken.
        """

    @abstractmethod
    async def save(self, name: str, value: dict[str, Any]) -> None:
        """Makes `value` durable, whole or not at all. Raises `SaveError`; the stored value is then untouched.

        If a server's reply was lost, the new value may be stored nevertheless.
        """

    @clean_traceback
    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        """Saves `new` if the stored value is `old`, as `load` returned it (None: no value), or already `new`.

        Otherwise raises `SupersededError`: a process whose lock expired (for example after a long pause) cannot
        overwrite newer tokens, nor bring back a deleted user. Raises `SaveError` as `save` does. This default loads,
        compares and saves; a store that several processes share overrides it to do that in one step.

        Before a refresh sends a refresh token, it calls `replace(name, known, known)`, which shows that the store can
        be written now: it has to write as the save will. With None as both values, it leaves nothing behind.
        """
        try:
            now = await self.load(name)
        except CredentialsNotFoundError:
            now = None
        if now not in (old, new):
            raise superseded(self, name)
        if new is not None:
            await self.save(name, new)

    @abstractmethod
    async def delete(self, name: str) -> None:
        """Deletes a user, if there is one. Raises `SaveError`."""

    @abstractmethod
    async def names(self) -> list[str]:
        """The names of all users, in any order."""

    @abstractmethod
    def lock(self, name: str) -> AbstractAsyncContextManager["Lease | None"]:
        """Held during the refresh of one user, by one task of one process at a time.

        Released when its holder dies. A lock that may expire while its holder is paused or cut off gives its block a
        `Lease`, which a refresh checks before it sends a refresh token; `replace` refuses a save that is too late. A
        lock that cannot expire gives None. Raises an error of kind `transient`, such as `UnavailableError`, if the lock
        cannot be taken; the block never runs without it.
        """

    @clean_traceback
    async def each_name(self) -> AsyncGenerator[str, None]:
        """The names of all users, one by one. A store of many users overrides this to read them in pages.

        A user that is saved meanwhile may be left out; one that another program moves about may come twice.
        """
        for name in await self.names():
            yield name

    async def count(self) -> int:
        """The number of users."""
        return len(await self.names())

    @clean_traceback
    async def ending(
        self, token: "Token", before: float, after: float = -inf
    ) -> "AsyncGenerator[Page, None]":
        """Pages of the users whose access or refresh token ends later than `after`, up to `before` (epoch seconds).

        Other users may be among them: those whose end is not known, or has changed since. So the caller checks each
        value, or loads the user where it is None. This default gives all users. A store with an index of the ends
        overrides it, and gives the soonest first.
        """
        async for name in self.each_name():
            yield [(name, None)]

    def task_lock(self, task: str) -> AbstractAsyncContextManager["Lease | None"]:
        """Held by the one of several programs that does a background task, such as `keep_fresh`.

        As `lock`, of which this default takes one that belongs to no user.
        """
        return self.lock(f"\x1f{task}")

    def entry_key(self, name: str) -> Hashable:
        """What all objects for this user's entry in this process have in common, however they were made.

        What was learned of a user is remembered by it. By default each store object is a store of its own; one that is
        known by an address, such as a path or a URL, says which.
        """
        return vars(self).setdefault("_own_key", object()), name  # no id(), which another object may have later

    async def close(self) -> None:  # noqa: B027 - most stores hold nothing open
        """Closes what the store has open in the running event loop. The store can be used again."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def user(self, name: str) -> "StoredUser":
        """One user's entry, for `OAuth2(app, store.user(name))`. Raises `ConfigError` if `name` is not text."""
        return StoredUser(self, name)


class Lease:
    """A lock that expires `seconds` after it was last requested: what `lock` gives its block.

    Made just before the lock is requested, so that it ends here before it ends in the store. `clocks`: the wall clock
    too, since the monotonic one may stand still while a machine sleeps.
    """

    __module__ = "SlyAPI.stores"

    def __init__(self, seconds: float, clocks: tuple[Callable[[], float], ...] = (time.monotonic, time.time)) -> None:
        self.seconds = seconds
        self._clocks = clocks
        self.ends: tuple[float, ...] = self.ends_if_requested_now()
        """When it expires, by each of the clocks; `()` if another holder has taken the lock."""

    def expired(self) -> bool:
        """Whether another holder may have the lock by now."""
        return not self.ends or any(clock() >= end for clock, end in zip(self._clocks, self.ends, strict=True))

    def ends_if_requested_now(self) -> tuple[float, ...]:
        """The `ends` to set once a renewal that begins now has succeeded."""
        return tuple(clock() + self.seconds for clock in self._clocks)


class StoredUser:
    """One user's entry in a store."""

    __module__ = "SlyAPI.stores"

    __slots__ = ("name", "store")

    def __init__(self, store: TokenStore, name: str) -> None:
        if not isinstance(name, str):  # an API's id may be a number; None would be one entry for everybody
            raise ConfigError(
                f"A user's name in a store is text, not {type(name).__name__}.",
                next_step="Give str(id), and make sure that there is an id.",
            )
        self.store: TokenStore = store
        self.name: str = name

    def __repr__(self) -> str:
        return f"{self.store!r}.user({printable(self.name, 80)!r})"

    @clean_traceback
    async def load(self) -> OAuth2User:
        """The user as last saved. Raises `CredentialsNotFoundError`, `CredentialsError` if it is not a user."""
        return OAuth2User.from_json_obj(await self.store.load(self.name), repr(self))

    @clean_traceback
    async def save(self, user: OAuth2User) -> None:
        """Makes the user's tokens durable. Raises `SaveError`."""
        await self.store.save(self.name, SecretJson(user.to_dict()))

    @clean_traceback
    async def replace(self, old: dict[str, Any] | None, user: OAuth2User) -> None:
        """Makes the user's tokens durable if the store still holds `old` (`TokenStore.replace`)."""
        await self.store.replace(self.name, old, SecretJson(user.to_dict()))

    async def delete(self) -> None:
        """Deletes the user from the store."""
        await self.store.delete(self.name)

    @clean_traceback
    async def touch(self, known: dict[str, Any] | None) -> None:
        """Writes what the store holds, to show that a save can follow. Raises as `TokenStore.replace`."""
        await self.store.replace(self.name, known, known)

    @property
    def key(self) -> Hashable:
        """What all objects for this entry in this process have in common (`TokenStore.entry_key`)."""
        return self.store.entry_key(self.name)

    def lock(self) -> AbstractAsyncContextManager["Lease | None"]:
        """The user's lock in the store."""
        return self.store.lock(self.name)


def entry_of(user: object) -> StoredUser:
    """The user as an entry of a store. Raises `ConfigError` for anything else, also for a whole store."""
    if isinstance(user, StoredUser):
        return user
    raise ConfigError(
        f"OAuth2 cannot take a user from {type(user).__name__}.",
        next_step="Give a path, an OAuth2User, or store.user(name).",
    )


def lasting_path(path: StrPath) -> str:
    """The absolute path, which stays valid if the program changes its working directory, as a daemon does.

    Raises `ConfigError` for text that no file's path can be: with a NUL, with an unpaired surrogate, or, on Windows, a
    device's name.
    """
    if WINDOWS and is_device(path):
        raise ConfigError(f"{display_path(path)} {DEVICE}.", next_step="Choose another name.")
    try:
        possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise ConfigError(f"{display_path(path)} is not a path.", next_step="Give the path of a file or folder.")
    try:
        return os.path.abspath(system_path(path))
    except OSError:  # the working directory was deleted; opening the file reports it
        return os.fspath(path)


def as_value(store: TokenStore, name: str, text: str | bytes | None) -> SecretJson:
    """The JSON object that a store holds as text. Raises `CredentialsError`, which quotes nothing of it.

    `CredentialsNotFoundError` where there is no text.
    """
    if text is None:
        raise missing(store, name)
    value: Any = None
    with suppress(ValueError, TypeError, RecursionError):
        value = json.loads(text)
    if not isinstance(value, dict):
        raise CredentialsError(f"{store!r} does not contain a JSON object for {printable(name, 80)!r}.")
    return SecretJson(value)


def value_or_none(store: TokenStore, name: str, text: str | bytes | None) -> SecretJson | None:
    """The JSON object; None for what is not one, of which `load` says why."""
    with suppress(CredentialsError):
        return as_value(store, name, text)
    return None


def is_one_of(store: TokenStore, name: str, text: str | bytes | None, *values: dict[str, Any] | None) -> bool:
    """Whether the stored text is one of these values (None: no text); not where it is not a JSON object."""
    stored = value_or_none(store, name, text)
    return (text is None or stored is not None) and stored in values


def as_text(store: TokenStore, value: dict[str, Any]) -> str:
    """The value as JSON text. Raises `SaveError`, which quotes nothing of it, for what JSON cannot hold."""
    refuse_user(value)
    with suppress(ValueError, TypeError, RecursionError):
        return json.dumps(value, separators=(",", ":"))
    raise SaveError(f"{store!r} was given a value that JSON cannot hold. The stored value is unchanged.")


def refuse_user(value: object) -> None:
    """Raises `ConfigError` for an `OAuth2User` in place of its JSON object."""
    if isinstance(value, OAuth2User):
        raise ConfigError("A store saves JSON objects.", next_step="Write: await store.user(name).save(user)")


def real_path(path: StrPath) -> str:
    """The path with all symbolic links resolved, and on Windows in one spelling."""
    return os.path.normcase(followed(path))


def missing(store: TokenStore, name: str) -> CredentialsNotFoundError:
    """The error for a user that the store does not have."""
    return CredentialsNotFoundError(
        f"{store!r} has no user {printable(name, 80)!r}.",
        next_step="Have them sign in, or save a user file: store.user(name).save(OAuth2User.from_json_file(path)).",
    )


def superseded(store: TokenStore, name: str) -> SupersededError:
    """The error if the stored value is not the one to be replaced."""
    return SupersededError(
        f"{store!r} contains a newer value for {printable(name, 80)!r}, or the user was deleted. Nothing was changed.",
        next_step="Load the user again.",
    )
