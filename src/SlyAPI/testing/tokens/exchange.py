"""Tokens for tokens of others: token exchange (RFC 8693), and assertions as grants (RFC 7523 §2.1).

The rule: the new token never lasts longer than its subject's, nor has more scopes.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..clients.client_auth import LEEWAY, check_assertion_claims
from ..clients.client_policy import checked_scopes
from ..endpoint import Server
from ..ledger.grants import Binding, Client, Grant, Issued, Refused, digest, subject_of
from ..messages import jose
from ..messages.request_reader import required
from ..tokens import identity

_TYPE = "urn:ietf:params:oauth:token-type:"
ACCESS_TOKEN, REFRESH, ID_TOKEN, JWT, ID_JAG = (
    _TYPE + name for name in ("access_token", "refresh_token", "id_token", "jwt", "id-jag")
)
_ID_JAG_LIFETIME = 300


@dataclass(frozen=True)
class _Subject:
    """The person of a token, its scopes (None: those of the client), and its end (epoch seconds)."""

    person: str
    scopes: tuple[str, ...] | None
    expires_at: float
    resources: tuple[str, ...] = ()


def exchange_token(server: Server, client: Client, form: Mapping[str, str], binding: Binding) -> Issued:
    """The token that RFC 8693 §2.2 describes; Refused with the codes of §2.2.2."""
    token, token_type = required(form, "subject_token", "subject_token_type")
    if ("actor_token" in form) != ("actor_token_type" in form):
        raise Refused("invalid_request", "actor_token and actor_token_type belong together")
    subject = _subject(server, client, token, token_type)
    actor = ""
    if "actor_token" in form:
        actor = subject_of(_subject(server, client, form["actor_token"], form["actor_token_type"]).person)
    scopes = _scopes(server, client, subject, form.get("scope"))
    requested = form.get("requested_token_type", ACCESS_TOKEN)
    if requested == ID_JAG:
        return _id_jag(server, client, form, subject, scopes)
    if requested != ACCESS_TOKEN:
        raise Refused("invalid_request", "requested_token_type is not supported")
    known = (*server.resources, *server.ledger.clients, server.api_url, server.origin)
    audiences = tuple(form.get("audience", "").split())
    if not set(audiences) <= set(known):
        raise Refused("invalid_target", "the audience is unknown to this provider")
    resources = (*binding.resources, *(name for name in audiences if name not in binding.resources))
    if subject.resources and not set(binding.resources) <= set(subject.resources):
        raise Refused("invalid_target", "the subject's token is for another resource")
    grant = Grant(client.client_id, scopes, person=subject.person, resources=resources, actor=actor)
    binding = replace(binding, resources=resources)
    now = server.clock()
    issued = server.ledger.start(client, grant, binding, now, lifetime=subject.expires_at - now)
    return replace(issued, extra={"issued_token_type": ACCESS_TOKEN})


def _subject(server: Server, client: Client, token: str, token_type: str) -> _Subject:
    """The person of a token; a token that is not accepted is an invalid_request (RFC 8693 §2.2.2)."""
    now = server.clock()
    if token_type == ACCESS_TOKEN:
        access = server.ledger.access(token, now)
        if access is not None:
            person = server.ledger.grants[access.grant_id].person
            return _Subject(person, access.scopes, access.expires_at, access.resources)
    elif token_type == REFRESH:
        known = server.ledger.refresh_tokens.get(digest(token))
        grant = None if known is None else server.ledger.grants[known.grant_id]
        if known and grant and grant.client_id == client.client_id and not grant.ended and known.state == "live":
            return _Subject(grant.person, grant.scopes, known.expires_at or float("inf"), grant.resources)
    elif token_type == ID_TOKEN and server.openid:
        person, expires_at = identity.person_of(server, token, client.client_id)
        if person:
            return _Subject(person, None, expires_at)
    elif token_type == JWT:
        try:
            claims, person = checked_assertion(server, token, client.client_id)
        except jose.BadToken as bad:
            raise Refused("invalid_request", f"the token: {bad}") from bad
        return _Subject(person, None, claims["exp"])
    else:
        raise Refused("invalid_request", "the token type is not supported")
    raise Refused("invalid_request", "the token is expired, revoked, unknown or another client's")


def _scopes(server: Server, client: Client, subject: _Subject, scope: str | None) -> tuple[str, ...]:
    if subject.scopes is None:
        return checked_scopes(server, client, scope)
    if scope is None:
        return tuple(name for name in subject.scopes if name not in ("openid", "offline_access"))
    wanted = tuple(dict.fromkeys(scope.split(" ")))
    if not set(wanted) <= set(subject.scopes):
        raise Refused("invalid_scope", "the subject's token does not have this scope")
    return wanted


def _id_jag(
    server: Server, client: Client, form: Mapping[str, str], subject: _Subject, scopes: tuple[str, ...]
) -> Issued:
    """An assertion for another authorization server (Identity Assertion Authorization Grant, an IETF draft)."""
    audience = form.get("audience", "").split()
    if len(audience) != 1 or not server.keys:
        raise Refused("invalid_request", "an id-jag needs one audience, and a provider with openid")
    now = int(server.clock())
    claims = {
        "iss": server.issuer,
        "sub": subject_of(subject.person),
        "aud": audience[0],
        "client_id": client.client_id,
        "jti": secrets.token_urlsafe(16),
        "iat": now,
        "exp": now + _ID_JAG_LIFETIME,
        "scope": " ".join(form.get("scope", " ".join(scopes)).split(" ")),
        **({"resource": form["resource"]} if "resource" in form else {}),
    }
    token = jose.sign(claims, server.keys[0], ID_JAG_TYPE)
    extra = {"issued_token_type": ID_JAG}
    return Issued(token, None, scopes, _ID_JAG_LIFETIME, None, token_type="N_A", extra=extra)


ID_JAG_TYPE = "oauth-id-jag+jwt"
_LONGEST = 3600.0  # seconds


def exchange_assertion(server: Server, client: Client | None, form: Mapping[str, str], binding: Binding) -> Issued:
    """A token for an assertion, without a refresh token (RFC 7521 §4.1); without a client for the issuer itself."""
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
