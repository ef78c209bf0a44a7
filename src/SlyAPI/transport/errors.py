"""aiohttp's exceptions as errors of ours, which hold nothing of the request but its method and bare URL.

The rule: an aiohttp exception carries the request's headers, so none escapes. Imports aiohttp, so it is imported
itself when the first exception is to be translated.
"""

import os
from typing import NamedTuple

import aiohttp

from .. import errors
from ..errors import BadReplyError, ConfigError, RequestTimeoutError, SlyError, printable
from ..web.messages import Request
from .public_only import NotPublicError

AIOHTTP_ERRORS = (aiohttp.ClientError, TimeoutError, OSError, ValueError, TypeError, RuntimeError)
"""What a request with aiohttp raises, apart from what ends a task."""


class NetworkError(errors.NetworkError, aiohttp.ClientConnectionError):
    """`NetworkError` that is aiohttp's error too: programs written for 0.6 catch that one."""

    __module__ = errors.__name__


class _Row(NamedTuple):
    of: tuple[type[Exception], ...]
    ours: type[SlyError]
    message: str
    """May name the exception's `cause`, `text`, `status` and class (`name`)."""
    next_step: str = ""
    kind: errors.Kind | None = None
    direct: bool = False
    """Whether a proxy might have helped: there was no connection to the server."""


# The first row whose exceptions match counts.
_TABLE = (
    _Row(
        (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError),
        NetworkError,
        "TLS failed ({cause})",
        "Check the address, the machine's clock and its certificates.",
        "configuration",
    ),
    _Row(
        (aiohttp.ClientConnectorDNSError,),
        NetworkError,
        "DNS lookup failed",
        "Check the address and the network.",
        direct=True,
    ),
    _Row(
        (aiohttp.ClientProxyConnectionError,),
        NetworkError,
        "no connection to the proxy ({cause})",
        "Check the session's proxy; with trust_env=True it is the environment's.",
    ),
    _Row(
        (aiohttp.ClientHttpProxyError,),
        NetworkError,
        "the proxy does not connect to the server (HTTP {status})",
        "Check the session's proxy, its credentials and its rules.",
    ),
    _Row(
        (aiohttp.ClientConnectorError,),
        NetworkError,
        "no connection ({cause})",
        "Check that the server runs and can be reached, then try again.",
        direct=True,
    ),
    _Row((aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError), ConfigError, "this is not a valid http or https URL"),
    _Row(
        (aiohttp.ClientResponseError,),
        BadReplyError,
        "the server sent an invalid HTTP response",
        "Check the address; if it is right, try again later.",
    ),
    _Row(
        (aiohttp.ClientError, OSError),
        NetworkError,
        "the connection broke before the whole reply arrived ({name})",
        "Try again.",
    ),
    _Row((RuntimeError,), ConfigError, "the given client session cannot be used ({text})"),
    _Row((Exception,), ConfigError, "the request cannot be sent ({name}: check URL and headers)"),
)


def translate_error(error: Exception, request: Request, timeout: float | None) -> Exception:
    """The error of ours for one of aiohttp's; `timeout` in seconds.

    A `TypeError` stays one: the caller's data cannot be written. An exception of the body's source, or of a
    middleware in the caller's session, is returned as it is.
    """
    failure: Exception | None = getattr(request.data, "failure", None)
    if failure is not None:
        return failure
    for ours in (error, error.__cause__, error.__context__):
        if isinstance(ours, SlyError):
            return ours
    if any(isinstance(each, NotPublicError) for each in (error, error.__cause__, getattr(error, "os_error", None))):
        return ConfigError(
            f"{request.name}: the server is at an address that is not public, so nothing was sent (public_only).",
            next_step="If you trust the server that named this address, use public_only=False.",
        )
    if isinstance(error, TimeoutError):
        known = timeout and not isinstance(error, aiohttp.ServerTimeoutError)  # that one has a limit of its own
        limit = f" within {timeout:g} s" if known else " in time"
        return RequestTimeoutError(f"{request.name}: no whole reply{limit}.", next_step="Try again later.")
    if isinstance(error, TypeError):
        # json's messages name types; others quote the value, which may be a secret
        reason = printable(error, 200) if "JSON" in str(error) else "a value of a type that cannot be sent"
        return TypeError(f"{request.name}: {reason}.")
    if isinstance(error, ValueError) and "AUTHORIZATION" in str(error):  # aiohttp's only word for it
        return ConfigError(
            f"{request.name}: the URL, or the given client session, has credentials of its own for this host.",
            next_step="Leave them out; a session has them by auth=, or by trust_env=True from .netrc.",
        )
    row = next(row for row in _TABLE if isinstance(error, row.of))
    message = row.message.format(
        cause=_cause(error),
        text=printable(error, 100),
        status=getattr(error, "status", ""),
        name=type(error).__name__,
    )
    step = (_ignored_proxy(request) or row.next_step) if row.direct else row.next_step
    return row.ours(f"{request.name}: {message}.", next_step=step, kind=row.kind)


def _ignored_proxy(request: Request) -> str:
    """The next step where the environment names a proxy, which a session of ours does not use; else empty."""
    names = ["https_proxy", "all_proxy"] if request.url.lower().startswith("https") else ["http_proxy", "all_proxy"]
    names = [each for name in names for each in (name.upper(), name)]
    found = next((name for name in names if os.environ.get(name)), "")
    advice = f"{found} is set, but ignored. To use it, give session=ClientSession(trust_env=True), or --proxy."
    return advice if found else ""


def _cause(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    reason = getattr(inner, "verify_message", "") or getattr(inner, "strerror", "")
    return printable(reason or type(inner).__name__, 100)
