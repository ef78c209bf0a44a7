"""Pushed authorization requests (RFC 9126): the client sends the request, and the browser carries its name alone.

The rule: what is pushed is what the URL of `begin_login` would say.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ..errors import BadReplyError, ConfigError, clean_traceback
from ..tokens.client_auth import ClientAuth
from ..tokens.scopes import Scopes
from ..tokens.times import from_epoch, seconds
from ..web.messages import Reply
from ..web.secret_values import SecretForm, Secrets
from ..web.urls import bare_url
from .client import Client, clock
from .login import Login
from .resource import Resource
from .token_endpoint import is_error, read_answer, refusal

if TYPE_CHECKING:
    from aiohttp import ClientSession


class LoginWishes(TypedDict, total=False):
    """What `begin_login` takes by name."""

    prompt: Scopes | None
    login_hint: str | None
    max_age: int | None
    acr_values: Scopes | None
    auth_params: Mapping[str, str | None] | None
    resource: Resource | None
    now: float | None


class _Begins(Protocol):
    def _begun(self, redirect_uri: str, scopes: Scopes, **wishes: Unpack[LoginWishes]) -> Login: ...


class PushedLogin(Client):
    """A login whose request is pushed."""

    @clean_traceback
    async def push_login(
        self,
        redirect_uri: str,
        scopes: Scopes,
        *,
        client: "ClientSession | None" = None,
        **wishes: Unpack[LoginWishes],
    ) -> Login:
        """Begins a login as `begin_login` does, with a request that the provider takes from us (RFC 9126).

        `wishes` are the arguments of `begin_login`; `client` lends its connections. Open the login's `url` before
        `expires_at`. Raises `ConfigError` where no endpoint is known, `TokenError` for a refusal, `BadReplyError`,
        `NetworkError`.
        """
        login = begun(self, redirect_uri, scopes, **wishes)
        form, resources = pushed_form(login.url, self.auth_uri)
        now = clock(wishes.get("now"))

        async def push(method: ClientAuth) -> tuple[str, datetime | None]:
            reply, sent = await self._send(
                "par_uri", form, method, client, now, resources, dpop_key=login.dpop_key
            )
            return read_pushed_reply(reply, now + self.clock_skew, Secrets((*sent, login.state)))

        (request_uri, expires_at), _ = await self._first_call(push)
        return login.pushed(pushed_url(self.auth_uri, self.id, request_uri), expires_at)


def begun(app: Any, redirect_uri: str, scopes: Scopes, **wishes: Unpack[LoginWishes]) -> Login:
    """The login that `begin_login` would begin."""
    begins: _Begins = app
    return begins._begun(redirect_uri, scopes, **wishes)


def pushed_form(url: str, auth_uri: str) -> tuple[SecretForm, list[str]]:
    """The parameters of an authorization request's URL (RFC 9126 §2.1), and the resources, of which there may be many.

    What is in `auth_uri` itself stays there.
    """
    own = parse_qsl(urlsplit(auth_uri).query, keep_blank_values=True)
    pairs = [pair for pair in parse_qsl(urlsplit(url).query, keep_blank_values=True) if pair not in own]
    form = SecretForm((name, value) for name, value in pairs if name != "resource")
    return form, [value for name, value in pairs if name == "resource"]


def pushed_url(auth_uri: str, client_id: str, request_uri: str) -> str:
    """The address to open (RFC 9126 §4)."""
    parts = urlsplit(auth_uri)
    query = [*parse_qsl(parts.query, keep_blank_values=True), ("client_id", client_id), ("request_uri", request_uri)]
    return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query), ""))


def read_pushed_reply(reply: Reply, now: float, secrets: Secrets) -> tuple[str, datetime | None]:
    """The name of a pushed request, and until when it is good (RFC 9126 §2.2). Raises `TokenError`, `BadReplyError`."""
    where = f"The endpoint {bare_url(reply.url)} for pushed requests"
    answer = read_answer(reply)
    if reply.status >= 300 or is_error(answer):
        raise refusal(reply, answer or {}, where, refreshing=False, secrets=secrets)
    uri = (answer or {}).get("request_uri")
    if not isinstance(uri, str) or not uri or not (uri.isascii() and uri.isprintable()) or " " in uri:
        raise BadReplyError(f"{where} answered without a request_uri.", next_step="Check par_uri in the client file.")
    life = seconds((answer or {}).get("expires_in"))
    return uri, None if life is None else from_epoch(now + life)


def refuse_unpushed() -> ConfigError:
    """The error for a request that has to be pushed."""
    return ConfigError(
        "This provider accepts pushed authorization requests only (RFC 9126).",
        next_step="Use: await app.push_login(...), with the same arguments.",
    )

