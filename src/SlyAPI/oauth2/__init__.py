"""OAuth 2: the client registration, one user's grant, and what signs with both."""

from .app import OAuth2App
from .grants.authorization_code import read_redirect
from .scopes import requires_scopes
from .signer import OAuth2
from .user import OAuth2User

__all__ = ["OAuth2", "OAuth2App", "OAuth2User", "read_redirect", "requires_scopes"]
