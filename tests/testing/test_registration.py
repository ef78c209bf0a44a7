"""Dynamic registration (RFC 7591) and its management (RFC 7592)."""
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from SlyAPI.testing import GRANT_TYPES
from tests.testing.signing import ClientKey, label

if TYPE_CHECKING:
    from .conftest import Practice, Reply, Start

KEY = ClientKey()
NATIVE = {"redirect_uris": ["http://localhost:8080/back"], "application_type": "native"}
REFRESHING = {"grant_types": ["authorization_code", "refresh_token"]}


async def register(practice: Practice, metadata: Any, token: str = "") -> Reply:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = practice.provider.origin + "/register"
    return await practice.send("POST", url, json.dumps(metadata), Content_Type="application/json", **headers)


async def manage(practice: Practice, client: dict[str, Any], method: str, metadata: Any = None) -> Reply:
    headers = {"Authorization": f"Bearer {client['registration_access_token']}"}
    body = None if metadata is None else json.dumps(metadata)
    url = client["registration_client_uri"]
    return await practice.send(method, url, body, Content_Type="application/json", **headers)


async def test_a_registered_client_goes_the_whole_way(start: Start) -> None:
    async with start(registration=True) as practice:
        reply = await register(practice, {**NATIVE, **REFRESHING, "client_name": "Diary", "scope": "notes"})
        client = reply.json
        assert reply.status == 201
        assert client["token_endpoint_auth_method"] == "client_secret_basic"
        assert (client["client_secret_expires_at"], client["client_id_issued_at"]) == (0, 1_800_000_000)
        assert client["redirect_uris"] == NATIVE["redirect_uris"]
        practice.client_id, practice.secret = client["client_id"], client["client_secret"]
        tokens = await practice.tokens(client_id=client["client_id"], scope="notes")
        assert (await practice.refresh(tokens["refresh_token"])).status == 200


async def test_a_client_gets_only_what_it_registered(start: Start) -> None:
    async with start(registration=True) as practice:
        client = (await register(practice, {**NATIVE, "scope": "notes"})).json
        assert client["grant_types"] == ["authorization_code"]
        practice.client_id, practice.secret = client["client_id"], client["client_secret"]
        assert "refresh_token" not in await practice.tokens(client_id=client["client_id"], scope="notes")
        refused = await practice.authorize(client_id=client["client_id"], scope="weather.read")
        assert refused.sent_back["error"] == "invalid_scope"
        assert (await practice.refresh("x")).error == "unauthorized_client"


@pytest.mark.parametrize(
    ("method", "more", "secret"),
    [
        ("none", {}, False),
        ("client_secret_post", {}, True),
        ("client_secret_jwt", {"token_endpoint_auth_signing_alg": "HS256"}, True),
        ("private_key_jwt", {"jwks": KEY.jwks, "token_endpoint_auth_signing_alg": "ES256"}, False),
        ("private_key_jwt", {"jwks_uri": "https://app.example/jwks"}, False),
    ],
)
async def test_a_secret_is_given_where_the_method_needs_one(
    start: Start, method: str, more: dict[str, Any], secret: bool
) -> None:
    async with start(registration=True) as practice:
        client = (await register(practice, {**NATIVE, **more, "token_endpoint_auth_method": method})).json
        assert ("client_secret" in client) is secret
        assert {name: client[name] for name in more} == more


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": "http://localhost"}, "invalid_redirect_uri"),
        ({"redirect_uris": [1]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://app.example/back"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example/#x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["/back"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["app:/back"]}, "invalid_redirect_uri"),
        ({"application_type": "web"}, "invalid_redirect_uri"),
        ({"application_type": "other"}, "invalid_client_metadata"),
        ({"grant_types": ["implicit"]}, "invalid_client_metadata"),
        ({"grant_types": ["refresh_token"]}, "invalid_client_metadata"),
        ({"grant_types": "authorization_code"}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
        ({"response_types": []}, "invalid_client_metadata"),
        ({"grant_types": ["client_credentials"], "token_endpoint_auth_method": "none"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "tls_client_auth"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"jwks": KEY.jwks, "jwks_uri": "https://app.example/jwks"}, "invalid_client_metadata"),
        ({"jwks": {"keys": []}}, "invalid_client_metadata"),
        ({"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}, "invalid_client_metadata"),
        ({"jwks": {"keys": [KEY.private_jwk]}}, "invalid_client_metadata"),
        ({"jwks_uri": "http://app.example/jwks"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_signing_alg": "RS256"}, "invalid_client_metadata"),
        ({"scope": "admin"}, "invalid_client_metadata"),
        ({"scope": 1}, "invalid_client_metadata"),
        ({"client_name": 1}, "invalid_client_metadata"),
        ({"dpop_bound_access_tokens": "yes"}, "invalid_client_metadata"),
        ({"id_token_signed_response_alg": "none"}, "invalid_client_metadata"),
    ],
    ids=label,
)
async def test_metadata_that_cannot_be_registered_is_refused(
    start: Start, changed: dict[str, Any], error: str
) -> None:
    async with start(registration=True, grant_types=GRANT_TYPES) as practice:
        reply = await register(practice, {**NATIVE, **changed})
        assert (reply.status, reply.error) == (400, error)
        assert len(practice.provider.ledger.clients) == 1


@pytest.mark.parametrize("body", ["", "[]", "{", "[" * 60_000])
async def test_only_a_json_object_is_registered(start: Start, body: str) -> None:
    async with start(registration=True) as practice:
        url = practice.provider.origin + "/register"
        reply = await practice.send("POST", url, body, Content_Type="application/json")
        assert (reply.status, reply.error) == (400, "invalid_client_metadata")
        assert (await practice.send("POST", url, "{}", Content_Type="text/plain")).status == 400


@pytest.mark.parametrize(("token", "status"), [("let me in", 401), ("initial", 201), ("", 401)])
async def test_registration_may_need_an_initial_access_token(start: Start, token: str, status: int) -> None:
    async with start(registration=True, initial_access_token="initial") as practice:
        assert (await register(practice, NATIVE, token)).status == status


async def test_a_registration_is_read_updated_and_deleted_by_its_token(start: Start) -> None:
    async with start(registration=True) as practice:
        first = (await register(practice, {**NATIVE, "client_name": "Old"})).json
        read = (await manage(practice, first, "GET")).json
        assert {**read, "registration_access_token": ""} == {**first, "registration_access_token": ""}
        assert (await manage(practice, first, "GET")).status == 401  # each reply brings a new token
        new = {**NATIVE, "client_id": read["client_id"], "client_secret": read["client_secret"]}
        updated = (await manage(practice, read, "PUT", new)).json
        assert "client_name" not in updated  # what is left out is removed (RFC 7592 §2.2)
        practice.client_id, practice.secret = updated["client_id"], updated["client_secret"]
        token = (await practice.tokens(client_id=updated["client_id"]))["access_token"]
        assert (await manage(practice, updated, "DELETE")).status == 204
        assert not await practice.works(token)
        assert (await manage(practice, updated, "GET")).status == 401
        assert (await practice.authorize(client_id=updated["client_id"])).status == 400


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": None},
        {"client_id": "another"},
        {"client_secret": "chosen"},
        {"registration_access_token": "x"},
        {"registration_client_uri": "x"},
        {"client_id_issued_at": 1},
        {"client_secret_expires_at": 0},
        {"redirect_uris": []},
    ],
    ids=label,
)
async def test_an_update_that_is_wrong_changes_nothing(start: Start, changed: dict[str, Any]) -> None:
    async with start(registration=True) as practice:
        client = (await register(practice, NATIVE)).json
        reply = await manage(practice, client, "PUT", {**NATIVE, "client_id": client["client_id"], **changed})
        assert reply.status == 400
        assert (await manage(practice, client, "GET")).json["redirect_uris"] == NATIVE["redirect_uris"]


async def test_another_clients_token_and_the_configured_client_are_refused(start: Start) -> None:
    async with start(registration=True) as practice:
        one, other = [(await register(practice, NATIVE)).json for _ in range(2)]
        wrong = {**one, "registration_access_token": other["registration_access_token"]}
        configured = {**one, "registration_client_uri": practice.provider.origin + "/register/practice-client"}
        for client in (wrong, configured):
            reply = await manage(practice, client, "GET")
            assert (reply.status, reply.error) == (401, "invalid_token")
        assert (await practice.send("GET", configured["registration_client_uri"])).status == 401


async def test_without_registration_there_is_no_such_endpoint(start: Start) -> None:
    async with start() as practice:
        assert (await register(practice, NATIVE)).status == 404
