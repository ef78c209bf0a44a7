"""Which refusals end a grant, which pass, and which are the set-up's: in the formats and words of many servers."""
from __future__ import annotations

import json
from typing import Any

import pytest

from SlyAPI.errors import GrantEndedError, TokenError, clean_traceback
from SlyAPI.oauth2 import OAuth2User
from SlyAPI.oauth2.messages.token_endpoint import read_token_reply
from SlyAPI.web import Reply
from SlyAPI.web.secret_values import Secrets

SECRETS = Secrets(("sent-s3cret", "old-access-token"))
BEFORE = OAuth2User("old-access-token", "sent-s3cret")
HTML = "<!doctype html><title>Access denied</title><p>Your request was blocked.</p>"

PASSING: list[tuple[int, Any]] = [
    *((status, {"error": "invalid_grant"}) for status in (408, 413, 421, 425, 429, 431, 500, 503)),
    *((status, "") for status in (408, 413, 421, 425, 429, 431)),
    (400, {"error": "rate_limit_exceeded"}),
    (400, {"error": "rateLimitExceeded"}),
    (403, {"error": "access_denied", "error_description": "Rate limit exceeded"}),
    (403, {"error": {"code": 403, "status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded"}}),
    (403, {"error": {"errors": [{"reason": "userRateLimitExceeded"}], "message": "User Rate Limit Exceeded"}}),
    (400, {"error": {"message": "(#4) Application request limit reached", "type": "OAuthException", "code": 4}}),
    (400, {"error": "invalid_grant", "error_description": "login rate exceeded"}),
    (400, {"errors": [{"errorType": "rate_limit", "message": "Too Many Requests"}], "success": False}),
    (400, {"message": "Rate Limit Exceeded", "errors": [{"resource": "Application", "code": "exceeded"}]}),
    (400, {"error": "throttled", "error_description": "Too many refresh requests."}),
    (403, {"error": "too_many_requests"}),
    (200, {"ok": False, "error": "internal_error"}),
    (200, {"ok": False, "error": "fatal_error"}),
    (200, {"ok": False, "error": "service_unavailable"}),
    (200, {"ok": False, "error": "request_timeout"}),
    (400, {"error": "server_error"}),
    (400, {"error": "Temporarily_Unavailable"}),
    (400, {"error": "unknown_error", "error_description": "Could not refresh the token. Please try again later."}),
    (400, {"message": "The service is temporarily unavailable."}),
    (403, {"error": "internal_server_error"}),
    (400, HTML),
    (403, HTML),
    (407, HTML),
    (451, HTML),
]
ENDED: list[tuple[int, Any]] = [
    (400, {"error": "invalid_grant"}),
    (400, {"error": "INVALID_GRANT"}),
    (400, {"error": "invalid_grant", "error_description": "Please try again."}),
    (400, {"error": "invalid_grant", "error_description": "expired access/refresh token"}),
    (401, {"errors": [{"errorType": "invalid_grant", "message": "Refresh token invalid: sent-s3cret."}]}),
    (400, {"errors": [{"errorType": "invalid_grant"}], "success": False}),
    (200, {"errors": [{"errorType": "invalid_grant"}], "success": False}),
    (400, {"message": "Bad Request", "errors": [{"resource": "RefreshToken", "field": "code", "code": "invalid"}]}),
    (400, {"message": "No.", "errors": [{"resource": "RefreshToken", "field": "refresh_token", "code": "invalid"}]}),
    (400, {"status": "BAD_REFRESH_TOKEN", "message": "missing or unknown refresh token"}),
    (400, {"error": "invalid_request", "error_description": "Value passed for the token was invalid."}),
    (400, {"error_type": "OAuthException", "code": 400, "error_message": "The refresh token has expired"}),
    (400, {"error": {"errorId": "INVALID_REFRESH_TOKEN", "message": "refresh token revoked"}}),
    (200, {"ok": False, "error": "invalid_refresh_token"}),
    (200, {"ok": False, "error": "token_revoked"}),
    (403, {"error": "access_revoked"}),
    (400, {"error": "inactive_user"}),
    (400, ""),
]
CONFIGURATION: list[tuple[int, Any]] = [
    (401, {"errors": [{"errorType": "invalid_client", "message": "Invalid authorization header"}]}),
    (400, {"message": "Bad Request", "errors": [{"resource": "Application", "field": "client_id", "code": "invalid"}]}),
    (401, {"message": "Authorization Error", "errors": [{"resource": "Application", "code": "invalid"}]}),
    (400, {"status": "BAD_CLIENT_ID", "message": "missing or invalid client id"}),
    (400, {"error": "INVALID_CLIENT"}),
    (404, HTML),
    (405, HTML),
    (401, ""),
]


def refused(status: int, body: Any, *, refreshing: bool = True) -> TokenError:
    text = body if isinstance(body, str) else json.dumps(body)
    with pytest.raises(TokenError) as caught:
        clean_traceback(read_token_reply)(
            Reply(status, {}, text.encode(), "https://p.example/token"),
            now=1_700_000_000.0,
            previous=BEFORE if refreshing else None,
            secrets=SECRETS,
        )
    return caught.value


@pytest.mark.parametrize("refreshing", [True, False])
@pytest.mark.parametrize(("status", "body"), PASSING)
def test_a_refusal_that_may_pass_ends_no_grant(status: int, body: Any, refreshing: bool) -> None:
    error = refused(status, body, refreshing=refreshing)
    assert (type(error), error.kind) == (TokenError, "transient")


@pytest.mark.parametrize(("status", "body"), ENDED)
def test_a_grant_that_is_over_ends_in_any_format(status: int, body: Any) -> None:
    error = refused(status, body)
    assert (type(error), error.kind) == (GrantEndedError, "permanent")
    assert "Grant again" in str(error)


@pytest.mark.parametrize("refreshing", [True, False])
@pytest.mark.parametrize(("status", "body"), CONFIGURATION)
def test_a_wrong_client_or_address_ends_no_grant(status: int, body: Any, refreshing: bool) -> None:
    error = refused(status, body, refreshing=refreshing)
    assert (type(error), error.kind) == (TokenError, "configuration")


@pytest.mark.parametrize(
    ("body", "code", "description"),
    [
        ({"errors": [{"errorType": "invalid_grant", "message": "No."}]}, "invalid_grant", "No."),
        ({"message": "Bad", "errors": [{"resource": "R", "field": "f", "code": "invalid"}]}, "R f invalid", "Bad"),
        ({"status": "BAD_AUTH_CODE", "message": "m"}, "BAD_AUTH_CODE", "m"),
        ({"error_type": "OAuthException", "error_message": "m"}, "OAuthException", "m"),
        ({"errors": ["broken"]}, "broken", ""),
        ({"errors": [None, 5]}, "http_400", ""),
        ({"errors": {"a": 1}}, "http_400", ""),
        ({"error": True, "message": "m"}, "http_400", "m"),
    ],
)
def test_a_foreign_format_is_read_as_a_code_and_a_description(body: Any, code: str, description: str) -> None:
    error = refused(400, body, refreshing=False)
    assert (error.error, error.error_description) == (code, description)


@pytest.mark.parametrize("refreshing", [True, False])
@pytest.mark.parametrize(
    ("body", "piece"),
    [
        (HTML, "Your request was blocked."),
        ("Blocked by the firewall, case 4711", "case 4711"),
        ('{"reference": "4711"}', "4711"),
        ("<script>var a = 1</script><p>Case\r\n4711</p>", "Case 4711"),
    ],
)
def test_what_is_not_understood_is_shown_in_part(body: str, piece: str, refreshing: bool) -> None:
    error = refused(400, body, refreshing=refreshing)
    assert piece in str(error)
    assert "<" not in str(error)


@pytest.mark.parametrize(
    "body", ["blocked: sent-s3cret", "<p>sent-s3cret</p>", "sent%2Ds3cret " * 500, "x" * 295 + "sent-s3cret"]
)
def test_what_is_shown_of_a_text_is_bounded_and_has_no_secret_in_it(body: str) -> None:
    error = refused(400, body)
    assert "s3cret" not in str(error)
    assert len(str(error)) < 600
