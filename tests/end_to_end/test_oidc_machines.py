"""A machine's ways to a token at a provider that others wrote, with all its features on, and what it refuses.

The rule: public names only; each refusal is the provider's own answer, and waiting is its clock moved on.
"""
from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from SlyAPI import ClientCredentials, OAuth2App, TokenExchange
from SlyAPI.errors import IdentityError, TokenError
from SlyAPI.web import Method, Request
from tests.end_to_end.oidc_everything import API, JWT_API, Everything, errors_of, machine, make_key


async def header(auth: ClientCredentials | TokenExchange) -> str:
    """The Authorization header that a request to the API gets."""
    return (await auth.sign(None, Request(Method.GET, API))).headers["Authorization"]


# --- client credentials, resource indicators, introspection, revocation ---


async def test_a_machine_has_a_token_for_the_api_alone_until_it_expires_or_is_revoked(everything: Everything) -> None:
    app = await machine(everything)
    auth = ClientCredentials(app, ["notes"], everything.path("machine.json"))
    scheme, _, token = (await header(auth)).partition(" ")
    assert scheme == "Bearer"
    found = await app.introspect(token)
    assert (found.active, found.scopes, found.client_id) == (True, ["notes"], "machine")
    assert found.extra["aud"] == API

    again = ClientCredentials(await machine(everything), ["notes"], everything.path("machine.json"))
    assert await header(again) == f"Bearer {token}", "workers share it"
    await everything.server.later(61)
    assert not (await app.introspect(token)).active

    user = await app.request_token(["notes", "tides"])
    assert (await app.introspect(user.token)).active
    await app.revoke(user)
    assert not (await app.introspect(user.token)).active
    await app.revoke(user)
    assert not (await app.introspect("no token of anybody")).active


async def test_a_machine_is_granted_authorization_details_and_its_api_sees_them(everything: Everything) -> None:
    app = await machine(everything)
    wanted = [{"type": "payment", "amount": "12.50"}]
    granted = [{**wanted[0], "payer": "us"}]
    user = await app.request_token(["notes"], authorization_details=wanted)
    assert user.authorization_details == granted
    assert (await app.introspect(user.token)).extra["authorization_details"] == granted
    for wrong in ([{"type": "payment"}], [{"type": "unknown"}]):
        with pytest.raises(TokenError) as refused:
            await app.request_token(["notes"], authorization_details=wrong)
        assert refused.value.error == "invalid_authorization_details"


@pytest.mark.parametrize("resource", [API, JWT_API], ids=["opaque", "JWT"])
async def test_an_api_reads_the_access_tokens_that_the_provider_issues_for_it(
    everything: Everything, resource: str
) -> None:
    caller = await machine(everything, resource=resource)
    text = (await caller.request_token(["notes"])).token
    api = await machine(everything, "other-machine")
    token = await api.read_access_token(text, audience=resource, scopes=["notes"])
    assert (token.client_id, token.audience, token.scopes) == ("machine", [resource], ["notes"])
    assert (token.issuer, token.subject) == (everything.issuer, "machine" if resource == JWT_API else token.subject)
    wrongs: list[dict[str, Any]] = [{"audience": "https://another.example"}, {"scopes": "notes tides"}]
    for wrong, status in zip(wrongs, (401, 403), strict=True):
        with pytest.raises(IdentityError) as refused:
            await api.read_access_token(text, **{"audience": resource, **wrong})
        assert refused.value.status == status
    bound = (await (await machine(everything, resource=resource, dpop=True)).request_token(["notes"])).token
    with pytest.raises(IdentityError) as refused:
        await api.read_access_token(bound, audience=resource)
    assert refused.value.www_authenticate().startswith("DPoP ")
    await everything.server.later(200)
    with pytest.raises(IdentityError):
        await api.read_access_token(text, audience=resource, now=token.expires_at.timestamp() + 61)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"secret": "another-secret-of-32-characters-or-more"}, "invalid_client"),
        ({"id": "nobody"}, "invalid_client"),
        ({"resource": "https://another.example"}, "invalid_target"),
        ({"resource": [API, "https://another.example"]}, "invalid_target"),
    ],
    ids=["secret", "client", "resource", "one of two resources"],
)
async def test_a_machine_that_is_wrong_is_refused_and_named(
    everything: Everything, more: dict[str, Any], error: str
) -> None:
    app = await machine(everything, **more)
    with pytest.raises(TokenError) as caught:
        await header(ClientCredentials(app, ["notes"]))
    assert (caught.value.error, caught.value.kind) == (error, "configuration")
    assert "grant again" not in caught.value.next_step.casefold()


async def test_only_a_client_that_authenticates_may_ask_about_a_token_or_end_another_ones(
    everything: Everything,
) -> None:
    app = await machine(everything)
    user = await app.request_token(["notes"])
    with pytest.raises(TokenError, match="invalid_client"):
        await (await machine(everything, secret="another")).introspect(user.token)
    other = await machine(everything, "other-machine")
    with pytest.raises(TokenError):
        await other.revoke(replace(user, issued_to=None))
    assert (await app.introspect(user.token)).active


# --- client authentication by JWT (RFC 7523) ---


def by_jwt(everything: Everything, kind: str) -> dict[str, Any]:
    if kind == "secret-jwt":
        return {"id": kind, "client_auth": "client_secret_jwt"}
    return {"id": kind, "secret": None, "key": everything.path("key.pem"), "key_id": "key"}


@pytest.mark.parametrize("kind", ["secret-jwt", "key-jwt"])
async def test_a_client_proves_itself_by_jwt_everywhere(everything: Everything, kind: str) -> None:
    app = await machine(everything, **by_jwt(everything, kind))
    again = OAuth2App.from_json_obj(json.loads(json.dumps(app.to_dict())))
    user = await again.request_token(["notes"])
    assert (await again.introspect(user.token)).active
    await again.revoke(user)
    assert not (await again.introspect(user.token)).active
    log = await everything.server.log(None)
    assert {entry["client_auth"] for entry in log} == {"client_assertion"}
    assert {entry["error"] for entry in log} == {None}


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("secret-jwt", {"secret": "another-secret-of-32-characters-or-more"}),
        ("secret-jwt", {"client_auth": "basic"}),
        ("secret-jwt", {"assertion_audience": "https://another.example"}),
        ("key-jwt", {"key": "another.pem"}),
        ("key-jwt", {"assertion_audience": "https://another.example"}),
    ],
    ids=["secret", "basic", "audience of secret", "key", "audience of key"],
)
async def test_a_wrong_key_secret_or_audience_is_refused(
    everything: Everything, kind: str, more: dict[str, Any]
) -> None:
    if "key" in more:
        make_key(everything.folder, "another")
        more = {"key": everything.path("another.pem")}
    app = await machine(everything, **{**by_jwt(everything, kind), **more})
    with pytest.raises(TokenError) as caught:
        await app.request_token(["notes"])
    assert (caught.value.error, caught.value.kind) == ("invalid_client", "configuration")


# --- client certificates (RFC 8705) ---


@pytest.mark.parametrize(("kind", "shown"), [("tls", "client.pem"), ("self-signed", "alone.pem")])
async def test_a_client_proves_itself_by_its_certificate_and_its_token_is_bound_to_it(
    everything: Everything, kind: str, shown: str
) -> None:
    app = await machine(everything, kind, None, certificate=everything.path(shown))
    assert app.mtls_aliases["token_endpoint"].startswith("https://localhost:")
    user = await app.request_token(["notes"])
    found = await app.introspect(user.token)
    assert found.active
    assert found.extra["cnf"].keys() == {"x5t#S256"}


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("tls", None), ("tls", "other.pem"), ("tls", "alone.pem"), ("self-signed", None), ("self-signed", "client.pem")],
)
async def test_a_missing_or_another_certificate_is_refused(
    everything: Everything, kind: str, shown: str | None
) -> None:
    method = "tls_client_auth" if kind == "tls" else "self_signed_tls_client_auth"
    certificate = None if shown is None else everything.path(shown)
    app = await machine(everything, kind, None, client_auth=method, certificate=certificate)
    with pytest.raises(TokenError) as caught:
        await app.request_token(["notes"])
    assert (caught.value.error, caught.value.kind) == ("invalid_client", "configuration")


# --- token exchange (RFC 8693) ---


async def test_a_token_is_exchanged_for_a_narrower_one(everything: Everything) -> None:
    app = await machine(everything)
    wide = await app.request_token(["notes", "tides"])
    narrow = await app.exchange_token(wide.token, scopes=["notes"])
    assert narrow.issued_token_type == "urn:ietf:params:oauth:token-type:access_token"
    assert (await app.introspect(narrow.token)).scopes == ["notes"]
    assert (await header(TokenExchange(app, wide.token, scopes=["tides"]))).startswith("Bearer ")


async def test_a_dead_subject_a_wrong_kind_a_wrong_resource_and_a_client_without_the_right_are_refused(
    everything: Everything,
) -> None:
    app = await machine(everything)
    wide = await app.request_token(["notes"])
    with pytest.raises(TokenError, match="invalid_request"):
        await app.exchange_token(wide.token, "saml2")
    with pytest.raises(TokenError, match="invalid_target"):
        await app.exchange_token(wide.token, resource="https://another.example")
    with pytest.raises(TokenError, match="not allowed"):
        await (await machine(everything, "other-machine")).exchange_token(wide.token)
    await everything.server.later(61)
    with pytest.raises(TokenError, match="subject_token"):
        await header(TokenExchange(app, wide.token))


# --- proof of possession (RFC 9449) ---


async def test_a_machine_binds_its_token_to_a_key(everything: Everything) -> None:
    app = await machine(everything, dpop=True)
    user = await app.request_token(["notes"])
    assert user.token_type == "DPoP"
    assert (await app.introspect(user.token)).extra["cnf"].keys() == {"jkt"}
    assert (await header(ClientCredentials(app, ["notes"]))).startswith("DPoP ")
    assert await errors_of(everything) == ["use_dpop_nonce", None, None]
