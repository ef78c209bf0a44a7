"""A client registration in JSON: ours, Google's download, RFC 7591 names; what else a file is, by name. Pure.

The rule: nothing of the content is quoted.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from ..errors import ConfigError, CredentialsError, printable
from ..tokens.client_auth import read_client_auth
from ..tokens.recognise import recognise
from ..tokens.scopes import split_scopes
from ..web.urls import check_endpoint, is_loopback_uri

OWN_KEYS = (
    "id",
    "secret",
    "auth_uri",
    "token_uri",
    "auth_params",
    "client_auth",
    "pkce",
    "redirect_uri",
    "scopes",
    "issuer",
    "iss_in_redirect",
    "revoke_uri",
)
"""The members that have a meaning here, in the order of the file; `OAuth2App` names its attributes so."""


def client_members(obj: Any, name: str) -> dict[str, Any]:
    """The client's members under our names, from any of the three forms."""
    if not isinstance(obj, dict):
        raise CredentialsError(f"{name} is not a client file: it is not a JSON object. {_HINT}")
    told: dict[str, Any] = obj
    if isinstance(told.get("web"), dict):
        told = told["web"]
    elif isinstance(told.get("installed"), dict):
        told = {**told["installed"], "redirect_uri": "http://127.0.0.1:0"}  # Desktop clients: any free port
    told = {_RFC_7591.get(key, key): value for key, value in told.items()}
    if not told.get("redirect_uri"):
        told["redirect_uri"] = _first_loopback(told.get("redirect_uris"))
    lacking = [key for key in ("id", "auth_uri", "token_uri") if not told.get(key)]
    if _is_no_client(told, nothing=len(lacking) == 3):
        what = recognise(obj)
        raise CredentialsError(f"{name} is not a client file: it is {what}. {_HINTS.get(what, _HINT)}")
    if lacking:
        wrong = "".join(f"{key!r} is not known, {meant} is. " for key, meant in misspelt(told).items())
        step = wrong or "The provider's console has it."
        raise CredentialsError(f"{name} is not filled in: {', '.join(lacking)} missing.", next_step=step)
    return told


def _is_no_client(told: Mapping[str, Any], *, nothing: bool) -> bool:
    if told.get("type") in ("service_account", "authorized_user") or "token" in told:
        return True
    return nothing and ("secret" not in told or "key" in told)  # OAuth 1 has key and secret


_HINT = "Make one with: python -m SlyAPI scaffold"
_HINTS = {
    "a user file of SlyAPI": f"Of the two files, the client file comes first. {_HINT}",
    "an OAuth 1 client file": "Use it with OAuth1, and grant with: python -m SlyAPI grant oauth1",
}
_RFC_7591 = {
    "client_id": "id",
    "client_secret": "secret",
    "authorization_endpoint": "auth_uri",
    "token_endpoint": "token_uri",
    "revocation_endpoint": "revoke_uri",
    "token_endpoint_auth_method": "client_auth",
    "scope": "scopes",
}


_NEAR_BUT_RIGHT = ("redirect_uris", "client_uri", "tos_uri", "logo_uri", "jwks_uri")  # of Google and RFC 7591


def misspelt(told: Mapping[str, Any]) -> dict[str, str]:
    """Keys that mean nothing here, with the one that each may be meant for, which is not given.

    Other keys, of which Google's files have many, are kept and are no mistake.
    """
    names = {**{key: key for key in OWN_KEYS}, **_RFC_7591}
    lacking = [name for name, ours in names.items() if not told.get(ours) and not told.get(name)]
    strange = (key for key in told if key not in names and key not in _NEAR_BUT_RIGHT)
    near = {key: get_close_matches(key.casefold(), lacking, 1, 0.8) for key in strange}
    return {printable(key, 40): found[0] for key, found in near.items() if found}


def _first_loopback(uris: Any) -> str | None:
    if not isinstance(uris, list):
        return None
    return next((uri for uri in uris if isinstance(uri, str) and is_loopback_uri(uri)), None)


def read_members(told: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of the client that has the members `told` under our names. Raises `ConfigError`."""
    return {
        "id": text_of(told, "id"),
        "secret": text_of(told, "secret") or None,
        "auth_uri": check_endpoint(text_of(told, "auth_uri"), "auth_uri", allow_http=True),
        "token_uri": check_endpoint(text_of(told, "token_uri"), "token_uri", allow_http=True),
        "auth_params": texts_of(told.get("auth_params")),
        "client_auth": read_client_auth(told.get("client_auth")),
        "pkce": flag_of(told, "pkce"),
        "redirect_uri": text_of(told, "redirect_uri") or None,
        "scopes": split_scopes(told.get("scopes")),
        "issuer": text_of(told, "issuer") or None,
        "iss_in_redirect": flag_of(told, "iss_in_redirect") or False,
        "revoke_uri": text_of(told, "revoke_uri") or None,
        "extra": {key: value for key, value in told.items() if key not in OWN_KEYS},
    }


def text_of(told: Mapping[str, Any], key: str) -> str:
    """A member that is text; empty where it is absent. Raises `ConfigError`."""
    value = told.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or not value.isprintable():
        raise ConfigError(f"{key} is not a text.")
    return value.strip()


def flag_of(told: Mapping[str, Any], key: str) -> bool | None:
    """A member that is true or false; None where it is absent. Raises `ConfigError`."""
    value = told.get(key)
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"{key} is neither true nor false.")
    return value


def texts_of(value: Any) -> dict[str, str | None]:
    """A member that is an object of texts; empty where it is absent. Raises `ConfigError`."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(v, str | None) for v in value.values()):
        raise ConfigError("auth_params is not an object of texts.")
    return dict(value)
