"""What the provider publishes, where, and what its API says to a caller without the right token."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from SlyAPI.testing import GRANT_TYPES

if TYPE_CHECKING:
    from .conftest import Start

ALL = {
    "grant_types": GRANT_TYPES,
    "registration": True,
    "client_metadata_documents": True,
    "require_par": True,
    "dpop": "allowed",
    "openid": True,
    "signing_algs": ["ES256", "EdDSA"],
}
WELL_KNOWN = "/.well-known/"
PLACES = {
    "oauth": WELL_KNOWN + "oauth-authorization-server{}",
    "openid": WELL_KNOWN + "openid-configuration{}",
    "openid_appended": "{}" + WELL_KNOWN + "openid-configuration",
}


@pytest.mark.parametrize("served", [*([place] for place in PLACES), list(PLACES)], ids=str)
async def test_the_metadata_are_at_the_places_that_a_test_names(start: Start, served: list[str]) -> None:
    async with start(**ALL, issuer_path="/tenant", metadata_places=served) as practice:
        for place, path in PLACES.items():
            reply = await practice.send("GET", practice.provider.origin + path.format("/tenant"))
            assert (reply.status == 200) is (place in served)
            if reply.status == 200:
                assert reply.json["issuer"] == practice.provider.origin + "/tenant"


async def test_every_feature_is_published_and_every_endpoint_is_there(start: Start) -> None:
    async with start(**ALL) as practice:
        document = (await practice.send("GET", practice.provider.origin + PLACES["oauth"].format(""))).json
        assert document["issuer"] == practice.provider.origin
        assert document["grant_types_supported"] == list(GRANT_TYPES)
        assert document["require_pushed_authorization_requests"] is True
        assert document["client_id_metadata_document_supported"] is True
        assert "ES256" in document["dpop_signing_alg_values_supported"]
        assert "private_key_jwt" in document["token_endpoint_auth_methods_supported"]
        assert "none" not in document["introspection_endpoint_auth_methods_supported"]
        assert document["id_token_signing_alg_values_supported"] == ["ES256", "EdDSA", "HS256"]
        for name, url in document.items():
            if name.endswith("_endpoint") or name == "jwks_uri":
                assert (await practice.send("GET", url)).status != 404, name
        assert (await practice.send("GET", practice.provider.origin + PLACES["openid"].format(""))).json == document


async def test_without_features_nothing_of_them_is_published(start: Start) -> None:
    async with start() as practice:
        document = (await practice.send("GET", practice.provider.origin + PLACES["oauth"].format(""))).json
        assert document["grant_types_supported"] == ["authorization_code", "refresh_token"]
        absent = ["registration_endpoint", "device_authorization_endpoint", "jwks_uri", "userinfo_endpoint"]
        assert not set(absent) & set(document)
        for path in (PLACES["openid"].format(""), WELL_KNOWN + "oauth-protected-resource/api"):
            assert (await practice.send("GET", practice.provider.origin + path)).status == 404


async def test_a_provider_without_codes_has_no_authorization_endpoint(start: Start) -> None:
    async with start(grant_types=["client_credentials"]) as practice:
        document = (await practice.send("GET", practice.provider.origin + PLACES["oauth"].format(""))).json
        assert "authorization_endpoint" not in document
        assert document["response_types_supported"] == []


async def test_metadata_can_be_made_wrong(start: Start) -> None:
    changes = {"issuer": "https://other.example", "code_challenge_methods_supported": None, "odd": [1]}
    async with start(metadata_changes=changes) as practice:
        document = (await practice.send("GET", practice.provider.origin + PLACES["oauth"].format(""))).json
        assert (document["issuer"], document["odd"]) == ("https://other.example", [1])
        assert "code_challenge_methods_supported" not in document


# The API's metadata (RFC 9728) and challenges.


@pytest.mark.parametrize(
    ("mode", "places"),
    [
        ("challenge", {"/api": "/api", "/api/notes": "/api/notes"}),
        ("path", {"/api": "/api", "/api/notes": "/api/notes"}),
        ("root", {"": ""}),
        ("off", {}),
    ],
)
async def test_the_apis_metadata_are_where_the_setting_says(start: Start, mode: str, places: dict[str, str]) -> None:
    async with start(resource_metadata=mode) as practice:
        origin = practice.provider.origin
        for path in ("", "/api", "/api/notes", "/other", "/apis"):
            reply = await practice.send("GET", f"{origin}{WELL_KNOWN}oauth-protected-resource{path}")
            assert (reply.status == 200) is (path in places), path
            if path in places:
                assert reply.json["resource"] == origin + places[path]
                assert reply.json["authorization_servers"] == [origin]


@pytest.mark.parametrize("mode", ["challenge", "path", "root", "off"])
async def test_a_challenge_names_the_place_and_the_scope(start: Start, mode: str) -> None:
    async with start(resource_metadata=mode) as practice:
        challenge = (await practice.call("/notes")).headers["WWW-Authenticate"]
        place = f'resource_metadata="{practice.provider.origin}{WELL_KNOWN}oauth-protected-resource/api"'
        assert challenge.startswith('Bearer realm="practice"')
        assert (place in challenge) is (mode == "challenge")
        assert ('scope="notes"' in challenge) is (mode != "off")
        assert "error" not in challenge
        token = (await practice.tokens(scope="notes"))["access_token"]
        refused = await practice.call("/forecast", token)
        assert (refused.status, refused.error) == (403, "insufficient_scope")
        assert 'scope="weather.read"' in refused.headers["WWW-Authenticate"]
        assert (place in refused.headers["WWW-Authenticate"]) is (mode == "challenge")


@pytest.mark.parametrize(
    ("mode", "schemes", "required"),
    [("off", ["Bearer"], None), ("allowed", ["Bearer", "DPoP"], False), ("required", ["DPoP"], True)],
)
async def test_the_challenge_names_the_schemes(start: Start, mode: str, schemes: list[str], required: Any) -> None:
    async with start(dpop=mode, resource_metadata="challenge") as practice:
        challenge = (await practice.call("/notes")).headers["WWW-Authenticate"]
        assert [scheme for scheme in ("Bearer", "DPoP") if f"{scheme} realm=" in challenge] == schemes
        assert ('algs="' in challenge) is ("DPoP" in schemes)
        place = f"{practice.provider.origin}{WELL_KNOWN}oauth-protected-resource/api"
        assert (await practice.send("GET", place)).json.get("dpop_bound_access_tokens_required") is required


async def test_the_apis_metadata_can_be_made_wrong(start: Start) -> None:
    async with start(resource_metadata="path", resource_changes={"resource": "https://evil.example"}) as practice:
        place = f"{practice.provider.origin}{WELL_KNOWN}oauth-protected-resource/api"
        assert (await practice.send("GET", place)).json["resource"] == "https://evil.example"


# Step-up (RFC 9470).


async def test_the_vault_wants_a_strong_and_recent_sign_in(start: Start) -> None:
    async with start(access_token_lifetime=3600) as practice:
        weak = (await practice.tokens())["access_token"]
        other = (await practice.tokens(acr_values="urn:practice:password"))["access_token"]
        strong = (await practice.tokens(acr_values="urn:other urn:practice:strong"))["access_token"]
        for token in (weak, other):
            reply = await practice.call("/vault", token)
            assert (reply.status, reply.error) == (401, "insufficient_user_authentication")
            challenge = reply.headers["WWW-Authenticate"]
            assert 'acr_values="urn:practice:strong"' in challenge
            assert 'max_age="300"' in challenge
        assert (await practice.call("/vault", strong)).status == 200
        practice.clock.now += 301
        assert (await practice.call("/vault", strong)).error == "insufficient_user_authentication"


# Resource indicators (RFC 8707).


@pytest.mark.parametrize(
    ("path", "opens"),
    [("", True), ("/api", True), ("/api/notes", True), ("/api/forecast", False), ("/api/note", False)],
)
async def test_a_token_opens_the_resources_it_names(start: Start, path: str, opens: bool) -> None:
    async with start() as practice:
        token = (await practice.tokens(resource=practice.provider.origin + path))["access_token"]
        reply = await practice.call("/notes", token)
        assert reply.status == (200 if opens else 401)
        if not opens:
            assert reply.error == "invalid_token"


@pytest.mark.parametrize("resource", ["https://elsewhere.example", "/api", "api", "https://a.example/#x"])
async def test_an_unknown_resource_is_an_invalid_target(start: Start, resource: str) -> None:
    async with start() as practice:
        assert (await practice.authorize(resource=resource)).sent_back["error"] == "invalid_target"
        assert (await practice.exchange(await practice.code(), resource=resource)).error == "invalid_target"


async def test_several_resources_are_narrowed_by_each_token_request(start: Start) -> None:
    async with start(resources=["https://a.example", "https://b.example"]) as practice:
        api = practice.provider.api_url
        reply = await practice.authorize(("resource", api), ("resource", "https://a.example"))
        code = reply.sent_back["code"]
        assert (await practice.exchange(code, resource="https://b.example")).error == "invalid_target"
        tokens = (await practice.exchange(code, resource="https://a.example")).json
        assert (await practice.call("/notes", tokens["access_token"])).error == "invalid_token"
        refused = await practice.refresh(tokens["refresh_token"], resource="https://b.example")
        assert refused.error == "invalid_target"
        fresh = (await practice.refresh(tokens["refresh_token"], resource=api)).json
        assert (await practice.call("/notes", fresh["access_token"])).status == 200


async def test_a_resource_may_be_required(start: Start) -> None:
    async with start(require_resource=True) as practice:
        assert (await practice.authorize()).sent_back["error"] == "invalid_target"
        tokens = await practice.tokens(resource=practice.provider.api_url)
        assert (await practice.refresh(tokens["refresh_token"])).status == 200


async def test_two_resources_in_one_value_are_not_two_resources(start: Start) -> None:
    async with start() as practice:
        api = practice.provider.api_url
        assert (await practice.authorize(resource=f"{api} {api}")).status == 400
        assert (await practice.exchange(await practice.code(), resource=f"{api} {api}")).error == "invalid_target"


async def test_the_api_may_move_to_another_provider(start: Start) -> None:
    async with start(resource_metadata="path") as old, start() as new:
        new.provider.resources = [old.provider.api_url]
        token = (await new.tokens(resource=old.provider.api_url))["access_token"]
        assert (await old.call("/me", token)).error == "invalid_token"
        old.provider.accept_tokens_of(new.provider)
        assert (await old.call("/me", token)).json["name"] == "Robin Practice"
        assert await old.works((await old.tokens())["access_token"])
