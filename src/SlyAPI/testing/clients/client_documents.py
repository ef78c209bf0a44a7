"""Clients whose id is the URL of their metadata (Client ID Metadata Documents, an IETF draft).

The rule: the document is fetched at each authorization request, and it names its own URL as `client_id`.
"""
from __future__ import annotations

from urllib.parse import urlsplit

from ..endpoint import Server
from ..ledger.grants import Client, Refused
from ..messages.fetching import FetchFailed, fetch_json, is_fetchable
from .client_metadata import checked_metadata

_SECRET_METHODS = ("client_secret_basic", "client_secret_post", "client_secret_jwt")


async def load_client(server: Server, client_id: str) -> Client | None:
    """The client that a document describes; None where the id is not such a URL. Refused for a bad document."""
    if not server.client_metadata_documents or not is_document_url(client_id):
        return None
    try:
        document = await fetch_json(client_id)
    except FetchFailed as failed:
        raise Refused("invalid_client", f"the client's metadata document: {failed}") from failed
    if document.get("client_id") != client_id:
        raise Refused("invalid_client", "the client's metadata document names another client_id")
    if "client_secret" in document or document.get("token_endpoint_auth_method") in _SECRET_METHODS:
        raise Refused("invalid_client", "the client's metadata document is public; it cannot use a secret")
    document.setdefault("token_endpoint_auth_method", "none")
    # the draft has no application_type: loopback redirects are as good as https
    metadata = checked_metadata(server, {"application_type": "native", **document})
    client = Client(
        client_id,
        str(metadata.get("client_name", client_id)),
        None,
        tuple(metadata["redirect_uris"]),
        metadata,
    )
    server.ledger.clients[client_id] = client
    return client


def is_document_url(text: str) -> bool:
    """Whether a client_id can be a document's URL: a path, no user, no fragment, no dot segments."""
    if not is_fetchable(text):
        return False
    parts = urlsplit(text)
    dotted = any(segment in (".", "..") for segment in parts.path.split("/"))
    return bool(parts.path) and "#" not in text and "@" not in parts.netloc and not dotted
