"""The readers of what endpoints answer apart from the token endpoint: metadata, registration, device, introspection.

The rule is that of `promise`; what was read is also used as the library uses it, and survives its own file.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC
from typing import Any
from urllib.parse import urlsplit

from SlyAPI.errors import SlyError, TokenError
from SlyAPI.oauth1 import OAuth1App, OAuth1User
from SlyAPI.oauth1.grant import read_access_reply, read_redirect, read_temporary_reply
from SlyAPI.oauth1.user import TemporaryCredentials
from SlyAPI.oauth2 import OAuth2App
from SlyAPI.oauth2.client.discovery import client_settings, merged, metadata_requests, read_metadata
from SlyAPI.oauth2.messages.device import DeviceLogin, after_refusal, read_device_reply
from SlyAPI.oauth2.messages.dpop import Nonces, proof_error
from SlyAPI.oauth2.messages.introspection import read_introspection_reply
from SlyAPI.oauth2.messages.protected_resource import metadata_places, read_resource_metadata
from SlyAPI.oauth2.messages.pushed_request import pushed_url, read_pushed_reply
from SlyAPI.oauth2.messages.registration import client_metadata, read_deletion, read_registration, registered_settings
from SlyAPI.oauth2.messages.revocation import read_revocation_reply
from SlyAPI.web.secret_values import Secrets
from tests.fuzz.promise import NOW, PLANTED, Target, as_json, as_replies, check_error, json_of, reply_of

SENT = Secrets((PLANTED,))
ISSUER = "https://provider.example"
RESOURCE = "https://api.example/v1"
LOOPBACK = "http://127.0.0.1:0"


def check_kept(app: OAuth2App) -> None:
    """A client that was learned is the same after its file was read."""
    saved = json.dumps(app.to_dict())
    assert json.dumps(OAuth2App.from_json_obj(json.loads(saved)).to_dict()) == saved


# --- an issuer's metadata ---


def check_metadata(data: bytes) -> None:
    try:
        found = read_metadata(reply_of(data), ISSUER)
        if found is None:
            return
        learned = client_settings(merged([found], ISSUER))
        described = client_metadata("A client", [LOOPBACK], "a", server=found)
        app = OAuth2App(**{**learned, "id": "some-id", "secret": None})
    except SlyError as error:
        return check_error(error)
    json.dumps(described)
    assert described["redirect_uris"] == [LOOPBACK]
    if app.auth_uri:
        check_kept(app)


METADATA: dict[str, object] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/a",
    "token_endpoint": f"{ISSUER}/t",
    "registration_endpoint": f"{ISSUER}/r",
    "jwks_uri": f"{ISSUER}/j",
}
DOCUMENTS: list[object] = [
    METADATA,
    METADATA
    | {
        "authorization_response_iss_parameter_supported": True,
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": ["ES256", None],
        "grant_types_supported": ["authorization_code"],
        "id_token_signing_alg_values_supported": ["ES256", "EdDSA"],
        "mtls_endpoint_aliases": {"token_endpoint": f"{ISSUER}/m"},
        "require_pushed_authorization_requests": True,
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
    },
    METADATA | {"grant_types_supported": None, "token_endpoint_auth_methods_supported": "none"},
    METADATA | {"introspection_endpoint": "http://localhost:1/", "mtls_endpoint_aliases": [1]},
    METADATA | {"issuer": f"{ISSUER}/"},
    {"issuer": ISSUER},
    [METADATA],
]


def check_issuer(data: bytes) -> None:
    """An issuer that a resource's metadata name."""
    issuer = data.decode("utf-8", "surrogateescape")
    try:
        requests = metadata_requests(issuer)
    except SlyError as error:
        return check_error(error)
    assert requests
    assert all(request.url.startswith(("https://", "http://")) for request in requests)


ISSUERS = ["https://provider.example/tenant/", "https://[::1]:8/a//b", "http://localhost:1", "https://a?b", "https:///"]


# --- a resource's metadata: a line that a challenge names, then the reply ---


def check_resource(data: bytes) -> None:
    named, _, rest = data.partition(b"\n")
    try:
        places = metadata_places(RESOURCE, named.decode("utf-8", "surrogateescape") or None)
    except SlyError as error:
        return check_error(error)
    for place in places:
        assert urlsplit(place.request.url.lower())[:2] == ("https", "api.example")
        try:
            found = read_resource_metadata(reply_of(rest), place)
        except SlyError as error:
            check_error(error)
        else:
            assert found is None or found.resource in place.resources
            assert found is None or all(isinstance(text, str) for text in (*found.issuers, *found.scopes))


RESOURCES: list[object] = [
    {"resource": RESOURCE, "authorization_servers": [ISSUER], "scopes_supported": ["a", "b"]},
    {"resource": RESOURCE, "authorization_servers": [1], "dpop_bound_access_tokens_required": True},
    {"resource": "https://api.example", "authorization_servers": None, "scopes_supported": {"a": 1}},
    {"resource": PLANTED},
]
NAMED = [b"", b"https://api.example/.well-known/oauth-protected-resource/v1", b"https://api.example/x", b"https://b/"]


# --- a registration ---


def check_registration(data: bytes) -> None:
    asked = client_metadata("A client", [LOOPBACK], "a")
    reply = reply_of(data)
    with suppress(TokenError):
        read_deletion(reply, SENT)
    try:
        registered = read_registration(reply, asked, SENT)
        settings = registered_settings(registered)
        learned = {"auth_uri": f"{ISSUER}/a", "token_uri": f"{ISSUER}/t"}
        app = OAuth2App(**{"secret": None, **learned, **settings})
    except SlyError as error:
        return check_error(error, PLANTED)
    if app.secret:
        assert app.secret not in repr(app).replace(repr(app.id), "")
    check_kept(app)


REGISTERED: dict[str, object] = {
    "client_id": "some-id",
    "client_secret": "a-client-secret",
    "redirect_uris": [LOOPBACK],
    "registration_access_token": "a-token",
    "registration_client_uri": f"{ISSUER}/r/some-id",
}
REGISTRATIONS: list[object] = [
    REGISTERED,
    REGISTERED | {"token_endpoint_auth_method": "none", "client_secret": None, "scope": "a b"},
    REGISTERED | {"id_token_signed_response_alg": 1, "dpop_bound_access_tokens": True, "redirect_uris": [LOOPBACK, 2]},
    REGISTERED | {"token_endpoint_auth_method": "private_key_jwt", "scope": ["a"], "client_secret": {"a": 1}},
    REGISTERED | {"client_id": "", "redirect_uris": None},
    REGISTERED | {"registration_client_uri": ["x"], "registration_access_token": 1},
]


# --- a login on another device, kept across a restart; a poll that is refused ---


def check_device(data: bytes) -> None:
    reply = reply_of(data, {"Retry-After": "7"})
    try:
        login = read_device_reply(reply, now=NOW, scopes=["a"], secrets=SENT)
    except SlyError as error:
        check_error(error, PLANTED)
        with suppress(SlyError):
            slower, wait = after_refusal(SAVED_DEVICE, error, 5.0)
            assert wait >= 5.0
            assert slower.interval >= 5.0
        return
    check_device_login(login)
    assert 0 < login.interval <= 120
    assert NOW < login.expires_at.timestamp() <= NOW + 86400


def check_device_login(login: DeviceLogin) -> None:
    kept = json.dumps(login.to_dict())
    again = DeviceLogin.from_dict(json.loads(kept))
    assert json.dumps(again.to_dict()) == kept
    assert login.expires_at.utcoffset() == UTC.utcoffset(None)


def check_kept_device(data: bytes) -> None:
    value: Any = json_of(data)
    try:
        login = DeviceLogin.from_dict(value)
    except SlyError as error:
        return check_error(error, PLANTED)
    check_device_login(login)


DEVICE: dict[str, object] = {
    "device_code": "a-code",
    "user_code": "WDJB-MJHT",
    "verification_uri": f"{ISSUER}/device",
    "expires_in": 1800,
    "interval": 5,
}
DEVICES: list[object] = [
    DEVICE,
    DEVICE | {"verification_uri_complete": f"{ISSUER}/device?c=1", "interval": "1e9", "expires_in": "30"},
    DEVICE | {"verification_uri": "javascript:1", "verification_url": f"{ISSUER}/d"},
    DEVICE | {"user_code": "\u202e\x1b[2J", "verification_uri_complete": 1, "interval": -1, "expires_in": 1e300},
    {"error": "slow_down"},
    {"error": "authorization_pending"},
]
SAVED_DEVICE = DeviceLogin.from_dict(DEVICE | {"expires_at": NOW + 600, "interval": 5})
KEPT_DEVICES: list[object] = [
    SAVED_DEVICE.to_dict(),
    SAVED_DEVICE.to_dict() | {"resource": ["a"], "scopes": None, "interval": "NaN"},
    SAVED_DEVICE.to_dict() | {"expires_at": 1e300, "scopes": "ab", "device_code": PLANTED},
    [1],
]


# --- introspection, revocation, pushed requests ---


def check_introspection(data: bytes) -> None:
    reply = reply_of(data)
    try:
        info = read_introspection_reply(reply, SENT)
    except SlyError as error:
        check_error(error, PLANTED)
    else:
        texts = (info.client_id, info.username, info.subject)
        assert all(text is None or isinstance(text, str) for text in texts)
        assert info.expires_at is None or info.expires_at.utcoffset() == UTC.utcoffset(None)
        assert info.active or not (info.scopes or info.extra)
    try:
        read_revocation_reply(reply, SENT)
    except SlyError as error:
        check_error(error, PLANTED)


TOKENS: list[object] = [
    {"active": True, "scope": "a b", "client_id": "c", "username": "u", "sub": "s", "exp": 1_900_000_000, "x": [1]},
    {"active": True, "scope": ["a"], "client_id": 1, "exp": "2031-01-01T00:00:00Z", "error": "e"},
    {"active": False, "sub": PLANTED},
    {"active": "true", "exp": 1e300},
]


def check_pushed(data: bytes) -> None:
    reply = reply_of(data)
    proof_error(reply)
    try:
        uri, expires_in = read_pushed_reply(reply, SENT)
    except SlyError as error:
        return check_error(error, PLANTED)
    url = pushed_url(f"{ISSUER}/a?b=c", "some-id", uri)
    assert url.startswith(f"{ISSUER}/a?b=c&client_id=some-id&request_uri=")
    assert url.isprintable()
    assert " " not in url
    assert expires_in is None or isinstance(expires_in, float | int)


PUSHED: list[object] = [
    {"request_uri": "urn:ietf:params:oauth:request_uri:abc", "expires_in": 60},
    {"request_uri": "a b", "expires_in": "x"},
    {"request_uri": "\u00e4", "expires_in": -1e300},
    {"error": "use_dpop_nonce"},
]


# --- a server's DPoP nonce: a line of it, then a challenge ---


def check_nonce(data: bytes) -> None:
    nonce, _, challenge = data.decode("utf-8", "surrogateescape").partition("\n")
    nonces, url, headers = Nonces(), f"{RESOURCE}/me", {"DPoP-Nonce": nonce, "WWW-Authenticate": challenge}
    asked = nonces.asked_for(url, headers)
    kept = nonces.of(url)
    assert nonces.take(url, headers) is (kept is not None)
    assert not asked or kept is not None
    assert kept is None or (kept == nonce and kept.isascii() and kept.isprintable())
    assert nonces.of("https://other.example/") is None


NONCES = [
    'abc\nDPoP error="use_dpop_nonce"',
    '\u00e4\nDPoP error="use_dpop_nonce", algs="ES256"',
    "a" * 1025 + "\nDPoP",
]


# --- OAuth 1: replies are forms; the redirect; files of client and user ---

TEMPORARY = TemporaryCredentials("a-temporary-key", "a-temporary-secret")


def check_oauth1_reply(data: bytes) -> None:
    reply = reply_of(data)
    for read in (read_temporary_reply, read_access_reply):
        try:
            found = read(reply, secrets=SENT, now=NOW)
        except SlyError as error:
            check_error(error, PLANTED)
        else:
            assert found.key
            assert found.key.isprintable()
            assert found.secret.isprintable()


OAUTH1_REPLIES = [
    b"\0\1oauth_token=a&oauth_token_secret=b&oauth_callback_confirmed=true",
    b"\0\0oauth_token=a&oauth_token_secret=&oauth_callback_confirmed=True&x=" + b"y&" * 20,
    b"\0\1oauth_token=a&oauth_token=b&oauth_token_secret=%0d",
    b"\6\1oauth_problem=timestamp_refused&oauth_token_secret=" + PLANTED.encode(),
    b"\0\1oauth_problem=consumer_key_unknown",
]


def check_oauth1_redirect(data: bytes) -> None:
    try:
        verifier = read_redirect(data.decode("utf-8", "surrogateescape"), TEMPORARY)
    except SlyError as error:
        check_error(error, TEMPORARY.secret)
    else:
        assert verifier
        assert TEMPORARY.key in data.decode("utf-8", "surrogateescape") or b"%" in data


OAUTH1_REDIRECTS = [
    f"oauth_token={TEMPORARY.key}&oauth_verifier=v",
    f"http://127.0.0.1:1/?oauth_token={TEMPORARY.key}&oauth_problem=user_refused%1b&oauth_verifier=v",
    f"?denied={TEMPORARY.key}",
    "oauth_token=other&oauth_verifier=v",
]


def check_oauth1_files(data: bytes) -> None:
    value = json_of(data)
    for read in (OAuth1App.from_json_obj, OAuth1User.from_json_obj):
        try:
            found: OAuth1App | OAuth1User = read(value)
        except SlyError as error:
            check_error(error, PLANTED)
        else:
            assert found.secret.isprintable()
            assert PLANTED not in repr(found) or found.key == PLANTED


OAUTH1_FILES: list[object] = [
    {"key": "k", "secret": PLANTED, "request_uri": f"{ISSUER}/r", "authorize_uri": f"{ISSUER}/a", "access_uri": None},
    {"key": "k", "secret": PLANTED},
    {"oauth_token": "a", "oauth_token_secret": PLANTED},
    {"key": [1], "secret": PLANTED, "request_uri": 1},
]


TARGETS = {
    "metadata": Target(check_metadata, as_replies(DOCUMENTS)),
    "issuer": Target(check_issuer, [text.encode() for text in ISSUERS]),
    "resource": Target(check_resource, [n + b"\n" + r for n in NAMED for r in as_replies(RESOURCES, refusals=False)]),
    "registration": Target(check_registration, as_replies(REGISTRATIONS)),
    "device": Target(check_device, as_replies(DEVICES)),
    "kept_device": Target(check_kept_device, as_json(KEPT_DEVICES)),
    "introspection": Target(check_introspection, as_replies(TOKENS)),
    "pushed": Target(check_pushed, as_replies(PUSHED)),
    "nonce": Target(check_nonce, [text.encode() for text in NONCES]),
    "oauth1_reply": Target(check_oauth1_reply, OAUTH1_REPLIES),
    "oauth1_redirect": Target(check_oauth1_redirect, [text.encode() for text in OAUTH1_REDIRECTS]),
    "oauth1_files": Target(check_oauth1_files, as_json(OAUTH1_FILES)),
}
