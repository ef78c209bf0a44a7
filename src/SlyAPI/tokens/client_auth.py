"""RFC 6749 §2.3: how a client authenticates at the token endpoint, as files and metadata name it. Pure."""

from typing import Literal, get_args

from ..errors import ConfigError

ClientAuth = Literal[
    "basic",
    "post",
    "none",
    "client_secret_jwt",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
]
"""`basic`: Authorization header; `post`: in the form; `none`: a public client, only its id; by a signed assertion
(RFC 7523 §2.2); by a certificate in TLS (RFC 8705 §2)."""
METHODS: tuple[ClientAuth, ...] = get_args(ClientAuth)
BY_ASSERTION = ("client_secret_jwt", "private_key_jwt")
BY_CERTIFICATE = ("tls_client_auth", "self_signed_tls_client_auth")


def read_client_auth(value: object) -> ClientAuth | None:
    """The method under our name or RFC 7591's; None for none. Raises `ConfigError`, which quotes nothing."""
    if value is None or value == "":
        return None
    for method in METHODS:
        if value == method or (method in ("basic", "post") and value == f"client_secret_{method}"):
            return method
    raise ConfigError(f"client_auth may be {', '.join(METHODS[:-1])} or {METHODS[-1]}.")


def registered_name(method: ClientAuth) -> str:
    """The method as metadata name it (RFC 7591 §2)."""
    return f"client_secret_{method}" if method in ("basic", "post") else method


def choose_from_metadata(methods: object) -> ClientAuth | None:
    """The method for a secret (RFC 8414 §2); None where the list leaves basic or post open, or has neither."""
    if not isinstance(methods, list):
        return None
    if methods == ["none"]:
        return "none"
    basic, post = "client_secret_basic" in methods, "client_secret_post" in methods
    if basic is not post:
        return "basic" if basic else "post"
    return "client_secret_jwt" if not basic and "client_secret_jwt" in methods else None
