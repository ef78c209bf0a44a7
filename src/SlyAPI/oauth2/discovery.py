"""RFC 8414 and OpenID Connect Discovery: an issuer's endpoints, from its identifier alone. Pure."""

from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..errors import BadReplyError, ConfigError, printable
from ..tokens.client_auth import ClientAuth, choose_from_metadata
from ..web.json import read_json
from ..web.messages import Method, Reply, Request
from ..web.urls import check_endpoint


class Metadata(NamedTuple):
    """The authorization server metadata that a client needs."""

    issuer: str
    auth_uri: str
    token_uri: str
    client_auth: ClientAuth | None
    iss_in_redirect: bool
    revoke_uri: str | None


def metadata_requests(issuer: str) -> list[Request]:
    """The requests to try in turn: RFC 8414 §3.1, then OpenID Connect Discovery §4.1. Raises `ConfigError`."""
    parts = urlsplit(check_endpoint(issuer, "issuer"))
    if parts.query or parts.fragment:
        raise ConfigError(f"{printable(issuer, 100)!r} is not an issuer: it must be an https URL without query.")
    root, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    well_known = [
        f"{root}/.well-known/oauth-authorization-server{path}",
        f"{root}{path}/.well-known/openid-configuration",
        f"{root}/.well-known/openid-configuration{path}",
    ]
    return [Request(Method.GET, url, headers={"Accept": "application/json"}) for url in dict.fromkeys(well_known)]


def read_metadata(reply: Reply, issuer: str) -> Metadata | None:
    """The metadata in a reply (RFC 8414 §3.2); None if this address has none.

    Raises `BadReplyError` for metadata without endpoints or of another issuer (§3.3),
    `ConfigError` for an endpoint that is not an https URL, or is on this machine while the issuer is elsewhere.
    """
    if reply.status != 200:
        return None
    try:
        metadata: Any = read_json(reply.body, Request(Method.GET, reply.url))
    except BadReplyError:
        return None  # a web application sends its page for every address
    if not isinstance(metadata, dict):
        raise BadReplyError(f"The metadata of {printable(issuer, 100)} are not a JSON object.", kind="configuration")
    if str(metadata.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):
        raise BadReplyError(
            f"The metadata at {printable(issuer, 100)} are those of {printable(metadata.get('issuer'), 100)!r}.",
            next_step="Use the issuer's own name.",
            kind="configuration",
        )
    auth_uri, token_uri = metadata.get("authorization_endpoint"), metadata.get("token_endpoint")
    if not isinstance(auth_uri, str) or not isinstance(token_uri, str):
        raise BadReplyError(f"The metadata of {printable(issuer, 100)} name no endpoints.", kind="configuration")
    revoke_uri = metadata.get("revocation_endpoint")
    return Metadata(
        issuer=str(metadata["issuer"]),
        auth_uri=_endpoint(auth_uri, "authorization_endpoint", issuer),
        token_uri=_endpoint(token_uri, "token_endpoint", issuer),
        client_auth=choose_from_metadata(metadata.get("token_endpoint_auth_methods_supported")),
        iss_in_redirect=metadata.get("authorization_response_iss_parameter_supported") is True,
        revoke_uri=_endpoint(revoke_uri, "revocation_endpoint", issuer) if isinstance(revoke_uri, str) else None,
    )


def _endpoint(uri: str, name: str, issuer: str) -> str:
    check_endpoint(uri, name)
    if _is_here(uri) and not _is_here(issuer):  # a stranger's metadata must not direct secrets to a local service
        raise ConfigError(f"{name} is on this machine, and the issuer is not.", next_step="Check the issuer.")
    return uri


def _is_here(uri: str) -> bool:
    host = (urlsplit(uri).hostname or "").rstrip(".")
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761 §6.3
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified
