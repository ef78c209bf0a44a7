"""Scopes: those requested, those granted, those missing (RFC 6749 §3.3). Pure."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

from ..errors import ConfigError

P = ParamSpec("P")
R = TypeVar("R")

Scopes = str | Iterable[str]

OFFLINE = "offline_access"
"""The scope that requests a refresh token (OpenID Connect Core §11)."""
ASK_FOR_CONSENT = (
    "Some providers that speak OpenID Connect issue one only if they show the consent page. Grant again with:"
)
"""For a grant that requested `OFFLINE` and got no refresh token (OpenID Connect Core §11)."""


def split_scopes(scopes: Any) -> list[str]:
    """A list of scopes from any form that providers and programs use, without duplicates, in order.

    Text with spaces, text with commas (GitHub, LinkedIn, Slack), a list (Twitch), or None.
    Raises `ConfigError` for anything else.

    >>> split_scopes("repo,gist user")
    ['repo', 'gist', 'user']
    """
    if scopes is None:
        return []
    if isinstance(scopes, str):
        return _each_once(scopes.replace(",", " ").split())
    if not isinstance(scopes, list) and (isinstance(scopes, Mapping) or not isinstance(scopes, Iterable)):
        raise ConfigError("scopes are neither text nor a list.")
    listed = list[Any](scopes)
    if not listed:
        return listed
    if not all(isinstance(scope, str) for scope in listed):
        raise ConfigError("a scope in the list is not a string.")
    return _each_once(scope for scope in listed if scope)


def _each_once(scopes: Iterable[str]) -> list[str]:
    found = [_shared(scope) for scope in dict.fromkeys(scopes)]
    return found[:]  # a copy has no room for more, which a list that grew has


@lru_cache(maxsize=1024)
def _shared(scope: str) -> str:
    """The same text as one object: most of many users have the same scopes."""
    return scope


def join_scopes(scopes: Scopes, delimiter: str = " ") -> str:
    """Scopes as one parameter. Text stays as the caller wrote it."""
    return scopes if isinstance(scopes, str) else delimiter.join(split_scopes(scopes))


def missing_scopes(requested: Iterable[str], granted: Iterable[str], *, renewable: bool = False) -> list[str]:
    """Scopes that were requested and not granted, in the order of the request.

    Many servers leave `OFFLINE` out of the granted ones: with a refresh token (`renewable`) it is granted.
    """
    present = {*granted, *([OFFLINE] if renewable else [])}
    return [scope for scope in requested if scope not in present]


def requires_scopes(*scopes: str) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """Records the scopes that a coroutine method needs in its `required_scopes` attribute.

    Machine-readable documentation; only the provider checks scopes.
    """

    def note(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        @wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return await function(*args, **kwargs)

        call.required_scopes = scopes  # type: ignore[attr-defined]
        return call

    return note
