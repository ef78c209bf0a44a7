"""Every recorded reply of a token endpoint, and what must come of it."""
from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from SlyAPI.errors import BadReplyError, GrantEndedError, Kind, SlyError, TokenError
from SlyAPI.oauth2 import OAuth2User
from SlyAPI.oauth2.messages.token_endpoint import GRANT_AGAIN, read_token_reply
from SlyAPI.web import Reply
from SlyAPI.web.secret_values import Secrets

NOW = 1_700_000_000.0
SAMPLES = Path(__file__).parent.parent / "samples"
REQUESTED = ["asked"]
BEFORE = OAuth2User("old", "kept", scopes=["granted", "before"], client_auth="basic", extra={"note": "mine"})


@dataclass(frozen=True)
class Sample:
    """One recorded reply."""

    name: str
    status: int
    headers: dict[str, str]
    body: str

    @property
    def refreshing(self) -> bool:
        return "refresh" in self.name

    def read(self) -> OAuth2User:
        reply = Reply(self.status, self.headers, self.body.encode(), "https://provider.example/token?tenant=1")
        previous = BEFORE if self.refreshing else None
        requested = None if self.refreshing else REQUESTED
        return read_token_reply(reply, now=NOW, requested=requested, previous=previous, secrets=Secrets())


def load(name: str) -> Sample:
    told: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))
    return Sample(name, told["status"], told["headers"], told["body"])


# name: (token, refresh token, seconds it lives, scopes)
USERS: dict[str, tuple[str, str | None, float | None, list[str]]] = {
    "google_exchange": (
        "ya29.x",
        "1//x",
        3600,
        ["https://www.googleapis.com/auth/drive.metadata.readonly", "openid"],
    ),
    "google_refresh": ("ya29.y", "kept", 3599, ["openid"]),
    "github_exchange": ("gho_x", None, None, ["repo", "gist"]),
    "github_exchange_form": ("gho_x", None, None, ["repo", "gist"]),
    "github_app_exchange": ("ghu_x", "ghr_x", 28800, []),
    "discord_exchange": ("x", "x", 604800, ["identify"]),
    "microsoft_exchange": ("eyJ.x", "x", 3599, ["https://graph.microsoft.com/mail.read"]),
    "spotify_exchange": ("x", "x", 3600, ["user-read-private", "user-read-email"]),
    "twitch_exchange": ("x", "x", 14124, ["channel:moderate", "chat:read"]),
    "twitch_refresh": ("y", "y", None, ["channel:read:subscriptions"]),
    "slack_exchange": ("xoxb-x", None, None, ["chat:write", "users:read"]),
    "slack_exchange_rotating": ("xoxe.xoxb-x", "xoxe-x", 43200, ["chat:write", "users:read"]),
    "slack_exchange_user_only": ("xoxp-x", None, None, ["chat:write", "search:read"]),
    "gitlab_exchange": ("x", "x", 7200, ["asked"]),
    "reddit_exchange": ("x", "x", 3600, ["identity", "read"]),
    "dropbox_exchange": ("sl.x", "x", 14400, ["account_info.read"]),
    "dropbox_refresh": ("sl.y", "kept", 14400, ["granted", "before"]),
    "mastodon_exchange": ("x", None, None, ["read", "write", "follow", "push"]),
    "zoom_exchange": ("eyJ.x", "eyJ.x", 3600, ["user:read:user"]),
    "atlassian_exchange": ("eyJ.x", "eyJ.x", 3600, ["read:jira-work", "offline_access"]),
    "notion_exchange": ("ntn_x", "nrt_x", None, ["asked"]),
    "linkedin_exchange": ("AQx", None, 5184000, ["email", "openid", "profile"]),
    "linkedin_partner_exchange": ("AQx", "AQx", 86400, ["r_basicprofile"]),
    "fitbit_exchange": ("eyJ.x", "fitbit-refresh", 28800, ["activity", "heartrate"]),
    "strava_exchange": ("a4b945687g", "e5n567567", 21600, ["asked"]),
    "strava_refresh": ("a9b723", "b5c569", 20566, ["granted", "before"]),
    "hubspot_exchange": ("CIrv", "na1-6e", 1800, ["asked"]),
    "salesforce_exchange": ("00Dx0000000BV7z!AR8", "salesforce-refresh", None, ["api", "refresh_token"]),
    "salesforce_refresh": ("00Dx0000000BV7z!AR9", "kept", None, ["api", "refresh_token"]),
    "x_exchange": ("bWRWeV", "SUpSd0", 7200, ["tweet.read", "users.read", "offline.access"]),
    "yahoo_exchange": ("yahoo-access", "yahoo-refresh", 3600, ["asked"]),
    "box_exchange": ("box-access", "box-refresh", 3600, ["asked"]),
    "bitbucket_exchange": ("KWVo", "ZDeq", 7200, ["asked"]),
    "asana_exchange": ("asana-access", "asana-refresh", 3600, ["asked"]),
    "asana_refresh": ("g7et8geb7", "kept", 3600, ["granted", "before"]),
    "patreon_exchange": ("UAx", "Rfx", 2678400, ["identity", "identity[email]"]),
    "wild_expires_in_text": ("x", "r", 3600, ["asked"]),
    "wild_expires_in_float": ("x", "r", 3599.5, ["asked"]),
    "wild_expires_in_zero": ("x", "r", None, ["asked"]),
    # no reply says that it counts in milliseconds: the token is then believed too long, and a 401 refreshes it
    "wild_expires_in_milliseconds": ("x", "r", 3_600_000, ["asked"]),
    "wild_expires_in_null": ("x", "r", None, ["asked"]),
    "wild_expires_in_words": ("x", "r", None, ["asked"]),
    "wild_iat_and_exp": ("x", "r", 900, ["asked"]),
    "wild_exp_alone": ("x", "r", 600, ["asked"]),
    "wild_token_type_missing": ("x", None, 60, ["asked"]),
    "wild_token_type_upper_case": ("x", None, 60, ["asked"]),
    "wild_scope_array_with_others": ("x", None, None, ["a", "c"]),
    "wild_keys_of_our_own_file": ("x", None, 60, ["asked"]),
    "wild_success_with_empty_error": ("x", None, None, ["asked"]),
    "wild_json_as_plain_text": ("x", None, None, ["asked"]),
    "wild_form_without_content_type": ("x", None, 60, ["asked"]),
}

Refusal = tuple[type[SlyError], Kind, str, str]
# name: (error, what helps, the provider's code, a piece of the message or of the next step)
ERRORS: dict[str, Refusal] = {
    "google_refresh_error": (GrantEndedError, "permanent", "invalid_grant", "Token has been expired or revoked."),
    "github_exchange_error": (TokenError, "permanent", "bad_verification_code", "incorrect or expired"),
    "github_exchange_error_form": (TokenError, "permanent", "bad_verification_code", "incorrect or expired"),
    "github_refresh_error": (GrantEndedError, "permanent", "bad_refresh_token", GRANT_AGAIN),
    "discord_exchange_error": (TokenError, "permanent", "invalid_grant", 'Invalid "code" in request.'),
    "microsoft_exchange_error": (TokenError, "configuration", "invalid_scope", "not valid. Trace ID: 255d1aef"),
    "twitch_refresh_error": (GrantEndedError, "permanent", "Bad Request", "Invalid refresh token"),
    "twitch_exchange_error": (TokenError, "permanent", "http_400", "Invalid authorization code"),
    "twitch_wrong_secret": (TokenError, "configuration", "http_403", "Check id and secret"),
    "slack_refresh_error": (GrantEndedError, "permanent", "invalid_refresh_token", GRANT_AGAIN),
    "slack_wrong_secret": (TokenError, "configuration", "bad_client_secret", "Check id and secret"),
    "slack_rate_limited": (TokenError, "transient", "ratelimited", "try again later"),
    "reddit_exchange_error": (TokenError, "permanent", "invalid_grant", GRANT_AGAIN),
    "reddit_wrong_secret": (TokenError, "configuration", "401", "Check id and secret"),
    "dropbox_refresh_error": (GrantEndedError, "permanent", "invalid_grant", "invalid or revoked"),
    "mastodon_exchange_error": (TokenError, "permanent", "invalid_grant", "was issued to another client"),
    "mastodon_wrong_secret": (TokenError, "configuration", "invalid_client", "--client-auth"),
    "zoom_refresh_error": (GrantEndedError, "permanent", "invalid_grant", "Invalid Token!"),
    "zoom_refresh_error_invalid_request": (GrantEndedError, "permanent", "invalid_request", "Invalid Token!"),
    "atlassian_refresh_error": (GrantEndedError, "permanent", "invalid_grant", "Unknown or invalid refresh token."),
    "linkedin_exchange_error": (TokenError, "configuration", "invalid_client", "Check id and secret"),
    "linkedin_basic_refused": (TokenError, "configuration", "invalid_request", '"client_id" is missing'),
    "fitbit_refresh_error": (GrantEndedError, "permanent", "invalid_grant", GRANT_AGAIN),
    "fitbit_exchange_error": (TokenError, "permanent", "invalid_grant", "Authorization code invalid"),
    "fitbit_wrong_secret": (TokenError, "configuration", "invalid_client", "Check id and secret"),
    "strava_refresh_error": (GrantEndedError, "permanent", "RefreshToken refresh_token invalid", GRANT_AGAIN),
    "strava_exchange_error": (TokenError, "permanent", "AuthorizationCode code invalid", GRANT_AGAIN),
    "strava_wrong_secret": (TokenError, "configuration", "Application client_secret invalid", "Check id and secret"),
    "strava_rate_limited": (TokenError, "transient", "Application overall rate limit exceeded", "try again later"),
    "hubspot_refresh_error": (GrantEndedError, "permanent", "BAD_REFRESH_TOKEN", GRANT_AGAIN),
    "hubspot_exchange_error": (TokenError, "permanent", "BAD_AUTH_CODE", GRANT_AGAIN),
    "hubspot_wrong_secret": (TokenError, "configuration", "BAD_CLIENT_SECRET", "Check id and secret"),
    "salesforce_refresh_error": (GrantEndedError, "permanent", "invalid_grant", "expired access/refresh token"),
    "salesforce_refresh_rate_limited": (TokenError, "transient", "invalid_grant", "try again later"),
    "x_refresh_error": (GrantEndedError, "permanent", "invalid_request", GRANT_AGAIN),
    "x_exchange_without_basic": (TokenError, "configuration", "unauthorized_client", "see its console"),
    "yahoo_refresh_error": (GrantEndedError, "permanent", "INVALID_REFRESH_TOKEN", GRANT_AGAIN),
    "yahoo_exchange_error": (TokenError, "permanent", "INVALID_INPUT", "not acceptable"),
    "box_refresh_error": (GrantEndedError, "permanent", "invalid_grant", "Refresh token has expired"),
    "box_wrong_secret": (TokenError, "configuration", "invalid_client", "Check id and secret"),
    "bitbucket_refresh_error": (GrantEndedError, "permanent", "invalid_grant", "Invalid refresh_token"),
    "asana_refresh_error": (GrantEndedError, "permanent", "invalid_grant", "provided was invalid"),
    "patreon_refresh_error": (GrantEndedError, "permanent", "invalid_grant", GRANT_AGAIN),
    "facebook_rate_limited": (TokenError, "transient", "OAuthException", "try again later"),
    "instagram_exchange_error": (TokenError, "permanent", "OAuthException", "Matching code was not found"),
    "slack_refresh_internal_error": (TokenError, "transient", "internal_error", "try again later"),
    "wild_refresh_blocked_by_a_proxy": (TokenError, "transient", "http_403", "Blocked by policy."),
    "wild_facebook_error": (TokenError, "permanent", "OAuthException", "Error validating verification code."),
    "wild_google_style_error": (TokenError, "configuration", "UNAUTHENTICATED", "Check id and secret"),
    "wild_refresh_refused_empty_body": (GrantEndedError, "permanent", "http_400", GRANT_AGAIN),
    "wild_refresh_refused_403_own_code": (GrantEndedError, "permanent", "access_revoked", "took the access back"),
    "wild_token_type_mac": (BadReplyError, "configuration", "", "'mac'"),
    "wild_token_type_dpop": (BadReplyError, "configuration", "", "'DPoP'"),
    "wild_array": (BadReplyError, "transient", "", "JSON that is not an object"),
    "wild_html_login_page": (BadReplyError, "transient", "", "HTML"),
    "wild_html_error_page": (TokenError, "configuration", "http_404", "Check token_uri"),
    "wild_gateway_error_page": (TokenError, "transient", "http_502", "try again later"),
    "wild_cut_short": (BadReplyError, "transient", "", "cut short"),
    "wild_empty": (BadReplyError, "transient", "", "empty"),
    "wild_no_content": (BadReplyError, "transient", "", "empty"),
    "wild_redirect": (TokenError, "configuration", "http_302", "secrets do not follow redirects"),
    "wild_method_not_allowed": (TokenError, "configuration", "http_405", "Check token_uri"),
    "wild_temporarily_unavailable": (TokenError, "transient", "temporarily_unavailable", "try again later"),
    "wild_maintenance": (TokenError, "transient", "http_503", "try again later"),
    "wild_access_token_number": (BadReplyError, "transient", "", "access_token is a number"),
    "wild_access_token_with_line_break": (BadReplyError, "transient", "", "header may not carry"),
    "wild_two_access_tokens": (BadReplyError, "transient", "", "two different values of access_token"),
    "wild_redirect_uri_mismatch": (TokenError, "configuration", "redirect_uri_mismatch", "Register exactly"),
    "wild_unauthorized_client": (TokenError, "configuration", "unauthorized_client", "see its console"),
}


def test_every_sample_has_an_expectation() -> None:
    assert {path.stem for path in SAMPLES.glob("*.json")} == USERS.keys() | ERRORS.keys()


@pytest.mark.parametrize("name", USERS)
def test_the_reply_is_read_as_a_user(name: str) -> None:
    user = load(name).read()
    token, refresh_token, life, scopes = USERS[name]
    assert (user.token, user.refresh_token, user.scopes) == (token, refresh_token, scopes)
    assert user.expires_at == (None if life is None else datetime.fromtimestamp(NOW + life, UTC))
    assert user.token_type == "Bearer"


@pytest.mark.parametrize("name", [name for name in USERS if "refresh" in name])
def test_what_a_refresh_says_nothing_of_stays(name: str) -> None:
    user = load(name).read()
    assert (user.client_auth, user.extra) == ("basic", {"note": "mine"})


def test_a_reply_cannot_plant_values_of_our_file_format() -> None:
    user = load("wild_keys_of_our_own_file").read()
    assert (user.client_auth, user.extra, user.requested_scopes) == (None, None, None)


def test_scopes_that_were_asked_for_and_not_granted_are_told() -> None:
    user = load("spotify_exchange").read()
    assert user.requested_scopes == ["asked"]
    assert user.missing_scopes == ["asked"]
    assert load("gitlab_exchange").read().missing_scopes == []


@pytest.mark.parametrize("name", ERRORS)
def test_the_reply_is_read_as_an_error(name: str) -> None:
    sample = load(name)
    error_type, kind, code, piece = ERRORS[name]
    with pytest.raises(SlyError) as caught:
        sample.read()
    error = caught.value
    assert type(error) is error_type
    assert error.kind == kind
    assert piece in str(error)
    assert "https://provider.example/token" in str(error)
    assert "tenant" not in str(error), "a query is no part of a message"
    assert error.next_step, "every error says what to do next"
    if isinstance(error, TokenError):
        assert (error.error, error.status) == (code, sample.status)
        assert str(sample.status) in str(error)


def test_retry_after_is_data_on_the_error() -> None:
    with pytest.raises(TokenError) as caught:
        load("wild_maintenance").read()
    assert caught.value.retry_after == 120.0


def test_the_same_value_twice_is_no_contradiction() -> None:
    body = b'{"access_token":"x","token_type":"bearer","access_token":"x"}'
    assert read_token_reply(Reply(200, {}, body), now=NOW, secrets=Secrets()).token == "x"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_json_is_read_in_every_unicode_encoding(encoding: str) -> None:
    body = '{"access_token": "x", "team": "Größe"}'.encode(encoding)
    assert read_token_reply(Reply(200, {}, body), now=NOW, secrets=Secrets()).token == "x"


@pytest.mark.parametrize(
    "life",
    ["1e999", "-1e999", "NaN", "Infinity", "1" + "0" * 400, "-5", '"1e400"', "1e300", "253402300800", "true", "[60]"],
)
def test_absurd_lifetimes_are_unknown_lifetimes(life: str) -> None:
    body = f'{{"access_token": "x", "expires_in": {life}}}'.encode()
    assert read_token_reply(Reply(200, {}, body), now=NOW, secrets=Secrets()).expires_at is None


def test_a_number_with_too_many_digits_is_our_error() -> None:
    body = b'{"access_token": "x", "expires_in": ' + b"1" * 10_000 + b"}"
    with pytest.raises(BadReplyError):
        read_token_reply(Reply(200, {}, body), now=NOW, secrets=Secrets())


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"a":' * 200_000, b'{"access_token":"x","a":' + b"[" * 200_000])
def test_deep_nesting_is_our_error(body: bytes) -> None:
    with pytest.raises(BadReplyError):
        read_token_reply(Reply(200, {}, body), now=NOW, secrets=Secrets())


def test_form_fields_twice_are_refused() -> None:
    body = b"access_token=x&access_token=y&token_type=bearer"
    with pytest.raises(BadReplyError):
        read_token_reply(Reply(200, {}, body), now=NOW, secrets=Secrets())


def test_a_lone_surrogate_is_read_as_any_other_character() -> None:
    body = b'{"access_token": "x", "team": "\xed\xa0\x80"}'
    assert read_token_reply(Reply(200, {}, body), now=NOW, secrets=Secrets()).token == "x"
