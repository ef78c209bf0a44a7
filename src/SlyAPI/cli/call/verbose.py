"""Shows the requests and replies of `call --verbose` on stderr, without secrets.

The rule: a header is shown only if its meaning excludes a secret; a query is never shown.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ...flow.console import Console
from ...oauth2.signers.signer import Signer
from ...web.masking import masked
from ...web.redirects import HEADERS_FOR_ANY_ORIGIN
from ...web.urls import bare_url

_SHOWN = HEADERS_FOR_ANY_ORIGIN | {"host", "content-type", "content-length", "connection", "if-none-match"}
"""Headers of a request whose values are shown."""
_HIDDEN = r"token|secret|password|cookie|session|signature|authorization|authentication-info|api-?key|nonce"
"""In the name of a reply's header: its value is not shown."""
_QUERY = r"\?[^\s<>\"']+"
_URLS = {"location", "content-location", "referer"}


@contextmanager
def traces(console: Console, auth: Signer) -> Iterator[Any]:
    """The trace configuration (aiohttp's) that shows headers; meanwhile log events are shown too."""
    import aiohttp  # as `WebAPI` does

    secrets = {auth.user.token, auth.user.refresh_token or ""}
    trace: Any = aiohttp.TraceConfig()

    async def started(session: object, context: object, sent: Any) -> None:
        console.say(f"> {sent.method} {bare_url(str(sent.url))}", *sent_lines(sent.headers))

    async def ended(session: object, context: object, got: Any) -> None:
        secrets.update((auth.user.token, auth.user.refresh_token or ""))  # which a refresh has changed
        console.say(f"< HTTP {got.response.status}", *received_lines(got.response.headers, secrets))

    trace.on_request_start.append(started)
    trace.on_request_end.append(ended)
    log, handler = logging.getLogger("SlyAPI"), _Says(console)
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield trace
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


class _Says(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.say(f"* {record.getMessage()}")


def sent_lines(headers: Mapping[str, str]) -> list[str]:
    """The headers of a request, with the values of all but the harmless ones as `***`."""
    return [f"> {name}: {value if name.lower() in _SHOWN else '***'}" for name, value in headers.items()]


def received_lines(headers: Mapping[str, str], secrets: Iterable[str]) -> list[str]:
    """The headers of a reply: cookies and tokens as `***`, URLs without query, and no secret that the server echoes."""
    return [f"< {name}: {_value(name.lower(), value, secrets)}" for name, value in headers.items()]


def _value(name: str, value: str, secrets: Iterable[str]) -> str:
    if re.search(_HIDDEN, name):
        return "***"
    value = masked(value, secrets)
    return bare_url(value) if name in _URLS else re.sub(_QUERY, "", value)  # such as those of a Link
