"""Signs requests with a user's token, and has it refreshed when it is due or refused.

The rule: a call whose token is good takes no lock and waits for nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ...auth.contract import Auth
from ...errors import ConfigError, GrantEndedError, SaveError, SlyError, clean_traceback
from ...json_file import StrPath
from ...stores.contract import StoredUser, missing
from ...stores.file import file_of
from ...tokens.scopes import Scopes
from ...tokens.user import OAuth2User, authorization
from ...web.challenges import challenges_in, needs_scope
from ...web.messages import Request
from ...web.secret_values import SecretJson, Secrets
from ..client.app import OAuth2App, OnRefresh
from ..renewal.callers import renew, renew_refused, wait_for_flights
from ..renewal.holder import Holder, Locked, holder_of
from ..renewal.state import NOT_LOADED
from ..renewal.token_source import RefreshTokenSource

if TYPE_CHECKING:
    from ..messages.jose import SigningKey


S = TypeVar("S", bound="Signer")


class Signer(Auth):
    """An `Auth` for a user whose tokens come from a `TokenSource`; see `renewal/flight.py`."""

    __slots__ = ("__weakref__", "_checked", "_holder", "_proof_key", "_unread")

    def __init__(self, holder: Holder, *, unread: bool | None = None) -> None:
        self._holder = holder
        self._unread = holder.entry is not None if unread is None else unread
        """Whether the entry was not read for this signer yet: another program may have signed in since."""
        self._checked: OAuth2User | None = None
        """The tokens that are known to be this client's."""
        self._proof_key: tuple[SecretJson, SigningKey] | None = None
        """The user's `dpop_key`, and that key ready to sign."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self._holder, getattr(self, "_origins", frozenset()))

    def __copy__(self) -> Self:
        return _rebuilt(type(self), self._holder, getattr(self, "_origins", frozenset()))

    def __deepcopy__(self, memo: Any) -> Self:
        return self.__copy__()  # a second copy of tokens that are renewed would end the first

    async def sign(self, client: Any, request: Request) -> Request:
        """The request with the user's token, refreshed first if it is due.

        Raises `GrantEndedError` where the person has to grant again; `TokenError`, `NetworkError` or
        `BadReplyError` where a due token could not be refreshed; `CredentialsError` for tokens that were issued to
        another client; `OriginError` for a request elsewhere than at an account's API or a resource.
        """
        holder = self._holder
        if holder.source.origins:
            holder.source.check_target(request.url)
        if holder.state.user is not self._checked or holder.is_due():
            try:
                await self._ready(client)
            except GrantEndedError:
                if not holder.source.logs_in:
                    raise
                return request  # unsigned: the challenge that answers it says how to log in
        user = holder.state.user
        request.headers["Authorization"] = authorization(user)
        app = holder.source.app
        if user.dpop_key is not None or app.certificate is not None or app.profile is not None:
            await self._prove(request)
        return request

    def _bind(self, origins: frozenset[str]) -> None:
        if self._holder.source.origins:
            for origin in origins:
                self._holder.source.check_target(origin)
        super()._bind(origins)

    @property
    def _base_url(self) -> str:
        account = self._holder.source.account
        return "" if account is None else account.base_url

    async def _ready(self, session: Any) -> None:
        """Makes sure that the tokens are this client's, and good: read by now, and refreshed if they are due."""
        holder = self._holder
        for _ in range(3):
            if not (self._unread or holder.is_due()):
                break
            try:
                await renew(holder, session, reads=self._unread)
            except GrantEndedError:
                self._unread = False
                raise
            self._unread = False
            if holder.state.user is not NOT_LOADED:
                break  # else another call has found meanwhile that the entry is gone
        if holder.state.user is NOT_LOADED and holder.entry is not None:  # gone, and a hook asks for nothing
            raise missing(holder.entry.store, holder.entry.name)
        holder.source.check_client(holder.state.user)
        self._checked = holder.state.user

    @clean_traceback
    async def token(self, *, min_life: float = 0.0, session: Any = None) -> str:
        """The access token as text, valid for at least `min_life` seconds; refreshed if need be, once.

        A provider that grants shorter lives gets no second request: the token is then as long as it grants. Raises
        as `sign` does.
        """
        if not isinstance(min_life, int | float):
            raise ConfigError("min_life is a number of seconds.", next_step="Give, for example, min_life=60.")
        holder, state = self._holder, self._holder.state
        await self._ready(session)
        granted_less = state.granted and state.tenth * 10 < min_life
        if min_life and holder.is_due(min_life) and not granted_less and holder.source.can_renew(state.user):
            await renew(holder, session, "asked for", Secrets((state.user.token,)))
            await self._ready(session)
        return state.user.token

    def may_sign_again(self, status: int, headers: Mapping[str, str]) -> bool:
        """After a 401; where a login can bring more scopes, after a 403 for one that lacks too."""
        if status == 401:
            return True
        return status == 403 and self._holder.source.logs_in and needs_scope(challenges_in(headers)) is not None

    @clean_traceback
    async def sign_again(self, client: Any, request: Request, headers: Mapping[str, str]) -> bool:
        """After a 401: signs with a newer token, from one refresh if there is none yet, or with the server's nonce."""
        holder, state = self._holder, self._holder.state
        if state.user.dpop_key is not None and self.app._nonces.asked_for(request.url, headers):
            await self._prove(request)  # RFC 9449 §9: the token is good
            return True
        sent = Secrets((request.headers.get("Authorization", ""),))
        if holder.source.logs_in:
            await holder.source.answer(holder, client, sent, headers)
        elif authorization(state.user) in sent:
            await renew_refused(holder, client)
        if state.user is NOT_LOADED:
            return False
        holder.source.check_client(state.user)
        request.headers["Authorization"] = authorization(state.user)
        await self._prove(request)
        return request.headers["Authorization"] not in sent

    def note_reply(self, url: str, status: int, headers: Mapping[str, str]) -> None:
        """Remembers that the token is good, so that a later refusal is worth a refresh, and the server's nonce."""
        state = self._holder.state
        if status < 400:
            state.new_since = None
        if state.user.dpop_key is not None and status != 401:
            self.app._nonces.take(url, headers)  # RFC 9449 §8.2

    async def _prove(self, request: Request) -> None:
        """Adds what a token that is bound to a key needs: a DPoP proof (RFC 9449 §7.1), a certificate (RFC 8705 §3)."""
        app, user = self.app, self._holder.state.user
        if user.dpop_key is not None:
            key = self._ready_key(user.dpop_key)
            request.headers["DPoP"] = await app._proof(key, request, self._holder.clock(), user.token)
        if app.certificate is not None:
            request.certificate = app.certificate
        if app.profile is not None:
            from ..client.profile import check_call

            check_call(app, request.url, bound=user.dpop_key is not None)

    def _ready_key(self, jwk: SecretJson) -> "SigningKey":
        """The key to which the user's token is bound (RFC 9449)."""
        if self._proof_key is None or self._proof_key[0] is not jwk:
            from ..messages.jose import load_signing_key  # few need it

            self._proof_key = (jwk, load_signing_key(jwk))
        return self._proof_key[1]

    async def wait_for_refresh(self) -> None:
        """Waits for a refresh in flight, its hooks too: cut short, it could lose a rotated refresh token."""
        await wait_for_flights(self._holder)

    def __repr__(self) -> str:
        holder: Holder | None = getattr(self, "_holder", None)  # none yet, in a traceback of `__init__`
        name = type(self).__name__
        if holder is None:
            return f"{name}()"
        shown = holder.entry or (None if holder.state.user is NOT_LOADED else holder.state.user)
        return f"{name}({holder.source.app!r}, {shown!r})"

    @property
    def app(self) -> OAuth2App:
        """The client."""
        return self._holder.source.app

    @property
    def user(self) -> OAuth2User:
        """The user with the tokens in use."""
        return self._holder.state.user

    @user.setter
    def user(self, user: OAuth2User) -> None:
        self._holder.state.take(user)
        self._holder.is_due()

    @property
    def on_refresh(self) -> OnRefresh | None:
        """Called with new tokens after they were saved; for tokens in memory, it is the save."""
        return self._holder.hook

    @on_refresh.setter
    def on_refresh(self, hook: OnRefresh | None) -> None:
        self._holder.hook = hook

    @property
    def not_saved(self) -> SaveError | None:
        """Why the tokens in use are only in memory, if they are."""
        return self._holder.state.not_saved

    @property
    def due(self) -> bool:
        """Whether the next call refreshes the user's token first. Reads the store if it has not been read."""
        if self._unread:
            thread = Thread(target=self._read)
            thread.start()
            thread.join()
        return self._holder.is_due()

    def _read(self) -> None:
        """Reads the entry in an event loop of its own."""
        with suppress(SlyError):  # the next call raises it
            asyncio.run(self._holder.load())
            self._unread = False

    @clean_traceback
    async def refresh_now(self, client: Any = None) -> OAuth2User:
        """The user with tokens newer than those held now, due or not. Raises as `sign` does."""
        holder = self._holder
        if self._unread:
            await holder.load()
            self._unread = False
        await renew(holder, client, "asked for", Secrets((holder.state.user.token,)))
        return holder.state.user

    @clean_traceback
    async def revoke(self, client: Any = None) -> None:
        """Ends the grant at the provider (RFC 7009), then forgets the user in the store or file, not a newer login.

        In this order, so that what fails midway can be done again. No process refreshes meanwhile. Raises
        what `OAuth2App.revoke` raises, after which nothing was forgotten, `SaveError` and `UnavailableError`.
        """
        holder, state = self._holder, self._holder.state
        await self.wait_for_refresh()
        async with Locked(holder):
            await holder.load()
            if state.user is NOT_LOADED:
                return  # a machine that has no token yet
            holder.source.check_client(state.user)
            revoked = state.stored
            await self.app.revoke(state.unsaved or state.user, client, now=holder.clock())
            state.forget_unsaved()
            if holder.entry is not None:
                await holder.load()
                if state.stored == revoked:  # else somebody has logged in meanwhile
                    with holder.store_errors():
                        await holder.entry.delete()


def _rebuilt(kind: type[S], holder: Holder, origins: frozenset[str]) -> S:
    """A signer that was copied or pickled."""
    signer = object.__new__(kind)
    Signer.__init__(signer, holder)
    if origins:
        signer.at(*origins)
    return signer


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
        if isinstance(app, OAuth2User | StoredUser):
            raise ConfigError("The client comes first, then the user.", next_step="Write: OAuth2(app, user)")
        source = RefreshTokenSource(app if isinstance(app, OAuth2App) else OAuth2App.from_json_file(app))
        super().__init__(holder_of(source, user, clock, leeway, on_refresh), unread=isinstance(user, StoredUser))

    @classmethod
    @clean_traceback
    def account(
        cls,
        name: str,
        on_refresh: OnRefresh | None = None,
        *,
        leeway: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Signs as an account that `slyapi login NAME` made, for its API alone: `WebAPI(OAuth2.account("github"))`.

        `SLYAPI_HOME` and `SLYAPI_STORE` in the environment say where accounts and their tokens are. A `WebAPI` without
        a `base_url` has the account's. Raises `ConfigError` for a bad name, `CredentialsNotFoundError` where there is
        no such account or nobody logged in, `CredentialsError`.
        """
        from ..accounts import Account  # few programs have accounts
        from ..renewal.machine_sources import MachineSource

        account = Account.load(name)
        app, scopes = OAuth2App.from_json_file(account.client_path), account.machine_scopes
        source = RefreshTokenSource(app) if scopes is None else MachineSource(app, [*scopes], None)
        source.account, source.origins = account, account.origins
        self = cls.__new__(cls)
        entry = account.user
        in_file = file_of(entry.store)
        holder = holder_of(source, in_file or entry, clock, leeway, on_refresh)
        Signer.__init__(self, holder, unread=not in_file or scopes is not None)
        return self.at(*account.origins)

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
        Signer.__init__(self, holder_of(source, user, clock, leeway, on_refresh))
        return self.at(url)
