"""What a user file, or a provider's token answer, says of one user: read, and not yet made an `OAuth2User`. Pure.

The rule: what is not fit to be sent is refused here; and nothing is imported here that `show` has no use for.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from sys import intern
from typing import Any, NamedTuple

from ..errors import BadReplyError, ConfigError
from .client_auth import ClientAuth, read_client_auth
from .recognise import HINT, is_of_google_auth, recognise
from .scopes import missing_scopes, split_scopes
from .times import expiry, read_time, refresh_expiry, seconds

_OWN_KEYS = {"token", "refresh_token", "expires_at", "token_type", "scopes"}
_MORE_KEYS = {"requested_scopes", "client_auth", "refresh_expires_at"}
# patterns that are seldom needed: `re` makes them then, and keeps them
_NAME = r"[A-Za-z_-]{1,16}"  # what may be quoted of a stranger's token_type
_SCHEME = r"[A-Za-z0-9._-]+|[a-z][a-z0-9+.-]*:[\x21-\x7e]+"  # RFC 6749 A.13


class Told(NamedTuple):
    """The members of an `OAuth2User`, which see; prints no secret."""

    token: str
    refresh_token: str | None
    expires_at: datetime | None
    token_type: str
    scopes: list[str]
    requested_scopes: list[str] | None = None
    client_auth: ClientAuth | None = None
    refresh_expires_at: datetime | None = None
    extra: dict[str, Any] | None = None
    expires_as_read: str | None = None

    def __repr__(self) -> str:
        return f"<Told of a user, scopes {self.scopes!r}>"

    @property
    def missing_scopes(self) -> list[str]:
        """Scopes that were asked for and not granted."""
        return missing_scopes(self.requested_scopes or [], self.scopes)


def read_user(obj: Any, now: float) -> Told | str:
    """The user in a JSON object (our own, or a token answer kept as it came), or what the object is instead.

    `now` (epoch seconds) is when an answer without `created_at` arrived.
    """
    if not isinstance(obj, dict):
        return f"is {'null' if obj is None else _kind(obj)}, not a user's tokens. {HINT}"
    told: dict[str, Any] = obj
    try:
        if "token" in told and not is_of_google_auth(told):
            return _from_own(told)
        if "access_token" in told:
            created = seconds(told.get("created_at"))
            user = told_by_answer(told, now=now if created is None else created)
            if told.get("expires_at") is not None:  # as requests-oauthlib and Authlib keep it; `expires_in` is old
                user = user._replace(expires_at=read_time(told["expires_at"]))
            return user
    except (ConfigError, BadReplyError) as error:
        return f"does not hold a user's tokens: {error}"
    if "slyapi_encrypted" in told:
        return "is encrypted. Open it with its key: EncryptedStore, or SLYAPI_STORE_KEYS on the command line."
    return f"does not hold a user's tokens: it is {recognise(told)}. {HINT}"


def read_google_auth(told: Mapping[str, Any]) -> Told | str:
    """The user in what google-auth's `Credentials.to_json()` wrote, or why there is none in it."""
    try:
        if told.get("token") and is_of_google_auth(told):
            names = {"token": "token", "refresh_token": "refresh_token", "expiry": "expires_at", "scopes": "scopes"}
            return _from_own({ours: told[theirs] for theirs, ours in names.items() if told.get(theirs)})
    except (ConfigError, BadReplyError) as error:
        return str(error)
    return f"it is {recognise(told)}."


def _from_own(saved: Mapping[str, Any]) -> Told:
    scopes = saved.get("scopes", [])
    requested = saved.get("requested_scopes")
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
    return Told(
        token=_sendable("token", saved["token"]),
        refresh_token=_refresh_token(saved.get("refresh_token")),
        expires_at=read_time(expires),
        expires_as_read=expires if isinstance(expires, str) and expires.endswith("Z") else None,
        token_type=intern(token_type),
        scopes=split_scopes(scopes),
        requested_scopes=None if requested is None else split_scopes(requested),
        client_auth=read_client_auth(saved.get("client_auth")),
        refresh_expires_at=read_time(saved.get("refresh_expires_at")),
        extra={key: value for key, value in saved.items() if key not in _OWN_KEYS | _MORE_KEYS} or None,
    )


def told_by_answer(
    answer: Mapping[str, Any],
    *,
    now: float,
    requested: list[str] | None = None,
    previous: Told | None = None,
    refresh_life_unit: float = 1.0,
) -> Told:
    """The user told by a successful token answer (RFC 6749 §5.1), asked for at `now` (epoch seconds).

    Reads only the protocol's names. `previous` is the user refreshed: its refresh token stays
    where the answer has none (§6), its scopes where the answer names none.
    Raises `BadReplyError` for a token or a scheme that cannot be used.
    """
    if not answer.get("access_token") and isinstance(answer.get("authed_user"), dict):
        answer = answer["authed_user"]  # Slack, when only user scopes were asked for
    token_type = answer.get("token_type")
    scheme = "bearer" if token_type in (None, "") else str(token_type).casefold()
    if scheme not in ("bearer", "bot", "user"):  # Slack's bot and user are no schemes and mean Bearer
        named = f"type {token_type!r}" if re.fullmatch(_NAME, str(token_type)) else "a type without a name"
        raise BadReplyError(
            f"the token is of {named}, which SlyAPI does not speak (RFC 6749 §7.1).", kind="configuration"
        )
    scopes, asked = _granted(answer.get("scope"), requested, previous)
    new = _refresh_token(answer.get("refresh_token"))
    ends = refresh_expiry(answer, now, refresh_life_unit)
    if ends is None and previous is not None and new in (None, "", previous.refresh_token):
        ends = previous.refresh_expires_at
    return Told(
        token=_sendable("access_token", answer.get("access_token")),
        refresh_token=new or (previous.refresh_token if previous else None),
        expires_at=expiry(answer, now),
        token_type="Bearer",
        scopes=scopes,
        requested_scopes=asked,
        client_auth=previous.client_auth if previous else None,
        refresh_expires_at=ends,
        extra=previous.extra if previous else None,
    )


def _granted(
    scope: Any, requested: list[str] | None, previous: Told | None
) -> tuple[list[str], list[str] | None]:
    told = [s for s in scope if isinstance(s, str)] if isinstance(scope, list) else scope
    told = told if isinstance(told, str | list) else None
    if previous is not None:
        return split_scopes(told) if told else list(previous.scopes), previous.requested_scopes
    if told is None:  # RFC 6749 §5.1: no scope in the answer means as requested
        return list(requested or []), None
    granted = split_scopes(told)
    return granted, requested if requested is not None and set(requested) != set(granted) else None


def _sendable(name: str, token: Any) -> str:
    if not isinstance(token, str) or not token:
        raise BadReplyError(f"{name} is {_kind(token)}, not a token.")
    if not (token.isascii() and token.isprintable()) or " " in token:  # RFC 6749 A.12; a space would split the header
        raise BadReplyError(f"{name} holds characters that no header may carry (RFC 6750 §2.1).")
    return token


def _refresh_token(token: Any) -> str | None:
    if token is None or token == "":
        return token  # type: ignore[no-any-return]
    if not isinstance(token, str) or not all(" " <= c <= "~" for c in token):  # RFC 6749 A.17
        raise BadReplyError("refresh_token is no token (RFC 6749 A.17).")
    return token


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a text", bool: "true or false", type(None): "missing"}
    if value == "":
        return "empty"
    return kinds.get(type(value), "a number")
