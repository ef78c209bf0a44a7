"""A ledger as plain JSON, for a provider that outlives its process.

The rule: of tokens and secrets only the digests; what has ended is left out.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .grants import AccessToken, Client, Grant, RefreshToken, Rules
from .ledger import Ledger


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
