"""Users in this process's memory: for tests, and for programs that keep tokens elsewhere themselves."""

import json
from contextlib import AbstractAsyncContextManager
from typing import Any

from .contract import TokenStore, as_text, missing
from .locks import ThreadLocks


class MemoryStore(TokenStore):
    """Holds what it was given until the process ends. Safe between threads."""

    __module__ = "SlyAPI.stores"

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._locks = ThreadLocks()

    def __repr__(self) -> str:
        return "MemoryStore()"

    async def load(self, name: str) -> dict[str, Any]:
        """The value last saved."""
        kept = self._values.get(name)
        if kept is None:
            raise missing(self, name)
        value: dict[str, Any] = json.loads(kept)
        return value

    async def save(self, name: str, value: dict[str, Any]) -> None:
        """Keeps a copy, so that what the caller changes later is not changed here."""
        self._values[name] = as_text(self, value)

    async def delete(self, name: str) -> None:
        """Forgets a user."""
        self._values.pop(name, None)

    async def names(self) -> list[str]:
        """The names held."""
        return list(self._values)

    def lock(self, name: str) -> AbstractAsyncContextManager[None]:
        """One user's lock, within this process."""
        return self._locks.lock(name)
