"""A login whose request is pushed (RFC 9126): the client sends the request, and the browser carries its name alone.

The rule: what is pushed is what the URL of `begin_login` would say, signed where the client signs its requests.
"""

from typing import TYPE_CHECKING, Unpack

from ..errors import clean_traceback
from ..tokens.client_auth import ClientAuth
from ..tokens.scopes import Scopes
from ..web.secret_values import SecretForm, Secrets
from .client import clock
from .login import Login
from .signed_messages import LoginWishes, SignedMessages, begun

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from .pushed_request import PushedRequest

__all__ = ["LoginWishes", "PushedLogin"]


class PushedLogin(SignedMessages):
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

        `wishes` are the arguments of `begin_login`; `client` lends its connections. With `sign_requests` the request is
        a JWT signed by the client's `key` (RFC 9101). Open the login's `url` before `expires_at`. Raises `ConfigError`
        where no endpoint is known, `TokenError` for a refusal, `BadReplyError`, `NetworkError`.
        """
        from .pushed_request import divided, pushed_url, read_pushed_reply

        login = begun(self, redirect_uri, scopes, **wishes)
        auth_uri, form, resources = divided(login.url)
        now = clock(wishes.get("now"))
        if self.sign_requests:
            request = await self._request_object(form, resources, now)
            form, resources = SecretForm(client_id=self.id, request=request), []

        async def push(method: ClientAuth) -> "PushedRequest":
            reply, sent = await self._send(
                "par_uri", form, method, client, now, resources, dpop_key=login.dpop_key
            )
            return read_pushed_reply(reply, Secrets((*sent, login.state)))

        pushed, _ = await self._first_call(push)
        if self.profile is not None:
            from .profile import check_pushed_life

            check_pushed_life(pushed.life)
        url = pushed_url(auth_uri, self.id, pushed.request_uri)
        return login.at(url, pushed.expires_at(now + self.clock_skew))

    async def _new_login(
        self,
        redirect_uri: str,
        scopes: Scopes,
        client: "ClientSession | None" = None,
        **wishes: Unpack[LoginWishes],
    ) -> Login:
        """A login in the way that the provider requires: pushed, signed, or with the whole request in the URL."""
        if self.require_par:
            return await self.push_login(redirect_uri, scopes, client=client, **wishes)
        if self.sign_requests:
            return await self.sign_login(redirect_uri, scopes, **wishes)
        return begun(self, redirect_uri, scopes, **wishes)
