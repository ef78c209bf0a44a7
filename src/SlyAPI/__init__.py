"""SlyAPI: call web APIs as a user, from async Python, with OAuth 2 grants that last.

PYTEST_DONT_REWRITE: pytest would warn where a program imports this package before it.
"""

import typing

from .names import on_demand as _on_demand

if typing.TYPE_CHECKING:
    from .auth import Auth, HeaderApiKey, NoAuth, UrlApiKey
    from .errors import ApiError, GrantEndedError, SlyError, TokenError
    from .oauth1 import OAuth1, OAuth1App, OAuth1User
    from .oauth2 import (
        AssertionGrant,
        ClientCredentials,
        OAuth2,
        OAuth2App,
        OAuth2ServiceAccount,
        OAuth2User,
        TokenExchange,
        keep_fresh,
        requires_scopes,
    )
    from .webapi import WebAPI
    from .webapi.lazy import AsyncLazy, AsyncTrans
else:  # for tools, a `__getattr__` would have every misspelt name be there
    __getattr__, __dir__ = _on_demand(
        __name__,
        {
            "auth": "Auth HeaderApiKey NoAuth UrlApiKey",
            "errors": "ApiError GrantEndedError SlyError TokenError",
            "oauth1": "OAuth1 OAuth1App OAuth1User",
            "oauth2": "AssertionGrant ClientCredentials OAuth2 OAuth2App OAuth2ServiceAccount OAuth2User "
            "TokenExchange keep_fresh requires_scopes",
            "webapi": "WebAPI",
            "webapi.lazy": "AsyncLazy AsyncTrans",
            **dict.fromkeys(("asyncy", "json_file", "paging", "params", "service_account"), ""),
            **dict.fromkeys(("sources", "stores", "web"), ""),
        },
    )

__all__ = [
    "ApiError",
    "AssertionGrant",
    "AsyncLazy",
    "AsyncTrans",
    "Auth",
    "ClientCredentials",
    "GrantEndedError",
    "HeaderApiKey",
    "NoAuth",
    "OAuth1",
    "OAuth1App",
    "OAuth1User",
    "OAuth2",
    "OAuth2App",
    "OAuth2ServiceAccount",
    "OAuth2User",
    "SlyError",
    "TokenError",
    "TokenExchange",
    "UrlApiKey",
    "WebAPI",
    "keep_fresh",
    "requires_scopes",
]
