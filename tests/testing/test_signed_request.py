"""Signed requests (RFC 9101) and signed responses (JARM) of the practice provider: what it accepts."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import jwt
import pytest

from SlyAPI.testing import PracticeProvider
from tests.testing.signing import ClientKey

if TYPE_CHECKING:
    from .conftest import Practice, Reply, Start

KEY = ClientKey()
METADATA = {"jwks": KEY.jwks}


def request_object(
    practice: Practice, key: ClientKey = KEY, header: dict[str, Any] | None = None, **changed: Any
) -> str:
    now = int(practice.clock.now)
    usual = {"iss": "practice-client", "aud": practice.provider.issuer, "nbf": now - 60, "exp": now + 300}
    return key.sign({**practice.asked, **usual, **changed}, **{"typ": "oauth-authz-req+jwt", **(header or {})})


async def opened(practice: Practice, token: str, client_id: str = "practice-client", **outside: str) -> Reply:
    query = urlencode({"client_id": client_id, "request": token, **outside})
    return await practice.send("GET", f"{practice.provider.authorize_url}?{query}")


async def test_a_signed_request_is_answered_by_what_is_inside(start: Start) -> None:
    async with start(signed_requests="required", client_metadata=METADATA) as practice:
        reply = await opened(practice, request_object(practice), state="outside", redirect_uri="https://evil.example/")
        assert reply.sent_back["state"] == "the state"


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "another"},
        {"iss": None},
        {"aud": "https://other.example"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"exp": 4_000_000_000},
        {"nbf": 1_900_000_000},
        {"client_id": "another"},
        {"client_id": None},
        {"request_uri": "urn:x"},
        {"redirect_uri": "https://evil.example/"},
        {"header": {"typ": "JWT"}},
        {"header": {"kid": "another"}},
        {"key": ClientKey()},
    ],
    ids=lambda changed: "-".join("key" if name == "key" else f"{name} {value}" for name, value in changed.items()),
)
async def test_a_wrong_request_object_is_refused(start: Start, changed: dict[str, Any]) -> None:
    async with start(signed_requests="allowed", client_metadata=METADATA) as practice:
        token = request_object(practice, **changed)
        assert (await opened(practice, token)).status == 400
        pushed = await practice.ask(practice.provider.origin + "/par", request=token)
        assert pushed.status == 400


@pytest.mark.parametrize("settings", [{"signed_requests": "required"}, {"client_metadata": {
    **METADATA, "require_signed_request_object": True}}])
async def test_where_it_is_required_a_plain_request_is_refused(start: Start, settings: dict[str, Any]) -> None:
    async with start(**settings) as practice:
        plain = f"{practice.provider.authorize_url}?{urlencode(practice.asked)}"
        assert (await practice.send("GET", plain)).status == 400


@pytest.mark.parametrize("consent", ["allow", "deny"])
async def test_a_response_is_signed_where_it_is_asked_for(start: Start, consent: Any) -> None:
    async with start(signed_responses=True, openid=True, signing_algs=["ES256"], consent=consent) as practice:
        query = urlencode({**practice.asked, "response_mode": "jwt"})
        sent_back = (await practice.send("GET", f"{practice.provider.authorize_url}?{query}")).sent_back
        assert sent_back.keys() == {"response"}
        key = jwt.PyJWK(practice.provider.jwks()["keys"][0]).key
        checks: dict[str, Any] = {"audience": "practice-client", "issuer": practice.provider.issuer}
        claims = jwt.decode(sent_back["response"], key, ["ES256"], **checks, options={"verify_exp": False})
        assert claims["exp"] == practice.clock.now + 60
        assert claims["state"] == "the state"
        assert ("code" in claims) is (consent == "allow")


async def test_a_refusal_of_the_request_is_signed_too(start: Start) -> None:
    async with start(signed_responses=True, openid=True) as practice:
        query = urlencode({**practice.asked, "response_mode": "jwt", "scope": "admin"})
        reply = await practice.send("GET", f"{practice.provider.authorize_url}?{query}")
        claims = jwt.decode(reply.sent_back["response"], options={"verify_signature": False})
        assert claims["error"] == "invalid_scope"


@pytest.mark.parametrize("mode", ["jwt", "fragment", "form_post"])
async def test_other_response_modes_are_refused(start: Start, mode: str) -> None:
    async with start() as practice:
        query = urlencode({**practice.asked, "response_mode": mode})
        reply = await practice.send("GET", f"{practice.provider.authorize_url}?{query}")
        assert reply.sent_back["error"] == "invalid_request"


def test_signed_responses_need_the_keys_of_openid() -> None:
    with pytest.raises(ValueError, match="openid"):
        PracticeProvider(signed_responses=True)
