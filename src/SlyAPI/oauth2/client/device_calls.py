"""The device flow (RFC 8628): the person consents on another device while the program asks from time to time.

The rule: waits before each question, and one deadline ends it all. `device` is imported where it is used, so that a
program without devices does not pay for it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from ...errors import BadReplyError, NetworkError, TokenError, clean_traceback
from ...tokens.client_auth import ClientAuth
from ...tokens.scopes import Scopes, split_scopes
from ...tokens.user import OAuth2User
from ..messages.resource import Details, Resource, with_details
from ..messages.token_request import with_params
from .client import clock
from .identity_calls import IdentityCalls

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from ..messages.device import DeviceLogin


class DeviceCalls(IdentityCalls):
    """The two calls of the device flow."""

    @clean_traceback
    async def begin_device(
        self,
        scopes: Scopes = (),
        *,
        resource: Resource | None = None,
        authorization_details: Details | None = None,
        client: "ClientSession | None" = None,
        now: float | None = None,
    ) -> "DeviceLogin":
        """Begins a login on another device: show its `user_code` and `verification_uri`, then `finish_device`.

        `authorization_details` are those of RFC 9396. `client` lends its connections, `now` is in epoch seconds. Raises
        `ConfigError` where no device endpoint is
        known, `TokenError`, `BadReplyError`, `NetworkError`.
        """
        from ..messages.device import device_form, read_device_reply

        if self.profile is not None:
            from .profile import other_login

            raise other_login()
        own = None if resource is None else tuple(self._resources(resource))
        wanted = scopes if isinstance(scopes, str) else list(scopes)
        form = with_params(device_form(self._scope_parameter(wanted)), with_details(None, authorization_details))

        async def ask(method: ClientAuth) -> "DeviceLogin":
            reply, sent = await self._send("device_uri", form, method, client, now, self._resources(own))
            return read_device_reply(
                reply,
                now=clock(now),
                scopes=split_scopes(wanted),
                resource=own,
                secrets=sent,
                allow_http=self.allow_http,
            )

        return (await self._first_call(ask))[0]

    @clean_traceback
    async def finish_device(
        self,
        device: "DeviceLogin",
        *,
        resource: Resource | None = None,
        token_params: Mapping[str, str | None] | None = None,
        client: "ClientSession | None" = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> OAuth2User:
        """The user, as soon as the person has consented.

        `clock` gives epoch seconds. Raises `DeniedError` where the person declined, `LoginEndedError` where the code
        ran out, and what else the token endpoint refuses for.
        """
        from ..messages.device import after_refusal, ended

        end, wait = device.expires_at.timestamp(), device.interval
        while True:
            await sleep(max(0.0, min(wait, end - clock())))
            if clock() >= end:
                raise ended()
            try:
                return await self._poll(device, resource, token_params, client, clock())
            except (TokenError, NetworkError, BadReplyError) as error:
                device, wait = after_refusal(device, error, wait)

    async def _poll(
        self,
        device: "DeviceLogin",
        resource: Resource | None,
        token_params: Mapping[str, str | None] | None,
        client: "ClientSession | None",
        now: float,
    ) -> OAuth2User:
        from ..messages.device import poll_form, refuses_client

        own = device.resource if resource is None else resource
        resources = self._resources(own)
        requested = self.all_scopes(list(device.scopes))
        form = poll_form(device)
        user, user_auth = await self._first_call(
            lambda method: self._token_call(
                form, method, client, now, resources=resources, requested=requested, token_params=token_params
            ),
            refuses_client,
        )
        user.client_auth = user_auth
        if own is not None:
            user.extra = {**(user.extra or {}), "resource": resources}
        return user
