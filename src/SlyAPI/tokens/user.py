"""One user's grant: the tokens, their expiry, their scopes; read from and written as JSON. Opens only its own file.

The rule: a value that cannot be sent is refused before it is stored, and a secret never prints.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from ..errors import IdentityError, clean_traceback
from ..json_file import StrPath, display_path, read_json_file, written_at
from ..web.secret_values import SecretJson
from .client_auth import ClientAuth
from .recognise import MADE_WITH
from .scopes import missing_scopes, split_scopes
from .times import as_utc, read_time, write_time
from .user_json import answer_fields, google_auth_fields, user_fields


@dataclass(frozen=True)
class Identity:
    """Who a person is: `issuer` and `subject` together name one person for good; an e-mail address does not.

    `claims` are those of the id_token; `authenticated_at` (aware, UTC) is when the person signed in, or None.
    """

    __module__ = "SlyAPI.oauth2"

    issuer: str
    subject: str
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    authenticated_at: datetime | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The identity as a user file has it."""
        at = None if self.authenticated_at is None else write_time(self.authenticated_at)
        return {"issuer": self.issuer, "subject": self.subject, "claims": {**self.claims}, "authenticated_at": at}

    @classmethod
    @clean_traceback
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The identity that `to_dict` wrote, as `user_json.read_identity` checked it."""
        return cls(value["issuer"], value["subject"], {**value["claims"]}, read_time(value.get("authenticated_at")))


@dataclass(slots=True)
class OAuth2User:
    """One user's tokens for one client. JSON in and out: `from_json_obj()` and `to_dict()`.

    `expires_at` is aware and in UTC (a naive time is read as UTC), or None if the provider does not report it.
    `scopes` are those granted; `requested_scopes` those requested, if that differs. `client_auth` is the method
    that the grant used. `refresh_expires_at` is when the refresh token expires, if the provider reports it.
    `identity` is who the person is, verified, and `id_token` the token that says so (OpenID Connect Core);
    `dpop_key` is the private JWK to which the tokens are bound (RFC 9449).
    `issued_to` names the client and the token endpoint (`client`, `token_uri`, and `issuer` if it is known).
    `extra` holds further keys of the file, which survive a rewrite; `expires_as_read` is the file's spelling of
    `expires_at`, written again while it names the same moment.
    """

    __module__ = "SlyAPI.oauth2"

    token: str
    refresh_token: str | None = None
    expires_at: datetime | None = None
    token_type: str = "Bearer"
    scopes: list[str] = field(default_factory=list)
    requested_scopes: list[str] | None = None
    client_auth: ClientAuth | None = None
    refresh_expires_at: datetime | None = None
    extra: dict[str, Any] | None = None
    identity: Identity | None = None
    id_token: str | None = None
    dpop_key: SecretJson | None = None
    expires_as_read: str | None = field(default=None, compare=False)
    issued_to: dict[str, str] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        self.scopes = split_scopes(self.scopes)
        if self.expires_at is not None:
            self.expires_at = as_utc(self.expires_at)
        if self.refresh_expires_at is not None:
            self.refresh_expires_at = as_utc(self.refresh_expires_at)
        if self.dpop_key is not None and not isinstance(self.dpop_key, SecretJson):
            self.dpop_key = SecretJson(self.dpop_key)

    def __repr__(self) -> str:
        expires = "unknown" if self.expires_at is None else write_time(self.expires_at)
        refresh_token = "***" if self.refresh_token else None
        return f"OAuth2User(token='***', {refresh_token=}, expires_at={expires}, scopes={self.scopes!r})"

    @property
    def missing_scopes(self) -> list[str]:
        """Scopes that were requested and not granted; not `offline_access` if there is a refresh token."""
        return missing_scopes(self.requested_scopes or [], self.scopes, renewable=bool(self.refresh_token))

    @property
    def issued_token_type(self) -> str | None:
        """The kind of token that an exchange gave, as a URN (RFC 8693 §2.2.1); None after another grant."""
        issued = (self.extra or {}).get("issued_token_type")
        return issued if isinstance(issued, str) else None

    @property
    def subject(self) -> str | None:
        """The account that the token reply names (`sub`, as AT Protocol has it), by the server's word alone.

        A refresh for another account is refused. OpenID Connect's verified subject is `identity.subject`.
        """
        subject = (self.extra or {}).get("sub")
        return subject if isinstance(subject, str) else None

    @property
    def authorization_details(self) -> list[dict[str, Any]]:
        """What the token may do in detail, as the provider granted it last (RFC 9396 §7)."""
        found = (self.extra or {}).get("authorization_details")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def to_dict(self) -> dict[str, Any]:
        """The file format: `{token, refresh_token, expires_at, token_type, scopes}`, then optional members if set."""
        saved: dict[str, Any] = {
            "token": self.token,
            "refresh_token": self.refresh_token,
            "expires_at": self._expires_text(),
            "token_type": self.token_type,
            "scopes": list(self.scopes),
        }
        if self.requested_scopes is not None:
            saved["requested_scopes"] = list(self.requested_scopes)
        if self.client_auth is not None:
            saved["client_auth"] = self.client_auth
        if self.refresh_expires_at is not None:
            saved["refresh_expires_at"] = write_time(self.refresh_expires_at)
        if self.identity is not None:
            saved["identity"] = self.identity.to_dict()
        if self.id_token is not None:
            saved["id_token"] = self.id_token
        if self.dpop_key is not None:
            saved["dpop_key"] = dict(self.dpop_key)
        if self.issued_to is not None:
            saved["issued_to"] = dict(self.issued_to)
        return saved | (self.extra or {})

    def _expires_text(self) -> str | None:
        if self.expires_at is None:
            return None
        as_read = self.expires_as_read
        return as_read if as_read and read_time(as_read) == self.expires_at else write_time(self.expires_at)

    @classmethod
    @clean_traceback
    def from_json_file(cls, path: StrPath) -> Self:
        """The user in a file. Raises `CredentialsNotFoundError` or `CredentialsError`."""
        return cls.from_json_obj(read_json_file(path, made_with=MADE_WITH), display_path(path), now=written_at(path))

    @classmethod
    @clean_traceback
    def from_json_obj(cls, obj: Any, name: str = "The user JSON", *, now: float | None = None) -> Self:
        """The user in our own JSON, or in a provider's token reply stored unchanged (RFC 6749 §5.1).

        `name` is for messages; `now` (epoch seconds) is when a reply without `created_at` arrived.
        Raises `CredentialsError`, which names what the object is instead.
        """
        fields = user_fields(obj, time.time() if now is None else now, name)
        if fields.get("identity") is not None:
            fields["identity"] = Identity.from_dict(fields["identity"])
        return cls(**fields)

    @classmethod
    @clean_traceback
    def from_google_auth(cls, obj: Mapping[str, Any]) -> Self:
        """The user in the output of google-auth's `Credentials.to_json()`, without the client that it also holds.

        Such a file is not read as a user file, because a refresh would overwrite what google-auth still reads.
        Raises `CredentialsError`.
        """
        return cls(**google_auth_fields(obj))

    @classmethod
    @clean_traceback
    def from_token_answer(
        cls,
        answer: Mapping[str, Any],
        *,
        now: float,
        requested: list[str] | None = None,
        previous: Self | None = None,
        refresh_life_unit: float = 1.0,
        dpop_key: SecretJson | None = None,
    ) -> Self:
        """The user in a successful token reply (RFC 6749 §5.1) to a request sent at `now` (epoch seconds).

        `previous` is the user refreshed: what the reply omits stays (§6). Its `id_token` is not verified yet.
        `dpop_key`: the key of the request's proof, to which the token must be bound.
        Raises `BadReplyError`, `IdentityError` for a refresh that names another account.
        """
        subject = previous.subject if previous is not None else None
        if subject is not None and answer.get("sub", subject) != subject:  # first: nothing of such a reply is kept
            raise IdentityError("The refreshed token is of another account than the one before (sub).")
        fields = answer_fields(answer, now, refresh_life_unit, bound=dpop_key is not None)
        if dpop_key is not None:
            fields["dpop_key"] = dpop_key
        if isinstance(answer.get("id_token"), str):
            fields["id_token"] = answer["id_token"]
        granted, listed = fields.pop("scopes"), answer.get("authorization_details")
        details = {"authorization_details": listed} if isinstance(listed, list) else {}
        if previous is None:
            more = {name: answer.get(name) for name in ("issued_token_type", "sub")}
            fields["extra"] = {name: text for name, text in more.items() if isinstance(text, str)} | details or None
            if granted is None:  # RFC 6749 §5.1: granted as requested
                return cls(**fields, scopes=requested or [])
            differs = requested is not None and set(requested) != set(granted)
            return cls(**fields, scopes=granted, requested_scopes=requested if differs else None)
        if fields["refresh_token"] in (None, "", previous.refresh_token):
            fields["refresh_token"] = previous.refresh_token
            fields["refresh_expires_at"] = fields["refresh_expires_at"] or previous.refresh_expires_at
        if details:
            fields["extra"] = {**(previous.extra or {}), **details}
        return replace(previous, **fields, scopes=granted or previous.scopes, expires_as_read=None)


def authorization(user: OAuth2User) -> str:
    """The value of the `Authorization` header for the user's token (RFC 6750 §2.1)."""
    scheme = user.token_type
    if scheme != "Bearer" and scheme.lower() == "bearer":
        scheme = "Bearer"  # some servers report the scheme `bearer` and accept only `Bearer`
    return f"{scheme} {user.token}"
