"""What public providers need, by the host of their endpoints: a small table of facts. Pure.

The rule: a row contains only what departs from the standard or must be known before the first request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

from ...tokens.client_auth import ClientAuth


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. `auth_params` and `scopes` are those that it needs to issue a refresh token.

    `public_auth` is how a client without a secret sends its id; `refresh_life_unit` is the unit of a refresh
    token's lifetime, in seconds; `console` is where clients are registered; `note` is for the wizard to show.
    """

    name: str
    auth_uri: str
    token_uri: str
    client_auth: ClientAuth
    console: str
    auth_params: Mapping[str, str] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    delimiter: str = " "
    pkce: bool = True
    public_auth: ClientAuth = "none"
    issuer: str | None = None
    id_token_issuer: str | None = None
    """The `iss` of its id_tokens where that is not `issuer`; `{...}` in it stands for the claim `issuer_claim`."""
    issuer_claim: str | None = None
    id_token_nonce: bool = True
    """False where its id_tokens leave the nonce out: a stolen code that is put into another login goes unnoticed."""
    jwks_uri: str | None = None
    userinfo_uri: str | None = None
    revoke_uri: str | None = None
    redirect_uri: str = "http://localhost:8080"
    refresh_life_unit: float = 1.0
    note: str = ""
    older_hosts: tuple[str, ...] = ()
    """Further hosts of its token endpoint, which old clients name."""
    api: tuple[str, ...] = ()
    """The addresses of its API, where an account's tokens may go; paths begin at the first. None where each
    customer has another one."""


_OF_GOOGLE = "calendar-json docs drive gmail oauth2 openidconnect people photoslibrary sheets slides tasks youtube"


_TABLE = (
    Provider(
        "google",
        "https://accounts.google.com/o/oauth2/v2/auth",
        "https://oauth2.googleapis.com/token",
        "post",
        "https://console.cloud.google.com/apis/credentials",
        auth_params={"access_type": "offline", "prompt": "consent"},
        issuer="https://accounts.google.com",
        jwks_uri="https://www.googleapis.com/oauth2/v3/certs",
        userinfo_uri="https://openidconnect.googleapis.com/v1/userinfo",
        revoke_uri="https://oauth2.googleapis.com/revoke",
        note="Create a client of type Desktop app. While the project is in Testing, grants end after 7 days.",
        older_hosts=("accounts.google.com", "www.googleapis.com"),
        api=("https://www.googleapis.com", *(f"https://{name}.googleapis.com" for name in _OF_GOOGLE.split())),
    ),
    Provider(
        "github",
        "https://github.com/login/oauth/authorize",
        "https://github.com/login/oauth/access_token",
        "post",
        "https://github.com/settings/developers",
        redirect_uri="http://127.0.0.1:8080",
        note="Tokens of an OAuth app never expire; a GitHub App's are refreshed.",
        api=("https://api.github.com", "https://uploads.github.com"),
    ),
    Provider(
        "discord",
        "https://discord.com/oauth2/authorize",
        "https://discord.com/api/oauth2/token",
        "basic",
        "https://discord.com/developers/applications",
        revoke_uri="https://discord.com/api/oauth2/token/revoke",
        older_hosts=("discordapp.com",),
        api=("https://discord.com/api/v10",),
    ),
    Provider(
        "microsoft",
        "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
        "https://login.microsoftonline.com/common/oauth2/v2.0/token",
        "post",
        "https://entra.microsoft.com/#view/Microsoft_AAD_RegisteredApps/ApplicationsListBlade",
        scopes=("offline_access",),
        id_token_issuer="https://login.microsoftonline.com/{tenantid}/v2.0",
        issuer_claim="tid",
        jwks_uri="https://login.microsoftonline.com/common/discovery/v2.0/keys",
        userinfo_uri="https://graph.microsoft.com/oidc/userinfo",
        note="A mobile and desktop application has no secret. For one tenant, put its name for common.",
        older_hosts=("login.windows.net", "login.microsoft.com", "sts.windows.net"),
        api=("https://graph.microsoft.com/v1.0",),
    ),
    Provider(
        "spotify",
        "https://accounts.spotify.com/authorize",
        "https://accounts.spotify.com/api/token",
        "basic",
        "https://developer.spotify.com/dashboard",
        redirect_uri="http://127.0.0.1:8080",
        note="Register the redirect URI with 127.0.0.1; localhost is refused.",
        api=("https://api.spotify.com/v1",),
    ),
    Provider(
        "twitch",
        "https://id.twitch.tv/oauth2/authorize",
        "https://id.twitch.tv/oauth2/token",
        "post",
        "https://dev.twitch.tv/console/apps",
        issuer="https://id.twitch.tv/oauth2",
        jwks_uri="https://id.twitch.tv/oauth2/keys",
        userinfo_uri="https://id.twitch.tv/oauth2/userinfo",
        revoke_uri="https://id.twitch.tv/oauth2/revoke",
        note="API calls also want the header Client-Id.",
        api=("https://api.twitch.tv/helix",),
    ),
    Provider(
        "slack",
        "https://slack.com/oauth/v2/authorize",
        "https://slack.com/api/oauth.v2.access",
        "basic",
        "https://api.slack.com/apps",
        delimiter=",",
        redirect_uri="https://localhost:8080",
        note="Tokens expire and are refreshed only where token rotation is switched on. "
        "The redirect URI has to be https: paste the final address with --paste.",
        api=("https://slack.com/api",),
    ),
    Provider(
        "gitlab",
        "https://gitlab.com/oauth/authorize",
        "https://gitlab.com/oauth/token",
        "post",
        "https://gitlab.com/-/user_settings/applications",
        revoke_uri="https://gitlab.com/oauth/revoke",
        note="For an instance of your own, change the host in both URIs.",
        api=("https://gitlab.com/api/v4",),
    ),
    Provider(
        "reddit",
        "https://www.reddit.com/api/v1/authorize",
        "https://www.reddit.com/api/v1/access_token",
        "basic",
        "https://www.reddit.com/prefs/apps",
        auth_params={"duration": "permanent"},
        public_auth="basic",
        note="API calls go to https://oauth.reddit.com and want a User-Agent of your own.",
        api=("https://oauth.reddit.com",),
    ),
    Provider(
        "dropbox",
        "https://www.dropbox.com/oauth2/authorize",
        "https://api.dropboxapi.com/oauth2/token",
        "basic",
        "https://www.dropbox.com/developers/apps",
        auth_params={"token_access_type": "offline"},
        older_hosts=("api.dropbox.com", "www.dropbox.com"),
        api=("https://api.dropboxapi.com/2", "https://content.dropboxapi.com"),
    ),
    Provider(
        "mastodon",
        "https://INSTANCE/oauth/authorize",
        "https://INSTANCE/oauth/token",
        "post",
        "https://INSTANCE/settings/applications",
        note="Put your server's name for INSTANCE. Tokens never expire.",
    ),
    Provider(
        "zoom",
        "https://zoom.us/oauth/authorize",
        "https://zoom.us/oauth/token",
        "basic",
        "https://marketplace.zoom.us/user/build",
        revoke_uri="https://zoom.us/oauth/revoke",
        note="The redirect URI has to match to the trailing slash. A new grant ends the account's old one.",
        api=("https://api.zoom.us/v2",),
    ),
    Provider(
        "atlassian",
        "https://auth.atlassian.com/authorize",
        "https://auth.atlassian.com/oauth/token",
        "post",
        "https://developer.atlassian.com/console/myapps/",
        auth_params={"audience": "api.atlassian.com", "prompt": "consent"},
        scopes=("offline_access",),
        api=("https://api.atlassian.com",),
    ),
    Provider(
        "notion",
        "https://api.notion.com/v1/oauth/authorize",
        "https://api.notion.com/v1/oauth/token",
        "basic",
        "https://www.notion.so/profile/integrations",
        auth_params={"owner": "user"},
        note="Notion has no scopes; API calls also want the header Notion-Version.",
        api=("https://api.notion.com/v1",),
    ),
    Provider(
        "linkedin",
        "https://www.linkedin.com/oauth/v2/authorization",
        "https://www.linkedin.com/oauth/v2/accessToken",
        "post",
        "https://www.linkedin.com/developers/apps",
        pkce=False,  # refuses any code_verifier with 401 invalid_client
        issuer="https://www.linkedin.com/oauth",
        id_token_nonce=False,
        jwks_uri="https://www.linkedin.com/oauth/openid/jwks",
        userinfo_uri="https://api.linkedin.com/v2/userinfo",
        refresh_life_unit=60.0,  # its refresh_token_expires_in is in minutes: 525600 is a year
        note="Refresh tokens are for approved partners only; id_tokens have no nonce.",
        api=("https://api.linkedin.com",),
    ),
    Provider(
        "fitbit",
        "https://www.fitbit.com/oauth2/authorize",
        "https://api.fitbit.com/oauth2/token",
        "basic",
        "https://dev.fitbit.com/apps",
        revoke_uri="https://api.fitbit.com/oauth2/revoke",
        note="Refresh tokens are single-use. An app of type Client has no secret.",
        api=("https://api.fitbit.com",),
    ),
    Provider(
        "strava",
        "https://www.strava.com/oauth/authorize",
        "https://www.strava.com/oauth/token",
        "post",
        "https://www.strava.com/settings/api",
        delimiter=",",
        # its documentation does not mention PKCE; an unknown parameter is ignored (RFC 6749 §3.1)
        note="Register the callback domain localhost. Scopes are separated by commas, such as read,activity:read.",
        api=("https://www.strava.com/api/v3",),
    ),
    Provider(
        "hubspot",
        "https://app.hubspot.com/oauth/authorize",
        "https://api.hubapi.com/oauth/v1/token",
        "post",
        "https://developers.hubspot.com/",
        note="The page refuses scopes that are not selected in the app's settings.",
        api=("https://api.hubapi.com",),
    ),
    Provider(
        "salesforce",
        "https://login.salesforce.com/services/oauth2/authorize",
        "https://login.salesforce.com/services/oauth2/token",
        "post",
        "https://login.salesforce.com/",
        scopes=("refresh_token",),
        revoke_uri="https://login.salesforce.com/services/oauth2/revoke",
        note="Clients are in Setup, App Manager. "
        "For a sandbox, change login to test in the URIs and request refresh_token. "
        "API calls go to your organization's own address.",
    ),
    Provider(
        "x",
        "https://x.com/i/oauth2/authorize",
        "https://api.x.com/2/oauth2/token",
        "basic",
        "https://developer.x.com/en/portal/dashboard",
        scopes=("offline.access",),
        revoke_uri="https://api.x.com/2/oauth2/revoke",
        older_hosts=("api.twitter.com", "twitter.com"),
        redirect_uri="http://127.0.0.1:8080",  # its documentation advises against localhost
        note="A native app has no secret. Refresh tokens are single-use.",
        api=("https://api.x.com/2",),
    ),
    Provider(
        "yahoo",
        "https://api.login.yahoo.com/oauth2/request_auth",
        "https://api.login.yahoo.com/oauth2/get_token",
        "basic",
        "https://developer.yahoo.com/apps/",
        redirect_uri="https://localhost:8080",
        # not confirmed by a page that was read: PKCE, and that only https redirect URIs are accepted
        note="The redirect URI has to be https: paste the final address with --paste.",
    ),
    Provider(
        "box",
        "https://account.box.com/api/oauth2/authorize",
        "https://api.box.com/oauth2/token",
        "post",
        "https://app.box.com/developers/console",
        revoke_uri="https://api.box.com/oauth2/revoke",
        # not confirmed by a page that was read: PKCE
        note="Refresh tokens are single-use and end after 60 days.",
        older_hosts=("app.box.com", "www.box.com"),
        api=("https://api.box.com/2.0", "https://upload.box.com"),
    ),
    Provider(
        "bitbucket",
        "https://bitbucket.org/site/oauth2/authorize",
        "https://bitbucket.org/site/oauth2/access_token",
        "basic",
        "https://bitbucket.org/account/workspaces/",
        # not confirmed by a page that was read: PKCE
        note="Clients are OAuth consumers in a workspace's settings, with their scopes.",
        api=("https://api.bitbucket.org/2.0",),
    ),
    Provider(
        "asana",
        "https://app.asana.com/-/oauth_authorize",
        "https://app.asana.com/-/oauth_token",
        "post",
        "https://app.asana.com/0/my-apps",
        revoke_uri="https://app.asana.com/-/oauth_revoke",
        api=("https://app.asana.com/api/1.0",),
    ),
    Provider(
        "patreon",
        "https://www.patreon.com/oauth2/authorize",
        "https://www.patreon.com/api/oauth2/token",
        "post",
        "https://www.patreon.com/portal/registration/register-clients",
        # not confirmed by a page that was read: PKCE
        api=("https://www.patreon.com/api/oauth2/v2",),
    ),
)

UNKNOWN = Provider("", "", "", "post", "")
"""The standard's behaviour, for a provider that is not in the table."""
PROVIDERS: Mapping[str, Provider] = {provider.name: provider for provider in _TABLE}


@lru_cache(maxsize=1024)
def provider_of(token_uri: str, auth_uri: str = "") -> Provider | None:
    """The provider in the table, by the host of the token endpoint, or else of the authorization endpoint."""
    for uri, attribute in ((token_uri, "token_uri"), (auth_uri, "auth_uri")):
        host = host_of(uri)
        for provider in _TABLE:
            if host and (host == host_of(getattr(provider, attribute)) or host in provider.older_hosts):
                return provider
    return None


def host_of(uri: str) -> str:
    try:
        return urlsplit(uri).hostname or ""
    except ValueError:
        return ""
