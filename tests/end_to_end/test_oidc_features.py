"""Every way to a token at a provider that others wrote, with all its features on, and what it refuses.

The rule: public names only; each refusal is the provider's own answer, and waiting is its clock moved on.
"""
from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey

from SlyAPI import ClientCredentials, OAuth2App, OAuth2User, TokenExchange
from SlyAPI.errors import ApiError, ConfigError, DeniedError, GrantEndedError, LoginEndedError, RedirectError, TokenError
from SlyAPI.oauth2 import DeviceLogin
from SlyAPI.web import Method, Request
from tests.end_to_end.oidc_server import OidcServer, running_server
from tests.end_to_end.plain_person import consents

API = "https://api.example"
SECRET = "a-secret-of-32-characters-or-more"
MACHINE = {"grant_types": ["client_credentials"], "redirect_uris": [], "response_types": []}
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


@dataclass(frozen=True)
class Everything:
    """The server with all features on, and the folder with the keys and certificates of its clients."""

    server: OidcServer
    folder: Path
    issuer: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "issuer", self.server.issuer)

    def path(self, name: str) -> str:
        return str(self.folder / name)


def make_key(folder: Path, name: str) -> dict[str, Any]:
    """The public JWK of a new key, whose PEM is written to the folder."""
    key = ECKey.generate_key("P-256", auto_kid=False)
    (folder / f"{name}.pem").write_bytes(key.as_pem(private=True))
    return {**key.as_dict(private=False), "kid": name, "alg": "ES256", "use": "sig"}


def make_certificate(folder: Path, name: str, ca: tuple[Any, Any] | None = None) -> tuple[Any, Any]:
    """A key and its certificate, signed by `ca`, or by itself; both are written to `NAME.crt`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, issuer_key = (ca[1].subject, ca[0]) if ca else (subject, key)
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=ca is None, path_length=None), critical=True)
    made = builder.serial_number(x509.random_serial_number()).sign(issuer_key, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.crt").write_bytes(private + made.public_bytes(Encoding.PEM))
    return key, made


def certificates(folder: Path) -> dict[str, Any]:
    """The TLS settings of the server, whose CA signs `client.crt` and `other.crt`; `alone.crt` signs itself."""
    ca = make_certificate(folder, "ca")
    for name in ("server", "client", "other"):
        make_certificate(folder, name, ca)
    make_certificate(folder, "alone")
    server = (folder / "server.crt").read_text()
    return {"cert": server, "key": server, "ca": ca[1].public_bytes(Encoding.PEM).decode()}


def self_signed(folder: Path) -> dict[str, Any]:
    """The JWK set that registers `alone.crt` (RFC 8705 §2.2.2)."""
    made = x509.load_pem_x509_certificate((folder / "alone.crt").read_bytes())
    pem = made.public_bytes(Encoding.PEM).decode()
    key = ECKey.import_key((folder / "alone.crt").read_bytes().split(b"-----BEGIN CERT")[0])
    return {"keys": [{**key.as_dict(private=False), "x5c": ["".join(pem.split("\n")[1:-2])]}]}


def clients(folder: Path) -> list[dict[str, Any]]:
    """The registrations of the clients that this module adds (RFC 7591 §2)."""
    machine = {**MACHINE, "client_secret": SECRET}
    return [
        {**machine, "client_id": "machine", "grant_types": ["client_credentials", EXCHANGE]},
        {**machine, "client_id": "other-machine"},
        {**machine, "client_id": "secret-jwt", "token_endpoint_auth_method": "client_secret_jwt"},
        {
            **MACHINE,
            "client_id": "key-jwt",
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [make_key(folder, "key")]},
        },
        {
            **MACHINE,
            "client_id": "tls",
            "token_endpoint_auth_method": "tls_client_auth",
            "tls_client_auth_subject_dn": "CN=client",
            "tls_client_certificate_bound_access_tokens": True,
        },
        {
            **MACHINE,
            "client_id": "self-signed",
            "token_endpoint_auth_method": "self_signed_tls_client_auth",
            "tls_client_certificate_bound_access_tokens": True,
            "jwks": self_signed(folder),
        },
        {
            "client_id": "device",
            "token_endpoint_auth_method": "none",
            "application_type": "native",
            "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
            "redirect_uris": [],
            "response_types": [],
        },
        {
            "client_id": "pushing",
            "token_endpoint_auth_method": "none",
            "application_type": "native",
            "grant_types": ["authorization_code", "refresh_token"],
            "redirect_uris": ["http://127.0.0.1:8080/"],
            "require_pushed_authorization_requests": True,
            "dpop_bound_access_tokens": True,
        },
    ]


@pytest_asyncio.fixture
async def everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Everything]:
    """The running server with everything switched on; its CA is the one that this process trusts."""
    tls = certificates(tmp_path)
    (tmp_path / "trusted.pem").write_text(tls["ca"])
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    settings = {"tls": tls, "initial_access_token": "an-initial-access-token"}
    async with running_server(everything=settings, more_clients=clients(tmp_path)) as server:
        yield Everything(server, tmp_path)


async def machine(everything: Everything, id: str = "machine", secret: str | None = SECRET, **more: Any) -> OAuth2App:
    return await OAuth2App.discover(everything.issuer, id, secret, **{"resource": API, **more})


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
    assert "grant" not in caught.value.next_step.casefold()


async def test_only_a_client_that_authenticates_may_ask_about_a_token_or_end_another_ones(
    everything: Everything,
) -> None:
    app = await machine(everything)
    user = await app.request_token(["notes"])
    with pytest.raises(TokenError, match="invalid_client"):
        await (await machine(everything, secret="another")).introspect(user.token)
    other = await machine(everything, "other-machine")
    with pytest.raises(TokenError):
        await other.revoke(user)
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


@pytest.mark.parametrize(("kind", "shown"), [("tls", "client.crt"), ("self-signed", "alone.crt")])
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
    [("tls", None), ("tls", "other.crt"), ("tls", "alone.crt"), ("self-signed", None), ("self-signed", "client.crt")],
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


# --- registration and its management (RFC 7591, RFC 7592) ---


async def registered(everything: Everything, **more: Any) -> OAuth2App:
    token = "an-initial-access-token"
    return await OAuth2App.register(
        everything.issuer, **{"client_name": "Weather", "initial_access_token": token, **more}
    )


async def test_a_client_registers_works_changes_and_ends(everything: Everything) -> None:
    made = await registered(everything)
    app = OAuth2App.from_json_obj(json.loads(json.dumps(made.to_dict())))
    assert (await app.request_token(["notes"], resource=API)).scopes == ["notes"]

    before = app.registration_access_token
    changed = await app.update_registration(client_name="Tides", token_endpoint_auth_method="client_secret_post")
    assert (changed.id, changed.secret) == (app.id, app.secret)
    assert changed.registration_access_token != before
    user = await changed.request_token(["notes"], resource=API)
    with pytest.raises(TokenError, match="invalid_client"):
        await app.request_token(["notes"], resource=API)

    await changed.delete_registration()
    with pytest.raises(TokenError, match="invalid_client"):
        await changed.request_token(["notes"], resource=API)
    with pytest.raises(TokenError, match="invalid_client"):
        await changed.introspect(user.token)


async def test_a_registration_that_was_revoked_or_whose_token_was_renewed_cannot_be_changed(
    everything: Everything,
) -> None:
    app = await registered(everything, redirect_uris=["http://127.0.0.1:8080/"])
    kept = app.to_dict()
    app = await app.update_registration(client_name="Tides")
    for stale in (OAuth2App.from_json_obj(kept), app):
        if stale is app:
            await app.delete_registration()
        with pytest.raises(TokenError) as caught:
            await stale.update_registration(client_name="Waves")
        assert (caught.value.status, caught.value.error) == (401, "invalid_token")
        with pytest.raises(TokenError):
            await stale.delete_registration()


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"initial_access_token": None}, "invalid_token"),
        ({"initial_access_token": "another"}, "invalid_token"),
        ({"redirect_uris": ["http://weather.example/"], "application_type": "native"}, "invalid_redirect_uri"),
        ({"grant_types": ["magic"]}, "invalid_client_metadata"),
    ],
    ids=["no token", "another token", "redirect", "grant type"],
)
async def test_a_registration_is_refused_by_name(everything: Everything, more: dict[str, Any], error: str) -> None:
    with pytest.raises(TokenError) as caught:
        await registered(everything, **more)
    assert caught.value.error == error
    assert "an-initial-access-token" not in str(caught.value)


# --- the device flow (RFC 8628) ---


class Waiting:
    """Time that passes on both sides alike when SlyAPI waits; `waited` are the seconds, `then` happens after some."""

    def __init__(self, server: OidcServer, then: dict[int, Callable[[], Awaitable[object]]] | None = None) -> None:
        self.server, self.then, self.later = server, then or {}, 0.0
        self.waited: list[float] = []

    def clock(self) -> float:
        return time.time() + self.later

    async def sleep(self, seconds: float) -> None:
        await self.server.later(math.ceil(seconds))
        self.later += math.ceil(seconds)
        self.waited.append(round(seconds, 1))
        if len(self.waited) in self.then:
            await self.then[len(self.waited)]()


async def errors_of(everything: Everything) -> list[str | None]:
    return [entry["error"] for entry in await everything.server.log()]


async def begin(everything: Everything) -> tuple[OAuth2App, DeviceLogin]:
    app = await machine(everything, "device", None)
    device = await app.begin_device("notes offline_access")
    return app, DeviceLogin.from_dict(json.loads(json.dumps(device.to_dict())))


async def test_a_person_who_takes_long_consents_on_another_device(everything: Everything) -> None:
    app, device = await begin(everything)
    assert device.verification_uri_complete is not None
    complete = device.verification_uri_complete
    waiting = Waiting(everything.server, {60: lambda: consents(complete)})
    user = await app.finish_device(device, clock=waiting.clock, sleep=waiting.sleep)
    assert user.scopes == ["notes"]
    assert waiting.waited == [5.0] * 60
    assert await errors_of(everything) == ["authorization_pending"] * 59 + [None]

    with pytest.raises(TokenError, match="invalid_grant"):
        await app.finish_device(device, clock=waiting.clock, sleep=waiting.sleep)


async def test_slow_down_makes_every_later_wait_longer(everything: Everything) -> None:
    app, device = await begin(everything)
    hasty = replace(device, interval=2.0)
    waiting = Waiting(everything.server, {5: lambda: consents(str(device.verification_uri_complete))})
    await app.finish_device(hasty, clock=waiting.clock, sleep=waiting.sleep)
    pending = "authorization_pending"
    assert await errors_of(everything) == [pending, "slow_down", pending, pending, None]
    assert waiting.waited == [2.0, 2.0, 7.0, 7.0, 7.0]


async def test_a_code_that_nobody_enters_expires(everything: Everything) -> None:
    app, device = await begin(everything)
    waiting = Waiting(everything.server)
    with pytest.raises(LoginEndedError):
        await app.finish_device(device, clock=waiting.clock, sleep=waiting.sleep)
    assert sum(waiting.waited) == pytest.approx(600, abs=5)
    with pytest.raises(TokenError) as caught:  # to a program whose clock is late; this provider has forgotten the code
        await app.finish_device(device, clock=lambda: 0.0, sleep=waiting.sleep)
    assert (caught.value.error, caught.value.kind) == ("invalid_grant", "permanent")


async def test_a_person_who_aborts_on_another_device_ends_the_login(everything: Everything) -> None:
    app, device = await begin(everything)
    complete = str(device.verification_uri_complete)
    waiting = Waiting(everything.server, {2: lambda: consents(complete, abort=True)})
    with pytest.raises(DeniedError) as caught:
        await app.finish_device(device, clock=waiting.clock, sleep=waiting.sleep)
    assert caught.value.denied


async def test_a_device_login_for_a_wrong_resource_or_by_a_wrong_client_does_not_begin(
    everything: Everything,
) -> None:
    app = await machine(everything, "device", None)
    with pytest.raises(TokenError, match="invalid_target"):
        await app.begin_device("notes", resource="https://another.example")
    with pytest.raises(TokenError, match="invalid_client"):
        await (await machine(everything, "nobody", None)).begin_device("notes")
    with pytest.raises(TokenError):
        await (await machine(everything)).begin_device("notes")


# --- pushed requests (RFC 9126) and proof of possession (RFC 9449) ---

REDIRECT = "http://127.0.0.1:8080/"


async def pushing(everything: Everything, **more: Any) -> OAuth2App:
    return await machine(everything, "pushing", None, **{"resource": None, "dpop": True, "require_par": True, **more})


async def sign_in(app: OAuth2App, scopes: str = "openid offline_access") -> OAuth2User:
    login = await app.push_login(REDIRECT, scopes, prompt="consent")
    kept = json.loads(json.dumps(login.to_dict()))
    return await app.finish_login(kept, await consents(login.url, until=REDIRECT))


async def test_a_pushed_sign_in_gives_tokens_of_one_key_through_refresh_and_restart(everything: Everything) -> None:
    app = await pushing(everything)
    user = await sign_in(app)
    asked = [(entry["endpoint"], entry["error"]) for entry in await everything.server.log(None)]
    pushed = "pushed_authorization_request"
    assert asked == [(pushed, "use_dpop_nonce"), (pushed, None), ("token", None)], "a nonce costs one request, once"
    assert user.token_type == "DPoP"
    assert (await app.userinfo(user))["sub"] == "alice"
    again = OAuth2App.from_json_obj(json.loads(json.dumps(app.to_dict())))
    fresh = await again.refresh(None, OAuth2User.from_json_obj(json.loads(json.dumps(user.to_dict()))))
    assert fresh.dpop_key == user.dpop_key
    assert (await again.userinfo(fresh))["sub"] == "alice"
    await again.revoke(fresh)
    with pytest.raises(GrantEndedError):
        await again.refresh(None, fresh)


async def test_a_token_with_another_key_or_none_is_refused(everything: Everything) -> None:
    app = await pushing(everything)
    user = await sign_in(app)
    stolen = OAuth2User.from_json_obj({**user.to_dict(), "dpop_key": (await sign_in(app)).to_dict()["dpop_key"]})
    with pytest.raises(ApiError) as caught:
        await app.userinfo(stolen)
    assert caught.value.status == 401
    with pytest.raises(GrantEndedError, match="invalid_grant"):
        await app.refresh(None, stolen)
    with pytest.raises(TokenError):
        await sign_in(await pushing(everything, dpop=False))


async def test_a_pushed_request_is_refused_when_pushed_or_ends_when_its_time_is_over(everything: Everything) -> None:
    app = await pushing(everything)
    with pytest.raises(TokenError):
        await app.push_login("http://127.0.0.1:8080/elsewhere", ["openid"])
    with pytest.raises(TokenError, match="invalid_client"):
        await (await machine(everything, "nobody", None)).push_login(REDIRECT, ["openid"])
    with pytest.raises(TokenError, match="invalid_target"):
        await app.push_login(REDIRECT, ["openid"], resource="https://another.example")
    login = await app.push_login(REDIRECT, ["openid"])
    assert login.expires_at is not None
    await everything.server.later(61)
    with pytest.raises(RedirectError):
        await app.finish_login(login, await consents(login.url, until=REDIRECT))


async def test_a_client_that_must_push_is_refused_without(everything: Everything) -> None:
    login = (await pushing(everything, require_par=False)).begin_login(REDIRECT, ["openid"])
    with pytest.raises(RedirectError):
        await (await pushing(everything)).finish_login(login, await consents(login.url, until=REDIRECT))
    with pytest.raises(ConfigError):
        (await pushing(everything)).begin_login(REDIRECT, ["openid"])
