"""Signs the requests of httpx: `httpx.AsyncClient(auth=signed(OAuth2("app.json", "user.json")))`.

The rule: the tokens are those of the `Auth`, with its store, its lock and its refresh; httpx only sends.
"""

from typing import TYPE_CHECKING

from .auth.contract import Auth
from .auth.httpx_auth import signed_by
from .errors import MissingExtraError, clean_traceback
from .web.next_steps import install

if TYPE_CHECKING:
    import httpx as library

__all__ = ["signed"]


@clean_traceback
def signed(auth: Auth, *, presents_certificate: bool = False) -> "library.Auth":
    """The httpx authentication that signs as `auth` does, for an `AsyncClient` on asyncio.

    With `presents_certificate` the `AsyncClient` has the client certificate of `auth` (RFC 8705) in its `verify=`
    context; without, a request of such an `auth` raises `ConfigError`. After a 401 the request is signed again and
    repeated once, unless its body is a stream. Raises `ConfigError` for what is not an `Auth`, `MissingExtraError`
    without httpx; a request raises what `auth` raises.
    """
    try:
        import httpx as library
    except ModuleNotFoundError:
        raise MissingExtraError("httpx is not installed.", next_step=install("httpx", "httpx")) from None
    made: library.Auth = signed_by(library, auth, presents_certificate)
    return made
