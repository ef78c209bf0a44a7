"""Clients that are described by a document at their `client_id`."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from SlyAPI.testing.clients.client_metadata import is_document_url

if TYPE_CHECKING:
    from .conftest import Publisher, Start

REDIRECT_URI = "http://localhost:8080/back"


def document(publisher: Publisher, **changed: Any) -> str:
    """Publish the document of a client, and return its id."""
    client_id = publisher.origin + "/client.json"
    values = {
        "client_id": client_id,
        "client_name": "Diary",
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "refresh_token"],
        **changed,
    }
    publisher.replies["/client.json"] = {name: value for name, value in values.items() if value is not None}
    return client_id


async def test_a_client_is_known_by_its_document(start: Start, publisher: Publisher) -> None:
    async with start(client_metadata_documents=True, client_secret=None) as practice:
        practice.client_id = document(publisher)
        tokens = await practice.tokens(client_id=practice.client_id)
        assert (await practice.refresh(tokens["refresh_token"])).status == 200
        assert (await practice.call("/me", tokens["access_token"])).json["client_id"] == practice.client_id
        assert publisher.fetched == ["/client.json"]


async def test_a_changed_document_counts_at_the_next_login(start: Start, publisher: Publisher) -> None:
    async with start(client_metadata_documents=True) as practice:
        client_id = document(publisher)
        assert (await practice.authorize(client_id=client_id)).status == 303
        document(publisher, redirect_uris=["http://localhost:8080/new"])
        assert (await practice.authorize(client_id=client_id)).status == 400


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": "https://other.example/client.json"},
        {"client_id": None},
        {"client_secret": "public"},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"token_endpoint_auth_method": "client_secret_jwt"},
        {"redirect_uris": None},
        {"redirect_uris": ["http://localhost:8080/other"]},
    ],
    ids=str,
)
async def test_a_bad_document_is_refused_on_a_page(
    start: Start, publisher: Publisher, changed: dict[str, Any]
) -> None:
    async with start(client_metadata_documents=True) as practice:
        reply = await practice.authorize(client_id=document(publisher, **changed))
        assert (reply.status, reply.headers.get("Location")) == (400, None)


@pytest.mark.parametrize(
    "reply",
    [
        web.Response(status=404),
        web.Response(status=302, headers={"Location": "/other.json"}),
        web.Response(text="not JSON"),
        web.Response(text="[]"),
        web.Response(text="[" * 10_000),
        web.Response(text='{"a": "' + "a" * 20_000 + '"}'),
    ],
)
async def test_only_a_short_json_document_is_read(start: Start, publisher: Publisher, reply: web.Response) -> None:
    async with start(client_metadata_documents=True) as practice:
        client_id = document(publisher)
        publisher.replies["/client.json"] = reply
        assert (await practice.authorize(client_id=client_id)).status == 400
        assert publisher.fetched == ["/client.json"]


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://app.example/client.json", True),
        ("http://127.0.0.1:8080/client.json", True),
        ("http://app.example/client.json", False),
        ("https://app.example", False),
        ("https://app.example/a/../client.json", False),
        ("https://user@app.example/client.json", False),
        ("https://app.example/client.json#x", False),
        ("https://app.example:x/client.json", False),
        ("practice-client", False),
    ],
)
def test_only_an_https_url_with_a_path_names_a_document(url: str, good: bool) -> None:
    assert is_document_url(url) is good


async def test_without_the_feature_no_document_is_fetched(start: Start, publisher: Publisher) -> None:
    async with start() as practice:
        assert (await practice.authorize(client_id=document(publisher))).status == 400
        assert publisher.fetched == []
