"""An `Auth` as that of httpx or httpx2: signs what an `AsyncClient` sends.

The rule: what httpx carries along a redirect to another origin is never what signing added.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator
from types import ModuleType
from typing import Any

from ..errors import ConfigError
from ..web.messages import FORM, Method, Request
from .contract import Auth
from .exchange import Exchange, check_redirect

_STRIPPED = ("authorization", "dpop")
"""Headers that httpx removes before another origin, and proofs, which are not useful there."""


def signed_by(httpx: ModuleType, auth: Auth, presents_certificate: bool) -> Any:
    """The library's own `Auth` that signs as `auth` does. Raises `ConfigError` for anything that is not an `Auth`."""
    if not isinstance(auth, Auth):
        raise ConfigError(f"signed takes an Auth, not {type(auth).__name__}.")

    class SignedAuth(httpx.Auth):  # type: ignore[name-defined,misc]  # of either library
        def __repr__(self) -> str:
            return f"signed({auth!r})"

        async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
            _check_loop()
            if not auth._signs_at(str(request.url)):
                yield request
                return
            form = request.headers.get("Content-Type", "").lower().startswith(FORM)
            repeatable = isinstance(request.stream, httpx.ByteStream)
            plain = _as_plain(request, await request.aread() if form and repeatable else b"")
            exchange = Exchange(auth)
            _sign(request, await exchange.sign(plain), presents_certificate)
            response = yield request
            if response.status_code == 401 and "DPoP" in request.headers and response.history:
                if not _stays_home(response):
                    return
                # redirected by httpx, with the proof of the first URL
                request, plain = _redirected(response)
                _sign(request, await exchange.sign(plain), presents_certificate)
                response = yield request
            while _stays_home(response):
                request, plain = _redirected(response) if response.history else (request, plain)
                if not await exchange.sign_again(plain, response.status_code, response.headers, repeatable):
                    return
                _sign(request, plain, presents_certificate)
                response = yield request

        def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
            raise ConfigError("A synchronous client cannot be signed for.", next_step="Use httpx's AsyncClient.")
            yield

    return SignedAuth()


def _check_loop() -> None:
    """Raises `ConfigError` on trio, where httpx runs too."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        from ..transport.per_loop import without_asyncio  # rarely needed

        raise without_asyncio() from None


def _stays_home(response: Any) -> bool:
    """Whether all redirects that httpx followed led within the origin: what a stranger answers is not the API's."""
    urls = [each.request.url for each in (*response.history, response)]
    return len({(url.scheme, url.host, url.port) for url in urls}) == 1


def _redirected(response: Any) -> tuple[Any, Request]:
    """The request that was answered, and as an `Auth` sees it, with the credential that it was sent with."""
    plain = _as_plain(response.request, b"")
    if credential := response.request.headers.get("Authorization"):
        plain.headers["Authorization"] = credential
    return response.request, plain


def _as_plain(request: Any, form: bytes) -> Request:
    headers = {name: value for name, value in request.headers.items() if name != "authorization"}
    text = form.decode("utf-8", "surrogateescape")
    return Request(Method(request.method), str(request.url), headers=headers, data=text or {})


def _sign(request: Any, plain: Request, presents_certificate: bool) -> None:
    """Puts the credential into the request. Raises `ConfigError` where httpx cannot send it, or not to one origin."""
    if plain.certificate is not None and not presents_certificate:
        raise ConfigError(
            "The API wants a client certificate, which httpx presents only where its AsyncClient has it.",
            next_step="AsyncClient(verify=CONTEXT, auth=signed(auth, presents_certificate=True)), or a WebAPI.",
        )
    for name, value in plain.headers.items():
        if request.headers.get(name) != value:
            if name.lower() not in _STRIPPED:
                raise ConfigError(
                    f"httpx would send the header {name} along a redirect to another origin.",
                    next_step="Use a WebAPI, or aiohttp with middlewares=(auth,).",
                )
            request.headers[name] = value
    if plain.query_params:
        request.url = request.url.copy_merge_params(plain.query_params)
        _check_redirects(request, [str(value) for value in plain.query_params.values()])


def _check_redirects(request: Any, secrets: list[str]) -> None:
    """Refuses a redirect that repeats a key of the query at another origin, before httpx follows it.

    httpx follows redirects without asking its `Auth`; its transport reports each reply's headers to the `trace`
    extension, and an exception there ends the request.
    """
    url, own = str(request.url), request.extensions.get("trace")

    async def trace(event: str, info: Any) -> None:
        if event.endswith("receive_response_headers.complete"):
            _, *rest = reply = info["return_value"]
            status, headers = rest[0:3:2] if isinstance(reply[0], bytes) else reply[:2]  # HTTP/1.1 and HTTP/2
            named = {name.decode("latin-1").title(): value.decode("latin-1") for name, value in headers}
            check_redirect(url, status, named, secrets)
        if own is not None:
            await own(event, info)

    request.extensions = {**request.extensions, "trace": trace}
