"""A client's metadata as RFC 7591 §2 names them, checked before a client is registered with them.

The rule: pure functions; an omitted member gets the default of the RFC, an unknown member is ignored (§2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..endpoint import Server
from ..features import AUTHORIZATION_CODE, REFRESH_TOKEN
from ..ledger.grants import Client, Refused
from ..messages import jose
from ..messages.fetching import LOOPBACK, FetchFailed, fetch_json, is_fetchable
from ..messages.request_reader import checked_redirect_uri
from .client_policy import JWT_METHODS, supported_methods

_TEXTS = ("client_name", "client_uri", "logo_uri", "scope", "contacts", "tos_uri", "policy_uri", "software_id")
_URIS = ("jwks_uri", "backchannel_logout_uri", "client_uri", "logo_uri")
_FLAGS = (
    "dpop_bound_access_tokens",
    "require_pushed_authorization_requests",
    "require_signed_request_object",
    "backchannel_logout_session_required",
)
_ALGORITHMS = ("id_token_signed_response_alg", "userinfo_signed_response_alg", "authorization_signed_response_alg")
_CODE_TYPES = ["code"]


def checked_metadata(server: Server, sent: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata to register, defaults filled in; Refused with the codes of RFC 7591 §3.2.2 otherwise."""
    grant_types = _texts(sent, "grant_types", [AUTHORIZATION_CODE])
    if not set(grant_types) <= set(server.grant_types):
        raise _refused(f"grant_types: supported are {' '.join(server.grant_types)}")
    with_code = AUTHORIZATION_CODE in grant_types
    response_types = _texts(sent, "response_types", _CODE_TYPES if with_code else [])
    if response_types != (_CODE_TYPES if with_code else []):
        raise _refused("response_types: code belongs to the grant type authorization_code, and to no other")
    if grant_types == [REFRESH_TOKEN]:
        raise _refused("grant_types: refresh_token needs another grant type")
    metadata = {
        "redirect_uris": _redirect_uris(sent, with_code),
        "grant_types": grant_types,
        "response_types": response_types,
        **_authentication(server, sent, "client_credentials" in grant_types),
        **_plain(sent),
        **_signing(server, sent),
    }
    if "scope" in metadata and not set(metadata["scope"].split(" ")) <= set(server.scopes):
        raise _refused("scope: a scope is unknown to this provider")
    if "post_logout_redirect_uris" in sent:
        metadata["post_logout_redirect_uris"] = _texts(sent, "post_logout_redirect_uris", [])
    return metadata


def _redirect_uris(sent: Mapping[str, Any], needed: bool) -> list[str]:
    uris = _texts(sent, "redirect_uris", [], "invalid_redirect_uri")
    if needed and not uris:
        raise _refused("redirect_uris: one is needed for authorization codes", "invalid_redirect_uri")
    native = sent.get("application_type", "web") == "native"
    if sent.get("application_type", "web") not in ("web", "native"):
        raise _refused("application_type is web or native")
    for uri in uris:
        try:
            parts = urlsplit(checked_redirect_uri(uri))
            loopback = parts.hostname in LOOPBACK
        except ValueError as error:
            raise _refused(f"redirect_uris: {error}", "invalid_redirect_uri") from error
        # OpenID Connect Registration §2, RFC 8252 §7: https for the web; own schemes and loopback for programs
        own_scheme = native and "." in parts.scheme
        if not (own_scheme or parts.scheme == "https" or (parts.scheme == "http" and loopback and native)):
            raise _refused(
                "redirect_uris: https; for application_type native also http on loopback, or a scheme with a dot",
                "invalid_redirect_uri",
            )
    return uris


def _authentication(server: Server, sent: Mapping[str, Any], confidential: bool) -> dict[str, Any]:
    """How the client authenticates (RFC 7591 §2): the method, and the keys that it needs."""
    method = sent.get("token_endpoint_auth_method", "client_secret_basic")
    if method not in supported_methods(server):
        raise _refused(f"token_endpoint_auth_method: supported are {' '.join(supported_methods(server))}")
    if method == "none" and confidential:
        raise _refused("token_endpoint_auth_method: client_credentials needs a client that can authenticate")
    if "jwks" in sent and "jwks_uri" in sent:
        raise _refused("jwks and jwks_uri exclude each other")
    chosen: dict[str, Any] = {"token_endpoint_auth_method": method}
    if "jwks" in sent:
        keys = sent["jwks"].get("keys") if isinstance(sent["jwks"], dict) else None
        if not isinstance(keys, list) or not keys or not all(jose.is_public_jwk(key) for key in keys):
            raise _refused("jwks: an object with keys, all of them public")
        chosen["jwks"] = {"keys": keys}
    if method == "private_key_jwt" and "jwks" not in sent and "jwks_uri" not in sent:
        raise _refused("private_key_jwt needs jwks or jwks_uri")
    algorithm = sent.get("token_endpoint_auth_signing_alg")
    if algorithm is not None:
        fitting = jose.HMAC if method == "client_secret_jwt" else jose.ASYMMETRIC
        if method not in JWT_METHODS or algorithm not in fitting:
            raise _refused("token_endpoint_auth_signing_alg does not fit the method")
        chosen["token_endpoint_auth_signing_alg"] = algorithm
    return chosen


def _plain(sent: Mapping[str, Any]) -> dict[str, Any]:
    chosen: dict[str, Any] = {"application_type": sent.get("application_type", "web")}
    for name in (*_TEXTS, *_URIS):
        if name in sent:
            if name != "contacts" and not isinstance(sent[name], str):
                raise _refused(f"{name} is a string")
            if name in _URIS and not is_fetchable(sent[name]):
                raise _refused(f"{name} is not an https URL")
            chosen[name] = sent[name]
    for name in _FLAGS:
        if name in sent:
            if not isinstance(sent[name], bool):
                raise _refused(f"{name} is true or false")
            chosen[name] = sent[name]
    return chosen


def _signing(server: Server, sent: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {name: sent[name] for name in _ALGORITHMS if name in sent}
    if any(alg not in (*server.signing_algs, "HS256") or not server.openid for alg in chosen.values()):
        raise _refused("a signed_response_alg is not supported")
    return chosen


def _texts(sent: Mapping[str, Any], name: str, default: list[str], error: str = "invalid_client_metadata") -> list[str]:
    values = sent.get(name, default)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _refused(f"{name} is an array of strings", error)
    return list(values)


def _refused(description: str, error: str = "invalid_client_metadata") -> Refused:
    return Refused(error, description)


_SECRET_METHODS = ("client_secret_basic", "client_secret_post", "client_secret_jwt")


async def load_client(server: Server, client_id: str) -> Client | None:
    """The client that a document describes; None where the id is not such a URL. Refused for a bad document."""
    if not server.client_metadata_documents or not is_document_url(client_id):
        return None
    try:
        document = await fetch_json(client_id)
    except FetchFailed as failed:
        raise Refused("invalid_client", f"the client's metadata document: {failed}") from failed
    if document.get("client_id") != client_id:
        raise Refused("invalid_client", "the client's metadata document names another client_id")
    if "client_secret" in document or document.get("token_endpoint_auth_method") in _SECRET_METHODS:
        raise Refused("invalid_client", "the client's metadata document is public; it cannot use a secret")
    document.setdefault("token_endpoint_auth_method", "none")
    # the draft has no application_type: loopback redirects are as good as https
    metadata = checked_metadata(server, {"application_type": "native", **document})
    client = Client(
        client_id,
        str(metadata.get("client_name", client_id)),
        None,
        tuple(metadata["redirect_uris"]),
        metadata,
    )
    server.ledger.clients[client_id] = client
    return client


def is_document_url(text: str) -> bool:
    """Whether a client_id can be a document's URL: a path, no user, no fragment, no dot segments."""
    if not is_fetchable(text):
        return False
    parts = urlsplit(text)
    dotted = any(segment in (".", "..") for segment in parts.path.split("/"))
    return bool(parts.path) and "#" not in text and "@" not in parts.netloc and not dotted
