"""RFC 9068, RFC 7662: the access token of a request to an API of one's own; RFC 9728: what that API publishes. Pure.

The rule: a token counts for the audience that it names, and one that is bound to a key with that key's proof alone.
"""

from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from ...errors import ConfigError, IdentityError, SlyError
from ...tokens.scopes import Scopes, missing_scopes, split_scopes
from ...tokens.times import from_epoch
from ...web.urls import check_endpoint
from ..messages.dpop import access_token_hash, target_uri
from ..messages.identity import LEEWAY, check_issuer, number
from ..messages.introspection import TokenInfo
from ..messages.jose import ASYMMETRIC, base64url, thumbprint
from ..messages.signed_tokens import Jwt, read_jwt, unverified

Proof = tuple[str, str, str]
"""A request's `DPoP` header, its method and its URL."""
PROOF_AGE = 120.0
"""Seconds for which a proof is taken, and remembered."""
_OF_OTHERS = {"nonce", "at_hash", "c_hash", "events"}
"""Claims of id_tokens and logout tokens, which are no access tokens."""
_KIND_NAMES = ("token_use", "typ", "token_type")
"""The claims that Cognito, Keycloak and RFC 7662 name the kind of a token by."""


@dataclass(frozen=True, kw_only=True)
class AccessToken:
    """What an access token grants, and to whom. `subject`: the person, or the client itself; `expires_at` is in UTC."""

    __module__ = "SlyAPI.oauth2"

    issuer: str
    subject: str | None
    client_id: str | None
    audience: list[str]
    scopes: list[str]
    expires_at: datetime | None
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)


def is_jwt(text: str) -> bool:
    """Whether a token is a signed JWT; others are for introspection."""
    if text.count(".") != 2:
        return False
    try:
        return "alg" in unverified(text).header
    except IdentityError:
        return False


def read_access_token(
    token: Jwt, *, issuer: str, audience: str, now: float, accept_jwt: bool = False, template_claim: str | None = None
) -> AccessToken:
    """What a token whose signature holds grants (RFC 9068 §4); `now` in epoch seconds.

    `accept_jwt`: also one that does not name its kind, if it is no id_token. Raises `IdentityError`.
    """
    claims, typ = token.claims, str(token.header.get("typ", "JWT")).casefold().removeprefix("application/")
    if typ != "at+jwt" and not (accept_jwt and typ == "jwt"):
        hint = "Pass accept_jwt=True if this provider marks its access tokens as plain JWTs." if typ == "jwt" else ""
        raise IdentityError("The token is not marked as an access token (typ, RFC 9068 §4).", next_step=hint)
    if typ == "jwt" and _OF_OTHERS & claims.keys():
        raise IdentityError("The token is an id_token or a logout token, not an access token.")
    check_issuer(claims, issuer, template_claim)
    if number(claims, "exp") is None:
        raise IdentityError("The access token lacks its expiry (exp).")
    named = claims.get("aud")
    if named is None and typ == "jwt" and claims.get("token_use") == "access":
        named = claims.get("client_id")  # Cognito's have no audience
    return _checked(claims, named, audience, now)


def read_introspected(info: TokenInfo, *, issuer: str | None, audience: str, now: float) -> AccessToken:
    """What the issuer says that a token grants (RFC 7662 §2.2). Raises `IdentityError`."""
    if not info.active:
        raise IdentityError("The token is not valid, or no longer.")
    claims = {"iss": issuer, **info.extra, "sub": info.subject, "client_id": info.client_id, "scope": info.scopes}
    if issuer is not None and claims["iss"] != issuer:
        raise IdentityError("The token is of another issuer (iss).")
    if info.expires_at is not None:
        claims["exp"] = info.expires_at.timestamp()
    return _checked(claims, claims.get("aud"), audience, now)


def _checked(claims: Mapping[str, Any], named: object, audience: str, now: float) -> AccessToken:
    if not {str(claims.get(name, "bearer")).casefold() for name in _KIND_NAMES} <= {"access", "bearer", "dpop"}:
        raise IdentityError("The token is of another kind than an access token.")
    audiences = [named] if isinstance(named, str) else named
    if not isinstance(audiences, list) or audience not in audiences:
        raise IdentityError("The token is meant for another API (aud).")
    end, begin = number(claims, "exp"), number(claims, "nbf")
    if end is not None and end + LEEWAY <= now:
        raise IdentityError("The access token has expired.")
    if begin is not None and begin - LEEWAY > now:
        raise IdentityError("The access token is not valid yet.")
    try:
        scopes = split_scopes(claims.get("scope", claims.get("scp")))
    except ConfigError:
        raise IdentityError("The access token's scope is neither text nor a list.") from None
    client = next((claims[name] for name in ("client_id", "azp", "appid", "cid") if claims.get(name)), None)
    return AccessToken(
        issuer=str(claims.get("iss") or ""),
        subject=_text(claims.get("sub")),
        client_id=_text(client),
        audience=[*map(str, audiences)],
        scopes=scopes,
        expires_at=None if end is None else from_epoch(end),
        claims=claims,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def check_scopes(token: AccessToken, scopes: Scopes) -> None:
    """Raises `IdentityError`, to which the API answers 403, where the token lacks some of the scopes."""
    wanted = split_scopes(scopes)
    if missing := missing_scopes(wanted, token.scopes):
        error = IdentityError(f"The token lacks scopes: {' '.join(missing)}.")
        error.status, error.error, error.scopes = 403, "insufficient_scope", tuple(wanted)
        raise error


def check_binding(
    token: AccessToken, text: str, proof: Proof | None, certificate: bytes | str | None, now: float
) -> str | None:
    """The name of the proof, which counts once; None for a token that is not bound to a key by DPoP.

    Raises `IdentityError` for a bound token without its key (RFC 9449 §7.1, RFC 8705 §3).
    """
    bound = token.claims.get("cnf")
    if bound is None:
        return None
    if isinstance(bound, Mapping) and set(bound) == {"x5t#S256"} and certificate is not None:
        if bound["x5t#S256"] != _certificate_hash(certificate):
            raise IdentityError("The token is bound to another certificate (RFC 8705 §3).")
        return None
    if not isinstance(bound, Mapping) or set(bound) != {"jkt"} or proof is None:
        raise _by_dpop("The token is bound to a key, and the request does not show that key (cnf).")
    try:
        return _read_proof(proof, text, str(bound["jkt"]), now)
    except SlyError as error:
        raise _by_dpop(str(error.args[0]), "invalid_dpop_proof") from None


def _by_dpop(message: str, code: str = "invalid_token") -> IdentityError:
    error = IdentityError(message)
    error.scheme, error.error = "DPoP", code
    return error


def _read_proof(proof: Proof, text: str, jkt: str, now: float) -> str:
    """The checks of RFC 9449 §4.3."""
    header, method, url = proof
    key = unverified(header).header.get("jwk")
    if not isinstance(key, Mapping) or key.get("kty") not in ("EC", "RSA", "OKP"):
        raise IdentityError("The DPoP proof has no key.")
    message = read_jwt(header, [key], ASYMMETRIC)
    claims, made, name = message.claims, number(message.claims, "iat"), message.claims.get("jti")
    sound = (
        message.header.get("typ") == "dpop+jwt"
        and claims.get("htm") == method.upper()
        and str(claims.get("htu")).partition("?")[0].partition("#")[0] == target_uri(url)
        and claims.get("ath") == access_token_hash(text)
        and made is not None
        and abs(now - made) <= PROOF_AGE
        and isinstance(name, str)
        and thumbprint(key) == jkt
    )
    if not sound:
        raise IdentityError("The DPoP proof is not of this request, this token and its key (RFC 9449 §4.3).")
    return f"{jkt} {name!r}"


def _certificate_hash(certificate: bytes | str) -> str:
    if isinstance(certificate, str):  # PEM, as a proxy hands it on
        body = certificate.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]
        try:
            certificate = b64decode(body)
        except ValueError:
            raise ConfigError("certificate is neither PEM nor DER.") from None
    return base64url(sha256(certificate).digest())


def protected_resource_metadata(
    resource: str, issuers: Iterable[str], *, scopes: Scopes = (), **more: Any
) -> dict[str, Any]:
    """The document that an API publishes below `/.well-known/oauth-protected-resource` (RFC 9728 §2).

    `issuers` are the authorization servers whose tokens it takes; `more` are further members. Raises `ConfigError`.
    """
    check_endpoint(resource, "resource", allow_http=False)
    if isinstance(issuers, str):
        raise ConfigError("issuers are a list (RFC 9728 §2).")
    servers = [check_endpoint(issuer, "issuers", allow_http=False) for issuer in issuers]
    listed: dict[str, Any] = {"authorization_servers": servers, "scopes_supported": split_scopes(scopes)}
    usual = {"resource": resource, **listed, "bearer_methods_supported": ["header"], **more}
    return {name: value for name, value in usual.items() if value not in (None, [])}
