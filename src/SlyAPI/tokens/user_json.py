"""A user file, or a stored token reply, as the fields of an `OAuth2User`: read and checked. Pure.

The rule: a value that cannot be sent is refused here. `show` reads user files by this module alone, so it does not
import `dataclasses`, which takes longer to import than the rest of that command.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from sys import intern
from typing import Any

from ..errors import BadReplyError, ConfigError, CredentialsError
from .client_auth import read_client_auth
from .recognise import HINT, is_of_google_auth, recognise
from .scopes import split_scopes
from .times import expiry, read_time, refresh_expiry, seconds, write_time

_KEYS = {
    *("token", "refresh_token", "expires_at", "token_type", "scopes"),
    *("requested_scopes", "client_auth", "refresh_expires_at", "identity", "id_token", "dpop_key"),
    "issued_to",
}
# Rarely needed: `re` compiles them at the first use and caches them.
_NAME = r"[A-Za-z_-]{1,16}"  # a token_type that a message may quote
_SCHEME = r"[A-Za-z0-9._-]+|[a-z][a-z0-9+.-]*:[\x21-\x7e]+"  # RFC 6749 A.13


def user_fields(obj: Any, now: float, name: str) -> dict[str, Any]:
    """The user's fields in a JSON object: our own, or a token reply stored unchanged.

    `now` (epoch seconds) is when a reply without `created_at` arrived; `name` is for messages.
    Raises `CredentialsError`, which names what the object is instead.
    """
    if not isinstance(obj, dict):
        raise CredentialsError(f"{name} is {'null' if obj is None else _kind(obj)}, not a user's tokens. {HINT}")
    members: dict[str, Any] = obj
    try:
        if "token" in members and not is_of_google_auth(members):
            return _own_fields(members)
        if "access_token" in members:
            created = seconds(members.get("created_at"))
            if created is None:
                created = getattr(obj, "written_at", None)
            fields = answer_fields(members, now if created is None else created)
            fields |= {"scopes": fields["scopes"] or [], "requested_scopes": None}
            if members.get("expires_at") is not None:  # requests-oauthlib and Authlib keep it; `expires_in` is old
                fields["expires_at"] = read_time(members["expires_at"])
            return fields
    except (ConfigError, BadReplyError) as error:
        raise CredentialsError(f"{name} does not contain a user's tokens: {error}") from None
    if "slyapi_encrypted" in members:
        step = "Open it with its key: EncryptedStore, or SLYAPI_STORE_KEYS on the command line."
        raise CredentialsError(f"{name} is encrypted.", next_step=step)
    raise CredentialsError(f"{name} does not contain a user's tokens: it is {recognise(members)}. {HINT}")


def google_auth_fields(value: Mapping[str, Any]) -> dict[str, Any]:
    """The user's fields in the output of google-auth's `Credentials.to_json()`. Raises `CredentialsError`."""
    problem = f"it is {recognise(value)}."
    try:
        if value.get("token") and is_of_google_auth(value):
            names = {"token": "token", "refresh_token": "refresh_token", "expiry": "expires_at", "scopes": "scopes"}
            return _own_fields({ours: value[theirs] for theirs, ours in names.items() if value.get(theirs)})
    except (ConfigError, BadReplyError) as error:
        problem = str(error)
    raise CredentialsError(f"This is not a token file of google-auth: {problem}")


def _own_fields(saved: Mapping[str, Any]) -> dict[str, Any]:
    scopes, requested = saved.get("scopes", []), saved.get("requested_scopes")
    for key, value in (("scopes", scopes), ("requested_scopes", requested or [])):
        if not isinstance(value, str | list):
            raise ConfigError(f"{key} is {_kind(value)}, not a list.")
    token_type = saved.get("token_type", "Bearer")
    if token_type != "Bearer" and not (isinstance(token_type, str) and re.fullmatch(_SCHEME, token_type)):
        raise ConfigError("token_type is not the name of a scheme.")
    expires = saved.get("expires_at")
    if isinstance(expires, datetime):  # `dataclasses.asdict` of a user
        more = saved.get("extra") or {}
        saved = {key: value for key, value in saved.items() if key not in ("extra", "expires_as_read")} | more
    at = read_time(expires)
    usual = at is None or not isinstance(expires, str) or not expires.endswith("Z") or expires == write_time(at)
    return {
        "token": _sendable("token", saved["token"]),
        "refresh_token": read_refresh_token(saved.get("refresh_token")),
        "expires_at": at,
        "expires_as_read": None if usual else expires,
        "token_type": intern(token_type),
        "scopes": split_scopes(scopes),
        "requested_scopes": None if requested is None else split_scopes(requested),
        "client_auth": read_client_auth(saved.get("client_auth")),
        "refresh_expires_at": read_time(saved.get("refresh_expires_at")),
        "identity": read_identity(saved.get("identity")),
        "id_token": _id_token(saved.get("id_token")),
        "dpop_key": _dpop_key(saved.get("dpop_key")),
        "issued_to": _issued_to(saved.get("issued_to")),
        "extra": {key: value for key, value in saved.items() if key not in _KEYS} or None,
    }


def answer_fields(
    answer: Mapping[str, Any], now: float, refresh_life_unit: float = 1.0, *, bound: bool = False
) -> dict[str, Any]:
    """The user's fields in a successful token reply (RFC 6749 §5.1) to a request sent at `now` (epoch seconds).

    Reads only the protocol's names; `scopes` is None if the reply names none. `refresh_life_unit` in seconds. `bound`:
    the request had a proof, so that the token must be bound to its key (RFC 9449 §5).
    Raises `BadReplyError` for a token or a scheme that cannot be used.
    """
    if not answer.get("access_token") and isinstance(answer.get("authed_user"), dict):
        answer = answer["authed_user"]  # Slack, if only user scopes were requested
    token_type = answer.get("token_type")
    scheme = "bearer" if token_type in (None, "") else str(token_type).casefold()
    # RFC 8693 §2.2.1: the result of an exchange that is not for a header
    not_applicable = scheme == "n_a" and isinstance(answer.get("issued_token_type"), str)
    if bound and scheme != "dpop":
        raise BadReplyError(
            "the token is not bound to the key of the proof (RFC 9449 §5).",
            next_step="Switch DPoP on for this client at the provider, or take dpop out of the client file.",
            kind="configuration",
        )
    # Slack's bot and user are not schemes and mean Bearer
    if scheme not in ("bearer", "bot", "user") and not not_applicable and not bound:
        named = f"type {token_type!r}" if re.fullmatch(_NAME, str(token_type)) else "an unreadable type"
        raise BadReplyError(
            f"the token is of {named}, which SlyAPI does not support (RFC 6749 §7.1).", kind="configuration"
        )
    scope = answer.get("scope")
    if isinstance(scope, list):
        scope = [name for name in scope if isinstance(name, str)]
    return {
        "token": _sendable("access_token", answer.get("access_token")),
        "refresh_token": read_refresh_token(answer.get("refresh_token")),
        "expires_at": expiry(answer, now),
        "token_type": "DPoP" if bound else "N_A" if not_applicable else "Bearer",
        "scopes": split_scopes(scope) if isinstance(scope, str | list) else None,
        "refresh_expires_at": refresh_expiry(answer, now, refresh_life_unit),
    }


def read_identity(value: Any) -> Mapping[str, Any] | None:
    """The members of an `Identity` in a file; None for null. Raises `ConfigError`."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ConfigError(f"identity is {_kind(value)}, not an object.")
    members: dict[str, Any] = value
    texts = [members.get(name) for name in ("issuer", "subject")]
    if not all(isinstance(text, str) and text for text in texts) or not isinstance(members.get("claims"), dict):
        raise ConfigError("identity lacks issuer, subject or claims.")
    read_time(members.get("authenticated_at"))
    return members


def _id_token(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"id_token is {_kind(value)}, not a token.")
    return value


def _dpop_key(value: Any) -> dict[str, Any] | None:
    if value is not None and not (isinstance(value, dict) and isinstance(value.get("kty"), str)):
        raise ConfigError("dpop_key is not a JWK.")
    return value


def _issued_to(value: Any) -> dict[str, str] | None:
    members: dict[str, Any] = value if isinstance(value, dict) else {}
    names = ("client", "token_uri", "issuer", "account")
    known = {name: members[name] for name in names if isinstance(members.get(name), str)}
    if value is not None and not {"client", "token_uri"} <= known.keys():
        raise ConfigError("issued_to lacks client or token_uri.")
    return known or None


def _sendable(name: str, token: Any) -> str:
    if not isinstance(token, str) or not token:
        raise BadReplyError(f"{name} is {_kind(token)}, not a token.")
    if not (token.isascii() and token.isprintable()) or " " in token:  # RFC 6749 A.12; a space would split the header
        raise BadReplyError(f"{name} contains characters that a header may not carry (RFC 6750 §2.1).")
    return token


def read_refresh_token(token: Any) -> str | None:
    """The refresh token in a file or a reply, if there is one. Raises `BadReplyError`."""
    if token is None or token == "":
        return token  # type: ignore[no-any-return]
    if not isinstance(token, str) or not (token.isascii() and token.isprintable()):  # RFC 6749 A.17
        raise BadReplyError("refresh_token is not a token (RFC 6749 A.17).")
    return token


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "missing"}
    return "empty" if value == "" else kinds.get(type(value), "a number")
