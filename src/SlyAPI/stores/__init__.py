"""Where tokens live between refreshes. A store knows plain JSON values, not OAuth.

The rule: `save` returns when the value would survive a crash, and `lock` never outlives its process.
"""

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, runtime_checkable

from .file import FileEntry

__all__ = ["FileEntry", "UserEntry"]


@runtime_checkable
class UserEntry(Protocol):
    """One user's place in a store: what `OAuth2` needs to keep a grant alive."""

    async def load(self) -> Any:
        """The value as last saved; raises `CredentialsNotFoundError` where there is none."""
        ...

    async def save(self, value: dict[str, Any]) -> None:
        """Makes `value` durable, whole or not at all. Raises `SaveError`."""
        ...

    def lock(self) -> AbstractAsyncContextManager[None]:
        """Held while refreshing, so that of all processes one does."""
        ...
