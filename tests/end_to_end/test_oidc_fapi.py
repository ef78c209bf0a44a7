"""The FAPI 2.0 Security Profile, signed requests and signed responses at a provider that others wrote.

The rule: public names only; the provider holds its clients to the profile by itself, and each refusal is its own.
"""
from __future__ import annotations

import hashlib
import json
import ssl
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from SlyAPI import ClientCredentials, OAuth2, OAuth2App, OAuth2User, WebAPI
from SlyAPI.errors import (
    ApiError,
    ConfigError,
    GrantEndedError,
    NetworkError,
    RedirectError,
    StateMismatchError,
    TokenError,
)
from SlyAPI.web import Method, Request
from tests.end_to_end.oidc_everything import API, Everything, with_everything
from tests.end_to_end.plain_person import consents
from tests.support.certificates import server_context
from tests.support.serving import all_by, served

REDIRECT = "http://127.0.0.1:8080/"
SCOPES = "openid offline_access"


async def client(everything: Everything, name: str = "fapi", kid: str = "fapi", **more: Any) -> OAuth2App:
    """A client as a program makes it: an issuer, its id, its key or certificate, and the one switch."""
    proof: dict[str, Any] = {"key": everything.path(f"{kid}.pem"), "key_id": kid}
    if name == "fapi-tls":
        proof = {"certificate": everything.path("client.pem")}
    return await OAuth2App.discover(everything.issuer, name, **{"profile": "fapi2", **proof, **more})


async def signed_by_callable(everything: Everything, name: str, kid: str, **more: Any) -> OAuth2App:
    """The client whose key is elsewhere: a callable signs, as with a KMS."""
    private: Any = load_pem_private_key((everything.folder / f"{kid}.pem").read_bytes(), None)

    async def sign(data: bytes) -> bytes:
        return bytes(private.sign(data, ECDSA(hashes.SHA256())))

    return await client(everything, name, kid, **{"key": sign, "key_alg": "ES256", **more})


async def sign_in(app: OAuth2App, scopes: str = SCOPES, **wishes: Any) -> OAuth2User:
    login = await app.push_login(REDIRECT, scopes, prompt="consent", **wishes)
    assert parse_qs(urlsplit(login.url).query).keys() == {"client_id", "request_uri"}
    kept = json.loads(json.dumps(login.to_dict()))
    return await app.finish_login(kept, await consents(login.url, until=REDIRECT))


def next_process(app: OAuth2App, user: OAuth2User) -> tuple[OAuth2App, OAuth2User]:
    """Client and user as another process reads them."""
    kept = json.loads(json.dumps([app.to_dict(), user.to_dict()]))
    return OAuth2App.from_json_obj(kept[0]), OAuth2User.from_json_obj(kept[1])


# --- the profile (FAPI 2.0 Security Profile) ---


async def test_one_switch_is_a_whole_grant_of_the_profile(everything: Everything) -> None:
    app = await client(everything)
    assert (app.dpop, app.require_par, app.iss_in_redirect) == (True, True, True)
    user = await sign_in(app)
    assert user.identity is not None
    assert (user.identity.subject, user.token_type) == ("alice", "DPoP")

    app, user = next_process(app, user)
    assert app.profile == "fapi2"
    auth = OAuth2(app, user)
    async with WebAPI(auth) as api:
        api.base_url = everything.issuer
        assert (await api.get_json("/me"))["sub"] == "alice"
        fresh = await auth.refresh_now()
        assert (await api.get_json("/me"))["sub"] == "alice"
    assert (await app.introspect(fresh.token)).extra["cnf"].keys() == {"jkt"}
    await app.revoke(fresh)
    with pytest.raises(GrantEndedError):
        await app.refresh(None, fresh)
    log = await everything.server.log(None)
    assert {entry["client_auth"] for entry in log if entry["endpoint"] != "userinfo"} == {"client_assertion"}


async def test_all_of_it_is_https_where_the_provider_is(tmp_path: Path) -> None:
    async with with_everything(tmp_path, https=True) as everything:
        trusting = ssl.create_default_context(cafile=everything.path("trusted.pem"))
        connector = aiohttp.TCPConnector(ssl=trusting)
        async with aiohttp.ClientSession(connector=connector) as session:
            app = await client(everything, client=session)
            uris = [uri for uri in app.to_dict().values() if isinstance(uri, str) and "://" in uri]
            assert len(uris) > 8
            assert all(uri.startswith("https://") for uri in uris)
            login = await app.push_login(REDIRECT, SCOPES, prompt="consent", client=session)
            redirect = await consents(login.url, until=REDIRECT, tls=trusting)
            user = await app.finish_login(login.to_dict(), redirect, session)
            assert user.identity is not None
            fresh = await app.refresh(session, user)
            assert (await app.userinfo(fresh, session))["sub"] == "alice"


async def test_a_machine_of_the_profile_has_bound_tokens(everything: Everything) -> None:
    auth = ClientCredentials(await client(everything, resource=API), ["notes"])
    request = await auth.sign(None, Request(Method.GET, API))
    assert request.headers["Authorization"].startswith("DPoP ")
    assert request.headers["DPoP"]


FORBIDDEN: list[tuple[dict[str, Any], str]] = [
    ({"key": None, "secret": "a-secret-of-32-characters-or-more"}, "5.3.3.1, 2"),
    ({"key": None}, "5.3.3.1, 2"),
    ({"client_auth": "client_secret_jwt", "secret": "s" * 32}, "5.3.3.1, 2"),
    ({"dpop": False}, "5.3.3.1, 1"),
    ({"assertion_audience": "https://p.example/token"}, "5.3.3.1, 5"),
    ({"par_uri": None}, "5.3.3.2, 2"),
    ({"pkce": False}, "5.3.3.2, 3"),
    ({"allow_http": True}, "5.2.1, 1"),
    ({"token_uri": "http://p.example/token"}, "5.2.1, 1"),
    ({"key_alg": "RS256"}, "5.4.1, 1"),
    ({"id_token_alg": "HS256"}, "5.4.1, 1"),
]


async def test_discover_refuses_what_the_profile_forbids_and_names_the_clause(everything: Everything) -> None:
    for settings, clause in FORBIDDEN:
        with pytest.raises(ConfigError, match=f"§{clause}"):
            await client(everything, **settings)
    assert not await everything.server.log(None)


async def test_what_the_client_refuses_the_provider_refuses_too(everything: Everything) -> None:
    loose = await client(everything, profile=None, dpop=True)
    login = loose.begin_login(REDIRECT, SCOPES)  # not pushed
    redirect = await consents(login.url, until=REDIRECT)
    with pytest.raises(RedirectError):
        await loose.finish_login(login, redirect)
    forbidden: list[dict[str, Any]] = [{"assertion_audience": loose.token_uri}, {"pkce": False}]
    for settings in forbidden:
        with pytest.raises(TokenError):
            await (await client(everything, profile=None, dpop=True, **settings)).push_login(REDIRECT, SCOPES)
    with pytest.raises(TokenError):  # not bound
        await sign_in(await client(everything, profile=None, dpop=False, require_par=True))


async def test_a_token_of_the_profile_with_another_key_is_refused(everything: Everything) -> None:
    app = await client(everything)
    user, other = await sign_in(app), await sign_in(app)
    stolen = OAuth2User.from_json_obj({**user.to_dict(), "dpop_key": other.to_dict()["dpop_key"]})
    with pytest.raises(ApiError):
        await app.userinfo(stolen)
    unbound = OAuth2User.from_json_obj({**user.to_dict(), "dpop_key": None, "token_type": "Bearer"})
    with pytest.raises(ConfigError, match=r"§5\.3\.3\.1, 1"):
        await app.refresh(None, unbound)


# --- certificates (RFC 8705) ---


def digest(certificate: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(certificate).digest()).rstrip(b"=").decode()


async def test_an_api_gets_the_certificate_that_its_token_is_bound_to(everything: Everything) -> None:
    app = await client(everything, "fapi-tls")
    user = await sign_in(app)
    assert user.identity is not None
    assert user.token_type == "Bearer"
    assert (await app.userinfo(user))["sub"] == "alice", "at the alias"

    async def answer(request: web.Request) -> web.Response:
        """An API that wants the certificate of the token's `cnf` (RFC 8705 §3)."""
        assert request.transport is not None
        shown = request.transport.get_extra_info("ssl_object").getpeercert(True)
        found = await app.introspect(request.headers["Authorization"].removeprefix("Bearer "))
        bound = found.active and found.extra["cnf"]["x5t#S256"] == digest(shown)
        return web.json_response({"ok": bound}, status=200 if bound else 401)

    async with served(all_by(answer), ssl_context=server_context(everything.folder)) as origin:
        origin = origin.replace("http://127.0.0.1", "https://localhost")
        app, user = next_process(app, user)
        auth = OAuth2(app, user)
        async with WebAPI(auth) as api:
            api.base_url = origin
            assert await api.get_json("/notes") == {"ok": True}
            await auth.refresh_now()
            assert await api.get_json("/notes") == {"ok": True}
        thief = await client(everything, "fapi-tls", certificate=everything.path("other.pem"))
        with pytest.raises(TokenError, match="invalid_client"):
            await OAuth2(thief, user).refresh_now()
        nobody = await client(everything, profile=None)
        async with WebAPI(OAuth2(nobody, OAuth2User(user.token))) as api:
            api.base_url = origin
            with pytest.raises(NetworkError):
                await api.get_json("/notes")


# --- signed requests (JAR, RFC 9101) ---


@pytest.mark.parametrize("by", ["key", "callable"])
async def test_a_signed_request_is_pushed(everything: Everything, by: str) -> None:
    make = client if by == "key" else signed_by_callable
    app = await make(everything, "fapi-signed", "signed", sign_requests=True)
    user = await sign_in(app, max_age=3600)
    assert user.identity is not None
    pushed = (await everything.server.log("pushed_authorization_request"))[-1]
    assert pushed["parameters"] == ["client_assertion", "client_assertion_type", "client_id", "request"]


@pytest.mark.parametrize("by", ["key", "callable"])
async def test_a_signed_request_goes_by_value(everything: Everything, by: str) -> None:
    make = client if by == "key" else signed_by_callable
    app = await make(everything, "signs-requests", "requests", profile=None, sign_requests=True, id_token_alg="PS256")
    login = await app.sign_login(REDIRECT, SCOPES, prompt="consent", login_hint="alice")
    assert parse_qs(urlsplit(login.url).query).keys() == {"client_id", "response_type", "scope", "request"}
    user = await app.finish_login(login.to_dict(), await consents(login.url, until=REDIRECT))
    assert user.identity is not None


async def test_an_unsigned_request_or_one_by_another_key_is_refused(everything: Everything) -> None:
    with pytest.raises(TokenError):
        await (await client(everything, "fapi-signed", "signed")).push_login(REDIRECT, SCOPES)
    app = await client(everything, "signs-requests", "requests", profile=None, sign_requests=True)
    with pytest.raises(ConfigError):
        app.begin_login(REDIRECT, SCOPES)
    forger = await client(everything, "signs-requests", "signed", profile=None, sign_requests=True)
    login = await forger.sign_login(REDIRECT, SCOPES)
    with pytest.raises(RedirectError):
        await forger.finish_login(login, await consents(login.url, until=REDIRECT))
    app.sign_requests = False
    login = app.begin_login(REDIRECT, SCOPES)
    with pytest.raises(RedirectError):
        await app.finish_login(login, await consents(login.url, until=REDIRECT))


# --- signed responses (JARM) ---


@pytest.mark.parametrize("mode", ["jwt", "query.jwt"])
@pytest.mark.parametrize("profile", ["fapi2", None])
async def test_a_signed_response_ends_a_login_once(everything: Everything, mode: str, profile: str | None) -> None:
    more = {"response_mode": mode, "response_alg": "PS256", "id_token_alg": "PS256"}
    app = await client(everything, profile=profile, dpop=True, require_par=True, **more)
    login = await app.push_login(REDIRECT, SCOPES, prompt="consent")
    redirect = await consents(login.url, until=REDIRECT)
    assert parse_qs(urlsplit(redirect).query).keys() == {"response"}
    user = await app.finish_login(login, redirect)
    assert user.identity is not None
    with pytest.raises(RedirectError):
        await app.finish_login(login, redirect)


async def test_a_response_of_another_login_or_altered_or_late_is_refused(everything: Everything) -> None:
    app = await client(everything, response_mode="jwt")
    login, other = [await app.push_login(REDIRECT, SCOPES, prompt="consent") for _ in range(2)]
    redirect = await consents(login.url, until=REDIRECT)
    with pytest.raises(StateMismatchError):
        await app.finish_login(other, redirect)
    signature = redirect.rpartition(".")[2]
    altered = redirect.replace(signature, signature[:20] + ("A" if signature[20] != "A" else "B") + signature[21:])
    with pytest.raises(RedirectError, match="signature"):
        await app.finish_login(login, altered)
    with pytest.raises(RedirectError, match="JARM"):
        await app.finish_login(login, f"{REDIRECT}?code=a-code&state={login.state}&iss={everything.issuer}")
    assert (await app.finish_login(login, redirect)).identity is not None, "the real one ends it"
