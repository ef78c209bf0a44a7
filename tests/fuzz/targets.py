"""What every reader of foreign bytes promises, as a function of any bytes; `samples` are where a fuzzer begins.

The rule is that of `promise`: a right result, or an error of ours.
"""
from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC
from pathlib import Path
from urllib.parse import quote, unquote_plus, urlencode

from SlyAPI.errors import SlyError
from SlyAPI.oauth2 import OAuth2App, OAuth2User
from SlyAPI.oauth2.client.login import Login
from SlyAPI.oauth2.messages.authorization_code import read_redirect
from SlyAPI.oauth2.messages.jose import load_signing_key
from SlyAPI.oauth2.messages.token_endpoint import read_token_reply
from SlyAPI.params import as_form, as_query
from SlyAPI.redirect.loopback_http import LONGEST_HEAD, Head, Refusal, read_head
from SlyAPI.tokens.times import expiry, from_epoch, read_time, refresh_expiry, write_time
from SlyAPI.web import Reply
from SlyAPI.web.challenges import next_step, read_challenges
from SlyAPI.web.masking import masked
from SlyAPI.web.messages import retry_after, skew
from SlyAPI.web.secret_values import Secrets
from tests.fuzz import api, endpoints, signed
from tests.fuzz.promise import (
    NOW,
    OLD,
    PLANTED,
    STATE,
    STATUSES,
    TYPES,
    Target,
    as_json,
    check_error,
    json_of,
)
from tests.fuzz.token_targets import TOKEN_TARGETS

# --- the token endpoint's reply: a byte for the status, a byte for the rest of the circumstances, the body ---

def check_token_reply(data: bytes) -> None:
    if len(data) < 2:
        return
    headers = {"Content-Type": TYPES[data[1] % len(TYPES)], "X-Echo": PLANTED}
    reply = Reply(STATUSES[data[0] % len(STATUSES)], headers, data[2:], "https://provider.example/token?a=b")
    previous = OLD if data[1] & 0x80 else None
    try:
        user = read_token_reply(reply, now=NOW, previous=previous, secrets=Secrets((PLANTED, "x")))
    except SlyError as error:
        check_error(error, PLANTED)
    else:
        assert user.token_type == "Bearer"
        check_user(user)


def token_reply_samples() -> Iterator[bytes]:
    for path in sorted((Path(__file__).parent.parent / "samples").glob("*.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        kind = next((number for number, name in enumerate(TYPES) if name[:16] in str(told["headers"])), 3)
        for previous in (0, 0x80):
            head = bytes([STATUSES.index(told["status"]) if told["status"] in STATUSES else 5, previous])
            yield head[:1] + bytes([previous + (kind - previous) % len(TYPES)]) + told.get("body", "").encode()
    for echo in (PLANTED, quote(PLANTED, safe=""), json.dumps(PLANTED).replace("/", "\\/")[1:-1]):
        yield b"\x05\x80" + json.dumps({"error": "invalid_grant", "error_description": echo}).encode()
        yield b"\x05\x02" + json.dumps({"error": echo, "message": echo}).encode("utf-16")
        yield b"\x00\x00" + json.dumps({"access_token": echo, "token_type": echo, "scope": [echo]}).encode()


# --- user and client files ---


def check_user(user: OAuth2User) -> None:
    """Fit to be sent, and the same after it was written and read."""
    assert user.token.isascii()
    assert user.token.isprintable()
    assert " " not in user.token
    assert PLANTED not in repr(user) or PLANTED in str(user.scopes)
    saved = json.loads(json.dumps(user.to_dict()))
    again = OAuth2User.from_json_obj(saved)
    assert again == user or "NaN" in json.dumps(saved)  # Python's NaN, which is not equal to itself
    assert json.dumps(again.to_dict()) == json.dumps(saved)
    if user.dpop_key is not None:
        try:
            load_signing_key(user.dpop_key)
        except SlyError as error:
            check_error(error, PLANTED)


_folder = tempfile.TemporaryDirectory()
_file = Path(_folder.name, "user.json")


def check_user_file(data: bytes) -> None:
    _file.write_bytes(data)
    try:
        user = OAuth2User.from_json_file(_file)
    except SlyError as error:
        check_error(error, PLANTED)
    else:
        check_user(user)


USER = {"token": PLANTED, "refresh_token": PLANTED, "expires_at": "2031-01-01T00:00:00.000000Z", "token_type": "Bearer"}
USER_FILES: list[object] = [
    USER | {"scopes": ["a", "b"]},
    USER | {"scopes": "a b", "requested_scopes": ["a"], "client_auth": "basic", "more": {"kept": [1.5, None]}},
    USER | {"expires_at": 1_900_000_000, "refresh_expires_at": "2031-01-01T00:00:00+01:00", "client_auth": "none"},
    {"access_token": PLANTED, "expires_in": 3600, "created_at": 1_700_000_000, "token_type": PLANTED},
    {"access_token": PLANTED, "refresh_token_expires_in": "9", "scope": "a,b", "authed_user": {}},
    {"authed_user": {"access_token": PLANTED}, "access_token": ""},
    {"token": PLANTED, "expiry": "2031", "token_uri": "https://provider.example"},
    {"type": "authorized_user", "client_id": PLANTED},
    {"key": PLANTED, "secret": PLANTED},
    USER | {"identity": {"issuer": "https://p.example", "subject": "s", "claims": {"a": [1]}}, "id_token": PLANTED},
    USER | {"identity": {"issuer": "", "subject": 1, "claims": None}, "dpop_key": {"kty": "EC", "d": PLANTED}},
    USER | {"identity": {"issuer": "i", "subject": "s", "claims": {}, "authenticated_at": "2031-01-01T00:00:00Z"}},
    USER | {"token_type": "DPoP", "dpop_key": signed.PRIVATE_JWK, "id_token": [1]},
]


def check_app(data: bytes) -> None:
    try:
        app = OAuth2App.from_json_obj(json_of(data))
    except SlyError as error:
        return check_error(error, PLANTED)
    assert PLANTED not in repr(app).replace(repr(app.id), "")
    saved = json.dumps(app.to_dict())
    assert json.dumps(OAuth2App.from_json_obj(json.loads(saved)).to_dict()) == saved
    try:
        wanted = app.auth_url_with_pkce("http://127.0.0.1:8080", STATE, "a b")
    except SlyError as error:
        return check_error(error, PLANTED)
    assert wanted.url.startswith(("https://", "http://"))
    assert wanted.url.isprintable()
    assert " " not in wanted.url
    assert wanted.state == STATE + wanted.challenge


URIS = {"auth_uri": "https://provider.example/a?b=c", "token_uri": "https://provider.example/t"}
APP = {"id": "some-id", "secret": PLANTED, **URIS}
GOOGLE = {"client_id": "some-id", "client_secret": PLANTED, "redirect_uris": ["http://localhost"], **URIS}
APP_FILES: list[object] = [
    APP | {"scopes": "a b", "auth_params": {"access_type": "offline", "prompt": None}, "pkce": False},
    APP | {"client_auth": PLANTED, "redirect_uri": "http://localhost:8080", "issuer": "https://provider.example"},
    APP | {"auth_uri": PLANTED, "iss_in_redirect": True, "revoke_uri": "https://[::1]:1/r"},
    APP | {"token_uri": "http://127.0.0.1:9/t", "auth_uri": "http://user@host.example:0/"},
    {"installed": GOOGLE},
    {"web": GOOGLE | {"token_endpoint_auth_method": "client_secret_basic"}},
    APP | {"resource": ["https://r.example/"], "mtls_aliases": {"token_endpoint": "https://m.example/"}, "dpop": True},
    APP | {"key": "key.pem", "key_id": "1", "key_alg": "ES256", "certificate": ["a.pem", "b.pem"], "profile": "x"},
    APP | {"jwks_uri": "https://p.example/j", "id_token_alg": ["RS256", "ES256"], "dpop_algs": [], "require_par": True},
    APP | {"registration_access_token": PLANTED, "registration_client_uri": "https://p.example/r", "pkce_offered": 1},
    APP | {"id_token_alg": 1, "certificate": [1], "key": f"-----BEGIN {PLANTED}", "mtls_aliases": {"a": PLANTED}},
    APP | {"par_uri": "http://p.example", "device_uri": 1, "userinfo_uri": "", "logout_uri": "https://p.example/#a"},
    {"type": "service_account", "private_key": PLANTED},
    [USER],
]


# --- the browser's redirect ---


def check_redirect(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with_code = f"code={quote(PLANTED)}&{text}"
    for query, issuer, required in ((text, None, False), (with_code, None, False), (text, "https://p.example", True)):
        try:
            code = read_redirect(query, state=STATE, issuer=issuer, issuer_required=required)
        except SlyError as error:
            check_error(error, STATE, *([PLANTED] if query is with_code else []))
        else:
            assert code.isascii()
            assert code.isprintable()
            assert STATE in unquote_plus(text)
            again = urlencode({"code": code, "state": STATE, "iss": issuer or ""})
            assert read_redirect(again, state=STATE, issuer=issuer, issuer_required=required) == code


SENT_BACK = urlencode({"code": PLANTED, "state": STATE})
REDIRECTS = [
    SENT_BACK,
    f"http://127.0.0.1:8080/?{SENT_BACK}&iss=https://p.example&scope=a+https://x.example/?b#top",
    f"code=1&{SENT_BACK}",
    f"?error=access_denied&error_description=no%1b[2J&state={STATE}",
    f"error=invalid_scope&error_uri=x&state={STATE}&iss=https%3A%2F%2Fevil.example",
    f"error={quote(PLANTED)}&{SENT_BACK}&error_description={STATE}",
]


# --- what a session kept of a login ---


def check_login(data: bytes) -> None:
    told = json_of(data)
    try:
        login = Login.from_dict(told)
    except SlyError as error:
        return check_error(error, PLANTED)
    assert PLANTED not in repr(login).replace(repr(login.scopes), "")
    kept = json.dumps(login.to_dict())
    assert json.dumps(Login.from_dict(json.loads(kept)).to_dict()) == kept
    assert len(kept) < 1 << 25


KEPT = {
    "state": STATE,
    "verifier": "v" * 43,
    "redirect_uri": "https://app.example/callback",
    "scopes": ["a", "b"],
    "client_id": "some-id",
    "issuer": "https://provider.example",
    "began_at": NOW,
}
LOGINS: list[object] = [KEPT, KEPT | {"issuer": None, "verifier": "", "next": PLANTED}, KEPT | {"state": PLANTED}, None]


# --- what a stranger says to the loopback listener: a byte for the size of the pieces, then what it says ---


def check_head(data: bytes) -> None:
    raw = data[1:]
    step = max(1 + (data[0] if data else 0) * 8, len(raw) // 64)
    whole = read_head(raw)
    for end in range(step, len(raw), step):
        part = read_head(raw[:end])
        if isinstance(part, Head):
            assert part == whole
        if isinstance(part, Refusal):  # of another size maybe, but never taken back
            assert isinstance(whole, Refusal)
    if isinstance(whole, Refusal):
        assert whole.status in (400, 431)
    elif whole is None:
        assert len(raw) < LONGEST_HEAD
    else:
        target = f"{whole.method}{whole.path}{whole.query}"
        assert target.isascii()
        assert target.isprintable()
        assert not set("\r\n\0\x1b") & set(whole.host)
        assert whole.path.startswith("/")
        assert whole.query not in repr(whole) or len(whole.query) < 20


HEAD = b"GET /?code=1&state=2 HTTP/1.1\r\nHost: localhost:8080\r\n"
HEADS = [
    HEAD + b"Accept: */*\r\nSec-Purpose: prefetch\r\n\r\n",
    HEAD + b"\r\n\r\nGET / HTTP/1.1\r\n",
    b"HEAD / HTTP/1.0\r\nhost:\t[::1]:1 \r\n\r\n",
    b"GET http://localhost:8080/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    bytes.fromhex("1603010200010001fc0303"),
    HEAD + b"A: " + b"a" * LONGEST_HEAD + b"\r\n\r\n",
]


# --- what a message may repeat: a byte for the length of a secret, the secret, and a text that echoes it ---


def check_masking(data: bytes) -> None:
    text = data[1:].decode("utf-8", "surrogateescape")
    secret = text[: 4 + (data[0] if data else 0) % 64]
    if len(secret) >= 4 and "*" not in secret:
        for echo in (secret, quote(secret, errors="replace"), json.dumps(secret)[1:-1]):
            shown = masked(f"{text[len(secret) :]} {echo}", [secret])
            assert secret not in shown
            assert secret not in unquote_plus(shown) or "%" in secret


SECRETS = [PLANTED, "4/0-a~b.c", "client secret+", "p\u00e4ss\nword\ufffd", '\\"quoted"\\', "a&amp;b%2fc"]
ECHOES = [bytes([len(secret.encode()) - 4]) + f"{secret}no {quote(secret)} here".encode() for secret in SECRETS]


# --- a WWW-Authenticate header, as aiohttp decodes it ---


def check_challenges(data: bytes) -> None:
    header = data.decode("utf-8", "surrogateescape")
    found = read_challenges(header)
    for challenge in found:
        assert challenge.scheme in header
        assert all(name.isascii() and name == name.lower() and name for name in challenge.params)
        assert not (challenge.params and challenge.token68)
        assert challenge.max_age is None or challenge.max_age >= 0
    assert sum(len(value) for challenge in found for value in challenge.params.values()) <= len(header)
    check_error(SlyError("refused", next_step=next_step(found)))


CHALLENGES = [
    'Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""',
    'Bearer error="insufficient_scope", scope="a b", resource_metadata="https://r.example/.well-known/x"',
    'Bearer error="insufficient_user_authentication", acr_values="gold", max_age="5", DPoP algs="ES256"',
    "Negotiate YIIB/+==, , Bearer resource_metadata=https://r.example/x?a=b",
]


# --- times and headers: lines of text ---


def check_times(data: bytes) -> None:
    lines = [*data.decode("utf-8", "surrogateescape").split("\n"), "", "", ""]
    headers = {"Retry-After": lines[0], "Date": lines[1]}
    for now in (NOW, None):
        wait = retry_after(headers, now)
        assert wait is None or (math.isfinite(wait) and wait >= 0)
    assert math.isfinite(skew(headers, NOW))
    told = json_of(lines[2].encode("utf-8", "surrogateescape"))
    for value in (lines[0], lines[2], told):
        with suppress(SlyError):
            at = read_time(value)
            if at is not None:
                assert at.utcoffset() == UTC.utcoffset(None)
                assert read_time(write_time(at)) == at
        answer = {"expires_in": value, "refresh_expires_in": value, "exp": value, "iat": lines[0]}
        for end in (expiry(answer, NOW), expiry(answer | {"expires_in": None}, NOW), refresh_expiry(answer, NOW, 1e9)):
            assert end is None or from_epoch(end.timestamp()) is not None


DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
TIMES = [
    f"120\n{DATE}\n1900000000",
    f'{DATE}\nWed Oct 21 07:28:00 2026\n"2031-01-01T00:00:00.000000Z"',
    f"1e400\nWed, 21-Oct-26 07:28:00 +9999\n[{'9' * 30}, NaN]",
    "-1\n0\n\"2031-W01-1T24+23:59\"",
]


# --- what a program hands over as parameters ---


def check_query(data: bytes) -> None:
    told = json_of(data)
    params = told if isinstance(told, dict) else {"a": told}
    try:
        query = as_query(params)
    except TypeError:
        return
    assert query.keys() <= params.keys()
    assert all(type(value) in (str, int) for value in query.values())
    assert as_query(query) == query
    joined = {name: text if isinstance(text, str) else ",".join(text) for name, text in as_form(params).items()}
    assert joined == {name: str(value) for name, value in query.items()}
    urlencode(query, errors="surrogatepass")


QUERIES: list[object] = [
    {"a": 1, "b": True, "c": None, "d": ["x", 1, None, False], "e": 1.5, "f": []},
    {"g": {"h": 1}, "i": [[1], [2, [3]]], "": "\u2028"},
    [0, -0.0, 1e300],
]


TARGETS = TOKEN_TARGETS | {
    "token_reply": Target(check_token_reply, list(token_reply_samples())),
    "user_file": Target(check_user_file, [*as_json(USER_FILES), b"\xef\xbb\xbf{}", b"\xff\xfe", b""]),
    "app": Target(check_app, as_json(APP_FILES)),
    "redirect": Target(check_redirect, [text.encode() for text in REDIRECTS]),
    "login": Target(check_login, as_json(LOGINS)),
    "head": Target(check_head, [step + raw for raw in HEADS for step in (b"\x00", b"\x05", b"\xff")]),
    "challenges": Target(check_challenges, [text.encode() for text in CHALLENGES]),
    "masking": Target(check_masking, ECHOES),
    "times": Target(check_times, [text.encode() for text in TIMES]),
    "query": Target(check_query, as_json(QUERIES)),
    **api.TARGETS,
    **endpoints.TARGETS,
    **signed.TARGETS,
}
