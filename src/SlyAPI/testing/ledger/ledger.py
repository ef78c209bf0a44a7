"""Everything one provider remembers, the rules by which codes become tokens and tokens end, and all of it as JSON.

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
    Binding,
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

NO_BINDING = Binding()


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

    def issue_code(self, wanted: AuthorizationRequest, scopes: Iterable[str], person: str, now: float) -> str:
        """A fresh code for what this person granted."""
        code = secrets.token_urlsafe(32)
        ends = now + self.rules.code_lifetime
        self.codes[digest(code)] = Code(wanted, tuple(scopes), ends, person, authenticated_at=now)
        return code

    def exchange_code(
        self,
        client: Client,
        code: str,
        redirect_uri: str,
        verifier: str,
        now: float,
        binding: Binding = NO_BINDING,
        *,
        with_refresh_token: bool = True,
        offline_needs_scope: bool = False,
    ) -> Issued:
        """Turn a code into tokens, once (RFC 6749 §4.1.3, RFC 7636 §4.6).

        A second use ends the grant that the first one made (RFC 6749 §4.1.2). A wrong redirect_uri, verifier or
        DPoP key (RFC 9449 §10) ends the code: somebody else has it.
        """
        known = self.codes.get(digest(code))
        if known is None or known.request.client_id != client.client_id:
            raise Refused("invalid_grant", "the code is unknown, or another client's")
        if known.grant_id is not None:
            self._end_grant(known.grant_id)
            raise Refused("invalid_grant", "the code was used before; the tokens it gave are revoked")
        if known.ended or now >= known.expires_at:
            raise Refused("invalid_grant", "the code has expired")
        if wrong := _mismatch(known.request, redirect_uri, verifier, binding.jkt):
            known.ended = True
            raise Refused("invalid_grant", wrong)
        request = known.request
        check_resources(binding, request.resources)
        grant = Grant(
            client.client_id,
            known.scopes,
            person=known.person,
            resources=request.resources,
            nonce=request.nonce,
            acr=next(iter(request.acr_values), ""),
            authenticated_at=known.authenticated_at,
            session_id=secrets.token_urlsafe(16),
        )
        with_refresh_token &= not offline_needs_scope or "offline_access" in grant.scopes
        self.exchanges += 1
        issued = self.start(client, grant, binding, now, with_refresh_token=with_refresh_token)
        known.grant_id = issued.grant_id
        return issued

    def start(
        self,
        client: Client | None,
        grant: Grant,
        binding: Binding,
        now: float,
        *,
        with_refresh_token: bool = False,
        lifetime: float | None = None,
    ) -> Issued:
        """Record a new grant and give its first tokens; `lifetime` (seconds) may shorten the access token's."""
        grant_id = secrets.token_urlsafe(16)
        self.grants[grant_id] = grant
        public = client is None or client.is_public
        return self._issue(
            grant_id, grant.scopes, now, binding, public, with_refresh_token=with_refresh_token, lifetime=lifetime
        )

    def refresh(
        self, client: Client, token: str, scopes: tuple[str, ...] | None, now: float, binding: Binding = NO_BINDING
    ) -> Issued:
        """New tokens for a refresh token (RFC 6749 §6).

        A rotated one that comes back ends its grant: it was stolen, or the thief was first (RFC 9700
        §4.14.2). Within `reuse_leeway` seconds the one rotated last is accepted once more, for a client that
        died before it saved its successor; several providers do so. `scopes` may name fewer than were
        granted, for this access token only; `binding.resources` likewise (RFC 8707 §2.2).
        """
        key = digest(token)
        known = self.refresh_tokens.get(key)
        grant = None if known is None else self.grants[known.grant_id]
        if known is None or grant is None or grant.client_id != client.client_id:
            raise Refused("invalid_grant", "the refresh token is unknown, or another client's")
        if known.jkt and known.jkt != binding.jkt:  # RFC 9449 §5: a public client's refresh token has a key
            raise Refused("invalid_grant", "the refresh token is bound to another key")
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
        check_resources(binding, grant.resources)
        if self.rules.revoke_old_access_token:
            self._end_access_tokens(known.grant_id)
        if self.rules.rotation:
            known.state, known.rotated_at, grant.last_rotated = "rotated", now, key
        self.refreshes += 1
        self.forgiven += again
        scopes = grant.scopes if scopes is None else scopes
        return self._issue(
            known.grant_id, scopes, now, binding, client.is_public, with_refresh_token=self.rules.rotation
        )

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

    def end_grants(self, client_id: str | None = None) -> None:
        """End every grant, or every grant of one client, and with it its tokens."""
        for grant_id, grant in self.grants.items():
            if client_id in (None, grant.client_id):
                self._end_grant(grant_id)

    def end_session(self, session_id: str) -> None:
        """End the grants of one session, except those that were to outlive it (OpenID Connect Core §11)."""
        for grant_id, grant in self.grants.items():
            if session_id and grant.session_id == session_id and "offline_access" not in grant.scopes:
                self._end_grant(grant_id)

    def expire(self, now: float, *, refresh_tokens: bool) -> None:
        """Let every access token, or every refresh token, expire now."""
        for token in (self.refresh_tokens if refresh_tokens else self.access_tokens).values():
            token.expires_at = now if token.expires_at is None else min(now, token.expires_at)

    def spend_refresh_tokens(self, now: float) -> None:
        """Mark every live refresh token as rotated long ago, as if another client used it."""
        for token in self.refresh_tokens.values():
            if token.state == "live":
                token.state, token.rotated_at = "rotated", now - self.rules.reuse_leeway

    def access(self, token: str, now: float) -> AccessToken | None:
        """The access token of this text, if it is good at this moment."""
        known = self.access_tokens.get(digest(token))
        if known is None or known.ended or now >= known.expires_at:
            return None
        return known

    def _issue(
        self,
        grant_id: str,
        scopes: tuple[str, ...],
        now: float,
        binding: Binding,
        public: bool,
        *,
        with_refresh_token: bool,
        lifetime: float | None = None,
    ) -> Issued:
        lasts = min(self.rules.access_token_lifetime, lifetime if lifetime is not None else float("inf"))
        access_token = secrets.token_urlsafe(32)
        resources = binding.resources or self.grants[grant_id].resources
        self.access_tokens[digest(access_token)] = AccessToken(
            grant_id, scopes, now + lasts, resources=resources, jkt=binding.jkt, issued_at=now
        )
        refresh_token = secrets.token_urlsafe(32) if with_refresh_token else None
        refresh_lasts = self.rules.refresh_token_lifetime
        if refresh_token is not None:
            ends = None if refresh_lasts is None else now + refresh_lasts
            jkt = binding.jkt if public else ""
            self.refresh_tokens[digest(refresh_token)] = RefreshToken(grant_id, ends, jkt=jkt)
        return Issued(
            access_token,
            refresh_token,
            scopes,
            int(lasts),
            None if refresh_lasts is None else int(refresh_lasts),
            grant_id,
            "DPoP" if binding.jkt else "Bearer",
        )

    def _end_access_tokens(self, grant_id: str) -> None:
        for token in self.access_tokens.values():
            if token.grant_id == grant_id:
                token.ended = True

    def _end_grant(self, grant_id: str) -> None:
        self.grants[grant_id].ended = True
        self._end_access_tokens(grant_id)


def _mismatch(request: AuthorizationRequest, redirect_uri: str, verifier: str, jkt: str) -> str:
    """How a token request differs from its authorization request; empty where it does not."""
    if not hmac.compare_digest(request.redirect_uri.encode(), redirect_uri.encode()):
        return "redirect_uri is not the one of the authorization request"
    if not hmac.compare_digest(request.challenge, challenge_of(verifier)):
        return "code_verifier does not match the code_challenge"
    if request.dpop_jkt and request.dpop_jkt != jkt:
        return "the DPoP key is not the one of the authorization request"
    return ""


def check_resources(binding: Binding, granted: tuple[str, ...]) -> None:
    """Refuse resources that were not part of the authorization request (RFC 8707 §2.2)."""
    if granted and not set(binding.resources) <= set(granted):
        raise Refused("invalid_target", "the resource was not part of the authorization request")


def ledger_to_json(ledger: Ledger) -> dict[str, Any]:
    """Clients, rules, live grants and their tokens as plain JSON; codes are too short-lived to keep."""
    live = {key: grant for key, grant in ledger.grants.items() if not grant.ended}
    return {
        "rules": asdict(ledger.rules),
        "clients": [{**asdict(client), "secret": ""} for client in ledger.clients.values()],
        "grants": {key: asdict(grant) for key, grant in live.items()},
        "access_tokens": {k: asdict(t) for k, t in ledger.access_tokens.items() if t.grant_id in live},
        "refresh_tokens": {k: asdict(t) for k, t in ledger.refresh_tokens.items() if t.grant_id in live},
    }


def ledger_from_json(saved: Mapping[str, Any]) -> Ledger:
    """The inverse of `ledger_to_json`; raises KeyError or TypeError for anything else."""

    def tupled(item: Mapping[str, Any]) -> dict[str, Any]:  # JSON has lists only
        lists = ("scopes", "redirect_uris", "resources")
        return {name: tuple(value) if name in lists else value for name, value in item.items()}

    ledger = Ledger(
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
