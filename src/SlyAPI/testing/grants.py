"""The values a provider works with: clients, authorization requests, codes, grants, tokens, refusals.

The rule: plain data; no IO, no clock, and no secret kept where its SHA-256 digest is enough.
"""
from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal

TokenState = Literal["live", "rotated", "ended"]


class Refused(Exception):
    """An answer of no: an error code (RFC 6749 §5.2), words for a person, an HTTP status, a challenge."""

    def __init__(self, error: str, description: str, status: int = 400, challenge: str = "") -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status
        self.headers = {"WWW-Authenticate": challenge} if challenge else {}


@dataclass(frozen=True)
class Client:
    """One registered app; without a secret digest it is a public client (RFC 6749 §2.1)."""

    client_id: str
    name: str
    secret_digest: str | None
    redirect_uris: tuple[str, ...]

    def knows_secret(self, secret: str) -> bool:
        """Whether this is the client's secret, compared in constant time."""
        return self.secret_digest is not None and hmac.compare_digest(self.secret_digest, digest(secret))


@dataclass(frozen=True)
class AuthorizationRequest:
    """An authorization request that passed every check."""

    client_id: str
    redirect_uri: str
    state: str | None
    scopes: tuple[str, ...]
    challenge: str


@dataclass
class Code:
    """One authorization code; `grant_id` is set once it was exchanged."""

    authorization: AuthorizationRequest
    scopes: tuple[str, ...]
    expires_at: float
    person: str = ""
    grant_id: str | None = None
    ended: bool = False


@dataclass
class Grant:
    """One person's yes to one client; every token hangs on it."""

    client_id: str
    scopes: tuple[str, ...]
    ended: bool = False
    last_rotated: str = ""
    person: str = ""


@dataclass
class AccessToken:
    """One access token; it may carry fewer scopes than its grant."""

    grant_id: str
    scopes: tuple[str, ...]
    expires_at: float
    ended: bool = False


@dataclass
class RefreshToken:
    """One refresh token; a rotated one is remembered so that its reuse is noticed."""

    grant_id: str
    expires_at: float | None
    state: TokenState = "live"
    rotated_at: float = 0.0


@dataclass(frozen=True)
class Issued:
    """What a successful token request gives: the tokens, the scopes, and the lifetimes in seconds."""

    access_token: str
    refresh_token: str | None
    scopes: tuple[str, ...]
    expires_in: int
    refresh_expires_in: int | None


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


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 §4.2)."""
    hashed = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode("ascii")
