"""OAuth 2: the client registration, one user's grant, what signs with both, and service accounts."""

import typing

from ..names import on_demand as _on_demand

if typing.TYPE_CHECKING:
    from ..tokens.identity import Identity
    from ..tokens.scopes import requires_scopes
    from ..tokens.user import OAuth2User
    from .app import OAuth2App
    from .authorization_code import read_redirect
    from .background_refresh import KeepFresh, keep_fresh
    from .device import DeviceLogin
    from .identity import LogoutToken
    from .introspection import TokenInfo
    from .machines import AssertionGrant, ClientCredentials, TokenExchange
    from .native_login import BrowserConsent, browser_consent
    from .service_account import OAuth2ServiceAccount, ServiceAccount
    from .signer import OAuth2
else:  # for tools, a `__getattr__` would have every misspelt name be there
    __getattr__, __dir__ = _on_demand(
        __name__,
        {
            "app": "OAuth2App",
            "authorization_code": "read_redirect",
            "native_login": "BrowserConsent browser_consent",
            "device": "DeviceLogin",
            "identity": "LogoutToken",
            "introspection": "TokenInfo",
            "background_refresh": "KeepFresh keep_fresh",
            "machines": "AssertionGrant ClientCredentials TokenExchange",
            "..tokens.identity": "Identity",
            "..tokens.scopes": "requires_scopes",
            "service_account": "OAuth2ServiceAccount ServiceAccount",
            "signer": "OAuth2",
            "..tokens.user": "OAuth2User",
            **dict.fromkeys(("client_file", "login", "pkce", "providers", "revocation", "token_endpoint"), ""),
        },
    )

__all__ = [
    "AssertionGrant",
    "BrowserConsent",
    "ClientCredentials",
    "DeviceLogin",
    "Identity",
    "KeepFresh",
    "LogoutToken",
    "OAuth2",
    "OAuth2App",
    "OAuth2ServiceAccount",
    "OAuth2User",
    "ServiceAccount",
    "TokenExchange",
    "TokenInfo",
    "browser_consent",
    "keep_fresh",
    "read_redirect",
    "requires_scopes",
]
