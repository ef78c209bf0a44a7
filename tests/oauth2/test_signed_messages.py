"""Signed requests (JAR, RFC 9101) and signed responses (JARM) with a strict provider: what is said, what is refused."""
from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import OAuth2App
from SlyAPI.errors import (
    ConfigError,
    DeniedError,
    LoginEndedError,
    RedirectError,
    SlyError,
    StateMismatchError,
    TokenError,
)
from SlyAPI.flow.grant import GrantOptions, OAuth2Question, new_link
from SlyAPI.oauth2.messages.signed_request import request_claims
from SlyAPI.oauth2.messages.signed_response import MODES, read_response, response_in
from tests.conftest import REDIRECT_URI, Practice
from tests.testing.signing import ClientKey

if TYPE_CHECKING:
    from tests.conftest import Practise

KEY = ClientKey()
METADATA = {"token_endpoint_auth_method": "private_key_jwt", "jwks": KEY.jwks}


async def in_der(data: bytes) -> bytes:
    """A key that is elsewhere."""
    return KEY.private.sign(data, ECDSA(hashes.SHA256()))


KEYS: dict[str, dict[str, Any]] = {
    "key": {"key": KEY.private_jwk},
    "callable": {"key": lambda data: KEY.private.sign(data, ECDSA(hashes.SHA256())), "key_alg": "ES256"},
    "coroutine function": {"key": in_der, "key_alg": "ES256"},
}


async def signing(practise: Practise, **settings: Any) -> Practice:
    usual: dict[str, Any] = {"client_secret": None, "client_metadata": METADATA, "signed_requests": "required"}
    return await practise(**{**usual, **settings})


async def app_at(practice: Practice, **more: Any) -> OAuth2App:
    usual: dict[str, Any] = {"key": KEY.private_jwk, "key_id": KEY.kid}
    return await OAuth2App.discover(practice.provider.issuer, "practice-client", **{**usual, **more})


async def redirect_of(url: str) -> str:
    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
        assert answer.status == 303, await answer.text()
        return answer.headers["Location"]


def request_in(url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of the request object in a URL."""
    token = parse_qs(urlsplit(url).query)["request"][0]
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


# --- requests ---


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("way", ["sign_login", "push_login"])
async def test_a_signed_request_is_a_login(practise: Practise, key: str, way: str) -> None:
    practice = await signing(practise, resources=["https://api.example/a", "https://api.example/b"])
    app = await app_at(practice, **KEYS[key])
    assert app.sign_requests, "because the metadata require it"
    wishes: Any = {"max_age": 60, "login_hint": "Robin", "now": practice.clock()}
    wishes["resource"] = ["https://api.example/a", "https://api.example/b"]
    login = await getattr(app, way)(REDIRECT_URI, "notes", **wishes)
    assert login.expires_at is not None
    user = await app.finish_login(login.to_dict(), await redirect_of(login.url), now=practice.clock())
    assert user.scopes == ["notes"]


async def test_the_request_object_says_all_and_the_url_only_who_and_what_for(practise: Practise) -> None:
    practice = await signing(practise)
    app = await app_at(practice)
    login = await app.sign_login(REDIRECT_URI, "notes", max_age=60, now=practice.clock())
    header, claims = request_in(login.url)
    assert header == {"alg": "ES256", "kid": KEY.kid, "typ": "oauth-authz-req+jwt"}
    assert parse_qs(urlsplit(login.url).query).keys() == {"client_id", "response_type", "scope", "request"}
    assert (claims["iss"], claims["client_id"], claims["aud"]) == (*["practice-client"] * 2, practice.provider.issuer)
    assert (claims["state"], claims["max_age"], claims["redirect_uri"]) == (login.state, 60, REDIRECT_URI)
    assert (claims["code_challenge_method"], claims["response_type"]) == ("S256", "code")
    assert "sub" not in claims, "so that it is not a client assertion (RFC 9101 §10.8)"
    assert claims["nbf"] <= practice.clock() < claims["exp"] <= claims["nbf"] + 600


def test_numbers_lists_and_json_are_claims_of_their_kind() -> None:
    claims = '{"id_token": {"acr": null}}'
    parameters = {"max_age": "60", "claims": claims, "authorization_details": "[{}]", "prompt": "login"}
    made = request_claims(parameters, ["https://a.example"], client_id="c", issuer="https://p.example", now=1000.5)
    assert (made["max_age"], made["claims"]) == (60, json.loads(claims))
    assert (made["authorization_details"], made["prompt"]) == ([{}], "login")
    assert (made["resource"], made["iat"], made["exp"]) == ("https://a.example", 940, 1540)
    other = request_claims({"claims": "{", "max_age": "soon"}, [], client_id="c", issuer="i", now=0)
    assert (other["claims"], other["max_age"]) == ("{", "soon")


async def test_where_requests_are_signed_begin_login_says_so(practise: Practise) -> None:
    practice = await signing(practise)
    app = await app_at(practice)
    with pytest.raises(ConfigError) as refused:
        app.begin_login(REDIRECT_URI, "notes")
    assert "sign_login" in refused.value.next_step
    for name in ("key", "issuer"):
        lacking = await app_at(practice)
        setattr(lacking, name, None)
        with pytest.raises(ConfigError, match=name):
            await lacking.sign_login(REDIRECT_URI, "notes")
    with pytest.raises(ConfigError, match="push_login"):
        await (await app_at(practice, require_par=True)).sign_login(REDIRECT_URI, "notes")


@pytest.mark.parametrize("wrong", ["unsigned", "key"])
async def test_an_unsigned_request_or_another_key_is_refused(practise: Practise, wrong: str) -> None:
    practice = await signing(practise)
    app = await app_at(practice, sign_requests=wrong != "unsigned")

    async def sign(data: bytes) -> bytes:
        is_request = jwt.get_unverified_header(f"{data.decode()}.AA")["typ"] != "JWT"
        private = ClientKey().private if is_request else KEY.private
        return private.sign(data, ECDSA(hashes.SHA256()))

    app.key, app.key_alg = sign, "ES256"
    with pytest.raises(TokenError, match="invalid_request_object") as refused:
        await app.push_login(REDIRECT_URI, "notes", now=practice.clock())
    assert refused.value.kind in ("configuration", "permanent")


async def test_a_grant_of_the_command_line_signs_too(practise: Practise) -> None:
    practice = await signing(practise, openid=True, signed_responses=True)
    app = await app_at(practice, response_mode="jwt")
    practice.clock.now = time.time()  # which the command goes by
    link = await new_link(app, REDIRECT_URI, ["notes"], GrantOptions())
    question = OAuth2Question(app, ["notes"], REDIRECT_URI, None, link)
    assert not question.takes_bare_code
    code = await question.read(await redirect_of(question.url))
    assert (await question.exchange(code)).scopes == ["notes"]


# --- responses ---


async def answering(practise: Practise, **settings: Any) -> Practice:
    usual: dict[str, Any] = {"client_secret": None, "client_metadata": METADATA, "openid": True}
    return await practise(**{**usual, "signed_responses": True, **settings})


async def arrived(practice: Practice, app: OAuth2App, **wishes: Any) -> tuple[Any, str]:
    login = app.begin_login(REDIRECT_URI, "openid notes", now=practice.clock(), **wishes)
    return login, await redirect_of(login.url)


@pytest.mark.parametrize("mode", ["jwt", "query.jwt"])
@pytest.mark.parametrize("algs", [("RS256", "ES256"), ("ES256",), ("EdDSA", "ES256")])
async def test_a_signed_response_ends_a_login_once(practise: Practise, mode: str, algs: Any) -> None:
    practice = await answering(practise, signing_algs=algs)
    app = await app_at(practice, response_mode=mode)
    login, redirect = await arrived(practice, app)
    assert parse_qs(urlsplit(redirect).query).keys() == {"response"}
    kept = json.loads(json.dumps(login.to_dict()))
    user = await app.finish_login(kept, redirect, now=practice.clock())
    assert user.identity is not None
    with pytest.raises(LoginEndedError):
        await app.finish_login(kept, redirect, now=practice.clock())


async def test_a_framework_may_give_the_response_of_a_form(practise: Practise) -> None:
    practice = await answering(practise)
    app = await app_at(practice, response_mode="query.jwt")
    login, redirect = await arrived(practice, app)
    form = {name: values[0] for name, values in parse_qs(urlsplit(redirect).query).items()}
    assert (await app.finish_login(login, form, now=practice.clock())).token


async def test_a_refusal_is_signed_too(practise: Practise) -> None:
    practice = await answering(practise, consent="deny")
    app = await app_at(practice, response_mode="jwt")
    login, redirect = await arrived(practice, app)
    with pytest.raises(DeniedError) as refused:
        await app.finish_login(login, redirect, now=practice.clock())
    assert refused.value.denied


WRONG: dict[str, dict[str, Any]] = {
    "iss": {"iss": "https://other.example"},
    "no iss": {"iss": None},
    "aud": {"aud": "another-client"},
    "several audiences": {"aud": ["practice-client", "another-client"]},
    "no aud": {"aud": None},
    "exp": {"exp": 1},
    "no exp": {"exp": None},
    "exp as text": {"exp": "1900000000"},
    "exp true": {"exp": True},
    "exp without end": {"exp": 1e300},
    "exp beyond all numbers": {"exp": 10**400},
    "no code": {"code": None},
    "code as a list": {"code": ["c"]},
    "half a character": {"code": "\ud800"},
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_response_with_a_wrong_claim_is_refused(practise: Practise, what: str) -> None:
    practice = await answering(practise, response_changes=WRONG[what])
    app = await app_at(practice, response_mode="jwt")
    login, redirect = await arrived(practice, app)
    with pytest.raises(RedirectError):
        await app.finish_login(login, redirect, now=practice.clock())
    assert not [seen for seen in practice.provider.log if seen.endpoint == "token"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([1e300, 10**400]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
_NAMES = st.sampled_from(["iss", "aud", "exp", "state", "code", "error", "error_description", "response"])


@given(st.dictionaries(_NAMES, _JSON | st.sampled_from(["https://p.example", "c", ["c"], 2e9])))
def test_any_claims_are_parameters_or_our_error(claims: dict[str, Any]) -> None:
    try:
        found = read_response(claims, issuer="https://p.example", client_id="c", now=1.8e9)
    except RedirectError:
        return
    assert found["iss"] == "https://p.example"
    assert all(isinstance(text, str) for text in found.values())


@given(st.text(max_size=60) | st.lists(st.sampled_from(["response=", "state=s", "&", "?", "a.b.c", "%"])).map("".join))
def test_any_redirect_has_a_response_or_is_our_error(query: str) -> None:
    with suppress(RedirectError):
        assert isinstance(response_in(query, "s"), str)


async def test_a_key_that_is_not_published_yet_is_worth_another_try(practise: Practise) -> None:
    practice = await answering(practise, signing_algs=["RS256"], code_lifetime=300.0)
    app = await app_at(practice, response_mode="jwt")
    for _ in range(2):
        login, redirect = await arrived(practice, app)
        assert (await app.finish_login(login, redirect, now=practice.clock())).token
        practice.provider.rotate_keys()
    login, redirect = await arrived(practice, app)
    with pytest.raises(RedirectError) as refused:
        await app.finish_login(login, redirect, now=practice.clock())
    assert refused.value.kind == "transient"
    practice.clock.now += 60
    assert (await app.finish_login(login, redirect, now=practice.clock())).token


def with_response(token: str) -> str:
    return f"{REDIRECT_URI}?{urlencode({'response': token})}"


async def test_a_response_that_is_not_the_issuers_is_refused_and_the_real_one_counts(practise: Practise) -> None:
    practice = await answering(practise)
    app = await app_at(practice, response_mode="jwt")
    login, redirect = await arrived(practice, app)
    real = parse_qs(urlsplit(redirect).query)["response"][0]
    claims = jwt.decode(real, options={"verify_signature": False})
    head, payload, signature = real.split(".")
    forged = [
        KEY.sign(claims),
        jwt.encode(claims, "", "none"),
        jwt.encode(claims, "s" * 32, "HS256"),
        f"{head}.{payload}.{signature[:-8]}AAAAAAAA",
        f"{head}.{payload}.",
        "x.y.z",
        "",
        f"{head}.{payload}.{signature}.{signature}.{signature}",
    ]
    for token in forged:
        with pytest.raises(RedirectError):
            await app.finish_login(login, with_response(token), now=practice.clock())
    twice = f"{with_response(real)}&{urlencode({'response': real})}"
    plain = f"{REDIRECT_URI}?{urlencode({'code': claims['code'], 'state': login.state, 'iss': claims['iss']})}"
    for redirect_uri in (twice, plain):
        with pytest.raises(RedirectError):
            await app.finish_login(login, redirect_uri, now=practice.clock())
    assert (await app.finish_login(login, redirect, now=practice.clock())).token


async def test_a_response_of_another_login_costs_no_request(practise: Practise) -> None:
    practice = await answering(practise)
    app = await app_at(practice, response_mode="jwt")
    login, _ = await arrived(practice, app)
    _, other = await arrived(practice, app)
    practice.provider.log.clear()
    for redirect in (other, with_response(KEY.sign({"state": "another"})), with_response(KEY.sign({"state": 1}))):
        with pytest.raises(StateMismatchError):
            await app.finish_login(login, redirect, now=practice.clock())
    with pytest.raises(StateMismatchError):
        await app.finish_login(login, f"{REDIRECT_URI}?code=c&state=another", now=practice.clock())
    assert not practice.provider.log


STRANGE = st.dictionaries(
    st.sampled_from(["response", "state", "code", "iss", "error", "error_description"]),
    st.sampled_from(["", "x", "x.y.z", "e30.e30.AA", "a" * 1_000, KEY.sign({"state": "s"}), KEY.sign({"code": "c"})])
    | st.text(max_size=20),
)


@pytest.mark.parametrize("mode", [None, "jwt"])
@given(found=STRANGE)
def test_what_does_not_have_the_state_leaves_the_grant_waiting(mode: str | None, found: dict[str, str]) -> None:
    uri = "https://provider.example"
    app = OAuth2App("c", None, f"{uri}/a", f"{uri}/t", response_mode=mode, issuer=uri, jwks_uri=f"{uri}/k")

    async def read() -> str:
        question = OAuth2Question(app, [], REDIRECT_URI, None, await new_link(app, REDIRECT_URI, [], GrantOptions()))
        return await question.read(urlencode(found, errors="surrogatepass"))

    with pytest.raises(StateMismatchError):
        asyncio.run(read())


async def test_a_refused_response_shows_nothing_of_itself(practise: Practise, told_by: Any) -> None:
    practice = await answering(practise, response_changes={"iss": "https://other.example"})
    app = await app_at(practice, response_mode="jwt")
    login, redirect = await arrived(practice, app)
    code = jwt.decode(redirect.partition("response=")[2], options={"verify_signature": False})["code"]
    with pytest.raises(SlyError) as refused:
        await app.finish_login(login, redirect, now=practice.clock())
    assert code not in told_by(refused.value)


@pytest.mark.parametrize("mode", MODES)
async def test_a_grant_of_the_command_line_refuses_a_mode_whose_response_no_address_has(mode: str) -> None:
    uri = "https://provider.example"
    app = OAuth2App("c", None, f"{uri}/a", f"{uri}/t", response_mode=mode, issuer=uri, jwks_uri=f"{uri}/k")
    if "query" in mode or mode == "jwt":
        assert parse_qs(urlsplit((await new_link(app, REDIRECT_URI, [], GrantOptions())).url).query)["response_mode"]
    else:
        with pytest.raises(ConfigError, match=mode):
            await new_link(app, REDIRECT_URI, [], GrantOptions())


@pytest.mark.parametrize("mode", ["fragment.jwt", "query", "JWT", ""])
def test_a_response_mode_that_no_server_receives_or_that_is_not_signed_is_refused(mode: str) -> None:
    with pytest.raises(ConfigError, match="response_mode"):
        OAuth2App("c", None, "https://p.example/a", "https://p.example/t", response_mode=mode)


def test_the_settings_are_in_the_client_file() -> None:
    settings: dict[str, Any] = {"sign_requests": True, "response_mode": "jwt", "response_alg": ["PS256", "ES256"]}
    app = OAuth2App("c", None, "https://p.example/a", "https://p.example/t", **settings)
    kept = json.loads(json.dumps(app.to_dict()))
    assert settings.items() <= kept.items()
    assert OAuth2App.from_json_obj(kept) == app
