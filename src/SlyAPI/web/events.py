"""Log events, under the logger `SlyAPI`: one for each request, refresh, retry and wait.

The rule: no query, header, body or token, only method, bare URL and figures; the record has the same as fields
(`docs/observing.md` lists them), for a formatter that writes JSON.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

from ..errors import ApiError, SlyError, printable
from .messages import Request

request_log: logging.Logger = logging.getLogger("SlyAPI.request")
refresh_log: logging.Logger = logging.getLogger("SlyAPI.refresh")
retry_log: logging.Logger = logging.getLogger("SlyAPI.retry")
wait_log: logging.Logger = logging.getLogger("SlyAPI.wait")
_LONG = 10.0
"""Seconds of waiting from which on the event is a warning."""


def requested(request: Request, seconds: float, status: int | None, size: int | None, error: str = "") -> None:
    """A request has its reply of `size` bytes (None: read by pieces), or ended in `error` (an exception's name)."""
    fields = _named(request) | {"status": status, "ms": round(seconds * 1000, 3), "bytes": size, "error": error}
    outcome = "%(error)s" if status is None else "HTTP %(status)d"
    _log(request_log, logging.DEBUG, "request", f"%(method)s %(url)s: {outcome}, %(ms).1f ms, %(bytes)s bytes", fields)


def refreshed(token_uri: str, why: str, until: datetime | None) -> None:
    """A token was refreshed at the host of that endpoint."""
    if not refresh_log.isEnabledFor(logging.INFO):
        return  # the event costs more than the rest of a refresh's last step
    end = None if until is None else f"{until:%Y-%m-%dT%H:%M:%SZ}"
    host = urlsplit(token_uri).hostname or ""
    fields = {"host": printable(host, 100), "why": why, "until": end}
    message = "Token renewed at %(host)s (%(why)s), good until " + ("%(until)s" if end else "the provider ends it")
    _log(refresh_log, logging.INFO, "refresh", message, fields)


def tries_again(request: Request, failure: SlyError, tried: int, tries: int, delay: float) -> None:
    """A call failed and is sent again after `delay` seconds."""
    status = failure.status if isinstance(failure, ApiError) else None
    fields = _named(request) | {"status": status, "error": type(failure).__name__, "tried": tried, "seconds": delay}
    outcome = "%(error)s" if status is None else "HTTP %(status)d"
    message = f"%(method)s %(url)s: {outcome}; try {tried + 1} of {tries} in %(seconds).1f s"
    _log(retry_log, _level(delay), "retry", message, fields)


def waits(request: Request, seconds: float) -> None:
    """A request waits for its turn, about `seconds`."""
    fields = _named(request) | {"seconds": seconds}
    _log(wait_log, _level(seconds), "wait", "%(method)s %(url)s waits about %(seconds).1f s for its turn", fields)


def _log(log: logging.Logger, level: int, event: str, message: str, fields: Mapping[str, object]) -> None:
    log.log(level, message, fields, extra={"event": event, **fields})


def _named(request: Request) -> dict[str, object]:
    return {"method": request.method.value, "url": printable(request.shown_url)}


def _level(seconds: float) -> int:
    return logging.WARNING if seconds >= _LONG else logging.INFO
