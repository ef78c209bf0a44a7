"""Users in this process's memory: for tests, and for programs that keep tokens elsewhere themselves."""

import json
import threading
from contextlib import AbstractAsyncContextManager
from typing import Any

from ..web import SecretJson
from .contract import ThreadLocks, TokenStore, as_text, missing, superseded


class MemoryStore(TokenStore):
    """Holds what it was given until the process ends. Safe between threads."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._locks = ThreadLocks()
        self._guard = threading.Lock()

    def __repr__(self) -> str:
        return "MemoryStore()"

    async def load(self, name: str) -> dict[str, Any]:
        """The value last saved."""
        value = self._held(name)
        if value is None:
            raise missing(self, name)
        return value

    def _held(self, name: str) -> dict[str, Any] | None:
        kept = self._values.get(name)
        return None if kept is None else SecretJson(json.loads(kept))

    async def save(self, name: str, value: dict[str, Any]) -> None:
        """Keeps a copy, so that what the caller changes later is not changed here."""
        self._values[name] = as_text(self, value)

    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any]) -> None:
        """Keeps a copy where `old` is there still."""
        with self._guard:
            if self._held(name) not in (old, new):
                raise superseded(self, name)
            self._values[name] = as_text(self, new)

    async def delete(self, name: str) -> None:
        """Forgets a user."""
        self._values.pop(name, None)

    async def names(self) -> list[str]:
        """The names held."""
        return list(self._values)

    def lock(self, name: str) -> AbstractAsyncContextManager[None]:
        """One user's lock, within this process."""
        return self._locks.lock(name)
