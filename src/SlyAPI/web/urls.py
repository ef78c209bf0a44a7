"""URLs as text: which part may be printed, where secrets may be sent, and the parameters of a redirect.

The rule: text in, text out; an error quotes nothing that may be secret.
"""

import re
from collections.abc import Container, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ..errors import ConfigError, printable

if TYPE_CHECKING:
    from yarl import URL


def bare_url(url: str) -> str:
    """The URL up to its query, without user information: safe to print.

    >>> bare_url("https://me:pass@api.example/path?key=secret")
    'https://api.example/path'
    """
    url = url.partition("?")[0].partition("#")[0]
    scheme, mark, rest = url.partition("//")
    if not mark:
        return url
    authority, slash, path = rest.partition("/")
    return f"{scheme}//{authority.rpartition('@')[2]}{slash}{path}"


def parsed_url(url: str) -> "URL":
    """The URL as aiohttp reads it. Raises `ValueError`."""
    from yarl import URL  # aiohttp's own

    try:
        return URL(url)
    except IndexError as error:  # yarl 1.25 for an empty host between brackets and an "@"
        raise ValueError("not a URL") from error


_HOST = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?|[0-9A-Fa-f]*:.*")
"""What can be looked up: a name's labels (RFC 1035 §2.3.4), or an IPv6 address, which yarl has checked."""


def whole_url(url: str, base: str = "") -> "URL | None":
    """The http or https URL of a server that text names, relative to `base`, as aiohttp reads it; None for other text.

    Whatever URL a server or a setting names is read by this, or by `check_endpoint`.
    """
    try:
        read = parsed_url(base).join(parsed_url(url)) if base else parsed_url(url)
        sound = read.scheme in ("http", "https") and "\\" not in url and _HOST.fullmatch(read.raw_host or "")
    except ValueError:
        return None
    return read if sound else None


def url_origin(url: str, base: str = "") -> str:
    """Scheme, host and port of an http or https URL, relative to `base`; empty for text that names none.

    >>> url_origin("/notes?page=2", "https://api.example/v1")
    'https://api.example'
    """
    read = whole_url(url, base)
    return "" if read is None else str(read.origin())


_WHOLE = re.compile(r"(?:[A-Za-z0-9!$&'()*+,;=:@/?._~\[\]-]|%[0-9A-Fa-f]{2})+")


def as_sent(url: str) -> "str | URL":
    """The URL with its escapes as they are, where it is whole; aiohttp would decode some, such as `%2F` in a query."""
    if "%" not in url or ".." in url or not _WHOLE.fullmatch(url):
        return url
    from yarl import URL

    return URL(url, encoded=True)


def is_loopback_uri(uri: str) -> bool:
    """Whether the URI is http on this machine's loopback interface (RFC 8252 §7.3)."""
    try:
        parts = urlsplit(uri)
        return parts.scheme == "http" and (parts.hostname or "") in ("localhost", "127.0.0.1", "::1")
    except ValueError:
        return False


def is_https_or_loopback(uri: str) -> bool:
    """Whether what is sent to the URI is protected on its way, or does not leave this machine."""
    return uri.lower().startswith("https://") or is_loopback_uri(uri)


@lru_cache(maxsize=1024)
def check_endpoint(uri: str, name: str, *, allow_http: bool = False) -> str:
    """`uri` if secrets may be sent there: https, or http on loopback, or any http with `allow_http`.

    Raises `ConfigError` for other schemes (`file:`, `javascript:`), for spaces, and for text that a command
    line would read as an option.
    """
    try:
        parts = urlsplit(uri)
        sound = parts.port != 0 and "@" not in parts.netloc and uri.isprintable() and " " not in uri
    except ValueError:
        parts, sound = urlsplit(""), False
    if not sound or parts.scheme not in ("http", "https") or whole_url(uri) is None:
        # not quoted: a value in the wrong line of a client file may be its secret
        raise ConfigError(f"{name} is not an https URL.", next_step="Copy it from the provider's documentation.")
    if "#" in uri:
        raise ConfigError(f"{name} has a fragment (RFC 6749 §3.1).", next_step="Remove the # and what follows it.")
    if parts.scheme == "http" and not is_loopback_uri(uri) and not allow_http:
        raise ConfigError(
            f"{name} is plain http, so secrets would be sent unprotected to {printable(parts.hostname, 100)}.",
            next_step="Use https, or OAuth2App(..., allow_http=True) in a network you trust.",
        )
    return uri


def with_parameters(uri: str, pairs: Iterable[tuple[str, str]], replaced: Container[str] = ()) -> str:
    """The URI with parameters after its own, without those of its own that are `replaced`. Raises `ConfigError`."""
    parts = urlsplit(uri)
    own = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in replaced]
    try:
        return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode([*own, *pairs]), ""))
    except UnicodeEncodeError:
        pass  # raised below: the codec's error, which holds the text, must not be its context
    raise ConfigError("A parameter of the authorization URL contains an unpaired surrogate (U+D800 to U+DFFF).")


# An address up to its query. A query alone may contain `://` and `?` too: Google's has the scopes as they are.
_ADDRESS = r"(?:[A-Za-z][A-Za-z0-9+.-]*:|/)[^?]*\?|[^=?]*\?"


def redirect_pairs(query: str) -> list[tuple[str, str]]:
    """Names and values in a redirect's query, given as the query or as the whole address; empty for other text."""
    text = query.strip().partition("#")[0]
    if address := re.match(_ADDRESS, text):
        text = text[address.end() :]
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=64)
    except ValueError:
        return []
