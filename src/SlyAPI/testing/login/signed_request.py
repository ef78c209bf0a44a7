"""Authorization requests as signed JWTs (RFC 9101): verified by the client's keys before anything in them counts.

The rule: of the parameters outside the JWT only `client_id` counts, and it is the one inside.
"""
from __future__ import annotations

from typing import Any

from ..clients.client_auth import check_assertion_claims, client_keys
from ..endpoint import Server
from ..ledger.grants import Client
from ..messages import jose
from ..messages.fetching import FetchFailed
from ..messages.request_reader import Pairs, collected

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
