"""The values a provider works with: clients, authorization requests, codes, grants, tokens, refusals.

The rule: plain data; no IO, no clock, and no secret kept where its SHA-256 digest is enough.
"""
from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

TokenState = Literal["live", "rotated", "ended"]


class Refused(Exception):
    """A refusal: an error code (RFC 6749 §5.2), a description, an HTTP status, a WWW-Authenticate challenge."""

    def __init__(self, error: str, description: str, status: int = 400, challenge: str = "") -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status
        self.headers: dict[str, str] = {"WWW-Authenticate": challenge} if challenge else {}


@dataclass(frozen=True)
class Client:
    """One registered app; `metadata` has the names of RFC 7591 §2.

    `secret` is in memory only: an HMAC (client_secret_jwt, HS256) cannot be checked with a digest.
    """

    client_id: str
    name: str
    secret_digest: str | None
    redirect_uris: tuple[str, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    registration_digest: str = ""
    issued_at: int = 0
    secret: str = field(default="", repr=False)

    @property
    def is_public(self) -> bool:
        """Whether the client cannot authenticate itself (RFC 6749 §2.1)."""
        return self.secret_digest is None and self.metadata.get("token_endpoint_auth_method", "none") == "none"

    def knows_secret(self, secret: str) -> bool:
        """Whether this is the client's secret, compared in constant time."""
        return self.secret_digest is not None and hmac.compare_digest(self.secret_digest, digest(secret))


@dataclass(frozen=True)
class AuthorizationRequest:
    """An authorization request that passed every check; `max_age` is in seconds."""

    client_id: str
    redirect_uri: str
    state: str | None
    scopes: tuple[str, ...]
    challenge: str
    nonce: str = ""
    resources: tuple[str, ...] = ()
    dpop_jkt: str = ""
    acr_values: tuple[str, ...] = ()
    max_age: int | None = None
    prompt: tuple[str, ...] = ()
    login_hint: str = ""
    response_mode: str = "query"


@dataclass(frozen=True)
class Binding:
    """What an access token is restricted to: resources (RFC 8707 §2) and the thumbprint of a key (RFC 9449 §6)."""

    resources: tuple[str, ...] = ()
    jkt: str = ""


@dataclass
class Code:
    """One authorization code; `grant_id` is set once it was exchanged."""

    request: AuthorizationRequest
    scopes: tuple[str, ...]
    expires_at: float
    person: str = ""
    grant_id: str | None = None
    ended: bool = False
    authenticated_at: float = 0.0


@dataclass
class Grant:
    """A permission for one client; empty `resources` mean any; `actor` acts for the person (RFC 8693 §4.1)."""

    client_id: str
    scopes: tuple[str, ...]
    ended: bool = False
    last_rotated: str = ""
    person: str = ""
    resources: tuple[str, ...] = ()
    nonce: str = ""
    acr: str = ""
    authenticated_at: float = 0.0
    session_id: str = ""
    actor: str = ""


@dataclass
class AccessToken:
    """One access token; it may carry fewer scopes than its grant."""

    grant_id: str
    scopes: tuple[str, ...]
    expires_at: float
    ended: bool = False
    resources: tuple[str, ...] = ()
    jkt: str = ""
    issued_at: float = 0.0


@dataclass
class RefreshToken:
    """One refresh token; a rotated one is remembered so that its reuse is noticed. A public client's has a key."""

    grant_id: str
    expires_at: float | None
    state: TokenState = "live"
    rotated_at: float = 0.0
    jkt: str = ""


@dataclass(frozen=True)
class Issued:
    """The result of a token request: tokens, scopes, and lifetimes in seconds."""

    access_token: str
    refresh_token: str | None
    scopes: tuple[str, ...]
    expires_in: int
    refresh_expires_in: int | None
    grant_id: str = ""
    token_type: str = "Bearer"
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass
class Device:
    """One device authorization; `next_poll` and `expires_at` are epoch seconds."""

    client_id: str
    scopes: tuple[str, ...]
    resources: tuple[str, ...]
    user_code: str
    expires_at: float
    interval: float
    next_poll: float = 0.0
    state: Literal["pending", "allowed", "denied", "used"] = "pending"
    person: str = ""
    decided_at: float = 0.0


@dataclass(frozen=True)
class TrustedIssuer:
    """An issuer whose assertions are accepted: its public JWKs, and the subjects it may speak for (None: any)."""

    issuer: str
    keys: Sequence[Mapping[str, Any]]
    subjects: Collection[str] | None = None


@dataclass(frozen=True)
class Rules:
    """How long things live (seconds) and what a refresh does to the tokens before it."""

    access_token_lifetime: float = 5.0
    refresh_token_lifetime: float | None = None
    code_lifetime: float = 60.0
    rotation: bool = True
    revoke_old_access_token: bool = False
    reuse_leeway: float = 0.0


def digest(secret: str) -> str:
    """The SHA-256 of a secret, in hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def subject_of(person: str) -> str:
    """The identifier that a person, or a machine, has at this provider (`sub`)."""
    return digest(person)[:12]


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 §4.2), and the `ath` of a token (RFC 9449 §4.2)."""
    return base64url(hashlib.sha256(verifier.encode()).digest())


def base64url(raw: bytes) -> str:
    """Without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
