"""OAuth 2: the client registration, one user's grant, what signs with both, and service accounts."""

import typing

from ..names import on_demand as _on_demand

if typing.TYPE_CHECKING:
    from ..tokens.scopes import requires_scopes
    from ..tokens.user import Identity, OAuth2User
    from .client.app import OAuth2App
    from .from_url.native_login import BrowserConsent, browser_consent
    from .incoming.access_token import AccessToken, protected_resource_metadata
    from .messages.authorization_code import read_redirect
    from .messages.device import DeviceLogin
    from .messages.identity import LogoutToken
    from .messages.introspection import TokenInfo
    from .renewal.background_refresh import KeepFresh, keep_fresh
    from .signers.machines import AssertionGrant, ClientCredentials, TokenExchange
    from .signers.service_account import OAuth2ServiceAccount, ServiceAccount
    from .signers.signer import OAuth2
else:  # for tools, a `__getattr__` would have every misspelt name be there
    __getattr__, __dir__ = _on_demand(
        __name__,
        {
            "client.app": "OAuth2App",
            "messages.authorization_code": "read_redirect",
            "from_url.native_login": "BrowserConsent browser_consent",
            "incoming.access_token": "AccessToken protected_resource_metadata",
            "messages.device": "DeviceLogin",
            "messages.identity": "LogoutToken",
            "messages.introspection": "TokenInfo",
            "renewal.background_refresh": "KeepFresh keep_fresh",
            "signers.machines": "AssertionGrant ClientCredentials TokenExchange",
            "..tokens.scopes": "requires_scopes",
            "signers.service_account": "OAuth2ServiceAccount ServiceAccount",
            "signers.signer": "OAuth2",
            "..tokens.user": "Identity OAuth2User",
        },
    )

__all__ = [
    "AccessToken",
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
    "protected_resource_metadata",
    "read_redirect",
    "requires_scopes",
]
