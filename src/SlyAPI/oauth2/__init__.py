"""OAuth 2: the client registration, one user's grant, what signs with both, and service accounts."""

from .app import OAuth2App
from .grants.authorization_code import read_redirect
from .scopes import requires_scopes
from .service_account import OAuth2ServiceAccount, ServiceAccount
from .signer import OAuth2
from .user import OAuth2User

__all__ = [
    "OAuth2",
    "OAuth2App",
    "OAuth2ServiceAccount",
    "OAuth2User",
    "ServiceAccount",
    "read_redirect",
    "requires_scopes",
]
