"""HTTP messages as plain data: what we ask, what came back, and what JSON is made of. Opens no connection.

The rule: a `Request` prints without its headers, query and body, because they carry the secrets.
"""

import codecs
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum, StrEnum
from html import escape
from typing import Any
from urllib.parse import urlsplit

from . import fast_json
from .errors import ApiError, BadReplyError, ConfigError, printable

__all__ = [
    "ApiError",
    "JsonMap",
    "JsonMapCo",
    "JsonScalar",
    "JsonType",
    "JsonTypeCo",
    "Method",
    "ParamType",
    "ParamsDict",
    "Reply",
    "Request",
    "read_json",
]

# Plain unions, because users of 0.6 walk them at run time (`typing.get_args`).
JsonType = int | float | bool | str | None | list["JsonType"] | dict[str, "JsonType"]
"""What `json.loads` gives."""
JsonTypeCo = int | float | bool | str | None | Sequence["JsonTypeCo"] | Mapping[str, "JsonTypeCo"]
"""What `json.dumps` takes; read-only, so that `list[str]` and a `TypedDict` fit."""
JsonMap = dict[str, JsonType]
"""A JSON object."""
JsonScalar = int | float | bool | str | None
JsonMapCo = Mapping[str, JsonTypeCo]

ParamType = int | float | str | Enum | None | Set["ParamType"] | Sequence["ParamType"]
ParamsDict = Mapping[str, ParamType]
"""Query parameters as a caller writes them; `params.as_query` says what becomes of them."""


FORM = "application/x-www-form-urlencoded"
"""The Content-Type of a form's fields in a body."""
REDIRECTS = (301, 302, 303, 307, 308)
"""Statuses of which a `Location` says where to ask instead (RFC 9110 §15.4)."""


class Method(StrEnum):
    """An HTTP request method (RFC 9110 §9)."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"
    PATCH = "PATCH"

    @classmethod
    def _missing_(cls, value: object) -> "Method | None":
        """Another method, which an aiohttp client may ask with (HEAD, PROPFIND); it has no name here."""
        if not isinstance(value, str) or not value or value != value.upper():
            return None
        other = str.__new__(cls, value)
        other._name_ = other._value_ = value
        return other


@dataclass(slots=True)
class Request:
    """One request before it is sent. An `Auth` may change `query_params`, `headers` and `data`.

    `url` is complete but for `query_params`; `data` is a form (mapping), JSON (when `data_is_json`),
    or text and bytes sent as they are; an empty mapping means no body.
    """

    method: Method
    url: str
    query_params: dict[str, str | int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    data: Any = field(default_factory=dict)
    data_is_json: bool = False

    @property
    def name(self) -> str:
        """The request as a message may name it: method and bare URL."""
        return f"{self.method.value} {bare_url(self.url)}"

    def __repr__(self) -> str:
        return f"<Request {self.name}>"

    def send(self, client: Any) -> Any:
        """Asks with it as it is, on an `aiohttp.ClientSession`: `async with request.send(client) as response`.

        As in 0.6. aiohttp follows redirects and takes headers along; the methods of `WebAPI` keep a credential
        at home.
        """
        body: dict[str, Any] = {"json": self.data} if self.data_is_json else {"data": self.data or None}
        return client.request(self.method.value, self.url, params=self.query_params, headers=self.headers, **body)


_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:+-]{1,40})""", re.IGNORECASE)
_NO_CHARSETS = ("idna", "punycode", "unicode-escape", "raw-unicode-escape")  # Python's own, and slow


@dataclass(slots=True, repr=False)  # not frozen: that doubles the cost of making one
class Reply:
    """A whole reply, read and released. `headers` is case-insensitive; `body` may be bounded."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = ""

    def __repr__(self) -> str:
        return f"<Reply {self.status} from {bare_url(self.url)}, {len(self.body)} bytes>"

    @property
    def encoding(self) -> str:
        """The encoding of text that the Content-Type names, UTF-8 where it names none that is known."""
        named = _CHARSET.search(self.headers.get("Content-Type", ""))
        try:
            name = codecs.lookup(named[1]).name if named else "utf-8"
            b"ab".decode(name, "replace")  # refuses what is no encoding of text, such as base64
        except (LookupError, ValueError):
            return "utf-8"
        return "utf-8" if name in _NO_CHARSETS else name

    def text(self) -> str:
        """The body as text, unreadable bytes replaced."""
        return self.body.decode(self.encoding, errors="replace").removeprefix("\ufeff")

    def without(self, secrets: Iterable[str], longest: int = 4096) -> "Reply":
        """The reply as an error may keep it: the secrets masked, the text cut at `longest`, the URL bare."""
        from multidict import CIMultiDict  # aiohttp's own; not needed before something went wrong

        secrets = tuple(secrets)
        headers = CIMultiDict((name, masked(value, secrets)) for name, value in self.headers.items())
        text = self.text().replace("\0", "")  # UTF-16 that nothing names as such
        text = masked(text[: 4 * longest], secrets)
        text = _without_half(text, secrets)[:longest]
        return Reply(self.status, headers, text.encode(self.encoding, "replace"), bare_url(self.url))


class SecretForm(dict[str, str]):
    """Form fields that carry secrets: prints their names alone, so that no traceback shows a value."""

    def __repr__(self) -> str:
        return f"<SecretForm {', '.join(self)}>"

    def secrets(self, more: Iterable[str] = ()) -> "Secrets":
        """The values that no message may repeat."""
        named = ("code", "code_verifier", "refresh_token", "client_secret", "assertion", "token")
        return Secrets((*(self[name] for name in named if name in self), *more))


class SecretJson(dict[str, Any]):
    """A JSON object that carries secrets: prints its names alone."""

    def __repr__(self) -> str:
        return f"<SecretJson {', '.join(map(str, self))}>"


class Secrets(tuple[str, ...]):
    """Values that no message may repeat; prints none of them."""

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"


def bare_url(url: str) -> str:
    """The URL up to its query, without user information: fit to print.

    >>> bare_url("https://me:pass@api.example/path?key=secret")
    'https://api.example/path'
    """
    url = url.partition("?")[0].partition("#")[0]
    scheme, mark, rest = url.partition("//")
    if not mark:
        return url
    authority, slash, path = rest.partition("/")
    return f"{scheme}//{authority.rpartition('@')[2]}{slash}{path}"


def read_json(body: bytes, request: Request) -> Any:
    """The JSON value in the answer to `request`. Raises `BadReplyError`, which quotes nothing of the body."""
    try:
        return fast_json.loads(body)
    except (ValueError, RecursionError):
        pass
    problem = ""
    try:
        return json.loads(body)  # knows a byte order mark, and UTF-16 and UTF-32 (RFC 4627 §3)
    except UnicodeDecodeError:
        problem = "not text in a known encoding"
    except RecursionError:
        problem = "nested too deeply"
    except ValueError:
        problem = "not JSON, or cut short" if body[:200].strip() else "empty"
        if body[:200].lstrip().startswith(b"<"):
            problem = "HTML or XML, not JSON"
    del body  # so that no traceback shows what a server echoed
    raise _NotJsonError(
        f"{request.name} was answered with a body that is {problem}.",
        next_step="Check the address; if it is right, try again later.",
    )


class _JsonError(json.JSONDecodeError):
    """Of a message alone, without the text that is no JSON."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "", 0)
        self.args = (message,)


class _NotJsonError(BadReplyError, _JsonError):
    """`BadReplyError` as the error of `json` too: programs written for 0.6 catch that one, for want of ours."""

    def __reduce__(self) -> tuple[Any, ...]:
        again, (_, *told) = super().__reduce__()
        return again, (BadReplyError, *told)


_NotJsonError.__module__, _NotJsonError.__qualname__ = BadReplyError.__module__, BadReplyError.__qualname__
_NotJsonError.__name__ = BadReplyError.__name__


def masked(text: str, secrets: Iterable[str]) -> str:
    """`text` with every secret in it replaced by `***`, also where it is written in another encoding.

    Secrets of less than four characters stay: they would be found in every other word. A stranger's text
    is to be cut to some ten thousand characters before: the time grows with their square.
    """
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) < 4:
            continue
        text = text.replace(secret, "***")
        # letters and digits are the same in every spelling; the pattern of a long secret takes a while to make
        if all(part in text for part in _PLAIN.findall(secret)):
            text = re.sub(_spelled(secret), "***", text)
        encoded = b64encode(secret.encode("utf-8", "replace")).decode().rstrip("=")
        text = re.sub(f"{re.escape(encoded)}=*", "***", text) if encoded in text else text
    return text


def _without_half(text: str, secrets: Iterable[str]) -> str:
    """`text` without the beginning of a secret at its end, where a body was cut."""
    for secret in secrets:
        longest = min(len(secret) - 1, len(text))
        halves = (secret[:length] for length in range(longest, 3, -1))
        text = text.removesuffix(next((half for half in halves if text.endswith(half)), ""))
    return text


_PLAIN = re.compile("[A-Za-z0-9_]+")
_LOOSE = r"[\s+\\\x80-\U0010ffff]"
"""What a spelling may have more or less of: spaces, backslashes, characters read in the wrong encoding."""
_PARTS = re.compile(f"{_PLAIN.pattern}|{_LOOSE}+|.")
_MOST_PARTS = 5000
"""No token has more; the pattern of a stranger's would take seconds to make."""


def _spelled(secret: str) -> str:
    """A pattern for the secret as text, URL-encoded, in JSON, in HTML, each once or more.

    Of no part is there a choice how much of a text it takes, so that no text makes the search go back and forth.
    """
    parts = _PARTS.findall(secret)
    if len(parts) > _MOST_PARTS:
        return re.escape(secret)
    return "".join(part if _PLAIN.fullmatch(part) else _spelled_part(part) for part in parts)


def _spelled_part(part: str) -> str:
    """One character that has other spellings, or all at once of a row of those of which there may be more or less."""
    encoded = "|".join(map(_encoded, dict.fromkeys(part)))
    # the longest first, for there is no second choice
    escaped = "|".join(sorted((form for c in dict.fromkeys(part) for form in _escaped(c)), key=len, reverse=True))
    if re.match(_LOOSE, part):
        return rf"(?>{_LOOSE}|(?i:(?<=\\)(?:{escaped})|{encoded})){{1,{8 * len(part) + 8}}}+"
    return rf"(?i:\\{{0,16}}(?:{re.escape(part)}|{escaped})|{encoded})"


_LETTERS = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}


def _escaped(c: str) -> list[str]:
    """Patterns for what stands for a character behind any number of backslashes."""
    utf16 = c.encode("utf-16-be", "surrogatepass").hex()
    forms = [r"\\*".join(f"u{utf16[at : at + 4]}" for at in range(0, len(utf16), 4))]
    if c in _LETTERS:
        forms.append(_LETTERS[c])
    if ord(c) < 0x100:
        forms.append(f"x{ord(c):02x}")
    if ord(c) > 0xFFFF:
        forms.append(f"U{ord(c):08x}")
    return forms


def _encoded(c: str) -> str:
    """A pattern for a character in a URL or in HTML, however many times it was encoded."""
    named = f"{escape(c)[1:-1]}|" if escape(c) != c else ""
    byte = f"{ord(c):02x}" if c.isascii() else "[89a-f][0-9a-f]"  # of UTF-8 or of another encoding
    if c in " +":
        byte = "(?:20|2b)"  # form-encoded, or decoded once too often
    return rf"%(?:25)*{byte}|&(?:amp;)*(?:{named}#0*{ord(c)}|#x0*{ord(c):x});"


def is_loopback_uri(uri: str) -> bool:
    """Whether the URI is http on this machine's loopback interface (RFC 8252 §7.3)."""
    try:
        parts = urlsplit(uri)
        return parts.scheme == "http" and (parts.hostname or "") in ("localhost", "127.0.0.1", "::1")
    except ValueError:
        return False


def check_endpoint(uri: str, name: str, *, allow_http: bool = False) -> str:
    """`uri` if secrets may go there: https, or http on loopback, or any http by `allow_http`.

    Raises `ConfigError` for other schemes (`file:`, `javascript:`), for spaces, and for what a command
    line would take for a flag.
    """
    try:
        parts = urlsplit(uri)
        sound = parts.hostname and parts.port != 0 and not parts.username and uri.isprintable() and " " not in uri
    except ValueError:
        parts, sound = urlsplit(""), False
    if not sound or parts.scheme not in ("http", "https") or "\\" in uri:
        # not quoted: what stands in the wrong line of a client file may be its secret
        raise ConfigError(f"{name} is no https URL.", next_step="Copy it from the provider's documentation.")
    if parts.scheme == "http" and not is_loopback_uri(uri) and not allow_http:
        raise ConfigError(
            f"{name} is plain http, and secrets would go unprotected to {printable(parts.hostname, 100)}.",
            next_step="Use https, or OAuth2App(..., allow_http=True) in a network you trust.",
        )
    return uri


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """`Retry-After` in seconds, in both forms (RFC 9110 §10.2.3); None where absent or unreadable."""
    told = headers.get("Retry-After") or headers.get("retry-after")
    if not told:
        return None
    if told.strip().isdecimal():
        return float(told.strip()[:9])
    try:
        at = parsedate_to_datetime(told).timestamp()
        start = parsedate_to_datetime(headers["Date"]).timestamp() if now is None else now
    except (ValueError, TypeError, KeyError, OverflowError):
        return None
    return max(0.0, at - start)


_SMALLEST_SKEW = 60.0


def skew(headers: Mapping[str, str], now: float) -> float:
    """Seconds by which the server's `Date` is ahead of `now`; 0 for less than a minute, which may be the network's."""
    try:
        ahead = parsedate_to_datetime(headers["Date"]).timestamp() - now
    except (KeyError, ValueError, TypeError, OverflowError):
        return 0.0
    return ahead if abs(ahead) >= _SMALLEST_SKEW else 0.0
