"""Accounts: a client, a user's tokens and the origins of an API under one name, in a folder that is the person's own.

The rule: the three belong together, or nothing is sent. `account.json` names the origins, the user notes the account.
"""

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ..errors import ConfigError, CredentialsError, CredentialsNotFoundError, OriginError, clean_traceback, printable
from ..json_file import StrPath, display_path, read_json_file, write_json_file
from ..json_file.windows import is_device
from ..web.next_steps import command
from ..web.urls import bare_url, check_endpoint, url_origin

if TYPE_CHECKING:
    from ..stores import StoredUser

HOME_VARIABLE = "SLYAPI_HOME"
"""The environment variable for the folder of all accounts."""
CLIENT, USER, ACCOUNT = "client.json", "user.json", "account.json"
_NAME = re.compile("[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
_METHODS = {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE"}


@dataclass(frozen=True, slots=True)
class Account:
    """One account. `base_url` is where paths begin; tokens go to `origins` and nowhere else.

    `machine_scopes` are those of an account of the program itself, whose tokens need no person; None for a person's.
    """

    name: str
    base_url: str
    origins: tuple[str, ...]
    machine_scopes: tuple[str, ...] | None = None

    @classmethod
    def of(cls, name: str, urls: list[str], machine_scopes: list[str] | None = None) -> Self:
        """The account whose API is at these URLs; paths begin at the first. Raises `ConfigError`."""
        if not urls:
            raise ConfigError("An account needs the address of its API.", next_step="Give --api URL.")
        origins = tuple(dict.fromkeys(url_origin(check_endpoint(url, "The API's address")) for url in urls))
        return cls(check_name(name), urls[0], origins, None if machine_scopes is None else tuple(machine_scopes))

    @classmethod
    @clean_traceback
    def load(cls, name: str) -> Self:
        """The account of this name. Raises `ConfigError`, `CredentialsNotFoundError`, `CredentialsError`."""
        known = account_names()
        if check_name(name) not in known:
            from difflib import get_close_matches

            near = same_but_for_case(name, known) or next(iter(get_close_matches(name, known, 1)), "")
            step = f"Did you mean {near}?" if near else f"Make it with: {command('login', name)}"
            raise CredentialsNotFoundError(f"There is no account {name}.", next_step=step)
        path = os.path.join(folder_of(name), ACCOUNT)
        value = read_json_file(path, is_client=True)
        try:
            return cls._read(name, value if isinstance(value, dict) else {})
        except ConfigError as error:
            step = f"Name the addresses of the API: {command('login', name, '--api', 'URL')}"
            raise CredentialsError(f"{display_path(path)} cannot be used: {error.args[0]}", next_step=step) from None

    @classmethod
    def _read(cls, name: str, value: Mapping[str, Any]) -> Self:
        base_url, api, scopes = value.get("base_url"), value.get("api"), value.get("machine_scopes")
        texts = [base_url, *(api if isinstance(api, list) else [None]), *(scopes if isinstance(scopes, list) else [])]
        if not all(isinstance(text, str) for text in texts) or not isinstance(scopes, list | None):
            raise ConfigError("base_url is not text, or api or machine_scopes not a list of texts.")
        account = cls.of(name, [str(base_url), *map(str, api or ())], scopes)
        if account.origins[0] not in map(url_origin, map(str, api or ())):
            raise ConfigError("base_url is not at one of the origins in api.")
        return account

    def save(self) -> None:
        """Writes `account.json`. Raises `SaveError`."""
        value: dict[str, Any] = {"base_url": self.base_url, "api": [*self.origins]}
        if self.machine_scopes is not None:
            value["machine_scopes"] = [*self.machine_scopes]
        from ..stores.file import make_folder  # `show` needs no store

        with suppress(OSError):  # the write reports it
            make_folder(folder_of(self.name))
        write_json_file(os.path.join(folder_of(self.name), ACCOUNT), value)

    @property
    def client_path(self) -> str:
        """The client file."""
        return os.path.join(folder_of(self.name), CLIENT)

    @property
    def user_path(self) -> str:
        """The user file, where no store is set in the environment."""
        return os.path.join(folder_of(self.name), USER)

    @property
    def user(self) -> "StoredUser":
        """The tokens: in the user file, or under the account's name in the store of `SLYAPI_STORE`."""
        from ..stores.at import store_of_environment  # and all stores with it
        from ..stores.file import user_file

        store = store_of_environment()
        return user_file(self.user_path) if store is None else store.user(self.name)

    def not_logged_in(self) -> CredentialsNotFoundError:
        """The error for an account without tokens."""
        return CredentialsNotFoundError(f"The account {self.name} is not logged in.", next_step=log_in(self.name))

    def forget(self) -> None:
        """Deletes the account's own files, and its folder if that is empty then. Raises `ConfigError`."""
        folder = folder_of(self.name)
        try:
            for file in (USER, CLIENT, ACCOUNT, ".slyapi.lock", *(f".{one}.lock" for one in (CLIENT, USER, ACCOUNT))):
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(folder, file))
        except OSError as error:
            raise ConfigError(f"{display_path(folder)} could not be deleted ({error.strerror}).") from None
        with suppress(OSError):  # a key, for example, is the person's own
            os.rmdir(folder)


def accounts_home(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> str:
    """The folder of all accounts: of the environment, else where the platform keeps a person's configuration."""
    if folder := environ.get(HOME_VARIABLE):
        return os.path.abspath(folder)
    if platform == "win32":
        configuration = environ.get("APPDATA") or os.path.expanduser(r"~\AppData\Roaming")
    elif platform == "darwin":
        configuration = os.path.expanduser("~/Library/Application Support")
    else:
        configuration = environ.get("XDG_CONFIG_HOME", "")
        if not configuration.startswith("/"):  # XDG Base Directory Specification: a relative one is ignored
            configuration = os.path.expanduser("~/.config")
    return os.path.join(configuration, "slyapi")


def folder_of(name: str) -> str:
    """The folder of an account."""
    return os.path.join(accounts_home(), check_name(name))


def account_names() -> list[str]:
    """The names of all accounts, sorted. Raises `CredentialsError` for a folder that cannot be read."""
    home = accounts_home()
    try:
        found = sorted(os.listdir(home))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CredentialsError(f"{display_path(home)} cannot be read ({error.strerror}).") from None
    return [name for name in found if _is_name(name) and os.path.lexists(os.path.join(home, name, ACCOUNT))]


def _is_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not is_device(name) and name.upper() not in _METHODS


def check_name(name: str) -> str:
    """The name, if an account can have it: one folder on every system, and no word of a command line."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        shown = repr(printable(name, 80)) if isinstance(name, str) else type(name).__name__
        step = "Use letters, digits, - and _, at most 64."
        raise ConfigError(f"{shown} cannot be the name of an account.", next_step=step)
    if not _is_name(name):
        what = "a device's name on Windows" if is_device(name) else "an HTTP method"
        raise ConfigError(f"{name} cannot be the name of an account: it is {what}.", next_step="Choose another name.")
    return name


def same_but_for_case(name: str, known: list[str]) -> str:
    """The known name that differs from `name` in case alone; "" if there is none."""
    return next((one for one in known if one != name and one.casefold() == name.casefold()), "")


def account_at(client_path: StrPath) -> str:
    """The name of the account whose client file this is; "" for another file."""
    folder, file = os.path.split(os.path.abspath(os.fsdecode(client_path)))
    home, name = os.path.split(folder)
    return name if file == CLIENT and _is_name(name) and home == accounts_home() else ""


def log_in(name: str) -> str:
    """The next step for an account whose grant has ended, or which has none."""
    return f"Log in: {command('login', name)}"


def check_target(origins: tuple[str, ...], url: str) -> None:
    """Raises `OriginError` for a URL that is at none of the origins, where tokens may go."""
    if url.startswith(tuple(f"{each}/" for each in origins)):
        return
    origin = url_origin(url)
    if not origin or origin not in map(url_origin, origins):
        raise OriginError(
            f"{printable(bare_url(url), 200)} is not at the origin that the tokens are for "
            f"({printable(' '.join(origins), 200)}), so nothing was sent there.",
            next_step="Use another auth for the other server.",
        )
