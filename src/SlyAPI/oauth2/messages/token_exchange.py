"""RFC 8693, token exchange: one token in exchange for another, for another audience or in another's name. Pure."""

from ...errors import ConfigError, printable
from ...web.secret_values import SecretForm

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
_PREFIX = "urn:ietf:params:oauth:token-type:"
TOKEN_TYPES = ("access_token", "refresh_token", "id_token", "jwt", "saml1", "saml2", "id-jag")
"""Short names of token types (RFC 8693 §3), each for its URN."""


def token_type_urn(name: str) -> str:
    """The URN of a token type; a URI is given back as it is. Raises `ConfigError` for another word."""
    if name in TOKEN_TYPES:
        return _PREFIX + name
    if ":" in name:
        return name
    raise ConfigError(
        f"{printable(name, 40)!r} is not a token type.", next_step=f"Use one of {', '.join(TOKEN_TYPES)}, or a URI."
    )


def exchange_token_form(
    subject_token: str,
    subject_token_type: str,
    *,
    actor_token: str | None = None,
    actor_token_type: str | None = None,
    audience: str | None = None,
    scope: str = "",
    requested_token_type: str | None = None,
) -> SecretForm:
    """The form of a token exchange (RFC 8693 §2.1). Raises `ConfigError`."""
    if actor_token_type is not None and actor_token is None:
        raise ConfigError("actor_token_type needs an actor_token (RFC 8693 §2.1).")
    form = SecretForm(
        grant_type=GRANT_TYPE, subject_token=subject_token, subject_token_type=token_type_urn(subject_token_type)
    )
    if actor_token is not None:
        form |= {"actor_token": actor_token, "actor_token_type": token_type_urn(actor_token_type or "access_token")}
    if audience:
        form["audience"] = audience
    if scope:
        form["scope"] = scope
    if requested_token_type:
        form["requested_token_type"] = token_type_urn(requested_token_type)
    return form
