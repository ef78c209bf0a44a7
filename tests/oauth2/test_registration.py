"""How a program becomes a client: discovery, registration and its management, and metadata documents."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from SlyAPI import OAuth2App
from SlyAPI.errors import BadReplyError, ConfigError, NetworkError, SlyError, TokenError
from SlyAPI.oauth2.client.discovery import SETTINGS, client_settings, merged, read_metadata
from SlyAPI.oauth2.messages.device import GRANT_TYPE as DEVICE_GRANT
from SlyAPI.oauth2.messages.registration import client_metadata, read_registration, registered_settings
from SlyAPI.testing import GRANT_TYPES, PracticeProvider
from SlyAPI.web import Reply
from SlyAPI.web.secret_values import Secrets
from tests.conftest import Serve
from tests.support.serving import all_by, served
from tests.testing.signing import ClientKey

REDIRECT = "http://127.0.0.1:8080"
Start = Callable[..., AbstractAsyncContextManager[PracticeProvider]]


@pytest.fixture
def start() -> Start:
    @asynccontextmanager
    async def running(**settings: Any) -> AsyncGenerator[PracticeProvider, None]:
        usual: dict[str, Any] = {"redirect_uris": [REDIRECT], "consent": "allow", "registration": True}
        provider = PracticeProvider(**{**usual, **settings})
        async with provider.running():
            yield provider

    return running


# --- discovery ---


@pytest.mark.parametrize(
    "places", [("oauth",), ("openid",), ("openid_appended",), ("openid", "openid_appended"), ("oauth", "openid")]
)
@pytest.mark.parametrize("path", ["", "/tenant"])
async def test_an_issuer_gives_a_client_wherever_its_metadata_are(start: Start, places: Any, path: str) -> None:
    if not path:  # then the two places of OpenID are one
        places = tuple(place.removesuffix("_appended") for place in places)
    async with start(metadata_places=places, issuer_path=path, openid=True, grant_types=GRANT_TYPES) as provider:
        app = await OAuth2App.discover(provider.issuer, "practice-client")
        assert (app.auth_uri, app.token_uri) == (provider.authorize_url, provider.token_url)
        assert app.issuer == provider.issuer
        assert app.pkce_offered
        names = {"device", "par", "introspect", "revoke", "register", "userinfo", "jwks", "logout"}
        assert all(getattr(app, f"{name}_uri") for name in names)
        assert OAuth2App.from_json_obj(json.loads(json.dumps(app.to_dict()))) == app


@pytest.mark.parametrize("member", ["revocation_endpoint", "userinfo_endpoint"])
async def test_a_gap_is_filled_from_the_next_document_and_the_first_one_wins(member: str) -> None:
    names = {"oauth": "1", "openid": "2"}
    documents: dict[str, dict[str, Any]] = {}

    async def answer(request: web.Request) -> web.Response:
        document = documents["oauth" if "oauth" in request.path else "openid"]
        return web.json_response(document)

    async with served(all_by(answer)) as origin:
        for kind, name in names.items():
            documents[kind] = {"issuer": origin, "token_endpoint": f"{origin}/token{name}"}
        documents["openid"][member] = f"{origin}/filled"
        app = await OAuth2App.discover(origin, "c")
        assert app.token_uri == f"{origin}/token1"
        assert f"{origin}/filled" in (app.revoke_uri, app.userinfo_uri)
        documents["openid"]["issuer"] = origin + "/"
        app = await OAuth2App.discover(origin, "c")
        assert (app.revoke_uri, app.userinfo_uri) == (None, None), "of another issuer"
        documents["oauth"]["issuer"] = origin + "/"
        with pytest.raises(BadReplyError, match=f"{origin}/"):
            await OAuth2App.discover(origin, "c")


def test_a_machine_registers_without_a_response_type() -> None:
    # RFC 7591 §2: left out, it is code, which needs a redirect URI
    assert client_metadata("Weather", [])["response_types"] == []
    assert client_metadata("Weather", [REDIRECT])["response_types"] == ["code"]


DEVICE: dict[str, Any] = {"device_authorization_endpoint": "https://p.example/device"}


@pytest.mark.parametrize(
    ("server", "device", "asked"),
    [
        (DEVICE, True, True),
        (DEVICE | {"grant_types_supported": [*GRANT_TYPES]}, True, True),
        (DEVICE | {"grant_types_supported": ["authorization_code"]}, True, False),
        ({"device_authorization_endpoint": None}, True, False),
        ({}, True, False),
        (DEVICE, False, False),
    ],
)
def test_the_device_flow_is_asked_for_where_it_is_wanted_and_offered(
    server: dict[str, Any], device: bool, asked: bool
) -> None:
    grants = client_metadata("Weather", [REDIRECT], server=server, device=device)["grant_types"]
    assert (DEVICE_GRANT in grants) is asked



async def test_metadata_without_a_consent_page_are_enough_for_a_machine(start: Start) -> None:
    async with start(grant_types=["client_credentials"]) as provider:
        app = await OAuth2App.discover(provider.issuer, "practice-client")
        assert app.auth_uri == ""
        with pytest.raises(ConfigError, match="auth_uri"):
            app.begin_login(REDIRECT, [])


@pytest.mark.parametrize("place", ["path", "root", "challenge"])
async def test_a_resources_url_alone_gives_a_client(start: Start, place: str) -> None:
    async with start(resource_metadata=place) as provider:
        app = await OAuth2App.discover(id="practice-client", resource=f"{provider.api_url}/notes")
        assert app.token_uri == provider.token_url
        assert app.resource == (provider.origin if place == "root" else f"{provider.api_url}/notes")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"resource": "https://evil.example/"}, "evil"),
        ({"authorization_servers": []}, "RFC 9728"),
        ({"authorization_servers": None}, "RFC 9728"),
        ({"authorization_servers": ["http://evil.example"]}, "authorization_servers"),
        ({"authorization_servers": "https://evil.example"}, "authorization_servers"),
        ({"authorization_servers": 5}, "authorization_servers"),
    ],
)
async def test_resource_metadata_that_lead_nowhere_are_refused(
    start: Start, changes: dict[str, Any], said: str
) -> None:
    async with start(resource_metadata="path", resource_changes=changes) as provider:
        with pytest.raises(SlyError, match=said) as caught:
            await OAuth2App.discover(resource=f"{provider.api_url}/notes")
        assert caught.value.kind == "configuration"


async def test_without_metadata_the_error_says_what_to_give(start: Start, unused_port: int) -> None:
    async with start(metadata_places=()) as provider:
        with pytest.raises(ConfigError, match="token_uri"):
            await OAuth2App.discover(provider.issuer)
        with pytest.raises(ConfigError, match="issuer"):
            await OAuth2App.discover(resource=f"{provider.api_url}/notes")
    with pytest.raises(ConfigError, match="issuer"):
        await OAuth2App.discover()
    with pytest.raises(NetworkError):
        await OAuth2App.discover(f"http://127.0.0.1:{unused_port}")


async def test_what_the_program_sets_overrides_what_discovery_learns(start: Start) -> None:
    async with start(metadata_changes={"token_endpoint_auth_methods_supported": ["client_secret_post"]}) as provider:
        app = await OAuth2App.discover(provider.issuer, "c", "s", client_auth="basic", revoke_uri="https://r.example/")
        assert (app.client_auth, app.revoke_uri) == ("basic", "https://r.example/")
        assert (await OAuth2App.discover(provider.issuer, "c", "s")).client_auth == "post"
        assert (await OAuth2App.discover(provider.issuer, "c")).client_auth is None


# --- registration ---


async def test_a_registered_client_can_grant_after_its_file_was_read(start: Start) -> None:
    async with start(initial_access_token="initial-5EC9E7") as provider:
        app = await OAuth2App.register(
            provider.issuer,
            client_name="Weather",
            redirect_uris=[REDIRECT],
            scopes=["notes"],
            initial_access_token="initial-5EC9E7",
        )
        registered = provider.ledger.clients[app.id]
        assert registered.name == "Weather"
        assert registered.metadata["application_type"] == "native"
        assert registered.metadata["grant_types"] == ["authorization_code", "refresh_token"]
        app = OAuth2App.from_json_obj(json.loads(json.dumps(app.to_dict())))
        assert (app.client_auth, app.secret, app.redirect_uri, app.scopes) == ("none", None, REDIRECT, ["notes"])
        login = app.begin_login(REDIRECT, [])
        user = await app.finish_login(login, await followed(login.url))
        assert user.scopes == ["notes"]


async def followed(url: str) -> str:
    import aiohttp

    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
        return str(answer.headers["Location"])


async def test_what_a_registration_says_of_signatures_is_kept(start: Start) -> None:
    key = ClientKey()
    features: dict[str, Any] = {"openid": True, "signed_responses": True, "signed_requests": "allowed"}
    async with start(**features, signing_algs=["RS256", "ES256"]) as provider:
        app = await OAuth2App.register(
            provider.issuer,
            client_name="Signing",
            redirect_uris=[REDIRECT],
            token_endpoint_auth_method="private_key_jwt",
            jwks=key.jwks,
            require_signed_request_object=True,
            authorization_signed_response_alg="ES256",
            id_token_signed_response_alg="ES256",
        )
        assert (app.sign_requests, app.response_alg, app.id_token_alg) == (True, "ES256", "ES256")
        app = replace(app, key=key.private_jwk, key_id=key.kid, response_mode="jwt")
        login = await app.push_login(REDIRECT, "openid notes")
        async with aiohttp.ClientSession() as browser, browser.get(login.url, allow_redirects=False) as reply:
            user = await app.finish_login(login, reply.headers["Location"])
        assert user.identity is not None


async def test_a_registration_is_changed_and_ended_with_each_new_access_token(start: Start) -> None:
    async with start() as provider:
        app = await OAuth2App.register(
            provider.issuer,
            client_name="Weather",
            redirect_uris=[REDIRECT],
            token_endpoint_auth_method="client_secret_post",
        )
        assert app.secret
        tokens = [app.registration_access_token]
        app = await app.update_registration(client_name="Weather 2")
        tokens.append(app.registration_access_token)
        app = await app.update_registration(redirect_uris=[f"{REDIRECT}/cb"])
        tokens.append(app.registration_access_token)
        assert len(set(tokens)) == 3
        registered = provider.ledger.clients[app.id]
        assert (registered.name, registered.redirect_uris) == ("Weather 2", (f"{REDIRECT}/cb",))
        assert (app.secret, app.client_auth) == (registered.secret, "post")
        await app.delete_registration()
        assert app.id not in provider.ledger.clients
        with pytest.raises(TokenError, match="invalid_token"):
            await app.delete_registration()


@pytest.mark.parametrize("form", [["client_secret_post"], ["none", "client_secret_post"], [], None, "", 5, {}])
async def test_a_registration_is_changed_whatever_form_the_method_has_in_the_servers_replies(
    serve: Serve, form: object
) -> None:
    sent: list[dict[str, Any]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        sent.extend([json.loads(await request.read())] if request.method == "PUT" else [])
        client = {"client_id": "c", "client_secret": "s", "redirect_uris": [REDIRECT], "scope": ["a", "b"]}
        return web.json_response({**client, "token_endpoint_auth_method": form, "contacts": None})

    origin = (await serve(handler)).origin
    app = OAuth2App("c", "s", f"{origin}/a", f"{origin}/t", client_auth="post", registration_client_uri=f"{origin}/c")
    app.registration_access_token = "rat"
    changed = await app.update_registration(client_name="New")
    assert (changed.client_auth, changed.secret, changed.redirect_uri) == ("post", "s", REDIRECT)
    assert sent[0]["token_endpoint_auth_method"] == "client_secret_post"
    assert sent[0]["client_name"] == "New"


@pytest.mark.parametrize("uri", ["http://127.0.0.1:8000/c", "https://10.0.0.1/c", "https://a.internal/c"])
def test_a_registration_elsewhere_is_not_managed_inside(uri: str) -> None:
    body = json.dumps({"client_id": "c", "registration_client_uri": uri, "registration_access_token": "t"}).encode()
    with pytest.raises(BadReplyError):
        read_registration(Reply(201, {}, body, "https://p.example/register"), {}, Secrets(()))
    assert read_registration(Reply(201, {}, body, "http://localhost/register"), {}, Secrets(()))["client_id"] == "c"


async def test_the_access_token_of_a_refused_change_is_kept(start: Start) -> None:
    async with start() as provider:
        app = await OAuth2App.register(provider.issuer, client_name="Weather", redirect_uris=[REDIRECT])
        with pytest.raises(TokenError, match="invalid_redirect_uri"):
            await app.update_registration(redirect_uris=["relative"])
        await app.delete_registration()


@pytest.mark.parametrize(
    ("settings", "more", "error"),
    [
        ({"registration": False}, {}, ConfigError),
        ({"initial_access_token": "initial-5EC9E7"}, {}, TokenError),
        ({"initial_access_token": "initial-5EC9E7"}, {"initial_access_token": "wrong-token"}, TokenError),
        ({}, {"scopes": ["unknown"]}, TokenError),
        ({}, {"redirect_uris": ["http://weather.example/"]}, TokenError),
        ({}, {"grant_types": ["password"]}, TokenError),
        ({}, {"token_endpoint_auth_method": "none", "grant_types": ["client_credentials"]}, TokenError),
    ],
)
async def test_a_refused_registration_says_why(
    start: Start, settings: dict[str, Any], more: dict[str, Any], error: type[SlyError], told_by: Any
) -> None:
    async with start(**settings) as provider:
        usual: dict[str, Any] = {"client_name": "Weather", "redirect_uris": [REDIRECT]}
        with pytest.raises(error) as caught:
            await OAuth2App.register(provider.issuer, **{**usual, **more})
        assert caught.value.next_step
        assert "wrong-token" not in told_by(caught.value)
        assert len(provider.ledger.clients) == 1


def registered(**members: Any) -> Reply:
    return Reply(201, {}, json.dumps({"client_id": "c", **members}).encode(), "https://p.example/register")


@pytest.mark.parametrize(
    "members",
    [
        {"client_id": ""},
        {"client_id": 5},
        {"redirect_uris": ["https://evil.example/"]},
        {"redirect_uris": []},
        {"redirect_uris": "https://a.example/"},
        {"registration_client_uri": "http://evil.example/"},
        {"registration_client_uri": 5},
        {"registration_access_token": 5},
        {"registration_access_token": "a\nb"},
        {"client_id": "a\x1b[2J"},
        {"client_secret": {"a": 1}},
        {"client_secret": "a\nb"},
    ],
)
def test_a_registration_that_is_not_what_was_asked_for_is_refused(members: dict[str, Any]) -> None:
    asked = client_metadata("Weather", [REDIRECT])
    with pytest.raises((BadReplyError, ConfigError)):
        registered_settings(read_registration(registered(**members), asked, Secrets()))


@pytest.mark.parametrize("echoed", [["https://a.example/", REDIRECT, "https://b.example/"], [REDIRECT], None])
def test_whatever_order_a_server_echoes_the_redirect_uri_of_logins_is_the_first_that_was_asked_for(
    echoed: list[str] | None,
) -> None:
    asked = client_metadata("Weather", [REDIRECT, "https://b.example/"] if echoed and echoed[1:] else [REDIRECT])
    reply = registered(**({} if echoed is None else {"redirect_uris": echoed}))
    assert registered_settings(read_registration(reply, asked, Secrets()))["redirect_uri"] == REDIRECT


def test_where_the_reply_names_no_method_the_one_asked_for_counts() -> None:
    asked = client_metadata("Weather", [REDIRECT])
    assert read_registration(registered(), asked, Secrets())["token_endpoint_auth_method"] == "none"
    other = registered(token_endpoint_auth_method="client_secret_post")
    assert read_registration(other, asked, Secrets())["token_endpoint_auth_method"] == "client_secret_post"


@pytest.mark.parametrize("alg", [None, 1, ["ES256"], {"a": 1}, "a\nb"])
def test_a_registration_with_an_unreadable_algorithm_is_kept_without_it(alg: Any) -> None:
    reply = registered(id_token_signed_response_alg=alg)
    settings = registered_settings(read_registration(reply, client_metadata("Weather", [REDIRECT]), Secrets()))
    app = OAuth2App(auth_uri="https://p.example/a", token_uri="https://p.example/t", **{"secret": None, **settings})
    assert app.id_token_alg is None
    assert OAuth2App.from_json_obj(app.to_dict()) == app


@pytest.mark.parametrize(
    ("server", "grants", "method"),
    [
        ({}, ["authorization_code", "refresh_token"], "none"),
        ({"grant_types_supported": ["authorization_code"]}, ["authorization_code"], "none"),
        (
            {"token_endpoint_auth_methods_supported": ["client_secret_post"]},
            ["authorization_code", "refresh_token"],
            "client_secret_post",
        ),
        *(
            (
                {"grant_types_supported": foreign, "token_endpoint_auth_methods_supported": foreign},
                ["authorization_code", "refresh_token"],
                "none",
            )
            for foreign in (None, 7, "none", {"none": 1}, [["none"]])
        ),
    ],
)
def test_the_defaults_stay_within_what_the_server_offers(
    server: dict[str, Any], grants: list[str], method: str
) -> None:
    asked = client_metadata("Weather", [REDIRECT], server=server)
    assert (asked["grant_types"], asked["token_endpoint_auth_method"]) == (grants, method)


async def test_a_registration_of_any_depth_is_changed_or_is_our_error(serve: Serve) -> None:
    """Also in the few depths that can be read, and not written back."""
    asked: list[str] = []

    async def nested(request: web.Request) -> web.StreamResponse:
        asked.append(request.method)
        depth = int(request.path[1:])
        extra = "[" * depth + "]" * depth
        return web.Response(text=f'{{"client_id": "c", "odd": {extra}}}', content_type="application/json")

    server = await serve(nested)
    for depth in [1, *range(900, 1060, 3), 100_000]:
        app = OAuth2App("c", None, "", f"{server.origin}/token", registration_access_token="r")
        app.registration_client_uri = f"{server.origin}/{depth}"
        with suppress(SlyError):
            await app.update_registration(client_name="Weather 2")
    assert "PUT" in asked


@pytest.mark.parametrize("value", [{1}, b"x", float("nan"), object()], ids=type)
async def test_metadata_that_no_json_can_hold_are_refused_before_anything_is_sent(start: Start, value: object) -> None:
    async with start() as provider:
        with pytest.raises(ConfigError):
            await OAuth2App.register(provider.issuer, client_name="Weather", contacts=value)
        assert not [seen for seen in provider.log if seen.endpoint == "register"]


@pytest.mark.parametrize("call", ["update_registration", "delete_registration"])
async def test_a_client_of_the_console_cannot_be_managed_from_here(call: str) -> None:
    app = OAuth2App("c", "s", "https://p.example/a", "https://p.example/t")
    with pytest.raises(ConfigError, match="registration access token"):
        await getattr(app, call)()


# --- metadata documents ---


async def test_a_client_is_the_document_at_its_id(start: Start) -> None:
    key = ClientKey()
    async with start(client_metadata_documents=True) as provider:
        document: dict[str, Any] = {}

        async def publish(request: web.Request) -> web.Response:
            return web.json_response(document)

        async with served(all_by(publish)) as origin:
            app = await OAuth2App.discover(provider.issuer, "https://weather.example/client", key=key.private_jwk)
            described = app.client_metadata(client_name="Weather", redirect_uris=[REDIRECT])
            assert "d" not in described["jwks"]["keys"][0]
            app.id = f"{origin}/client"  # the practice provider takes one of this machine
            document |= {**described, "client_id": app.id}
            login = app.begin_login(REDIRECT, ["notes"])
            user = await app.finish_login(login, await followed(login.url))
            assert user.scopes == ["notes"]


@pytest.mark.parametrize("id", ["practice-client", "http://w.example/c", "https://w.example", "https://w.example/"])
def test_a_document_needs_an_https_address_with_a_path(id: str) -> None:
    app = OAuth2App(id, None, "https://p.example/a", "https://p.example/t")
    with pytest.raises(ConfigError, match="https URL"):
        app.client_metadata(client_name="Weather", redirect_uris=[REDIRECT])


@pytest.mark.parametrize("dpop", [False, True])
@pytest.mark.parametrize("alg", [None, "ES256"])
def test_a_document_describes_how_the_client_authenticates(alg: str | None, dpop: bool) -> None:
    key = None if alg is None else ClientKey().private_jwk
    app = OAuth2App("https://w.example/c", None, "https://p.example/a", "https://p.example/t", key=key, dpop=dpop)
    described = app.client_metadata(client_name="Weather", redirect_uris=[REDIRECT])
    assert described["token_endpoint_auth_method"] == ("none" if alg is None else "private_key_jwt")
    assert described.get("token_endpoint_auth_signing_alg") == alg
    assert described.get("dpop_bound_access_tokens") == (True if dpop else None)


def test_a_document_holds_no_secret() -> None:
    app = OAuth2App("https://w.example/c", "s3cret", "https://p.example/a", "https://p.example/t")
    with pytest.raises(ConfigError, match="secret"):
        app.client_metadata(client_name="Weather", redirect_uris=[REDIRECT])


# --- introspection ---


async def test_introspection_shows_what_the_provider_knows(practise: Any) -> None:
    practice = await practise()
    practice.app.introspect_uri = f"{practice.provider.origin}/introspect"
    user = await practice.grant("notes")
    info = await practice.app.introspect(user.token)
    assert (info.active, info.scopes, info.client_id) == (True, ["notes"], "practice-client")
    assert info.username == "Robin Practice"
    assert info.expires_at is not None
    assert info.expires_at.timestamp() == pytest.approx(practice.clock() + 100, abs=2)
    assert info.extra["token_type"] == "Bearer"
    gone = await practice.app.introspect("another")
    assert (gone.active, gone.scopes, gone.expires_at) == (False, [], None)


async def test_introspection_needs_its_endpoint_and_a_client_that_is_who_it_says(practise: Any) -> None:
    practice = await practise()
    with pytest.raises(ConfigError, match="introspect_uri"):
        await practice.app.introspect("token")
    practice.app.introspect_uri = f"{practice.provider.origin}/introspect"
    practice.app.secret = "wrong"
    with pytest.raises(TokenError, match="invalid_client"):
        await practice.app.introspect("token")


# --- what is learned is kept ---

AT = "https://as.example"
METADATA: dict[str, Any] = {
    "issuer": AT,
    **{theirs: f"{AT}/{ours}" for ours, theirs in SETTINGS.items()},
    "code_challenge_methods_supported": ["S256"],
    "token_endpoint_auth_methods_supported": ["none"],
    "dpop_signing_alg_values_supported": ["ES256"],
    "id_token_signing_alg_values_supported": ["ES256"],
    "authorization_signing_alg_values_supported": ["ES256"],
    "mtls_endpoint_aliases": {"token_endpoint": f"{AT}/mtls"},
    "authorization_response_iss_parameter_supported": True,
}
REGISTERED: dict[str, Any] = {
    "client_id": "c",
    "client_secret": "s3cret",
    "redirect_uris": [REDIRECT],
    "token_endpoint_auth_method": "client_secret_basic",
    "scope": "a b",
    "id_token_signed_response_alg": "ES256",
    "authorization_signed_response_alg": "ES256",
    "registration_client_uri": f"{AT}/manage",
    "registration_access_token": "rat",
    "require_signed_request_object": True,
}
TEXTS = ["", " ", "x", "a b", "a\x00b", "a\nb", "\ud800", "\u202e", "\xa0", "é", "none", "HS256", "x" * 9000]
TEXTS += [f"{AT}/{path}" for path in ("", "é", "\ud800", "a b", "#")] + ["https://as.example:0/"]
ODD: list[Any] = [None, True, 0, -1.5, 10**30, [], {}, [[]], [None], {"a": 1}, *TEXTS, *([text] for text in TEXTS)]
ODD += [{"token_endpoint": f"{AT}/x", text: f"{AT}/y"} for text in TEXTS]


@pytest.mark.parametrize("empty", [None, ""])
@pytest.mark.parametrize("member", [name for name in REGISTERED if name != "client_id"])
def test_what_a_registration_leaves_empty_is_absent(member: str, empty: object) -> None:
    asked = client_metadata("n", [REDIRECT])

    def settings(registered: dict[str, Any]) -> dict[str, Any]:
        reply = Reply(201, {}, json.dumps(registered).encode(), f"{AT}/register")
        return registered_settings(read_registration(reply, asked, Secrets()))

    without = {name: value for name, value in REGISTERED.items() if name != member}
    assert settings({**without, member: empty}) == settings(without)


@pytest.mark.parametrize(
    ("document", "member"),
    [("metadata", member) for member in METADATA] + [("registration", member) for member in REGISTERED],
)
def test_whatever_a_server_says_the_client_file_can_be_read_again(document: str, member: str) -> None:
    read = 0
    for odd in (*ODD, {**METADATA, **REGISTERED}[member]):
        metadata = {**METADATA, **({member: odd} if document == "metadata" else {})}
        registered = {**REGISTERED, **({member: odd} if document == "registration" else {})}
        try:
            found = read_metadata(Reply(200, {}, json.dumps(metadata).encode(), AT), AT)
            assert found is not None
            reply = Reply(201, {}, json.dumps(registered).encode(), f"{AT}/register")
            answer = read_registration(reply, client_metadata("n", [REDIRECT]), Secrets())
            settings = {**client_settings(merged([found], AT)), **registered_settings(answer)}
            app = OAuth2App(**{"secret": None, **settings})
        except (ConfigError, BadReplyError):
            continue
        again = OAuth2App.from_json_obj(json.loads(json.dumps(app.to_dict())))
        assert (again.id, again.token_uri, again.scopes) == (app.id, app.token_uri, app.scopes), odd
        read += 1
    assert read
