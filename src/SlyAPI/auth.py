"""How a request shows who asks: the contract, and the kinds that need no protocol.

The rule: `sign` changes one request and nothing else; it may be called for many requests at once.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_plus

from .errors import ConfigError, OriginError
from .web import FORM, REDIRECTS, Method, Request, SecretForm, masked

if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
    from yarl import URL

__all__ = ["Auth", "HeaderApiKey", "NoAuth", "UrlApiKey"]


class Auth(ABC):
    """Signs requests: given to a `WebAPI`, or to `aiohttp.ClientSession(middlewares=(auth,))`."""

    __slots__ = ()

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

    def masks(self) -> Iterable[str]:
        """What no message may repeat, beside what signing put into the request."""
        return ()

    async def settle(self) -> None:  # noqa: B027 - most kinds have nothing to wait for
        """Waits for work that must not be cut short, such as a refresh, before a session closes."""

    @property
    def _signs_nothing(self) -> bool:
        return type(self) is NoAuth  # a subclass may sign

    @staticmethod
    def none() -> "NoAuth":
        """For an API that asks nobody who they are."""
        return NoAuth()

    async def __call__(self, request: "ClientRequest", handler: "ClientHandlerType") -> "ClientResponse":
        """The aiohttp client middleware. A redirect to another origin is followed, but not signed.

        Raises what `sign` raises, and `OriginError` for a redirect that would take the credential along.
        """
        here, chain = request.url.origin(), _chain.get()
        if chain is None or chain.target not in (None, here):
            chain = _Chain(here, None, False)  # the last redirect was not followed: this is another request
        _chain.set(None)
        led_away = chain.led_away or here != chain.start
        plain = _as_plain(request)
        response = await (handler(request) if led_away else self._signed(plain, request, handler))
        if response.status in REDIRECTS and _location(response):
            target = _origin_of(request, _location(response))
            if target != here and _takes_along(plain, response):
                response.close()
                del response  # which prints its URL and headers in tracebacks
                raise OriginError(f"{here} redirects to {target} with the credential in the URL; not followed.")
            _chain.set(_Chain(chain.start, target, led_away or target != chain.start))
        return response

    async def _signed(
        self, plain: Request, request: "ClientRequest", handler: "ClientHandlerType"
    ) -> "ClientResponse":
        _apply(await self.sign(request.session, plain), request)
        response = await handler(request)
        if response.status != 401 or not _can_repeat(request):
            return response
        try:
            again = await self.resign(request.session, plain, response.headers)
        except BaseException:
            response.close()
            del response  # which prints its URL and headers in tracebacks
            raise
        if again:
            response.release()
            _apply(plain, request)
            response = await handler(request)
        return response


class _Chain(NamedTuple):
    """Redirects that aiohttp is about to follow within one request of the program."""

    start: "URL"
    target: "URL | None"
    led_away: bool


_chain: ContextVar[_Chain | None] = ContextVar("chain", default=None)


def _location(response: "ClientResponse") -> str:
    return response.headers.get("Location") or response.headers.get("URI") or ""  # aiohttp follows both


def _takes_along(plain: Request, response: "ClientResponse") -> bool:
    """Whether a redirect's address has in it what signing put into the query."""
    location = _location(response)
    return masked(location, map(str, plain.query_params.values())) != location


def _origin_of(request: "ClientRequest", location: str) -> "URL | None":
    from yarl import URL

    try:
        return request.url.join(URL(location)).origin()
    except ValueError:
        return None


def _as_plain(request: "ClientRequest") -> Request:
    method, headers = Method(request.method), dict(request.headers)
    return Request(method, str(request.url), headers=headers, data=_form_of(request) or {})


def _form_of(request: "ClientRequest") -> Any:
    """The body of a form as text, for an Auth that reads its fields; as it is where it cannot be read twice."""
    if not request.body or not request.headers.get("Content-Type", "").lower().startswith(FORM):
        return None
    if isinstance(request.body, bytes):
        return request.body.decode("utf-8", "surrogateescape")
    return request.body.decode("utf-8", "surrogateescape") if _can_repeat(request) else request.body


def _apply(plain: Request, request: "ClientRequest") -> None:
    if plain.data and plain.data != _form_of(request):
        raise ConfigError("This kind of auth changes the body, which a client middleware cannot; use a WebAPI.")
    for name, value in plain.headers.items():
        if request.headers.get(name) != value:
            request.headers[name] = value
    if plain.query_params:
        request.url = request.url.update_query(plain.query_params)


def _can_repeat(request: "ClientRequest") -> bool:
    from aiohttp import BytesPayload

    return isinstance(request.body, bytes | BytesPayload)


class NoAuth(Auth):
    """Leaves requests as they are."""

    async def sign(self, client: Any, request: Request) -> Request:
        return request


class UrlApiKey(Auth):
    """An API key as one query parameter; a subclass may put more into `params`."""

    def __init__(self, param_name: str, secret: str) -> None:
        self.params = SecretForm({param_name: secret})

    def __repr__(self) -> str:
        return f"UrlApiKey({', '.join(map(repr, self.params))}, '***')"

    async def sign(self, client: Any, request: Request) -> Request:
        if "?" in request.url:  # the URL of a next page may have the key already
            for name in self.params:
                request.url = _without_parameter(request.url, name)
        request.query_params |= self.params
        return request


def _without_parameter(url: str, name: str) -> str:
    bare, _, query = url.partition("?")
    kept = [pair for pair in query.split("&") if unquote_plus(pair.partition("=")[0]) != name]
    return f"{bare}?{'&'.join(kept)}" if kept else bare


class HeaderApiKey(Auth):
    """An API key as one header; a subclass may put more into `headers`."""

    def __init__(self, param_name: str, secret: str) -> None:
        self.headers = SecretForm({param_name: secret})

    def __repr__(self) -> str:
        return f"HeaderApiKey({', '.join(map(repr, self.headers))}, '***')"

    async def sign(self, client: Any, request: Request) -> Request:
        request.headers |= self.headers
        return request
