"""RFC 8707 and RFC 9396: for which API a token is meant, and what in detail it may do there. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ...errors import ConfigError

Resource = str | Iterable[str]
"""One resource's identifier, or several."""
Details = Iterable[Mapping[str, Any]]
"""`authorization_details`: objects with a `type`, whose other members the API defines."""


def resources_of(resource: Resource | None) -> list[str]:
    """The identifiers, each once. Raises `ConfigError` for one that is not an absolute URI without fragment (§2)."""
    if resource is None:
        return []
    found = list(dict.fromkeys([resource] if isinstance(resource, str) else resource))
    for uri in found:
        try:
            sound = isinstance(uri, str) and urlsplit(uri).scheme and "#" not in uri and uri.isprintable()
        except ValueError:
            sound = False
        if not sound or " " in uri:
            raise ConfigError("resource is not an absolute URI without fragment (RFC 8707 §2).")
    return found


def with_details(params: Mapping[str, str | None] | None, details: Details | None) -> dict[str, str | None]:
    """The parameters with `authorization_details` as JSON (RFC 9396 §2). Raises `ConfigError`."""
    if details is None:
        return {**(params or {})}
    listed = [] if isinstance(details, str | Mapping) else list(details)
    sound = all(isinstance(one, Mapping) and isinstance(one.get("type"), str) for one in listed)
    try:
        text = json.dumps([dict(one) for one in listed], separators=(",", ":"), allow_nan=False) if sound else ""
    except (TypeError, ValueError, RecursionError):
        text = ""
    if not listed or not text:
        raise ConfigError("authorization_details is a list of objects, each with a type (RFC 9396 §2).")
    return {**(params or {}), "authorization_details": text}
