"""What a client sends, read from anything at all: a value or a refusal, never another error."""
from __future__ import annotations

import base64
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI.testing import PracticeProvider
from SlyAPI.testing.clients.client_auth import read_credentials
from SlyAPI.testing.ledger.grants import AuthorizationRequest, Refused
from SlyAPI.testing.login.authorization_request import SendBack, ShowPage, read_authorization_request
from SlyAPI.testing.messages.request_reader import Pairs, read_pairs, redirect_uri_allowed

CLIENTS = PracticeProvider(redirect_uris=["http://localhost:8080", "http://127.0.0.1/a"]).ledger.clients
NAMES = ["client_id", "redirect_uri", "response_type", "scope", "state", "code_challenge"]
VALUES = ["practice-client", "http://localhost:8080", "http://127.0.0.1:99999/a", "code", "notes", "c" * 43]


def what_becomes_of(pairs: Pairs) -> AuthorizationRequest | SendBack | ShowPage:
    try:
        return read_authorization_request(pairs, CLIENTS, {"notes"})
    except (SendBack, ShowPage) as refused:
        return refused


@given(st.text())
def test_any_text_is_parameters_or_an_invalid_request(text: str) -> None:
    error = ""
    try:
        read_pairs(text)
    except Refused as refused:
        error = refused.error
    assert error in ("", "invalid_request")


@given(st.lists(st.tuples(st.text(max_size=9), st.text(min_size=1, max_size=9)), max_size=9))
def test_what_was_form_encoded_is_read_back(pairs: list[tuple[str, str]]) -> None:
    assert read_pairs(urlencode(pairs)) == pairs


@given(st.lists(st.tuples(st.sampled_from(NAMES) | st.text(), st.sampled_from(VALUES) | st.text(min_size=1))))
def test_any_authorization_request_is_taken_shown_or_sent_back(pairs: list[tuple[str, str]]) -> None:
    became = what_becomes_of(pairs)
    if not isinstance(became, ShowPage):  # nothing is redirected to where no client is at home
        assert became.redirect_uri == "http://localhost:8080"
    if isinstance(became, AuthorizationRequest):
        assert set(became.scopes) <= {"notes"}


@given(st.text(), st.text())
def test_basic_is_form_decoded_whatever_id_and_secret_hold(client_id: str, secret: str) -> None:
    plain = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
    read = read_credentials(["Basic " + base64.b64encode(plain).decode()], {})
    assert (read.client_id, read.secret, read.method) == (client_id, secret, "basic")


@given(st.text() | st.binary().map(lambda raw: "Basic " + base64.b64encode(raw).decode()))
def test_any_other_header_is_an_invalid_client(header: str) -> None:
    refusal = ("invalid_client", 401)
    try:
        read_credentials([header], {})
    except Refused as refused:
        refusal = (refused.error, refused.status)
    assert refusal == ("invalid_client", 401)


def test_two_authorization_headers_are_an_invalid_request() -> None:
    with pytest.raises(Refused, match="invalid_request"):
        read_credentials(["Basic YTpi", "Basic YTpi"], {})


@given(st.text(), st.integers(-5, 70_000))
def test_only_the_port_of_a_loopback_uri_is_free(tail: str, port: int) -> None:
    registered = ["http://localhost/a"]
    assert redirect_uri_allowed(f"http://localhost:{port}/a", registered) is (0 < port < 65536)
    uri = f"http://localhost:{abs(port)}{tail}"
    assert not redirect_uri_allowed(uri, registered) or uri.endswith("/a")
