"""Reads client files for the commands: a missing, empty or misspelt value is reported before anything opens.

The rule: no value is quoted.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from ..errors import ConfigError, CredentialsError
from ..json_file import StrPath, display_path
from ..oauth1 import OAuth1App
from ..oauth2 import OAuth2App
from ..oauth2.client.client_file import misspelt
from ..oauth2.client.profile import check_profile
from ..redirect.loopback_address import check_redirect_uri
from ..web.next_steps import PROGRAM
from ..web.urls import check_endpoint
from .console import Console

_PLACEHOLDER = re.compile(
    r"<[^<>]*>|\[[^\[\]]*\]|\$?\{+[^{}]*\}+|\.{2,}|…|[xX*]{3,}|todo|tbd|change[-_ ]?me|"
    r"(?:your|insert|enter|paste|put|replace)[-_ ][\w -]*",
    re.IGNORECASE,
)

App = TypeVar("App", OAuth1App, OAuth2App)


def client_in(path: StrPath, console: Console) -> OAuth2App:
    """The client in a file; warns of keys that look misspelt. Raises as `checked_client`."""
    app = checked_client(path)
    for key, meant in misspelt_keys(app).items():
        console.say(f"Warning: {display_path(path)} has the unknown key {key!r}. Did you mean {meant}?")
    return app


def checked_client(path: StrPath) -> OAuth2App:
    """The client in a file. Raises `CredentialsError` for a missing file and for placeholders."""
    app = _read(OAuth2App.from_json_file, path, check_usable)
    check_filled_in(display_path(path), {"id": app.id, "secret": app.secret})
    return app


def misspelt_keys(app: OAuth2App) -> dict[str, str]:
    """Unknown keys of a client file that resemble a missing one, with the name of that one."""
    return misspelt({**app.to_dict(), **app.extra})


def oauth1_client_in(path: StrPath) -> OAuth1App:
    """The OAuth 1 client in a file. Raises as `client_in`."""
    app = _read(OAuth1App.from_json_file, path, _check_oauth1_usable)
    check_filled_in(display_path(path), {"key": app.key, "secret": app.secret})
    return app


def _read(read: Callable[[StrPath], App], path: StrPath, check: Callable[[App], None]) -> App:
    if str(path).startswith(("https://", "http://")):
        step = f"For an API, give --resource URL; for a provider, first run: {PROGRAM} scaffold --issuer URL"
        raise ConfigError(f"{display_path(path)} is an address, not a client file.", next_step=step)
    try:
        app = read(path)
        check(app)
    except CredentialsError:
        raise
    except ConfigError as error:
        problem = f"{display_path(path)} cannot be used: {error.args[0]}"
        raise CredentialsError(problem, next_step=error.next_step) from None
    return app


def check_usable(app: OAuth2App) -> None:
    """Raises `ConfigError` for a value with which a command would fail later."""
    uris = {"auth_uri": app.auth_uri, "token_uri": app.token_uri, "revoke_uri": app.revoke_uri, "issuer": app.issuer}
    for name, uri in uris.items():
        if uri:
            check_endpoint(uri, name)
    if app.redirect_uri:
        check_redirect_uri(app.redirect_uri)
    check_profile(app)
    if app.auth_uri and app.profile is None:
        app.auth_url_with_pkce(app.redirect_uri or "", "", [])  # for `auth_params` and scopes


def _check_oauth1_usable(app: OAuth1App) -> None:
    for name in ("request_uri", "authorize_uri", "access_uri"):
        check_endpoint(getattr(app, name), name)


def placeholders(values: Mapping[str, str | None]) -> list[str]:
    """The keys whose values are placeholders, such as `YOUR_CLIENT_ID`."""
    return [key for key, value in values.items() if _PLACEHOLDER.fullmatch((value or "").strip())]


def check_filled_in(name: str, values: Mapping[str, str | None]) -> None:
    """Raises `CredentialsError` where values of the client file `name` are placeholders."""
    if found := placeholders(values):
        what = "are placeholders" if found[1:] else "is a placeholder"
        raise CredentialsError(
            f"{name} is not filled in: {' and '.join(found)} {what}.",
            next_step="Put in the values that the provider's console shows.",
        )
