"""What a registered client may do: grant types, scopes, resources, ways to authenticate.

The rule: pure functions of settings and registration.
"""
from __future__ import annotations

from urllib.parse import urlsplit

from ..endpoint import Server
from ..ledger.grants import Client, Refused
from ..messages import jose

SECRET_METHODS = {"basic": "client_secret_basic", "post": "client_secret_post"}
JWT_METHODS = ("client_secret_jwt", "private_key_jwt")
_NOT_BY_DEFAULT = ("openid", "profile", "email", "offline_access")


def may_use(server: Server, client: Client, grant_type: str) -> bool:
    """Whether this client may use this grant type; a registration that names none may use all."""
    return grant_type in server.grant_types and grant_type in client.metadata.get("grant_types", (grant_type,))


def scopes_of(server: Server, client: Client) -> tuple[str, ...]:
    """The scopes this client may ask for: those it registered, else all."""
    registered = client.metadata.get("scope")
    return tuple(server.scopes) if registered is None else tuple(s for s in registered.split() if s in server.scopes)


def checked_scopes(server: Server, client: Client, scope: str | None) -> tuple[str, ...]:
    """The scopes of a token request without a person; without `scope` all of the API's (RFC 6749 §3.3)."""
    allowed = scopes_of(server, client)
    if scope is None:
        return tuple(name for name in allowed if name not in _NOT_BY_DEFAULT)
    wanted = tuple(dict.fromkeys(scope.split(" ")))
    if not set(wanted) <= set(allowed):
        raise Refused("invalid_scope", "a scope is unknown, or not among those that the client registered")
    return wanted


def resource_error(server: Server, resources: tuple[str, ...]) -> str:
    """Why these resource indicators are refused (RFC 8707 §2); empty where they are not."""
    if server.require_resource and not resources:
        return "resource is missing"
    for resource in resources:
        if not urlsplit(resource).scheme or "#" in resource:
            return "resource is not an absolute URI without fragment"
        if resource not in server.resources and not covers_api(server, resource):
            return "the resource is unknown to this provider"
    return ""


def covers_api(server: Server, resource: str) -> bool:
    """Whether this names the API, a URL of it, or the origin."""
    return resource in (server.origin, server.api_url) or resource.startswith(f"{server.api_url}/")


def methods_of(server: Server, client: Client) -> tuple[str, ...]:
    """How this client may authenticate, in the names of RFC 7591 §2."""
    registered = client.metadata.get("token_endpoint_auth_method")
    if registered is not None:
        return (str(registered),)
    return ("none",) if client.secret_digest is None else secret_methods(server)


def secret_methods(server: Server) -> tuple[str, ...]:
    """The ways to show a client secret that this provider accepts."""
    if server.client_auth == "any":
        return tuple(SECRET_METHODS.values())
    return (SECRET_METHODS[server.client_auth],)


def supported_methods(server: Server) -> list[str]:
    """All ways to authenticate: those of clients that are registered, and of clients that may register."""
    methods = list(secret_methods(server))
    if server.registration:
        methods += ["none", *(JWT_METHODS if jose.installed() else ())]
    if server.client_metadata_documents:
        methods += ["none", *(JWT_METHODS[1:] if jose.installed() else ())]
    for client in server.ledger.clients.values():
        methods += methods_of(server, client)
    return list(dict.fromkeys(methods))
