"""One signed call: sign, send, once more after a 401, redirects, and the error for a refusal.

The rule: a credential goes to the base URL's origin and nowhere else.
"""

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from yarl import URL

from .auth import Auth, NoAuth
from .errors import ApiError, ConfigError, OriginError, printable
from .transport import fetch
from .web import Method, Reply, Request, Secrets, bare_url, masked, retry_after

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 10
_ERROR_TEXT = 4096


class Origin:
    """Where credentials may go: scheme, host and port of a base URL (RFC 6454 §4)."""

    __slots__ = ("_origin", "base_url", "prefix")

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._origin = _origin(base_url)
        self.prefix = f"{self._origin}/" if self._origin else ""

    def admits(self, url: str) -> bool:
        """Whether a credential may go to `url`: by its text, and by parsing where the text leaves a doubt."""
        if self.prefix and url.startswith(self.prefix):
            return True
        return self._origin is not None and _origin(url) == self._origin


def _origin(url: str) -> URL | None:
    try:
        return URL(url).origin() if "\\" not in url else None
    except ValueError:
        return None


async def signed_call(
    auth: Auth, client: "ClientSession", request: Request, origin: Origin
) -> "tuple[ClientResponse, bytes]":
    """The response to the request, signed, and its body, read.

    Raises `ApiError` for a status of 400 or more, `OriginError` before a credential would leave
    `origin`, and what `Auth.sign` and the transport raise.
    """
    if not origin.admits(request.url) and type(auth) is not NoAuth:
        raise OriginError(
            f"{printable(bare_url(request.url), 200)} is not of the origin of base_url "
            f"({printable(bare_url(origin.base_url), 200) or 'which is not set'}), so nothing was sent there.",
            next_step="Set base_url to the API's address, or use another WebAPI for the other server.",
        )
    own = tuple(request.headers), tuple(request.query_params)
    request = await auth.sign(client, request)
    response, body = await fetch(client, request, _with_query(request))
    if response.status == 401 and await auth.resign(client, request, response.headers):
        response, body = await fetch(client, request, _with_query(request))
    if response.status < 300:
        return response, body
    if response.status in _REDIRECTS and "Location" in response.headers:
        return await _follow(auth, client, request, response, origin, own)
    if response.status < 400:
        return response, body
    raise _refusal(request, response, body, own)


def _with_query(request: Request) -> str:
    if not request.query_params:
        return request.url
    mark = "&" if "?" in request.url else "?"
    return f"{request.url}{mark}{urlencode(request.query_params)}"


async def _follow(
    auth: Auth,
    client: "ClientSession",
    request: Request,
    response: "ClientResponse",
    origin: Origin,
    own: tuple[tuple[str, ...], tuple[str, ...]],
) -> "tuple[ClientResponse, bytes]":
    """Follows redirects (RFC 9110 §15.4): signed within the origin, with nothing of ours beyond it."""
    body = b""
    for _ in range(_MOST_REDIRECTS):
        if response.status == 303 or (response.status in (301, 302) and request.method is Method.POST):
            request = Request(Method.GET, request.url, headers=request.headers)
        url = response.url.join(_location(response))
        if url.scheme not in ("http", "https"):
            break
        kept = {name: value for name, value in request.headers.items() if name in own[0]}
        request = Request(request.method, str(url), {}, kept, request.data, request.data_is_json)
        if origin.admits(request.url):
            request = await auth.sign(client, request)
        elif request.method is not Method.GET:
            raise OriginError(f"{response.url.origin()} redirects a {request.method} to {url.origin()}; not followed.")
        else:
            for name in [n for n in request.headers if n.lower() in ("authorization", "cookie")]:
                del request.headers[name]
        response, body = await fetch(client, request, _with_query(request))
        if response.status not in _REDIRECTS or "Location" not in response.headers:
            if response.status >= 400:
                raise _refusal(request, response, body, own)
            return response, body
    raise ConfigError(f"{bare_url(request.url)} redirects without end, or to what is not http.")


def _location(response: "ClientResponse") -> URL:
    try:
        return URL(response.headers["Location"])
    except ValueError:
        return URL("invalid:")


def _refusal(
    request: Request, response: "ClientResponse", body: bytes, own: tuple[tuple[str, ...], tuple[str, ...]]
) -> ApiError:
    """The error for a refused call; what signing added is masked wherever the reply echoes it."""
    added = [value for name, value in request.headers.items() if name not in own[0]]
    added += [str(value) for name, value in request.query_params.items() if name not in own[1]]
    secrets = Secrets(part for value in added for part in (value, value.rpartition(" ")[2]))
    reply = Reply(response.status, response.headers, body, bare_url(request.url))
    text = masked(reply.text(), secrets)[:_ERROR_TEXT]
    shown = f": {printable(text)}" if text.strip() and not text.lstrip().startswith("<") else ""
    status, wait = response.status, retry_after(response.headers)
    challenge = masked(response.headers.get("WWW-Authenticate", ""), secrets)
    return ApiError(
        status,
        text,
        Reply(status, response.headers, text.encode(), reply.url),
        message=f"{request.method.value} {reply.url} was answered with HTTP {status}{shown}.",
        next_step=_next_step(status, challenge, wait),
        retry_after=wait,
    )


def _next_step(status: int, challenge: str, wait: float | None) -> str:
    if status == 401:
        return "The credential is not accepted; grant again: python -m SlyAPI grant"
    if status == 403:
        scope = "insufficient_scope" in challenge
        return "Grant again with the scope that this call needs." if scope else "This user or client may not do that."
    if status == 404:
        return "Check base_url and the path."
    if status == 429:
        return f"Wait {wait:g} s, then try again." if wait is not None else "Wait, then try again."
    return "Try again later." if status >= 500 else "Check the request's parameters."
