"""What the library tells of itself: one event for each request, refresh, retry and wait, under the logger `SlyAPI`.

The rule: no query, header, body or token, only method, bare URL and figures; the same as fields of the record
(`docs/observing.md` lists them), for a formatter that writes JSON.
"""

import logging
from collections.abc import Mapping
from datetime import datetime

from ..errors import ApiError, SlyError, printable
from .messages import Request
from .urls import bare_url

request_log = logging.getLogger("SlyAPI.request")
refresh_log = logging.getLogger("SlyAPI.refresh")
retry_log = logging.getLogger("SlyAPI.retry")
wait_log = logging.getLogger("SlyAPI.wait")
_LONG = 10.0
"""Seconds of silence from which on a person should hear why."""


def requested(request: Request, seconds: float, status: int | None, size: int | None, error: str = "") -> None:
    """A request has its answer, `size` bytes decompressed, or ended in `error` (an exception's name).

    `size` is None of a body that is read piece by piece.
    """
    told = _named(request) | {"status": status, "ms": round(seconds * 1000, 3), "bytes": size, "error": error}
    outcome = "%(error)s" if status is None else "HTTP %(status)d"
    _tell(request_log, logging.DEBUG, "request", f"%(method)s %(url)s: {outcome}, %(ms).1f ms, %(bytes)s bytes", told)


def refreshed(host: str, why: str, until: datetime | None) -> None:
    """A token was renewed at `host`."""
    end = None if until is None else f"{until:%Y-%m-%dT%H:%M:%SZ}"
    told = {"host": printable(host, 100), "why": why, "until": end}
    message = "Token renewed at %(host)s (%(why)s), good until " + ("%(until)s" if end else "the provider ends it")
    _tell(refresh_log, logging.INFO, "refresh", message, told)


def tries_again(request: Request, failure: SlyError, tried: int, tries: int, delay: float) -> None:
    """A call failed and is sent once more after `delay` seconds."""
    status = failure.status if isinstance(failure, ApiError) else None
    told = _named(request) | {"status": status, "error": type(failure).__name__, "tried": tried, "seconds": delay}
    outcome = "%(error)s" if status is None else "HTTP %(status)d"
    message = f"%(method)s %(url)s: {outcome}; try {tried + 1} of {tries} in %(seconds).1f s"
    _tell(retry_log, _level(delay), "retry", message, told)


def waits(request: Request, seconds: float) -> None:
    """A request waits for its turn, about `seconds`."""
    told = _named(request) | {"seconds": seconds}
    _tell(wait_log, _level(seconds), "wait", "%(method)s %(url)s waits about %(seconds).1f s for its turn", told)


def _tell(log: logging.Logger, level: int, event: str, message: str, told: Mapping[str, object]) -> None:
    log.log(level, message, told, extra={"event": event, **told})


def _named(request: Request) -> dict[str, object]:
    return {"method": request.method.value, "url": printable(bare_url(request.url))}


def _level(seconds: float) -> int:
    return logging.WARNING if seconds >= _LONG else logging.INFO
