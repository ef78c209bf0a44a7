"""Pushed authorization requests (RFC 9126): checked at the push, good once, for their client."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from tests.testing.signing import ClientKey, proof

if TYPE_CHECKING:
    from .conftest import Practice, Reply, Start


async def push(practice: Practice, **changed: str | None) -> Reply:
    return await practice.ask(practice.provider.origin + "/par", **{**practice.asked, "client_id": None, **changed})


async def follow(practice: Practice, request_uri: str, client_id: str = "practice-client") -> Reply:
    query = urlencode({"client_id": client_id, "request_uri": request_uri})
    return await practice.send("GET", f"{practice.provider.authorize_url}?{query}")


async def test_a_pushed_request_is_good_once_for_a_minute(start: Start) -> None:
    async with start() as practice:
        reply = await push(practice)
        assert (reply.status, reply.json["expires_in"]) == (201, 60)
        assert reply.json["request_uri"].startswith("urn:ietf:params:oauth:request_uri:")
        sent_back = (await follow(practice, reply.json["request_uri"])).sent_back
        assert sent_back["state"] == "the state"
        assert (await practice.exchange(sent_back["code"])).status == 200
        assert (await follow(practice, reply.json["request_uri"])).status == 400
        late = (await push(practice)).json["request_uri"]
        practice.clock.now += 60
        assert (await follow(practice, late)).status == 400


async def test_a_pushed_request_is_its_clients_alone(start: Start) -> None:
    async with start() as practice:
        practice.provider.add_client("other", None, ["http://localhost:8080/back"])
        assert (await follow(practice, (await push(practice)).json["request_uri"], "other")).status == 400


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"redirect_uri": "http://localhost:8080/other"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"request_uri": "urn:ietf:params:oauth:request_uri:x"}, "invalid_request"),
        ({"request": "x.y.z"}, "request_not_supported"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"dpop_jkt": "short"}, "invalid_request"),
    ],
)
async def test_a_bad_request_is_refused_where_it_is_pushed(
    start: Start, changed: dict[str, Any], error: str
) -> None:
    async with start() as practice:
        reply = await push(practice, **changed)
        assert (reply.status, reply.error) == (400, error)


async def test_the_client_authenticates_itself_to_push(start: Start) -> None:
    async with start() as practice:
        reply = await practice.post(practice.provider.origin + "/par", list(practice.asked.items()))
        assert (reply.status, reply.error) == (401, "invalid_client")


@pytest.mark.parametrize(
    "settings", [{"require_par": True}, {"client_metadata": {"require_pushed_authorization_requests": True}}]
)
async def test_a_push_may_be_required(start: Start, settings: dict[str, Any]) -> None:
    async with start(**settings) as practice:
        assert (await practice.authorize()).sent_back["error"] == "invalid_request"
        uri = (await push(practice)).json["request_uri"]
        assert "code" in (await follow(practice, uri)).sent_back


async def test_an_unknown_request_uri_is_refused(start: Start) -> None:
    async with start() as practice:
        assert (await follow(practice, "urn:ietf:params:oauth:request_uri:unknown")).status == 400
        foreign = await practice.authorize(request_uri="https://app.example/request.jwt")
        assert foreign.sent_back["error"] == "invalid_request_uri"


@pytest.mark.parametrize("named", ["same", "other", None])
async def test_a_push_with_a_proof_binds_the_code_to_its_key(start: Start, named: str | None) -> None:
    key, url = ClientKey(), "/par"
    async with start(dpop="allowed", client_secret=None) as practice:
        form = {**practice.asked, **({"dpop_jkt": {"same": key.thumbprint, "other": "x" * 43}[named]} if named else {})}
        signed = proof(key, "POST", practice.provider.origin + url, practice.clock())
        reply = await practice.post(practice.provider.origin + url, list(form.items()), DPoP=signed)
        if named == "other":
            assert reply.error == "invalid_dpop_proof"
            return
        code = (await follow(practice, reply.json["request_uri"])).sent_back["code"]
        assert (await practice.exchange(code)).error == "invalid_grant"  # without the proof
