"""The user that a command works on: in a user file, or by name in a store.

The rule: a store's URL may contain a password, so no message repeats it.
"""

import asyncio
import os
import re
import sys
from typing import Any

from ..errors import ConfigError, CredentialsNotFoundError
from ..flow.console import Console, unchanged
from ..flow.progress import waiting
from ..flow.signals import run
from ..json_file import check_writable, display_path
from ..oauth2 import ClientCredentials, OAuth2, OAuth2App, OAuth2User
from ..oauth2.accounts import Account, account_names
from ..oauth2.signers.signer import Signer
from ..stores import (
    FileStore,
    PostgresStore,
    SqliteStore,
    StoredUser,
    TokenStore,
    expiring,
    store_at,
    user_file,
)
from ..stores.at import STORE_VARIABLE, encrypted_by_environment
from ..web.next_steps import PROGRAM

_WHICH = f"Give USER.json, or --store URL (or {STORE_VARIABLE}) and --name NAME. See --help."


class ChosenUser:
    """Where a user is stored: `path` is the file, or "" for an entry of a store; `label` is for messages.

    `store_path` is the file or folder of a store that `grant` may have to make, else "".
    """

    account: Account | None = None
    """The account that it belongs to, if any."""

    def __init__(self, entry: StoredUser, path: str = "", store_path: str = "") -> None:
        self.entry = entry
        self.path = path
        self.store_path = store_path
        self.label: str = display_path(path) if path else repr(entry)
        self.status: str = unchanged(path) if path else f"{self.label} was not changed."

    @property
    def result(self) -> dict[str, Any]:
        """How `--json` names it."""
        account = {"account": self.account.name} if self.account else {}
        return {**account, "user": self.path} if self.path else {**account, "name": self.entry.name}

    @property
    def place(self) -> str:
        """The file or folder of its store; "" for a user file, a server or a keyring."""
        store = self.entry.store
        return "" if self.path else _local_path(getattr(store, "store", store))

    def load(self) -> OAuth2User:
        """The stored tokens. Raises `CredentialsError`, with the command that makes some if there are none."""
        try:
            return OAuth2User.from_json_file(self.path) if self.path else run(self.entry.load())
        except CredentialsNotFoundError:
            if self.account is None:
                raise
            raise self.account.not_logged_in() from None

    def signer(self, app: OAuth2App, user: OAuth2User) -> Signer:
        """Signs as this user, whose tokens were loaded, and saves new ones."""
        if self.account is not None:
            return OAuth2.account(self.account.name)
        known = user.extra or {}
        if known.get("grant_type") == "client_credentials":
            scopes, resource = user.requested_scopes or user.scopes, known.get("resource")
            params = known.get("token_params")
            return ClientCredentials(app, scopes, self.path or self.entry, resource=resource, token_params=params)
        return OAuth2(app, self.path or self.entry)

    def check_writable(self) -> None:
        """Raises `SaveError` if the file, or that of a new store, cannot be written."""
        if path := self.path or self.store_path:
            check_writable(path if self.path or not os.path.isdir(path) else os.path.join(path, "user.json"))


def chosen_user(args: Any) -> ChosenUser:
    """The user in `USER.json`, or of `--store` and `--name`. Raises `ConfigError` for neither or both."""
    if args.user and (args.store or args.name):
        step = "Give USER.json, or --store and --name."
        raise ConfigError("A user file and a store exclude each other.", next_step=step)
    if args.user:
        chosen = ChosenUser(user_file(args.user), args.user)
    elif not args.name:
        raise ConfigError("Which user?", next_step=_WHICH)
    else:
        chosen = ChosenUser(chosen_store(args).user(args.name))
    chosen.account = getattr(args, "account", None)
    return chosen


def take_account(args: Any, word: str | None) -> None:
    """Where `word`, in the place of a file, is an account's name, the arguments become the account's files.

    Raises `ConfigError` where it is an existing file, and what `Account.load` raises.
    """
    is_file = word in getattr(args, "after_dashes", ())
    if not word or is_file or args.store or args.name or word.startswith("-") or re.search(r"[/\\.]", word):
        return
    if os.path.isfile(word) and word not in account_names():
        step = f"For the file, write ./{word}"
        raise ConfigError(f"{display_path(word)} without a dot or slash is an account's name.", next_step=step)
    use_account(args, Account.load(word))


def use_account(args: Any, account: Account) -> None:
    """The arguments become the account's client file and user."""
    args.account, args.app = account, account.client_path
    args.store = os.environ.get(STORE_VARIABLE)
    args.user, args.name = (None, account.name) if args.store else (account.user_path, None)


def entry_to_make(args: Any) -> ChosenUser:
    """The user of `--store` and `--name`, whose store need not exist. Raises `ConfigError`."""
    if args.user:
        step = "Give --user, or --store and --name."
        raise ConfigError("A user file and a store exclude each other.", next_step=step)
    if not args.name:
        raise ConfigError("Which user of the store?", next_step="Give --name NAME.")
    store = _store(args)
    chosen = ChosenUser(encrypted_by_environment(store).user(args.name), store_path=_local_path(store))
    chosen.account = getattr(args, "account", None)
    return chosen


def chosen_store(args: Any) -> TokenStore:
    """The store of flag or environment. Raises `ConfigError`, `CredentialsNotFoundError` if it is not there."""
    store = _store(args)
    _check_there(store)
    return encrypted_by_environment(store)


def _store(args: Any) -> TokenStore:
    url = args.store or os.environ.get(STORE_VARIABLE, "")
    if not url:
        about_store = args.name or getattr(args, "expiring", None) is not None
        raise ConfigError("Which store?" if about_store else "Which user?", next_step=_WHICH)
    store = store_at(url)
    if needs_selector_loop(store, sys.platform):
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())  # type: ignore[attr-defined]
    return store


def needs_selector_loop(store: TokenStore, platform: str) -> bool:
    """Whether psycopg needs another event loop than the system's usual one; `platform` is `sys.platform`."""
    return platform == "win32" and isinstance(store, PostgresStore)


def _local_path(store: TokenStore) -> str:
    """The file or folder of a store; "" for a server or a keyring."""
    return store.path if isinstance(store, SqliteStore) else store.folder if isinstance(store, FileStore) else ""


def _check_there(store: TokenStore) -> None:
    # a store whose path is misspelt must not look like an empty one
    path = _local_path(store)
    if not path:
        return
    try:
        os.stat(path)
    except FileNotFoundError:
        raise CredentialsNotFoundError(
            f"There is no store at {display_path(path)}.",
            next_step=f"Check the path. Make the store with its first user: {PROGRAM} grant --store URL.",
        ) from None
    except OSError:
        pass  # the store itself reports it in more detail


def names_in(store: TokenStore, days: float | None, console: Console) -> list[str]:
    """The sorted names of its users: all, or those whose refresh token expires within `days`."""

    async def found() -> list[str]:
        async with waiting(console, "Reading the store"):
            return sorted(await (store.names() if days is None else _expiring(store, days)))

    return run(found())


async def _expiring(store: TokenStore, days: float) -> list[str]:
    return [entry.name async for entry, _ in expiring(store, days)]
