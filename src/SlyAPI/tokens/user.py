"""One user's grant: the tokens, until when, for what; JSON in and out. Pure but for reading its own file.

The rule: what is not fit to be sent is refused before it is stored, and a secret never prints.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Self

from ..errors import CredentialsError
from ..json_file import StrPath, display_path, read_json_file
from .client_auth import ClientAuth
from .scopes import Scopes, missing_scopes, split_scopes
from .times import as_utc, read_time, write_time
from .user_json import Told, read_google_auth, read_user, told_by_answer


@dataclass(slots=True)
class OAuth2User:
    """One user's tokens for one client. `asdict`-free JSON: `to_dict()` and `from_json_obj()`.

    `expires_at` is aware and in UTC, or None where the provider does not tell (a naive one is read as
    UTC); `scopes` are those granted, `requested_scopes` those asked for where that differs or is known;
    `refresh_expires_at` is when the refresh token ends, where the provider tells.
    `extra` holds further keys of the file, which survive a rewrite; `expires_as_read` is its spelling
    of `expires_at`, with or without a fraction, written again while it still says the same moment.
    """

    __module__ = "SlyAPI.oauth2"

    token: str
    refresh_token: str | None = None
    expires_at: datetime | None = None
    token_type: str = "Bearer"
    scopes: list[str] = field(default_factory=list)
    requested_scopes: list[str] | None = None
    client_auth: ClientAuth | None = None
    refresh_expires_at: datetime | None = None
    extra: dict[str, Any] | None = None
    expires_as_read: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.expires_at is not None:
            self.expires_at = as_utc(self.expires_at)
        if self.refresh_expires_at is not None:
            self.refresh_expires_at = as_utc(self.refresh_expires_at)
        if self.expires_as_read is not None and self.expires_as_read == self._written():
            self.expires_as_read = None  # the usual spelling, which is written anyway

    def __repr__(self) -> str:
        until = "unknown" if self.expires_at is None else write_time(self.expires_at)
        renewable = "***" if self.refresh_token else None
        scopes = [*_kept_scopes.__get__(self)]
        return f"OAuth2User(token='***', refresh_token={renewable!r}, expires_at={until}, scopes={scopes!r})"

    @property
    def missing_scopes(self) -> list[str]:
        """Scopes that were asked for and not granted."""
        return missing_scopes(self.requested_scopes or [], self.scopes)

    def to_dict(self) -> dict[str, Any]:
        """The file format: `{token, refresh_token, expires_at, token_type, scopes}`, and what more is known."""
        saved: dict[str, Any] = {
            "token": self.token,
            "refresh_token": self.refresh_token,
            "expires_at": self._expires_text(),
            "token_type": self.token_type,
            "scopes": [*_kept_scopes.__get__(self)],
        }
        if self.requested_scopes is not None:
            saved["requested_scopes"] = list(self.requested_scopes)
        if self.client_auth is not None:
            saved["client_auth"] = self.client_auth
        if self.refresh_expires_at is not None:
            saved["refresh_expires_at"] = write_time(self.refresh_expires_at)
        return saved | (self.extra or {})

    def _expires_text(self) -> str | None:
        read = self.expires_as_read
        return read if read is not None and read_time(read) == self.expires_at else self._written()

    def _written(self) -> str | None:
        return None if self.expires_at is None else write_time(self.expires_at)

    @classmethod
    def from_json_file(cls, path: StrPath) -> Self:
        """The user in a file. Raises `CredentialsNotFoundError` or `CredentialsError`."""
        return cls.from_json_obj(read_json_file(path), display_path(path))

    @classmethod
    def from_json_obj(cls, obj: Any, name: str = "The user JSON", *, now: float | None = None) -> Self:
        """The user in our own JSON, or in a provider's token answer kept as it came (RFC 6749 §5.1).

        `name` is for messages; `now` (epoch seconds) is when an answer without `created_at` arrived.
        Raises `CredentialsError`, which says what the object is instead.
        """
        told = read_user(obj, time.time() if now is None else now)
        del obj  # so that no traceback shows it
        if isinstance(told, str):
            raise CredentialsError(f"{name} {told}")
        return cls(**told._asdict())

    @classmethod
    def from_google_auth(cls, obj: Mapping[str, Any]) -> Self:
        """The user in what google-auth's `Credentials.to_json()` wrote; the client that is in it too is left out.

        Not read as a user file, because a refresh would overwrite what google-auth still reads.
        Raises `CredentialsError`.
        """
        told = read_google_auth(obj)
        del obj  # so that no traceback shows it
        if isinstance(told, str):
            raise CredentialsError(f"This is no token of google-auth: {told}")
        return cls(**told._asdict())

    @classmethod
    def from_token_answer(
        cls,
        answer: Mapping[str, Any],
        *,
        now: float,
        requested: list[str] | None = None,
        previous: "OAuth2User | None" = None,
        refresh_life_unit: float = 1.0,
    ) -> Self:
        """The user told by a successful token answer (RFC 6749 §5.1), as `user_json.told_by_answer` reads it."""
        before = None if previous is None else Told(*(getattr(previous, name) for name in Told._fields))
        told = told_by_answer(
            answer, now=now, requested=requested, previous=before, refresh_life_unit=refresh_life_unit
        )
        return cls(**told._asdict())


def authorization(user: OAuth2User) -> str:
    """The value of the `Authorization` header for the user's token (RFC 6750 §2.1)."""
    scheme = user.token_type
    if scheme != "Bearer" and scheme.lower() == "bearer":
        scheme = "Bearer"  # some servers name the scheme `bearer` and then take only `Bearer`
    return f"{scheme} {user.token}"


@lru_cache(maxsize=512)
def _shared(scopes: tuple[str, ...]) -> tuple[str, ...]:
    return scopes


_kept_scopes: Any = vars(OAuth2User)["scopes"]  # the slot


def _scopes_of(user: OAuth2User) -> list[str]:
    kept = _kept_scopes.__get__(user)
    if isinstance(kept, tuple):
        kept = list(kept)
        _kept_scopes.__set__(user, kept)
    return kept  # type: ignore[no-any-return]


def _keep_scopes(user: OAuth2User, scopes: Scopes | None) -> None:
    _kept_scopes.__set__(user, _shared(tuple(split_scopes(scopes))))


# Most of many users have the same scopes: they are kept once, until one is asked for a list, which is then its own.
type.__setattr__(OAuth2User, "scopes", property(_scopes_of, _keep_scopes))
