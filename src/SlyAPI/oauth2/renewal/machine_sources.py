"""Tokens of a program itself: for its own credentials, a token that it exchanges, an assertion that it presents.

The rule: a stored token is used where it is what the source would ask for, else a new one is requested.
"""

import copy
import os
from collections.abc import Hashable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ...errors import BadReplyError, TokenError
from ...sources import TokenLike, read_token
from ...tokens.scopes import Scopes, split_scopes
from ...tokens.user import OAuth2User
from ...web.secret_values import Secrets
from ..client.app import OAuth2App
from ..client.bound_tokens import is_bound
from ..messages.resource import Resource, resources_of
from ..messages.token_request import check_token_params
from .state import NOT_LOADED
from .token_source import TokenSource

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
        replaced = ("resource", "asked", "token_params", "authorization_details")
        before = {name: value for name, value in extra.items() if name not in replaced}
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
