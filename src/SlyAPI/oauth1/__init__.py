"""OAuth 1.0a (RFC 5849): the client registration, one user's grant, and what signs with both."""

from .app import OAuth1App
from .grant import read_redirect
from .signer import OAuth1
from .user import OAuth1User

__all__ = ["OAuth1", "OAuth1App", "OAuth1User", "read_redirect"]
