"""Which endpoints a provider has.

The rule: those of a feature exist only where it is on when the provider starts.
"""
from __future__ import annotations

from . import api, metadata
from .clients import registration
from .endpoint import Endpoint, Server
from .features import DEVICE_CODE
from .login import authorization, device, logout
from .tokens import identity, tokens

Route = tuple[str, str, Endpoint]


def routes_of(server: Server) -> list[Route]:
    """Method, path and endpoint of each."""
    routes: list[Route] = [
        ("GET", "/authorize", authorization.authorize),
        ("POST", "/consent", authorization.answer_consent),
        ("POST", "/par", authorization.push),
        ("POST", "/token", tokens.token),
        ("POST", "/revoke", tokens.revoke),
        ("POST", "/introspect", tokens.introspect),
        ("GET", "/api/forecast", api.forecast),
        ("GET", "/api/notes", api.notes),
        ("POST", "/api/notes", api.add_note),
        ("GET", "/api/archive", api.archive),
        ("GET", "/api/vault", api.vault),
        ("GET", "/api/me", api.me),
    ]
    routes += [("GET", path, metadata.server_metadata) for path in metadata.places(server)]
    routes += [("GET", path, metadata.resource_metadata) for path in metadata.RESOURCE_PLACES]
    if DEVICE_CODE in server.grant_types:
        routes += [
            ("POST", "/device_authorization", device.begin),
            ("GET", "/device", device.show),
            ("POST", "/device", device.answer),
        ]
    if server.registration:
        routes += [
            ("POST", "/register", registration.register),
            ("GET", "/register/{client_id}", registration.read_registration),
            ("PUT", "/register/{client_id}", registration.update_registration),
            ("DELETE", "/register/{client_id}", registration.delete_registration),
        ]
    if server.openid:
        routes += [
            ("GET", "/jwks", identity.publish_keys),
            ("GET", "/userinfo", identity.userinfo),
            ("POST", "/userinfo", identity.userinfo),
            ("GET", "/logout", logout.end_session),
            ("POST", "/logout", logout.end_session),
        ]
    return routes
