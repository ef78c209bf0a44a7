"""What a store of tokens is: load, save, lock, delete and names, over plain JSON values.

The rule: `save` returns when the value would survive a crash, and a lock never outlives its holder.
"""

import json
import os
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

from ..errors import ConfigError, CredentialsError, CredentialsNotFoundError, SaveError, SupersededError, printable
from ..json_file import StrPath
from ..tokens.user import OAuth2User
from ..web.masking import SecretJson, Secrets


class TokenStore(ABC):
    """Users' tokens by name. Derive from it for a store of your own, and run `SlyAPI.testing.store_contract` on it.

    Names are any text. Values are JSON objects; a store neither reads nor changes them. A program that
    knows better, as a login does, calls `save`; one that renews what it loaded calls `replace`, in the lock.
    """

    __module__ = "SlyAPI.stores"

    @abstractmethod
    async def load(self, name: str) -> dict[str, Any]:
        """The value last saved. Raises `CredentialsNotFoundError` where there is none."""

    @abstractmethod
    async def save(self, name: str, value: dict[str, Any]) -> None:
        """Makes `value` durable, whole or not at all. Raises `SaveError`, and what was there is then untouched.

        Where an answer was lost on the way, it may be there all the same.
        """

    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any]) -> None:
        """Saves `new` if what is there is still `old`, which `load` gave (None: nothing), or `new` already.

        Whoever was paused past his lock cannot overwrite what another wrote meanwhile, nor bring back a
        user who was deleted: that raises `SupersededError`. Else as `save`. A store that several machines
        share, or whose lock may be lost, does it in one step; this one is only safe in a lock that holds.
        """
        try:
            now = await self.load(name)
        except CredentialsNotFoundError:
            now = None
        if now == new:
            return
        if now != old:
            raise superseded(self, name)
        await self.save(name, new)

    @abstractmethod
    async def delete(self, name: str) -> None:
        """Forgets a user; no error where there is none. Raises `SaveError`."""

    @abstractmethod
    async def names(self) -> list[str]:
        """The names of all users held, in no promised order."""

    @abstractmethod
    def lock(self, name: str) -> AbstractAsyncContextManager[None]:
        """Held while one user is refreshed: by one task of one process at a time.

        Freed when its holder dies. It may be lost while its holder is paused or cut off, who is not told:
        his `replace` is refused if it comes too late. Where it cannot be had within `LOCK_TIMEOUT` it is
        not waited for any longer: a refresh too many is better than a call that hangs.
        """

    async def close(self) -> None:  # noqa: B027 - most stores hold nothing open
        """Lets go of what the store holds open in the running event loop; it may be used again."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def user(self, name: str) -> "StoredUser":
        """One user's entry, for `OAuth2(app, store.user(name))`. Raises `ConfigError` for a name that is no text."""
        return StoredUser(self, name)


class StoredUser:
    """One user's entry in a store."""

    __module__ = "SlyAPI.stores"

    __slots__ = ("name", "store")

    def __init__(self, store: TokenStore, name: str) -> None:
        if not isinstance(name, str):  # an API's id may be a number, and None would be everybody's
            raise ConfigError(
                f"A user's name in a store is text, not {type(name).__name__}.",
                next_step="Give str(id), of an id that is there.",
            )
        self.store = store
        self.name = name

    def __repr__(self) -> str:
        return f"{self.store!r}.user({printable(self.name, 80)!r})"

    async def load(self) -> OAuth2User:
        """The user as last saved. Raises `CredentialsNotFoundError`, or `CredentialsError` for another value."""
        return OAuth2User.from_json_obj(await self.store.load(self.name), repr(self))

    async def save(self, user: OAuth2User) -> None:
        """Makes the user's tokens durable. Raises `SaveError`."""
        await self.store.save(self.name, SecretJson(user.to_dict()))

    async def replace(self, old: dict[str, Any] | None, user: OAuth2User) -> None:
        """Makes the user's tokens durable where `old`, as the store gave it, is there still (`TokenStore.replace`)."""
        await self.store.replace(self.name, old, SecretJson(user.to_dict()))

    async def delete(self) -> None:
        """Forgets the user."""
        await self.store.delete(self.name)

    def lock(self) -> AbstractAsyncContextManager[None]:
        """The user's lock in the store."""
        return self.store.lock(self.name)


def entry_of(user: object) -> StoredUser:
    """The entry that it is. Raises `ConfigError`, for a whole store as for anything else."""
    if isinstance(user, StoredUser):
        return user
    raise ConfigError(
        f"OAuth2 cannot take a user from {type(user).__name__}.",
        next_step="Give a path, an OAuth2User, or store.user(name).",
    )


def lasting_path(path: StrPath) -> str:
    """The path from the root, which stays the same when the program changes its folder, as a daemon does."""
    try:
        return os.path.abspath(path)
    except OSError:  # the present folder is gone; whoever opens the file says so
        return os.fspath(path)


def as_value(store: TokenStore, name: str, held: Secrets) -> SecretJson:
    """The JSON object in the text that a store holds. Raises `CredentialsError`, which quotes nothing of it."""
    try:
        value = json.loads(held[0])
    except (ValueError, TypeError, RecursionError):
        value = None
    if isinstance(value, dict):
        return SecretJson(value)
    del value  # so that no traceback shows it
    raise CredentialsError(f"{store!r} holds something else for {printable(name, 80)!r}: not a JSON object.")


def as_text(store: TokenStore, value: dict[str, Any]) -> str:
    """The value as JSON text. Raises `SaveError` for one that JSON cannot hold, and quotes nothing of it."""
    try:
        return json.dumps(value, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError):
        pass
    raise SaveError(f"{store!r} was given what JSON cannot hold. What was there is untouched.")


def real_path(path: StrPath) -> str:
    """The path behind all links, at this moment."""
    try:
        return os.path.realpath(path)
    except OSError:
        return os.fspath(path)


def missing(store: TokenStore, name: str) -> CredentialsNotFoundError:
    """The error for a user that the store does not have."""
    return CredentialsNotFoundError(
        f"{store!r} has no user {printable(name, 80)!r}.",
        next_step="Have them sign in, or save a user file: store.user(name).save(OAuth2User.from_json_file(path)).",
    )


def superseded(store: TokenStore, name: str) -> SupersededError:
    """The error for a value that would replace what it does not know."""
    return SupersededError(
        f"{store!r} holds something newer for {printable(name, 80)!r}, or the user was deleted: it was left as it is.",
        next_step="Load the user again.",
    )
