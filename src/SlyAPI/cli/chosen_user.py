"""Which user a command is about: the one in a user file, or one by name in a store.

The rule: a store's URL may hold a password, so no message repeats it.
"""

import asyncio
import os
from typing import Any

from ..errors import ConfigError, CredentialsNotFoundError
from ..flow.wizard import unchanged
from ..json_file import check_writable, display_path
from ..oauth2 import OAuth2, OAuth2App, OAuth2User
from ..stores import EncryptedStore, FileStore, SqliteStore, StoredUser, TokenStore, expiring, store_at, user_file

STORE_VARIABLE = "SLYAPI_STORE"
"""The environment variable that stands for `--store`, for URLs that the list of processes should not show."""
KEYS_VARIABLE = "SLYAPI_STORE_KEYS"
"""The environment variable with the keys of an encrypted store, the one to write with first, spaces between."""
_WHICH = f"Give USER.json, or --store URL (or {STORE_VARIABLE}) and --name NAME. See --help."


class ChosenUser:
    """A user's place: `path` of a file, or "" for an entry of a store; `label` is for messages."""

    def __init__(self, entry: StoredUser, path: str = "") -> None:
        self.entry = entry
        self.path = path
        self.label = display_path(path) if path else repr(entry)
        self.so_far = unchanged(path) if path else f"{self.label} was not changed."

    @property
    def told(self) -> dict[str, Any]:
        """What `--json` says of it."""
        return {"user": self.path} if self.path else {"name": self.entry.name}

    def load(self) -> OAuth2User:
        """The tokens there. Raises `CredentialsError`, which says how to make some where there are none."""
        try:
            return OAuth2User.from_json_file(self.path) if self.path else asyncio.run(self.entry.load())
        except CredentialsNotFoundError as error:
            error.next_step = error.next_step or "Make one with: python -m SlyAPI grant"
            raise

    def signer(self, app: OAuth2App) -> OAuth2:
        """Signs as this user, and keeps the tokens there current."""
        return OAuth2(app, self.path or self.entry)

    def check_writable(self) -> None:
        """Raises `SaveError` where a file is known not to take new tokens."""
        if self.path:
            check_writable(self.path)


def chosen_user(args: Any) -> ChosenUser:
    """The user that `USER.json`, or `--store` and `--name`, tell. Raises `ConfigError` for neither or both."""
    if args.user and (args.store or args.name):
        raise ConfigError("A user is in a file or in a store.", next_step="Give USER.json, or --store and --name.")
    if args.user:
        return ChosenUser(user_file(args.user), args.user)
    if not args.name:
        raise ConfigError("Which user?", next_step=_WHICH)
    return ChosenUser(chosen_store(args).user(args.name))


def chosen_store(args: Any) -> TokenStore:
    """The store that `--store`, else the environment, tells; encrypted if that has keys.

    Raises `ConfigError`, and `CredentialsNotFoundError` for a file or folder that is not there.
    """
    url = args.store or os.environ.get(STORE_VARIABLE, "")
    if not url:
        about_store = args.name or getattr(args, "expiring", None) is not None
        raise ConfigError("Which store?" if about_store else "Which user?", next_step=_WHICH)
    keys = os.environ.get(KEYS_VARIABLE, "").split()
    store = store_at(url)
    _check_there(store)
    return EncryptedStore(store, keys) if keys else store


def _check_there(store: TokenStore) -> None:
    # no command makes a store, and one that was misspelt would look as one without users
    path = store.path if isinstance(store, SqliteStore) else store.folder if isinstance(store, FileStore) else ""
    if not path:
        return
    try:
        os.stat(path)
    except FileNotFoundError:
        raise CredentialsNotFoundError(
            f"There is no store at {display_path(path)}.",
            next_step="Check the path; a store is made when a program saves its first user.",
        ) from None
    except OSError:
        pass  # the store tells it better


def names_in(store: TokenStore, days: float | None) -> list[str]:
    """The names of its users, sorted: all, or those whose refresh token ends within so many days."""
    return sorted(asyncio.run(store.names() if days is None else _expiring(store, days)))


async def _expiring(store: TokenStore, days: float) -> list[str]:
    return [entry.name async for entry, _ in expiring(store, days)]
