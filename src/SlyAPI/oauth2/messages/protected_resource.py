"""RFC 9728, protected resource metadata: which authorization servers a resource trusts. Pure.

The rule: the `resource` in the metadata is identical to the identifier that its place was made from, or to the URL
asked for where the challenge named the place; it is used exactly as published.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ...errors import BadReplyError, ConfigError, printable
from ...tokens.scopes import split_scopes
from ...web.json import present, read_reply
from ...web.messages import Method, Reply, Request
from ...web.redirects import leads_inside
from ...web.urls import check_endpoint

_WELL_KNOWN = "/.well-known/oauth-protected-resource"


class ResourceMetadata(NamedTuple):
    """What a client needs of a resource's metadata."""

    resource: str
    issuers: list[str]
    scopes: list[str]
    dpop_required: bool = False


class Place(NamedTuple):
    """Where metadata may be, and the identifiers that they may then name."""

    request: Request
    resources: tuple[str, ...]


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def metadata_places(url: str, named: str | None = None, *, allow_http: bool = False) -> list[Place]:
    """The places of the metadata, first that `named` by a challenge (RFC 9728 §3.1, §5.1). Raises `ConfigError`."""
    parts = urlsplit(check_endpoint(url, "The resource's URL", allow_http=allow_http))
    path = parts.path.rstrip("/")
    here = url.partition("#")[0]
    if named is not None:
        check_endpoint(named, "resource_metadata", allow_http=allow_http)
        if origin_of(named) != origin_of(url):
            raise ConfigError("The challenge names resource metadata at another origin than the resource's.")
        return [Place(_get(named), (here, *_identifiers(named)))]
    root = origin_of(url)
    query = f"?{parts.query}" if parts.query else ""
    places = [Place(_get(f"{root}{_WELL_KNOWN}{path}{query}"), (here, f"{root}{path}{query}"))]
    if path or query:
        places.append(Place(_get(f"{root}{_WELL_KNOWN}"), (root, f"{root}/")))
    return places


def _identifiers(named: str) -> tuple[str, ...]:
    """The identifiers that a well-known place is made from (RFC 9728 §3.1); none for a place of another form."""
    parts = urlsplit(named)
    path = parts.path.removeprefix(_WELL_KNOWN)
    if path == parts.path or (path and not path.startswith("/")):
        return ()
    made = f"{origin_of(named)}{path}" + (f"?{parts.query}" if parts.query else "")
    return (made,) if path else (made, f"{made}/")


def _get(url: str) -> Request:
    return Request(Method.GET, url, headers={"Accept": "application/json"})


def read_resource_metadata(reply: Reply, place: Place, *, allow_http: bool = False) -> ResourceMetadata | None:
    """The metadata in a reply, None where there is none at this place.

    Raises `BadReplyError` for another resource's (RFC 9728 §3.3), `ConfigError` for an issuer that is not a URL,
    or is in a private network while the resource is not.
    """
    if reply.status != 200:
        return None
    try:
        found: Any = read_reply(reply, place.request)
    except BadReplyError:
        return None  # a web application answers every address with its page
    if not isinstance(found, Mapping):
        return None
    found = present(found)
    resource = found.get("resource")
    if not isinstance(resource, str) or resource not in place.resources:
        raise BadReplyError(
            f"{place.request.name} contains the metadata of {printable(resource, 200)!r}, "
            f"not of {printable(place.resources[0], 200)!r}.",
            next_step="Use the resource's own URL, character by character.",
            kind="configuration",
        )
    servers = found.get("authorization_servers", [])
    if not isinstance(servers, list):
        raise BadReplyError(f"{place.request.name}: authorization_servers is not a list.", kind="configuration")
    issuers = [check_endpoint(str(server), "authorization_servers", allow_http=allow_http) for server in servers]
    if any(leads_inside(place.request.url, issuer) for issuer in issuers):
        raise ConfigError(
            f"{place.request.name}: an authorization server is in a private network or on this machine, "
            "and the resource is not.",
            next_step="Check the resource's URL.",
        )
    return ResourceMetadata(
        resource,
        issuers,
        split_scopes(found.get("scopes_supported")),
        found.get("dpop_bound_access_tokens_required") is True,
    )
