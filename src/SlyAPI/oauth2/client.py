"""What a client is at one provider, how it authenticates, and the one round trip to its token endpoint.

The rule: every grant is a form (`x_form`), this round trip, and a reader; the files beside this one add the grants.
"""

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ..errors import ConfigError, CredentialsError, clean_traceback
from ..json_file import StrPath, display_path, read_json_file
from ..tokens.client_auth import ClientAuth
from ..tokens.scopes import Scopes, join_scopes, split_scopes
from ..tokens.user import OAuth2User
from ..transport import requests as transport
from ..web.masking import SecretForm, Secrets
from ..web.messages import Request, skew
from ..web.urls import check_endpoint
from .client_file import OWN_KEYS, client_members, read_members
from .login import FinishedLogins
from .providers import UNKNOWN, Provider, provider_of
from .request_slots import TOKEN_REQUESTS, RequestSlots
from .token_endpoint import read_token_reply
from .token_request import basic_of, token_request

if TYPE_CHECKING:
    from aiohttp import ClientSession

OnRefresh = Callable[[OAuth2User], Awaitable[None] | None]
"""Called with a user's new tokens after they were saved."""


class Asked(NamedTuple):
    """What a login asked of the id_token: its nonce, and how long ago (seconds) the person may have signed in."""

    nonce: str
    max_age: float | None = None


@dataclass
class Client:
    """The fields of `OAuth2App`, whose docstring explains them, and the round trip that all grants share."""

    id: str
    secret: str | None
    auth_uri: str
    token_uri: str
    on_refresh: OnRefresh | None = field(default=None, compare=False)
    auth_params: Mapping[str, str | None] = field(default_factory=dict, kw_only=True)
    client_auth: ClientAuth | None = field(default=None, kw_only=True)
    pkce: bool | None = field(default=None, kw_only=True)
    redirect_uri: str | None = field(default=None, kw_only=True)
    scopes: list[str] = field(default_factory=list, kw_only=True)
    issuer: str | None = field(default=None, kw_only=True)
    iss_in_redirect: bool = field(default=False, kw_only=True)
    revoke_uri: str | None = field(default=None, kw_only=True)
    par_uri: str | None = field(default=None, kw_only=True)
    userinfo_uri: str | None = field(default=None, kw_only=True)
    jwks_uri: str | None = field(default=None, kw_only=True)
    logout_uri: str | None = field(default=None, kw_only=True)
    require_par: bool = field(default=False, kw_only=True)
    id_token_alg: str | None = field(default=None, kw_only=True)
    dpop_algs: list[str] | None = field(default=None, kw_only=True)
    dpop: bool = field(default=False, kw_only=True)
    allow_http: bool = field(default=False, kw_only=True)
    clock_skew: float = field(default=0.0, init=False, compare=False)
    token_timeout: float = field(default=transport.TOKEN_TIMEOUT, kw_only=True)
    token_requests: int = field(default=TOKEN_REQUESTS, kw_only=True)
    leeway: float = field(default=30.0, kw_only=True)
    save_timeout: float = field(default=20.0, kw_only=True)
    extra: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    _finished: FinishedLogins = field(default_factory=FinishedLogins, init=False, repr=False, compare=False)
    _slots: RequestSlots = field(default_factory=RequestSlots, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.leeway < math.inf:
            raise ConfigError("leeway is a number of seconds, 0 or more.")

    def __repr__(self) -> str:
        secret = "***" if self.secret else None
        return f"OAuth2App({self.id!r}, {secret!r}, {self.auth_uri!r}, {self.token_uri!r})"

    @classmethod
    @clean_traceback
    def from_json_file(cls, path: StrPath, on_refresh: OnRefresh | None = None) -> Self:
        """The client in a file: our format, Google's download, or RFC 7591 names.

        Raises `CredentialsNotFoundError`, or `CredentialsError` naming what the file is instead.
        """
        return cls.from_json_obj(read_json_file(path), on_refresh, name=display_path(path))

    @classmethod
    @clean_traceback
    def from_json_obj(cls, obj: Any, on_refresh: OnRefresh | None = None, *, name: str = "The client JSON") -> Self:
        """The client in a JSON object of one of those formats; `name` is for messages. Raises `CredentialsError`."""
        try:
            return cls(on_refresh=on_refresh, **read_members(client_members(obj, name)))
        except CredentialsError:
            raise
        except ConfigError as error:
            raise CredentialsError(f"{name} cannot be used: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """The file format: `{id, secret, auth_uri, token_uri}`, and further keys that were set."""
        saved: dict[str, Any] = {"id": self.id, "secret": self.secret or ""}
        saved |= {"auth_uri": self.auth_uri, "token_uri": self.token_uri}
        more = {key: getattr(self, key) for key in OWN_KEYS[4:]}
        saved |= {key: value for key, value in more.items() if value or (value is False and key == "pkce")}
        return saved | dict(self.extra)

    @property
    def _facts(self) -> Provider:
        return self.provider or UNKNOWN

    @property
    def _redirect_issuer(self) -> str | None:
        """The issuer that a redirect's `iss` must name (RFC 9207)."""
        return self.issuer or self._facts.issuer

    @property
    def provider(self) -> Provider | None:
        """The provider in the table, if it is there."""
        return provider_of(self.token_uri, self.auth_uri)

    def all_scopes(self, scopes: Scopes) -> list[str]:
        """The scopes of a grant: those given, the client's own, and those that the provider's refresh tokens need."""
        return split_scopes([*split_scopes(scopes), *self.scopes, *self._facts.scopes])

    def _scope_parameter(self, scopes: Scopes) -> str:
        wanted = self.all_scopes(scopes)
        unchanged = isinstance(scopes, str) and wanted == split_scopes(scopes)
        return join_scopes(scopes if unchanged else wanted, self._facts.delimiter)

    def _client_auth_for(self, user: OAuth2User) -> ClientAuth:
        """The one method for a user's tokens: the client's, the grant's, or the provider's."""
        # 0.6 sent the secret in the form; a user file without a method is from such a grant
        return self.client_auth or user.client_auth or self._known_client_auth() or "post"

    def _known_client_auth(self) -> ClientAuth | None:
        if self.client_auth is not None:
            return self.client_auth
        return (self._facts.client_auth if self.provider else None) if self.secret else self._facts.public_auth

    async def _token_call(
        self,
        form: SecretForm,
        method: ClientAuth,
        client: "ClientSession | None",
        now: float | None,
        *,
        requested: list[str] | None = None,
        previous: OAuth2User | None = None,
        asked: Asked | None = None,
    ) -> OAuth2User:
        request = token_request(self.token_uri, form, method, self.id, self.secret or "")
        sent = form.secrets((self.secret or "", previous.token if previous else "", basic_of(request)))
        at = clock(now)
        user = await self._round_trip(request, client, at, sent, requested=requested, previous=previous)
        return await self._identified(user, previous, asked, client, at)

    async def _identified(
        self,
        user: OAuth2User,
        previous: OAuth2User | None,
        asked: Asked | None,
        client: "ClientSession | None",
        now: float,
    ) -> OAuth2User:
        """The user of a token reply, with an identity that was verified; see `identity_calls.py`."""
        raise NotImplementedError

    async def _round_trip(
        self,
        request: Request,
        client: "ClientSession | None",
        now: float,
        sent: Secrets,
        *,
        requested: list[str] | None = None,
        previous: OAuth2User | None = None,
    ) -> OAuth2User:
        """The round trip that all grants share; messages mask `sent`."""
        check_endpoint(self.token_uri, "token_uri", allow_http=self.allow_http)
        async with self._slots.slot(request.name, self.token_requests, self.token_timeout) as left:
            reply = await transport.send(request, client, timeout=left)
        self.clock_skew = skew(reply.headers, now)
        return read_token_reply(
            reply,
            now=now + self.clock_skew,
            requested=requested,
            previous=previous,
            secrets=sent,
            refresh_life_unit=self._facts.refresh_life_unit,
        )


def clock(now: float | None) -> float:
    """Epoch seconds: `now`, or the machine's clock."""
    return time.time() if now is None else now
