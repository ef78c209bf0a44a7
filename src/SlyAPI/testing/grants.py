"""What a provider remembers: its clients, the codes and tokens it gave out, and when each of them ends.

The rule: no IO, no clock of its own (`now` is an argument, seconds since 1970), and no secret kept: tokens
and client secrets are known by their SHA-256 alone. Random tokens looked up by digest leak nothing by time.
"""
from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

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
class Asked:
    """An authorization request that passed every check."""

    client_id: str
    redirect_uri: str
    state: str | None
    scopes: tuple[str, ...]
    challenge: str


@dataclass
class Code:
    """One authorization code; `grant_id` is set once it was exchanged."""

    asked: Asked
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


@dataclass
class Ledger:
    """Everything one provider knows, and the rules by which codes become tokens and tokens end."""

    rules: Rules
    clients: dict[str, Client] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    access_tokens: dict[str, AccessToken] = field(default_factory=dict)
    refresh_tokens: dict[str, RefreshToken] = field(default_factory=dict)
    exchanges: int = 0
    refreshes: int = 0
    reuses: int = 0
    forgiven: int = 0

    def issue_code(self, asked: Asked, scopes: Iterable[str], person: str, now: float) -> str:
        """A fresh code for what this person granted."""
        code = secrets.token_urlsafe(32)
        self.codes[digest(code)] = Code(asked, tuple(scopes), now + self.rules.code_lifetime, person)
        return code

    def exchange_code(
        self, client: Client, code: str, redirect_uri: str, verifier: str, now: float
    ) -> Issued:
        """Turn a code into tokens, once (RFC 6749 §4.1.3, RFC 7636 §4.6).

        A second use ends the grant that came of the first (RFC 6749 §4.1.2). A wrong redirect_uri or verifier
        ends the code: it is in the wrong hands.
        """
        known = self.codes.get(digest(code))
        if known is None or known.asked.client_id != client.client_id:
            raise Refused("invalid_grant", "the code is unknown, or another client's")
        if known.grant_id is not None:
            self._end_grant(known.grant_id)
            raise Refused("invalid_grant", "the code was used before; what came of it is revoked")
        if known.ended or now >= known.expires_at:
            raise Refused("invalid_grant", "the code has expired")
        if not hmac.compare_digest(known.asked.redirect_uri.encode(), redirect_uri.encode()):
            known.ended = True
            raise Refused("invalid_grant", "redirect_uri is not the one of the authorization request")
        if not hmac.compare_digest(known.asked.challenge, challenge_of(verifier)):
            known.ended = True
            raise Refused("invalid_grant", "code_verifier does not match the code_challenge")
        known.grant_id = secrets.token_urlsafe(16)
        self.grants[known.grant_id] = Grant(client.client_id, known.scopes, person=known.person)
        self.exchanges += 1
        return self._issue(known.grant_id, known.scopes, now, with_refresh_token=True)

    def refresh(self, client: Client, token: str, scopes: tuple[str, ...] | None, now: float) -> Issued:
        """New tokens for a refresh token (RFC 6749 §6).

        A rotated one that comes back ends its grant: it was stolen, or its thief was first (RFC 9700
        §4.14.2). Within `reuse_leeway` seconds the one rotated last is good once more, for a client that
        died before it had kept its successor; several providers do so. `scopes` may name fewer than were
        granted, for this access token only.
        """
        key = digest(token)
        known = self.refresh_tokens.get(key)
        grant = None if known is None else self.grants[known.grant_id]
        if known is None or grant is None or grant.client_id != client.client_id:
            raise Refused("invalid_grant", "the refresh token is unknown, or another client's")
        again = known.state == "rotated" and not grant.ended
        if again and (grant.last_rotated != key or now >= known.rotated_at + self.rules.reuse_leeway):
            self.reuses += 1
            self._end_grant(known.grant_id)
            raise Refused("invalid_grant", "the refresh token was used before; its grant is revoked")
        if grant.ended or known.state == "ended":
            raise Refused("invalid_grant", "the refresh token was revoked")
        if known.expires_at is not None and now >= known.expires_at:
            raise Refused("invalid_grant", "the refresh token has expired")
        if scopes is not None and not set(scopes) <= set(grant.scopes):
            raise Refused("invalid_scope", "a refresh cannot give more than was granted")
        if self.rules.revoke_old_access_token:
            self._end_access_tokens(known.grant_id)
        if self.rules.rotation:
            known.state, known.rotated_at, grant.last_rotated = "rotated", now, key
        self.refreshes += 1
        self.forgiven += again
        scopes = grant.scopes if scopes is None else scopes
        return self._issue(known.grant_id, scopes, now, with_refresh_token=self.rules.rotation)

    def revoke(self, client: Client, token: str) -> None:
        """End a token (RFC 7009 §2.1): a refresh token takes its grant along, an access token only itself."""
        key = digest(token)
        known = self.access_tokens.get(key) or self.refresh_tokens.get(key)
        if known is None:
            return  # RFC 7009 §2.2: an unknown token is as good as revoked
        if self.grants[known.grant_id].client_id != client.client_id:
            raise Refused("invalid_grant", "the token was issued to another client")
        if isinstance(known, AccessToken):
            known.ended = True
        else:
            self._end_grant(known.grant_id)

    def end_refresh_token(self, token: str) -> None:
        """End one refresh token, its access tokens live on; an unknown one is ignored."""
        known = self.refresh_tokens.get(digest(token))
        if known is not None and known.state == "live":
            known.state = "ended"

    def end_access_tokens(self) -> None:
        """End every access token; the refresh tokens live on."""
        for token in self.access_tokens.values():
            token.ended = True

    def end_grants(self) -> None:
        """End every grant, and with it every token."""
        for grant_id in self.grants:
            self._end_grant(grant_id)

    def access(self, token: str, now: float) -> AccessToken | None:
        """The access token of this text, if it is good at this moment."""
        known = self.access_tokens.get(digest(token))
        if known is None or known.ended or now >= known.expires_at:
            return None
        return known

    def to_json(self) -> dict[str, Any]:
        """Clients, rules, live grants and their tokens as plain JSON; codes are too short-lived to keep."""
        live = {key: grant for key, grant in self.grants.items() if not grant.ended}
        return {
            "rules": asdict(self.rules),
            "clients": [asdict(client) for client in self.clients.values()],
            "grants": {key: asdict(grant) for key, grant in live.items()},
            "access_tokens": {k: asdict(t) for k, t in self.access_tokens.items() if t.grant_id in live},
            "refresh_tokens": {k: asdict(t) for k, t in self.refresh_tokens.items() if t.grant_id in live},
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Ledger:
        """The twin of `to_json`; raises KeyError or TypeError for anything else."""

        def tupled(item: Mapping[str, Any]) -> dict[str, Any]:  # JSON has lists only
            lists = ("scopes", "redirect_uris")
            return {name: tuple(value) if name in lists else value for name, value in item.items()}

        ledger = cls(
            Rules(**kept["rules"]),
            {client["client_id"]: Client(**tupled(client)) for client in kept["clients"]},
            grants={key: Grant(**tupled(grant)) for key, grant in kept["grants"].items()},
            access_tokens={key: AccessToken(**tupled(t)) for key, t in kept["access_tokens"].items()},
            refresh_tokens={key: RefreshToken(**t) for key, t in kept["refresh_tokens"].items()},
        )
        for tokens in (ledger.access_tokens, ledger.refresh_tokens):
            for token in tokens.values():
                _ = ledger.grants[token.grant_id]  # a token without its grant would fail much later
        return ledger

    def _issue(
        self, grant_id: str, scopes: tuple[str, ...], now: float, *, with_refresh_token: bool
    ) -> Issued:
        rules = self.rules
        access_token = secrets.token_urlsafe(32)
        self.access_tokens[digest(access_token)] = AccessToken(
            grant_id, scopes, now + rules.access_token_lifetime
        )
        refresh_token = secrets.token_urlsafe(32) if with_refresh_token else None
        lifetime = rules.refresh_token_lifetime
        if refresh_token is not None:
            ends = None if lifetime is None else now + lifetime
            self.refresh_tokens[digest(refresh_token)] = RefreshToken(grant_id, ends)
        told = None if lifetime is None else int(lifetime)
        return Issued(access_token, refresh_token, scopes, int(rules.access_token_lifetime), told)

    def _end_access_tokens(self, grant_id: str) -> None:
        for token in self.access_tokens.values():
            if token.grant_id == grant_id:
                token.ended = True

    def _end_grant(self, grant_id: str) -> None:
        self.grants[grant_id].ended = True
        self._end_access_tokens(grant_id)
