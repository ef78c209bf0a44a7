"""Assertions of other issuers as grants (RFC 7523 §2.1), such as those of service accounts and workloads.

The rule: only of issuers that `trust_issuer` names, for this provider, now, and once.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..clients.client_auth import LEEWAY, check_assertion_claims
from ..clients.client_policy import checked_scopes
from ..endpoint import Server
from ..ledger.grants import Binding, Client, Grant, Issued, Refused, subject_of
from ..messages import jose
from ..messages.request_reader import required

ID_JAG_TYPE = "oauth-id-jag+jwt"
_LONGEST = 3600.0  # seconds


def exchange_assertion(server: Server, client: Client | None, form: Mapping[str, str], binding: Binding) -> Issued:
    """An access token for an assertion; without a refresh token (RFC 7521 §4.1).

    A request without client authentication is the issuer's own (RFC 7523 §3.1 leaves it open).
    """
    (assertion,) = required(form, "assertion")
    try:
        claims, person = checked_assertion(server, assertion, None if client is None else client.client_id)
    except jose.BadToken as bad:
        raise Refused("invalid_grant", f"assertion: {bad}") from bad
    owner = client or Client(claims["iss"], claims["iss"], None, ())
    limited = claims.get("scope")
    scopes = checked_scopes(server, owner, form.get("scope", limited if isinstance(limited, str) else None))
    if isinstance(limited, str) and not set(scopes) <= set(limited.split(" ")):
        raise Refused("invalid_scope", "a scope is not in the assertion")
    resources = binding.resources or _resources(claims)
    grant = Grant(owner.client_id, scopes, person=person, resources=resources)
    return server.ledger.start(owner, grant, binding, server.clock())


def checked_assertion(server: Server, assertion: str, client_id: str | None) -> tuple[dict[str, Any], str]:
    """Claims and person of an assertion that is good once, here, now; BadToken otherwise (RFC 7523 §3)."""
    header, unverified = jose.read(assertion)
    trusted = server.trusted.get(str(unverified.get("iss")))
    if trusted is None:
        raise jose.BadToken("iss is not an issuer that is trusted here")
    claims = jose.verify(assertion, trusted.keys, jose.ASYMMETRIC)
    audiences = (server.issuer, server.token_url)
    check_assertion_claims(claims, trusted.issuer, audiences, server.clock(), longest=_LONGEST)
    if header.get("typ") == ID_JAG_TYPE and claims.get("client_id") != client_id:
        raise jose.BadToken("client_id is not the client that sends it")
    subject = claims.get("sub")
    if not isinstance(subject, str) or (trusted.subjects is not None and subject not in trusted.subjects):
        raise jose.BadToken("sub is missing, or not a subject of this issuer")
    if "jti" in claims and not server.first_use(f"grant {trusted.issuer} {claims['jti']}", claims["exp"] + LEEWAY):
        raise jose.BadToken("jti was used before")
    people = {subject_of(name): name for name in server.people}
    return claims, people.get(subject, subject)


def _resources(claims: Mapping[str, Any]) -> tuple[str, ...]:
    resource = claims.get("resource", [])
    return (resource,) if isinstance(resource, str) else tuple(str(one) for one in resource)
