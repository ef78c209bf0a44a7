"""Where new tokens come from: a refresh token, a client's credentials, an assertion, another token.

The rule: a source sends one token request and reads its reply. It knows nothing of stores, locks and waiting calls.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from ...errors import CredentialsError, printable
from ...tokens.user import OAuth2User
from ...web.secret_values import Secrets
from ..accounts import Account, check_target, log_in
from ..client.app import OAuth2App
from ..client.bound_tokens import check_bound
from ..client.request_slots import Slot

if TYPE_CHECKING:
    from aiohttp import ClientSession


class TokenSource(ABC):
    """One way to new tokens, at the token endpoint of `app`."""

    __slots__ = ("account", "app", "origins")

    needs_grant = True
    """Whether only a person can make the first tokens; else a store may have none yet."""

    logs_in = False
    """Whether a refused request may begin a login; `answer` then decides."""
    login_pending = False
    """Whether a person is being asked at this moment."""

    def __init__(self, app: OAuth2App) -> None:
        self.app: OAuth2App = app
        self.account: Account | None = None
        """The account that the tokens are of, if any."""
        self.origins: tuple[str, ...] = ()
        """The only origins that may have the tokens; empty where any may that the program signs for."""

    @property
    def question(self) -> Hashable:
        """What the tokens are asked with, where several may share an entry: another question is another token."""
        return None

    @property
    def endpoint(self) -> Hashable:
        """The client and its token endpoint, whose failures concern all its users."""
        return "endpoint", self.app.token_uri, self.app.id, hash(self.app.secret)

    def check_target(self, url: str) -> None:
        """Raises `OriginError` for a URL that is not at one of `origins`."""
        check_target(self.origins, url)

    def check_client(self, user: OAuth2User) -> None:
        """Raises `CredentialsError` for tokens of another client, provider or account."""
        check_bound(user, self.app)
        noted = (user.issued_to or {}).get("account")
        if self.account is not None and noted not in (None, self.account.name):
            message = f"The tokens of the account {self.account.name} are those of {printable(noted, 64)}"
            raise CredentialsError(f"{message}: nothing was sent.", next_step=log_in(self.account.name))

    def needs_login(self, user: OAuth2User) -> bool:
        """Whether `new_tokens` asks a person, whatever refresh token the user has."""
        return False

    def slot(self, user: OAuth2User) -> AbstractAsyncContextManager[Slot | None]:
        """The place of the token request among those of this event loop; a person who is asked keeps nobody waiting.

        Raises `RequestTimeoutError` after `token_timeout`.
        """
        return nullcontext() if self.needs_login(user) else self.app._slot()

    async def answer(self, holder: Any, session: Any, sent: Secrets, headers: Mapping[str, str]) -> None:
        """What follows a refusal of a request with the header `sent`, where `logs_in`.

        `holder` is the `Holder`; `headers` are the reply's.
        """
        raise NotImplementedError

    def can_renew(self, user: OAuth2User) -> bool:
        """Whether `new_tokens` can succeed for the user."""
        return True

    def fits(self, user: OAuth2User) -> bool:
        """Whether stored tokens are what this source would ask for."""
        return True

    @abstractmethod
    async def new_tokens(self, client: "ClientSession | None", user: OAuth2User, now: float) -> OAuth2User:
        """The user with new tokens. `client` lends its connections, `now` is in epoch seconds.

        Raises `GrantEndedError` where only a person can help, `IdentityError` for tokens that may not be used,
        `TokenError`, `BadReplyError`, `NetworkError`.
        """


class RefreshTokenSource(TokenSource):
    """The refresh token that the user holds (RFC 6749 §6)."""

    __slots__ = ()

    def can_renew(self, user: OAuth2User) -> bool:
        return self.app.can_refresh(user)

    async def new_tokens(self, client: "ClientSession | None", user: OAuth2User, now: float) -> OAuth2User:
        self.check_client(user)
        return await self.app.refresh(client, user, now=now)
