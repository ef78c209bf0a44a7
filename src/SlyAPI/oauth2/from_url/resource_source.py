"""Tokens for a resource that is known by its URL alone: a refresh, or a login where a refused request calls for one.

The rule: a login is a refresh like any other. One at a time for each user, shared by all calls and processes that
wait, saved before it is used.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

from ...errors import GrantEndedError, ListenError, NetworkError, TokenError
from ...tokens.scopes import Scopes, split_scopes
from ...tokens.user import OAuth2User, authorization
from ...web.challenges import Challenge, challenges_in, needs_scope
from ...web.secret_values import Secrets
from ..client.bound_tokens import is_bound
from ..client.login import Login
from ..messages.protected_resource import origin_of
from ..messages.token_endpoint import GRANT_AGAIN
from ..renewal.callers import renew, renew_refused
from ..renewal.holder import Holder
from ..renewal.hooks import is_hook_of
from ..renewal.state import NOT_LOADED
from ..renewal.token_source import RefreshTokenSource
from .native_login import BrowserConsent, browser_consent
from .resource_login import Ask, Consent, ResourceLogin
from .resource_plan import Wish, challenge_of

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from ..client.app import OAuth2App

PAUSE = 60.0
"""Seconds until the resource's metadata are read again for a refused token, or another login may replace a login."""
MOST_LOGINS = 5
"""Logins that a person is asked for within `PAUSE`: a resource may invent scopes, and a program call after each no."""
REDIRECT_URI = "http://localhost:8080"
"""The redirect URI of a program's own `consent` that names none."""


class ResourceSource(RefreshTokenSource):
    """The refresh token, and behind it a login; `consent` and `redirect_uri` are how a person is asked."""

    __slots__ = (
        *("asked_at", "consent", "logged_in_at", "login", "login_pending", "read_at", "redirect_uri", "unusable"),
        "wish",
    )

    needs_grant = False
    logs_in = True

    def __init__(self, login: ResourceLogin, consent: Consent | None, redirect_uri: str | None) -> None:
        super().__init__(login.app)
        self.origins: tuple[str, ...] = (origin_of(login.url),)
        self.login: ResourceLogin = login
        self.consent: Consent | None = consent
        self.redirect_uri: str | None = redirect_uri
        self.wish: Wish | None = None
        self.login_pending: bool = False
        self.unusable: str | None = None
        """The id of a client that the server has forgotten, or whose redirect URI cannot be listened at."""
        self.read_at: float = -PAUSE
        self.logged_in_at: float = -PAUSE
        self.asked_at: deque[float] = deque(maxlen=MOST_LOGINS)

    def needs_login(self, user: OAuth2User) -> bool:
        return self.wish is not None and user.token in self.wish.replaces

    def check_client(self, user: OAuth2User) -> None:
        """Tokens of another client are not sent: `new_tokens` asks for a login."""

    async def new_tokens(self, client: "ClientSession | None", user: OAuth2User, now: float) -> OAuth2User:
        if self.needs_login(user):
            return await self._log_in(client, user)
        if user is not NOT_LOADED and not is_bound(user, self.app):
            self.login.read_client()  # another process may have moved to another server
            self.app: OAuth2App = self.login.app
        if user is NOT_LOADED or not user.refresh_token or not is_bound(user, self.app):
            raise GrantEndedError(401, "no_refresh_token", message="A person has to log in.", next_step=GRANT_AGAIN)
        try:
            return await super().new_tokens(client, user, now)
        except TokenError as error:
            if error.error != "invalid_client" or not self.login.is_made_here:
                raise
        # a server that keeps registrations in memory was started again, and the client cannot be corrected
        self.unusable = self.app.id
        raise GrantEndedError(
            401, "invalid_client", message="The server no longer knows the client.", next_step=GRANT_AGAIN
        )

    async def _log_in(self, client: "ClientSession | None", user: OAuth2User) -> OAuth2User:
        wish, before = self.wish, None if user is NOT_LOADED else user
        assert wish is not None
        redirect_uri = self.redirect_uri or self.app.redirect_uri
        try:
            self.login_pending = True
            if (consent := self.consent) is not None:
                redirect_uri = redirect_uri or REDIRECT_URI
                ask = self._noting(lambda login: consent(login.url))
                fresh = await self.login.log_in(wish, before, redirect_uri, ask, client, unusable=self.unusable)
            else:
                async with AsyncExitStack() as stack:
                    page = await self._page(stack, redirect_uri)
                    ask, redirect_uri = self._noting(page.ask), page.redirect_uri
                    fresh = await self.login.log_in(wish, before, redirect_uri, ask, client, unusable=self.unusable)
        finally:
            self.login_pending, self.wish = False, None
        self.app = self.login.app
        self.logged_in_at = asyncio.get_running_loop().time()
        return fresh

    def _noting(self, ask: Ask) -> Ask:
        """`ask`, with a note of when it was called."""

        def asking(login: Login) -> Awaitable[str]:
            self.asked_at.append(asyncio.get_running_loop().time())
            return ask(login)

        return asking

    async def _page(self, stack: AsyncExitStack, redirect_uri: str | None) -> BrowserConsent:
        """A listener for the redirect; if the port of an earlier registration is in use, at another one."""
        try:
            return await stack.enter_async_context(browser_consent(redirect_uri))
        except ListenError:
            if self.redirect_uri is not None or not self.login.is_made_here:
                raise
        self.unusable = self.app.id
        return await stack.enter_async_context(browser_consent())

    async def answer(self, holder: Holder, session: Any, sent: Secrets, headers: Mapping[str, str]) -> None:
        """After a 401 or 403: newer tokens for the user, from a login where nothing else can help."""
        if is_hook_of(holder):
            return
        if holder.state.user is NOT_LOADED:
            await holder.load()
        challenges = challenges_in(headers)
        if (lacking := needs_scope(challenges)) is not None:
            return await self._step_up(holder, session, sent, lacking)
        if holder.state.user is not NOT_LOADED and authorization(holder.state.user) not in sent and not holder.is_due():
            return  # another call or process brought them
        challenge = challenge_of(challenges)
        if "" in sent or await self._has_moved(holder, session, challenge):
            return await self._begin(holder, session, "login", Wish(challenge, Secrets((holder.state.user.token,))))
        with suppress(GrantEndedError):
            await renew_refused(holder, session)
        if authorization(holder.state.user) in sent and not self._is_recent():
            await self._begin(holder, session, "login", Wish(challenge, Secrets((holder.state.user.token,))))

    async def _step_up(self, holder: Holder, session: Any, sent: Secrets, lacking: Challenge) -> None:
        """A login for the scopes that the token lacks, unless they were just asked for."""
        for _ in range(2):  # the login of another call, for other scopes, may come first
            user = holder.state.user
            asked = user.requested_scopes if self._is_recent() else None
            if {*lacking.scopes} <= {*user.scopes, *(asked or ())}:
                return
            wish = Wish(lacking, Secrets((user.token,)), [*lacking.scopes])
            await self._begin(holder, session, "scope", wish)

    async def _begin(self, holder: Holder, session: Any, why: str, wish: Wish) -> None:
        """A login, unless too many were begun just now: then the resource's refusal stands."""
        now = asyncio.get_running_loop().time()
        if len(self.asked_at) == MOST_LOGINS and now - self.asked_at[0] < PAUSE:
            return
        # one that another program's login made needless may be left
        if self.wish is None or holder.state.user.token not in self.wish.replaces:
            self.wish = wish
        await renew(holder, session, why, wish.replaces)

    def _is_recent(self) -> bool:
        return asyncio.get_running_loop().time() - self.logged_in_at < PAUSE

    async def _has_moved(self, holder: Holder, session: Any, challenge: Challenge | None) -> bool:
        """Whether the resource trusts other authorization servers now than the one that the token is from."""
        now = asyncio.get_running_loop().time()
        issuer = (holder.state.user.extra or {}).get("issuer") or self.app.issuer
        if now - self.read_at < PAUSE or holder.is_due() or not issuer:
            return False
        self.read_at = now
        try:
            found = await self.login.metadata(Wish(challenge, Secrets()), session)
        except NetworkError:
            return False
        return found is not None and bool(found.issuers) and issuer not in found.issuers


def resource_source(
    url: str,
    app: "OAuth2App | Any",
    *,
    consent: Consent | None,
    redirect_uri: str | None,
    client_name: str,
    client_metadata_url: str | None,
    scopes: Scopes,
    clock: Callable[[], float],
) -> ResourceSource:
    """The source of `OAuth2.for_resource`. Raises `ConfigError`, `CredentialsError`."""
    login = ResourceLogin.of(url, app)
    login.client_name, login.client_metadata_url = client_name, client_metadata_url
    login.scopes, login.clock = split_scopes(scopes), clock
    return ResourceSource(login, consent, redirect_uri)
