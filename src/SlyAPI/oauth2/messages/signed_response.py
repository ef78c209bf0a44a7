"""JARM: the redirect's parameters in a JWT that the provider signed (JWT Secured Authorization Response Mode). Pure.

The rule: the state is compared first, then the signature is verified; only then a parameter counts. A redirect that is
not signed does not count where a signed one was asked for.
"""

from collections.abc import Mapping
from typing import Any

from ...errors import ConfigError, IdentityError, RedirectError
from ...web.urls import redirect_pairs
from .authorization_code import check_state

MODES = ("jwt", "query.jwt", "form_post.jwt")
"""The values of `response_mode` whose responses a server receives (JARM §2.3)."""
LEEWAY = 60.0
"""Seconds by which clocks may differ."""
_PARAMETERS = ("state", "code", "error", "error_description", "error_uri")
_AGAIN = "Begin the login again."


def check_response_mode(mode: str | None) -> None:
    """Raises `ConfigError` for a mode that is not supported."""
    if mode is not None and mode not in MODES:
        raise ConfigError(f"response_mode may be {', '.join(MODES[:-1])} or {MODES[-1]}.")


def response_in(query: str, state: str) -> str:
    """The JWT in a redirect's query. Raises `RedirectError`, for a plain redirect of another login its subclass."""
    pairs = redirect_pairs(query)
    found = [value for name, value in pairs if name == "response"]
    if len(found) == 1:
        return found[0]
    check_state(dict(pairs).get("state"), state)
    raise RedirectError(
        "The redirect is not a signed response, which response_mode asks for (JARM §2.3).",
        next_step="Check that the provider supports this response_mode for this client.",
    )


def check_unverified_state(token: str, state: str) -> None:
    """Raises `StateMismatchError` for a JWT with another state than ours, and for other text; verifies nothing.

    Anybody can send such a redirect to a listener, so it must not end the login that waits there.
    """
    from .signed_tokens import unverified

    try:
        theirs = unverified(token).claims.get("state")
    except IdentityError:
        theirs = None
    check_state(theirs, state)


def read_response(claims: Mapping[str, Any], *, issuer: str, client_id: str, now: float) -> dict[str, str]:
    """The parameters of verified claims (JARM §2.4); `now` in epoch seconds, theirs. Raises `RedirectError`."""
    if claims.get("iss") != issuer:
        raise RedirectError("The signed response is from another issuer (iss, JARM §2.4).", next_step=_AGAIN)
    if claims.get("aud") not in (client_id, [client_id]):
        raise RedirectError("The signed response is meant for another client (aud, JARM §2.4).", next_step=_AGAIN)
    end = claims.get("exp")
    # the bound comes first: JSON's integers have no end, and floats do
    if isinstance(end, bool) or not isinstance(end, int | float) or not 0 <= end < 1e12 or end + LEEWAY <= now:
        raise RedirectError("The signed response has expired, or has no expiry (exp, JARM §2.4).", next_step=_AGAIN)
    found = {name: claims[name] for name in _PARAMETERS if isinstance(claims.get(name), str)}
    return {**found, "iss": issuer}
