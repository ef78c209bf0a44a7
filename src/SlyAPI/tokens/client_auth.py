"""RFC 6749 §2.3: how a client authenticates at the token endpoint, as files and metadata name it. Pure."""

from typing import Literal, get_args

from ..errors import ConfigError

ClientAuth = Literal["basic", "post", "none"]
"""`basic`: Authorization header; `post`: in the form; `none`: a public client, only its id."""


def read_client_auth(value: object) -> ClientAuth | None:
    """The method in a file or a flag, under our name or RFC 7591's; None for an absent or empty value.

    Raises `ConfigError` for an unknown method, without quoting it: the value may be a misplaced secret.
    """
    if value is None or value == "":
        return None
    method: ClientAuth
    for method in get_args(ClientAuth):
        if value in (method, f"client_secret_{method}"):
            return method
    raise ConfigError("client_auth may be basic, post or none.")


def choose_from_metadata(methods: object) -> ClientAuth | None:
    """The method by `token_endpoint_auth_methods_supported` (RFC 8414 §2); None if it lists both or neither."""
    if not isinstance(methods, list):
        return None
    basic, post = "client_secret_basic" in methods, "client_secret_post" in methods
    if basic is post:
        return None
    return "basic" if basic else "post"
