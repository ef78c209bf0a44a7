"""HTTP messages as plain data, and what may be printed of them."""
from __future__ import annotations

import html
import json
import time
import types
from base64 import b64encode
from collections.abc import Callable
from typing import Any, get_args, get_origin
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from SlyAPI.errors import ConfigError
from SlyAPI.web import JsonMap, JsonType, Method, Reply, Request, read_json
from SlyAPI.web.masking import masked
from SlyAPI.web.messages import retry_after
from SlyAPI.web.secret_values import SecretForm, Secrets
from SlyAPI.web.urls import bare_url, check_endpoint, is_loopback_uri

ASKED = Request(Method.GET, "https://api.example/me?key=s3cret")


# --- what prints ---


def test_a_request_prints_method_and_bare_address_alone() -> None:
    request = Request(Method.POST, "https://me:s3cret@api.example/me?key=s3cret#s3cret")
    request.query_params["key"] = "s3cret"
    request.headers["Authorization"] = "Bearer s3cret"
    request.data = {"password": "s3cret"}
    assert repr(request) == str(request) == "<Request POST https://api.example/me>"


def test_a_reply_prints_status_and_length_alone() -> None:
    reply = Reply(200, {"Set-Cookie": "s3cret"}, b"s3cret", "https://api.example/me?key=s3cret")
    assert f"{reply}{reply!r}" == "<Reply 200 from https://api.example/me, 6 bytes>" * 2


def test_a_form_prints_its_names_and_secrets_their_number() -> None:
    form = SecretForm(grant_type="refresh_token", refresh_token="s3cret", note="n")
    assert f"{form}" == f"{form!r}" == "<SecretForm grant_type, refresh_token, note>"
    assert form.secrets(["more"]) == ("s3cret", "more")
    assert repr(form.secrets(["more"])) == str(form.secrets(["more"])) == "<2 secrets>"


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("https://me:s3cret@api.example/path?key=s3cret#x", "https://api.example/path"),
        ("https://s3cret@api.example:8443", "https://api.example:8443"),
        ("//me:s3cret@api.example/p", "//api.example/p"),
        ("https://a@s3cret@api.example/p", "https://api.example/p"),
        ("/path?key=s3cret", "/path"),
        ("https://api.example/a@b", "https://api.example/a@b"),
        ("?s3cret", ""),
        ("", ""),
    ],
)
def test_a_bare_url_has_neither_query_nor_user(url: str, bare: str) -> None:
    assert bare_url(url) == bare


# --- JSON ---


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])
def test_json_is_read_in_every_unicode_encoding(encoding: str) -> None:
    assert read_json('{"a": "ü"}'.encode(encoding), ASKED) == {"a": "ü"}


def test_the_json_types_can_be_walked_at_run_time() -> None:
    assert isinstance(JsonType, types.UnionType)
    assert {int, float, bool, str, type(None)} < set(get_args(JsonType))
    inner = [argument for part in get_args(JsonType) for argument in get_args(part)]
    assert inner == ["JsonType", str, "JsonType"]
    assert get_origin(JsonMap) is dict
    assert int | JsonMap, "annotations are evaluated at import"


# --- masking ---


def _in_a_query(text: str) -> str:
    return quote(text, safe="", errors="replace")


SPELLINGS: list[Callable[[str], str]] = [
    str,
    quote,
    _in_a_query,
    lambda secret: _in_a_query(_in_a_query(_in_a_query(secret))),  # a return address within a return address
    lambda secret: json.dumps(secret)[1:-1],
    lambda secret: json.dumps(json.dumps(secret)[1:-1])[1:-1],  # a reply that quotes a reply
    html.escape,
    lambda secret: html.escape(html.escape(secret)),
    lambda secret: repr(secret)[1:-1],
    lambda secret: ascii(secret)[1:-1],
    lambda secret: secret.encode("utf-8", "replace").decode("latin-1"),  # read in the wrong encoding
    lambda secret: b64encode(secret.encode("utf-8", "replace")).decode(),
]


VISIBLE = "".join(map(chr, range(33, 127)))
letters = st.text(VISIBLE.replace("+", "").replace("\\", ""), min_size=4)
secrets = st.tuples(st.text(max_size=5), letters, st.text()).map("".join)


@pytest.mark.parametrize("more", ["", "more"])
@given(secret=secrets, around=st.text().map(lambda text: f"{text}:"))  # `%` or `&#` would change its beginning
@example(secret="0%00", around=":")  # less than four characters are left of it without its escape
def test_a_secret_is_found_in_every_spelling(more: str, secret: str, around: str) -> None:
    for spelled in SPELLINGS:
        written = spelled(secret)
        text = masked(around + written + more, Secrets([secret, "", "a"]))
        assert written not in text or written in around + "***" + more


@given(secret=st.text(VISIBLE, min_size=12), around=st.text(VISIBLE))
def test_around_a_secret_that_is_written_as_it_is_or_url_encoded_the_text_stays(secret: str, around: str) -> None:
    for spelled in (str, _in_a_query, lambda text: b64encode(text.encode()).decode().rstrip("=")):
        text = masked(f"{around} {spelled(secret)} {around}", [secret])
        assert text in ("***", f"{around} *** {around}") or secret in around
    assert masked(f"400 <{secret}> invalid", [secret]) == "400 <***> invalid"


def test_text_with_a_secret_in_another_spelling_is_not_shown_at_all() -> None:
    assert masked('{"error": "no s3cret\\/1"}', ["s3cret/1"]) == "***"
    assert masked('{"error": "no s3cret\\/2"}', ["s3cret/1"]) == '{"error": "no s3cret\\/2"}'


def test_a_secret_within_another_does_not_save_its_rest() -> None:
    assert masked("token: abcdef-long", ["abcdef", "abcdef-long"]) == "token: ***"


def test_a_long_secret_that_is_not_there_is_not_looked_for_at_length() -> None:
    begun = time.process_time()
    assert masked("error: no", ["a/b+c=" * 2500]) == "error: no"
    assert time.process_time() - begun < 20  # a guard against hours, not a measure


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("\ufffd" * 40 + "x", "\ufffd" * 60),
        ("é" * 40 + "x", "\ufffd" * 60),
        ("\\" * 40 + "x", "\\" * 60),
        (" +" * 20 + "x", " " * 60),
        ("&amp;" * 20 + "x", "&amp;amp;amp;" * 60),
        ("%25" * 20 + "x", "%252525" * 60),
        ("\\" * 40 + "x", "\\" * 16_000),
        ('"' * 40 + "x", '"' * 60),
        ("/x", "\\" * 16_000),
        ("/", "/" * 16_000),
        ("a/" * 8_000, "a/" * 8_000),
        ("\u00e9/" * 8_000, "\u00e9/" * 8_000),
    ],
)
def test_no_secret_and_no_text_keep_masking_busy(secret: str, text: str) -> None:
    begun = time.process_time()
    assert secret not in masked(f"xa {text}", [secret]) or len(secret) < 4
    assert time.process_time() - begun < 20  # a guard against hours, not a measure


@pytest.mark.parametrize("body", [b"\\" * (1 << 20), b" " * (1 << 20), b"%20" * (1 << 18), b"/" * (1 << 20)])
def test_a_large_body_is_kept_masked_without_delay(body: bytes) -> None:
    begun = time.process_time()
    kept = Reply(400, {}, body).without([" +/s3cret", "/" * (1 << 20)])
    assert len(kept.body) <= 4096
    assert time.process_time() - begun < 20  # a guard against hours, not a measure


def test_text_without_a_secret_stays_as_it_is() -> None:
    assert masked("nothing + to [hide] \\d .*", ["a.*b", "(((("]) == "nothing + to [hide] \\d .*"


# --- addresses ---


@pytest.mark.parametrize("uri", ["http://localhost", "http://127.0.0.1:8080/cb", "http://[::1]:1/", "HTTP://LOCALHOST/"])
def test_an_address_of_this_machine_is_known(uri: str) -> None:
    assert is_loopback_uri(uri)
    assert check_endpoint(uri, "uri") == uri


@pytest.mark.parametrize(
    "uri",
    [
        *("https://localhost", "http://localhost.evil.example", "http://localhost@evil.example", "http://[::1"),
        *("http://127.0.0.1.evil.example", "http://2130706433/", "http://0.0.0.0/", "localhost", ""),
    ],
)
def test_an_address_of_another_machine_is_none_of_this_machine(uri: str) -> None:
    assert not is_loopback_uri(uri)


def test_plain_http_needs_a_yes() -> None:
    with pytest.raises(ConfigError, match=r"plain http.*evil\.example"):
        check_endpoint("http://evil.example/token", "token_uri")
    assert check_endpoint("http://inside.example/token", "token_uri", allow_http=True)


# --- Retry-After ---

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"Retry-After": "9" * 500}, 999_999_999.0),
        ({"Retry-After": DATE, "Date": "Wed, 21 Oct 2015 07:27:00 GMT"}, 60.0),
        ({"Retry-After": DATE, "Date": "Wed, 21 Oct 2015 08:00:00 GMT"}, 0.0),
        ({"Retry-After": DATE}, 0.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_both_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize("date", [{}, {"Date": "soon"}])
def test_a_date_is_compared_with_our_clock_where_the_reply_has_none(date: dict[str, str]) -> None:
    assert retry_after({"Retry-After": DATE, **date}, now=1_445_412_470.0) == 10.0


dates = st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,6} \d{1,3}:\d{2}:\d{2} [-+A-Z0-9]{1,6}")


@given(dates, dates)
def test_any_retry_after_is_seconds_or_nothing(told: str, date: str) -> None:
    wait = retry_after({"Retry-After": told, "Date": date})
    assert wait is None or wait >= 0


# --- encodings of text ---


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain; charset=ISO-8859-1", b"Gr\xf6\xdfe", "Größe"),
        ("text/plain", "Größe".encode(), "Größe"),
        ("text/plain; charset=utf-8", "Größe".encode("utf-8-sig"), "Größe"),
        ("text/plain; charset=no-such", "Größe".encode(), "Größe"),
        ("text/plain; charset=base64", b"eA==", "eA=="),
        ("text/plain; charset=idna", b"xn--x", "xn--x"),
        ("text/plain; charset=unicode_escape", b"\\x41", "\\x41"),
        ("text/plain; charset=raw_unicode_escape", b"\\u0041", "\\u0041"),
        ("text/plain", b"a\xffb", "a\ufffdb"),
    ],
)
def test_text_is_read_in_the_encoding_that_the_reply_names(content_type: str, body: bytes, text: str) -> None:
    assert Reply(200, {"Content-Type": content_type}, body).text() == text


@given(st.binary(), st.sampled_from(["utf-7", "utf-16", "latin-1", "cp1252", "big5", "hz", "undefined", "rot13"]))
def test_any_reply_can_be_kept_by_an_error(body: bytes, charset: str) -> None:
    reply: Any = Reply(400, {"Content-Type": f"text/plain; charset={charset}"}, body)
    assert isinstance(reply.without(["s3cret"]).text(), str)
