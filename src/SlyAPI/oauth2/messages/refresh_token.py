"""RFC 6749 §6, the refresh token grant. Pure."""

from ...web.secret_values import SecretForm


def refresh_form(refresh_token: str) -> SecretForm:
    """The form that requests a new access token with the scopes granted before."""
    return SecretForm(grant_type="refresh_token", refresh_token=refresh_token)
