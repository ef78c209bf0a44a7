"""Which refusals end a grant, which pass, and which are the set-up's: in the formats and words of many servers."""
from __future__ import annotations

import json
from typing import Any

import pytest

from SlyAPI.errors import GrantEndedError, TokenError, clean_traceback
from SlyAPI.oauth2 import OAuth2User
from SlyAPI.oauth2.messages.token_endpoint import GRANT_AGAIN, read_token_reply
from SlyAPI.web import Reply
from SlyAPI.web.secret_values import Secrets

SECRETS = Secrets(("sent-s3cret", "old-access-token"))
BEFORE = OAuth2User("old-access-token", "sent-s3cret")
HTML = "<!doctype html><title>Access denied</title><p>Your request was blocked.</p>"

BUSY = (408, 413, 421, 425, 429, 431, 500, 502, 503, 504, 529, 599)
STATUSES = (*range(400, 432), 451, 499, *BUSY[6:])

ENDED: list[Any] = [
    {"error": "invalid_grant"},
    {"error": "INVALID_GRANT"},
    {"error": "invalid_grant", "error_description": "Please try again."},
    {"error": "invalid_grant", "error_description": "expired access/refresh token"},
    {"error": "invalid_grant", "error_description": "The client was deleted."},
    {"errors": [{"errorType": "invalid_grant", "message": "Refresh token invalid: sent-s3cret."}]},
    {"errors": [{"errorType": "invalid_grant"}], "success": False},
    {"message": "Bad Request", "errors": [{"resource": "RefreshToken", "field": "code", "code": "invalid"}]},
    {"message": "No.", "errors": [{"resource": "RefreshToken", "field": "refresh_token", "code": "invalid"}]},
    {"status": "BAD_REFRESH_TOKEN", "message": "missing or unknown refresh token"},
    {"error": "bad_refresh_token", "error_description": "The refresh token passed is incorrect or expired."},
    {"error": "INVALID_REFRESH_TOKEN", "error_description": "Invalid refresh token"},
    {"error": {"errorId": "INVALID_REFRESH_TOKEN", "message": "refresh token revoked"}},
    {"ok": False, "error": "invalid_refresh_token"},
    {"ok": False, "error": "token_revoked"},
    {"error": "access_revoked", "error_description": "The person took the access back."},
    {"error": "Bad Request", "status": 400, "message": "Invalid refresh token"},
    {"error": "invalid_request", "error_description": "Value passed for the token was invalid."},
    {"error": "invalid_request", "error_description": "The refresh token is too old"},
    {"error": "invalid_request", "reason": "Invalid Token!"},
    {"error_type": "OAuthException", "code": 400, "error_message": "The refresh token has expired"},
]
PASSING: list[Any] = [
    {"error": "use_dpop_nonce"},
    {"error": "rate_limit_exceeded"},
    {"error": "rateLimitExceeded"},
    {"error": "access_denied", "error_description": "Rate limit exceeded"},
    {"error": {"code": 403, "status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded"}},
    {"error": {"errors": [{"reason": "userRateLimitExceeded"}], "message": "User Rate Limit Exceeded"}},
    {"error": {"message": "(#4) Application request limit reached", "type": "OAuthException", "code": 4}},
    {"error": "invalid_grant", "error_description": "login rate exceeded"},
    {"errors": [{"errorType": "rate_limit", "message": "Too Many Requests"}], "success": False},
    {"message": "Rate Limit Exceeded", "errors": [{"resource": "Application", "code": "exceeded"}]},
    {"error": "throttled", "error_description": "Too many refresh requests."},
    {"error": "too_many_requests"},
    {"ok": False, "error": "internal_error"},
    {"ok": False, "error": "fatal_error"},
    {"ok": False, "error": "service_unavailable"},
    {"ok": False, "error": "request_timeout"},
    {"error": "server_error"},
    {"error": "Temporarily_Unavailable"},
    {"error": "unknown_error", "error_description": "Could not refresh the token. Please try again later."},
    {"message": "The service is temporarily unavailable."},
    {"error": "internal_server_error"},
]
CONFIGURATION: list[Any] = [
    {"errors": [{"errorType": "invalid_client", "message": "Invalid authorization header"}]},
    {"message": "Bad Request", "errors": [{"resource": "Application", "field": "client_id", "code": "invalid"}]},
    {"status": "BAD_CLIENT_ID", "message": "missing or invalid client id"},
    {"error": "INVALID_CLIENT"},
    {"ok": False, "error": "bad_client_secret"},
    {"error": "invalid_client", "error_description": "no refresh for you: the refresh token is invalid"},
    {"error": "unauthorized_client", "error_description": "The refresh token was revoked"},
    {"error": "invalid_scope"},
    {"error": "unsupported_grant_type", "error_description": "Invalid grant type: refresh_token"},
    {"error": "invalid_request"},
    {"error": "invalid_request", "error_description": "The grant_type refresh_token is invalid"},
    {"error": "invalid_request", "error_description": "Grant type 'refresh_token' is invalid"},
    {"error": "invalid_request", "error_description": "The CSRF token was invalid"},
]
UNCLEAR: list[Any] = [
    "",
    " ",
    HTML,
    "Blocked by the firewall, case 4711",
    "{}",
    "null",
    {"more": 1},
    {"status": 403, "error": "Forbidden"},
    {"timestamp": "2026-12-02", "status": 400, "error": "Bad Request", "message": "", "path": "/token"},
    {"statusCode": 401, "message": "Unauthorized"},
    {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": "Blocked."},
    {"error": {"code": 403, "message": "The caller does not have permission", "status": "PERMISSION_DENIED"}},
    {"error": "access_denied", "error_description": "This address may not connect."},
    {"error": "invalid_token", "error_description": "The access token expired"},
    {"message": "Invalid token."},
    {"message": "The security token included in the request is invalid."},
    {"error": "inactive_user"},
    {"error": "interaction_required"},
    {"error": "of_their_own", "error_description": "No refresh today."},
    {"error": 403},
]
FORMS = {
    json.dumps(body): (body, form)
    for form, bodies in {
        "ended": ENDED,
        "transient": PASSING,
        "configuration": CONFIGURATION,
        "unclear": UNCLEAR,
    }.items()
    for body in bodies
}


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


@pytest.mark.parametrize("form", FORMS)
def test_only_what_says_that_the_grant_is_over_ends_it_whatever_the_status(form: str) -> None:
    body, meaning = FORMS[form]
    for status in STATUSES if meaning == "unclear" or "ok" not in body else (200, *STATUSES):
        for refreshing in (True, False):
            error = refused(status, body, refreshing=refreshing)
            told = (status, refreshing, type(error), error.kind)
            ended = refreshing and (meaning == "ended" or (status == 400 and body in ("", " ")))
            if status in BUSY or meaning == "transient":
                assert told[2:] == (TokenError, "transient"), told
            elif ended:
                assert told[2:] == (GrantEndedError, "permanent"), told
                assert error.next_step == GRANT_AGAIN
            elif meaning == "configuration":
                assert told[2:] == (TokenError, "configuration"), told
            else:
                assert type(error) is TokenError, told
                assert not refreshing or error.kind != "permanent", told
            assert error.next_step


@pytest.mark.parametrize("status", [401, 404, 405])
def test_a_status_that_names_the_mistake_is_taken_at_its_word(status: int) -> None:
    for body in ("", HTML, {"error": "gone"}):
        error = refused(status, body)
        assert error.kind == "configuration"
        assert ("id and secret" if status == 401 else "token_uri") in error.next_step


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
