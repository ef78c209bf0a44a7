"""What the provider publishes about itself and its API (RFC 8414, OpenID Connect Discovery 1.0, RFC 9728).

The rule: a feature is published when it is on; what a setting changes is changed here, nowhere else.
"""
from __future__ import annotations

from typing import Any

from aiohttp import web

from .clients.client_policy import JWT_METHODS, supported_methods
from .endpoint import Seen, Server
from .features import AUTHORIZATION_CODE, DEVICE_CODE, changed
from .ledger.grants import Refused
from .login.authorization import ACR_VALUES
from .messages import jose
from .tokens.dpop import ALGORITHMS

_WELL_KNOWN = "/.well-known/"
_RESOURCE = f"{_WELL_KNOWN}oauth-protected-resource"
RESOURCE_PLACES = (_RESOURCE, _RESOURCE + "/{path:.+}")


async def server_metadata(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET the metadata of the authorization server (RFC 8414 §3, OpenID Connect Discovery §4)."""
    place = places(server)[request.path]
    if place not in server.metadata_places or (place != "oauth" and not server.openid):
        raise Refused("not_found", "there are no metadata here", 404)
    return web.json_response(changed(described(server), server.metadata_changes))


async def resource_metadata(server: Server, request: web.Request, seen: Seen) -> web.Response:
    """GET the metadata of the API (RFC 9728 §3): for its root, or for one of its URLs."""
    path = request.path.removeprefix(_RESOURCE)
    at_root = server.resource_metadata == "root"
    if server.resource_metadata == "off" or at_root != (path == "") or not (at_root or _is_of_api(path)):
        raise Refused("not_found", "there are no metadata here", 404)
    document: dict[str, Any] = {
        "resource": server.origin + path,
        "authorization_servers": [server.issuer],
        "scopes_supported": [name for name in server.scopes if name != "openid"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Practice API",
    }
    if server.dpop != "off":
        document["dpop_signing_alg_values_supported"] = list(ALGORITHMS)
        document["dpop_bound_access_tokens_required"] = server.dpop == "required"
    return web.json_response(changed(document, server.resource_changes))


def places(server: Server) -> dict[str, str]:
    """The paths of the metadata, and the names of the places; without an issuer's path, two of them are one."""
    path = server.issuer_path
    return {
        f"{path}{_WELL_KNOWN}openid-configuration": "openid_appended",
        f"{_WELL_KNOWN}openid-configuration{path}": "openid",
        f"{_WELL_KNOWN}oauth-authorization-server{path}": "oauth",
    }


def described(server: Server) -> dict[str, Any]:
    """The metadata of the authorization server (RFC 8414 §2, RFC 9207 §3, OpenID Connect Discovery §3)."""
    methods = supported_methods(server)
    with_secret = [method for method in methods if method != "none"]
    document: dict[str, Any] = {
        "issuer": server.issuer,
        "token_endpoint": server.token_url,
        "revocation_endpoint": server.revoke_url,
        "introspection_endpoint": f"{server.origin}/introspect",
        "scopes_supported": list(server.scopes),
        "response_types_supported": [],
        "grant_types_supported": list(server.grant_types),
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": with_secret,
    }
    if set(methods) & set(JWT_METHODS):
        document["token_endpoint_auth_signing_alg_values_supported"] = [*jose.ASYMMETRIC, *jose.HMAC]
    if AUTHORIZATION_CODE in server.grant_types:
        document |= _of_authorization(server)
    if DEVICE_CODE in server.grant_types:
        document["device_authorization_endpoint"] = f"{server.origin}/device_authorization"
    if server.registration:
        document["registration_endpoint"] = f"{server.origin}/register"
    if server.client_metadata_documents:
        document["client_id_metadata_document_supported"] = True
    if server.dpop != "off":
        document["dpop_signing_alg_values_supported"] = list(ALGORITHMS)
    if server.openid:
        document |= _of_identity(server)
    return document


def _of_authorization(server: Server) -> dict[str, Any]:
    algs = {"authorization_signing_alg_values_supported": list(server.signing_algs)}
    return {
        **(algs if server.signed_responses else {}),
        "authorization_endpoint": server.authorize_url,
        "pushed_authorization_request_endpoint": f"{server.origin}/par",
        "require_pushed_authorization_requests": server.require_par,
        "response_types_supported": ["code"],
        "response_modes_supported": list(server.response_modes),
        "request_parameter_supported": server.signed_requests != "off",
        "request_uri_parameter_supported": False,
        "require_signed_request_object": server.signed_requests == "required",
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "acr_values_supported": list(ACR_VALUES),
    }


def _of_identity(server: Server) -> dict[str, Any]:
    return {
        "jwks_uri": f"{server.origin}/jwks",
        "userinfo_endpoint": f"{server.origin}/userinfo",
        "end_session_endpoint": f"{server.origin}/logout",
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [*server.signing_algs, "HS256"],
        "userinfo_signing_alg_values_supported": list(server.signing_algs),
        "claims_supported": ["sub", "name", "email", "email_verified", "auth_time", "acr", "sid"],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
    }


def _is_of_api(path: str) -> bool:
    return path == "/api" or path.startswith("/api/")
