"""RFC 9101 (JAR): an authorization request as a signed JWT, by value in the URL or in a pushed request. Pure.

The rule: the JWT contains all that the plain request would; the URL adds only what names the client.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...web.urls import with_parameters
from .client_assertion import BACKDATED, statement

TYP = "oauth-authz-req+jwt"
"""The type that keeps a request object from being taken for another JWT (RFC 9101 §10.8)."""
LIFETIME = 540
"""Seconds from now until a request ends: a person opens it, and a provider may read it again after the login."""
_JSON = ("claims", "authorization_details")
"""Parameters whose values are JSON, which stands in the JWT as it is (OpenID Connect Core §6.1, RFC 9396 §2)."""


def request_claims(
    parameters: Mapping[str, str], resources: Sequence[str], *, client_id: str, issuer: str, now: float
) -> dict[str, Any]:
    """The claims of a request object (RFC 9101 §4); `now` in epoch seconds by the server's clock."""
    named: dict[str, Any] = {name: _value(name, text) for name, text in parameters.items()}
    if resources:
        named["resource"] = resources[0] if len(resources) == 1 else list(resources)
    said = statement(client_id, issuer, now=now, lifetime=LIFETIME, issued_ago=BACKDATED)
    return {**named, "client_id": client_id, **said}


def _value(name: str, text: str) -> Any:
    """RFC 9101 §4: numbers and JSON are not written as text."""
    if name == "max_age" and text.isascii() and text.isdecimal():
        return int(text)
    if name in _JSON:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def signed_url(auth_uri: str, parameters: Mapping[str, str], client_id: str, request: str) -> str:
    """The address to open (RFC 9101 §5.1), `response_type` and `scope` repeated for OpenID Connect Core §6.1."""
    repeated = [(name, parameters[name]) for name in ("response_type", "scope") if name in parameters]
    return with_parameters(auth_uri, [("client_id", client_id), *repeated, ("request", request)])
