"""Redirects whose parameters are a signed JWT (JARM), where the client asks for them.

The rule: all parameters are in the JWT, and only it is in the URL.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..endpoint import Server
from ..features import changed
from ..tokens import identity

_LIFETIME = 60


def signed_response(server: Server, client_id: str, parameters: Mapping[str, str]) -> str:
    """The JWT of a response (JARM §2.1), good for a minute."""
    client = server.ledger.clients[client_id]
    end = int(server.clock()) + _LIFETIME
    claims: dict[str, Any] = {**parameters, "iss": server.issuer, "aud": client_id, "exp": end}
    algorithm = client.metadata.get("authorization_signed_response_alg", next(iter(server.signing_algs)))
    return identity.sign(server, client, changed(claims, server.response_changes), algorithm)
