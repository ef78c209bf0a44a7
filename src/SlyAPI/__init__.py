"""SlyAPI: call web APIs as a user, from async Python, with OAuth 2 grants that last."""

import typing

from .names import on_demand as _on_demand

if typing.TYPE_CHECKING:
    from .auth import Auth, HeaderApiKey, NoAuth, UrlApiKey
    from .errors import ApiError, GrantEndedError, SlyError, TokenError
    from .lazy import AsyncLazy, AsyncTrans
    from .oauth1 import OAuth1, OAuth1App, OAuth1User
    from .oauth2 import OAuth2, OAuth2App, OAuth2ServiceAccount, OAuth2User, requires_scopes
    from .webapi import WebAPI
else:  # for tools, a `__getattr__` would have every misspelt name be there
    __getattr__, __dir__ = _on_demand(
        __name__,
        {
            "auth": "Auth HeaderApiKey NoAuth UrlApiKey",
            "errors": "ApiError GrantEndedError SlyError TokenError",
            "lazy": "AsyncLazy AsyncTrans",
            "oauth1": "OAuth1 OAuth1App OAuth1User",
            "oauth2": "OAuth2 OAuth2App OAuth2ServiceAccount OAuth2User requires_scopes",
            "webapi": "WebAPI",
            **dict.fromkeys(("json_file", "page_walk", "paging", "params", "rsa"), ""),
            **dict.fromkeys(("signed_call", "stores", "transport", "web"), ""),
            **dict.fromkeys(("asyncy", "service_account"), ""),
        },
    )

__all__ = [
    "ApiError",
    "AsyncLazy",
    "AsyncTrans",
    "Auth",
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
    "UrlApiKey",
    "WebAPI",
    "requires_scopes",
]
