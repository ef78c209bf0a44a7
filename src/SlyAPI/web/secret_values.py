"""Containers of secrets that do not print them.

The rule: a container prints names or a count, never a value.
"""

from collections.abc import Iterable
from typing import Any


class SecretForm(dict[str, str]):
    """Form fields that carry secrets: prints their names alone, so that no traceback shows a value."""

    def __repr__(self) -> str:
        return f"<SecretForm {', '.join(self)}>"

    def secrets(self, more: Iterable[str] = ()) -> "Secrets":
        """The values that no message may repeat."""
        return Secrets([*[self[name] for name in _SECRET_FIELDS if name in self], *more])


_SECRET_FIELDS = (
    *("code", "code_verifier", "refresh_token", "client_secret", "assertion", "client_assertion", "token"),
    *("device_code", "subject_token", "actor_token"),
    *("request", "id_token_hint"),  # of a pushed authorization request; a signed one contains the state
)


class SecretPairs(list[tuple[str, str]]):
    """Form fields in their order, names repeated: prints their names alone."""

    def __repr__(self) -> str:
        return f"<SecretPairs {', '.join(name for name, _ in self)}>"


class SecretJson(dict[str, Any]):
    """A JSON object that prints its names alone; a copy keeps `written_at`, the time of its file in epoch seconds."""

    written_at: float | None = None

    def __init__(self, members: Any = (), /, **more: Any) -> None:
        super().__init__(members, **more)
        if isinstance(members, SecretJson) and members.written_at is not None:
            self.written_at = members.written_at

    def __repr__(self) -> str:
        return f"<SecretJson {', '.join(map(str, self))}>"


class Secrets(tuple[str, ...]):
    """Values that no message may repeat; prints none of them."""

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"
