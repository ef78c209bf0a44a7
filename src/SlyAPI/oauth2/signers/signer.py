"""Signs requests with a user's token, and has it refreshed when it is due or refused.

The rule: a call whose token is good takes no lock and waits for nothing.
"""

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

from ...auth.contract import Auth
from ...errors import CredentialsNotFoundError, GrantEndedError, SaveError, clean_traceback
from ...json_file import StrPath
from ...stores.contract import StoredUser, entry_of
from ...stores.file import user_file
from ...tokens.scopes import Scopes
from ...tokens.user import OAuth2User, authorization
from ...web.challenges import challenges_in, needs_scope
from ...web.messages import Request
from ...web.secret_values import Secrets
from ..client.app import OAuth2App, OnRefresh
from ..renewal.grant_again import first_grant
from ..renewal.held_user import NOT_LOADED, HeldUser, Locked, mark_of, store_errors
from ..renewal.learned import forget_new
from ..renewal.refresh_callers import refresh, renew_refused, wait_for_refresh
from ..renewal.token_source import RefreshTokenSource, TokenSource


class Signer(Auth):
    """An `Auth` for a user whose tokens come from a `TokenSource`; see `refresh.py`."""

    __slots__ = ("__weakref__", "_held")

    def __init__(self, held: HeldUser) -> None:
        self._held = held

    async def sign(self, client: Any, request: Request) -> Request:
        """The request with the user's token, refreshed first if it is due.

        Raises `GrantEndedError` where the person has to grant again; `TokenError`, `NetworkError` or
        `BadReplyError` where a due token could not be refreshed; `OriginError` for a request elsewhere than at the
        resource of `for_resource`.
        """
        held = self._held
        if held.source.logs_in:
            held.source.check_target(request.url)
        if held.is_due():
            try:
                await refresh(held, client)
            except GrantEndedError:
                if not held.source.logs_in:
                    raise
                return request  # unsigned: the challenge that answers it says how to log in
        request.headers["Authorization"] = authorization(held.user)
        app = held.source.app
        if held.user.dpop_key is not None or app.certificate is not None or app.profile is not None:
            await self._prove(request)
        return request

    def may_sign_again(self, status: int, headers: Mapping[str, str]) -> bool:
        """After a 401; where a login can bring more scopes, after a 403 for one that lacks too."""
        if status == 401:
            return True
        return status == 403 and self._held.source.logs_in and needs_scope(challenges_in(headers)) is not None

    @clean_traceback
    async def sign_again(self, client: Any, request: Request, headers: Mapping[str, str]) -> bool:
        """After a 401: signs with a newer token, from one refresh if there is none yet, or with the server's nonce."""
        held = self._held
        if held.user.dpop_key is not None and held.source.app._nonces.asked_for(request.url, headers):
            await self._prove(request)  # RFC 9449 §9: the token is good
            return True
        sent = Secrets((request.headers.get("Authorization", ""),))
        if held.source.logs_in:
            await held.source.answer(held, client, sent, headers)
            if held.user is NOT_LOADED:
                return False
        elif authorization(held.user) in sent:
            await renew_refused(held, client)
        request.headers["Authorization"] = authorization(held.user)
        await self._prove(request)
        return request.headers["Authorization"] not in sent

    def note_reply(self, url: str, status: int, headers: Mapping[str, str]) -> None:
        """Remembers that the token is good, so that a later refusal is worth a refresh, and the server's nonce."""
        held = self._held
        if status < 400 and not held.accepted:
            held.accepted = True
            forget_new(held.key)
        if held.user.dpop_key is not None and status != 401:
            held.source.app._nonces.take(url, headers)  # RFC 9449 §8.2

    async def _prove(self, request: Request) -> None:
        """Adds what a token that is bound to a key needs: a DPoP proof (RFC 9449 §7.1), a certificate (RFC 8705 §3)."""
        held = self._held
        key = held.proof_key()
        if key is not None:
            request.headers["DPoP"] = await held.source.app._proof(key, request, held.clock(), held.user.token)
        app = held.source.app
        if app.certificate is not None:
            request.certificate = app.certificate
        if app.profile is not None:
            from ..client.profile import check_call

            check_call(app, request.url, bound=key is not None)

    async def wait_for_refresh(self) -> None:
        """Waits for a refresh in flight, its hooks too: cut short, it could lose a rotated refresh token."""
        await wait_for_refresh(self._held)

    def __repr__(self) -> str:
        held: HeldUser | None = getattr(self, "_held", None)  # none yet, in a traceback of `__init__`
        name = type(self).__name__
        if held is None:
            return f"{name}()"
        shown = held.rare.entry or (None if held.user is NOT_LOADED else held.user)
        return f"{name}({held.source.app!r}, {shown!r})"

    @property
    def app(self) -> OAuth2App:
        """The client."""
        return self._held.source.app

    @property
    def user(self) -> OAuth2User:
        """The user with the tokens in use."""
        return self._held.user

    @user.setter
    def user(self, user: OAuth2User) -> None:
        self._held.take(user)

    @property
    def on_refresh(self) -> OnRefresh | None:
        """Called with new tokens after they were saved."""
        return self._held.rare.on_refresh

    @on_refresh.setter
    def on_refresh(self, hook: OnRefresh | None) -> None:
        self._held.own().on_refresh = hook

    @property
    def not_saved(self) -> SaveError | None:
        """Why the tokens in use are only in memory, if they are."""
        return self._held.rare.not_saved

    @property
    def due(self) -> bool:
        """Whether the next call refreshes the user's token first."""
        return self._held.is_due()

    @clean_traceback
    async def refresh_now(self, client: Any = None) -> OAuth2User:
        """The user with tokens newer than those held now, due or not. Raises as `sign` does."""
        held = self._held
        if held.user is NOT_LOADED:
            await held.load()
        await refresh(held, client, "asked for", Secrets((held.user.token,)))
        return held.user

    @clean_traceback
    async def revoke(self, client: Any = None) -> None:
        """Ends the grant at the provider (RFC 7009), then forgets the user in the store or file, not a newer login.

        In this order, so that what fails midway can be done again. No process refreshes meanwhile. Raises
        what `OAuth2App.revoke` raises, after which nothing was forgotten, `SaveError` and `UnavailableError`.
        """
        held = self._held
        await self.wait_for_refresh()
        async with Locked(held):
            await held.load()
            if held.user is NOT_LOADED:
                return  # a machine that has no token yet
            revoked = held.rare.stored
            await self.app.revoke(held.user, client, now=held.clock())
            if held.rare.entry is not None:
                await held.load()
                if held.rare.stored == revoked:  # else somebody has logged in meanwhile
                    with store_errors(held):
                        await held.rare.entry.delete()


class OAuth2(Signer):
    """Signs requests as one user of one client; `OAuth2("app.json", "user.json")`.

    `app` and `user` are objects or paths. With a path or a store's entry (`store.user("alice")`) as
    user, new tokens are saved there before they are used, and those that another process saved are
    taken over; an entry is first read by the first request. One object serves any number of calls,
    event loops and threads at once, and with a path or an entry a forked child too. After a fork, parent and
    child each hold a copy of an in-memory user; with rotating refresh tokens the second refresh fails.
    `on_refresh` is called with new tokens after the save, and may be a coroutine function. `leeway`: seconds before
    expiry at which the token is refreshed (None: the client's). `clock` gives epoch seconds. Raises `CredentialsError`
    for files that are something else.
    """

    __module__ = "SlyAPI.oauth2"

    __slots__ = ()

    def __init__(
        self,
        app: OAuth2App | StrPath,
        user: OAuth2User | StoredUser | StrPath,
        on_refresh: OnRefresh | None = None,
        *,
        leeway: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        source = RefreshTokenSource(app if isinstance(app, OAuth2App) else OAuth2App.from_json_file(app))
        super().__init__(held_user(source, user, clock, leeway, on_refresh))

    @classmethod
    @clean_traceback
    def for_resource(
        cls,
        url: str,
        app: OAuth2App | StrPath,
        user: OAuth2User | StoredUser | StrPath,
        *,
        consent: Callable[[str], Awaitable[str]] | None = None,
        redirect_uri: str | None = None,
        client_name: str = "SlyAPI",
        client_metadata_url: str | None = None,
        scopes: Scopes = (),
        on_refresh: OnRefresh | None = None,
        leeway: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Signs requests to the resource at `url`, with a login at the first 401 (RFC 9728, RFC 8414, RFC 7591).

        `app` and `user` are paths, of which either may be missing and is then made, or an object and an entry. A
        person consents in `consent`, which shows the page at a URL and gives the URL that it redirected to
        (`redirect_uri`: where to), or in this machine's browser. `client_metadata_url` is the address of a metadata
        document to be the client's id. `scopes` replace those that the resource asks for. A 403 for a scope that the
        token lacks is another login, once. Raises `ConfigError`, `CredentialsError`; a call raises what the login
        raises.
        """
        from ..from_url.resource_source import resource_source  # few programs log in by themselves

        source = resource_source(
            url,
            app,
            consent=consent,
            redirect_uri=redirect_uri,
            client_name=client_name,
            client_metadata_url=client_metadata_url,
            scopes=scopes,
            clock=clock,
        )
        self = cls.__new__(cls)
        Signer.__init__(self, held_user(source, user, clock, leeway, on_refresh))
        return self.at(url)


def held_user(
    source: TokenSource,
    user: OAuth2User | StoredUser | StrPath | None,
    clock: Callable[[], float],
    leeway: float | None,
    on_refresh: OnRefresh | None,
) -> HeldUser:
    """The user of a signer: an object, a path, an entry of a store; None for tokens that only memory holds.

    Raises `CredentialsError` for a file that is something else, or is missing where only a person can make it.
    """
    if user is None and not source.needs_grant:
        held = HeldUser(source, clock=clock, leeway=leeway)
    elif isinstance(user, OAuth2User):
        held = HeldUser(source, user, clock, leeway)
    elif isinstance(user, str | os.PathLike):
        loaded = _loaded(user, source.app) if source.needs_grant else NOT_LOADED
        held = HeldUser(source, loaded, clock, leeway)
        held.own().entry, held.rare.in_file = user_file(user), True
        if loaded is not NOT_LOADED:
            held.rare.stored = mark_of(loaded)
    else:
        held = HeldUser(source, clock=clock, leeway=leeway)
        held.own().entry = entry_of(user)
    if on_refresh is not None:
        held.own().on_refresh = on_refresh
    return held


def _loaded(path: StrPath, app: OAuth2App) -> OAuth2User:
    """The user in a file. Raises `CredentialsError`; where there is none, with the command that makes one."""
    try:
        return OAuth2User.from_json_file(path)
    except CredentialsNotFoundError as error:
        if app._path is not None:
            error.next_step = first_grant(app._path, path)
        raise
