"""SlyAPI: call web APIs as a user, from async Python, with OAuth 2 grants that last."""

from .auth import Auth, HeaderApiKey, NoAuth, UrlApiKey
from .errors import ApiError, GrantEndedError, SlyError, TokenError
from .lazy import AsyncLazy, AsyncTrans
from .oauth1 import OAuth1, OAuth1App, OAuth1User
from .oauth2 import OAuth2, OAuth2App, OAuth2ServiceAccount, OAuth2User, requires_scopes
from .webapi import WebAPI

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
