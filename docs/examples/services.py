"""The providers at which people can sign in, and their APIs, as far as the examples use them.

The rule: a provider with OpenID says who somebody is; at another one its API has to.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from SlyAPI.paging import LinkPages, Pages, TokenPages


@dataclass(frozen=True)
class Service:
    """A provider and its API. Paths are below `api`."""

    title: str
    api: str
    scopes: tuple[str, ...]
    me: str
    """The path that returns the person."""
    name_key: str = "name"
    """The key of their name: for the eye only, because names are not unique."""
    listed: str = ""
    """The path whose pages /list shows."""
    pages: Pages = field(default_factory=TokenPages)
    notes: str = ""
    issuer: str = ""
    id_key: str = ""
    """For a provider without OpenID: a name in place of an issuer, and the key of the permanent id in `me`'s reply."""


@dataclass(frozen=True)
class Note:
    """What a person wrote."""

    text: str


@dataclass(frozen=True)
class Notes:
    """The answer at `Service.notes`."""

    items: list[Note]


SERVICES = {
    "practice": Service(
        "the provider", "", ("openid", "profile", "weather.read", "notes"), "/me", listed="/archive", notes="/notes"
    ),
    "openid": Service("the provider", "", ("openid", "profile"), ""),
    "google": Service("Google", "https://openidconnect.googleapis.com", ("openid", "profile"), "/v1/userinfo"),
    "github": Service(
        "GitHub", "https://api.github.com", ("read:user",), "/user", "login", listed="/user/starred", pages=LinkPages(),
        issuer="https://github.com", id_key="id",
    ),
}  # fmt: skip
