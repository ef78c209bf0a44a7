"""HTTP messages as plain data: requests and replies. Opens no connection.

The rule: a `Request` prints without its headers, query and body, because they carry the secrets.
"""

import codecs
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from email.utils import parsedate_to_datetime
from enum import Enum, StrEnum
from time import time as wall_clock
from typing import Any

from ..errors import ConfigError
from .challenges import Challenge, challenges_in
from .masking import masked, without_half
from .urls import bare_url

ParamType = int | float | str | Enum | None | Decimal | date | time | Set["ParamType"] | Sequence["ParamType"]
ParamsDict = Mapping[str, ParamType]
"""Query parameters as a caller writes them; `params.as_query` converts them."""


FORM = "application/x-www-form-urlencoded"
"""The Content-Type of a form's fields in a body."""
REDIRECTS = (301, 302, 303, 307, 308)
"""Statuses whose `Location` header names another URL to request (RFC 9110 §15.4)."""


class Method(StrEnum):
    """An HTTP request method (RFC 9110 §9)."""

    __module__ = "SlyAPI.web"

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"
    PATCH = "PATCH"

    @classmethod
    def _missing_(cls, value: object) -> "Method":
        """A method in lower case, or one that has no member here (HEAD, PROPFIND). Raises `ConfigError`."""
        if not isinstance(value, str) or not value.replace("-", "a").isalpha():
            raise ConfigError("The method of a request is a word.", next_step='Write: api.request("GET", "/notes")')
        if value != value.upper():
            return cls(value.upper())
        other = str.__new__(cls, value)
        other._name_ = other._value_ = value
        return other


@dataclass(slots=True)
class Request:
    """One request before it is sent. An `Auth` may change `query_params`, `headers` and `data`.

    `url` is complete except for `query_params`; `data` is a form (mapping), JSON (when `data_is_json`),
    or text and bytes sent as they are; an empty mapping means no body. `certificate` names the files of a client
    certificate that the connection presents (RFC 8705), if any.
    """

    __module__ = "SlyAPI.web"

    method: Method
    url: str
    query_params: dict[str, str | int | list[str]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    data: Any = field(default_factory=dict)
    data_is_json: bool = False
    certificate: Any = None
    secrets_to_mask: Callable[[], Iterable[str]] = tuple
    """Those of its `Auth`, which a path may contain."""

    @property
    def shown_url(self) -> str:
        """The URL as a message may show it: without query, and with secrets masked."""
        return masked(bare_url(self.url), self.secrets_to_mask())

    @property
    def name(self) -> str:
        """The request as a message may name it: method and URL."""
        return f"{self.method.value} {self.shown_url}"

    def __repr__(self) -> str:
        return f"<Request {self.name}>"

    def send(self, client: Any) -> Any:
        """Sends it as it is, on an `aiohttp.ClientSession`: `async with request.send(client) as response`.

        As in 0.6. aiohttp follows redirects and sends the headers along; the methods of `WebAPI` send a credential
        to one origin only.
        """
        body: dict[str, Any] = {"json": self.data} if self.data_is_json else {"data": self.data or None}
        return client.request(self.method.value, self.url, params=self.query_params, headers=self.headers, **body)


_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:+-]{1,40})""", re.IGNORECASE)
_NO_CHARSETS = ("idna", "punycode", "unicode-escape", "raw-unicode-escape")  # Python's own, and slow


@dataclass(slots=True, repr=False)  # not frozen: that doubles the cost of making one
class Reply:
    """A whole reply, read and released. `headers` is case-insensitive; `body` may be bounded."""

    __module__ = "SlyAPI.web"

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = ""

    def __repr__(self) -> str:
        return f"<Reply {self.status} from {bare_url(self.url)}, {len(self.body)} bytes>"

    @property
    def encoding(self) -> str:
        """The text encoding that the Content-Type names, UTF-8 where it names no known one."""
        named = _CHARSET.search(self.headers.get("Content-Type", ""))
        try:
            name = codecs.lookup(named[1]).name if named else "utf-8"
            b"ab".decode(name, "replace")  # refuses codecs that do not decode to text, such as base64
        except (LookupError, ValueError):
            return "utf-8"
        return "utf-8" if name in _NO_CHARSETS else name

    @property
    def challenges(self) -> list[Challenge]:
        """The challenges of its `WWW-Authenticate` headers."""
        return challenges_in(self.headers)

    def text(self) -> str:
        """The body as text, unreadable bytes replaced."""
        return self.body.decode(self.encoding, errors="replace").removeprefix("\ufeff")

    def without(self, secrets: Iterable[str], longest: int = 4096) -> "Reply":
        """The reply as an error may keep it: the secrets masked, the text cut at `longest`, the URL bare."""
        from multidict import CIMultiDict  # a dependency of aiohttp; only errors need it

        secrets = tuple(secrets)
        headers = CIMultiDict((name, masked(value, secrets)) for name, value in self.headers.items())
        text = self.text().replace("\0", "")  # UTF-16 that no header declares
        text = masked(text[: 4 * longest], secrets)
        text = without_half(text, secrets)[:longest]
        return Reply(self.status, headers, text.encode(self.encoding, "replace"), masked(bare_url(self.url), secrets))


_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?")


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """`Retry-After` in seconds, a number (RFC 9110 §10.2.3; some send a fraction) or a date; None where unreadable.

    A date counts from the reply's `Date`; without one from `now` in epoch seconds, which is our own clock's by default.
    """
    value = (headers.get("Retry-After") or headers.get("retry-after") or "").strip()
    if _SECONDS.fullmatch(value):
        return min(float(value[:20]), 999_999_999.0)
    at = _epoch(value)
    if at is None:
        return None
    theirs = _epoch(headers.get("Date") or headers.get("date"))
    return max(0.0, at - (theirs if theirs is not None else wall_clock() if now is None else now))


def _epoch(date: str | None) -> float | None:
    """A date of HTTP in epoch seconds (RFC 9110 §5.6.7); None for what is none."""
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, TypeError, OverflowError):
        return None


NOTICEABLE_SKEW = 60.0
"""Seconds by which a clock has to be off before a refusal is attributed to it."""


def skew(headers: Mapping[str, str], now: float) -> float:
    """Seconds by which the server's `Date` is ahead of `now`; 0 for less than a minute, which may be network delay."""
    theirs = _epoch(headers.get("Date"))
    ahead = 0.0 if theirs is None else theirs - now
    return ahead if abs(ahead) >= NOTICEABLE_SKEW else 0.0
