"""What a practice provider can do beyond codes and refresh tokens: settings, off by default.

The rule: a setting is an attribute of the running provider too; an endpoint reads it at each request.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, get_args

AUTHORIZATION_CODE = "authorization_code"
REFRESH_TOKEN = "refresh_token"
CLIENT_CREDENTIALS = "client_credentials"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GRANT_TYPES = (AUTHORIZATION_CODE, REFRESH_TOKEN, CLIENT_CREDENTIALS, DEVICE_CODE, TOKEN_EXCHANGE, JWT_BEARER)

ResourceMetadata = Literal["off", "challenge", "path", "root"]
SignedRequests = Literal["off", "allowed", "required"]
DPoP = Literal["off", "allowed", "required"]
Audience = Literal["either", "issuer", "endpoint"]
MetadataPlace = Literal["oauth", "openid", "openid_appended"]
CHOICES: Mapping[str, tuple[str, ...]] = {
    "consent": ("ask", "allow", "deny"),
    "client_auth": ("any", "basic", "post"),
    "resource_metadata": get_args(ResourceMetadata),
    "signed_requests": get_args(SignedRequests),
    "dpop": get_args(DPoP),
    "assertion_audience": get_args(Audience),
}
"""What a setting may be that has few values."""
MEMBERS: Mapping[str, tuple[str, ...]] = {"grant_types": GRANT_TYPES, "metadata_places": get_args(MetadataPlace)}
"""What a setting may hold that is several values."""


class Features(TypedDict, total=False):
    """The keyword arguments of `PracticeProvider` that switch on more than codes and refresh tokens."""

    grant_types: Iterable[str]
    issuer_path: str
    metadata_places: Iterable[str]
    metadata_changes: Mapping[str, Any]
    resource_metadata: ResourceMetadata
    resource_changes: Mapping[str, Any]
    resources: Iterable[str]
    require_resource: bool
    registration: bool
    initial_access_token: str | None
    client_metadata_documents: bool
    assertion_audience: Audience
    require_par: bool
    pushed_lifetime: float
    signed_requests: SignedRequests
    signed_responses: bool
    response_changes: Mapping[str, Any]
    dpop: DPoP
    dpop_nonces: bool
    openid: bool
    signing_algs: Iterable[str]
    id_token_lifetime: float
    id_token_changes: Mapping[str, Any]
    device_code_lifetime: float
    device_interval: float


@dataclass(kw_only=True, eq=False)
class FeatureSettings:
    """The same settings with their defaults.

    - `grant_types`: the accepted values of `grant_type`; `GRANT_TYPES` names all.
    - `issuer_path`: the issuer's path, such as "/tenant". The endpoints stay at the origin's root.
    - `metadata_places`: of "oauth" (RFC 8414), "openid" and "openid_appended" (OpenID Connect Discovery, with the
      issuer's path inserted or in front), those that exist. The OpenID places exist only with `openid`.
    - `metadata_changes`, `resource_changes`, `id_token_changes`, `response_changes`: members to replace in server
      metadata, in the API's metadata, in id_tokens, and in signed responses; None removes one. They make a provider
      that does something wrong.
    - `resource_metadata`: where the API's metadata (RFC 9728) are found: "challenge" (every 401 and 403 names the
      place), "path" (only at the well-known place with the API's path inserted) or "root".
    - `resources`: further accepted values of `resource` (RFC 8707); `require_resource` demands one.
    - `registration`: RFC 7591 and 7592; with `initial_access_token` only for clients that send it.
    - `client_metadata_documents`: a `client_id` may be the URL of the client's metadata.
    - `assertion_audience`: which `aud` a client assertion needs: the issuer, the endpoint's URL, or either.
    - `pushed_lifetime`: how long a pushed request is good (RFC 9126).
    - `signed_requests`: authorization requests may, or have to, be JWTs that the client signed (RFC 9101).
    - `signed_responses`: a client may ask for redirects that are signed JWTs (JARM); needs `openid`.
    - `dpop_nonces`: both servers demand a nonce (RFC 9449 §8 and §9); `demand_dpop_nonces` makes new ones.
    - `signing_algs`: algorithms of id_tokens, the default one first.
    - lifetimes and `device_interval` are in seconds.
    """

    grant_types: Iterable[str] = (AUTHORIZATION_CODE, REFRESH_TOKEN)
    issuer_path: str = ""
    metadata_places: Iterable[str] = ("oauth", "openid", "openid_appended")
    metadata_changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    resource_metadata: ResourceMetadata = "off"
    resource_changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    resources: Iterable[str] = ()
    require_resource: bool = False
    registration: bool = False
    initial_access_token: str | None = field(default=None, repr=False)
    client_metadata_documents: bool = False
    assertion_audience: Audience = "either"
    require_par: bool = False
    pushed_lifetime: float = 60.0
    signed_requests: SignedRequests = "off"
    signed_responses: bool = False
    response_changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dpop: DPoP = "off"
    dpop_nonces: bool = False
    openid: bool = False
    signing_algs: Iterable[str] = ("RS256", "ES256", "EdDSA")
    id_token_lifetime: float = 300.0
    id_token_changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    device_code_lifetime: float = 600.0
    device_interval: float = 5.0

    def __setattr__(self, name: str, value: Any) -> None:
        """ValueError for a setting that means nothing, when the provider is made and while it runs."""
        if name in CHOICES and value not in CHOICES[name]:
            raise ValueError(f"{name} is one of {', '.join(map(repr, CHOICES[name]))}, not {value!r}")
        if name in MEMBERS:
            value = (value,) if isinstance(value, str) else tuple(value)
            if unknown := [one for one in value if one not in MEMBERS[name]]:
                raise ValueError(f"{name} holds some of {', '.join(map(repr, MEMBERS[name]))}, not {unknown[0]!r}")
        super().__setattr__(name, value)


def changed(document: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The document with members replaced, or removed where the new value is None."""
    merged = {**document, **changes}
    return {name: value for name, value in merged.items() if value is not None}
