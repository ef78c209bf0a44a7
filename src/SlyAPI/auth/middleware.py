"""An `Auth` as an aiohttp client middleware: signs the requests of a session to the origins that the auth is bound to.

The rule: the request has its credential only while it is sent; whoever sends it again, signs it again.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..web.messages import FORM, Method, Request
from .exchange import Exchange, Signs, added_by_signing, check_redirect

if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse


async def send_signed(auth: Signs, request: "ClientRequest", handler: "ClientHandlerType") -> "ClientResponse":
    """Signs and sends a request to an origin of the auth; see `Auth.__call__`."""
    exchange = Exchange(auth, request.session)
    own, signed = _as_plain(request), await exchange.sign(_as_plain(request))
    while True:
        with _applied(signed, request):
            response = await handler(request)
        try:
            check_redirect(own.url, response.status, response.headers, added_by_signing(own, signed))
            again = await exchange.sign_again(signed, response.status, response.headers, _can_repeat(request))
        except BaseException:
            response.close()
            raise
        if not again:
            return response
        response.release()


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


@contextmanager
def _applied(plain: Request, request: "ClientRequest") -> Iterator[None]:
    """The request with its credential in the block, and as it was after it."""
    headers, url, ssl = request.headers.copy(), request.url, request.ssl
    try:
        _apply(plain, request)
        yield
    finally:
        request.headers, request.url = headers, url
        if request.ssl is not ssl:
            request._ssl = ssl


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
    """Lets the request's connection present a client certificate (RFC 8705). Raises `ConfigError`."""
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
