"""Token exchange (RFC 8693): a token for another one, narrower, for another place, or on behalf of somebody.

The rule: the new token never lasts longer than its subject's, nor has more scopes.
"""
from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..clients.client_policy import checked_scopes
from ..endpoint import Server
from ..ledger.grants import Binding, Client, Grant, Issued, Refused, digest, subject_of
from ..messages import jose
from ..messages.request_reader import required
from . import assertions, identity

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
            claims, person = assertions.checked_assertion(server, token, client.client_id)
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
    token = jose.sign(claims, server.keys[0], assertions.ID_JAG_TYPE)
    extra = {"issued_token_type": ID_JAG}
    return Issued(token, None, scopes, _ID_JAG_LIFETIME, None, token_type="N_A", extra=extra)
