"""Users in the desktop's keyring (Keychain, Credential Manager, Secret Service), by the package keyring.

The rule: a keyring cannot list its entries, so the names are an entry of their own.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Hashable, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from types import ModuleType
from typing import Any

from ..errors import ConfigError, MissingExtraError, SaveError, UnavailableError, clean_traceback
from ..json_file import unavailable
from ..web.next_steps import install
from .contract import TokenStore, as_text, as_value, is_one_of, superseded
from .file import make_folder
from .file_lock import file_lock

_INDEX = "\x1fnames"


class KeyringStore(TokenStore):
    """Users in the keyring of the account that runs the program, under the service name `service`.

    `backend` is a `keyring` backend, by default the one that `keyring` chooses. Some keyrings limit the
    size of an entry (Windows: 2,560 bytes). Raises `MissingExtraError` without the package.
    """

    __module__ = "SlyAPI.stores"

    def __init__(self, service: str = "SlyAPI", backend: Any = None) -> None:
        self.service = service
        self._given = backend is not None
        self._keyring = backend if self._given else _keyring()

    def __repr__(self) -> str:
        return f"KeyringStore({self.service!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.service, self._keyring if self._given else None)

    def entry_key(self, name: str) -> Hashable:
        """The user in the service of that name; a backend that was given is a keyring of its own."""
        return super().entry_key(name) if self._given else ("keyring", self.service, name)

    @clean_traceback
    async def load(self, name: str) -> dict[str, Any]:
        """The value last saved."""
        _check(name)
        return as_value(self, name, await self._get(name))

    @clean_traceback
    async def save(self, name: str, value: dict[str, Any]) -> None:
        """Saves the value in the keyring. Raises `SaveError`."""
        _check(name)
        async with self.lock(_INDEX):
            await self._put(name, as_text(self, value))

    @clean_traceback
    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        """Saves the value if `old` is still stored. Raises `SupersededError`, `SaveError`.

        In one step among the programs that use this class; keyrings have no compare-and-set for others.
        """
        _check(name)
        async with self.lock(_INDEX):
            if not is_one_of(self, name, await self._get(name), old, new):
                raise superseded(self, name)
            if new is not None:
                await self._put(name, as_text(self, new))
            else:
                await self._put_names(await self.names())

    async def _put(self, name: str, text: str) -> None:
        await self._call("set_password", name, text)
        known = await self.names()
        if name not in known:
            await self._put_names([*known, name])

    async def _put_names(self, names: list[str]) -> None:
        await self._call("set_password", _INDEX, json.dumps(names))

    async def delete(self, name: str) -> None:
        """Deletes a user."""
        _check(name)
        async with self.lock(_INDEX):
            if await self._get(name) is not None:
                await self._call("delete_password", name)
            await self._put_names([known for known in await self.names() if known != name])

    async def names(self) -> list[str]:
        """The names saved through this class."""
        kept = await self._get(_INDEX)
        try:
            return [str(name) for name in json.loads(kept or "[]")]
        except (ValueError, TypeError, RecursionError):
            return []  # changed by another program; each save adds its name again

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[None, None]:
        """One user's lock: a file in a folder of this account's own (`lock_folder`)."""
        folder = lock_folder(os.environ)
        try:
            make_folder(folder)
        except OSError as error:
            raise unavailable(folder, "made", error) from None
        key = sha256(f"{self.service}\0{name}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
        async with file_lock(os.path.join(folder, key)):
            yield

    async def _get(self, name: str) -> str | None:
        return await self._call("get_password", name)  # type: ignore[no-any-return]

    async def _call(self, method: str, *values: str) -> Any:
        # off the event loop: a keyring may wait for a person to unlock it
        try:
            return await asyncio.to_thread(getattr(self._keyring, method), self.service, *values)
        except Exception as error:  # backends raise errors of their own libraries
            problem = type(error).__name__
        message, step = f"{self!r}: the keyring refused ({problem}).", "Unlock it, then try again."
        if method == "get_password":
            raise UnavailableError(message, next_step=step)
        raise SaveError(message, next_step=step, kind="transient")


def _check(name: str) -> None:
    """Raises `ConfigError` for the name that is reserved for the list of names."""
    if name == _INDEX:
        raise ConfigError("This name is reserved for the list of users.", next_step="Use a short id as name.")


def lock_folder(environ: Mapping[str, str]) -> str:
    """Where the locks of keyrings lie: below the account's home, which every program of the account knows."""
    home = environ.get("LOCALAPPDATA") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "slyapi", "locks")


def _keyring() -> ModuleType:
    try:
        import keyring
    except ImportError:
        raise MissingExtraError(
            "KeyringStore needs the package keyring.", next_step=install("keyring", "keyring")
        ) from None
    return keyring
