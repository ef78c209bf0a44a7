"""What a client sends, read strictly: query and form parameters, JSON bodies, redirect URIs, scopes, verifiers.

The rule: whatever is doubtful is refused with its reason; nothing is decided here.
"""
from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from ..ledger.grants import Refused

Pairs = list[tuple[str, str]]
REPEATABLE = ("resource", "audience")

_LOOPBACK = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]|localhost)):([1-9][0-9]{0,4})(|[/?].*)")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def query_of(request: web.Request) -> str:
    """The query as it came, not decoded yet."""
    return request.raw_path.partition("?")[2]


def read_pairs(encoded: str) -> Pairs:
    """Form-encoded text as pairs; one without a value counts as absent (RFC 6749 §3.1)."""
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError as error:
        raise Refused("invalid_request", "the parameters are not form-encoded UTF-8") from error
    return [(name, value) for name, value in pairs if value]


def repeated(pairs: Pairs) -> list[str]:
    """The names that occur more than once (RFC 6749 §3.1 and §3.2 forbid it; RFC 8707 §2 and 8693 §2.1 do not)."""
    counted = Counter(name for name, _ in pairs if name not in REPEATABLE)
    return [name for name, count in counted.items() if count > 1]


def collected(pairs: Pairs) -> dict[str, str]:
    """The parameters by name; the values of a repeatable one are joined by a space, which none of them contains."""
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in REPEATABLE:
            if any(c.isspace() for c in value):
                raise Refused("invalid_target", f"{name} contains a space")
            value = f"{values[name]} {value}" if name in values else value
        values[name] = value
    return values


async def read_form(request: web.Request) -> dict[str, str]:
    """The parameters of a POST, each once, none of them in the URL (RFC 6749 §3.2)."""
    if query_of(request):
        raise Refused("invalid_request", "parameters belong in the body, never in the URL")
    if request.content_type != "application/x-www-form-urlencoded":
        raise Refused("invalid_request", "the body must be application/x-www-form-urlencoded")
    pairs = read_pairs((await request.read()).decode("ascii", "replace"))
    if repeated(pairs):
        raise Refused("invalid_request", "a parameter is repeated")
    return collected(pairs)


async def read_object(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body of a request."""
    if request.content_type != "application/json":
        raise Refused("invalid_client_metadata", "the body must be application/json")
    try:
        document = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise Refused("invalid_client_metadata", "the body is not JSON") from error
    if not isinstance(document, dict):
        raise Refused("invalid_client_metadata", "the body is not a JSON object")
    return document


def required(form: Mapping[str, str], *names: str) -> list[str]:
    """The values of these parameters, all of which have to be there."""
    missing = [name for name in names if name not in form]
    if missing:
        raise Refused("invalid_request", f"missing: {', '.join(missing)}")
    return [form[name] for name in names]


def answered_by_our_page(request: web.Request, origin: str) -> bool:
    """Whether a form comes from our own page; another site must not answer for the person (CSRF)."""
    return (
        request.headers.get("Origin", origin) == origin
        and request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
    )


def checked_redirect_uri(uri: str) -> str:
    """The URI as it came, if it can be registered: absolute and without fragment (RFC 6749 §3.1.2)."""
    parts = urlsplit(uri)
    if not parts.scheme or "#" in uri or any(c.isspace() for c in uri):
        raise ValueError(f"not a redirect_uri: {uri!r}; it is absolute and has no fragment")
    return uri


def redirect_uri_allowed(uri: str, registered: Collection[str]) -> bool:
    """Whether a client may be answered there: as registered, or a loopback URI with any port (RFC 8252 §7.3)."""
    if uri in registered:
        return True
    loopback = _LOOPBACK.fullmatch(uri)
    return loopback is not None and int(loopback[2]) < 65536 and loopback[1] + loopback[3] in registered


def read_scope(text: str) -> tuple[str, ...]:
    """Scope names, each once, in their order; one space between them (RFC 6749 §3.3)."""
    return tuple(dict.fromkeys(text.split(" ")))


def read_verifier(text: str) -> str:
    """A code_verifier as it came, if it is one: 43 to 128 unreserved characters (RFC 7636 §4.1)."""
    if not _VERIFIER.fullmatch(text):
        raise Refused("invalid_request", "code_verifier must be 43 to 128 unreserved characters")
    return text
