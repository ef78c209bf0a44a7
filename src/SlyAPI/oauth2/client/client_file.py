"""A client registration in JSON: our format, Google's download, RFC 7591 names; other files are named. Reads no file.

The rule: no value of the file is quoted.
"""

import re
from collections.abc import Mapping
from os import PathLike, fsdecode
from os.path import abspath, dirname, join
from typing import Any

from ...errors import ConfigError, CredentialsError, printable
from ...json_file import StrPath, is_content
from ...tokens.client_auth import read_client_auth
from ...tokens.recognise import recognise
from ...tokens.scopes import split_scopes
from ...web.events import refresh_log as log
from ...web.next_steps import PROGRAM
from ...web.urls import check_endpoint, is_loopback_uri
from ..messages.authorization_code import check_extras
from ..messages.resource import resources_of
from ..messages.token_request import check_token_params

ENDPOINTS = {
    "revoke_uri": "revocation_endpoint",
    "introspect_uri": "introspection_endpoint",
    "device_uri": "device_authorization_endpoint",
    "par_uri": "pushed_authorization_request_endpoint",
    "register_uri": "registration_endpoint",
    "userinfo_uri": "userinfo_endpoint",
    "jwks_uri": "jwks_uri",
    "logout_uri": "end_session_endpoint",
}
"""The endpoints that not every client needs, with the names that metadata give them (RFC 8414 §2)."""
OWN_KEYS = (
    *("id", "secret", "auth_uri", "token_uri", "auth_params", "token_params", "client_auth", "pkce", "redirect_uri"),
    *("scopes", "issuer", "iss_in_redirect", "response_mode", "response_alg", "resource", *ENDPOINTS, "mtls_aliases"),
    *("key", "key_id", "key_alg", "certificate", "assertion_audience", "client_assertion", "client_assertion_type"),
    *("registration_access_token", "registration_client_uri", "pkce_offered", "require_par", "sign_requests"),
    *("id_token_alg", "dpop_algs", "dpop", "profile"),
)
"""The members that SlyAPI reads, in the order of the file; `OAuth2App` has attributes of these names."""


def client_members(obj: Any, name: str) -> dict[str, Any]:
    """The client's members under our names, from any of the three formats. Raises `CredentialsError`."""
    if not isinstance(obj, dict):
        raise CredentialsError(f"{name} is not a client file: it is not a JSON object. {_HINT}")
    members: dict[str, Any] = obj
    if isinstance(members.get("web"), dict):
        members = members["web"]
    elif isinstance(members.get("installed"), dict):
        members = {**members["installed"], "redirect_uri": "http://127.0.0.1:0"}  # Desktop clients: any free port
    members = {_RFC_7591.get(key, key): value for key, value in members.items()}
    if members.get("redirect_uri") in (None, ""):
        members["redirect_uri"] = _first_loopback(members.get("redirect_uris"))
    lacking = [key for key in ("id", "auth_uri", "token_uri") if not members.get(key)]
    other = members.get("type") in ("service_account", "authorized_user") or "token" in members
    if other or (len(lacking) == 3 and ("secret" not in members or "key" in members)):  # OAuth 1 has key and secret
        what = recognise(obj)
        raise CredentialsError(f"{name} is not a client file: it is {what}. {_HINTS.get(what, _HINT)}")
    near = misspelt(members) if lacking else {}
    needless = ["auth_uri"] if "auth_uri" not in near.values() else []  # a client of machines opens no consent page
    if lacking and lacking != needless:
        wrong = "".join(f"{key!r} is unknown, use {meant}. " for key, meant in near.items())
        step = wrong or "The provider's console shows it."
        raise CredentialsError(f"{name} is not filled in: {', '.join(lacking)} missing.", next_step=step)
    return members


_HINT = f"Make one with: {PROGRAM} scaffold"
_HINTS = {
    "a user file of SlyAPI": "Pass the client file first, then the user file.",
    "an OAuth 1 client file": f"Use it with OAuth1, and grant with: {PROGRAM} grant oauth1",
}
_RFC_7591 = {
    "client_id": "id",
    "client_secret": "secret",
    "authorization_endpoint": "auth_uri",
    "token_endpoint": "token_uri",
    **{theirs: ours for ours, theirs in ENDPOINTS.items()},
    "token_endpoint_auth_method": "client_auth",
    "scope": "scopes",
}
_NEAR_BUT_RIGHT = ("redirect_uris", "client_uri", "tos_uri", "logo_uri", "jwks")  # of Google and RFC 7591


def misspelt(members: Mapping[str, Any]) -> dict[str, str]:
    """Unknown keys that resemble a missing one, with its name; others, as in Google's files, are not a mistake."""
    from difflib import get_close_matches

    names = {**{key: key for key in OWN_KEYS}, **_RFC_7591}
    lacking = [name for name, ours in names.items() if not members.get(ours) and not members.get(name)]
    strange = (key for key in members if key not in names and key not in _NEAR_BUT_RIGHT)
    near = {key: get_close_matches(key.casefold(), lacking, 1, 0.8) for key in strange}
    return {printable(key, 40): found[0] for key, found in near.items() if found}


def _first_loopback(uris: Any) -> str | None:
    if not isinstance(uris, list):
        return None
    return next((uri for uri in uris if isinstance(uri, str) and is_loopback_uri(uri)), None)


def read_members(members: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of the client with these members under our names. Raises `ConfigError`."""
    for name in ("key", "certificate"):
        if isinstance(members.get(name), str) and is_content(members[name]):
            step = "Save it in a file of its own, from the line -----BEGIN to the line -----END, and put its path here."
            raise ConfigError(f"{name} is the content of a file, not its path.", next_step=step)
    auth_uri = text_of(members, "auth_uri")
    auth_params, token_params = texts_of(members, "auth_params"), texts_of(members, "token_params")
    check_extras(auth_params)
    check_token_params(token_params)
    uris = {key: text_of(members, key) for key in (*ENDPOINTS, "registration_client_uri")}
    texts = ("issuer", "key", "key_id", "key_alg", "assertion_audience", "client_assertion_type", "profile")
    if members.get("client_assertion") is not None:
        from ..messages.client_assertion import check_client_assertion  # few need it

        names = ("client_assertion", "client_assertion_type", "secret", "key")
        check_client_assertion(*(members.get(name) for name in names))
    return {
        "id": text_of(members, "id"),
        "secret": text_of(members, "secret") or None,
        "auth_uri": check_endpoint(auth_uri, "auth_uri", allow_http=True) if auth_uri else "",
        "token_uri": check_endpoint(text_of(members, "token_uri"), "token_uri", allow_http=True),
        "auth_params": auth_params,
        "token_params": token_params,
        "client_auth": read_client_auth(members.get("client_auth")),
        "scopes": scopes_of(members, "scopes"),
        "redirect_uri": _redirect_uri(text_of(members, "redirect_uri")),
        "registration_access_token": text_of(members, "registration_access_token") or None,
        "resource": _resource(members),
        "certificate": _certificate(members),
        "client_assertion": members.get("client_assertion"),
        "mtls_aliases": _checked(texts_of(members, "mtls_aliases")),
        "dpop_algs": list_of(members, "dpop_algs") or None,
        **{key: _one_or_several(members, key) for key in ("id_token_alg", "response_alg")},
        **{key: uri or None for key, uri in _checked(uris).items()},
        **{key: text_of(members, key) or None for key in (*texts, "response_mode")},
        **{key: flag_of(members, key) for key in ("pkce", "pkce_offered")},
        **{key: flag_of(members, key) or False for key in ("iss_in_redirect", "require_par", "sign_requests", "dpop")},
        "extra": {key: value for key, value in members.items() if key not in OWN_KEYS},
    }


def _resource(members: Mapping[str, Any]) -> str | list[str] | None:
    """One resource or several (RFC 8707). Raises `ConfigError` for one that is not a URI."""
    named = isinstance(members.get("resource"), str)
    found = (text_of if named else list_of)(members, "resource") or None
    resources_of(found)
    return found


def _one_or_several(members: Mapping[str, Any], key: str) -> str | list[str] | None:
    """A member that is a string or a list of strings; None if it is absent or empty. Raises `ConfigError`."""
    texts = list_of(members, key)
    return texts[0] if len(texts) == 1 else texts or None


def _certificate(members: Mapping[str, Any]) -> str | tuple[str, str] | None:
    """One path, or those of certificate and key. Raises `ConfigError`."""
    if isinstance(members.get("certificate"), list):
        paths = list_of(members, "certificate")
        if len(paths) != 2:
            raise ConfigError("certificate is neither a path nor a pair of paths.")
        return paths[0], paths[1]
    return text_of(members, "certificate") or None


def list_of(members: Mapping[str, Any], key: str) -> list[str]:
    """A member that is a string or a list of strings; empty if it is absent. Raises `ConfigError`."""
    value = members.get(key)
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    if (value is not None and not texts and value != []) or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"{key} is neither a string nor a list of strings.")
    return [text for text in texts if text]


def saved_setting(name: str, value: Any) -> Any:
    """A setting as a client file has it; None, with a warning in the log, for what is no path, such as key text."""
    if name == "resource" and not isinstance(value, str):
        return resources_of(value)
    if value is None or name not in ("key", "certificate", "client_assertion"):
        return value
    saved = value if name == "client_assertion" and isinstance(value, Mapping) else saved_path(value)
    if saved is None:
        log.warning("The client's %s is not a path, so it is left out of the client file.", name)
    return saved


def saved_path(value: Any) -> Any:
    """A path, or a pair of them, as a client file has it; None for anything else, which may be a key itself."""
    if isinstance(value, tuple):
        paths = [saved_path(path) for path in value]
        return None if None in paths else paths
    if not isinstance(value, str | PathLike):
        return None
    return None if is_content(value) else fsdecode(value)


def path_beside(file: StrPath, value: Any) -> Any:
    """A path of a client file, or a pair of them, from the file's folder: the same file wherever a program starts."""
    if isinstance(value, Mapping):  # where the client's assertion comes from
        return {**value, "file": path_beside(file, value["file"])} if "file" in value else value
    if isinstance(value, tuple):
        return tuple(path_beside(file, path) for path in value)
    return join(dirname(abspath(fsdecode(file))), value) if isinstance(value, str) else value


def text_of(members: Mapping[str, Any], key: str) -> str:
    """A member that is a string, stripped; empty if it is absent. Raises `ConfigError`."""
    value = members.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or not value.isprintable():
        raise ConfigError(f"{key} is not a string.")
    return value.strip()


def flag_of(members: Mapping[str, Any], key: str) -> bool | None:
    """A member that is true or false; None if it is absent. Raises `ConfigError`."""
    value = members.get(key)
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"{key} is neither true nor false.")
    return value


def texts_of(members: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A member that is an object of strings; empty if it is absent. Raises `ConfigError`."""
    value = members.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(v, str | None) for v in value.values()):
        raise ConfigError(f"{key} is not an object of strings.")
    if not all(text.isprintable() for pair in value.items() for text in pair if text):
        raise ConfigError(f"{key} contains characters that a URL may not carry.")
    return dict(value)


def _checked(uris: dict[str, Any]) -> dict[str, Any]:
    """The endpoints, if secrets may be sent there. Raises `ConfigError`."""
    for key, uri in uris.items():
        if uri:
            check_endpoint(uri, key, allow_http=True)
    return uris


def scopes_of(members: Mapping[str, Any], key: str) -> list[str]:
    """A member that is text or a list of scopes. Raises `ConfigError`."""
    scopes = split_scopes(members.get(key))
    if not all(scope.isprintable() for scope in scopes):
        raise ConfigError("a scope contains characters that a URL may not carry.")
    return scopes


def _redirect_uri(uri: str) -> str | None:
    if uri and not re.fullmatch(_REDIRECT_URI, uri):
        raise ConfigError("redirect_uri is not a URI.", next_step="Copy the one that is registered.")
    return uri or None


# http with a host, or any other scheme but not `localhost:8080`; no fragment (RFC 6749 §3.1.2)
_REDIRECT_URI = (
    r"(?i)https?://(?:\[[0-9a-f:.]+\]|[^\s/?#\[\]:@]+)(?::\d{1,5})?(?:[/?][^\s#]*)?|"
    r"(?!https?:)[a-z][a-z0-9+.-]*:(?!\d)[^\s#]+"
)
