"""Asks an issuer and a resource for their metadata (RFC 8414, OpenID Connect Discovery, RFC 9728).

The rule: all places of an issuer are asked at once, and a place without metadata is an error only if all are.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, NetworkError, SlyError, printable
from ...transport import requests as transport
from ...web.messages import Request
from ..messages.protected_resource import ResourceMetadata, metadata_places, read_resource_metadata
from .discovery import merged, metadata_requests, read_metadata

if TYPE_CHECKING:
    from aiohttp import ClientSession


async def issuer_metadata(
    issuer: str, client: "ClientSession | None" = None, *, allow_http: bool = False
) -> dict[str, Any]:
    """As `find_issuer_metadata`. Raises `ConfigError` where there are none."""
    found = await find_issuer_metadata(issuer, client, allow_http=allow_http)
    if found is None:
        raise no_metadata(issuer)
    return found


def no_metadata(issuer: str) -> ConfigError:
    """The error for an issuer that publishes nothing."""
    return ConfigError(
        f"{printable(issuer, 100)} publishes no metadata (RFC 8414, OpenID Connect).",
        next_step="Give the endpoints: auth_uri and token_uri.",
    )


async def find_issuer_metadata(
    issuer: str, client: "ClientSession | None" = None, *, allow_http: bool = False
) -> dict[str, Any] | None:
    """The issuer's metadata, None without any. Raises `BadReplyError`, `ConfigError`, `NetworkError`."""

    async def ask(request: Request) -> dict[str, Any] | SlyError | None:
        try:
            reply = await transport.send(request, client)
            return read_metadata(reply, issuer, allow_http=allow_http)
        except SlyError as error:
            return error

    answers = await asyncio.gather(*map(ask, metadata_requests(issuer, allow_http=allow_http)))
    found = [answer for answer in answers if isinstance(answer, dict)]
    if found:
        return merged(found, issuer)
    # what a place says is worth more than that another one cannot be reached
    errors = [answer for answer in answers if isinstance(answer, SlyError)]
    if errors:
        raise min(errors, key=lambda error: isinstance(error, NetworkError))
    return None


async def resource_metadata(
    url: str, client: "ClientSession | None" = None, *, named: str | None = None, allow_http: bool = False
) -> ResourceMetadata | None:
    """The resource's metadata, first at the place `named`; None without any. Raises as `find_issuer_metadata`."""
    for place in metadata_places(url, named, allow_http=allow_http):
        found = read_resource_metadata(await transport.send(place.request, client), place, allow_http=allow_http)
        if found is not None:
            return found
    return None
