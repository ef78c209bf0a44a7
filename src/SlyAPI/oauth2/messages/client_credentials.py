"""RFC 6749 §4.4, the client credentials grant: a token for the program itself. Pure."""

from ...web.secret_values import SecretForm


def client_credentials_form(scope: str = "") -> SecretForm:
    """The form that asks for a token of the client's own; `scope` as the provider writes several."""
    form = SecretForm(grant_type="client_credentials")
    if scope:
        form["scope"] = scope
    return form
