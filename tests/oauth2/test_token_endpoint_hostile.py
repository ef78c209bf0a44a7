"""Replies that nobody should send: whatever comes, it is a user or one of our errors, and repeats no secret."""
from __future__ import annotations

import base64
import html
import json
import re
import time
import traceback
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from SlyAPI.errors import ApiError, SlyError, TokenError, clean_traceback
from SlyAPI.oauth2 import OAuth2User
from SlyAPI.oauth2.messages.token_endpoint import read_token_reply
from SlyAPI.web import Reply
from SlyAPI.web.secret_values import Secrets

NOW = 1_700_000_000.0
SECRET = "GOCSPX-s3cr&t/+\"<ü>='%' x"
CODE = "4/0AbCdEf_" + "gH9-" * 600  # longer than any message: a cut must not leave half of it
OLD = OAuth2User("old-access-token", "old-refresh-token", scopes=["a"])
SENT = Secrets((SECRET, CODE, "old-refresh-token", "old-access-token"))


def everything(error: BaseException) -> str:
    """All text that a log, a terminal or an error tracker could show of an error."""
    told = [str(error), repr(error), "".join(traceback.format_exception(error))]
    told += traceback.TracebackException.from_exception(error, capture_locals=True).format()
    told += [repr(value) for value in vars(error).values()]
    if isinstance(error, ApiError) and error.response is not None:
        told += [error.response.body.decode(), error.response.text(), error.response.url, repr(dict(error.headers))]
    return "\n".join(told)


def read(reply: Reply, previous: OAuth2User | None = None) -> OAuth2User | SlyError:
    try:
        return clean_traceback(read_token_reply)(reply, now=NOW, requested=["a"], previous=previous, secrets=SENT)
    except SlyError as error:
        return error


def check(outcome: OAuth2User | SlyError) -> None:
    if isinstance(outcome, OAuth2User):
        assert re.fullmatch(r"[\x21-\x7e]+", outcome.token)
        assert outcome.token_type == "Bearer"
        saved = json.loads(json.dumps(outcome.to_dict()))
        assert OAuth2User.from_json_obj(saved) == outcome
        return
    assert len(str(outcome)) <= 4096
    assert str(outcome).isprintable()
    assert outcome.__cause__ is None
    assert outcome.__context__ is None
    shown = everything(outcome)
    for secret in SENT:
        assert secret not in shown
        assert secret[:24] not in shown


statuses = st.one_of(st.sampled_from([200, 201, 204, 302, 400, 401, 403, 404, 429, 500, 503]), st.integers(100, 999))
headers = st.dictionaries(st.sampled_from(["Content-Type", "Retry-After", "Date", "Location"]), st.text(max_size=40))
previous_users = st.sampled_from([None, OLD])
texts = st.one_of(st.text(max_size=30), st.sampled_from(["bearer", "invalid_grant", "x", *SENT]), st.characters())
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
names = [
    *("access_token", "token_type", "expires_in", "refresh_token", "scope", "iat", "exp", "created_at", "ok"),
    *("error", "error_description", "message", "reason", "status", "authed_user", "token", "expires_at"),
    *("errors", "success", "error_type", "error_message"),
]
objects = st.dictionaries(st.sampled_from(names) | texts, values, max_size=8)


@given(statuses, headers, st.binary(max_size=300), previous_users)
@example(200, {}, b'{"access_token":"x","a":"\xed\xa0\x80"}', None)
def test_any_bytes_are_a_user_or_our_error(
    status: int, headers: dict[str, str], body: bytes, previous: OAuth2User | None
) -> None:
    check(read(Reply(status, headers, body, "https://provider.example/token"), previous))


@given(statuses, headers, objects, st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]), previous_users)
def test_any_json_object_is_a_user_or_our_error(
    status: int, headers: dict[str, str], told: dict[str, object], encoding: str, previous: OAuth2User | None
) -> None:
    body = json.dumps(told).encode(encoding)
    check(read(Reply(status, headers, body, "https://provider.example/token"), previous))


@given(st.dictionaries(st.sampled_from(names), values), previous_users)
def test_any_members_beside_a_token_are_a_user_or_our_error(
    told: dict[str, object], previous: OAuth2User | None
) -> None:
    body = json.dumps({**told, "access_token": "x"}).encode()
    check(read(Reply(200, {}, body), previous))


@given(st.lists(st.tuples(st.sampled_from(names), texts), max_size=5), statuses)
def test_any_form_is_a_user_or_our_error(fields: list[tuple[str, str]], status: int) -> None:
    body = "&".join(f"{name}={quote_plus(value.encode('utf-8', 'replace'))}" for name, value in fields)
    check(read(Reply(status, {}, body.encode())))


def lower_case_escapes(secret: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda hit: hit[0].lower(), quote(secret, safe=""))


ENCODINGS: list[Callable[[str], str]] = [
    str,
    quote,
    quote_plus,
    lambda secret: quote(secret, safe=""),
    lower_case_escapes,
    lambda secret: json.dumps(secret)[1:-1],
    lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1].replace("/", "\\/"),
    lambda secret: json.dumps(secret)[1:-1].replace("<", "\\u003c").replace(">", "\\u003E").replace("&", "\\u0026"),
    lambda secret: json.dumps(secret)[1:-1].replace("=", "\\u003d").replace("'", "\\u0027").replace("+", "\\u002B"),
    html.escape,
    lambda secret: html.escape(secret).replace("&#x27;", "&#39;").replace("&quot;", "&#34;").replace("+", "&#43;"),
    lambda secret: base64.b64encode(secret.encode()).decode(),
    lambda secret: json.dumps(html.escape(secret))[1:-1],
]


@pytest.mark.parametrize("status", [400, 200])
@pytest.mark.parametrize("write", ENCODINGS)
@pytest.mark.parametrize("secret", SENT)
def test_an_echoed_secret_is_masked_in_every_spelling(write: Callable[[str], str], secret: str, status: int) -> None:
    told = write(secret)
    body = f'<p>refused {told}</p>\n{{"error_description": "{told}"}}'
    outcome = read(Reply(400, {}, body.encode()), OLD)
    assert isinstance(outcome, TokenError)
    assert "***" in outcome.response.text()
    described = json.dumps({"error": "invalid_grant", "error_description": f"bad value {told} given"})
    outcome = read(Reply(status, {}, described.encode()), OLD)
    assert isinstance(outcome, TokenError)
    assert "***" in outcome.error_description
    assert "***" in str(outcome)
    check(outcome)


@pytest.mark.parametrize(
    "told",
    [
        {"error": CODE},
        {"error": {"message": CODE, "type": CODE}},
        {"message": f"code {CODE} was used"},
        {"error": "invalid_grant", "reason": CODE},
        {"access_token": CODE + "\r\n"},
        {"access_token": "x", "token_type": CODE},
        {"access_token": "x", "token_type": "old-access-token"},
        {"access_token": "x", "token_type": [SECRET]},
        {"access_token": "x", "refresh_token": {"a": CODE}},
        {CODE: CODE},
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_a_secret_in_an_unlikely_place_is_masked_too(told: dict[str, object], status: int) -> None:
    outcome = read(Reply(status, {}, json.dumps(told).encode()), OLD)
    assert isinstance(outcome, SlyError)
    check(outcome)


def test_a_secret_echoed_in_a_header_is_masked_and_headers_stay_case_insensitive() -> None:
    echo = {"WWW-Authenticate": f'Bearer error_description="{SECRET}"', "Location": f"https://x/?code={CODE}"}
    outcome = read(Reply(400, echo, b""), OLD)
    assert isinstance(outcome, TokenError)
    assert outcome.headers["www-authenticate"] == 'Bearer error_description="***"'
    check(outcome)


def test_a_secret_in_utf_16_that_nothing_names_as_such_is_masked() -> None:
    outcome = read(Reply(400, {}, json.dumps({"error": "no", "hint": SENT[2]}).encode("utf-16-le")), OLD)
    assert isinstance(outcome, TokenError)
    assert outcome.response.text() == '{"error": "no", "hint": "***"}'


def test_control_characters_do_not_reach_a_terminal_or_a_log() -> None:
    text = "\x1b[2J\x07cleared\r\nERROR forged line\u2028\u202etxt\x9b1m\x00"
    outcome = read(Reply(400, {}, json.dumps({"error": text, "error_description": text}).encode()))
    assert isinstance(outcome, TokenError)
    assert str(outcome).isprintable()
    assert outcome.error.isprintable()
    assert outcome.error_description.isprintable()


@pytest.mark.parametrize(
    "body",
    [
        b'{"access_token":"x' + b"\xff" * 100 + b"\x01" + b"\xff" * 9,
        b'{"access_token":"' + b"\\/" * 300_000,
        b'"access_token":"a/b+c", ' * 40_000,
        json.dumps({"error": "/" * 300_000, "error_description": "\\ " * 300_000}).encode(),
    ],
)
def test_no_reply_keeps_its_reader_busy(body: bytes) -> None:
    begun = time.process_time()
    check(read(Reply(400, {}, body), OLD))
    assert time.process_time() - begun < 2


def test_a_long_description_is_bounded() -> None:
    told = {"error": "e" * 100_000, "error_description": "long " * 100_000}
    outcome = read(Reply(400, {}, json.dumps(told).encode()))
    assert isinstance(outcome, TokenError)
    assert len(str(outcome)) <= 4096
    assert len(outcome.response.body) <= 4096


@pytest.mark.parametrize("scope", ["read new-access-token", "new-refresh-token,read", "x=old%2Daccess%2Dtoken read"])
def test_a_token_echoed_as_a_scope_is_not_kept_as_one(scope: str) -> None:
    members = {"access_token": "new-access-token", "refresh_token": "new-refresh-token", "scope": scope}
    body = json.dumps(members).encode()
    for text in (body, body.replace(json.dumps(scope).encode(), json.dumps(re.split("[, ]", scope)).encode())):
        user = read_token_reply(
            Reply(200, {}, text), now=NOW, requested=["a"], previous=None, secrets=Secrets(("old-access-token",))
        )
        assert user.scopes == ["read"]
        assert "token-" not in repr(user)
