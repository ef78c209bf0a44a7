"""RFC 7662, token introspection: what the authorization server knows of a token. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ...errors import BadReplyError, SlyError
from ...tokens.scopes import split_scopes
from ...tokens.times import read_time
from ...web.messages import Reply
from ...web.secret_values import SecretForm, Secrets
from ...web.urls import bare_url
from .token_endpoint import is_error, read_answer, refusal

_KNOWN = {"active", "scope", "client_id", "username", "sub", "exp"}


@dataclass(frozen=True, kw_only=True)
class TokenInfo:
    """What an authorization server says of a token. Where it is not `active`, nothing else is known.

    `expires_at` is aware and in UTC; `extra` holds further members as they came.
    """

    __module__ = "SlyAPI.oauth2"

    active: bool
    scopes: list[str] = field(default_factory=list)
    client_id: str | None = None
    username: str | None = None
    subject: str | None = None
    expires_at: datetime | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


def introspection_form(token: str) -> SecretForm:
    """The form that asks about a token (RFC 7662 §2.1)."""
    return SecretForm(token=token)


def read_introspection_reply(reply: Reply, secrets: Secrets) -> TokenInfo:
    """What the endpoint answers (RFC 7662 §2.2). Raises `TokenError` or `BadReplyError`."""
    where = f"The introspection endpoint {bare_url(reply.url)}"
    answer = read_answer(reply)
    if reply.status >= 300 or (is_error(answer) and "active" not in (answer or {})):
        raise refusal(reply, answer or {}, where, secrets=secrets, setting="introspect_uri")
    if answer is None or not isinstance(answer.get("active"), bool):
        raise BadReplyError(
            f"{where} did not answer whether the token is active.",
            next_step="Check introspect_uri in the client file.",
        )
    if not answer["active"]:
        return TokenInfo(active=False)
    return TokenInfo(
        active=True,
        scopes=split_scopes(answer.get("scope") or ""),
        client_id=_text(answer.get("client_id")),
        username=_text(answer.get("username")),
        subject=_text(answer.get("sub")),
        expires_at=_time(answer.get("exp")),
        extra={name: value for name, value in answer.items() if name not in _KNOWN},
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _time(value: object) -> datetime | None:
    try:
        return read_time(value)
    except (SlyError, ValueError, TypeError, OverflowError):
        return None
