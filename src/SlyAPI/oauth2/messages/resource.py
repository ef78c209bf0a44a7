"""RFC 8707, resource indicators: for which API a token is meant. Pure."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from ...errors import ConfigError

Resource = str | Iterable[str]
"""One resource's identifier, or several."""


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
