"""What a client sends, read strictly: query and form parameters, its credentials, its authorization request.

The rule: whatever is doubtful is refused, and it is said why; nothing is decided here.
"""
from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from aiohttp import web

from .grants import AuthorizationRequest, Client, Refused

Pairs = list[tuple[str, str]]
AuthMethod = Literal["basic", "post", "none"]
BASIC_CHALLENGE = 'Basic realm="practice", charset="UTF-8"'

_LOOPBACK = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]|localhost)):([1-9][0-9]{0,4})(|[/?].*)")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NEVER_IN_A_URL = ("client_secret", "code_verifier", "access_token", "refresh_token")


class ShowPage(Exception):
    """The person must be told here: the request names no client or redirect_uri that can be trusted."""


class SendBack(Exception):
    """An error that goes back to the client by redirect (RFC 6749 §4.1.2.1)."""

    def __init__(self, redirect_uri: str, state: str | None, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.redirect_uri = redirect_uri
        self.state = state
        self.error = error
        self.description = description


@dataclass(frozen=True)
class Credentials:
    """How a client said who it is at the token endpoint."""

    client_id: str
    secret: str
    method: AuthMethod


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
    """The names that occur more than once (RFC 6749 §3.1 and §3.2 forbid it)."""
    return [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]


async def read_form(request: web.Request) -> dict[str, str]:
    """The parameters of a POST, each once, none of them in the URL (RFC 6749 §3.2)."""
    if query_of(request):
        raise Refused("invalid_request", "parameters belong in the body, never in the URL")
    if request.content_type != "application/x-www-form-urlencoded":
        raise Refused("invalid_request", "the body must be application/x-www-form-urlencoded")
    pairs = read_pairs((await request.read()).decode("ascii", "replace"))
    if repeated(pairs):
        raise Refused("invalid_request", "a parameter is repeated")
    return dict(pairs)


def read_credentials(authorization: Sequence[str], form: Mapping[str, str]) -> Credentials:
    """Who asks, by which of the ways of RFC 6749 §2.3.1; two at once are refused (§2.3)."""
    client_id, secret = form.get("client_id", ""), form.get("client_secret")
    if not authorization:
        return Credentials(client_id, secret or "", "none" if secret is None else "post")
    if len(authorization) > 1 or secret is not None:
        raise Refused("invalid_request", "the client authenticates in two ways at once")
    basic_id, basic_secret = _read_basic(authorization[0])
    if client_id and client_id != basic_id:
        raise Refused("invalid_request", "client_id in the form differs from the one in the header")
    return Credentials(basic_id, basic_secret, "basic")


def _read_basic(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError(scheme)
        plain = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
        client_id, colon, secret = plain.partition(":")
        if not colon or _BAD_PERCENT.search(plain):
            raise ValueError("no colon, or not form-encoded")
        # RFC 6749 §2.3.1: id and secret were each form-encoded before they were joined
        return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except (ValueError, binascii.Error) as error:
        description = "the Authorization header is not well-formed Basic"
        raise Refused("invalid_client", description, 401, BASIC_CHALLENGE) from error


def checked_redirect_uri(uri: str) -> str:
    """The URI as it came, if it can be registered: absolute and without fragment (RFC 6749 §3.1.2)."""
    parts = urlsplit(uri)
    if not parts.scheme or "#" in uri or any(c.isspace() for c in uri):
        raise ValueError(f"not a redirect_uri: {uri!r}; it is absolute and has no fragment")
    return uri


def redirect_uri_allowed(uri: str, registered: Collection[str]) -> bool:
    """Whether a client may be answered there: exactly as registered, but any port where a loopback has none.

    RFC 8252 §7.3 wants that for loopback addresses; for `localhost` it is what providers do too.
    """
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


def read_authorization_request(pairs: Pairs, clients: Mapping[str, Client], scopes: Collection[str]) -> AuthorizationRequest:
    """Check an authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3).

    Client and redirect_uri come first: before they are known to be good, nothing is redirected anywhere.
    Raises ShowPage, later SendBack.
    """
    twice = repeated(pairs)
    values = dict(pairs)
    client = None if "client_id" in twice else clients.get(values.get("client_id", ""))
    if client is None:
        raise ShowPage("The app that sent you here is not known to this provider (client_id).")
    redirect_uri = values.get("redirect_uri", "")
    if "redirect_uri" in twice or not redirect_uri_allowed(redirect_uri, client.redirect_uris):
        raise ShowPage(
            "The app wants the answer at an address that is not registered for it (redirect_uri). "
            "Both must be the same, character for character."
        )
    state = None if "state" in twice else values.get("state")
    wrong = _what_is_wrong(values, twice, scopes)
    if wrong is not None:
        raise SendBack(redirect_uri, state, *wrong)
    return AuthorizationRequest(
        client.client_id, redirect_uri, state, read_scope(values["scope"]), values["code_challenge"]
    )


def _what_is_wrong(
    values: Mapping[str, str], twice: Collection[str], scopes: Collection[str]
) -> tuple[str, str] | None:
    """The first rule that the request breaks, as error and description."""
    if twice:
        return "invalid_request", "a parameter is repeated"
    if any(name in values for name in _NEVER_IN_A_URL):
        return "invalid_request", "a secret was sent in the URL; it must be replaced"
    if "response_type" not in values:
        return "invalid_request", "response_type is missing"
    if values["response_type"] != "code":
        return "unsupported_response_type", "only response_type=code is supported"
    if values.get("response_mode", "query") != "query":
        return "invalid_request", "only response_mode=query is supported"
    if "code_challenge" not in values:
        return "invalid_request", "code_challenge is missing: PKCE is required"
    if values.get("code_challenge_method") != "S256":
        return "invalid_request", "code_challenge_method must be S256"
    if not _CHALLENGE.fullmatch(values["code_challenge"]):
        return "invalid_request", "code_challenge is not a SHA-256 in base64url"
    if "scope" not in values:
        return "invalid_scope", "scope is missing"
    if not set(read_scope(values["scope"])) <= set(scopes):
        return "invalid_scope", "a scope is not known to this provider"
    return None
