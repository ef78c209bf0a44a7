"""aiohttp's exceptions as errors of ours, which hold nothing of the request but its bare URL.

The rule: an aiohttp exception carries the request's headers, so none escapes.
"""

from functools import cache
from typing import Any

from ..errors import BadReplyError, ConfigError, NetworkError, RequestTimeoutError, SlyError, printable
from ..web.messages import Request
from ..web.urls import bare_url


class TooLargeError(ValueError):
    pass


def aiohttp_errors() -> tuple[type[Exception], ...]:
    """What aiohttp raises, for `translate_error`; asked for by an `except`, so only once something was raised."""
    import aiohttp

    return (aiohttp.ClientError, TimeoutError, OSError, ValueError, TypeError, RuntimeError)


def translate_error(error: Exception, request: Request, timeout: float | None) -> Exception:
    """The error of ours that says what aiohttp's means; holds nothing of the request but its bare URL.

    A `TypeError` stays one: the caller's data cannot be written. What kept a body from being read is given as it is.
    """
    import aiohttp

    failure: Exception | None = getattr(request.data, "failure", None)
    if failure is not None:
        return failure
    asked, broken = request.name, _network_error()
    for ours in (error, error.__cause__, error.__context__):
        if isinstance(ours, SlyError):
            return ours  # of a middleware in the caller's session
    if isinstance(error, TimeoutError):
        known = timeout and not isinstance(error, aiohttp.ServerTimeoutError)  # that one has a limit of its own
        limit = f" within {timeout:g} s" if known else " in time"
        return RequestTimeoutError(f"{asked}: no whole reply{limit}.", next_step="Try again later.")
    if isinstance(error, TooLargeError):
        return BadReplyError(f"{asked}: the reply is larger than {error.args[0]} bytes.", kind="permanent")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return broken(
            f"{asked}: TLS failed ({_cause(error)}).",
            next_step="Check the address, the machine's clock and its certificates.",
            kind="configuration",
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return broken(f"{asked}: the host's name is not known here.", next_step="Check address and network.")
    if isinstance(error, aiohttp.ClientConnectorError):
        return broken(f"{asked}: no connection ({_cause(error)}).", next_step="Check the network, try again.")
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return ConfigError(f"{printable(bare_url(request.url), 100)!r} is not a URL that can be asked.")
    if isinstance(error, aiohttp.ClientResponseError):
        return BadReplyError(
            f"{asked} was answered with what is no HTTP that can be read.",
            next_step="Check the address; if it is right, try again later.",
        )
    if isinstance(error, aiohttp.ClientError | OSError):
        return broken(
            f"{asked}: the connection broke before a whole reply ({type(error).__name__}).", next_step="Try again."
        )
    if isinstance(error, TypeError):
        # json's messages name types; others quote the value, which may be a secret
        why = printable(error, 200) if "JSON" in str(error) else "a value of a type that cannot be sent"
        return TypeError(f"{asked}: {why}.")
    if isinstance(error, RuntimeError):
        return ConfigError(f"{asked}: the client session given cannot be used ({printable(error, 100)}).")
    return ConfigError(f"{asked}: the request cannot be sent as it is ({type(error).__name__}: check URL and headers).")


@cache
def _network_error() -> type[NetworkError]:
    """`NetworkError` as aiohttp's error too: programs written for 0.6 catch that one, for want of ours."""
    import aiohttp

    class Both(NetworkError, aiohttp.ClientConnectionError):
        def __reduce__(self) -> tuple[Any, ...]:
            again, (_, *told) = super().__reduce__()
            return again, (NetworkError, *told)

    Both.__module__, Both.__name__, Both.__qualname__ = NetworkError.__module__, "NetworkError", "NetworkError"
    return Both


def _cause(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    why = getattr(inner, "verify_message", "") or getattr(inner, "strerror", "")
    return printable(why or type(inner).__name__, 100)
