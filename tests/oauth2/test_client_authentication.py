"""How a client proves who it is at every endpoint: by secret, by signed assertion, by certificate."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from SlyAPI import OAuth2, OAuth2App, WebAPI
from SlyAPI.errors import ConfigError, GrantEndedError, RequestTimeoutError, SlyError, TokenError
from SlyAPI.oauth2.messages.client_assertion import statement
from SlyAPI.testing import GRANT_TYPES
from tests.support.certificates import make_certificate
from tests.support.serving import all_by, served
from tests.testing.signing import ClientKey

if TYPE_CHECKING:
    from tests.conftest import Practise

SECRET = "client-secret-5EC9E7-long-enough-for-HS256"


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def forms_of_a_key(key: ClientKey, folder: Path) -> dict[str, dict[str, Any]]:
    """The same private key in each form that `key=` takes."""
    path = folder / "key.pem"
    path.write_bytes(pem_of(key.private))
    (folder / "key.jwk").write_text(json.dumps(key.private_jwk))

    def in_der(data: bytes) -> bytes:
        return key.private.sign(data, ec.ECDSA(hashes.SHA256()))

    async def elsewhere(data: bytes) -> bytes:
        return in_der(data)

    return {
        "path": {"key": path},
        "path as text": {"key": str(path)},
        "file of a JWK": {"key": folder / "key.jwk"},
        "PEM": {"key": pem_of(key.private).decode()},
        "PEM bytes": {"key": pem_of(key.private)},
        "PEM behind attributes": {"key": "Bag Attributes\n    friendlyName: c\n" + pem_of(key.private).decode()},
        "JWK": {"key": key.private_jwk},
        "JWK text": {"key": "\n" + json.dumps(key.private_jwk)},
        "callable": {"key": in_der, "key_alg": "ES256"},
        "coroutine function": {"key": elsewhere, "key_alg": "ES256"},
    }


def registered_by_key(key: ClientKey, **more: Any) -> dict[str, Any]:
    metadata = {"token_endpoint_auth_method": "private_key_jwt", "jwks": key.jwks}
    return {"client_secret": None, "client_metadata": metadata, "grant_types": GRANT_TYPES, **more}


@pytest.mark.parametrize(
    "form",
    [
        *("path", "path as text", "file of a JWK", "PEM", "PEM bytes", "PEM behind attributes", "JWK", "JWK text"),
        *("callable", "coroutine function"),
    ],
)
async def test_a_key_in_every_form_authenticates_exchange_refresh_and_revocation(
    practise: Practise, tmp_path: Path, form: str
) -> None:
    key = ClientKey()
    practice = await practise(**registered_by_key(key))
    settings = forms_of_a_key(key, tmp_path)[form]
    app = practice.app = OAuth2App(
        "practice-client",
        None,
        practice.provider.authorize_url,
        practice.provider.token_url,
        revoke_uri=practice.provider.revoke_url,
        client_auth="private_key_jwt",
        key_id=key.kid,
        **settings,
    )
    practice.clock.now = datetime.now(UTC).timestamp()  # revocation reads the machine's clock
    user = await practice.grant()
    user = await app.refresh(None, user, now=practice.clock())
    await app.revoke(user)
    methods = {seen.client_auth for seen in practice.provider.log if seen.endpoint in ("token", "revoke")}
    assert methods == {"private_key_jwt"}


def test_an_assertion_is_young_enough_for_a_server_that_takes_it_for_a_minute() -> None:
    # AT Protocol: "Authorization Servers should not reject client assertion JWTs generated less than a minute ago"
    stated = statement("c", "https://p.example", now=1000.9)
    assert (stated["nbf"], stated["iat"], stated["exp"]) == (940, 970, 1060)


async def test_a_secret_may_sign_instead_of_being_sent(practise: Practise) -> None:
    metadata = {"token_endpoint_auth_method": "client_secret_jwt"}
    practice = await practise(client_secret=SECRET, client_metadata=metadata)
    practice.app.client_auth = "client_secret_jwt"
    user = await practice.grant()
    await practice.app.refresh(None, user, now=practice.clock())
    tokens = [seen for seen in practice.provider.log if seen.endpoint == "token"]
    assert [seen.client_auth for seen in tokens] == ["client_secret_jwt", "client_secret_jwt"]
    assert not any("client_secret" in seen.parameters for seen in tokens)


@pytest.mark.parametrize("wanted", ["issuer", "endpoint"])
@pytest.mark.parametrize("given", ["issuer", "endpoint", "nothing"])
async def test_the_audience_of_an_assertion_can_be_what_the_server_wants(
    practise: Practise, tmp_path: Path, wanted: str, given: str
) -> None:
    key = ClientKey()
    practice = await practise(**registered_by_key(key, assertion_audience=wanted, issuer_path="/tenant"))
    issuer, endpoint = practice.provider.issuer, practice.provider.token_url
    app = practice.app = OAuth2App(
        "practice-client",
        None,
        practice.provider.authorize_url,
        endpoint,
        key=key.private_jwk,
        key_id=key.kid,
        issuer=issuer,
        assertion_audience={"issuer": issuer, "endpoint": endpoint, "nothing": None}[given],
    )
    assert app.client_auth is None  # the key suffices
    if wanted == (given if given != "nothing" else "issuer"):
        assert (await practice.grant()).token
    else:
        with pytest.raises(TokenError, match="aud"):
            await practice.grant()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"client_auth": "private_key_jwt"}, "no key"),
        ({"client_auth": "client_secret_jwt"}, "secret"),
        ({"key": "no/such/key.pem"}, "cannot be read"),
        ({"key": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----"}, "not a private key"),
        ({"key": lambda data: data}, "key_alg"),
        ({"key": ClientKey().jwk}, "cannot sign"),
        ({"key": ClientKey().private_jwk, "key_alg": "none"}, "key_alg"),
    ],
    ids=["no key", "no secret", "no file", "not a key", "no algorithm", "public half", "alg none"],
)
async def test_a_client_that_cannot_sign_says_so_before_anything_is_sent(
    practise: Practise, settings: dict[str, Any], said: str
) -> None:
    practice = await practise()
    practice.app = OAuth2App("c", None, practice.provider.authorize_url, practice.provider.token_url, **settings)
    with pytest.raises(ConfigError, match=said) as caught:
        await practice.app.exchange_code("code", "", "", "http://127.0.0.1:8080", now=practice.clock())
    assert "c2VjcmV0" not in str(caught.value)
    assert not practice.provider.log


@pytest.mark.parametrize("given", [None, "text", 7, b"", b"x" * 63, [1]], ids=str)
async def test_a_callable_that_signs_nothing_is_said_before_anything_is_sent(practise: Practise, given: Any) -> None:
    practice = await practise()
    uris = (practice.provider.authorize_url, practice.provider.token_url)
    ways: list[Any] = [lambda data: given, lambda data: asyncio.sleep(0, given)]
    for sign in ways:
        app = OAuth2App("c", None, *uris, key=sign, key_alg="ES256")
        with pytest.raises(ConfigError, match="signature"):
            await app.exchange_code("code", "", "", "http://127.0.0.1:8080", now=practice.clock())
    assert not practice.provider.log


async def test_a_key_elsewhere_that_does_not_answer_costs_no_more_than_the_time_limit(practise: Practise) -> None:
    key = ClientKey()
    practice = await practise(**registered_by_key(key))
    away = True

    async def sign(data: bytes) -> bytes:
        if away:
            await asyncio.Event().wait()
        return key.private.sign(data, ec.ECDSA(hashes.SHA256()))

    practice.app = OAuth2App(
        "practice-client",
        None,
        practice.provider.authorize_url,
        practice.provider.token_url,
        key=sign,
        key_alg="ES256",
        key_id=key.kid,
        token_timeout=0.05,
    )
    with pytest.raises(RequestTimeoutError) as refused:
        await practice.app.exchange_code("code", "", "", "http://127.0.0.1:8080", now=practice.clock())
    assert refused.value.kind == "transient"
    away, practice.app.token_timeout = False, 30.0
    user = await practice.grant()
    away, practice.app.token_timeout = True, 0.05
    practice.clock.now += 200
    api = practice.api(practice.auth(user))
    with pytest.raises(RequestTimeoutError):
        await api.get_json("/me")
    away, practice.app.token_timeout = False, 30.0
    assert (await api.get_json("/me"))["scopes"], "the grant is not lost"


async def test_an_assertion_is_not_in_the_message_of_a_refusal(practise: Practise, told_by: Any) -> None:
    key, other = ClientKey(), ClientKey()
    practice = await practise(**registered_by_key(key))
    sent: list[str] = []

    def sign(data: bytes) -> bytes:
        sent.append(data.decode())
        return other.private.sign(data, ec.ECDSA(hashes.SHA256()))

    practice.app = OAuth2App(
        "practice-client",
        None,
        practice.provider.authorize_url,
        practice.provider.token_url,
        key=sign,
        key_alg="ES256",
        key_id=key.kid,
    )
    with pytest.raises(TokenError, match="signature") as caught:
        await practice.grant()
    assert len(sent) == 1, "a refused assertion is not tried by another method"
    assert sent[0] not in told_by(caught.value)


_CORE = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg"


_CONTENTS = [
    f'{{"kty": "EC", "d": "{_CORE}"}}',
    f'\ufeff{{"kty": "oct", "k": "{_CORE}"}}',
    f"Bag Attributes\n-----BEGIN PRIVATE KEY-----\n{_CORE}\n-----END PRIVATE KEY-----",
]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("key", text) for text in (_CORE, f"{_CORE}\n{_CORE}", *_CONTENTS)),
        *(("certificate", text) for text in _CONTENTS),
    ],
)
async def test_a_key_given_as_text_is_in_no_message(name: str, text: str) -> None:
    settings: dict[str, Any] = {name: text}
    app = OAuth2App("c", None, "https://p.example/a", "https://p.example/t", **settings)
    with pytest.raises(ConfigError) as caught:
        await app.exchange_code("code", "", "", "http://127.0.0.1:8080")
    shown = "".join(traceback.TracebackException.from_exception(caught.value).format())
    assert _CORE not in shown + str(caught.value)


# --- the client file ---


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("key.pem", "key.pem"),
        (Path("key.pem"), "key.pem"),
        ("-----BEGIN PRIVATE KEY-----", None),
        (b"-----BEGIN PRIVATE KEY-----", None),
        ("Bag Attributes\n-----BEGIN PRIVATE KEY-----", None),
        ('{"kty": "EC", "d": "c2VjcmV0"}', None),
        ({"kty": "EC", "d": "c2VjcmV0"}, None),
        (lambda data: data, None),
    ],
    ids=["text", "path", "PEM", "PEM bytes", "PEM behind attributes", "JWK text", "JWK", "callable"],
)
def test_a_key_is_in_the_client_file_only_as_a_path_and_the_log_says_so(
    key: Any, written: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    app = OAuth2App("c", None, "https://p.example/a", "https://p.example/t", key=key)
    with caplog.at_level(logging.WARNING, "SlyAPI"):
        assert app.to_dict().get("key") == written
    assert ("left out" in caplog.text) == (written is None)


def test_all_settings_survive_the_client_file() -> None:
    settings: dict[str, Any] = {
        "issuer": "https://p.example",
        "resource": ["https://api.example/a", "https://api.example/b"],
        "client_auth": "tls_client_auth",
        "certificate": ("cert.pem", "key.pem"),
        "mtls_aliases": {"token_endpoint": "https://mtls.example/t"},
        "key": "signing.pem",
        "key_id": "one",
        "key_alg": "ES256",
        "assertion_audience": "https://p.example/t",
        "registration_access_token": "r4t",
        "registration_client_uri": "https://p.example/register/c",
        "pkce_offered": False,
        "require_par": True,
        "id_token_alg": "ES256",
        "dpop_algs": ["ES256"],
        "dpop": True,
        "profile": "fapi2",
    }
    names = ("device", "par", "introspect", "revoke", "register", "userinfo", "jwks", "logout")
    settings |= {f"{name}_uri": f"https://p.example/{name}" for name in names}
    app = OAuth2App("c", "s", "https://p.example/a", "https://p.example/t", **settings)
    kept = json.loads(json.dumps(app.to_dict()))
    assert settings.keys() <= kept.keys()
    assert OAuth2App.from_json_obj(kept) == app


@pytest.mark.posix
@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("key.pem", "{folder}/key.pem"),
        ("../key.pem", "{folder}/../key.pem"),
        ("/etc/key.pem", "/etc/key.pem"),
        (["cert.pem", "/etc/key.pem"], ("{folder}/cert.pem", "/etc/key.pem")),
    ],
    ids=["beside", "above", "absolute", "pair"],
)
def test_a_path_in_a_client_file_counts_from_the_files_folder(
    given: Any, read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def filled(path: Any) -> Any:
        return tuple(map(filled, path)) if isinstance(path, tuple) else path.format(folder=tmp_path / "conf")

    members = {"id": "c", "token_uri": "https://p.example/t", "certificate": given}
    members |= {"key": given} if isinstance(given, str) else {}
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "app.json").write_text(json.dumps(members))
    monkeypatch.chdir(tmp_path)
    app = OAuth2App.from_json_file("conf/app.json")
    monkeypatch.chdir("/")
    assert app.certificate == filled(read)
    assert app.key == (filled(read) if isinstance(given, str) else None)
    (tmp_path / "copy.json").write_text(json.dumps(app.to_dict()))
    assert OAuth2App.from_json_file(tmp_path / "copy.json") == app


def test_a_client_of_machines_needs_no_authorization_endpoint() -> None:
    app = OAuth2App.from_json_obj({"id": "c", "secret": "s", "token_uri": "https://p.example/t"})
    with pytest.raises(ConfigError, match="auth_uri"):
        app.begin_login("http://127.0.0.1:8080", [])


# --- certificates (RFC 8705) ---


@pytest.mark.parametrize("method", ["tls_client_auth", "self_signed_tls_client_auth"])
@pytest.mark.parametrize("pair", [False, True])
async def test_a_certificate_is_presented_at_the_alias_and_to_the_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, pair: bool
) -> None:
    ca = make_certificate(tmp_path, "ca")
    make_certificate(tmp_path, "server", ca)
    make_certificate(tmp_path, "client", ca)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.crt"))
    tls.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    tls.verify_mode = ssl.CERT_OPTIONAL
    seen: list[tuple[str, bool]] = []

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        shown = bool(request.transport.get_extra_info("peercert"))
        seen.append((request.path, shown))
        form = await request.post()
        if request.path == "/alias" and shown and form["client_id"] == "c" and "client_secret" not in form:
            return web.json_response({"access_token": "t", "refresh_token": "r", "expires_in": 100})
        return web.json_response({"error": "invalid_client"}, status=200 if request.path == "/api" else 401)

    async with served(all_by(answer), ssl_context=tls) as origin:
        origin = origin.replace("http://127.0.0.1", "https://localhost")
        folder = tmp_path
        certificate = (folder / "client.crt", folder / "client.key") if pair else folder / "client.pem"
        app = OAuth2App(
            "c",
            None,
            f"{origin}/authorize",
            f"{origin}/token",
            client_auth=method,  # type: ignore[arg-type]
            certificate=certificate,
            mtls_aliases={"token_endpoint": f"{origin}/alias"},
        )
        user = await app.exchange_code("code", "", "", "http://127.0.0.1:8080")
        async with WebAPI(OAuth2(app, user)) as api:
            api.base_url = origin
            await api.get_json("/api")
        assert seen == [("/alias", True), ("/api", True)]


@pytest.mark.parametrize("content", [None, "", "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----"])
async def test_a_certificate_that_cannot_be_used_is_said_before_anything_is_sent(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "client.pem"
    if content is not None:
        path.write_text(content)
    app = OAuth2App("c", None, "https://p.example/a", "https://p.example/t", certificate=path)
    with pytest.raises(ConfigError, match=r"client\.pem") as caught:
        await app.exchange_code("code", "", "", "http://127.0.0.1:8080")
    assert "c2VjcmV0" not in str(caught.value)


# --- resource indicators (RFC 8707) ---

ONE, TWO = "https://api.example/one", "https://api.example/two"


@pytest.mark.parametrize("client_wide", [None, ONE, [ONE, TWO]])
@pytest.mark.parametrize("of_the_login", [None, TWO, [ONE, TWO]])
async def test_the_resource_is_in_the_login_the_exchange_and_every_refresh(
    practise: Practise, client_wide: Any, of_the_login: Any
) -> None:
    practice = await practise(resources=[ONE, TWO])
    practice.app.resource = client_wide
    login = practice.app.begin_login("http://127.0.0.1:8080", "notes", resource=of_the_login, now=practice.clock())
    redirect = await followed(login.url)
    kept = json.loads(json.dumps(login.to_dict()))
    user = await practice.app.finish_login(kept, redirect, now=practice.clock())
    user = type(user).from_json_obj(json.loads(json.dumps(user.to_dict())))
    await practice.app.refresh(None, user, now=practice.clock())
    wanted = of_the_login or client_wide or ""
    sent = [seen.parameters.get("resource", "") for seen in practice.provider.log]
    assert sent == [wanted if isinstance(wanted, str) else " ".join(wanted)] * 3


async def followed(url: str) -> str:
    import aiohttp

    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
        return str(answer.headers["Location"])


@pytest.mark.parametrize("resource", ["api.example", "https://api.example/#a", "https://api example/", [ONE, "x"]])
def test_what_is_not_a_resource_is_refused(resource: Any) -> None:
    app = OAuth2App("c", None, "https://p.example/a", "https://p.example/t")
    with pytest.raises(ConfigError, match="RFC 8707"):
        app.begin_login("http://127.0.0.1:8080", [], resource=resource)


async def test_a_resource_that_was_not_part_of_the_login_is_refused(practise: Practise) -> None:
    practice = await practise(resources=[ONE, TWO])
    practice.app.resource = ONE
    user = await practice.grant()
    with pytest.raises(SlyError, match="invalid_target") as caught:
        await practice.app.refresh(None, user, resource=TWO, now=practice.clock())
    assert not isinstance(caught.value, GrantEndedError)
