"""The FAPI 2.0 Security Profile as one switch: what it changes, and every clause by which it refuses."""
from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from SlyAPI import OAuth2, OAuth2App, OAuth2User
from SlyAPI.errors import ConfigError, CredentialsError, RedirectError
from SlyAPI.flow.client_check import checked_client
from SlyAPI.flow.grant import GrantOptions, OAuth2Question, new_link
from SlyAPI.testing import GRANT_TYPES
from SlyAPI.web import Method, Request
from tests.conftest import REDIRECT_URI, Practice
from tests.testing.signing import ClientKey

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Practise

KEY = ClientKey()


def of_the_profile(**more: Any) -> dict[str, Any]:
    """The settings of a practice provider that holds its client to the profile."""
    metadata = {"token_endpoint_auth_method": "private_key_jwt", "jwks": KEY.jwks}
    usual: dict[str, Any] = {"openid": True, "signing_algs": ["ES256"], "dpop": "required", "require_par": True}
    usual |= {"client_secret": None, "client_metadata": metadata, "assertion_audience": "issuer"}
    return {**usual, "grant_types": GRANT_TYPES, **more}


async def discovered(practice: Practice, **more: Any) -> OAuth2App:
    usual: dict[str, Any] = {"profile": "fapi2", "key": KEY.private_jwk, "key_id": KEY.kid}
    return await OAuth2App.discover(practice.provider.issuer, "practice-client", **{**usual, **more})


async def redirect_of(url: str) -> str:
    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
        return answer.headers["Location"]


async def test_one_switch_gives_a_login_calls_and_a_refresh_of_the_profile(practise: Practise) -> None:
    practice = await practise(**of_the_profile(dpop_nonces=True))
    app = practice.app = await discovered(practice)
    login = await app.push_login(REDIRECT_URI, "openid notes", now=practice.clock())
    user = await app.finish_login(login.to_dict(), await redirect_of(login.url), now=practice.clock())
    assert user.identity is not None
    api = practice.api(practice.auth(user))
    assert (await api.get_json("/me"))["scopes"] == ["openid", "notes"]
    practice.clock.now += 200
    assert (await api.get_json("/me"))["scopes"] == ["openid", "notes"]
    asked = [seen for seen in practice.provider.log if seen.endpoint in ("token", "par")]
    assert {seen.client_auth for seen in asked} == {"private_key_jwt"}


def client(**more: Any) -> OAuth2App:
    """A client that the profile accepts, but for `more`."""
    usual: dict[str, Any] = {
        "profile": "fapi2",
        "issuer": "https://p.example",
        "jwks_uri": "https://p.example/jwks",
        "par_uri": "https://p.example/par",
        "key": KEY.private_jwk,
        "dpop": True,
    }
    uris = ("https://p.example/a", "https://p.example/t")
    settings = {**usual, **more}
    return OAuth2App(settings.pop("id", "c"), settings.pop("secret", None), *uris, **settings)


def rsa_key(bits: int) -> bytes:
    made = rsa.generate_private_key(65537, bits)
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


CLAUSES: dict[str, tuple[str, dict[str, Any]]] = {
    "another profile": ("", {"profile": "fapi1"}),
    "allow_http": ("5.2.1, 1", {"allow_http": True}),
    "http issuer": ("5.2.1, 1", {"issuer": "http://p.example"}),
    "http endpoint": ("5.2.1, 1", {"revoke_uri": "http://p.example/r"}),
    "http alias": ("5.2.1, 1", {"mtls_aliases": {"token_endpoint": "http://p.example/t"}}),
    "no issuer": ("5.3.3.1, 9", {"issuer": None}),
    "public": ("5.3.3.1, 2", {"key": None}),
    "none": ("5.3.3.1, 2", {"client_auth": "none"}),
    "basic": ("5.3.3.1, 2", {"key": None, "secret": "s"}),
    "post": ("5.3.3.1, 2", {"client_auth": "post", "secret": "s"}),
    "secret jwt": ("5.3.3.1, 2", {"client_auth": "client_secret_jwt", "secret": "s" * 32}),
    "certificate that is not there": ("5.3.3.1, 2", {"client_auth": "tls_client_auth"}),
    "bearer": ("5.3.3.1, 1", {"dpop": False}),
    "audience": ("5.3.3.1, 5", {"assertion_audience": "https://p.example/t"}),
    "audience of others": ("5.3.3.1, 5", {"client_assertion": lambda: "a.b.c", "key": None}),
    "not pushed": ("5.3.3.2, 2", {"par_uri": None}),
    "no PKCE": ("5.3.3.2, 3", {"pkce": False}),
    "S256 not offered": ("5.3.2.2, 5", {"pkce_offered": False}),
    "key_alg": ("5.4.1, 1", {"key_alg": "RS256"}),
    "ES384": ("5.4.1, 1", {"key_alg": "ES384"}),
    "id_token by a secret": ("5.4.1, 1", {"id_token_alg": "HS256"}),
    "id_token": ("5.4.1, 1", {"id_token_alg": ["RS256", "ES384"]}),
    "response": ("5.4.1, 1", {"response_mode": "jwt", "response_alg": "RS256"}),
    "proofs": ("5.4.1, 1", {"dpop_algs": ["RS256"]}),
    # a key is read when it signs: here the request, before anything is sent
    "short RSA key": ("5.4.1, 2", {"key": rsa_key(1024), "sign_requests": True}),
}


@pytest.mark.filterwarnings("ignore:Key size")
@pytest.mark.parametrize("what", CLAUSES)
async def test_a_login_refuses_what_a_clause_forbids_and_names_it(what: str) -> None:
    clause, settings = CLAUSES[what]
    with pytest.raises(ConfigError) as refused:
        await client(**settings).push_login(REDIRECT_URI, "notes")
    assert not clause or f"FAPI 2.0 Security Profile §{clause}" in str(refused.value)
    assert refused.value.kind == "configuration"


@pytest.mark.parametrize(
    "method", [None, "private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"]
)
def test_what_the_profile_accepts_is_accepted(method: Any) -> None:
    more: dict[str, Any] = {"client_auth": method}
    if method is not None and "tls" in method:
        more |= {"key": None, "certificate": "client.pem", "dpop": False}
    app = client(**more, id_token_alg=["RS256", "PS256"], dpop_algs=["RS256", "ES256"], assertion_audience=None)
    with pytest.raises(ConfigError, match="push_login"):
        app.begin_login(REDIRECT_URI, "notes")


@pytest.mark.parametrize(
    ("name", "value", "clause"),
    [
        ("assertion_audience", "https://p.example/token", "5.3.3.1, 5"),
        ("iss_in_redirect", False, "5.3.3.2, 5"),
        ("require_par", False, "5.3.3.2, 2"),
        ("dpop", False, "5.3.3.1, 1"),
        ("client_auth", "none", "5.3.3.1, 2"),
    ],
)
async def test_a_setting_that_changes_later_is_refused_before_a_request(
    practise: Practise, name: str, value: Any, clause: str
) -> None:
    practice = await practise(**of_the_profile())
    app = await discovered(practice)
    user = OAuth2User("t", "r", dpop_key=app._new_dpop_key(), token_type="DPoP")
    login = await app.push_login(REDIRECT_URI, "notes", now=practice.clock())
    redirect = await redirect_of(login.url)
    setattr(app, name, value)
    practice.provider.log.clear()
    for call in (
        app.refresh(None, user),
        app.push_login(REDIRECT_URI, "notes"),
        app.finish_login(login, redirect, now=practice.clock()),
        app.request_token(["notes"]),
    ):
        with pytest.raises(ConfigError, match=f"§{clause}"):
            await call
    assert not practice.provider.log


@pytest.mark.parametrize(
    ("redirect_uri", "accepted"),
    [
        ("https://app.example/back", True),
        ("http://127.0.0.1:8080", True),
        ("http://localhost/back", True),
        ("http://[::1]:8080/", True),
        ("com.example.app:/back", True),
        ("http://app.example/back", False),
        ("HTTP://app.example/back", False),
        ("http://127.0.0.1.app.example/back", False),
        ("http://10.0.0.1/back", False),
    ],
)
def test_a_response_over_plain_http_stays_on_this_machine(redirect_uri: str, accepted: bool) -> None:
    app = client()
    if accepted:
        assert app._begun(redirect_uri, "notes").redirect_uri == redirect_uri
        return
    with pytest.raises(ConfigError, match=r"§5\.3\.2\.2, 8"):
        app._begun(redirect_uri, "notes")


@pytest.mark.parametrize(("seconds", "accepted"), [(60, True), (599, True), (600, False), (86400, False)])
async def test_a_pushed_request_lives_less_than_600_seconds(
    practise: Practise, seconds: int, accepted: bool
) -> None:
    practice = await practise(**of_the_profile(pushed_lifetime=seconds))
    app = await discovered(practice)
    if accepted:
        assert (await app.push_login(REDIRECT_URI, "notes", now=practice.clock())).expires_at is not None
        return
    with pytest.raises(ConfigError, match=r"§5\.3\.2\.2, 12"):
        await app.push_login(REDIRECT_URI, "notes", now=practice.clock())


@pytest.mark.parametrize(
    ("changes", "settings", "clause"),
    [
        ({"authorization_response_iss_parameter_supported": None}, {}, "5.3.2.2, 7"),
        ({"code_challenge_methods_supported": ["plain"]}, {}, "5.3.2.2, 5"),
        ({"pushed_authorization_request_endpoint": None}, {}, "5.3.3.2, 2"),
        ({"dpop_signing_alg_values_supported": ["RS256"]}, {}, "5.4.1, 1"),
        ({"id_token_signing_alg_values_supported": ["ES384"]}, {}, "5.4.1, 1"),
        ({}, {"dpop": False, "certificate": "client.pem"}, "5.3.2.1, 4"),
        ({}, {"dpop": False}, "5.3.3.1, 1"),
    ],
)
async def test_discovery_refuses_a_provider_that_cannot_keep_the_profile(
    practise: Practise, changes: dict[str, Any], settings: dict[str, Any], clause: str
) -> None:
    practice = await practise(**of_the_profile(metadata_changes=changes))
    with pytest.raises(ConfigError, match=f"§{clause}"):
        await discovered(practice, **settings)


@pytest.mark.parametrize("iss", ["", "&iss=https%3A%2F%2Fother.example"])
async def test_a_response_that_does_not_name_its_issuer_is_refused(practise: Practise, iss: str) -> None:
    practice = await practise(**of_the_profile())
    app = await discovered(practice)
    login = await app.push_login(REDIRECT_URI, "notes", now=practice.clock())
    redirect = (await redirect_of(login.url)).partition("&iss=")[0]
    with pytest.raises(RedirectError, match="9207"):
        await app.finish_login(login, redirect + iss, now=practice.clock())


def test_an_rsa_key_signs_with_ps256() -> None:
    assert client(key=rsa_key(2048))._signing_key().alg == "PS256"
    assert client(key=rsa_key(2048), profile=None)._signing_key().alg == "RS256"


async def test_a_grant_of_the_command_line_follows_the_profile(practise: Practise) -> None:
    practice = await practise(**of_the_profile())
    practice.clock.now = time.time()  # which the command goes by
    app = await discovered(practice)
    with pytest.raises(ConfigError, match=r"§5\.3\.2\.2, 8"):
        await new_link(app, "http://app.example/", ["notes"], GrantOptions())
    link = await new_link(app, REDIRECT_URI, ["notes"], GrantOptions())
    question = OAuth2Question(app, ["notes"], REDIRECT_URI, None, link)
    assert not question.takes_bare_code, "a code alone does not name its issuer"
    redirect = await redirect_of(question.url)
    with pytest.raises(RedirectError, match="9207"):
        await question.read(redirect.partition("&iss=")[0])
    user = await question.exchange(await question.read(redirect))
    assert user.token_type == "DPoP"


async def test_other_ways_to_log_in_are_refused() -> None:
    app = client(device_uri="https://p.example/device")
    with pytest.raises(ConfigError, match=r"§5\.3\.3\.2, 1"):
        await app.begin_device("notes")
    with pytest.raises(ConfigError, match="push_login"):
        app.auth_url_with_pkce(REDIRECT_URI, "state", "notes")


@pytest.mark.parametrize("of", ["refresh", "call", "call over http"])
async def test_a_token_that_is_bound_to_nothing_is_not_used(of: str) -> None:
    user = OAuth2User("t", "r")
    app = client()
    if of == "refresh":
        with pytest.raises(ConfigError, match=r"§5\.3\.3\.1, 1"):
            await app.refresh(None, user)
        return
    url = "https://api.example/notes"
    if of == "call over http":
        user, url = OAuth2User("t", token_type="DPoP", dpop_key=app._new_dpop_key()), "http://api.example/notes"
    with pytest.raises(ConfigError, match="§5"):
        await OAuth2(app, user).sign(None, Request(Method.GET, url))


def test_the_profile_is_in_the_client_file_and_checked_by_every_command(tmp_path: Path) -> None:
    app = client(key="key.pem")
    kept = json.loads(json.dumps(app.to_dict()))
    assert kept["profile"] == "fapi2"
    assert OAuth2App.from_json_obj(kept) == app
    path = tmp_path / "app.json"
    path.write_text(json.dumps(kept))
    assert checked_client(path).profile == "fapi2"
    path.write_text(json.dumps({**kept, "dpop": False}))
    with pytest.raises(CredentialsError, match=r"§5\.3\.3\.1, 1"):
        checked_client(path)
