"""The client registration: its JSON forms, and the URL that a person is sent to."""
from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI.errors import ConfigError, CredentialsError, CredentialsNotFoundError, SlyError, TokenError
from SlyAPI.oauth2 import OAuth2App, OAuth2User
from SlyAPI.oauth2.client.providers import PROVIDERS
from SlyAPI.oauth2.messages.authorization_code import s256_challenge
from SlyAPI.tokens.client_auth import ClientAuth
from SlyAPI.web.next_steps import PROGRAM, quoted

AUTH, TOKEN = "https://p.example/authorize", "https://p.example/token"
OWN = {"id": "client", "secret": "s3cret", "auth_uri": AUTH, "token_uri": TOKEN}
BLANK = {"id": "", "secret": "", "auth_uri": "", "token_uri": ""}
GOOGLE = {
    "client_id": "1.apps.googleusercontent.com",
    "project_id": "p",
    "auth_uri": "https://accounts.google.com/o/oauth2/auth",
    "token_uri": "https://oauth2.googleapis.com/token",
    "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
    "client_secret": "GOCSPX-s3cret",
}
REDIRECT = "http://localhost:8080"


def app_of(name: str) -> OAuth2App:
    known = PROVIDERS[name]
    return OAuth2App("client", "s3cret", known.auth_uri, known.token_uri)


def query_of(url: str) -> dict[str, str]:
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs), "no parameter twice"
    return dict(pairs)


# --- JSON in and out ---


def test_our_own_form_is_read_and_written_in_the_order_of_0_6() -> None:
    app = OAuth2App.from_json_obj(OWN)
    assert app == OAuth2App("client", "s3cret", AUTH, TOKEN)
    assert list(app.to_dict().items()) == list(OWN.items())


@pytest.mark.parametrize(
    "more",
    [
        {"client_auth": "basic"},
        {"pkce": False},
        {"pkce": True},
        {"auth_params": {"prompt": "consent", "access_type": None}},
        {"redirect_uri": "http://127.0.0.1:9000/cb"},
        {"scopes": ["a", "b"]},
        {"issuer": "https://p.example", "iss_in_redirect": True},
        {"note": "mine", "nested": {"a": [1, None]}},
        {"redirect_uris": ["https://x.example"], "project_id": "p"},
    ],
)
def test_further_keys_survive_a_rewrite(more: dict[str, Any]) -> None:
    assert OAuth2App.from_json_obj({**OWN, **more}).to_dict() == {**OWN, **more}


def test_a_public_client_has_no_secret() -> None:
    for secret in ({"secret": ""}, {"secret": None}, {}):
        told = {key: value for key, value in OWN.items() if key != "secret"} | secret
        assert not OAuth2App.from_json_obj(told).secret
    assert OAuth2App("client", None, AUTH, TOKEN).to_dict()["secret"] == ""


@pytest.mark.parametrize("kind", ["installed", "web"])
def test_googles_download_is_read_and_its_further_keys_survive(kind: str) -> None:
    app = OAuth2App.from_json_obj({kind: {**GOOGLE, "redirect_uris": ["http://localhost"]}})
    assert (app.id, app.secret) == (GOOGLE["client_id"], GOOGLE["client_secret"])
    assert (app.auth_uri, app.token_uri) == (GOOGLE["auth_uri"], GOOGLE["token_uri"])
    saved = app.to_dict()
    assert saved["project_id"] == "p"
    assert saved["redirect_uris"] == ["http://localhost"]
    assert OAuth2App.from_json_obj(saved) == app


def test_googles_desktop_client_takes_any_free_port_and_its_web_client_a_registered_address() -> None:
    uris = ["https://site.example/cb", "http://localhost:9000/cb", "http://localhost:9001/cb"]
    assert OAuth2App.from_json_obj({"installed": {**GOOGLE, "redirect_uris": uris}}).redirect_uri == "http://127.0.0.1:0"
    assert OAuth2App.from_json_obj({"web": {**GOOGLE, "redirect_uris": uris}}).redirect_uri == uris[1]
    assert OAuth2App.from_json_obj({"web": {**GOOGLE, "redirect_uris": uris[:1]}}).redirect_uri is None


def test_the_names_of_rfc_7591_are_read() -> None:
    app = OAuth2App.from_json_obj(
        {
            "client_id": "client",
            "client_secret": "s3cret",
            "client_secret_expires_at": 0,
            "redirect_uris": ["https://client.example/cb", "http://127.0.0.1:8080/cb"],
            "token_endpoint_auth_method": "client_secret_basic",
            "scope": "read write",
            "authorization_endpoint": AUTH,
            "token_endpoint": TOKEN,
        }
    )
    assert (app.id, app.secret, app.auth_uri, app.token_uri) == ("client", "s3cret", AUTH, TOKEN)
    assert (app.client_auth, app.scopes, app.redirect_uri) == ("basic", ["read", "write"], "http://127.0.0.1:8080/cb")
    assert app.to_dict()["client_secret_expires_at"] == 0


def test_space_around_what_a_person_pasted_is_no_part_of_it() -> None:
    app = OAuth2App.from_json_obj({**OWN, "id": " client ", "secret": "s3cret  "})
    assert (app.id, app.secret) == ("client", "s3cret")


OTHERS: list[tuple[object, str]] = [
    (BLANK, "is not filled in: id, auth_uri, token_uri missing"),
    ({**OWN, "id": ""}, "is not filled in: id missing"),
    ({**OWN, "token_uri": None}, "is not filled in: token_uri missing"),
    ({"client_id": "c", "client_secret": "s3cret"}, "is not filled in: auth_uri, token_uri missing"),
    (OAuth2User("s3cret", "r").to_dict(), "a user file of SlyAPI"),
    ({"access_token": "s3cret", "token_type": "bearer"}, "a provider's token reply"),
    (
        {"type": "service_account", "private_key": "s3cret", "client_id": "1", "auth_uri": AUTH, "token_uri": TOKEN},
        "a Google service-account key",
    ),
    (
        {"type": "authorized_user", "client_id": "1", "client_secret": "s3cret", "refresh_token": "s3cret"},
        "gcloud's application-default credentials",
    ),
    (
        {"token": "s3cret", "token_uri": TOKEN, "client_id": "1", "client_secret": "s3cret", "expiry": "2030"},
        "a token file of google-auth",
    ),
    (
        {"key": "k", "secret": "s3cret", "request_uri": AUTH, "authorize_uri": AUTH, "access_uri": AUTH},
        "an OAuth 1 client file",
    ),
    ({"openapi": "3.0.0"}, "an API description"),
    ({}, "an empty JSON object"),
    ({"s3cret": 1}, "a JSON object with other keys"),
    ([OWN], "not a JSON object"),
    ("s3cret", "not a JSON object"),
    (None, "not a JSON object"),
    ({**OWN, "id": 5}, "id is not a string"),
    ({**OWN, "secret": ["s3cret"]}, "secret is not a string"),
    ({**OWN, "secret": "s3cret\nX"}, "secret is not a string"),
    ({**OWN, "key": "-----BEGIN PRIVATE KEY-----\ns3cret"}, "key is the content of a file"),
    ({**OWN, "key": '{"kty": "EC", "d": "s3cret"}'}, "key is the content of a file"),
    ({**OWN, "certificate": "-----BEGIN CERTIFICATE-----\ns3cret"}, "certificate is the content of a file"),
    ({**OWN, "client_auth": "private_key"}, "client_auth"),
    ({**OWN, "auth_params": ["s3cret"]}, "auth_params"),
    ({**OWN, "auth_params": {"a": 5}}, "auth_params"),
    ({**OWN, "scopes": 5}, "scopes"),
    ({**OWN, "scopes": ["a", {"s3cret": 1}]}, "scope"),
    ({**OWN, "pkce": "no"}, "pkce"),
    ({**OWN, "iss_in_redirect": "yes"}, "iss_in_redirect"),
    ({**OWN, "redirect_uri": 5}, "redirect_uri"),
    ({**OWN, "issuer": 5}, "issuer"),
    ({**OWN, "auth_uri": "s3cret"}, "auth_uri"),
    ({**OWN, "token_uri": "https://me:s3cret@p.example/t"}, "token_uri"),
    ({**OWN, "auth_uri": f"{AUTH}#s3cret"}, "auth_uri"),
    ({**OWN, "token_uri": f"{TOKEN}#"}, "token_uri"),
    ({**OWN, "revoke_uri": "file:///s3cret"}, "revoke_uri"),
    ({**OWN, "revoke_uri": "s3cret"}, "revoke_uri"),
    ({**OWN, "redirect_uri": "s3cret"}, "redirect_uri"),
    ({**OWN, "redirect_uri": "https://[s3cret"}, "redirect_uri"),
    ({**OWN, "redirect_uri": "http://localhost:s3cret/"}, "redirect_uri"),
    ({**OWN, "redirect_uri": "http:///s3cret"}, "redirect_uri"),
    ({**OWN, "auth_params": {"state": "s3cret"}}, "state"),
    ({**OWN, "auth_params": {"a": "s3cret\ud800"}}, "auth_params"),
    ({**OWN, "auth_params": {"s3cret\n": "a"}}, "auth_params"),
    ({**OWN, "scopes": ["s3cret\ud800"]}, "scope"),
    ({**OWN, "scopes": ["a\x1b[31ms3cret"]}, "scope"),
    ({**OWN, "id": True}, "id"),
    ({**OWN, "id": 0}, "id"),
    ({**OWN, "token_uri": False}, "token_uri"),
    ({**OWN, "redirect_uri": 0}, "redirect_uri"),
    ({**OWN, "redirect_uri": []}, "redirect_uri"),
    ({"web": {**GOOGLE, "client_id": ["s3cret"]}}, "id"),
]


@pytest.mark.parametrize(("other", "said"), OTHERS)
def test_what_is_not_a_client_is_named_for_what_it_is(
    other: object, said: str, told_by: Callable[[BaseException], str]
) -> None:
    with pytest.raises(CredentialsError) as caught:
        OAuth2App.from_json_obj(other, name="app.json")
    assert "app.json" in str(caught.value)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value) + repr(caught.value), "nothing of the content is printed"
    assert isinstance(caught.value, ValueError), "as SlyAPI 0.6 raised"
    assert "s3cret" not in told_by(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        *("file:///etc/passwd", "javascript:alert(1)", "data:text/html,x", "ftp://p.example/"),
        *("--flag", "-x", "p.example"),
        *("https://", "https:///path", "https://p.example/a b", "https://p.example/\n", "https://p.example:port/"),
        *("https://p.example:0/", "https://me:pw@p.example/", "https://me@p.example/", "https://p.example\\@evil.example"),
        *("https://[::1/", "//p.example/a", "https:p.example", "about:blank", "ms-settings:x", "https://p.example/\u202e"),
    ],
)
@pytest.mark.parametrize("key", ["auth_uri", "token_uri"])
def test_an_address_that_could_do_harm_is_refused(uri: str, key: str) -> None:
    with pytest.raises(CredentialsError, match=key):
        OAuth2App.from_json_obj({**OWN, key: uri})
    if key == "auth_uri":
        with pytest.raises(ConfigError, match=key):
            OAuth2App("client", None, uri, TOKEN).auth_url_with_pkce(REDIRECT, "s", "")


@pytest.mark.parametrize(
    "uri",
    [
        *("http://localhost:8080", "http://127.0.0.1:0/cb?a=b", "http://[::1]:9/", "https://site.example/cb"),
        *("urn:ietf:wg:oauth:2.0:oob", "com.example.app:/cb", "msal-1234://auth"),
    ],
)
def test_a_redirect_uri_may_have_any_scheme(uri: str) -> None:
    assert OAuth2App.from_json_obj({**OWN, "redirect_uri": uri}).redirect_uri == uri


@pytest.mark.parametrize("key", ["auth_uri", "token_uri"])
def test_an_endpoint_has_no_fragment(key: str) -> None:
    """RFC 6749 §3.1 and §3.2."""
    with pytest.raises(CredentialsError, match=f"{key}.*fragment"):
        OAuth2App.from_json_obj({**OWN, key: f"{OWN[key]}#top"})
    with pytest.raises(ConfigError, match=r"auth_uri.*fragment"):
        OAuth2App("client", None, f"{AUTH}#", TOKEN).auth_url_with_pkce(REDIRECT, "s", "")


def test_the_leeway_of_a_refresh_is_30_s_unless_the_program_says_otherwise() -> None:
    assert OAuth2App("client", None, AUTH, TOKEN).leeway == 30.0
    assert OAuth2App("client", None, AUTH, TOKEN, leeway=120.0).leeway == 120.0
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="leeway"):
            OAuth2App("client", None, AUTH, TOKEN, leeway=wrong)


@pytest.mark.parametrize("wrong", [{"leeway": -1.0}, {"response_mode": "fragment"}], ids=str)
def test_a_setting_that_is_refused_shows_no_secret(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        OAuth2App("client", "client-secret-5EC9E7", AUTH, TOKEN, **wrong)
    trace = refused.value.__traceback__
    while trace is not None:
        assert "SlyAPI" not in trace.tb_frame.f_globals.get("__name__", "")
        trace = trace.tb_next


def test_plain_http_is_for_this_machine_or_by_name() -> None:
    app = OAuth2App("client", None, "http://p.example/a", "http://p.example/t")
    with pytest.raises(ConfigError, match="plain http"):
        app.auth_url_with_pkce(REDIRECT, "s", "")
    app.allow_http = True
    assert app.auth_url_with_pkce(REDIRECT, "s", "").url.startswith("http://p.example/a?")
    for host in ("localhost", "127.0.0.1:8000", "[::1]:8000"):
        OAuth2App("client", None, f"http://{host}/a", f"http://{host}/t").auth_url_with_pkce(REDIRECT, "s", "")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
keys = ["pkce", "scopes", "scope", "auth_params", "redirect_uri", "redirect_uris", "issuer", "client_auth", "web"]


@given(st.dictionaries(st.sampled_from([*OWN, *keys]), json_values), st.booleans())
def test_any_json_is_a_client_or_our_error(told: dict[str, Any], sound: bool) -> None:
    try:
        app = OAuth2App.from_json_obj({**OWN, **told} if sound else told)
    except CredentialsError:
        return
    saved = json.loads(json.dumps(app.to_dict()))
    assert OAuth2App.from_json_obj(saved) == app
    if not app.auth_uri:  # a machine's
        return
    link = app.auth_url_with_pkce(app.redirect_uri or REDIRECT, "st", [])
    assert link.url.isascii(), "what is read can be used"


def test_the_dictionary_of_a_client_prints_its_names_and_no_secret() -> None:
    app = OAuth2App.from_json_obj({**OWN, "secret": "s3cret-value", "of_its_own": "s3cret-value"})
    assert "s3cret-value" not in repr(app.to_dict()) + str(app.to_dict())
    assert json.loads(json.dumps(app.to_dict()))["secret"] == "s3cret-value"


def test_a_file_is_read_and_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "app.json"
    with pytest.raises(CredentialsNotFoundError, match=r"app\.json does not exist"):
        OAuth2App.from_json_file(path)
    path.write_text(json.dumps(BLANK))
    with pytest.raises(CredentialsError, match=r"app\.json is not filled in"):
        OAuth2App.from_json_file(path)
    assert json.loads(path.read_text()) == BLANK
    path.write_text(json.dumps(OWN))
    assert OAuth2App.from_json_file(str(path)) == OAuth2App.from_json_obj(OWN)


def test_a_client_prints_no_secret() -> None:
    app = OAuth2App.from_json_obj({**OWN, "registration_access_token": "reg-s3cret"})
    assert "s3cret" not in f"{app} {app!r} {[app]}"


# --- the URL ---


def test_the_url_has_what_rfc_6749_and_rfc_7636_ask_for() -> None:
    url, verifier, challenge = OAuth2App("client", "s3cret", AUTH, TOKEN).auth_url_with_pkce(REDIRECT, "st", "a b")
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", verifier)
    assert challenge == s256_challenge(verifier)
    assert url.startswith(AUTH + "?")
    assert query_of(url) == {
        "response_type": "code",
        "client_id": "client",
        "redirect_uri": REDIRECT,
        "state": "st" + challenge,
        "scope": "a b",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }


def test_the_verifier_is_fresh_for_every_url_and_prints_nowhere() -> None:
    app = OAuth2App("client", "s3cret", AUTH, TOKEN)
    links = [app.auth_url_with_pkce(REDIRECT, "st", "") for _ in range(50)]
    assert len({link.verifier for link in links}) == 50
    assert links[0].verifier not in f"{links[0]} {links[0]!r}"
    assert links[0].state == query_of(links[0].url)["state"]
    assert "s3cret" not in links[0].url


def test_the_endpoints_own_query_is_kept() -> None:
    app = OAuth2App("client", None, AUTH + "?tenant=1&prompt=login", TOKEN, auth_params={"prompt": "none"})
    told = query_of(app.auth_url_with_pkce(REDIRECT, "st", "").url)
    assert (told["tenant"], told["prompt"]) == ("1", "none")


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("google", {"access_type": "offline", "prompt": "consent"}),
        ("dropbox", {"token_access_type": "offline"}),
        ("reddit", {"duration": "permanent"}),
        ("notion", {"owner": "user"}),
        ("atlassian", {"audience": "api.atlassian.com", "prompt": "consent"}),
    ],
)
def test_a_provider_gets_what_its_refresh_token_needs(name: str, extras: dict[str, str]) -> None:
    told = query_of(app_of(name).auth_url_with_pkce(REDIRECT, "st", "a").url)
    assert extras.items() <= told.items()


def test_extras_are_set_by_the_app_over_the_table_and_by_the_call_over_both() -> None:
    app = app_of("google")
    app.auth_params = {"prompt": "select_account", "hd": "example.com", "login_hint": "me"}
    if not app.auth_uri:  # a machine's
        return
    link = app.auth_url_with_pkce(REDIRECT, "st", "a", auth_params={"login_hint": "you", "access_type": None})
    told = query_of(link.url)
    assert (told["prompt"], told["hd"], told["login_hint"]) == ("select_account", "example.com", "you")
    assert "access_type" not in told


@pytest.mark.parametrize("name", ["state", "redirect_uri", "client_id", "scope", "code_challenge", "response_type"])
def test_extras_may_not_override_the_protocol(name: str) -> None:
    app = OAuth2App("client", None, AUTH, TOKEN)
    with pytest.raises(ConfigError, match=name):
        app.auth_url_with_pkce(REDIRECT, "st", "", auth_params={name: "x"})
    app.auth_params = {name: None}
    with pytest.raises(ConfigError, match=name):
        app.auth_url_with_pkce(REDIRECT, "st", "")


@pytest.mark.parametrize("app", [app_of("linkedin"), OAuth2App("client", "s", AUTH, TOKEN, pkce=False)])
def test_pkce_is_off_for_the_provider_that_breaks_on_it_or_by_name(app: OAuth2App) -> None:
    url, verifier, challenge = app.auth_url_with_pkce(REDIRECT, "st", "a")
    assert (verifier, challenge) == ("", "")
    assert query_of(url)["state"] == "st"
    assert not {"code_challenge", "code_challenge_method"} & query_of(url).keys()


def test_pkce_can_be_switched_on_over_the_table() -> None:
    app = app_of("linkedin")
    app.pkce = True
    assert app.auth_url_with_pkce(REDIRECT, "st", "a").verifier


@pytest.mark.parametrize(
    ("app", "scopes", "sent"),
    [
        (OAuth2App("c", None, AUTH, TOKEN), ["a", "b"], "a b"),
        (OAuth2App("c", None, AUTH, TOKEN), "a b", "a b"),
        (OAuth2App("c", None, AUTH, TOKEN), "a,b", "a,b"),
        (OAuth2App("c", None, AUTH, TOKEN, scopes=["z"]), "a b", "a b z"),
        (OAuth2App("c", None, AUTH, TOKEN, scopes=["a"]), "a b", "a b"),
        (app_of("slack"), ["a", "b"], "a,b"),
        (app_of("microsoft"), ["a"], "a offline_access"),
        (app_of("microsoft"), "a offline_access", "a offline_access"),
        (app_of("atlassian"), "a b", "a b offline_access"),
    ],
)
def test_scopes_are_sent_as_the_provider_wants_them(app: OAuth2App, scopes: str | list[str], sent: str) -> None:
    assert query_of(app.auth_url_with_pkce(REDIRECT, "st", scopes).url)["scope"] == sent


def test_without_scopes_no_scope_is_sent() -> None:
    for scopes in ("", list[str]()):
        link = OAuth2App("c", None, AUTH, TOKEN).auth_url_with_pkce(REDIRECT, "st", scopes)
        assert "scope" not in query_of(link.url)


def test_the_callback_is_the_fifth_value_and_no_part_of_equality() -> None:
    heard: list[OAuth2User] = []
    app = OAuth2App("client", "s3cret", AUTH, TOKEN, heard.append)
    assert app == OAuth2App("client", "s3cret", AUTH, TOKEN)
    assert OAuth2App.from_json_obj(OWN, heard.append).on_refresh == heard.append


async def test_an_expired_grant_without_a_refresh_token_says_grant_again() -> None:
    with pytest.raises(SlyError, match="Grant again"):
        await OAuth2App("client", "s3cret", AUTH, TOKEN).refresh(None, OAuth2User("t"))


@pytest.mark.parametrize("method", ["basic", "post"])
async def test_what_a_token_request_carried_is_in_no_error_when_the_endpoint_echoes_it(
    method: ClientAuth, serve: Callable[..., Any], told_by: Callable[[BaseException], str]
) -> None:
    async def echo(request: web.Request) -> web.Response:
        sent = f"{request.headers.get('Authorization')} {await request.text()} {dict(await request.post())}"
        return web.json_response({"error": "invalid_grant", "error_description": sent}, status=400, headers={"X": sent})

    server = await serve(echo)
    app = OAuth2App("client", "s3cret/+ü", AUTH, server.origin + "/token", client_auth=method)
    with pytest.raises(TokenError) as caught:
        await app.exchange_code("code-s3cret", "verifier-s3cret", [], REDIRECT)
    assert "s3cret" in server.last.body.decode()
    with pytest.raises(TokenError) as also:
        await app.refresh(None, OAuth2User("access-s3cret", "refresh-s3cret"))
    basic = b64encode(b"client:s3cret%2F%2B%C3%BC").decode()
    for error in (caught.value, also.value):
        assert "***" in str(error)
        assert "s3cret" not in told_by(error)
        assert basic not in told_by(error)


@pytest.mark.parametrize(
    ("kind", "command"), [(OAuth2App, "scaffold"), (OAuth2User, "grant --user")], ids=["client", "user"]
)
def test_a_missing_file_has_the_command_that_writes_it(
    kind: type[OAuth2App | OAuth2User], command: str, tmp_path: Path
) -> None:
    path = tmp_path / "it is not.json"
    with pytest.raises(CredentialsNotFoundError) as caught:
        kind.from_json_file(path)
    assert f"{PROGRAM} {command} {quoted(str(path))}" in caught.value.next_step


@pytest.mark.parametrize("resource", ["no-scheme", ["https://r.example/", "no-scheme"], "https://r.example/#a", "a: b"])
def test_a_client_file_with_a_resource_that_is_not_a_uri_is_refused_when_it_is_read(resource: Any) -> None:
    file = {"id": "i", "auth_uri": "https://p.example/a", "token_uri": "https://p.example/t", "resource": resource}
    with pytest.raises(CredentialsError, match="resource"):
        OAuth2App.from_json_obj(file)


@pytest.mark.parametrize("resource", [None, "", []])
def test_a_client_file_may_name_no_resource(resource: Any) -> None:
    file = {"id": "i", "auth_uri": "https://p.example/a", "token_uri": "https://p.example/t", "resource": resource}
    assert OAuth2App.from_json_obj(file).resource is None
