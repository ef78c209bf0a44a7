"""OAuth 2: the client registration, one user's grant, and what signs with both."""

from .app import OAuth2App
from .scopes import requires_scopes
from .signer import OAuth2
from .user import OAuth2User

__all__ = ["OAuth2", "OAuth2App", "OAuth2User", "requires_scopes"]
