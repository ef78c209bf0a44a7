"""Where an issuer's endpoints are: RFC 8414 and OpenID Connect Discovery."""
from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI.errors import BadReplyError, ConfigError, SlyError
from SlyAPI.oauth2.discovery import metadata_requests, read_metadata
from SlyAPI.web import Method, Reply

ISSUER = "https://server.example.com"
METADATA: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": "https://server.example.com/authorize",
    "token_endpoint": "https://server.example.com/token",
    "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
    "authorization_response_iss_parameter_supported": True,
}


def reply(told: object, status: int = 200) -> Reply:
    return Reply(status, {}, json.dumps(told).encode(), f"{ISSUER}/.well-known/x")


@pytest.mark.parametrize(
    ("issuer", "places"),
    [
        (
            "https://example.com",
            [
                "https://example.com/.well-known/oauth-authorization-server",
                "https://example.com/.well-known/openid-configuration",
            ],
        ),
        (
            "https://example.com/issuer1/",
            [
                "https://example.com/.well-known/oauth-authorization-server/issuer1",
                "https://example.com/issuer1/.well-known/openid-configuration",
                "https://example.com/.well-known/openid-configuration/issuer1",
            ],
        ),
        (
            "http://localhost:3000",
            [
                "http://localhost:3000/.well-known/oauth-authorization-server",
                "http://localhost:3000/.well-known/openid-configuration",
            ],
        ),
    ],
)
def test_the_places_are_those_of_rfc_8414_section_3_1_then_openids(issuer: str, places: list[str]) -> None:
    requests = metadata_requests(issuer)
    assert [request.url for request in requests] == places
    assert all(request.method is Method.GET for request in requests)


@pytest.mark.parametrize(
    "issuer",
    [
        *("", "example.com", "https://example.com?a=b", "https://example.com#a", "https://[", "ftp://example.com"),
        *("http://example.com", "https://me:pw@example.com", "https://example.com/a b", "--issuer", "file:///x"),
    ],
)
def test_what_is_no_issuer_is_refused_before_anything_is_asked(issuer: str) -> None:
    with pytest.raises(ConfigError):
        metadata_requests(issuer)


def test_the_metadata_give_what_a_client_needs() -> None:
    found = read_metadata(reply(METADATA), ISSUER)
    assert found is not None
    assert found.issuer == ISSUER
    assert (found.auth_uri, found.token_uri) == (METADATA["authorization_endpoint"], METADATA["token_endpoint"])
    assert found.client_auth == "basic"
    assert found.iss_in_redirect


def test_a_slash_at_the_end_is_no_other_issuer_and_the_servers_spelling_is_kept() -> None:
    found = read_metadata(reply({**METADATA, "issuer": ISSUER + "/"}), ISSUER)
    assert found is not None
    assert found.issuer == ISSUER + "/"


@pytest.mark.parametrize(
    "nothing",
    [
        reply(METADATA, 404),
        reply(METADATA, 302),
        reply(METADATA, 500),
        Reply(200, {}, b"<!doctype html><title>Welcome</title>"),  # a web application's answer to every address
        Reply(200, {}, b""),
    ],
)
def test_a_place_without_metadata_is_not_the_end_of_the_search(nothing: Reply) -> None:
    assert read_metadata(nothing, ISSUER) is None


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([METADATA], "not a JSON object"),
        ({**METADATA, "issuer": "https://evil.example"}, "evil.example"),
        ({**METADATA, "issuer": None}, "None"),
        ({key: value for key, value in METADATA.items() if key != "issuer"}, "None"),
        ({**METADATA, "token_endpoint": None}, "endpoint"),
        ({**METADATA, "authorization_endpoint": 5}, "endpoint"),
        ({**METADATA, "token_endpoint": "file:///etc/passwd"}, "token_endpoint"),
        ({**METADATA, "authorization_endpoint": "javascript:alert(1)"}, "authorization_endpoint"),
        ({**METADATA, "token_endpoint": "http://server.example.com/token"}, "token_endpoint"),
    ],
)
def test_metadata_that_are_anothers_or_lead_elsewhere_are_refused(told: object, said: str) -> None:
    with pytest.raises(SlyError, match=said) as caught:
        read_metadata(reply(told), ISSUER)
    assert isinstance(caught.value, BadReplyError | ConfigError)
    assert caught.value.kind == "configuration"


@pytest.mark.parametrize("member", ["authorization_endpoint", "token_endpoint", "revocation_endpoint"])
@pytest.mark.parametrize(
    "uri",
    [
        *("http://localhost/x", "http://127.0.0.1:8080/x", "https://localhost/x", "https://127.1.2.3/x"),
        *("https://[::1]/x", "https://[::ffff:127.0.0.1]/x", "https://0.0.0.0/x", "https://[::]/x"),
        *("https://a.localhost/x", "https://LOCALHOST./x", "http://server.example.com/x", "file:///x"),
        "https://server.example.com/x#top",
    ],
)
def test_an_issuer_elsewhere_names_no_endpoint_on_this_machine_or_in_plain_http(uri: str, member: str) -> None:
    with pytest.raises(ConfigError, match=member):
        read_metadata(reply({**METADATA, member: uri}), ISSUER)


def test_an_issuer_on_this_machine_has_its_endpoints_here_too() -> None:
    here = "http://localhost:3000"
    members = {"issuer": here, "authorization_endpoint": f"{here}/a", "token_endpoint": f"{here}/t"}
    found = read_metadata(reply({**METADATA, **members}), here)
    assert found is not None
    assert found.token_uri == f"{here}/t"


values = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()) | st.just(ISSUER)


@given(st.binary() | st.dictionaries(st.sampled_from(list(METADATA)), values).map(lambda d: json.dumps(d).encode()))
def test_any_reply_is_metadata_or_nothing_or_our_error(body: bytes) -> None:
    with suppress(SlyError):
        read_metadata(Reply(200, {}, body), ISSUER)
