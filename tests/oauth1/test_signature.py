"""The signature: RFC 5849's own examples, and oauthlib as judge of whatever hypothesis thinks up."""
from __future__ import annotations

import re
from importlib import import_module
from typing import Any
from urllib.parse import quote, unquote, urlencode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa as keys
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from SlyAPI.auth.rsa import load
from SlyAPI.errors import ConfigError
from SlyAPI.oauth1.signature import (
    Pair,
    SignatureMethod,
    Signing,
    authorization_header,
    base_string,
    base_string_uri,
    checked_method,
    checked_realm,
    escaped,
    form_pairs,
    new_nonce,
    normalized,
)
from SlyAPI.web.urls import as_sent

judge: Any = import_module("oauthlib.oauth1.rfc5849.signature")  # it has no types
Theirs: Any = import_module("oauthlib.common").Request

# --- the examples of the RFC ---

CLIENT = ("dpf43f3p2l4k3l03", "kd94hf93k423kf44")


def protocol(**more: str) -> list[Pair]:
    told = {"oauth_consumer_key": CLIENT[0], "oauth_signature_method": "HMAC-SHA1", **more}
    return list(told.items())


@pytest.mark.parametrize(
    ("method", "url", "parameters", "token", "signature"),
    [
        (
            "POST",
            "https://photos.example.net/initiate",
            protocol(
                oauth_timestamp="137131200",
                oauth_nonce="wIjqoS",
                oauth_callback="http://printer.example.com/ready",
            ),
            ("", ""),
            "74KNZJeDHnMBp0EMJ9ZHt%2FXKycU%3D",
        ),
        (
            "POST",
            "https://photos.example.net/token",
            protocol(
                oauth_token="hh5s93j4hdidpola",
                oauth_timestamp="137131201",
                oauth_nonce="walatlh",
                oauth_verifier="hfdp7dh39dks9884",
            ),
            ("hh5s93j4hdidpola", "hdhd0244k9j7ao03"),
            "gKgrFCywp7rO0OXSjdot%2FIHF7IU%3D",
        ),
        (
            "GET",
            "http://photos.example.net/photos?file=vacation.jpg&size=original",
            protocol(oauth_token="nnch734d00sl2jdk", oauth_timestamp="137131202", oauth_nonce="chapoH"),
            ("nnch734d00sl2jdk", "pfkkdhi9sl3r4s00"),
            "MdpQcU8iPSUjWoN%2FUDMsK2sui9I%3D",
        ),
    ],
    ids=["temporary", "access", "resource"],
)
def test_the_three_requests_of_section_1_2_are_signed_as_there(
    method: str, url: str, parameters: list[Pair], token: Pair, signature: str
) -> None:
    signed = Signing(*CLIENT, *token).signature(base_string(method, url, parameters))
    assert quote(signed, safe="") == signature


OF_3_4_1 = [
    ("oauth_consumer_key", "9djdj82h48djs9d2"),
    ("oauth_token", "kkk9d7dh3k39sjv7"),
    ("oauth_signature_method", "HMAC-SHA1"),
    ("oauth_timestamp", "137131201"),
    ("oauth_nonce", "7d8f3e4a"),
]
URL_OF_3_4_1 = "http://EXAMPLE.COM:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b"


def test_the_base_string_is_that_of_section_3_4_1_1() -> None:
    assert base_string("post", URL_OF_3_4_1, [*OF_3_4_1, *form_pairs("c2&a3=2+q")]) == (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D"
        "%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1"
        "%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )


def test_the_header_is_that_of_section_3_5_1() -> None:
    signed = ("oauth_signature", "bYT5CMsGcbgUdFHObYMEfcx6bsw=")
    header = authorization_header([*OF_3_4_1, signed], "Example")
    assert header == (
        'OAuth realm="Example", oauth_consumer_key="9djdj82h48djs9d2", oauth_token="kkk9d7dh3k39sjv7", '
        'oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131201", oauth_nonce="7d8f3e4a", '
        'oauth_signature="bYT5CMsGcbgUdFHObYMEfcx6bsw%3D"'
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://EXAMPLE.COM:80/r%20v/X?id=123", "http://example.com/r%20v/X"),
        ("https://www.example.net:8080/?q=1", "https://www.example.net:8080/"),
        ("HTTPS://Api.Example.COM:443/Kept/As/IS", "https://api.example.com/Kept/As/IS"),
        ("https://api.example.com:80/", "https://api.example.com:80/"),
        ("http://api.example.com", "http://api.example.com/"),
        ("http://[::1]:8080/A", "http://[::1]:8080/A"),
        ("http://bücher.example/ä#part", "http://xn--bcher-kva.example/%C3%A4"),
        ("http://me:pass@example.com/;p=1", "http://example.com/;p=1"),
    ],
)
def test_scheme_and_host_are_lower_case_and_a_default_port_is_left_out(url: str, expected: str) -> None:
    assert base_string_uri(url) == expected


def test_parameters_are_sorted_by_their_encoded_names_then_values_as_in_section_3_4_1_3_2() -> None:
    given = [("b5", "=%3D"), ("a3", "a"), ("c@", ""), ("a2", "r b"), ("c2", ""), ("a3", "2 q"), ("é", "z"), ("z", "~")]
    assert normalized(given) == "%C3%A9=z&a2=r%20b&a3=2%20q&a3=a&b5=%3D%253D&c%40=&c2=&z=~"


@pytest.mark.parametrize("text", ["/x", "ftp://h/x", "http://", "http://h:99999/", "http://[::1/", ""])
def test_text_that_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not an http URL"):
        base_string("GET", text, [])


# --- oauthlib as judge ---

texts = st.text(st.characters(codec="utf-8"), max_size=12)
pairs = st.lists(st.tuples(texts, texts), max_size=6)
# no dots, which a URL loses; no semicolon at the end, which oauthlib drops from what it signs
segments = texts.filter(lambda text: text not in (".", "..") and not text.endswith(";"))


@given(texts)
def test_a_text_is_escaped_as_a_strict_server_does(text: str) -> None:
    assert re.fullmatch(r"([A-Za-z0-9._~-]|%[0-9A-F]{2})*", escaped(text))
    assert unquote(escaped(text)) == text


@given(pairs)
def test_any_parameters_are_normalized_as_oauthlib_does(parameters: list[Pair]) -> None:
    assert normalized(parameters) == judge.normalize_parameters(parameters)


@given(st.binary(max_size=20))
def test_bytes_that_are_no_text_are_signed_as_they_are(raw: bytes) -> None:
    encoded = quote(raw, safe="")
    assert normalized(form_pairs(f"a={encoded}")) == f"a={quote(raw, safe='~')}"


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"]),
    host=st.sampled_from(["API.example.com", "api.example.com:8080", "Example.com:80", "example.com:443", "[::1]:81"]),
    path=st.lists(segments, max_size=3),
    query=pairs,
    form=pairs,
    secrets=st.tuples(texts, texts),
    scheme=st.sampled_from(["http", "https"]),
    signed_by=st.sampled_from(["HMAC-SHA1", "HMAC-SHA256", "PLAINTEXT"]),
)
def test_oauthlib_finds_the_signature_of_any_request_right(
    method: str,
    host: str,
    path: list[str],
    query: list[Pair],
    form: list[Pair],
    secrets: Pair,
    scheme: str,
    signed_by: SignatureMethod,
) -> None:
    scheme = "https" if signed_by == "PLAINTEXT" else scheme
    url = f"{scheme}://{host}/{'/'.join(quote(part, safe='') for part in path)}"
    body = urlencode(form)
    fields = [*query, *form_pairs(body)]
    signing = Signing("key ü&", secrets[0], "token=~", secrets[1], signed_by)
    header = signing.header(method, url, fields, timestamp=1_800_000_000, nonce="n+ o")
    sent = str(URL(as_sent(url)).extend_query(query))  # as the transport sends it
    theirs = _as_their_request(method, sent, body, header)
    verify = {
        "HMAC-SHA1": judge.verify_hmac_sha1,
        "HMAC-SHA256": judge.verify_hmac_sha256,
        "PLAINTEXT": judge.verify_plaintext,
    }[signed_by]
    assert verify(theirs, *secrets)


def _as_their_request(method: str, url: str, body: str, header: str) -> Any:
    """A request as oauthlib's endpoints make it."""
    request = Theirs(url, method, body, {"Authorization": header})
    told = judge.collect_parameters(
        uri_query=request.uri_query, body=body, headers=request.headers, exclude_oauth_signature=False
    )
    request.signature = dict(told)["oauth_signature"]
    request.params = [(name, value) for name, value in told if name != "oauth_signature"]
    return request


# --- RSA-SHA1 ---

KEY = keys.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)
PUBLIC = KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


@pytest.mark.parametrize("key", [PEM, PEM.decode(), KEY], ids=["bytes", "text", "object"])
def test_oauthlib_finds_an_rsa_signature_right(key: object) -> None:
    signing = Signing("client", "", "token", "", "RSA-SHA1", load(key))
    url = "https://api.example.com/A?b=c%20d"
    header = signing.header("GET", url, timestamp=1_800_000_000, nonce="nonce")
    assert judge.verify_rsa_sha1(_as_their_request("GET", url, "", header), PUBLIC.decode())


LOCKED = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
)


@pytest.mark.parametrize(
    "key",
    [PUBLIC, LOCKED, PEM[:200], b"", "s3cret-üé", 5, keys],
    ids=["public", "encrypted", "cut short", "empty", "text", "number", "function"],
)
def test_what_is_no_private_key_is_named_and_not_quoted(key: object) -> None:
    with pytest.raises(ConfigError, match=r"not an RSA private key|encrypted") as caught:
        load(key)
    assert "s3cret" not in str(caught.value)


# --- methods, realms, nonces ---


@pytest.mark.parametrize("url", ["http://api.example.com/", "HTTP://localhost.example.com/", "http://127.0.0.2/"])
def test_plaintext_is_for_https_and_this_machine_alone(url: str) -> None:
    signing = Signing("client", "c s", "token", "t&s", "PLAINTEXT")
    with pytest.raises(ConfigError, match="needs https"):
        signing.header("GET", url, timestamp=1, nonce="n")
    for safe in ("https://api.example.com/", "http://localhost:8000/", "http://127.0.0.1/", "http://[::1]/"):
        assert 'oauth_signature="c%2520s%26t%2526s"' in signing.header("GET", safe, timestamp=1, nonce="n")


def test_a_method_that_there_is_not_and_a_missing_key_are_said_so() -> None:
    with pytest.raises(ConfigError, match="HMAC-SHA1, HMAC-SHA256, RSA-SHA1, PLAINTEXT"):
        checked_method("HMAC-MD5", None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="private key"):
        checked_method("RSA-SHA1", None)


def test_a_realm_is_quoted_and_holds_no_line_break() -> None:
    assert authorization_header([("a", "b")], 'x"y\\z') == 'OAuth realm="x\\"y\\\\z", a="b"'
    for realm in ("a\r\nX: y", "é", "\x7f"):
        with pytest.raises(ConfigError, match="realm"):
            checked_realm(realm)


def test_a_lone_surrogate_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError, match="unpaired surrogate"):
        Signing("client", "s").header("GET", "https://h.example/", [("a", "\ud800")], timestamp=1, nonce="n")


def test_a_nonce_is_new_each_time() -> None:
    assert len({new_nonce() for _ in range(1000)}) == 1000
    assert len(new_nonce()) == 32
