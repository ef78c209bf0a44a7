"""How the API knows its callers: the access token of a request, and the challenge where it is refused.

The rule: RFC 6750 and RFC 9449 to the letter; a token counts in the Authorization header and nowhere else.
"""
from __future__ import annotations

import re

from aiohttp import web

from .endpoint import Seen, Server
from .ledger.grants import AccessToken, Grant, Refused
from .messages.request_reader import collected, query_of, read_pairs
from .tokens.dpop import ALGORITHMS, proof_key

STRONG = "urn:practice:strong"
_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


def authorized(server: Server, request: web.Request, seen: Seen, scope: str) -> AccessToken:
    """The token of a request, valid now, here and for this scope (empty: any); RFC 6750 §3.1 names the errors."""
    seen.parameters = collected(read_pairs(query_of(request)))
    scheme, text = _read_token(server, request, seen, scope)
    token = _known(server, text)
    if token is None:
        raise _refused(server, scheme, "invalid_token", "the access token is expired, revoked or unknown", 401)
    if token.jkt != _key(server, request, scheme, text):
        raise _refused(server, scheme, "invalid_token", "the access token is bound to another key", 401)
    if not _is_for(server, token, request):
        raise _refused(server, scheme, "invalid_token", "the access token is for another resource", 401)
    if scope and scope not in token.scopes:
        description = f"this needs the scope {scope}"
        raise _refused(server, scheme, "insufficient_scope", description, 403, f', scope="{scope}"')
    return token


def check_authentication(server: Server, token: AccessToken, acr: str, max_age: int) -> None:
    """Refuse a token whose person signed in too weakly, or more than `max_age` seconds ago (RFC 9470 §3)."""
    grant = grant_of(server, token)
    scheme = "DPoP" if token.jkt else "Bearer"
    if grant.acr != acr or server.clock() - grant.authenticated_at > max_age:
        wanted = f', acr_values="{acr}", max_age="{max_age}"'
        description = "this needs a stronger or more recent sign-in"
        raise _refused(server, scheme, "insufficient_user_authentication", description, 401, wanted)


def grant_of(server: Server, token: AccessToken) -> Grant:
    """The grant that a token belongs to."""
    ledgers = [server.ledger, *(issuer.ledger for issuer in server.token_issuers)]
    return next(ledger.grants[token.grant_id] for ledger in ledgers if token.grant_id in ledger.grants)


def metadata_place(server: Server) -> str:
    """Where the API's metadata are (RFC 9728 §3.1): the well-known place with the resource's path inserted."""
    path = "" if server.resource_metadata == "root" else "/api"
    return f"{server.origin}/.well-known/oauth-protected-resource{path}"


def _read_token(server: Server, request: web.Request, seen: Seen, scope: str) -> tuple[str, str]:
    """Scheme and text of the access token (RFC 6750 §2.1, RFC 9449 §7.1); one in the URL is refused (§5.3)."""
    if "access_token" in seen.parameters:
        description = "an access token belongs in the header, never in the URL"
        raise _refused(server, "Bearer", "invalid_request", description)
    headers = request.headers.getall("Authorization", [])
    if not headers:
        # RFC 6750 §3.1: no error code for a request that showed no token
        raise Refused("missing_token", "an access token is needed", 401, _first_challenge(server, scope))
    # RFC 9110 §11.1 ignores the case of a scheme, but servers that take only this spelling exist
    scheme, _, token = headers[0].partition(" ")
    if len(headers) > 1 or scheme not in _schemes(server) or not _B64TOKEN.fullmatch(token):
        description = f"one Authorization header is expected: {' or '.join(_schemes(server))} and the token"
        raise _refused(server, _schemes(server)[0], "invalid_request", description)
    return scheme, token


def _known(server: Server, text: str) -> AccessToken | None:
    """The token of this text, if it is valid now, of this provider or another one whose tokens the API takes."""
    found = [issuer.ledger.access(text, server.clock()) for issuer in (server, *server.token_issuers)]
    return next((token for token in found if token is not None), None)


def _schemes(server: Server) -> tuple[str, ...]:
    return {"off": ("Bearer",), "allowed": ("Bearer", "DPoP"), "required": ("DPoP",)}[server.dpop]


def _key(server: Server, request: web.Request, scheme: str, token: str) -> str:
    """The thumbprint of the caller's key; empty for the scheme Bearer (RFC 9449 §7.2: a bound token is refused)."""
    if scheme != "DPoP":
        return ""
    try:
        key = proof_key(server, request, token)
    except Refused as refused:
        raise _refused(server, scheme, refused.error, refused.description, 401) from refused
    if not key:
        raise _refused(server, scheme, "invalid_dpop_proof", "a DPoP proof is needed", 401)
    return key


def _is_for(server: Server, token: AccessToken, request: web.Request) -> bool:
    """Whether a token that names resources names this URL, or one above it (RFC 8707 §2); userinfo takes any."""
    if not token.resources or not request.path.startswith("/api/"):
        return True
    url = server.origin + request.path
    return any(url == resource or url.startswith(resource.rstrip("/") + "/") for resource in token.resources)


def _first_challenge(server: Server, scope: str) -> str:
    more = f', scope="{scope}"' if scope and server.resource_metadata != "off" else ""
    return ", ".join(_challenge(server, scheme, more) for scheme in _schemes(server))


def _refused(
    server: Server, scheme: str, error: str, description: str, status: int = 400, more: str = ""
) -> Refused:
    """A refusal with its challenge (RFC 6750 §3)."""
    parameters = f', error="{error}", error_description="{description}"'
    return Refused(error, description, status, _challenge(server, scheme, parameters, more))


def _challenge(server: Server, scheme: str, parameters: str, more: str = "") -> str:
    algorithms = f', algs="{" ".join(ALGORITHMS)}"' if scheme == "DPoP" else ""
    place = f', resource_metadata="{metadata_place(server)}"' if server.resource_metadata == "challenge" else ""
    return f'{scheme} realm="practice"{parameters}{algorithms}{place}{more}'
