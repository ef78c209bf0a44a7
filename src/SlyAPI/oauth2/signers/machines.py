"""Signs requests as a program: with its own credentials, a token that it exchanges, an assertion that it presents.

The rule: only the source of the tokens differs from a user's; store, lock, refresh and signature are the same.
"""

import time
from collections.abc import Callable

from ...errors import clean_traceback
from ...json_file import StrPath
from ...sources import TokenLike
from ...stores.contract import StoredUser
from ...tokens.scopes import Scopes
from ...tokens.user import OAuth2User
from ..client.app import OAuth2App, OnRefresh
from ..messages.resource import Details, Resource, with_details
from ..renewal.holder import holder_of
from ..renewal.machine_sources import AssertionSource, ExchangeSource, MachineSource, TokenParams
from .signer import Signer

UserLike = OAuth2User | StoredUser | StrPath
"""Where a machine's token is kept: a path, an entry of a store, or an object in memory."""


class ClientCredentials(Signer):
    """Signs requests as the program itself (RFC 6749 §4.4); `ClientCredentials("app.json", ["scope"])`.

    With a path or an entry of a store as `user`, all workers and restarts share one token; without, this object keeps
    it in memory. `leeway`: seconds before expiry at which the token counts as due (None: the client's). `clock` gives
    epoch seconds; `on_refresh` is called with each new token. `sign` raises `TokenError` where the provider refuses,
    `NetworkError` or `BadReplyError`. `token_params` are the provider's own parameters, such as Auth0's `audience`;
    `authorization_details` are the objects of RFC 9396.
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
        authorization_details: Details | None = None,
        on_refresh: OnRefresh | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        params = with_details(token_params, authorization_details)
        source = MachineSource(_app(app), scopes, resource, params)
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
        authorization_details: Details | None = None,
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
        params = with_details(token_params, authorization_details)
        source = ExchangeSource(
            _app(app), scopes, resource, subject, subject_token_type, actor_token, options, params
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
        authorization_details: Details | None = None,
        on_refresh: OnRefresh | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        params = with_details(token_params, authorization_details)
        source = AssertionSource(_app(app), scopes, resource, assertion, params)
        super().__init__(holder_of(source, user, clock, leeway, on_refresh))


def _app(app: OAuth2App | StrPath) -> OAuth2App:
    return app if isinstance(app, OAuth2App) else OAuth2App.from_json_file(app)
