"""How a client proves who it is: RFC 6749 §2.3.1."""
from __future__ import annotations

from base64 import b64decode
from urllib.parse import unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI.errors import ConfigError
from SlyAPI.oauth2.messages.authorization_code import exchange_form
from SlyAPI.oauth2.messages.token_request import refresh_form, token_request
from SlyAPI.tokens.client_auth import ClientAuth, choose_from_metadata, read_client_auth
from SlyAPI.web import Method, Request
from SlyAPI.web.secret_values import SecretForm

TOKEN_URI = "https://server.example.com/token"


def asked(method: ClientAuth, client_id: str = "s6BhdRkqt3", secret: str = "7Fjfp0ZBr1KtDRbnfVdmIw") -> Request:
    return token_request(TOKEN_URI, refresh_form("tGzv3JOkF0XG5Qx2TlKWIA"), method, client_id, secret)


def test_the_exchange_with_basic_is_the_example_of_rfc_6749_section_4_1_3() -> None:
    form = exchange_form("SplxlOBeZQQYbYS6WxSbIA", "", "https://client.example.com/cb")
    request = token_request(TOKEN_URI, form, "basic", "s6BhdRkqt3", "gX1fBat3bV")
    assert (request.method, request.url) == (Method.POST, TOKEN_URI)
    assert request.headers["Authorization"] == "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"
    assert request.data == {
        "grant_type": "authorization_code",
        "code": "SplxlOBeZQQYbYS6WxSbIA",
        "redirect_uri": "https://client.example.com/cb",
    }


def test_the_refresh_in_the_form_is_the_example_of_rfc_6749_section_2_3_1() -> None:
    request = asked("post")
    assert "Authorization" not in request.headers
    assert request.data == {
        "grant_type": "refresh_token",
        "refresh_token": "tGzv3JOkF0XG5Qx2TlKWIA",
        "client_id": "s6BhdRkqt3",
        "client_secret": "7Fjfp0ZBr1KtDRbnfVdmIw",
    }


def test_a_public_client_shows_its_id_alone() -> None:
    request = asked("none")
    assert "Authorization" not in request.headers
    assert request.data["client_id"] == "s6BhdRkqt3"
    assert "client_secret" not in request.data


def test_basic_puts_nothing_of_the_client_into_the_form() -> None:
    assert not {"client_id", "client_secret"} & asked("basic").data.keys()


@pytest.mark.parametrize("method", ["basic", "post", "none"])
def test_json_is_asked_for_and_nothing_is_in_the_url(method: ClientAuth) -> None:
    request = asked(method)
    assert request.headers["Accept"] == "application/json"
    assert (request.url, request.query_params) == (TOKEN_URI, {})


def test_basic_encodes_id_and_secret_before_it_joins_them() -> None:
    request = asked("basic", "id:with colon", "s3 cret/ü+%:")
    pair = b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
    assert pair == "id%3Awith%20colon:s3%20cret%2F%C3%BC%2B%25%3A"


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_a_server_gets_id_and_secret_back_out_of_basic(client_id: str, secret: str) -> None:
    pair = b64decode(asked("basic", client_id, secret).headers["Authorization"].removeprefix("Basic ")).decode()
    assert [unquote_plus(part) for part in pair.split(":")] == [client_id, secret]


def test_the_form_of_the_grant_is_not_changed() -> None:
    form = SecretForm(grant_type="refresh_token", refresh_token="r")
    token_request(TOKEN_URI, form, "post", "i", "s")
    assert form == {"grant_type": "refresh_token", "refresh_token": "r"}


@pytest.mark.parametrize("method", ["basic", "post", "none"])
def test_a_token_request_prints_no_secret(method: ClientAuth) -> None:
    request = asked(method)
    shown = f"{request} {request!r} {request.data} {request.data!r} {request.data.secrets(['7Fjfp0ZBr1KtDRbnfVdmIw'])}"
    assert "7Fjf" not in shown
    assert "tGzv" not in shown


@pytest.mark.parametrize(
    ("named", "method"),
    [
        ("basic", "basic"),
        ("post", "post"),
        ("none", "none"),
        ("client_secret_basic", "basic"),
        ("client_secret_post", "post"),
        ("", None),
        (None, None),
    ],
)
def test_methods_are_read_in_our_words_and_in_those_of_rfc_7591(named: object, method: str | None) -> None:
    assert read_client_auth(named) == method


@pytest.mark.parametrize(
    "named", ["private_key", "Basic", "client_secret_tls", 5, True, ["basic"], {"a": 1}]
)
def test_a_method_that_we_do_not_speak_is_refused(named: object) -> None:
    with pytest.raises(ConfigError, match="client_auth may be basic"):
        read_client_auth(named)


def test_a_secret_in_the_line_of_the_method_is_not_quoted() -> None:
    with pytest.raises(ConfigError) as caught:
        read_client_auth("7Fjfp0ZBr1KtDRbnfVdmIw")
    assert "7Fjf" not in str(caught.value)


def test_a_method_nested_too_deeply_to_be_printed_is_refused() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(ConfigError):
        read_client_auth(nested)


@pytest.mark.parametrize(
    ("methods", "method"),
    [
        (["client_secret_basic"], "basic"),
        (["client_secret_post", "private_key_jwt"], "post"),
        (["client_secret_basic", "client_secret_post"], None),
        (["private_key_jwt"], None),
        ([], None),
        (None, None),
        ("client_secret_basic", None),
    ],
)
def test_metadata_decide_where_they_leave_no_choice(methods: object, method: str | None) -> None:
    assert choose_from_metadata(methods) == method
