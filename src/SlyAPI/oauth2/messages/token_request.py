"""RFC 6749 §2.3: the request to the token endpoint, with the client's authentication; the two shortest forms. Pure.

The rule: one method per request, and never a guess on a refresh (a refused one may end the refresh token).
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ...errors import ConfigError
from ...tokens.client_auth import ClientAuth
from ...web.messages import Method, Request
from ...web.secret_values import SecretForm, SecretPairs

OF_THE_PROTOCOL = {
    *("grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "code", "code_verifier"),
    *("redirect_uri", "refresh_token", "device_code", "assertion", "subject_token", "actor_token", "resource"),
}
"""Parameters that `token_params` may not set, in any token request."""


def check_token_params(params: Any) -> None:
    """Raises `ConfigError` for parameters that are not texts, or that the protocol sets."""
    if not isinstance(params, Mapping) or not all(
        isinstance(name, str) and name and isinstance(text, str | None) for name, text in params.items()
    ):
        raise ConfigError("token_params is not a mapping of names to texts.")
    if clash := sorted(OF_THE_PROTOCOL.intersection(params)):
        raise ConfigError(f"token_params may not set {', '.join(clash)}: the protocol sets it.")


def merged_params(*layers: Mapping[str, str | None] | None) -> dict[str, str | None]:
    """The parameters of all layers; those of a later one win. Raises `ConfigError`."""
    merged: dict[str, str | None] = {}
    for params in filter(None, layers):
        check_token_params(params)
        merged.update(params)
    return merged


def with_params(form: SecretForm, params: Mapping[str, str | None]) -> SecretForm:
    """The form with the provider's own parameters; None omits one. Raises `ConfigError` for one that the form has."""
    more = {name: text for name, text in params.items() if text is not None}
    if clash := sorted(form.keys() & more):
        step = "Leave it out of token_params; None there removes the client's."
        raise ConfigError(f"token_params may not set {', '.join(clash)}: this request sets it.", next_step=step)
    return SecretForm({**form, **more}) if more else form


def token_request(
    token_uri: str,
    form: SecretForm,
    method: ClientAuth,
    client_id: str,
    client_secret: str,
    *,
    resources: Sequence[str] = (),
) -> Request:
    """A POST to the token endpoint, with the client authentication in the one place that `method` names.

    An assertion (RFC 7523 §2.2) is in `form` already; a certificate (RFC 8705 §2) is presented by the connection.
    `resources` are repeated parameters (RFC 8707 §2).
    """
    fields = SecretForm(form)
    headers = {"Accept": "application/json"}  # GitHub answers form-encoded without it
    if method == "basic":
        # RFC 6749 §2.3.1: id and secret are form-encoded before Basic; %20 for a space reaches most servers
        # an unpaired surrogate is sent, for the provider to refuse
        pair = ":".join(quote(part, safe="", errors="surrogatepass") for part in (client_id, client_secret))
        headers["Authorization"] = "Basic " + b64encode(pair.encode("ascii")).decode("ascii")
    else:
        fields["client_id"] = client_id
        if method == "post":
            fields["client_secret"] = client_secret
    if not resources:
        return Request(Method.POST, token_uri, headers=headers, data=fields)
    pairs = SecretPairs([*fields.items(), *(("resource", resource) for resource in resources)])
    return Request(Method.POST, token_uri, headers=headers, data=pairs)


def basic_of(request: Request) -> str:
    """The Basic credentials that a request carries, or an empty text."""
    return request.headers.get("Authorization", "").removeprefix("Basic ")


def refresh_form(refresh_token: str) -> SecretForm:
    """The form that requests a new access token with the scopes granted before (RFC 6749 §6)."""
    return SecretForm(grant_type="refresh_token", refresh_token=refresh_token)


def client_credentials_form(scope: str = "") -> SecretForm:
    """The form that asks for a token of the client's own (§4.4); `scope` as the provider writes several."""
    return SecretForm(grant_type="client_credentials", **({"scope": scope} if scope else {}))
