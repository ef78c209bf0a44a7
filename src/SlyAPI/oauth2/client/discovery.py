"""RFC 8414 and OpenID Connect Discovery: an issuer's endpoints and abilities, from its identifier alone. Pure.

The rule: the issuer in the metadata is the one that was asked for, character by character.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ...errors import BadReplyError, ConfigError, printable
from ...tokens.client_auth import choose_from_metadata
from ...web.json import present, read_reply
from ...web.messages import Method, Reply, Request
from ...web.redirects import leads_inside
from ...web.urls import bare_url, check_endpoint
from .client_file import ENDPOINTS, texts_of

SETTINGS = {"auth_uri": "authorization_endpoint", "token_uri": "token_endpoint", **ENDPOINTS}
"""The endpoints of a client, with the names that metadata give them."""
_READ_ALGS = ("RS256", "PS256", "ES256", "ES384", "Ed25519", "EdDSA")


def metadata_requests(issuer: str, *, allow_http: bool = False) -> list[Request]:
    """The requests in order: RFC 8414 §3.1, OpenID Discovery §4.1 (path inserted, appended). Raises `ConfigError`."""
    parts = urlsplit(check_endpoint(issuer, "issuer", allow_http=allow_http))
    if parts.query or parts.fragment:
        shown = printable(bare_url(issuer), 100)
        raise ConfigError(f"{shown!r} with a query or fragment is not an issuer.", next_step="Leave them out.")
    root, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    well_known = [
        f"{root}/.well-known/oauth-authorization-server{path}",
        f"{root}/.well-known/openid-configuration{path}",
        f"{root}{path}/.well-known/openid-configuration",
    ]
    return [Request(Method.GET, url, headers={"Accept": "application/json"}) for url in dict.fromkeys(well_known)]


def read_metadata(reply: Reply, issuer: str, *, allow_http: bool = False) -> dict[str, Any] | None:
    """The metadata in a reply (RFC 8414 §3.2); None if this address has none.

    Raises `BadReplyError` for metadata of another issuer (§3.3), `ConfigError` for an endpoint that is not an https
    URL, or is in a private network or on this machine while the issuer is elsewhere.
    """
    if reply.status != 200:
        return None
    try:
        found: Any = read_reply(reply, Request(Method.GET, reply.url))
    except BadReplyError:
        return None  # a web application sends its page for every address
    if not isinstance(found, dict):
        raise BadReplyError(f"The metadata of {printable(issuer, 100)} are not a JSON object.", kind="configuration")
    metadata = present(found)
    theirs = metadata.get("issuer")
    if theirs != issuer:
        near = isinstance(theirs, str) and theirs.rstrip("/") == issuer.rstrip("/")
        spelling = f"The issuer's own spelling is {printable(theirs, 100)}" if near else "Use the issuer's own name"
        raise BadReplyError(
            f"The metadata at {printable(issuer, 100)} are those of {printable(theirs, 100)!r}.",
            next_step=f"{spelling}.",
            kind="configuration",
        )
    for name in SETTINGS.values():
        if name in metadata:
            _check_endpoint(metadata[name], name, issuer, allow_http)
    aliases = metadata.get("mtls_endpoint_aliases")
    if isinstance(aliases, dict):
        metadata["mtls_endpoint_aliases"] = present(aliases)
        for name, uri in present(aliases).items():
            _check_endpoint(uri, printable(name, 80), issuer, allow_http)
    return metadata


def merged(found: Sequence[Mapping[str, Any]], issuer: str) -> dict[str, Any]:
    """An issuer's documents as one: the first counts. Raises `BadReplyError` where none names a token endpoint."""
    metadata = {name: value for document in reversed(found) for name, value in document.items()}
    if "token_endpoint" not in metadata:
        raise BadReplyError(f"The metadata of {printable(issuer, 100)} name no endpoints.", kind="configuration")
    return metadata


def client_settings(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a client learns from an issuer's metadata, by the names of its attributes. Raises `ConfigError`."""
    flags = {
        "iss_in_redirect": "authorization_response_iss_parameter_supported",
        "require_par": "require_pushed_authorization_requests",
        "sign_requests": "require_signed_request_object",
    }
    pkce = metadata.get("code_challenge_methods_supported")
    aliases = metadata.get("mtls_endpoint_aliases")
    learned: dict[str, Any] = {
        "issuer": metadata["issuer"],
        "auth_uri": metadata.get("authorization_endpoint", ""),
        **{ours: metadata[theirs] for ours, theirs in SETTINGS.items() if theirs in metadata},
        **{ours: True for ours, theirs in flags.items() if metadata.get(theirs) is True},
        "client_auth": choose_from_metadata(metadata.get("token_endpoint_auth_methods_supported")),
        "pkce_offered": isinstance(pkce, list) and "S256" in pkce,
        "dpop_algs": _texts(metadata.get("dpop_signing_alg_values_supported")),
        "id_token_alg": _signed_alg(metadata, "id_token_signing_alg_values_supported"),
        "response_alg": _signed_alg(metadata, "authorization_signing_alg_values_supported"),
        "mtls_aliases": texts_of(metadata, "mtls_endpoint_aliases") if isinstance(aliases, dict) else None,
    }
    return {name: value for name, value in learned.items() if value is not None}


def _signed_alg(metadata: Mapping[str, Any], name: str) -> str | list[str] | None:
    """RS256 where it is offered, which needs no mention, else all that we read (OpenID Connect Discovery §3)."""
    offered = _texts(metadata.get(name))
    if not offered or "RS256" in offered:
        return None
    ours = [alg for alg in _READ_ALGS if alg in offered]
    return ours[0] if len(ours) == 1 else ours or None


def _texts(value: Any) -> list[str] | None:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else None


def _check_endpoint(uri: Any, name: str, issuer: str, allow_http: bool) -> None:
    if not isinstance(uri, str):
        raise ConfigError(f"{name} is not an https URL.", next_step="Check the issuer.")
    check_endpoint(uri, name, allow_http=allow_http)
    if leads_inside(issuer, uri):  # a stranger's metadata must not direct requests to a local service
        where = "in a private network or on this machine"
        raise ConfigError(f"{name} is {where}, and the issuer is not.", next_step="Check the issuer.")
