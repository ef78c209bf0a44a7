"""An `Auth` as an aiohttp client middleware: signs what a session sends, redirects included.

The rule: a credential goes to the origin of the program's own request, and to no other.
"""

from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..errors import ConfigError, OriginError
from ..web.challenges import wants_nonce
from ..web.masking import masked
from ..web.messages import FORM, REDIRECTS, Method, Request
from ..web.urls import parsed_url

if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
    from yarl import URL


class Signs(Protocol):
    """The part of `Auth` that a middleware calls."""

    async def sign(self, client: Any, request: Request) -> Request: ...
    async def sign_again(self, client: Any, request: Request, headers: Mapping[str, str]) -> bool: ...
    def may_sign_again(self, status: int, headers: Mapping[str, str]) -> bool: ...
    def note_reply(self, url: str, status: int, headers: Mapping[str, str]) -> None: ...


async def send_signed(auth: Signs, request: "ClientRequest", handler: "ClientHandlerType") -> "ClientResponse":
    """Signs and sends; see `Auth.__call__`."""
    here, chain = request.url.origin(), _taken(auth, request)
    led_away = chain.led_away or here != chain.start
    had = {*chain.had}
    plain = _as_plain(request)
    response = await (handler(request) if led_away else _signed(auth, plain, request, handler, had))
    if response.status in REDIRECTS and _location(response):
        to = _target_of(request, _location(response))
        target = None if to is None else to.origin()
        if target != here and _takes_along(plain, response):
            response.close()
            raise OriginError(f"{here} redirects to {target} with the credential in the URL; not followed.")
        led_away = led_away or target != chain.start
        _chains.set((*_chains.get(), _Chain(auth, request.session, chain.start, to, led_away, frozenset(had)))[-_MOST:])
    return response


async def _signed(
    auth: Signs, plain: Request, request: "ClientRequest", handler: "ClientHandlerType", had: set[bool]
) -> "ClientResponse":
    """The reply; `had`: why the program's request was signed again before."""
    _apply(await auth.sign(request.session, plain), request)
    response = await handler(request)
    auth.note_reply(plain.url, response.status, response.headers)
    while auth.may_sign_again(response.status, response.headers) and _can_repeat(request):
        if (for_nonce := wants_nonce(response.headers)) in had:
            break  # repeated once for a nonce, and once for a newer token
        had.add(for_nonce)
        try:
            again = await auth.sign_again(request.session, plain, response.headers)
        except BaseException:
            response.close()
            raise
        if not again:
            break
        response.release()
        _apply(plain, request)
        response = await handler(request)
        auth.note_reply(plain.url, response.status, response.headers)
    return response


class _Chain(NamedTuple):
    """The redirects that aiohttp follows within one request of the program, as one auth of its session knows them."""

    auth: Signs
    session: Any
    start: "URL"
    """The origin of the program's request."""
    target: "URL | None" = None
    led_away: bool = False
    had: frozenset[bool] = frozenset()


_MOST = 16
"""Chains that a context keeps: one for each auth of a session, and some whose redirect was not followed."""
_chains: ContextVar[tuple[_Chain, ...]] = ContextVar("_chains", default=())


def _taken(auth: Signs, request: "ClientRequest") -> _Chain:
    """The chain that this request goes on with, which it leaves; a new one for a request of the program."""
    here, session, chains = request.url.origin(), request.session, _chains.get()
    chain = next((each for each in chains if each.auth is auth and each.session is session), None)
    if chain is None:
        return _Chain(auth, session, here)
    _chains.set(tuple(each for each in chains if each is not chain))
    if chain.target is None:
        return chain
    if chain.target.origin() != here:
        return _Chain(auth, session, here)  # the redirect was not followed: this is another request
    same = chain.target.with_fragment(None) == request.url.with_fragment(None)
    return chain if same else chain._replace(had=frozenset())


def _location(response: "ClientResponse") -> str:
    return response.headers.get("Location") or response.headers.get("URI") or ""  # aiohttp follows both


def _takes_along(plain: Request, response: "ClientResponse") -> bool:
    """Whether a redirect's URL contains what signing added to the query."""
    location = _location(response)
    return masked(location, map(str, plain.query_params.values())) != location


def _target_of(request: "ClientRequest", location: str) -> "URL | None":
    try:
        target = request.url.join(parsed_url(location))
        target.origin()
        return target
    except ValueError:
        return None


def _as_plain(request: "ClientRequest") -> Request:
    method, headers = Method(request.method), dict(request.headers)
    return Request(method, str(request.url), headers=headers, data=_form_of(request) or {})


def _form_of(request: "ClientRequest") -> Any:
    """The body of a form as text, for an Auth that reads its fields; unchanged where it cannot be read twice."""
    if not request.body or not request.headers.get("Content-Type", "").lower().startswith(FORM):
        return None
    if isinstance(request.body, bytes):
        return request.body.decode("utf-8", "surrogateescape")
    return request.body.decode("utf-8", "surrogateescape") if _can_repeat(request) else request.body


def _apply(plain: Request, request: "ClientRequest") -> None:
    if plain.data and plain.data != _form_of(request):
        raise ConfigError("This auth changes the body, which a client middleware cannot do; use a WebAPI.")
    for name, value in plain.headers.items():
        if request.headers.get(name) != value:
            request.headers[name] = value
    if plain.query_params:
        request.url = request.url.update_query(plain.query_params)
    if plain.certificate is not None:
        _present(plain.certificate, request)


def _present(certificate: Any, request: "ClientRequest") -> None:
    """Lets the request's connection present a client certificate (RFC 8705).

    A request with TLS settings of its own keeps them. Raises `ConfigError` where that is not possible.
    """
    chosen: Any = request.ssl
    if chosen is not True:
        return
    from ..transport.certificates import tls_context  # few have a certificate

    context = tls_context(certificate)
    with suppress(AttributeError):
        request._ssl = context  # aiohttp has no public name for it; what was set is read by the public one
    if request.ssl is not context:
        raise ConfigError(
            "This version of aiohttp does not let a middleware present a client certificate.",
            next_step="Use a WebAPI, or a session with TCPConnector(ssl=CONTEXT) and ssl=CONTEXT in each request.",
        )


def _can_repeat(request: "ClientRequest") -> bool:
    from aiohttp import BytesPayload

    return isinstance(request.body, bytes | BytesPayload)
