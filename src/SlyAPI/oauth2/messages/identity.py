"""OpenID Connect Core 1.0: who the person is, by an id_token whose signature holds. Pure; `jose` checks the signature.

The rule: a claim is believed when the specification's checks of it hold, all of them, and nothing is kept otherwise.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import IdentityError, printable
from ...tokens.times import from_epoch
from ...tokens.user import Identity
from .jose import base64url
from .signed_tokens import Jwt

__all__ = ["Identity", "LogoutToken", "read_id_token", "read_logout_token", "read_userinfo"]

LEEWAY = 60.0
"""Seconds by which clocks may differ."""
LOGOUT_AGE = 120.0
"""Seconds for which a logout token is taken (OpenID Connect Back-Channel Logout §2.6 recommends a short time)."""
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_HASHES = {"RS256": "sha256", "PS256": "sha256", "ES256": "sha256", "HS256": "sha256", "ES384": "sha384"}


@dataclass(frozen=True)
class LogoutToken:
    """Whose sessions end (OpenID Connect Back-Channel Logout 1.0 §2.4): of a person, or one session of theirs."""

    __module__ = "SlyAPI.oauth2"

    issuer: str
    subject: str | None
    session_id: str | None
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """What no other logout token has: issuer and `jti`."""
        return f"{self.issuer} {self.claims['jti']}"


def read_id_token(
    token: Jwt,
    *,
    issuer: str,
    client_id: str,
    now: float,
    nonce: str | None = None,
    nonce_required: bool = True,
    access_token: str | None = None,
    max_age: float | None = None,
    previous: Identity | None = None,
    template_claim: str | None = None,
) -> Identity:
    """The identity in an id_token (OpenID Connect Core §3.1.3.7, and §12.2 for one that a refresh brought).

    `now` in epoch seconds, `max_age` in seconds; `previous` is the person of the login, whose refresh this is;
    `nonce_required=False` is for a provider that leaves the nonce out;
    `template_claim` names the claim that fills `{...}` in an issuer. Raises `IdentityError`.
    """
    claims = token.claims
    _check_kind(token, ())
    check_issuer(claims, issuer, template_claim)
    _check_audience(claims, client_id)
    _check_times(claims, now)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject or len(subject) > 255:
        raise IdentityError("The id_token does not identify the person: sub is missing (OpenID Connect Core §2).")
    checked = nonce is not None and (nonce_required or "nonce" in claims)
    if checked and not _same(claims.get("nonce"), nonce or ""):
        raise IdentityError("The id_token's nonce is not the one of this login (OpenID Connect Core §3.1.3.7).")
    if access_token is not None and "at_hash" in claims:
        _check_hash(claims["at_hash"], access_token, str(token.header.get("alg")))
    authenticated_at = number(claims, "auth_time")
    if max_age is not None and (authenticated_at is None or now - authenticated_at > max_age + LEEWAY):
        raise IdentityError(
            "The person signed in longer ago than max_age allows (OpenID Connect Core §3.1.3.7).",
            next_step="Begin a login with prompt='login'.",
        )
    identity = Identity(
        str(claims["iss"]), subject, claims, None if authenticated_at is None else from_epoch(authenticated_at)
    )
    if previous is not None:
        _check_same(identity, previous)
    return identity


def _check_same(identity: Identity, previous: Identity) -> None:
    """OpenID Connect Core §12.2: a refresh brings the same person, and no nonce but that of the login."""
    if identity != previous:
        raise IdentityError("The refresh brought the id_token of another person (OpenID Connect Core §12.2).")
    nonce = identity.claims.get("nonce")
    if nonce is not None and not _same(nonce, str(previous.claims.get("nonce", ""))):
        raise IdentityError("The refreshed id_token has the nonce of another login (OpenID Connect Core §12.2).")


def read_userinfo(
    token: Jwt, *, issuer: str, client_id: str, template_claim: str | None = None
) -> dict[str, Any]:
    """The claims of signed userinfo, with issuer and audience (OpenID Connect Core §5.3.2). Raises `IdentityError`."""
    _check_kind(token, ())
    check_issuer(token.claims, issuer, template_claim)
    _check_audience(token.claims, client_id)
    return dict(token.claims)


def read_logout_token(
    token: Jwt, *, issuer: str, client_id: str, now: float, template_claim: str | None = None
) -> LogoutToken:
    """The logout in a token whose signature holds (Back-Channel Logout §2.6). Raises `IdentityError`."""
    claims = token.claims
    _check_kind(token, ("logout+jwt",))
    check_issuer(claims, issuer, template_claim)
    _check_audience(claims, client_id)
    issued = number(claims, "iat")
    if issued is None or not -LEEWAY <= now - issued <= LOGOUT_AGE:
        raise IdentityError("The logout token is too old, or its iat is missing or in the future.")
    if (end := number(claims, "exp")) is not None and end + LEEWAY <= now:
        raise IdentityError("The logout token has expired.")
    if not isinstance(claims.get("events"), Mapping) or not isinstance(claims["events"].get(_LOGOUT_EVENT), Mapping):
        raise IdentityError("The token is not a logout token: its events claim does not contain the logout event.")
    if "nonce" in claims:
        raise IdentityError("A logout token has no nonce; this one may be an id_token.")
    subject, session = claims.get("sub"), claims.get("sid")
    if not (isinstance(subject, str) and subject) and not (isinstance(session, str) and session):
        raise IdentityError("The logout token names neither a person nor a session.")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not jti.isprintable():
        raise IdentityError("The logout token has no readable jti.")
    return LogoutToken(
        str(claims["iss"]),
        subject if isinstance(subject, str) else None,
        session if isinstance(session, str) else None,
        claims,
    )


def _check_kind(token: Jwt, kinds: tuple[str, ...]) -> None:
    """RFC 8725 §3.11: a token of another kind is not taken, where its `typ` says so."""
    typ = token.header.get("typ", "JWT")
    if str(typ).casefold().removeprefix("application/") not in ("jwt", *kinds):
        raise IdentityError("The token is of another kind (typ).")


def check_issuer(claims: Mapping[str, Any], issuer: str, template_claim: str | None) -> None:
    expected = issuer
    if "{" in issuer:
        begin, _, rest = issuer.partition("{")
        value = claims.get(template_claim or "")
        if not isinstance(value, str) or not value.replace("-", "").isalnum():
            raise IdentityError(
                "The issuer is a template, and the id_token has no value for it.",
                next_step="Use the issuer of one tenant.",
            )
        expected = f"{begin}{value}{rest.partition('}')[2]}"
    if claims.get("iss") != expected:
        # theirs is quoted only where it is nearly ours, because it may be anything
        near = str(claims.get("iss")).rstrip("/") == expected.rstrip("/")
        raise IdentityError(
            f"The token is not issued by {printable(expected, 100)!r} (iss).",
            next_step=f"The issuer spells itself {printable(claims['iss'], 100)!r}." if near else "",
        )


def _check_audience(claims: Mapping[str, Any], client_id: str) -> None:
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or client_id not in audiences:
        raise IdentityError("The token is meant for another client (aud).")
    authorized = claims.get("azp")
    if (len(audiences) > 1 or authorized is not None) and authorized != client_id:
        raise IdentityError("The token is meant for several clients, and was not issued to this one (azp).")


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    end, issued, begin = (number(claims, name) for name in ("exp", "iat", "nbf"))
    if end is None or issued is None:
        raise IdentityError("The id_token lacks its issue time or expiry (iat, exp).")
    if end + LEEWAY <= now:
        raise IdentityError("The id_token has expired.", next_step="Check this machine's clock.")
    if max(issued, begin or issued) - LEEWAY > now:
        raise IdentityError("The id_token is not valid yet.", next_step="Check this machine's clock.")


def _check_hash(claim: object, access_token: str, alg: str) -> None:
    """OpenID Connect Core §3.1.3.6: the left half of the token's hash, by the algorithm's hash function."""
    digest = hashlib.new(_HASHES.get(alg, "sha512"), access_token.encode("ascii", "replace")).digest()
    if not _same(claim, base64url(digest[: len(digest) // 2])):
        raise IdentityError("The id_token belongs to another access token (at_hash).")


def number(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 §2). Raises `IdentityError` for anything else under that name."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise IdentityError(f"The token's {name} is not a time.")
    return float(value)


def _same(value: object, expected: str) -> bool:
    return isinstance(value, str) and hmac.compare_digest(
        value.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass")
    )
