"""What the FAPI 2.0 Security Profile (Final, February 2025) demands of a client, as rules. Pure.

The rule: each refusal is a `ConfigError` that names the clause. A client is checked by `discover`, by each command, and
before each login and token request, so that neither a client file nor a setting changed later goes unchecked.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ...errors import ConfigError
from ...tokens.client_auth import BY_CERTIFICATE, ClientAuth
from ...web.urls import is_https_or_loopback, is_loopback_uri
from .client_file import ENDPOINTS

if TYPE_CHECKING:
    from ..messages.jose import SigningKey

FAPI2 = "fapi2"
"""The value of `profile` for the FAPI 2.0 Security Profile."""
ALGORITHMS = ("ES256", "Ed25519", "EdDSA", "PS256")
"""The algorithms of JWTs that the profile accepts (§5.4.1)."""
LONGEST_PUSHED = 600.0
"""Seconds below which the life of a pushed request has to stay (§5.3.2.2)."""
_SHORTEST_RSA = 2048
"""Bits (§5.4.1)."""
_METHODS = ("private_key_jwt", *BY_CERTIFICATE)


def forbidden(clause: str, problem: str, next_step: str = "") -> ConfigError:
    """The error for what a clause of the profile forbids."""
    return ConfigError(f"{problem} (FAPI 2.0 Security Profile §{clause}).", next_step=next_step)


class Client(Protocol):
    """The settings of a client that the rules read."""

    auth_uri: str
    issuer: str | None
    profile: str | None
    allow_http: bool
    require_par: bool
    iss_in_redirect: bool
    dpop: bool
    pkce: bool | None
    pkce_offered: bool | None
    par_uri: str | None
    key_alg: str | None
    certificate: Any
    assertion_audience: str | None
    client_assertion: Any
    response_mode: str | None
    mtls_aliases: Mapping[str, str]

    def _known_client_auth(self) -> ClientAuth | None: ...


class Rule(NamedTuple):
    """What must not be so of a client, with the clause, and what to do about it."""

    clause: str
    is_broken: Callable[[Client], bool]
    problem: str
    next_step: str


def check_profile(client: Client) -> None:
    """Raises `ConfigError` for a client that its profile forbids, or for an unknown profile."""
    if client.profile is None:
        return
    if client.profile != FAPI2:
        raise ConfigError(f"profile may be {FAPI2}.", next_step="Leave profile out where no profile is wanted.")
    for rule in RULES:
        if rule.is_broken(client):
            raise forbidden(rule.clause, rule.problem, rule.next_step)


def _accepts_none_of(name: str) -> Callable[[Client], bool]:
    """Whether the algorithms in this setting, one or several, are all forbidden."""

    def is_broken(client: Client) -> bool:
        algs: str | Collection[str] | None = getattr(client, name)
        unused = name == "response_alg" and client.response_mode is None
        return algs is not None and not unused and not allowed([algs] if isinstance(algs, str) else algs)

    return is_broken


RULES = (
    Rule("5.2.1, 1", lambda client: client.allow_http, "allow_http is set", "Leave allow_http out; use https."),
    Rule(
        "5.2.1, 1",
        lambda client: not all(is_https_or_loopback(uri) for uri in _uris(client)),
        "An endpoint is not at an https URL",
        "Make the client with OAuth2App.discover from its https issuer.",
    ),
    Rule(
        "5.3.3.1, 9 and 11",
        lambda client: not client.issuer,
        "The client has no issuer, whose metadata name its endpoints",
        "Make the client with OAuth2App.discover.",
    ),
    Rule(
        "5.3.3.1, 2",
        lambda client: client._known_client_auth() not in _METHODS,
        "The client authenticates neither by private_key_jwt nor by a certificate",
        "Give key=, or certificate= with client_auth='tls_client_auth', and no secret.",
    ),
    Rule(
        "5.3.3.1, 2",
        lambda client: client._known_client_auth() in BY_CERTIFICATE and client.certificate is None,
        "The client authenticates by a certificate and has none",
        "Give certificate=.",
    ),
    Rule(
        "5.3.3.1, 1",
        lambda client: not client.dpop and client.certificate is None,
        "Tokens would be bound neither to a key (DPoP) nor to a certificate",
        "Give dpop=True or certificate=.",
    ),
    Rule(
        "5.3.3.1, 5",
        lambda client: client.client_assertion is not None,
        "The audience of a client_assertion by others is not the client's to choose",
        "Give key=.",
    ),
    Rule(
        "5.3.3.1, 5",
        lambda client: client.assertion_audience not in (None, client.issuer),
        "assertion_audience is not the issuer",
        "Leave assertion_audience out.",
    ),
    Rule(
        "5.3.3.2, 2",
        lambda client: bool(client.auth_uri) and not client.par_uri,
        "The provider has no endpoint for pushed authorization requests",
        "Make the client with OAuth2App.discover, or give par_uri.",
    ),
    Rule(
        "5.3.3.2, 2",
        lambda client: bool(client.auth_uri) and not client.require_par,
        "require_par is switched off",
        "Leave require_par as the profile sets it.",
    ),
    Rule(
        "5.3.3.2, 5",
        lambda client: not client.iss_in_redirect,
        "iss_in_redirect is switched off",
        "Leave iss_in_redirect as the profile sets it.",
    ),
    Rule("5.3.3.2, 3", lambda client: client.pkce is False, "PKCE is switched off", "Leave pkce out."),
    Rule(
        "5.3.2.2, 5",
        lambda client: bool(client.auth_uri) and client.pkce_offered is False,
        "The provider's metadata do not offer PKCE with S256",
        "Ask the provider for its FAPI 2.0 issuer.",
    ),
    Rule(
        "5.4.1, 1",
        lambda client: client.key_alg not in (None, *ALGORITHMS),
        "key_alg is not one of PS256, ES256 and EdDSA",
        "Give key_alg='PS256' for an RSA key.",
    ),
    *(
        Rule(
            "5.4.1, 1",
            _accepts_none_of(name),
            f"{name} has none of PS256, ES256 and EdDSA",
            "Register one of them with the provider.",
        )
        for name in ("id_token_alg", "response_alg", "dpop_algs")
    ),
)


def _uris(client: Client) -> Iterable[str]:
    own = (getattr(client, name) for name in ("issuer", "auth_uri", "token_uri", *ENDPOINTS))
    return (uri for uri in (*own, *client.mtls_aliases.values()) if uri)


def allowed(algs: Iterable[str]) -> list[str]:
    """Those algorithms that the profile accepts."""
    return [alg for alg in algs if alg in ALGORITHMS]


def check_server(metadata: Mapping[str, Any], client: Client) -> None:
    """Raises `ConfigError` for metadata (RFC 8414) that do not offer what a client of the profile needs."""
    names_itself = metadata.get("authorization_response_iss_parameter_supported") is True
    if client.auth_uri and not names_itself and client.response_mode is None:  # RFC 9207 §2.4: JARM does by itself
        raise forbidden("5.3.2.2, 7", "The provider's responses do not name the issuer (RFC 9207)")
    if not client.dpop and metadata.get("tls_client_certificate_bound_access_tokens") is not True:
        step = "Give dpop=True, if the provider supports DPoP."
        raise forbidden("5.3.2.1, 4", "The provider does not bind tokens to the client's certificate", step)


def check_call(client: Client, url: str, *, bound: bool) -> None:
    """Raises `ConfigError` for an API call over plain http, or with a token that is bound to nothing."""
    if not is_https_or_loopback(url):
        raise forbidden("5.2.1, 1", "The API is not at an https URL")
    if not bound and client.certificate is None:
        raise not_bound()


def check_redirect_uri(redirect_uri: str) -> None:
    """Raises `ConfigError` for a redirect URI over which a response would be sent unprotected."""
    if redirect_uri.lower().startswith("http:") and not is_loopback_uri(redirect_uri):
        step = "Use https, or a loopback address for a program on the person's machine (RFC 8252 §7.3)."
        raise forbidden("5.3.2.2, 8", "The redirect URI is plain http", step)


def check_pushed_life(life: float | None) -> None:
    """Raises `ConfigError` for a pushed request that lives too long, in seconds, or without a stated end."""
    if life is None or life >= LONGEST_PUSHED:
        shown = "no end" if life is None else f"a life of {min(life, 1e9):.0f} s, not less than {LONGEST_PUSHED:.0f} s"
        raise forbidden("5.3.2.2, 12", f"The provider gave the pushed request {shown}")


def check_key(key: "SigningKey") -> None:
    """Raises `ConfigError` for a key, or its algorithm, that is not accepted."""
    if key.alg not in ALGORITHMS:
        step = "Give key_alg='PS256' for an RSA key."
        raise forbidden("5.4.1, 1", "The key signs with none of PS256, ES256 and EdDSA", step)
    modulus = (key.public or {}).get("n")
    if modulus is not None and 6 * len(modulus) < _SHORTEST_RSA:  # base64url: 6 bits a character
        raise forbidden("5.4.1, 2", f"The RSA key is shorter than {_SHORTEST_RSA} bits")


def unpushed() -> ConfigError:
    """The error for a request that goes through the browser."""
    step = "Use: await app.push_login(...), with the same arguments."
    return forbidden("5.3.3.2, 2 and 6", "An authorization request has to be pushed", step)


def other_login() -> ConfigError:
    """The error for a person's login by another grant than the authorization code."""
    return forbidden("5.3.3.2, 1", "A person logs in by the authorization code grant", "Use push_login.")


def not_bound() -> ConfigError:
    """The error for tokens of a grant before the profile, whose refresh brings tokens that are not bound."""
    return forbidden("5.3.3.1, 1", "The user's tokens are not bound to a key", "Let the person log in again.")
