"""An `Auth` as that of httpx or httpx2: signs what an `AsyncClient` sends.

The rule: what httpx carries along a redirect to another origin is never what signing added.
"""

from collections.abc import AsyncGenerator, Generator
from types import ModuleType
from typing import Any

from ..errors import ConfigError
from ..web.challenges import wants_nonce
from ..web.messages import FORM, Method, Request
from .contract import Auth

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
            form = request.headers.get("Content-Type", "").lower().startswith(FORM)
            repeatable = isinstance(request.stream, httpx.ByteStream)
            plain = _as_plain(request, await request.aread() if form and repeatable else b"")
            _apply(await auth.sign(None, plain), request)
            if plain.certificate is not None and not presents_certificate:
                raise ConfigError(
                    "The API wants a client certificate, which httpx presents only where its AsyncClient has it.",
                    next_step="AsyncClient(verify=CONTEXT, auth=signed(auth, presents_certificate=True)), or a WebAPI.",
                )
            response = yield request
            if response.status_code == 401 and "DPoP" in request.headers and response.history:
                if not _stays_home(response):
                    return
                # redirected by httpx, with the proof of the first URL
                request, plain = _redirected(response)
                _apply(await auth.sign(None, plain), request)
                response = yield request
            had: set[bool] = set()
            while _stays_home(response):
                request, plain = _redirected(response) if response.history else (request, plain)
                auth.note_reply(plain.url, response.status_code, response.headers)
                if not repeatable or not auth.may_sign_again(response.status_code, response.headers):
                    return
                if (for_nonce := wants_nonce(response.headers)) in had:
                    return  # repeated once for a nonce, and once for a newer token
                had.add(for_nonce)
                if not await auth.sign_again(None, plain, response.headers):
                    return
                _apply(plain, request)
                response = yield request

        def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
            raise ConfigError("A synchronous client cannot be signed for.", next_step="Use httpx's AsyncClient.")
            yield

    return SignedAuth()


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


def _apply(plain: Request, request: Any) -> None:
    """Puts the credential into the request.

    Raises `ConfigError` for a header that httpx would take to other origins.
    """
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
