"""OAuth 1.0a (RFC 5849): the client registration, one user's grant, and what signs with both."""

import typing

from ..names import on_demand as _on_demand

if typing.TYPE_CHECKING:
    from .app import OAuth1App
    from .grant import read_redirect
    from .signer import OAuth1
    from .user import OAuth1User
else:  # for tools, a `__getattr__` would have every misspelt name be there
    __getattr__, __dir__ = _on_demand(
        __name__,
        {
            "app": "OAuth1App",
            "grant": "read_redirect",
            "signer": "OAuth1",
            "user": "OAuth1User",
            "signature": "",
        },
    )

__all__ = ["OAuth1", "OAuth1App", "OAuth1User", "read_redirect"]
