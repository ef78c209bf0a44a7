"""Where an issuer's endpoints are: RFC 8414 and OpenID Connect Discovery."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI.errors import BadReplyError, ConfigError, SlyError
from SlyAPI.oauth2.client.discovery import SETTINGS, client_settings, merged, metadata_requests, read_metadata
from SlyAPI.oauth2.messages.protected_resource import metadata_places, read_resource_metadata
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
                "https://example.com/.well-known/openid-configuration/issuer1",
                "https://example.com/issuer1/.well-known/openid-configuration",
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
    assert client_settings(found) == {
        "issuer": ISSUER,
        "auth_uri": METADATA["authorization_endpoint"],
        "token_uri": METADATA["token_endpoint"],
        "client_auth": "basic",
        "iss_in_redirect": True,
        "pkce_offered": False,
    }


@pytest.mark.parametrize(
    ("member", "value", "setting", "learned"),
    [
        ("code_challenge_methods_supported", ["plain", "S256"], "pkce_offered", True),
        ("code_challenge_methods_supported", ["plain"], "pkce_offered", False),
        ("require_pushed_authorization_requests", True, "require_par", True),
        ("dpop_signing_alg_values_supported", ["ES256", "RS256"], "dpop_algs", ["ES256", "RS256"]),
        ("id_token_signing_alg_values_supported", ["ES256", "RS256"], "id_token_alg", None),
        ("id_token_signing_alg_values_supported", ["HS256", "EdDSA", "ES256"], "id_token_alg", ["ES256", "EdDSA"]),
        ("id_token_signing_alg_values_supported", ["none"], "id_token_alg", None),
        ("mtls_endpoint_aliases", {"token_endpoint": f"{ISSUER}/m"}, "mtls_aliases", {"token_endpoint": f"{ISSUER}/m"}),
        ("device_authorization_endpoint", f"{ISSUER}/d", "device_uri", f"{ISSUER}/d"),
        ("pushed_authorization_request_endpoint", f"{ISSUER}/p", "par_uri", f"{ISSUER}/p"),
        ("introspection_endpoint", f"{ISSUER}/i", "introspect_uri", f"{ISSUER}/i"),
        ("end_session_endpoint", f"{ISSUER}/l", "logout_uri", f"{ISSUER}/l"),
        ("jwks_uri", f"{ISSUER}/j", "jwks_uri", f"{ISSUER}/j"),
        ("token_endpoint_auth_methods_supported", ["client_secret_jwt"], "client_auth", "client_secret_jwt"),
        ("token_endpoint_auth_methods_supported", ["client_secret_basic", "client_secret_post"], "client_auth", None),
    ],
)
def test_what_discovery_learns(member: str, value: object, setting: str, learned: object) -> None:
    found = read_metadata(reply({**METADATA, member: value}), ISSUER)
    assert found is not None
    assert client_settings(found).get(setting) == learned


@pytest.mark.parametrize("empty", [None, ""])
def test_an_optional_member_that_is_null_or_empty_is_absent(empty: object) -> None:
    optional = {name: empty for name in (*SETTINGS.values(), *_LISTS) if name not in METADATA}
    aliases = {"mtls_endpoint_aliases": {"token_endpoint": f"{ISSUER}/m", "introspection_endpoint": empty}}
    found = read_metadata(reply({**METADATA, **optional, **aliases}), ISSUER)
    assert found is not None
    assert client_settings(found) == {
        **client_settings(METADATA),
        "mtls_aliases": {"token_endpoint": f"{ISSUER}/m"},
    }
    other = read_metadata(reply({**METADATA, "mtls_endpoint_aliases": empty, "introspection_endpoint": ISSUER}), ISSUER)
    assert other is not None
    assert merged([found, other], ISSUER)["introspection_endpoint"] == ISSUER, "a gap is filled"
    place = metadata_places(ISSUER)[0]
    resource = read_resource_metadata(
        reply({"resource": ISSUER, "authorization_servers": empty, "scopes_supported": empty}), place
    )
    assert resource is not None
    assert (resource.issuers, resource.scopes) == ([], [])


_LISTS = (
    "code_challenge_methods_supported",
    "dpop_signing_alg_values_supported",
    "id_token_signing_alg_values_supported",
    "scopes_supported",
    "grant_types_supported",
)


@pytest.mark.parametrize("theirs", [ISSUER + "/", ISSUER])
def test_an_issuer_is_compared_as_it_is_written_and_the_error_shows_the_other_spelling(theirs: str) -> None:
    ours = ISSUER if theirs.endswith("/") else ISSUER + "/"
    with pytest.raises(BadReplyError) as caught:
        read_metadata(reply({**METADATA, "issuer": theirs}), ours)
    assert caught.value.next_step.rstrip(".").endswith(theirs)
    assert read_metadata(reply({**METADATA, "issuer": theirs}), theirs) is not None


def test_the_first_document_counts_and_the_next_fills_its_gaps() -> None:
    first, second = {"token_endpoint": "1", "issuer": ISSUER}, {"token_endpoint": "2", "jwks_uri": "2"}
    assert merged([first, second], ISSUER) == {"token_endpoint": "1", "issuer": ISSUER, "jwks_uri": "2"}


def test_metadata_without_a_token_endpoint_are_of_no_use() -> None:
    with pytest.raises(BadReplyError, match="endpoint"):
        merged([{"issuer": ISSUER}], ISSUER)


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
        merged([read_metadata(reply(told), ISSUER) or {}], ISSUER)
    assert isinstance(caught.value, BadReplyError | ConfigError)
    assert caught.value.kind == "configuration"


INSIDE = (
    *("http://localhost/x", "http://127.0.0.1:8080/x", "https://localhost/x", "https://127.1.2.3/x"),
    *("https://[::1]/x", "https://[::ffff:127.0.0.1]/x", "https://0.0.0.0/x", "https://[::]/x"),
    *("https://a.localhost/x", "https://LOCALHOST./x", "https://10.0.0.1/x", "https://169.254.169.254/x"),
    *("https://a.internal/x", "https://[::ffff:10.0.0.1]/x", "https://0x0a000001/x", "https://printer.local/x"),
)
ELSEWHERE = ("http://server.example.com/x", "file:///x", "https://server.example.com/x#top")


@pytest.mark.parametrize("member", ["authorization_endpoint", "token_endpoint", "revocation_endpoint", "jwks_uri"])
@pytest.mark.parametrize("uri", [*INSIDE, *ELSEWHERE])
def test_an_issuer_elsewhere_names_no_endpoint_inside_or_in_plain_http(uri: str, member: str) -> None:
    with pytest.raises(ConfigError, match=member):
        read_metadata(reply({**METADATA, member: uri}), ISSUER)


@pytest.mark.parametrize("uri", [*INSIDE, *ELSEWHERE])
def test_a_resource_elsewhere_names_no_issuer_inside_or_in_plain_http(uri: str) -> None:
    (place,) = metadata_places("https://api.example.com")
    metadata = {"resource": "https://api.example.com", "authorization_servers": [ISSUER, uri]}
    with pytest.raises(ConfigError):
        read_resource_metadata(reply(metadata), place)
    (place,) = metadata_places("https://localhost")
    if uri in INSIDE:
        metadata = {"resource": "https://localhost", "authorization_servers": [uri]}
        assert read_resource_metadata(reply(metadata), place)


def test_an_issuer_on_this_machine_has_its_endpoints_here_too() -> None:
    here = "http://localhost:3000"
    members = {"issuer": here, "authorization_endpoint": f"{here}/a", "token_endpoint": f"{here}/t"}
    found = read_metadata(reply({**METADATA, **members}), here)
    assert found is not None
    assert found["token_endpoint"] == f"{here}/t"


values = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()) | st.just(ISSUER)


@given(st.binary() | st.dictionaries(st.sampled_from(list(METADATA)), values).map(lambda d: json.dumps(d).encode()))
def test_any_reply_is_metadata_or_nothing_or_our_error(body: bytes) -> None:
    with suppress(SlyError):
        read_metadata(Reply(200, {}, body), ISSUER)
