"""RFC 7523 §2.2: a client authenticates with an assertion, its own or a platform's. Pure, apart from keys and sources.

The rule: a statement serves one request, and ends a minute from now.
"""

from secrets import token_urlsafe
from typing import Any

from ...errors import ConfigError
from ...sources import named_source, read_token
from .jose import SigningKey, signed_jwt

JWT_BEARER = "jwt-bearer"
TYPES = (JWT_BEARER, "jwt-spiffe")
"""The kinds of client assertion that `client_assertion_type` names."""
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
    return assertion_fields(await signed_jwt(claims, key, {"typ": "JWT"}))


def check_client_assertion(source: Any, kind: Any, secret: Any, key: Any) -> None:
    """Raises `ConfigError` for an assertion from nowhere, of an unknown type, or beside another proof of the client."""
    named_source(source)
    if kind not in (None, *TYPES):
        raise ConfigError(f"client_assertion_type may be {' or '.join(TYPES)}.")
    if secret or key is not None:
        other = "secret" if secret else "key"
        raise ConfigError(f"client_assertion and {other} exclude each other.", next_step="Leave one of them out.")


async def read_client_assertion(source: Any, kind: str | None) -> dict[str, str]:
    """The form fields of the JWT that a platform signed for the client, read now."""
    return assertion_fields(await read_token(named_source(source), "client_assertion"), kind or JWT_BEARER)


def assertion_fields(assertion: str, kind: str = JWT_BEARER) -> dict[str, str]:
    """The form fields of an assertion of one of `TYPES` (RFC 7521 §4.2)."""
    kind = f"urn:ietf:params:oauth:client-assertion-type:{kind}"
    return {"client_assertion_type": kind, "client_assertion": assertion}
