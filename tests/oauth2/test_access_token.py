"""The access tokens that come with requests to an API of one's own: what counts, what is refused, and what to answer.

PyJWT signs; `test_oidc_machines.py` has tokens of a provider that others wrote.
"""
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from SlyAPI.errors import ConfigError, IdentityError, NetworkError
from SlyAPI.oauth2 import AccessToken, OAuth2App, protected_resource_metadata
from SlyAPI.oauth2.messages.dpop import dpop_proof
from SlyAPI.oauth2.messages.jose import load_signing_key, new_key, thumbprint
from SlyAPI.transport.certificates import thumbprint as certificate_thumbprint
from SlyAPI.web.challenges import read_challenges
from tests.support.certificates import make_certificate
from tests.support.issuer import NOW, Issuer, jwk_of, private_key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve

API = "https://api.example"
URL = f"{API}/notes"


@pytest.fixture
async def issuer(serve: Serve) -> Issuer:
    issuer = Issuer("ES256")
    issuer.origin = (await serve(issuer.handle)).origin
    return issuer


def token(issuer: Issuer, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """An access token that is right (RFC 9068 §2.2), with changes; None removes a claim."""
    claims: dict[str, Any] = {"iss": issuer.origin, "sub": "robin", "aud": API, "client_id": "caller", "jti": "j"}
    claims |= {"scope": "notes tides", "iat": int(NOW), "exp": int(NOW) + 300, **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return issuer.sign(claims, {"typ": "at+jwt", **(header or {})})


async def read(issuer: Issuer, text: str | None, *, now: float = NOW, **wishes: Any) -> AccessToken:
    return await issuer.app().read_access_token(text, **{"audience": API, "now": now, **wishes})


async def refused(issuer: Issuer, text: str | None, **wishes: Any) -> IdentityError:
    with pytest.raises(IdentityError) as caught:
        await read(issuer, text, **wishes)
    assert text is None or text not in str(caught.value)
    return caught.value


async def test_an_access_token_says_who_calls_for_whom_and_what_they_may_do(issuer: Issuer) -> None:
    found = await read(issuer, token(issuer, aud=[API, "https://more.example"]), scopes=["notes"])
    assert (found.issuer, found.subject, found.client_id) == (issuer.origin, "robin", "caller")
    assert (found.audience, found.scopes) == ([API, "https://more.example"], ["notes", "tides"])
    assert found.expires_at is not None
    assert found.expires_at.timestamp() == NOW + 300
    assert found.claims["jti"] == "j"


@pytest.mark.parametrize(
    ("header", "changes", "wishes"),
    [
        ({"typ": "JWT"}, {}, {}),
        ({"typ": None}, {}, {}),
        ({"typ": "logout+jwt"}, {}, {"accept_jwt": True}),
        ({"typ": "JWT"}, {"nonce": "n"}, {"accept_jwt": True}),
        ({"typ": "JWT"}, {"at_hash": "x"}, {"accept_jwt": True}),
        ({"typ": "JWT"}, {"token_use": "id"}, {"accept_jwt": True}),
        ({"typ": "JWT"}, {"typ": "Refresh"}, {"accept_jwt": True}),
        ({}, {"iss": "https://other.example"}, {}),
        ({}, {"aud": "https://other.example"}, {}),
        ({}, {"aud": None}, {}),
        ({}, {"aud": {"a": API}}, {}),
        ({}, {"exp": None}, {}),
        ({}, {"exp": int(NOW) - 60}, {}),
        ({}, {"exp": "soon"}, {}),
        ({}, {"nbf": int(NOW) + 61}, {}),
        ({}, {"scope": {"a": 1}}, {}),
        ({}, {"cnf": {"jkt": "x"}}, {}),
        ({}, {"cnf": {"kid": "x"}}, {"certificate": b"x"}),
        ({}, {"cnf": "x"}, {}),
        ({"kid": "unknown"}, {}, {}),
    ],
    ids=str,
)
async def test_what_is_no_access_token_for_this_api_is_refused_with_401(
    issuer: Issuer, header: dict[str, Any], changes: dict[str, Any], wishes: dict[str, Any]
) -> None:
    error = await refused(issuer, token(issuer, header, **changes), **wishes)
    (challenge,) = read_challenges(error.www_authenticate())
    assert error.status == 401
    assert challenge.params["error"] == "invalid_token"
    assert challenge.scheme == ("DPoP" if "cnf" in changes else "Bearer")


@pytest.mark.parametrize(
    "changes",
    [
        *({}, {"token_use": "access"}, {"token_use": "access", "aud": None, "client_id": API}),
        *({"typ": "Bearer"}, {"scope": None, "scp": ["notes"]}),
    ],
    ids=str,
)
async def test_a_plain_jwt_counts_where_the_api_says_that_its_issuer_marks_none(
    issuer: Issuer, changes: dict[str, Any]
) -> None:
    found = await read(issuer, token(issuer, {"typ": "JWT"}, **changes), accept_jwt=True, scopes="notes")
    assert "notes" in found.scopes


async def test_a_forged_token_is_never_asked_about(issuer: Issuer, serve: Serve) -> None:
    asked: list[str] = []

    async def introspect(request: web.Request) -> web.Response:
        asked.append(str((await request.post())["token"]))
        return web.json_response({"active": True, "aud": API, "sub": "robin"})

    uri = f"{(await serve(introspect)).origin}/introspect"
    app = issuer.app(introspect_uri=uri)
    forged = f"{token(issuer).rpartition('.')[0]}.AAAA"
    with pytest.raises(IdentityError):
        await app.read_access_token(forged, audience=API, now=NOW)
    assert asked == []
    for opaque in ("opaque", "ya29.a.b"):
        assert (await app.read_access_token(opaque, audience=API, now=NOW)).subject == "robin"
    assert asked == ["opaque", "ya29.a.b"]


@pytest.mark.parametrize(
    "reply",
    [
        {"active": False},
        {"active": True},
        {"active": True, "aud": "https://other.example"},
        {"active": True, "aud": API, "iss": "https://other.example"},
        {"active": True, "aud": API, "exp": int(NOW) - 60},
        {"active": True, "aud": API, "token_type": "refresh_token"},
        {"active": True, "aud": API, "cnf": {"jkt": "x"}},
    ],
    ids=str,
)
async def test_what_introspection_does_not_say_of_this_api_is_refused(
    issuer: Issuer, serve: Serve, reply: dict[str, Any]
) -> None:
    async def introspect(request: web.Request) -> web.Response:
        return web.json_response(reply)

    app = issuer.app(introspect_uri=f"{(await serve(introspect)).origin}/introspect")
    with pytest.raises(IdentityError) as caught:
        await app.read_access_token("opaque", audience=API, now=NOW)
    assert caught.value.status == 401


async def test_a_request_without_a_token_is_asked_for_one_without_an_error(issuer: Issuer) -> None:
    error = await refused(issuer, None)
    assert error.www_authenticate() == "Bearer"
    place = f"{API}/.well-known/oauth-protected-resource"
    assert error.www_authenticate(place) == f'Bearer resource_metadata="{place}"'
    assert "introspection" in str(await refused(issuer, "opaque"))


async def test_a_token_that_lacks_scopes_is_forbidden_and_the_answer_names_them(issuer: Issuer) -> None:
    error = await refused(issuer, token(issuer), scopes=["notes", "vault"])
    (challenge,) = read_challenges(error.www_authenticate())
    assert error.status == 403
    assert (challenge.params["error"], challenge.scopes) == ("insufficient_scope", ("notes", "vault"))


async def test_an_issuer_that_cannot_be_asked_is_not_the_callers_fault(issuer: Issuer) -> None:
    app = issuer.app(jwks_uri="http://127.0.0.1:1/jwks")
    with pytest.raises(NetworkError):
        await app.read_access_token(token(issuer), audience=API, now=NOW)
    with pytest.raises(ConfigError):
        await OAuth2App("api").read_access_token(token(issuer), audience=API, now=NOW)


@pytest.mark.parametrize("wrong", ["", "method", "url", "token", "time", "key", "again", "garbage", "absent"])
async def test_a_token_bound_by_dpop_needs_the_proof_of_its_own_request(issuer: Issuer, wrong: str) -> None:
    key = new_key("ES256")
    app, text = issuer.app(), token(issuer, cnf={"jkt": thumbprint(key)})
    signing = load_signing_key(new_key("ES256") if wrong == "key" else key)
    made_at = NOW - 121 if wrong == "time" else NOW
    of = "another" if wrong == "token" else text
    header = await dpop_proof(signing, "GET", URL, now=made_at, access_token=of)
    header = "a.b.c" if wrong == "garbage" else header
    method, url = "POST" if wrong == "method" else "GET", f"{API}/vault" if wrong == "url" else f"{URL}?page=2"
    wishes: dict[str, Any] = {"audience": API, "now": NOW}
    wishes |= {} if wrong == "absent" else {"proof": (header, method, url)}
    if wrong in ("", "again"):
        assert (await app.read_access_token(text, **wishes)).subject == "robin"
    if wrong:
        with pytest.raises(IdentityError) as caught:
            await app.read_access_token(text, **wishes)
        assert caught.value.status == 401


@pytest.mark.parametrize("form", ["DER", "PEM", "another", "broken"])
async def test_a_token_bound_to_a_certificate_needs_it(issuer: Issuer, tmp_path: Path, form: str) -> None:
    _, certificate = make_certificate(tmp_path, "client")
    hashed = certificate_thumbprint(str(tmp_path / "client.pem"))
    text = token(issuer, cnf={"x5t#S256": hashed})
    forms = {"DER": certificate.public_bytes(Encoding.DER), "PEM": certificate.public_bytes(Encoding.PEM).decode()}
    if form in forms:
        assert (await read(issuer, text, certificate=forms[form])).subject == "robin"
    elif form == "another":
        await refused(issuer, text, certificate=b"another")
    else:
        await refused(issuer, text, certificate="no PEM")


async def test_keys_that_strangers_name_do_not_make_the_api_ask_for_each(issuer: Issuer) -> None:
    app = issuer.app()
    await app.read_access_token(token(issuer), audience=API, now=NOW)
    issuer.keys = [jwk_of(private_key("ES256", 1), kid="k1")]
    for number in range(50):
        with pytest.raises(IdentityError):
            await app.read_access_token(token(issuer, {"kid": f"x{number}"}), audience=API, now=NOW)
    assert issuer.asked_keys == 2


def test_an_api_publishes_whose_tokens_it_takes() -> None:
    made = protected_resource_metadata(API, ["https://issuer.example"], scopes="notes tides", resource_name="Notes")
    assert json.loads(json.dumps(made)) == {
        "resource": API,
        "authorization_servers": ["https://issuer.example"],
        "scopes_supported": ["notes", "tides"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Notes",
    }
    wrong = [("http://api.example", []), (f"{API}#x", []), (API, ["file:///x"]), (API, "https://issuer.example")]
    for resource, issuers in wrong:
        with pytest.raises(ConfigError):
            protected_resource_metadata(resource, issuers)
