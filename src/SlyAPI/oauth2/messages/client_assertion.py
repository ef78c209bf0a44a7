"""RFC 7523 §2.2: a client authenticates with a signed assertion. Pure, except for a key that signs elsewhere.

The rule: a statement serves one request, and ends a minute from now.
"""

from secrets import token_urlsafe
from typing import Any

from .jose import SigningKey, signed_jwt

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIFETIME = 60
"""Seconds from now until an assertion ends."""
BACKDATED = 60
"""Seconds that `nbf` lies back: a server whose clock is behind ours refuses what begins in its future."""
ISSUED_AGO = 30
"""Seconds that `iat` lies back: AT Protocol's servers refuse what is older than a minute when it arrives."""


def statement(
    client_id: str, audience: str, *, now: float, lifetime: int = LIFETIME, issued_ago: int = ISSUED_AGO
) -> dict[str, Any]:
    """What a client states for one server, once; `now` in epoch seconds by the server's clock."""
    return {
        "iss": client_id,
        "aud": audience,
        "jti": token_urlsafe(16),
        "iat": int(now) - issued_ago,
        "nbf": int(now) - BACKDATED,
        "exp": int(now) + lifetime,
    }


async def client_assertion(client_id: str, audience: str, key: SigningKey, *, now: float) -> dict[str, str]:
    """The form fields that prove who the client is (RFC 7523 §2.2)."""
    claims = {"sub": client_id, **statement(client_id, audience, now=now)}  # RFC 7523 §3
    return {
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": await signed_jwt(claims, key, {"typ": "JWT"}),
    }
