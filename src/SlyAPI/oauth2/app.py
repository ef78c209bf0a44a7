"""Who we are to one provider: the client registration. Each method is build, send, read."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from ..errors import ConfigError, CredentialsError, GrantEndedError, SlyError, TokenError
from ..json_file import StrPath, display_path, read_json_file
from ..tokens.client_auth import ClientAuth
from ..tokens.scopes import Scopes, join_scopes, split_scopes
from ..tokens.user import OAuth2User
from ..transport import requests as transport
from ..web.masking import SecretForm, Secrets
from ..web.messages import Request, skew
from ..web.urls import check_endpoint
from . import pkce
from .authorization_code import AuthorizationURL, authorization_url, check_extras, exchange_form
from .client_file import OWN_KEYS, client_members, read_members
from .login import LIFETIME, FinishedLogins, Login, new_state, read_answer
from .providers import Provider, provider_of
from .refresh_token import refresh_form
from .request_slots import TOKEN_REQUESTS, RequestSlots
from .revocation import read_revocation_reply, revocation_form
from .token_endpoint import GRANT_AGAIN, is_of_client_auth, read_token_reply
from .token_request import basic_of, token_request

if TYPE_CHECKING:
    from aiohttp import ClientSession

OnRefresh = Callable[[OAuth2User], Awaitable[None] | None]
"""Hears of a user's new tokens, after they were saved."""

@dataclass
class OAuth2App:
    """A client at one provider. `secret` is None or empty for a public client.

    `on_refresh` hears of every user of this client whose tokens were refreshed. `auth_params` go
    into every authorization URL over those the provider is known to need (None takes one out).
    `client_auth`: how the token endpoint wants id and secret, None for what is known or learned.
    `pkce=False` switches RFC 7636 off, for a provider known to break on it (None: by the table).
    `scopes` are asked for beside those of each grant. `issuer` is compared with the redirect's `iss`.
    `revoke_uri` is where grants are ended (RFC 7009), None for what the table knows.
    `allow_http` admits plain http beyond this machine. `clock_skew`: seconds by which the provider's
    clock is ahead of ours, as its last token reply told. `token_timeout` in seconds, the wait for a turn
    included: one event loop has no more than `token_requests` under way at once, so that a thousand users
    who expire together do not become a thousand connections. `save_timeout`: seconds for which a call waits until
    new tokens are saved in a store that is away, less than a store's lease; then the save goes on without it.
    `extra` keeps further keys of the file.
    """

    __module__ = "SlyAPI.oauth2"

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
    allow_http: bool = field(default=False, kw_only=True)
    clock_skew: float = field(default=0.0, init=False, compare=False)
    token_timeout: float = field(default=transport.TOKEN_TIMEOUT, kw_only=True)
    token_requests: int = field(default=TOKEN_REQUESTS, kw_only=True)
    save_timeout: float = field(default=20.0, kw_only=True)
    extra: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    _finished: FinishedLogins = field(default_factory=FinishedLogins, init=False, repr=False, compare=False)
    _slots: RequestSlots = field(default_factory=RequestSlots, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        secret = "***" if self.secret else None
        return f"OAuth2App({self.id!r}, {secret!r}, {self.auth_uri!r}, {self.token_uri!r})"

    @classmethod
    def from_json_file(cls, path: StrPath, on_refresh: OnRefresh | None = None) -> Self:
        """The client in a file: ours, Google's download, or RFC 7591 names.

        Raises `CredentialsNotFoundError`, or `CredentialsError` saying what the file is instead.
        """
        return cls.from_json_obj(read_json_file(path), on_refresh, name=display_path(path))

    @classmethod
    def from_json_obj(cls, obj: Any, on_refresh: OnRefresh | None = None, *, name: str = "The client JSON") -> Self:
        """The client in a JSON object of one of those three forms; `name` is for messages."""
        try:
            return cls(on_refresh=on_refresh, **read_members(client_members(obj, name)))
        except CredentialsError as error:
            problem = error.with_traceback(None)  # whose frames hold the secret
        except ConfigError as error:
            problem = CredentialsError(f"{name} cannot be used: {error}")
        del obj  # so that no traceback shows it
        raise problem

    def to_dict(self) -> dict[str, Any]:
        """The file format: `{id, secret, auth_uri, token_uri}`, and further keys that were set."""
        saved: dict[str, Any] = {"id": self.id, "secret": self.secret or ""}
        saved |= {"auth_uri": self.auth_uri, "token_uri": self.token_uri}
        more = {key: getattr(self, key) for key in OWN_KEYS[4:]}
        saved |= {key: value for key, value in more.items() if value or (value is False and key == "pkce")}
        return saved | dict(self.extra)

    @property
    def provider(self) -> Provider | None:
        """What is known of the provider, if it is in the table."""
        return provider_of(self.token_uri, self.auth_uri)

    def auth_url_with_pkce(
        self,
        redirect_uri: str,
        state: str,
        scopes: Scopes,
        *,
        auth_params: Mapping[str, str | None] | None = None,
    ) -> AuthorizationURL:
        """Where to send the person (RFC 6749 §4.1.1 with RFC 7636, S256), and the verifier to keep.

        `scopes` is text as the provider wants it, or a list. The state in the URL is `state` with the
        challenge behind it: `AuthorizationURL.state`. `auth_params` go over the client's own.
        Raises `ConfigError`.
        """
        kept = SecretForm(state=state)
        del state  # so that no traceback shows it
        check_endpoint(self.auth_uri, "auth_uri", allow_http=self.allow_http)
        known = self.provider
        extras = {**(known.auth_params if known else {}), **self.auth_params, **(auth_params or {})}
        check_extras(extras)
        scope = self._scope_parameter(scopes)
        use_pkce = self.pkce if self.pkce is not None else known is None or known.pkce
        verifier = pkce.new_verifier() if use_pkce else ""
        challenge = pkce.s256_challenge(verifier) if verifier else ""
        url = authorization_url(
            self.auth_uri,
            client_id=self.id,
            redirect_uri=redirect_uri,
            state=kept["state"] + challenge,
            scope=scope,
            challenge=challenge,
            extras=extras,
        )
        return AuthorizationURL(url, verifier, challenge)

    def all_scopes(self, scopes: Scopes) -> list[str]:
        """The scopes of a grant: those given, the client's own, and those the provider's refresh tokens need."""
        known = self.provider
        return split_scopes([*split_scopes(scopes), *self.scopes, *(known.scopes if known else ())])

    def _scope_parameter(self, scopes: Scopes) -> str:
        added = [s for s in self.all_scopes(scopes) if s not in split_scopes(scopes)]
        if isinstance(scopes, str) and not added:
            return scopes
        known = self.provider
        return join_scopes(self.all_scopes(scopes), known.delimiter if known else " ")

    def begin_login(
        self,
        redirect_uri: str,
        scopes: Scopes,
        *,
        auth_params: Mapping[str, str | None] | None = None,
        now: float | None = None,
    ) -> Login:
        """Begins a login: send the person to its `url`, and keep its `to_dict()` in their session.

        `redirect_uri` is one registered with the provider, `scopes` and `auth_params` are those of
        `auth_url_with_pkce`, `now` is in epoch seconds, None for the machine's clock. Raises `ConfigError`.
        """
        wanted = scopes if isinstance(scopes, str) else list(scopes)
        asked = self.auth_url_with_pkce(redirect_uri, new_state(), wanted, auth_params=auth_params)
        asked_for = split_scopes(wanted)
        return Login(
            asked.url, asked.state, asked.verifier, redirect_uri, asked_for, self.id, self.issuer, _clock(now)
        )

    async def finish_login(
        self,
        kept: Login | Mapping[str, Any] | None,
        redirect: str | Mapping[str, Any],
        client: "ClientSession | None" = None,
        *,
        lifetime: float = LIFETIME,
        now: float | None = None,
    ) -> OAuth2User:
        """Ends a login with the redirect as it arrived: its URL, or its query as a framework gives it.

        `kept` is what the session kept, None where it kept nothing: take it out of the session, so that it serves
        once. `lifetime` in seconds. Raises `StateMismatchError` for a redirect that this session did not ask
        for, `LoginEndedError` for one that is too late or comes again, `DeniedError`, whose `denied` tells a person's
        no from the provider's, `RedirectError` for another that is no answer, and what `exchange_code` raises.
        """
        answer = read_answer(
            kept,
            redirect,
            self._finished,
            client_id=self.id,
            issuer=self.issuer,
            issuer_required=self.iss_in_redirect,
            lifetime=lifetime,
            now=_clock(now),
        )
        del kept, redirect  # so that no traceback shows them
        if isinstance(answer, SlyError):
            raise answer
        login = answer.login
        return await self.exchange_code(
            answer.code, login.verifier, login.scopes, login.redirect_uri, client, now=now
        )

    async def exchange_code(
        self,
        code: str,
        verifier: str,
        scopes: Scopes,
        redirect_uri: str,
        client: "ClientSession | None" = None,
        *,
        now: float | None = None,
    ) -> OAuth2User:
        """Trades the redirect's code for the user's tokens (RFC 6749 §4.1.3).

        `scopes` are those that were asked for, for the comparison; `redirect_uri` is byte for byte the
        one in the URL. Where it is not known how the provider wants the secret, the form is tried
        first, then Basic, and the user remembers Basic. `now` in epoch seconds, None for the machine's
        clock. Raises `TokenError`, `BadReplyError`, `NetworkError`.
        """
        form = exchange_form(code, verifier, redirect_uri)
        del code, verifier  # so that no traceback shows them
        requested = self.all_scopes(scopes)
        known = self._known_client_auth()
        if known is not None:
            return await self._token_call(form, known, client, now, requested=requested)
        try:
            return await self._token_call(form, "post", client, now, requested=requested)
        except TokenError as error:
            if not is_of_client_auth(error):
                raise
        user = await self._token_call(form, "basic", client, now, requested=requested)
        user.client_auth = "basic"
        return user

    def can_refresh(self, user: OAuth2User) -> bool:
        """Whether new tokens can be had for the user without a person."""
        return bool(user.refresh_token)

    async def refresh(
        self, client: "ClientSession | None", user: OAuth2User, *, now: float | None = None
    ) -> OAuth2User:
        """The user with fresh tokens (RFC 6749 §6); the refresh token stays unless a new one came.

        `client` lends its connections (None: one of our own), `now` is in epoch seconds. Raises
        `GrantEndedError` where the refresh token is refused for good, `TokenError`, `BadReplyError`, `NetworkError`.
        """
        if not user.refresh_token:
            raise GrantEndedError(
                401,
                "no_refresh_token",
                message="The access token has expired and there is no refresh token.",
                next_step=GRANT_AGAIN,
            )
        method = self._client_auth_for(user)
        form = refresh_form(user.refresh_token)
        return await self._token_call(form, method, client, now, previous=user)

    async def revoke(self, user: OAuth2User, client: "ClientSession | None" = None) -> None:
        """Ends the user's grant at the provider (RFC 7009); that it was over before is no error.

        Raises `ConfigError` where no revocation endpoint is known, `TokenError`, `NetworkError`.
        """
        known = self.provider
        uri = self.revoke_uri or (known.revoke_uri if known else None)
        if uri is None:
            raise ConfigError(
                "No revocation endpoint is known for this provider.",
                next_step='Put "revoke_uri" into the client file, or end the access on the provider\'s site.',
            )
        check_endpoint(uri, "revoke_uri", allow_http=self.allow_http)
        form = revocation_form(user)
        method = self._client_auth_for(user)
        request = token_request(uri, form, method, self.id, self.secret or "")
        reply = await transport.send(request, client, timeout=self.token_timeout)
        read_revocation_reply(reply, form.secrets((self.secret or "", basic_of(request))))

    def _client_auth_for(self, user: OAuth2User) -> ClientAuth:
        """The one method to use with a user's tokens: told, remembered from the grant, or known of the provider."""
        # 0.6 put the secret into the form; a user file that remembers nothing is from such a grant
        return self.client_auth or user.client_auth or self._known_client_auth() or "post"

    def _known_client_auth(self) -> ClientAuth | None:
        if self.client_auth is not None:
            return self.client_auth
        known = self.provider
        if not self.secret:
            return known.public_auth if known else "none"
        return known.client_auth if known else None

    async def _token_call(
        self,
        form: SecretForm,
        method: ClientAuth,
        client: "ClientSession | None",
        now: float | None,
        *,
        requested: list[str] | None = None,
        previous: OAuth2User | None = None,
    ) -> OAuth2User:
        request = token_request(self.token_uri, form, method, self.id, self.secret or "")
        sent = form.secrets((self.secret or "", previous.token if previous else "", basic_of(request)))
        return await self._ask(request, client, _clock(now), sent, requested=requested, previous=previous)

    async def _ask(
        self,
        request: Request,
        client: "ClientSession | None",
        now: float,
        sent: Secrets,
        *,
        requested: list[str] | None = None,
        previous: OAuth2User | None = None,
    ) -> OAuth2User:
        """The round trip that all grants share; `sent` is what no message may repeat."""
        check_endpoint(self.token_uri, "token_uri", allow_http=self.allow_http)
        async with self._slots.slot(request.name, self.token_requests, self.token_timeout) as left:
            reply = await transport.send(request, client, timeout=left)
        self.clock_skew = skew(reply.headers, now)
        known = self.provider
        return read_token_reply(
            reply,
            now=now + self.clock_skew,
            requested=requested,
            previous=previous,
            secrets=sent,
            refresh_life_unit=known.refresh_life_unit if known else 1.0,
        )


def _clock(now: float | None) -> float:
    return time.time() if now is None else now
