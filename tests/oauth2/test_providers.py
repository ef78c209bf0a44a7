"""The table of providers against what their documentation says, written out once more."""
from __future__ import annotations

import pytest

from SlyAPI.oauth2.client.providers import PROVIDERS, provider_of
from SlyAPI.web.urls import check_endpoint

# name: (auth_uri, token_uri, how the secret is sent)
DOCUMENTED: dict[str, tuple[str, str, str]] = {
    "google": ("https://accounts.google.com/o/oauth2/v2/auth", "https://oauth2.googleapis.com/token", "post"),
    "github": ("https://github.com/login/oauth/authorize", "https://github.com/login/oauth/access_token", "post"),
    "discord": ("https://discord.com/oauth2/authorize", "https://discord.com/api/oauth2/token", "basic"),
    "microsoft": (
        "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
        "https://login.microsoftonline.com/common/oauth2/v2.0/token",
        "post",
    ),
    "spotify": ("https://accounts.spotify.com/authorize", "https://accounts.spotify.com/api/token", "basic"),
    "twitch": ("https://id.twitch.tv/oauth2/authorize", "https://id.twitch.tv/oauth2/token", "post"),
    "slack": ("https://slack.com/oauth/v2/authorize", "https://slack.com/api/oauth.v2.access", "basic"),
    "gitlab": ("https://gitlab.com/oauth/authorize", "https://gitlab.com/oauth/token", "post"),
    "reddit": ("https://www.reddit.com/api/v1/authorize", "https://www.reddit.com/api/v1/access_token", "basic"),
    "dropbox": ("https://www.dropbox.com/oauth2/authorize", "https://api.dropboxapi.com/oauth2/token", "basic"),
    "mastodon": ("https://INSTANCE/oauth/authorize", "https://INSTANCE/oauth/token", "post"),
    "zoom": ("https://zoom.us/oauth/authorize", "https://zoom.us/oauth/token", "basic"),
    "atlassian": ("https://auth.atlassian.com/authorize", "https://auth.atlassian.com/oauth/token", "post"),
    "notion": ("https://api.notion.com/v1/oauth/authorize", "https://api.notion.com/v1/oauth/token", "basic"),
    "linkedin": (
        "https://www.linkedin.com/oauth/v2/authorization",
        "https://www.linkedin.com/oauth/v2/accessToken",
        "post",
    ),
    "fitbit": ("https://www.fitbit.com/oauth2/authorize", "https://api.fitbit.com/oauth2/token", "basic"),
    "strava": ("https://www.strava.com/oauth/authorize", "https://www.strava.com/oauth/token", "post"),
    "hubspot": ("https://app.hubspot.com/oauth/authorize", "https://api.hubapi.com/oauth/v1/token", "post"),
    "salesforce": (
        "https://login.salesforce.com/services/oauth2/authorize",
        "https://login.salesforce.com/services/oauth2/token",
        "post",
    ),
    "x": ("https://x.com/i/oauth2/authorize", "https://api.x.com/2/oauth2/token", "basic"),
    "yahoo": (
        "https://api.login.yahoo.com/oauth2/request_auth",
        "https://api.login.yahoo.com/oauth2/get_token",
        "basic",
    ),
    "box": ("https://account.box.com/api/oauth2/authorize", "https://api.box.com/oauth2/token", "post"),
    "bitbucket": (
        "https://bitbucket.org/site/oauth2/authorize",
        "https://bitbucket.org/site/oauth2/access_token",
        "basic",
    ),
    "asana": ("https://app.asana.com/-/oauth_authorize", "https://app.asana.com/-/oauth_token", "post"),
    "patreon": ("https://www.patreon.com/oauth2/authorize", "https://www.patreon.com/api/oauth2/token", "post"),
}
# what a refresh token needs
EXTRAS: dict[str, dict[str, str]] = {
    "google": {"access_type": "offline", "prompt": "consent"},
    "reddit": {"duration": "permanent"},
    "dropbox": {"token_access_type": "offline"},
    "atlassian": {"audience": "api.atlassian.com", "prompt": "consent"},
    "notion": {"owner": "user"},
}
SCOPES = {
    "microsoft": ("offline_access",),
    "atlassian": ("offline_access",),
    "salesforce": ("refresh_token",),
    "x": ("offline.access",),
}
REVOKE = {
    "google": "https://oauth2.googleapis.com/revoke",
    "discord": "https://discord.com/api/oauth2/token/revoke",
    "twitch": "https://id.twitch.tv/oauth2/revoke",
    "gitlab": "https://gitlab.com/oauth/revoke",
    "zoom": "https://zoom.us/oauth/revoke",
    "fitbit": "https://api.fitbit.com/oauth2/revoke",
    "salesforce": "https://login.salesforce.com/services/oauth2/revoke",
    "x": "https://api.x.com/2/oauth2/revoke",
    "box": "https://api.box.com/oauth2/revoke",
    "asana": "https://app.asana.com/-/oauth_revoke",
}
ISSUERS = {
    "google": "https://accounts.google.com",
    "twitch": "https://id.twitch.tv/oauth2",
    "linkedin": "https://www.linkedin.com/oauth",
}


def test_the_table_has_exactly_these_providers() -> None:
    assert list(PROVIDERS) == list(DOCUMENTED)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_row_says_what_the_documentation_says(name: str) -> None:
    row = PROVIDERS[name]
    assert (row.auth_uri, row.token_uri, row.client_auth) == DOCUMENTED[name]
    assert row.auth_params == EXTRAS.get(name, {})
    assert row.scopes == SCOPES.get(name, ())
    assert row.issuer == ISSUERS.get(name)
    assert row.revoke_uri in (None, REVOKE.get(name))
    assert row.delimiter == ("," if name in ("slack", "strava") else " ")
    assert row.pkce is (name != "linkedin")


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_address_in_a_row_is_https(name: str) -> None:
    row = PROVIDERS[name]
    for uri in (row.auth_uri, row.token_uri, row.console.partition("#")[0], row.revoke_uri or row.token_uri):
        check_endpoint(uri, name)


def test_some_get_a_redirect_by_number_and_some_an_https_one() -> None:
    own: dict[str, str] = dict.fromkeys(("spotify", "github", "x"), "http://127.0.0.1:8080")
    own |= dict.fromkeys(("slack", "yahoo"), "https://localhost:8080")
    for name, row in PROVIDERS.items():
        assert row.redirect_uri == own.get(name, "http://localhost:8080")


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_provider_is_known_by_either_endpoint(name: str) -> None:
    auth_uri, token_uri, _ = DOCUMENTED[name]
    found = provider_of(token_uri, auth_uri)
    assert found is PROVIDERS[name]
    assert provider_of("https://proxy.example/token", auth_uri) is PROVIDERS[name]


@pytest.mark.parametrize(
    ("token_uri", "name"),
    [
        ("https://login.microsoftonline.com/11111111-aaaa/oauth2/v2.0/token", "microsoft"),
        ("https://OAuth2.GoogleAPIs.com/token", "google"),
        ("https://www.googleapis.com.evil.example/token", None),
        ("https://github.com.evil.example/token", None),
        ("https://evil.example/github.com", None),
        ("https://github.com@evil.example/", None),
        ("http://localhost:3000/token", None),
        ("https://[/token", None),
        ("", None),
    ],
)
def test_a_provider_is_known_by_its_host_alone(token_uri: str, name: str | None) -> None:
    found = provider_of(token_uri)
    assert (found.name if found else None) == name
