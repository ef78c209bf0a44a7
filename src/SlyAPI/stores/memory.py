"""Users in the memory of one process: for tests, and for programs that store tokens elsewhere themselves.

The rule: values are kept as text, so that no caller shares an object with the store.
"""

import threading
from contextlib import AbstractAsyncContextManager
from typing import Any

from ..errors import clean_traceback
from .contract import TokenStore, as_text, as_value
from .locks import ThreadLocks


class MemoryStore(TokenStore):
    """Holds users until the process ends; one object serves all threads."""

    __module__ = "SlyAPI.stores"

    def __init__(self) -> None:
        self.__setstate__({})

    def __getstate__(self) -> dict[str, str]:
        return dict(self._values)

    def __setstate__(self, values: dict[str, str]) -> None:
        self._values = values
        self._guard = threading.RLock()
        self._locks = ThreadLocks()

    def __repr__(self) -> str:
        return "MemoryStore()"

    @clean_traceback
    async def load(self, name: str) -> dict[str, Any]:
        """The value last saved."""
        return as_value(self, name, self._values.get(name))

    @clean_traceback
    async def save(self, name: str, value: dict[str, Any]) -> None:
        """Stores a copy of the value."""
        text = as_text(self, value)
        with self._guard:
            self._values[name] = text

    @clean_traceback
    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        """Stores a copy of the value if `old` is still stored, in one step."""
        with self._guard:  # against other threads; within a loop nothing here suspends
            await super().replace(name, old, new)

    async def delete(self, name: str) -> None:
        """Deletes a user."""
        with self._guard:
            self._values.pop(name, None)

    async def names(self) -> list[str]:
        """The names of all users."""
        return list(self._values)

    def lock(self, name: str) -> AbstractAsyncContextManager[None]:
        """One user's lock, within this process."""
        return self._locks.lock(name)
