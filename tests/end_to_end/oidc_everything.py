"""oidc-provider with everything switched on: its clients, with their keys and certificates, and its answers.

The rule: what the provider refuses is its own decision; here are only registrations.
"""
from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc.jwk import ECKey

from SlyAPI import OAuth2App
from tests.end_to_end.oidc_server import OidcServer, running_server
from tests.support.certificates import make_certificate

API = "https://api.example"
JWT_API = "https://jwt-api.example"
INITIAL_ACCESS_TOKEN = "an-initial-access-token"
SECRET = "a-secret-of-32-characters-or-more"
MACHINE = {"grant_types": ["client_credentials"], "redirect_uris": [], "response_types": []}
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


@dataclass(frozen=True)
class Everything:
    """The server with all features on, and the folder with the keys and certificates of its clients."""

    server: OidcServer
    folder: Path

    @property
    def issuer(self) -> str:
        return self.server.issuer

    def path(self, name: str) -> str:
        return str(self.folder / name)


def make_key(folder: Path, name: str) -> dict[str, Any]:
    """The public JWK of a new key, whose PEM is written to the folder."""
    key = ECKey.generate_key("P-256", auto_kid=False)
    (folder / f"{name}.pem").write_bytes(key.as_pem(private=True))
    return {**key.as_dict(private=False), "kid": name, "alg": "ES256", "use": "sig"}


def certificates(folder: Path) -> dict[str, Any]:
    """The TLS settings of the server, whose CA signs `client.pem` and `other.pem`; `alone.pem` signs itself."""
    ca = make_certificate(folder, "ca")
    for name in ("server", "client", "other"):
        make_certificate(folder, name, ca)
    make_certificate(folder, "alone")
    server = (folder / "server.pem").read_text()
    return {"cert": server, "key": server, "ca": ca[1].public_bytes(Encoding.PEM).decode()}


def self_signed(folder: Path) -> dict[str, Any]:
    """The JWK set that registers `alone.pem` (RFC 8705 §2.2.2)."""
    made = x509.load_pem_x509_certificate((folder / "alone.pem").read_bytes())
    pem = made.public_bytes(Encoding.PEM).decode()
    key = ECKey.import_key((folder / "alone.pem").read_bytes().split(b"-----BEGIN CERT")[0])
    return {"keys": [{**key.as_dict(private=False), "x5c": ["".join(pem.split("\n")[1:-2])]}]}


def clients(folder: Path) -> list[dict[str, Any]]:
    """The registrations of the clients that these features need (RFC 7591 §2)."""
    machine = {**MACHINE, "client_secret": SECRET}
    return [
        {
            **machine,
            "client_id": "machine",
            "grant_types": ["client_credentials", EXCHANGE],
            "authorization_details_types": ["payment"],
        },
        {**machine, "client_id": "other-machine"},
        {**machine, "client_id": "secret-jwt", "token_endpoint_auth_method": "client_secret_jwt"},
        {
            **MACHINE,
            "client_id": "key-jwt",
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [make_key(folder, "key")]},
        },
        {
            **MACHINE,
            "client_id": "tls",
            "token_endpoint_auth_method": "tls_client_auth",
            "tls_client_auth_subject_dn": "CN=client",
            "tls_client_certificate_bound_access_tokens": True,
        },
        {
            **MACHINE,
            "client_id": "self-signed",
            "token_endpoint_auth_method": "self_signed_tls_client_auth",
            "tls_client_certificate_bound_access_tokens": True,
            "jwks": self_signed(folder),
        },
        {
            "client_id": "device",
            "token_endpoint_auth_method": "none",
            "application_type": "native",
            "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
            "redirect_uris": [],
            "response_types": [],
        },
        {
            "client_id": "pushing",
            "token_endpoint_auth_method": "none",
            "application_type": "native",
            "grant_types": ["authorization_code", "refresh_token"],
            "redirect_uris": ["http://127.0.0.1:8080/"],
            "require_pushed_authorization_requests": True,
            "dpop_bound_access_tokens": True,
        },
        *fapi_clients(folder),
    ]


def fapi_clients(folder: Path) -> list[dict[str, Any]]:
    """Clients that the provider holds to the FAPI 2.0 Security Profile, because of their names."""
    person: dict[str, Any] = {
        "application_type": "native",
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "redirect_uris": ["http://127.0.0.1:8080/"],
        "require_pushed_authorization_requests": True,
        **dict.fromkeys(("id_token_signed_response_alg", "authorization_signed_response_alg"), "PS256"),
    }
    by_key = {
        **person,
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        "dpop_bound_access_tokens": True,
    }
    return [
        {**by_key, "client_id": "fapi", "jwks": {"keys": [make_key(folder, "fapi")]}},
        {
            **by_key,
            "client_id": "fapi-signed",
            "jwks": {"keys": [make_key(folder, "signed")]},
            "request_object_signing_alg": "ES256",
            "require_signed_request_object": True,
        },
        {
            **person,
            "client_id": "fapi-tls",
            "token_endpoint_auth_method": "tls_client_auth",
            "tls_client_auth_subject_dn": "CN=client",
            "tls_client_certificate_bound_access_tokens": True,
        },
        {
            **person,
            "client_id": "signs-requests",
            "require_pushed_authorization_requests": False,
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [make_key(folder, "requests")]},
            "request_object_signing_alg": "ES256",
            "require_signed_request_object": True,
        },
    ]


@asynccontextmanager
async def with_everything(folder: Path, *, https: bool = False) -> AsyncGenerator[Everything, None]:
    """The running server; `trusted.pem` in the folder is the CA of its TLS address, which `https` makes the issuer."""
    tls = certificates(folder)
    (folder / "trusted.pem").write_text(tls["ca"])
    settings = {"tls": tls, "initial_access_token": INITIAL_ACCESS_TOKEN, "https": https}
    async with running_server(everything=settings, more_clients=clients(folder)) as server:
        yield Everything(server, folder)


async def machine(everything: Everything, id: str = "machine", secret: str | None = SECRET, **more: Any) -> OAuth2App:
    return await OAuth2App.discover(everything.issuer, id, secret, **{"resource": API, **more})


async def errors_of(everything: Everything) -> list[str | None]:
    return [entry["error"] for entry in await everything.server.log()]
