"""Everything one provider remembers, and the rules by which codes become tokens and tokens end.

The rule: no IO, and no clock of its own (`now` is an argument, seconds since 1970). Tokens and client secrets
are stored as SHA-256 digests only; a lookup of a random token by its digest leaks nothing by its timing.
"""
from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .grants import (
    AccessToken,
    AuthorizationRequest,
    Client,
    Code,
    Grant,
    Issued,
    RefreshToken,
    Refused,
    Rules,
    challenge_of,
    digest,
)


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

    def issue_code(self, authorization: AuthorizationRequest, scopes: Iterable[str], person: str, now: float) -> str:
        """A fresh code for what this person granted."""
        code = secrets.token_urlsafe(32)
        self.codes[digest(code)] = Code(authorization, tuple(scopes), now + self.rules.code_lifetime, person)
        return code

    def exchange_code(
        self, client: Client, code: str, redirect_uri: str, verifier: str, now: float
    ) -> Issued:
        """Turn a code into tokens, once (RFC 6749 §4.1.3, RFC 7636 §4.6).

        A second use ends the grant that came of the first (RFC 6749 §4.1.2). A wrong redirect_uri or verifier
        ends the code: it is in the wrong hands.
        """
        known = self.codes.get(digest(code))
        if known is None or known.authorization.client_id != client.client_id:
            raise Refused("invalid_grant", "the code is unknown, or another client's")
        if known.grant_id is not None:
            self._end_grant(known.grant_id)
            raise Refused("invalid_grant", "the code was used before; what came of it is revoked")
        if known.ended or now >= known.expires_at:
            raise Refused("invalid_grant", "the code has expired")
        if not hmac.compare_digest(known.authorization.redirect_uri.encode(), redirect_uri.encode()):
            known.ended = True
            raise Refused("invalid_grant", "redirect_uri is not the one of the authorization request")
        if not hmac.compare_digest(known.authorization.challenge, challenge_of(verifier)):
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
        died before it saved its successor; several providers do so. `scopes` may name fewer than were
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
    def from_json(cls, saved: Mapping[str, Any]) -> Ledger:
        """The twin of `to_json`; raises KeyError or TypeError for anything else."""

        def tupled(item: Mapping[str, Any]) -> dict[str, Any]:  # JSON has lists only
            lists = ("scopes", "redirect_uris")
            return {name: tuple(value) if name in lists else value for name, value in item.items()}

        ledger = cls(
            Rules(**saved["rules"]),
            {client["client_id"]: Client(**tupled(client)) for client in saved["clients"]},
            grants={key: Grant(**tupled(grant)) for key, grant in saved["grants"].items()},
            access_tokens={key: AccessToken(**tupled(t)) for key, t in saved["access_tokens"].items()},
            refresh_tokens={key: RefreshToken(**t) for key, t in saved["refresh_tokens"].items()},
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
