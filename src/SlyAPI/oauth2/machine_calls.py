"""Calls for tokens without a person: a program's own, one for another token, one for an assertion; and introspection.

The rule: each is a form, the round trip of `Client`, and a reader.
"""

from typing import TYPE_CHECKING

from ..errors import clean_traceback
from ..tokens.client_auth import ClientAuth
from .client import Client
from .introspection import TokenInfo, introspection_form, read_introspection_reply

if TYPE_CHECKING:
    from aiohttp import ClientSession


class MachineCalls(Client):
    """Introspection (RFC 7662)."""

    @clean_traceback
    async def introspect(self, token: str, *, client: "ClientSession | None" = None) -> TokenInfo:
        """What the provider knows of a token (RFC 7662). Raises `ConfigError`, `TokenError`, `BadReplyError`."""
        form = introspection_form(token)

        async def ask(method: ClientAuth) -> TokenInfo:
            reply, sent = await self._send("introspect_uri", form, method, client, None)
            return read_introspection_reply(reply, sent)

        return (await self._first_call(ask))[0]
