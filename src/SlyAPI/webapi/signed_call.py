"""One signed call: sign, send, once more after a 401, redirects, and the error for a refusal.

The rule: a credential goes to the base URL's origin and nowhere else.
"""

from collections.abc import Awaitable, Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..auth.contract import Auth
from ..errors import ApiError, ConfigError, OriginError, SlyError, printable
from ..transport.bodies import Body
from ..transport.requests import REPLY_LIMIT, fetch
from ..transport.sessions import session_on_same_connector
from ..web.masking import Secrets, masked
from ..web.messages import REDIRECTS, Method, Reply, Request, retry_after
from ..web.urls import bare_url

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from yarl import URL

_MOST_REDIRECTS = 10
_ERROR_TEXT = 1 << 14
_SENT_TWICE = (str, bytes, bytearray, memoryview, dict, list, tuple)
_TELL_NOTHING = ("accept", "user-agent", "range", "if-range")

Fetch = Callable[["ClientSession", Request, int], Awaitable[Reply]]
"""Sends a request and reads its reply: `transport.fetch`, or `streaming.begin`."""


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

    def refusal(self, url: str) -> OriginError:
        """The error for a URL that is not admitted."""
        return OriginError(
            f"{printable(bare_url(url), 200)} is not of the origin of base_url "
            f"({printable(bare_url(self.base_url), 200) or 'which is not set'}), so nothing was sent there.",
            next_step="Set base_url to the API's address, or use another WebAPI for the other server.",
        )


def _parsed(url: str) -> "URL":
    from yarl import URL  # which is imported with aiohttp

    return URL(url)


@lru_cache(maxsize=1024)
def origin_of(base_url: str) -> Origin:
    """The origin of a base URL, which many clients may have."""
    return Origin(base_url)


def _origin(url: str) -> "URL | None":
    try:
        return _parsed(url).origin() if url and "\\" not in url else None
    except ValueError:
        return None


async def signed_call(
    auth: Auth,
    client: "ClientSession",
    request: Request,
    origin: Origin,
    limit: int = REPLY_LIMIT,
    fetch: "Fetch" = fetch,
) -> Reply:
    """The reply to the request, signed; its body is at most `limit` bytes. `fetch` sends, and reads the reply.

    Raises `ApiError` for a status of 400 or more, `OriginError` before a credential would leave
    `origin`, and what `Auth.sign` and the transport raise.
    """
    if not origin.admits(request.url) and not auth._signs_nothing:
        raise origin.refusal(request.url)
    plain = not (request.headers or request.query_params or request.data or request.data_is_json)
    before: Iterator[Any] = iter((request.method, request.url)) if plain else _parts(request)
    request = await auth.sign(client, request)
    reply = await fetch(client, request, limit)
    if reply.status < 300:
        return reply
    own = Request(*before)
    spent = Secrets()
    if reply.status == 401:
        spent = _added(own, request)
        if await auth.sign_again(client, request, reply.headers):
            if not is_repeatable(request):
                secrets = Secrets((*spent, *_added(own, request), *auth.secrets_to_mask()))
                raise _spent(_refusal(request, reply, secrets))
            reply = await fetch(client, request, limit)
    if reply.status in REDIRECTS and "Location" in reply.headers:
        request, reply = await _follow(auth, client, own, request, reply, origin, limit, fetch)
    if reply.status >= 400:
        raise _refusal(request, reply, Secrets((*spent, *_added(own, request), *auth.secrets_to_mask())))
    return reply


def copied(request: Request) -> Request:
    """The request as it is before an `Auth` changes it."""
    return Request(*_parts(request))


def _parts(request: Request) -> Iterator[Any]:
    """What makes a copy of a request, once; cheaper than the copy, which is wanted only where something went wrong.

    An iterator, of which a traceback shows no content.
    """
    parts = (
        request.method,
        request.url,
        request.query_params.copy(),
        request.headers.copy(),
        request.data.copy() if type(request.data) is dict else request.data,
        request.data_is_json,
    )
    return iter(parts)


def _added(own: Request, signed: Request) -> Secrets:
    """The values that signing put into a request: what neither another origin nor a message may see."""
    added = [value for name, value in signed.headers.items() if own.headers.get(name) != value]
    added += [str(value) for name, value in signed.query_params.items() if own.query_params.get(name) != value]
    if isinstance(signed.data, dict) and isinstance(own.data, dict):
        added += [str(value) for name, value in signed.data.items() if own.data.get(name) != value]
    elif isinstance(signed.data, str) and signed.data != own.data:
        added.append(signed.data)
    return Secrets(part for value in added for part in (value, value.rpartition(" ")[2]))


async def _follow(
    auth: Auth,
    client: "ClientSession",
    own: Request,
    request: Request,
    reply: Reply,
    origin: Origin,
    limit: int,
    fetch: "Fetch",
) -> tuple[Request, Reply]:
    """Follows redirects (RFC 9110 §15.4): signed within the origin, beyond it a GET with nothing of ours.

    `own` is the request before it was signed as `request`, `reply` its answer.
    """
    for _ in range(_MOST_REDIRECTS):
        moved = _moved(own, reply, origin, _added(own, request))
        if isinstance(moved, SlyError):
            raise moved
        own = moved
        if origin.admits(own.url):
            request = await auth.sign(client, copied(own))
            reply = await fetch(client, request, limit)
        else:
            request = Request(Method.GET, own.url, headers=_for_strangers(own.headers))
            async with session_on_same_connector(client) as stranger:
                reply = await fetch(stranger, request, limit)
        if reply.status not in REDIRECTS or "Location" not in reply.headers:
            return request, reply
    raise ConfigError(f"{own.name} redirects without end.")


def _moved(own: Request, reply: Reply, origin: Origin, secrets: Secrets) -> Request | SlyError:
    """The request that a redirect asks for, or the error for one that must not be made."""
    target = _target(own.url, reply)
    if target.scheme not in ("http", "https"):
        return ConfigError(f"{own.name} redirects to what is not http.")
    if reply.status == 303 or (reply.status in (301, 302) and own.method is Method.POST):
        moved = Request(Method.GET, str(target), headers=_without_body(own.headers))
    else:
        moved = Request(own.method, str(target), {}, dict(own.headers), own.data, own.data_is_json)
    # within the origin a credential may be in the query, but never in the path, which messages and logs name
    home = origin.admits(moved.url)
    seen = bare_url(moved.url) if home else moved.url
    why = "with the credential in it" if masked(seen, secrets) != seen else ""
    if not home and moved.method is not Method.GET:
        why = f"a {moved.method}"
    if not why and not is_repeatable(moved):
        return ConfigError(
            f"{own.name} redirects, and this body cannot be sent twice.",
            next_step=f"Send it to {printable(bare_url(seen), 200)}, or give a file.",
        )
    if why:
        return OriginError(f"{_parsed(own.url).origin()} redirects {why} to {target.origin()}; not followed.")
    return moved


def _target(url: str, reply: Reply) -> "URL":
    try:
        return _parsed(url).join(_parsed(reply.headers["Location"]))
    except ValueError:
        return _parsed("invalid:")


def _without_body(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if not name.lower().startswith("content-")}


def _for_strangers(headers: dict[str, str]) -> dict[str, str]:
    """Of the caller's headers those that hold no secret by their meaning."""
    return {name: value for name, value in headers.items() if name.lower().startswith(_TELL_NOTHING)}


def is_repeatable(request: Request) -> bool:
    """Whether the body is there a second time: none, JSON, text, bytes, a form; of a `Body` what it says itself."""
    body = request.data
    if isinstance(body, Body):
        return body.again and body.failure is None
    return request.data_is_json or not body or isinstance(body, _SENT_TWICE)


def _spent(error: ApiError) -> ApiError:
    """The error for a 401 to a body that cannot be sent twice, after which the credential is a new one."""
    error.kind = "transient"
    error.next_step = "The credential has been renewed: call again, with the body from its beginning."
    return error


def _refusal(request: Request, reply: Reply, secrets: Secrets) -> ApiError:
    """The error for a refused call; what signing added is masked wherever the reply echoes it."""
    reply = reply.without(secrets, _ERROR_TEXT)
    text = reply.text()
    shown = f": {printable(text)}" if text.strip() and not text.lstrip().startswith("<") else ""
    status, wait = reply.status, retry_after(reply.headers)
    return ApiError(
        status,
        text,
        reply,
        message=f"{request.method.value} {reply.url} was answered with HTTP {status}{shown}.",
        next_step=_next_step(status, reply.headers.get("WWW-Authenticate", ""), wait),
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
