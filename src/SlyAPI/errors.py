"""Every error SlyAPI raises, so that `except SlyError` is enough. Imports nothing of ours.

The rule: a message says what happened and what to do next, and never holds a secret.
"""
from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Any, Literal, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Kind = Literal["transient", "permanent", "configuration"]
"""What helps: trying again, granting again, or mending the set-up."""

_LONGEST_MESSAGE = 2000


def printable(text: object, longest: int = 300) -> str:
    """A stranger's text made fit for one line of a terminal or log: no control characters, bounded.

    CWE-117 and CWE-150: a reply must not forge log lines or move a person's cursor.
    """
    plain = "".join(c if c.isprintable() else " " for c in str(text)[: longest * 4])
    plain = " ".join(plain.split())
    return plain if len(plain) <= longest else plain[: longest - 3] + "..."


class SlyError(Exception):
    """The family of every error SlyAPI raises.

    `kind` says what helps, `next_step` what to do (may be empty), `retry_after` is in seconds
    where the server told it. `tries` is how often the call was sent under a `Retry`, `tried_for` the
    seconds from its first try to the end of the last.
    """

    kind: Kind = "configuration"
    tries: int = 1
    tried_for: float = 0.0

    def __init__(
        self, message: str, *, next_step: str = "", kind: Kind | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(printable(message, _LONGEST_MESSAGE))
        self.next_step = printable(next_step, _LONGEST_MESSAGE)
        self.retry_after = retry_after
        if kind is not None:
            self.kind = kind

    def __reduce__(self) -> tuple[Any, ...]:
        # an error that cannot be read again makes a pool of processes hang
        return _again, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        message = str(self.args[0]) if self.args else ""
        return f"{message} {self.next_step}" if self.next_step else message


def _again(error: type[SlyError], args: tuple[Any, ...], told: dict[str, Any]) -> SlyError:
    builtin: Any = error
    while issubclass(builtin, SlyError):
        builtin = builtin.__base__  # OSError or ImportError where it is one: their objects are larger
    copy: SlyError = builtin.__new__(error)
    copy.args = args
    copy.__dict__.update(told)
    return copy


class ConfigError(SlyError, ValueError):
    """A value given by the program or the person cannot be used as it is."""


class CredentialsError(ConfigError):
    """A client or user file (or object) is not what it should be; the message says what it is."""


class CredentialsNotFoundError(CredentialsError, FileNotFoundError):
    """There is no client or user file at the path."""


class DecryptionError(CredentialsError):
    """What is stored cannot be decrypted: the key is lost or another one, or it was changed. It is left as it is."""


class SaveError(SlyError, OSError):
    """New credentials, or a download, could not be written; what was on disk is as it was."""


class SupersededError(SaveError):
    """The store holds something newer than what would have been replaced; it was left as it is."""


class UnavailableError(SlyError, OSError):
    """A file, a store or a lock cannot be used at this moment; nothing was sent or changed."""

    kind: Kind = "transient"


class WouldOverwriteError(SlyError, FileExistsError):
    """A file that holds something would have been overwritten without a yes."""


class MissingExtraError(ConfigError, ImportError):
    """An optional package is not installed; the next step names the extra that brings it."""


class NetworkError(SlyError):
    """The server could not be reached, or the connection or TLS broke before a whole reply came."""

    kind: Kind = "transient"


class RequestTimeoutError(NetworkError, TimeoutError):
    """No whole reply within the time limit."""


class LimitError(SlyError):
    """A call would have waited longer for its turn than `Limits.max_wait`; nothing was sent.

    `retry_after` is how long the wait would have been, where that is known.
    """

    kind: Kind = "transient"


class BadReplyError(SlyError, ValueError):
    """A reply came, but it is not what the protocol or the caller's type promises."""

    kind: Kind = "transient"


class OriginError(ConfigError):
    """A request would have carried a credential to another origin than `base_url`'s."""


class RedirectError(SlyError):
    """The browser's redirect is not the answer to the question we asked (state, issuer, shape)."""

    kind: Kind = "permanent"


class StateMismatchError(RedirectError):
    """The redirect's state is missing or is not ours: forged, or from an earlier attempt."""


class LoginEndedError(RedirectError):
    """The login was begun too long ago, or was finished before; the person begins another."""


class DeniedError(RedirectError):
    """The redirect says no; `error` is the provider's code (RFC 6749 §4.1.2.1), `denied` whether a person meant it."""

    def __init__(self, message: str, *, error: str, denied: bool = False, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.error = printable(error)
        self.denied = denied


class GrantTimeoutError(SlyError, TimeoutError):
    """Nobody answered the consent page in time."""

    kind: Kind = "transient"


class ListenError(SlyError, OSError):
    """The loopback listener could not be opened: the port is taken, or the address is not ours."""


class ApiError(SlyError):
    """A server answered with a status of 400 or more, or with 204 where JSON was promised.

    `status`; `reason`: the text of the body, bounded and with credentials masked (for the token
    endpoint: its error code); `headers`: case-insensitive; `response`: the reply as plain data
    (`web.Reply`), without a live connection.
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
            kind = "transient" if status in (408, 425, 429) or status >= 500 else "permanent"
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

    @classmethod
    async def from_resposnse(cls, response: Any) -> ApiError:
        """The error for an `aiohttp.ClientResponse`; spelled as in SlyAPI 0.6, whose users call it so."""
        text = await response.text(errors="replace")
        return cls(response.status, text[:_LONGEST_MESSAGE], response)


class TokenError(ApiError):
    """The token endpoint refused. `error` and `error_description` are its own (RFC 6749 §5.2)."""

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
    """The grant is over (revoked, expired or used up): the person must grant again."""

    kind: Kind = "permanent"


def clean_traceback(function: Callable[P, T]) -> Callable[P, T]:
    """Decorates a public function, coroutine function or asynchronous generator function: errors leave it clean.

    A traceback reaches the variables of every frame in it, and ours hold tokens, forms and replies. So a `SlyError`,
    and what ends a task (`CancelledError`, `KeyboardInterrupt`), leaves without the frames below the decorated
    function. `SLYAPI_TRACEBACK=1` in the environment keeps them. Other exceptions pass as they are.
    """
    inner: Any = function
    if inner.__code__.co_flags & _COROUTINE:

        @wraps(inner)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            try:
                return await inner(*args, **kwargs)
            except BaseException as error:
                del args, kwargs
                _clean(error)
                raise

    elif inner.__code__.co_flags & _ASYNC_GENERATOR:

        @wraps(inner)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            items = inner(*args, **kwargs)
            del args, kwargs
            try:
                async for item in items:
                    yield item
                    del item
            except BaseException as error:
                _clean(error)
                raise
            finally:
                await items.aclose()

    else:

        @wraps(inner)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            try:
                return inner(*args, **kwargs)
            except BaseException as error:
                del args, kwargs
                _clean(error)
                raise

    return wrapper  # type: ignore[return-value]


_COROUTINE, _ASYNC_GENERATOR = 0x80, 0x200
"""Flags of a code object, as `inspect` names them, which is dear to import."""


def _clean(error: BaseException) -> None:
    """Removes frames of ours from the tracebacks of the error, its causes and contexts."""
    if os.environ.get("SLYAPI_TRACEBACK") == "1":
        return
    if isinstance(error, SlyError) or not isinstance(error, Exception):
        error.__traceback__ = None
    seen: set[int] = set()
    left: list[BaseException | None] = [error.__cause__, error.__context__]
    while left:
        other = left.pop()
        if other is not None and id(other) not in seen:
            seen.add(id(other))
            other.__traceback__ = _callers_frames(other.__traceback__)
            left += [other.__cause__, other.__context__]


def _callers_frames(traceback: TracebackType | None) -> TracebackType | None:
    """The frames of a traceback, outermost first, up to the first of ours."""
    frame = traceback
    while frame is not None:
        following = frame.tb_next
        if following is not None and _is_ours(following):
            frame.tb_next = None
        frame = frame.tb_next
    return None if traceback is not None and _is_ours(traceback) else traceback


def _is_ours(traceback: TracebackType) -> bool:
    return str(traceback.tb_frame.f_globals.get("__name__")).partition(".")[0] == __name__.partition(".")[0]
