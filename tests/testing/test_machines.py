"""Tokens without a person at a browser: client credentials, token exchange, assertions of other issuers."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt
import pytest

from SlyAPI.testing import GRANT_TYPES
from tests.testing.signing import ClientKey

if TYPE_CHECKING:
    from .conftest import Practice, Reply, Start

GRANT = "urn:ietf:params:oauth:grant-type:"
TYPE = "urn:ietf:params:oauth:token-type:"
ISSUER = "https://issuer.example"
KEY = ClientKey()


async def ask(practice: Practice, grant_type: str, **form: str | None) -> Reply:
    return await practice.ask(practice.provider.token_url, grant_type=grant_type, **form)


async def exchange(practice: Practice, token: str, kind: str = "access_token", **form: str | None) -> Reply:
    return await ask(
        practice, GRANT + "token-exchange", **{"subject_token": token, "subject_token_type": TYPE + kind, **form}
    )


def signed(practice: Practice, key: ClientKey = KEY, **changed: Any) -> str:
    now = int(practice.clock())
    claims = {"iss": ISSUER, "sub": "robot", "aud": practice.provider.issuer, "iat": now, "exp": now + 60}
    return key.sign({**claims, **changed})


# Client credentials (RFC 6749 §4.4).


async def test_a_machine_gets_a_token_and_no_refresh_token(start: Start) -> None:
    async with start(grant_types=GRANT_TYPES) as practice:
        tokens = (await ask(practice, "client_credentials")).json
        assert set(tokens) == {"access_token", "token_type", "expires_in", "scope"}
        assert tokens["scope"] == "weather.read notes"
        assert (await practice.call("/me", tokens["access_token"])).json["name"] == "practice-client"
        assert (await ask(practice, "client_credentials", scope="notes")).json["scope"] == "notes"


@pytest.mark.parametrize(
    ("settings", "form", "error"),
    [
        ({"client_secret": None}, {}, "invalid_client"),
        ({}, {"scope": "admin"}, "invalid_scope"),
        ({"openid": True}, {"scope": "openid"}, "invalid_scope"),
        ({"client_metadata": {"scope": "notes"}}, {"scope": "weather.read"}, "invalid_scope"),
        ({"client_metadata": {"grant_types": ["authorization_code"]}}, {}, "unauthorized_client"),
        ({"grant_types": ["authorization_code"]}, {}, "unsupported_grant_type"),
        ({}, {"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"require_resource": True}, {}, "invalid_target"),
    ],
)
async def test_what_a_machine_may_not_have_is_refused(
    start: Start, settings: dict[str, Any], form: dict[str, str], error: str
) -> None:
    async with start(**{"grant_types": GRANT_TYPES, **settings}) as practice:
        assert (await ask(practice, "client_credentials", **form)).error == error


# Token exchange (RFC 8693).


async def test_an_exchanged_token_is_the_persons_narrower_and_no_longer_than_the_first(start: Start) -> None:
    async with start(grant_types=GRANT_TYPES, access_token_lifetime=100) as practice:
        first = (await practice.tokens())["access_token"]
        practice.clock.now += 60
        reply = (await exchange(practice, first, scope="notes", audience=practice.provider.api_url)).json
        assert (reply["issued_token_type"], reply["scope"]) == (TYPE + "access_token", "notes")
        assert reply["expires_in"] == 40
        assert "refresh_token" not in reply
        assert (await practice.call("/me", reply["access_token"])).json["name"] == "Robin Practice"
        assert (await practice.call("/forecast", reply["access_token"])).status == 403


async def test_an_exchange_may_be_on_behalf_of_somebody(start: Start) -> None:
    async with start(grant_types=GRANT_TYPES) as practice:
        person = (await practice.tokens())["access_token"]
        machine = (await ask(practice, "client_credentials")).json["access_token"]
        form = {"actor_token": machine, "actor_token_type": TYPE + "access_token"}
        token = (await exchange(practice, person, **form)).json["access_token"]
        actor = (await practice.call("/me", machine)).json["id"]
        assert (await practice.call("/me", token)).json["actor"] == actor
        described = (await practice.ask(practice.provider.origin + "/introspect", token=token)).json
        assert described["act"] == {"sub": actor}


@pytest.mark.parametrize("kind", ["refresh_token", "id_token", "jwt"])
async def test_other_kinds_of_tokens_are_exchanged_too(start: Start, kind: str) -> None:
    async with start(grant_types=GRANT_TYPES, openid=True, signing_algs=["ES256"]) as practice:
        practice.provider.trust_issuer(ISSUER, KEY.jwks)
        tokens = {"jwt": signed(practice), **(await practice.tokens(scope="openid notes"))}
        token = (await exchange(practice, tokens[kind], kind, scope="notes")).json["access_token"]
        name = "robot" if kind == "jwt" else "Robin Practice"
        assert (await practice.call("/me", token)).json["name"] == name


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"subject_token": "x"}, "invalid_request"),
        ({"subject_token": None}, "invalid_request"),
        ({"subject_token_type": None}, "invalid_request"),
        ({"subject_token_type": TYPE + "saml2"}, "invalid_request"),
        ({"subject_token_type": TYPE + "jwt"}, "invalid_request"),
        ({"subject_token_type": TYPE + "id_token"}, "invalid_request"),
        ({"subject_token_type": TYPE + "refresh_token"}, "invalid_request"),
        ({"actor_token": "x"}, "invalid_request"),
        ({"actor_token": "x", "actor_token_type": TYPE + "access_token"}, "invalid_request"),
        ({"actor_token_type": TYPE + "access_token"}, "invalid_request"),
        ({"requested_token_type": TYPE + "saml2"}, "invalid_request"),
        ({"requested_token_type": TYPE + "id-jag", "audience": "x"}, "invalid_request"),
        ({"audience": "https://elsewhere.example"}, "invalid_target"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"scope": "notes"}, "invalid_scope"),
    ],
)
async def test_an_exchange_that_is_wrong_is_refused(start: Start, changed: dict[str, Any], error: str) -> None:
    async with start(grant_types=GRANT_TYPES) as practice:
        token = (await practice.tokens(scope="weather.read"))["access_token"]
        assert (await exchange(practice, token, **changed)).error == error
        assert (await exchange(practice, token)).status == 200


@pytest.mark.parametrize("kind", ["refresh_token", "id_token"])
async def test_a_refresh_token_or_id_token_of_another_client_is_not_exchanged(start: Start, kind: str) -> None:
    async with start(grant_types=GRANT_TYPES, openid=True, signing_algs=["ES256"]) as practice:
        tokens = await practice.tokens(scope="openid notes")
        assert (await exchange(practice, tokens[kind], kind)).status == 200
        practice.provider.add_client("other", "its secret", [])
        practice.client_id, practice.secret = "other", "its secret"
        assert (await exchange(practice, tokens[kind], kind)).error == "invalid_request"


async def test_a_token_for_one_resource_is_not_exchanged_for_another(start: Start) -> None:
    async with start(grant_types=GRANT_TYPES, resources=["https://a.example"]) as practice:
        token = (await practice.tokens(resource="https://a.example"))["access_token"]
        assert (await exchange(practice, token, resource="https://a.example")).status == 200
        assert (await exchange(practice, token, resource=practice.provider.api_url)).error == "invalid_target"


async def test_an_expired_or_revoked_token_is_not_exchanged(start: Start) -> None:
    async with start(grant_types=GRANT_TYPES) as practice:
        token = (await practice.tokens())["access_token"]
        practice.provider.revoke_access_tokens()
        assert (await exchange(practice, token)).error == "invalid_request"


# Assertions as grants (RFC 7523 §2.1).


@pytest.mark.parametrize("with_client", [True, False])
async def test_a_trusted_issuers_assertion_gives_a_token_once(start: Start, with_client: bool) -> None:
    async with start(grant_types=GRANT_TYPES) as practice:
        practice.provider.trust_issuer(ISSUER, KEY.jwks)
        form = {"grant_type": GRANT + "jwt-bearer", "assertion": signed(practice, jti="one"), "scope": "notes"}
        replies = [
            await practice.ask(practice.provider.token_url, **form)
            if with_client
            else await practice.post(practice.provider.token_url, list(form.items()))
            for _ in range(2)
        ]
        assert [reply.status for reply in replies] == [200, 400]
        assert set(replies[0].json) == {"access_token", "token_type", "expires_in", "scope"}
        me = (await practice.call("/me", replies[0].json["access_token"])).json
        assert (me["name"], me["client_id"]) == ("robot", "practice-client" if with_client else ISSUER)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "https://elsewhere.example"},
        {"exp": 1_800_000_000 - 10},
        {"exp": 1_800_000_000 + 3601},
        {"exp": None},
        {"nbf": 1_800_000_000 + 11},
        {"sub": "stranger"},
        {"sub": None},
    ],
    ids=str,
)
async def test_an_assertion_with_a_wrong_claim_is_an_invalid_grant(start: Start, changed: dict[str, Any]) -> None:
    async with start(grant_types=GRANT_TYPES) as practice:
        practice.provider.trust_issuer(ISSUER, KEY.jwks, subjects=["robot"])
        reply = await ask(practice, GRANT + "jwt-bearer", assertion=signed(practice, **changed))
        assert (reply.status, reply.error) == (400, "invalid_grant")


async def test_an_assertion_by_another_key_is_an_invalid_grant(start: Start) -> None:
    async with start(grant_types=GRANT_TYPES) as practice:
        practice.provider.trust_issuer(ISSUER, KEY.jwks)
        for assertion in (signed(practice, ClientKey()), jwt.encode({"iss": ISSUER}, "k" * 40, "HS256"), "x"):
            assert (await ask(practice, GRANT + "jwt-bearer", assertion=assertion)).error == "invalid_grant"
        assert (await ask(practice, GRANT + "jwt-bearer")).error == "invalid_request"


async def test_an_assertion_limits_scopes(start: Start) -> None:
    async with start(grant_types=GRANT_TYPES) as practice:
        practice.provider.trust_issuer(ISSUER, KEY.jwks)
        form = {"assertion": signed(practice, scope="notes")}
        assert (await ask(practice, GRANT + "jwt-bearer", **form)).json["scope"] == "notes"
        assert (await ask(practice, GRANT + "jwt-bearer", **form, scope="weather.read")).error == "invalid_scope"


@pytest.mark.parametrize("grant", ["jwt-bearer", "token-exchange"])
async def test_no_id_token_comes_without_a_sign_in(start: Start, grant: str) -> None:
    async with start(grant_types=GRANT_TYPES, openid=True, signing_algs=["ES256"]) as practice:
        practice.provider.trust_issuer(ISSUER, KEY.jwks)
        form = {"assertion": signed(practice), "subject_token": signed(practice), "subject_token_type": TYPE + "jwt"}
        reply = await practice.post(
            practice.provider.token_url, [("grant_type", GRANT + "jwt-bearer"), *form.items(), ("scope", "openid")]
        )
        assert (reply.status, "id_token" in reply.json) == (200, False)
        assert "id_token" not in (await ask(practice, GRANT + grant, **form, scope="openid")).json


@pytest.mark.parametrize("client_id", ["practice-client", "other"])
async def test_an_identity_assertion_opens_another_provider_for_its_client(start: Start, client_id: str) -> None:
    async with start(grant_types=GRANT_TYPES, openid=True, signing_algs=["ES256"]) as idp, start(
        grant_types=GRANT_TYPES, client_id=client_id
    ) as practice:
        practice.client_id = client_id
        practice.provider.trust_issuer(idp.provider.issuer, idp.provider.jwks())
        id_token = (await idp.tokens(scope="openid notes"))["id_token"]
        form = {"requested_token_type": TYPE + "id-jag", "audience": practice.provider.issuer, "scope": "notes"}
        reply = (await exchange(idp, id_token, "id_token", **form)).json
        assert (reply["token_type"], reply["issued_token_type"]) == ("N_A", TYPE + "id-jag")
        assert jwt.get_unverified_header(reply["access_token"])["typ"] == "oauth-id-jag+jwt"
        tokens = await ask(practice, GRANT + "jwt-bearer", assertion=reply["access_token"])
        if client_id == "other":
            assert tokens.error == "invalid_grant"
            return
        assert tokens.json["scope"] == "notes"
        assert (await practice.call("/me", tokens.json["access_token"])).json["name"] == "Robin Practice"
