"""Which client sends a request: by secret, by signed assertion, or by name alone.

The rule: one method a request, the one that the client registered (RFC 6749 §2.3, RFC 7523 §2.2).
"""
from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote_plus

from aiohttp import web

from ..endpoint import Seen, Server
from ..ledger.grants import Client, Refused, TrustedIssuer
from ..messages import jose
from ..messages.fetching import FetchFailed, fetch_json
from .client_metadata import load_client
from .client_policy import JWT_METHODS, SECRET_METHODS, methods_of

AuthMethod = Literal["basic", "post", "none", "jwt"]
BASIC_CHALLENGE = 'Basic realm="practice", charset="UTF-8"'
ASSERTION_TYPES = [f"urn:ietf:params:oauth:client-assertion-type:{kind}" for kind in ("jwt-bearer", "jwt-spiffe")]
LEEWAY = 10.0  # seconds by which two clocks may differ
_LONGEST_ASSERTION = 300.0  # seconds
_LONGEST_OF_WORKLOADS = 86_400.0  # seconds
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Credentials:
    """How a client said who it is at the token endpoint."""

    client_id: str
    secret: str = field(repr=False)
    method: AuthMethod
    assertion: str = field(default="", repr=False)


def read_credentials(authorization: Sequence[str], form: Mapping[str, str]) -> Credentials:
    """The credentials of a request, by one method (RFC 6749 §2.3.1, RFC 7521 §4.2); two at once are refused (§2.3)."""
    client_id, secret = form.get("client_id", ""), form.get("client_secret")
    if "client_assertion" in form or "client_assertion_type" in form:
        if authorization or secret is not None:
            raise Refused("invalid_request", "the client authenticates in two ways at once")
        return _read_assertion(form)
    if not authorization:
        return Credentials(client_id, secret or "", "none" if secret is None else "post")
    if len(authorization) > 1 or secret is not None:
        raise Refused("invalid_request", "the client authenticates in two ways at once")
    basic_id, basic_secret = _read_basic(authorization[0])
    if client_id and client_id != basic_id:
        raise Refused("invalid_request", "client_id in the form differs from the one in the header")
    return Credentials(basic_id, basic_secret, "basic")


def _read_assertion(form: Mapping[str, str]) -> Credentials:
    """RFC 7521 §4.2: the client is the subject of its assertion, unless client_id names it."""
    if form.get("client_assertion_type") not in ASSERTION_TYPES or "client_assertion" not in form:
        raise Refused("invalid_request", "client_assertion and its type, jwt-bearer or jwt-spiffe, belong together")
    assertion = form["client_assertion"]
    try:
        _, claims = jose.read(assertion)
    except jose.BadToken as bad:
        raise invalid_client(f"client_assertion: {bad}") from bad
    subject = claims.get("sub")
    if not isinstance(subject, str):
        raise invalid_client("client_assertion: sub is missing")
    return Credentials(form.get("client_id", subject), "", "jwt", assertion)


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


async def authenticated(server: Server, request: web.Request, seen: Seen) -> Client:
    """The client that sends this form; a refresh token sent with wrong credentials ends, as at some providers."""
    try:
        credentials = read_credentials(request.headers.getall("Authorization", []), seen.parameters)
        seen.client_auth = credentials.method
        client = await find_client(server, credentials.client_id)
        if client is None:
            raise invalid_client("the client is unknown, or did not say who it is")
        if credentials.method == "jwt":
            seen.client_auth = await _check_assertion(server, client, credentials.assertion, request.path)
        else:
            _check_secret(server, client, credentials)
        return client
    except Refused as refused:
        if refused.error == "invalid_client" and seen.parameters.get("grant_type") == "refresh_token":
            server.ledger.end_refresh_token(seen.parameters.get("refresh_token", ""))
        raise


async def find_client(server: Server, client_id: str) -> Client | None:
    """The registered client of this id, or the one whose metadata document has this URL."""
    client = server.ledger.clients.get(client_id)
    if client is None and server.client_metadata_documents:
        client = await load_client(server, client_id)
    return client


def _check_secret(server: Server, client: Client, credentials: Credentials) -> None:
    methods = methods_of(server, client)
    if {**SECRET_METHODS, "none": "none"}[credentials.method] not in methods:
        raise invalid_client(f"this client authenticates by: {' or '.join(methods)}")
    if client.secret_digest is not None and not client.knows_secret(credentials.secret):
        raise invalid_client("the client secret is wrong")


async def _check_assertion(server: Server, client: Client, assertion: str, path: str) -> str:
    """The method of a client assertion that is good once, now, here (RFC 7523 §3); Refused otherwise."""
    method = methods_of(server, client)[0]
    if method not in JWT_METHODS:
        raise invalid_client(f"this client authenticates by: {method}")
    try:
        issuer = str(jose.read(assertion)[1].get("iss"))
        if method == "private_key_jwt" and issuer in server.trusted and issuer != client.client_id:
            _check_workload(server, assertion, server.trusted[issuer], path)
            return method
        if method == "client_secret_jwt":
            claims = jose.verify_with_secret(assertion, client.secret)
        else:
            algorithms = client.metadata.get("token_endpoint_auth_signing_alg")
            claims = jose.verify(
                assertion, await client_keys(client), (algorithms,) if algorithms else jose.ASYMMETRIC
            )
        check_assertion_claims(
            claims, client.client_id, assertion_audiences(server, path), server.clock(), longest=_LONGEST_ASSERTION
        )
        if claims.get("sub") != client.client_id:
            raise jose.BadToken("sub is not the client_id")
        if not isinstance(claims.get("jti"), str):
            raise jose.BadToken("jti is missing")
    except (jose.BadToken, FetchFailed) as bad:
        raise invalid_client(f"client_assertion: {bad}") from bad
    if not server.first_use(f"assertion {client.client_id} {claims['jti']}", claims["exp"] + LEEWAY):
        raise invalid_client("client_assertion: jti was used before")
    return method


def _check_workload(server: Server, assertion: str, trusted: TrustedIssuer, path: str) -> None:
    """Check the token of a workload, which its platform signed and which is sent again until it ends; BadToken."""
    claims = jose.verify(assertion, trusted.keys, jose.ASYMMETRIC)
    audiences = assertion_audiences(server, path)
    check_assertion_claims(claims, trusted.issuer, audiences, server.clock(), longest=_LONGEST_OF_WORKLOADS)
    if trusted.subjects is None or claims.get("sub") not in trusted.subjects:
        raise jose.BadToken("sub is not a workload that trust_issuer names")


def assertion_audiences(server: Server, path: str) -> tuple[str, ...]:
    """The values of `aud` that are accepted at this endpoint (RFC 7523 §3, and its update)."""
    endpoints = (server.token_url, server.origin + path)
    return {"either": (server.issuer, *endpoints), "issuer": (server.issuer,), "endpoint": endpoints}[
        server.assertion_audience
    ]


def check_assertion_claims(
    claims: Mapping[str, Any], issuer: str, audiences: Collection[str], now: float, *, longest: float
) -> None:
    """Check `iss`, `aud` and the times of an assertion (RFC 7523 §3); BadToken where one is wrong."""
    if claims.get("iss") != issuer:
        raise jose.BadToken("iss is not its issuer")
    audience = claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    if audience not in audiences:
        raise jose.BadToken("aud is not this provider alone")
    times = {name: claims[name] for name in ("exp", "iat", "nbf") if name in claims}
    if not all(jose.is_time(time) for time in times.values()):
        raise jose.BadToken("a time is not a number")
    if "exp" not in times or now >= times["exp"] + LEEWAY:
        raise jose.BadToken("exp is missing, or in the past")
    if times["exp"] > now + longest:
        raise jose.BadToken("exp is too far away")
    if times.get("iat", now) < now - longest:
        raise jose.BadToken("iat is too long ago")
    if times.get("iat", now) > now + LEEWAY or times.get("nbf", now) > now + LEEWAY:
        raise jose.BadToken("iat or nbf is in the future")


async def client_keys(client: Client) -> list[dict[str, Any]]:
    """The public keys that a client registered, or published at its `jwks_uri`; FetchFailed where it is away."""
    keys = client.metadata.get("jwks")
    if keys is None and "jwks_uri" in client.metadata:
        keys = await fetch_json(client.metadata["jwks_uri"])
    found = keys.get("keys") if isinstance(keys, dict) else None
    return [key for key in found if isinstance(key, dict)] if isinstance(found, list) else []


def invalid_client(description: str) -> Refused:
    """The refusal of a client that is not who it says (RFC 6749 §5.2)."""
    return Refused("invalid_client", description, 401, BASIC_CHALLENGE)
