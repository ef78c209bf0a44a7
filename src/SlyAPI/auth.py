"""How a request shows who asks: the contract, and the kinds that need no protocol.

The rule: `sign` changes one request and nothing else; it may be called for many requests at once.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .errors import ConfigError
from .web import Method, Request

if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
    from yarl import URL

__all__ = ["Auth", "HeaderApiKey", "NoAuth", "UrlApiKey"]

_REDIRECTS = (301, 302, 303, 307, 308)
_led_away: ContextVar["URL | None"] = ContextVar("led_away", default=None)


class Auth(ABC):
    """Signs requests: given to a `WebAPI`, or to `aiohttp.ClientSession(middlewares=(auth,))`."""

    @abstractmethod
    async def sign(self, client: Any, request: Request) -> Request:
        """The request with what proves who asks. May change its query_params, headers and data.

        `client` is the `aiohttp.ClientSession` the request goes out on.
        """

    async def resign(self, client: Any, request: Request, headers: Mapping[str, str]) -> bool:
        """Signs anew a request that came back with 401; False where that cannot help (the default).

        `headers` are the reply's. Called once for a request.
        """
        return False

    async def settle(self) -> None:  # noqa: B027 - most kinds have nothing to wait for
        """Waits for work that must not be cut short, such as a refresh, before a session closes."""

    @staticmethod
    def none() -> "NoAuth":
        """For an API that asks nobody who they are."""
        return NoAuth()

    async def __call__(self, request: "ClientRequest", handler: "ClientHandlerType") -> "ClientResponse":
        """The aiohttp client middleware. A redirect to another origin is followed, but not signed."""
        if request.url == _led_away.get():
            response = await handler(request)
        else:
            _led_away.set(None)
            response = await self._signed(request, handler)
        if response.status in _REDIRECTS and "Location" in response.headers:
            target = request.url.join(_url_of(response.headers["Location"]))
            if _led_away.get() is not None or target.origin() != request.url.origin():
                _led_away.set(target)
        return response

    async def _signed(self, request: "ClientRequest", handler: "ClientHandlerType") -> "ClientResponse":
        plain = _as_plain(request)
        _apply(await self.sign(request.session, plain), request)
        response = await handler(request)
        if response.status != 401 or not _can_repeat(request):
            return response
        if await self.resign(request.session, plain, response.headers):
            response.release()
            _apply(plain, request)
            response = await handler(request)
        return response


def _url_of(location: str) -> "URL":
    from yarl import URL

    try:
        return URL(location)
    except ValueError:
        return URL()


def _as_plain(request: "ClientRequest") -> Request:
    try:
        method = Method(request.method)
    except ValueError:
        method = Method.GET  # HEAD, OPTIONS: read like a GET; an Auth sees the methods it knows
    return Request(method, str(request.url), headers=dict(request.headers))


def _apply(plain: Request, request: "ClientRequest") -> None:
    for name, value in plain.headers.items():
        request.headers[name] = value
    if plain.query_params:
        request.url = request.url.update_query(plain.query_params)
    if plain.data:
        raise ConfigError("This kind of auth changes the body, which a client middleware cannot; use a WebAPI.")


def _can_repeat(request: "ClientRequest") -> bool:
    from aiohttp import BytesPayload

    return isinstance(request.body, bytes | BytesPayload)


class NoAuth(Auth):
    """Leaves requests as they are."""

    async def sign(self, client: Any, request: Request) -> Request:
        return request


class UrlApiKey(Auth):
    """An API key as one query parameter."""

    def __init__(self, param_name: str, secret: str) -> None:
        self.param_name = param_name
        self.secret = secret

    def __repr__(self) -> str:
        return f"UrlApiKey({self.param_name!r}, '***')"

    async def sign(self, client: Any, request: Request) -> Request:
        request.query_params[self.param_name] = self.secret
        return request


class HeaderApiKey(Auth):
    """An API key as one header."""

    def __init__(self, param_name: str, secret: str) -> None:
        self.param_name = param_name
        self.secret = secret

    def __repr__(self) -> str:
        return f"HeaderApiKey({self.param_name!r}, '***')"

    async def sign(self, client: Any, request: Request) -> Request:
        request.headers[self.param_name] = self.secret
        return request
