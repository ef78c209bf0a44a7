"""One signed call: sign, send, repeat once after a 401, follow redirects, and raise the error for a refusal.

The rule: a credential goes to the base URL's origin and nowhere else, and nowhere once another origin led there.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..auth.contract import Auth
from ..auth.exchange import Exchange, added_by_signing
from ..errors import ApiError, ConfigError, OriginError, printable
from ..transport.bodies import Body
from ..transport.requests import REPLY_LIMIT, fetch
from ..transport.sessions import bare_session
from ..web.challenges import next_step
from ..web.masking import masked
from ..web.messages import REDIRECTS, Method, Reply, Request, retry_after
from ..web.next_steps import PROGRAM
from ..web.redirects import headers_for_other_origin, leads_inside
from ..web.secret_values import Secrets
from ..web.urls import bare_url, parsed_url, whole_url
from .origin import Origin

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from yarl import URL

_MOST_REDIRECTS = 10
_ERROR_TEXT = 1 << 14
_READS = ("GET", "HEAD")
_SENT_TWICE = (str, bytes, bytearray, memoryview, dict, list, tuple)

Fetch = Callable[["ClientSession", Request, int], Awaitable[Reply]]
"""Sends a request and reads its reply: `transport.fetch`, or `streaming.begin`."""


async def signed_call(
    auth: Auth,
    client: "ClientSession",
    request: Request,
    origin: Origin,
    limit: int = REPLY_LIMIT,
    fetch: "Fetch" = fetch,
) -> Reply:
    """The reply, at most `limit` bytes. Raises `ApiError` for 400 or more, `OriginError`, and as `Auth.sign`."""
    if not origin.admits(request.url) and not auth._signs_nothing:
        raise origin.refusal(request.shown_url)
    request.secrets_to_mask = auth.secrets_to_mask
    if ".." in request.url or "%" in request.url or not request.url.isprintable():
        origin.check_path(request.url)
    unsigned = _parts(request)
    request = await auth.sign(client, request)
    reply = await fetch(client, request, limit)
    if reply.status < 300:
        auth.note_reply(request.url, reply.status, reply.headers)
        return reply
    exchange = Exchange(auth, client)
    own = Request(*unsigned)
    own.secrets_to_mask = auth.secrets_to_mask
    call = _Call(auth, client, origin, limit, fetch, own, request, reply, exchange)
    await call.sign_again()
    await call.follow()
    if call.reply.status >= 400:
        raise call.refusal()
    return call.reply


def copied(request: Request) -> Request:
    """The request as it is before an `Auth` changes it."""
    copy = Request(*_parts(request))
    copy.secrets_to_mask = request.secrets_to_mask
    return copy


def _parts(request: Request) -> tuple[Any, ...]:
    """What a copy of a request is made of: cheaper than the copy, which only a 3xx, 4xx or 5xx needs."""
    if not (request.headers or request.data or request.data_is_json):
        return request.method, request.url, request.query_params.copy()
    return (
        request.method,
        request.url,
        request.query_params.copy(),
        request.headers.copy(),
        request.data.copy() if type(request.data) is dict else request.data,
        request.data_is_json,
    )


@dataclass(slots=True)
class _Call:
    """A call whose first reply is a refusal or a redirect: what it still has to do, and what no message may show."""

    auth: Auth
    client: "ClientSession"
    origin: Origin
    limit: int
    fetch: "Fetch"
    own: Request
    """The request as it was before it was signed."""
    request: Request
    reply: Reply
    exchange: Exchange
    replaced: Secrets = field(default_factory=Secrets)
    """What signing added before it was done again."""
    call_again: bool = False
    """Whether the credential is newer than that of the last request."""

    async def sign_again(self) -> None:
        """Repeats a refused request with a newer credential, if there is one."""
        replaced = self.secrets()
        while await self.exchange.sign_again(self.request, self.reply.status, self.reply.headers):
            self.replaced = replaced
            if not is_repeatable(self.request):
                self.call_again = True
                return
            self.reply = await self.fetch(self.client, self.request, self.limit)
            replaced = self.secrets()

    async def follow(self) -> None:
        """Follows redirects (RFC 9110 §15.4): signed within the origin, beyond it a GET or HEAD without our headers.

        Once led away, it is not signed any more, wherever that leads (Fetch Standard, HTTP-redirect fetch).
        """
        led_away, followed = False, 0
        while self.reply.status in REDIRECTS and "Location" in self.reply.headers:
            if (followed := followed + 1) > _MOST_REDIRECTS:
                raise ConfigError(f"{self.own.name} redirects more than {_MOST_REDIRECTS} times.")
            self.own = _moved(self.own, self.reply, self.origin, self.secrets(), led_away)
            led_away = led_away or not self.origin.admits(self.own.url)
            if led_away:
                headers = headers_for_other_origin(self.own.headers)
                self.request = Request(self.own.method, self.own.url, headers=headers)
                async with bare_session(self.client, body_follows=True) as other:
                    self.reply = await self.fetch(other, self.request, self.limit)
            else:
                self.request = await self.exchange.sign(copied(self.own))
                self.reply = await self.fetch(self.client, self.request, self.limit)
                await self.sign_again()

    def secrets(self) -> Secrets:
        return Secrets((*self.replaced, *added_by_signing(self.own, self.request)))

    def refusal(self) -> ApiError:
        """The error for the reply."""
        error = _refusal(self.request, self.reply, [*self.secrets(), *self.auth.secrets_to_mask()])
        if self.call_again:
            error.kind = "transient"
            error.next_step = "The credential has been renewed: call again, with the body from its beginning."
        return error


def _moved(own: Request, reply: Reply, origin: Origin, secrets: Iterable[str], led_away: bool) -> Request:
    """The request for the target of a redirect. Raises `ConfigError` or `OriginError` if it must not be sent."""
    target = _target(own, reply)
    if target is None:
        raise ConfigError(f"{own.name} redirects to a URL that is not http or https.")
    if (reply.status == 303 and own.method not in _READS) or (reply.status in (301, 302) and own.method is Method.POST):
        moved = Request(Method.GET, str(target), headers=_without_body(own.headers))
    else:
        moved = Request(own.method, str(target), {}, dict(own.headers), own.data, own.data_is_json)
    moved.secrets_to_mask = own.secrets_to_mask
    within = not led_away and origin.admits(moved.url)
    # within the origin the query may contain a credential, but not the path, which messages and logs show
    shown = bare_url(moved.url) if within else moved.url
    why = "with the credential in it" if masked(shown, secrets) != shown else ""
    if not within and moved.method not in _READS:
        why = f"a {moved.method}"
    if not origin.admits(moved.url) and leads_inside(own.url, moved.url):
        why = "into a private network,"
    if why:
        raise OriginError(f"{parsed_url(own.url).origin()} redirects {why} to {target.origin()}; not followed.")
    if not is_repeatable(moved):
        raise ConfigError(
            f"{own.name} redirects, and this body cannot be sent twice.",
            next_step=f"Send it to {printable(bare_url(shown), 200)}, or give a file.",
        )
    return moved


def _target(own: Request, reply: Reply) -> "URL | None":
    """The URL that a redirect names, relative to the whole one of the request (RFC 9110 §10.2.2)."""
    # bytes outside UTF-8, which aiohttp reads as surrogates and then leaves out of a URL
    location = re.sub("[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) & 0xFF:02X}", reply.headers["Location"])
    return whole_url(location, str(parsed_url(own.url).extend_query(own.query_params)))


def _without_body(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if not name.lower().startswith("content-")}


def is_repeatable(request: Request) -> bool:
    """Whether the body can be sent twice: none, JSON, text, bytes, a form, or a `Body` that can be read again."""
    body = request.data
    if isinstance(body, Body):
        return body.again and body.failure is None
    return request.data_is_json or not body or isinstance(body, _SENT_TWICE)


def _refusal(request: Request, reply: Reply, secrets: list[str]) -> ApiError:
    """The error for a refused call; credentials are masked wherever the reply echoes them."""
    reply = reply.without(secrets, _ERROR_TEXT)
    text = reply.text()
    shown = f": {printable(text)}" if text.strip() and not text.lstrip().startswith("<") else ""
    status, wait = reply.status, retry_after(reply.headers)
    return ApiError(
        status,
        text,
        reply,
        message=f"{request.method.value} {reply.url} was answered with HTTP {status}{shown}.",
        next_step=next_step(reply.challenges) or _next_step(status, wait),
        retry_after=wait,
    )


def _next_step(status: int, wait: float | None) -> str:
    if status == 401:
        return f"The credential was refused; grant again: {PROGRAM} grant"
    if status == 403 and wait is None:
        return "This user or client may not do this."
    if status == 404:
        return "Check base_url and the path."
    if status == 429 or wait is not None:
        return f"Wait {wait:g} s, then try again." if wait is not None else "Wait, then try again."
    return "Try again later." if status >= 500 else "Check the request's parameters."
