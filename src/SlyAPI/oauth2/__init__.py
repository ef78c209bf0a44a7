"""OAuth 2: the client registration, one user's grant, what signs with both, and service accounts."""

import typing

from ..names import on_demand as _on_demand

if typing.TYPE_CHECKING:
    from .app import OAuth2App
    from .grants.authorization_code import read_redirect
    from .scopes import requires_scopes
    from .service_account import OAuth2ServiceAccount, ServiceAccount
    from .signer import OAuth2
    from .user import OAuth2User
else:  # for tools, a `__getattr__` would have every misspelt name be there
    __getattr__, __dir__ = _on_demand(
        __name__,
        {
            "app": "OAuth2App",
            "grants.authorization_code": "read_redirect",
            "scopes": "requires_scopes",
            "service_account": "OAuth2ServiceAccount ServiceAccount",
            "signer": "OAuth2",
            "user": "OAuth2User",
            **dict.fromkeys(("client_auth", "client_file", "grants", "login", "pkce"), ""),
            **dict.fromkeys(("providers", "revocation", "times", "token_endpoint"), ""),
        },
    )

__all__ = [
    "OAuth2",
    "OAuth2App",
    "OAuth2ServiceAccount",
    "OAuth2User",
    "ServiceAccount",
    "read_redirect",
    "requires_scopes",
]
