"""RFC 6749 §2.3: how a client proves who it is to the token endpoint. Pure.

The rule: one method per request, and never a guess on a refresh (a refused one may end the refresh token).
"""

from base64 import b64encode
from typing import Literal, get_args
from urllib.parse import quote

from ..errors import ConfigError
from ..web import Method, Request, SecretForm

ClientAuth = Literal["basic", "post", "none"]
"""`basic`: Authorization header; `post`: in the form; `none`: a public client, only its id."""


def read_client_auth(value: object) -> ClientAuth | None:
    """The method named by a file or a flag, in our words or in RFC 7591's; None for none named.

    Raises `ConfigError` for a method we do not speak, without its name: what stands in the wrong line
    of a client file may be its secret.
    """
    if value is None or value == "":
        return None
    method: ClientAuth
    for method in get_args(ClientAuth):
        if value in (method, f"client_secret_{method}"):
            return method
    raise ConfigError("client_auth may be basic, post or none.")


def choose_from_metadata(methods: object) -> ClientAuth | None:
    """The method to use by `token_endpoint_auth_methods_supported` (RFC 8414 §2), None if it leaves the choice."""
    if not isinstance(methods, list):
        return None
    basic, post = "client_secret_basic" in methods, "client_secret_post" in methods
    if basic is post:
        return None
    return "basic" if basic else "post"


def token_request(
    token_uri: str, form: SecretForm, method: ClientAuth, client_id: str, client_secret: str
) -> Request:
    """A POST to the token endpoint with the client's proof in the one place that `method` names."""
    fields = SecretForm(form)
    headers = {"Accept": "application/json"}  # GitHub answers form-encoded without it
    if method == "basic":
        # RFC 6749 §2.3.1: id and secret are form-encoded before Basic; %20 for a space reaches most servers
        # half a character, which UTF-8 has not, is the provider's to refuse
        pair = ":".join(quote(part, safe="", errors="surrogatepass") for part in (client_id, client_secret))
        headers["Authorization"] = "Basic " + b64encode(pair.encode("ascii")).decode("ascii")
    else:
        fields["client_id"] = client_id
        if method == "post":
            fields["client_secret"] = client_secret
    return Request(Method.POST, token_uri, headers=headers, data=fields)


def basic_of(request: Request) -> str:
    """The credentials in Basic that a request carries, or nothing."""
    return request.headers.get("Authorization", "").removeprefix("Basic ")
