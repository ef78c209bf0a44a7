"""An authorization request, plain or as a signed JWT: compared with what provider and client allow.

The rule: pure functions; client and redirect_uri come before everything else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from ..clients.client_auth import check_assertion_claims, client_keys
from ..clients.client_policy import may_use, resource_error, scopes_of
from ..endpoint import Server
from ..features import AUTHORIZATION_CODE
from ..ledger.grants import AuthorizationRequest, Client
from ..messages import jose
from ..messages.fetching import FetchFailed
from ..messages.request_reader import Pairs, collected, read_scope, redirect_uri_allowed, repeated

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_SECONDS = re.compile(r"[0-9]{1,9}")
_PROMPTS = {"none", "login", "consent", "select_account"}
_NEVER_IN_A_URL = ("client_secret", "code_verifier", "access_token", "refresh_token", "client_assertion")


class ShowPage(Exception):
    """A refusal that the person sees on a page: the client or its redirect_uri cannot be trusted."""


class SendBack(Exception):
    """An error that goes back to the client by redirect (RFC 6749 §4.1.2.1)."""

    def __init__(
        self, redirect_uri: str, state: str | None, error: str, description: str, signed_for: str = ""
    ) -> None:
        super().__init__(f"{error}: {description}")
        self.signed_for = signed_for  # the client to which a signed response goes (JARM)
        self.redirect_uri = redirect_uri
        self.state = state
        self.error = error
        self.description = description


def read_authorization_request(
    pairs: Pairs, clients: Mapping[str, Client], scopes: Collection[str], modes: Collection[str] = ("query",)
) -> AuthorizationRequest:
    """Check a request (RFC 6749 §4.1.1, RFC 7636 §4.3), client and redirect_uri first. ShowPage, later SendBack."""
    twice = repeated(pairs)
    values = collected(pairs)
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
    mode = values.get("response_mode", "query")
    wrong = _what_is_wrong(values, twice, scopes)
    if wrong is None and mode not in modes:
        wrong = "invalid_request", f"response_mode may be {' or '.join(modes)}"
    if wrong is not None:
        raise SendBack(redirect_uri, state, *wrong, client.client_id if mode in modes and mode != "query" else "")
    return AuthorizationRequest(
        client.client_id,
        redirect_uri,
        state,
        read_scope(values["scope"]),
        values["code_challenge"],
        values.get("nonce", ""),
        tuple(values.get("resource", "").split()),
        values.get("dpop_jkt", ""),
        tuple(values.get("acr_values", "").split()),
        int(values["max_age"]) if "max_age" in values else None,
        tuple(values.get("prompt", "").split()),
        values.get("login_hint", ""),
        mode,
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
    return _what_is_wrong_for_openid(values)


def _what_is_wrong_for_openid(values: Mapping[str, str]) -> tuple[str, str] | None:
    """The rules of OpenID Connect Core §3.1.2.1 and §6, RFC 9449 §10."""
    if "request" in values:
        return "request_not_supported", "request objects are not supported"
    if "request_uri" in values:
        return "invalid_request_uri", "request_uri names no pushed request"
    prompt = values.get("prompt", "").split()
    if not set(prompt) <= _PROMPTS or ("none" in prompt and len(prompt) > 1):
        return "invalid_request", "prompt is none, or some of login, consent and select_account"
    if not _SECONDS.fullmatch(values.get("max_age", "0")):
        return "invalid_request", "max_age is a number of seconds"
    if not _CHALLENGE.fullmatch(values.get("dpop_jkt", "c" * 43)):
        return "invalid_request", "dpop_jkt is not a SHA-256 in base64url"
    return None


def policy_error(
    server: Server, client: Client, wanted: AuthorizationRequest, *, pushed: bool
) -> tuple[str, str] | None:
    """The first rule of this provider, or of this client's registration, that the request breaks."""
    if not may_use(server, client, AUTHORIZATION_CODE):
        return "unauthorized_client", "this client may not use authorization codes"
    if not pushed and (server.require_par or client.metadata.get("require_pushed_authorization_requests")):
        return "invalid_request", "the request has to be pushed (RFC 9126)"
    if not set(wanted.scopes) <= set(scopes_of(server, client)):
        return "invalid_scope", "a scope is not among those that the client registered"
    wrong = resource_error(server, wanted.resources)
    return ("invalid_target", wrong) if wrong else None


TYP = "oauth-authz-req+jwt"
_LONGEST = 3600.0  # seconds (FAPI 2.0 Message Signing §5.3.1)
_REGISTERED = ("iss", "aud", "exp", "nbf", "iat", "jti", "sub")


class BadRequestObject(Exception):
    """A request object that cannot be accepted, or that is missing, and why."""


async def opened(server: Server, client: Client, pairs: Pairs) -> Pairs:
    """The parameters of the request, those in the JWT where there is one; BadRequestObject for a bad one."""
    token = collected(pairs).get("request")
    required = server.signed_requests == "required" or client.metadata.get("require_signed_request_object")
    if token is None or server.signed_requests == "off":
        if required:
            raise BadRequestObject("the request has to be a signed JWT (RFC 9101)")
        return pairs
    algorithm = client.metadata.get("request_object_signing_alg")
    try:
        keys = await client_keys(client)
        claims = jose.verify(token, keys, (algorithm,) if algorithm else jose.ASYMMETRIC, TYP)
        check_assertion_claims(claims, client.client_id, (server.issuer,), server.clock(), longest=_LONGEST)
    except (jose.BadToken, FetchFailed) as bad:
        raise BadRequestObject(f"the request object: {bad}") from bad
    if claims.get("client_id") != client.client_id or "request" in claims or "request_uri" in claims:
        raise BadRequestObject("the request object is of another client, or has a request in it")
    return [pair for name, value in claims.items() if name not in _REGISTERED for pair in _pairs(name, value)]


def _pairs(name: str, value: Any) -> Pairs:
    """The claim as parameters: one for each member of a list, numbers as text (RFC 9101 §4)."""
    values = value if isinstance(value, list) else [value]
    return [(name, str(each)) for each in values]
