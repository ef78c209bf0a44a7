"""Signs requests as a program: with its own credentials, a token that it exchanges, an assertion that it presents.

The rule: only the source of the tokens differs from a user's; store, lock, refresh and signature are the same.
"""

import copy
import os
import time
from collections.abc import Callable, Hashable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ...errors import BadReplyError, TokenError, clean_traceback
from ...json_file import StrPath
from ...sources import TokenLike, read_token
from ...stores.contract import StoredUser
from ...tokens.scopes import Scopes, split_scopes
from ...tokens.user import OAuth2User
from ...web.secret_values import Secrets
from ..client.app import OAuth2App, OnRefresh
from ..client.bound_tokens import is_bound
from ..messages.resource import Resource, resources_of
from ..messages.token_request import check_token_params
from ..renewal.state import NOT_LOADED
from ..renewal.token_source import TokenSource
from .signer import Signer, holder_of

if TYPE_CHECKING:
    from aiohttp import ClientSession

REFUSED_FOR = 600.0
"""Seconds for which a refused assertion is not sent again."""


TokenParams = Mapping[str, str | None] | None


class MachineSource(TokenSource):
    """A source of tokens that needs no person; `scopes` and `resource` are what it asks for."""

    __slots__ = ("resource", "scopes", "token_params")

    needs_grant = False
    grant = "client_credentials"

    def __init__(
        self, app: OAuth2App, scopes: Scopes, resource: Resource | None, token_params: TokenParams = None
    ) -> None:
        super().__init__(app)
        check_token_params(token_params or {})
        self.token_params: Mapping[str, str | None] = token_params or {}
        self.scopes: list[str] = split_scopes(scopes)
        self.resource: list[str] | None = None if resource is None else resources_of(resource)

    @property
    def question(self) -> Hashable:
        asked = sorted(self.asked.items())
        return self.grant, *sorted({*self.scopes, *self.app.scopes}), "for", *self.app._resources(self.resource), *asked

    @property
    def asked(self) -> dict[str, str]:
        """What the request has besides scopes and resource, as it is noted with the token."""
        params = {**self.app.token_params, **self.token_params}
        return {f"token_params.{name}": text for name, text in params.items() if text is not None}

    def check_client(self, user: OAuth2User) -> None:
        """Another client's token only means that a new one is requested (`fits`)."""

    def fits(self, user: OAuth2User) -> bool:
        wanted = {*self.scopes, *self.app.scopes}
        resources = self.app._resources(self.resource)
        noted = user.extra or {}
        # older versions noted neither
        unnoted = {name: text for name, text in self.asked.items() if not name.startswith("token_params.")}
        asked = noted.get("asked", unnoted) == self.asked and noted.get("grant_type", self.grant) == self.grant
        granted = wanted <= {*user.scopes, *(user.requested_scopes or ())}
        return is_bound(user, self.app) and granted and asked and noted.get("resource", []) == resources

    async def new_tokens(self, client: "ClientSession | None", user: OAuth2User, now: float) -> OAuth2User:
        self.app._found_auth = self.app._found_auth or user.client_auth
        fresh = await self.request(client, now)
        resources = self.app._resources(self.resource)
        kept = {"grant_type": self.grant, "resource": resources, "asked": self.asked}
        kept = {name: value for name, value in kept.items() if value}
        extra = {} if user is NOT_LOADED else user.extra or {}
        before = {name: value for name, value in extra.items() if name not in ("resource", "asked", "token_params")}
        fresh.extra = {**before, **(fresh.extra or {}), **kept}
        return fresh

    async def request(self, client: "ClientSession | None", now: float) -> OAuth2User:
        """The reply to one token request."""
        return await self.app.request_token(
            self.scopes, resource=self.resource, token_params=self.token_params, client=client, now=now
        )


class ExchangeSource(MachineSource):
    """A subject token that is exchanged (RFC 8693)."""

    __slots__ = ("actor", "options", "subject", "subject_type")

    grant = "token_exchange"

    def __init__(
        self,
        app: OAuth2App,
        scopes: Scopes,
        resource: Resource | None,
        subject: TokenLike,
        subject_type: str,
        actor: TokenLike | None,
        options: dict[str, Any],
        token_params: TokenParams = None,
    ) -> None:
        super().__init__(app, scopes, resource, token_params)
        self.subject: TokenLike = subject
        self.subject_type: str = subject_type
        self.actor: TokenLike | None = actor
        self.options: dict[str, Any] = options

    @property
    def asked(self) -> dict[str, str]:
        actor = {} if self.actor is None else {"actor": _noted(self.actor)}
        told = {**super().asked, "subject": _noted(self.subject), "subject_type": self.subject_type, **actor}
        return told | {name: value for name, value in self.options.items() if value is not None}

    async def request(self, client: "ClientSession | None", now: float) -> OAuth2User:
        actor = None if self.actor is None else await read_token(self.actor, "actor_token")
        user = await self.app.exchange_token(
            await read_token(self.subject, "subject"),
            self.subject_type,
            actor_token=actor,
            scopes=self.scopes,
            resource=self.resource,
            token_params=self.token_params,
            client=client,
            now=now,
            **self.options,
        )
        if user.token_type == "N_A":
            raise BadReplyError(
                "The exchange returned a token that cannot sign requests (token_type N_A).",
                next_step="Get it with OAuth2App.exchange_token.",
                kind="configuration",
            )
        return user


class AssertionSource(MachineSource):
    """An assertion of another issuer (RFC 7523 §2.1). One that was refused is not sent again."""

    __slots__ = ("assertion", "refused")

    grant = "jwt_bearer"

    def __init__(
        self,
        app: OAuth2App,
        scopes: Scopes,
        resource: Resource | None,
        assertion: TokenLike,
        token_params: TokenParams = None,
    ) -> None:
        super().__init__(app, scopes, resource, token_params)
        self.assertion: TokenLike = assertion
        self.refused: tuple[Secrets, TokenError, float] | None = None

    @property
    def asked(self) -> dict[str, str]:
        return {**super().asked, "assertion": _noted(self.assertion)}

    async def request(self, client: "ClientSession | None", now: float) -> OAuth2User:
        assertion = await read_token(self.assertion, "assertion")
        if self.refused is not None:
            refused, error, until = self.refused
            if assertion in refused and now < until:
                error = copy.copy(error)
                error.tries = 0  # nothing was sent
                raise error
        try:
            return await self.app.exchange_assertion(
                assertion,
                self.scopes,
                resource=self.resource,
                token_params=self.token_params,
                client=client,
                now=now,
            )
        except TokenError as error:
            if error.error == "invalid_grant":
                self.refused = Secrets((assertion,)), error, now + REFUSED_FOR
            raise


def _noted(token: TokenLike) -> str:
    """Whose token it is, without the token: its hash, the path of its file, or the callable's name."""
    if isinstance(token, str):
        return "sha256:" + sha256(token.encode("utf-8", "replace")).hexdigest()[:32]
    if isinstance(token, os.PathLike):
        return os.path.abspath(os.fspath(token))
    return getattr(token, "__qualname__", type(token).__qualname__)


UserLike = OAuth2User | StoredUser | StrPath
"""Where a machine's token is kept: a path, an entry of a store, or an object in memory."""


class ClientCredentials(Signer):
    """Signs requests as the program itself (RFC 6749 §4.4); `ClientCredentials("app.json", ["scope"])`.

    With a path or an entry of a store as `user`, all workers and restarts share one token; without, this object keeps
    it in memory. `leeway`: seconds before expiry at which the token counts as due (None: the client's). `clock` gives
    epoch seconds; `on_refresh` is called with each new token. `sign` raises `TokenError` where the provider refuses,
    `NetworkError` or `BadReplyError`. `token_params` are the provider's own parameters, such as Auth0's `audience`.
    """

    __module__ = "SlyAPI.oauth2"

    __slots__ = ()

    @clean_traceback
    def __init__(
        self,
        app: OAuth2App | StrPath,
        scopes: Scopes = (),
        user: UserLike | None = None,
        *,
        leeway: float | None = None,
        resource: Resource | None = None,
        token_params: TokenParams = None,
        on_refresh: OnRefresh | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        source = MachineSource(_app(app), scopes, resource, token_params)
        super().__init__(holder_of(source, user, clock, leeway, on_refresh))


class TokenExchange(Signer):
    """Signs requests with a token that another one is exchanged for (RFC 8693), again whenever one is needed.

    `subject` and `actor_token` are text, a path object of a file that somebody else renews, or a callable, sync or
    async (`SlyAPI.sources`). The rest is as in `ClientCredentials` and `OAuth2App.exchange_token`.
    """

    __module__ = "SlyAPI.oauth2"

    __slots__ = ()

    @clean_traceback
    def __init__(
        self,
        app: OAuth2App | StrPath,
        subject: TokenLike,
        subject_token_type: str = "access_token",
        *,
        actor_token: TokenLike | None = None,
        actor_token_type: str | None = None,
        audience: str | None = None,
        resource: Resource | None = None,
        scopes: Scopes = (),
        requested_token_type: str | None = None,
        token_params: TokenParams = None,
        user: UserLike | None = None,
        leeway: float | None = None,
        on_refresh: OnRefresh | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        options = {
            "actor_token_type": actor_token_type,
            "audience": audience,
            "requested_token_type": requested_token_type,
        }
        source = ExchangeSource(
            _app(app), scopes, resource, subject, subject_token_type, actor_token, options, token_params
        )
        super().__init__(holder_of(source, user, clock, leeway, on_refresh))


class AssertionGrant(Signer):
    """Signs requests with a token for an assertion of another issuer (RFC 7523 §2.1), such as a workload's identity.

    `assertion` is text, a path object of a file that somebody else renews, or a callable, sync or async
    (`SlyAPI.sources`). One that was refused is not sent again. The rest is as in `ClientCredentials`.
    """

    __module__ = "SlyAPI.oauth2"

    __slots__ = ()

    @clean_traceback
    def __init__(
        self,
        app: OAuth2App | StrPath,
        assertion: TokenLike,
        scopes: Scopes = (),
        user: UserLike | None = None,
        *,
        leeway: float | None = None,
        resource: Resource | None = None,
        token_params: TokenParams = None,
        on_refresh: OnRefresh | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        source = AssertionSource(_app(app), scopes, resource, assertion, token_params)
        super().__init__(holder_of(source, user, clock, leeway, on_refresh))


def _app(app: OAuth2App | StrPath) -> OAuth2App:
    return app if isinstance(app, OAuth2App) else OAuth2App.from_json_file(app)
