"""Every error SlyAPI raises, so that `except SlyError` is enough. Imports nothing of ours.

The rule: a message says what happened and what to do next, and never holds a secret.
"""
from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable
from functools import wraps
from types import TracebackType
from typing import Any, Literal, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

Kind = Literal["transient", "permanent", "configuration"]
"""What helps: trying again, granting again, or correcting the configuration."""

_LONGEST_MESSAGE = 2000
PASSES_WITH_TIME = frozenset({403, 408, 409, 413, 421, 423, 425, 429})
"""Statuses below 500 that a later repetition can change; with `Retry-After` each of them is transient."""


def printable(text: object, longest: int = 300) -> str:
    """Untrusted text made safe for one line of a terminal or log, at most `longest` characters.

    Control characters, line ends and bidirectional marks become spaces: a reply must not forge log lines, move the
    cursor (CWE-117, CWE-150) or make a line read otherwise than it is (CVE-2021-42574).
    """
    plain = str(text)[: longest * 4]
    if not plain.isprintable():
        plain = "".join(c if c.isprintable() else " " for c in plain)
    plain = " ".join(plain.split())
    return plain if len(plain) <= longest else plain[: longest - 3] + "..."


class SlyError(Exception):
    """The base class of every error SlyAPI raises.

    `kind`: what helps; `next_step`: what to do (may be empty); `retry_after`: seconds, where the server
    sent it; `tries`: how often the call was sent, 0 for a refusal that is remembered; `tried_for`: seconds from
    the first try to the end of the last.
    """

    kind: Kind = "configuration"
    tries: int = 1
    tried_for: float = 0.0

    def __init__(
        self, message: str, *, next_step: str = "", kind: Kind | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(printable(message, _LONGEST_MESSAGE))
        self.next_step: str = printable(next_step, _LONGEST_MESSAGE)
        self.retry_after = retry_after
        if kind is not None:
            self.kind = kind

    def __reduce__(self) -> tuple[Any, ...]:
        # An error that cannot be unpickled makes a pool of processes hang.
        kind = type(self)
        if kind.__module__ == __name__:  # a subclass that is another library's error too, under the public name
            kind = globals().get(kind.__name__, kind)
        # `IdentityError._kept` has tokens, which are not to be kept with the result of a job.
        return _restored, (kind, self.args, {name: value for name, value in vars(self).items() if name != "_kept"})

    def __str__(self) -> str:
        message = str(self.args[0]) if self.args else ""
        return f"{message} {self.next_step}" if self.next_step else message


def _restored(error: type[SlyError], args: tuple[Any, ...], attributes: dict[str, Any]) -> SlyError:
    builtin: Any = error
    while issubclass(builtin, SlyError):
        builtin = builtin.__base__  # OSError or ImportError where it is one: their objects are larger
    copy: SlyError = builtin.__new__(error)
    copy.args = args
    copy.__dict__.update(attributes)
    return copy


class ConfigError(SlyError, ValueError):
    """A value given by the program or the person cannot be used as it is."""


class CredentialsError(ConfigError):
    """A client or user file (or object) is invalid; the message says how."""


class CredentialsNotFoundError(CredentialsError, FileNotFoundError):
    """The client or user file does not exist."""


class DecryptionError(CredentialsError):
    """Stored data cannot be decrypted: the key is lost or wrong, or the data was changed. It is left unchanged."""


class SaveError(SlyError, OSError):
    """New credentials, or a download, could not be written; the file on disk is unchanged."""


class SupersededError(SaveError):
    """The store holds something newer than the value to be replaced; it was left unchanged."""


class UnavailableError(SlyError, OSError):
    """A file, a store or a lock cannot be used at this moment; nothing was sent or changed."""

    kind: Kind = "transient"


class WouldOverwriteError(SlyError, FileExistsError):
    """A file that is not empty would have been overwritten without confirmation."""


class MissingExtraError(ConfigError, ImportError):
    """An optional package is not installed; the next step says what to install."""


class NetworkError(SlyError):
    """The server could not be reached, or the connection or TLS broke before a whole reply came."""

    kind: Kind = "transient"


class RequestTimeoutError(NetworkError, TimeoutError):
    """The whole reply, or the signature of a key that is elsewhere, did not arrive within the time limit."""


class LimitError(SlyError):
    """A call would have waited longer for its turn than `Limits.max_wait`; nothing was sent.

    `retry_after`: how long the wait would have been, where that is known.
    """

    kind: Kind = "transient"


class BadReplyError(SlyError, ValueError):
    """A reply arrived, but it does not match the protocol or the caller's type."""

    kind: Kind = "transient"
    _kept: Any = None
    """As that of `IdentityError`."""


class OriginError(ConfigError):
    """A request would have carried a credential to another origin than `base_url`'s."""


class RedirectError(SlyError):
    """The browser's redirect does not answer our authorization request (state, issuer, shape)."""

    kind: Kind = "permanent"


class StateMismatchError(RedirectError):
    """The redirect's state is missing or wrong: forged, or from an earlier attempt."""


class LoginEndedError(RedirectError):
    """The login started too long ago, or was finished before; the person starts a new one."""


class DeniedError(RedirectError):
    """The redirect carries a refusal: `error` is the provider's code (RFC 6749 §4.1.2.1).

    `denied`: whether the person refused, rather than the provider.
    """

    def __init__(self, message: str, *, error: str, denied: bool = False, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.error: str = printable(error)
        self.denied = denied


class GrantTimeoutError(SlyError, TimeoutError):
    """Nobody answered the consent page in time."""

    kind: Kind = "transient"


class ListenError(SlyError, OSError):
    """The loopback listener could not be opened: the port or address is not available."""


class ApiError(SlyError):
    """A server answered with a status of 400 or more, or with 204 where JSON was promised.

    `status`; `reason`: the text of the body, bounded and with credentials masked (from the token
    endpoint: its error code); `headers`: case-insensitive; `response`: the reply as plain data
    (`web.Reply`), without a live connection; `challenges`: of its `WWW-Authenticate` headers.
    """

    kind: Kind = "permanent"

    def __init__(
        self,
        status: int,
        reason: str | None = None,
        response: Any = None,
        *,
        message: str = "",
        next_step: str = "",
        kind: Kind | None = None,
        retry_after: float | None = None,
    ) -> None:
        if kind is None:
            passes = status >= 500 or status in (PASSES_WITH_TIME if retry_after is not None else (408, 425, 429))
            kind = "transient" if passes else "permanent"
        super().__init__(
            message or f"HTTP {status}" + (f": {printable(reason)}" if reason else ""),
            next_step=next_step,
            kind=kind,
            retry_after=retry_after,
        )
        self.status = status
        self.reason = reason
        self.response = response

    @property
    def headers(self) -> Any:
        """The reply's headers, or an empty mapping where there was no reply."""
        return getattr(self.response, "headers", {})

    @property
    def challenges(self) -> list[Any]:
        """The reply's challenges (`SlyAPI.web.Challenge`): why it was refused, and which credential it wants."""
        return getattr(self.response, "challenges", [])

    @classmethod
    async def from_resposnse(cls, response: Any) -> ApiError:
        """The error for an `aiohttp.ClientResponse`; spelled as in SlyAPI 0.6, whose users call it so."""
        text = await response.text(errors="replace")
        return cls(response.status, text[:_LONGEST_MESSAGE], response)


class TokenError(ApiError):
    """The token endpoint refused. `error` and `error_description` are from its reply (RFC 6749 §5.2)."""

    def __init__(
        self,
        status: int,
        error: str,
        error_description: str = "",
        response: Any = None,
        *,
        message: str,
        next_step: str = "",
        kind: Kind | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            status, error, response, message=message, next_step=next_step, kind=kind, retry_after=retry_after
        )
        self.error = error
        self.error_description = error_description


class GrantEndedError(TokenError):
    """The grant has ended (revoked, expired or used up): the person must grant again."""

    kind: Kind = "permanent"


class IdentityError(SlyError):
    """A statement of who somebody is is refused: an id_token, userinfo, a logout token, a caller's access token.

    `status`, `www_authenticate()`: what an API answers to the caller whose access token it refuses (RFC 6750 §3).
    """

    kind: Kind = "permanent"
    status: int = 401
    error: str = "invalid_token"
    scheme: str = "Bearer"
    scopes: tuple[str, ...] = ()
    _kept: Any = None
    """After a refresh: the `OAuth2User` before it, with the new refresh token, all of the reply that is to be saved."""

    def www_authenticate(self, resource_metadata: str | None = None) -> str:
        """The value of `WWW-Authenticate`, with the URL of the API's metadata (RFC 9728 §5.1)."""
        words = {"error": self.error, "error_description": str(self.args[0]) if self.error else ""}
        words |= {"scope": " ".join(self.scopes), "resource_metadata": resource_metadata or ""}
        params = [f'{name}="{"".join(map(_quotable, text))}"' for name, text in words.items() if text]
        return f"{self.scheme} {', '.join(params)}".rstrip()


def _quotable(character: str) -> str:
    """The character in a quoted string (RFC 6750 §3)."""
    return character if " " <= character <= "~" and character not in '"\\' else "'"


def clean_traceback(function: F) -> F:
    """Decorates a public function, coroutine function or asynchronous generator function: our errors leave it clean.

    A traceback reaches the variables of every frame in it, and ours hold tokens, forms and replies. So a `SlyError`,
    and what ends a task (`CancelledError`, `KeyboardInterrupt`), leave without the frames from the decorated function
    on, and without the exceptions handled in them. Every other exception is a mistake, ours or of a function that the
    caller gave us: it keeps its frames. `SLYAPI_TRACEBACK=1` in the environment keeps everything.
    """
    inner: Any = function
    flags = inner.__code__.co_flags

    @wraps(inner)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        handled = sys.exc_info()[1]
        try:
            return await inner(*args, **kwargs)
        except BaseException as error:
            _clean(error, handled)
            raise

    @wraps(inner)
    def generator(*args: Any, **kwargs: Any) -> Any:
        return _CleanItems(inner(*args, **kwargs))

    @wraps(inner)
    def plain(*args: Any, **kwargs: Any) -> Any:
        handled = sys.exc_info()[1]
        try:
            return inner(*args, **kwargs)
        except BaseException as error:
            _clean(error, handled)
            raise

    if flags & _COROUTINE:
        return coroutine  # type: ignore[return-value]
    return generator if flags & _ASYNC_GENERATOR else plain  # type: ignore[return-value]


_COROUTINE, _ASYNC_GENERATOR = 0x80, 0x200
"""Flags of a code object, as `inspect` names them, which is slow to import."""


class _CleanItems(AsyncGenerator[Any, Any]):
    """An asynchronous generator whose errors leave it clean; not a second generator around it.

    The end of an event loop closes all generators at once, and would close the inner one of two twice.
    """

    def __init__(self, items: AsyncGenerator[Any, Any]) -> None:
        self._items = items

    def __anext__(self) -> Any:  # the inherited one would be a frame more
        return self.asend(None)

    @clean_traceback
    async def asend(self, value: Any) -> Any:
        return await self._items.asend(value)

    async def athrow(self, kind: Any, value: Any = None, traceback: TracebackType | None = None) -> Any:
        handled, thrown = sys.exc_info()[1], kind if value is None else value
        try:
            return await self._items.athrow(thrown)
        except BaseException as error:
            if error is not thrown:  # the caller's own, with the caller's frames
                _clean(error, handled)
            raise

    @clean_traceback
    async def aclose(self) -> None:
        await self._items.aclose()


def _clean(error: BaseException, handled: BaseException | None) -> None:
    """Removes the frames of an error that a boundary caught; `handled`: the exception that the caller handles."""
    expected = isinstance(error, SlyError) or not isinstance(error, Exception)
    if not expected or error is handled or os.environ.get("SLYAPI_TRACEBACK") == "1":
        return
    error.__traceback__, error.__context__ = None, handled
    cause = error.__cause__
    while cause is not None and (cause.__traceback__ or cause.__context__):
        cause.__traceback__ = cause.__context__ = None
        cause = cause.__cause__
