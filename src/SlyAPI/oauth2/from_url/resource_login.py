"""From a resource's URL to a client that may ask for its tokens: what is published, and the client file.

The rule: the one place that does the IO of such a login. The client file is written before anything else is asked,
under a lock, so that processes that begin at once share one registration.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ...errors import ConfigError, CredentialsNotFoundError, printable
from ...json_file import StrPath, write_json_file
from ...stores.contract import lasting_path
from ...stores.file_lock import file_lock
from ...tokens.user import OAuth2User
from ...transport import requests as transport
from ...web.messages import Method, Request
from ...web.secret_values import Secrets
from ...web.urls import check_endpoint
from ..client.app import OAuth2App
from ..client.login import Login
from ..client.metadata_calls import find_issuer_metadata, no_metadata, resource_metadata
from ..messages.protected_resource import ResourceMetadata
from .resource_plan import (
    MADE_FOR,
    Plan,
    Wish,
    challenge_of,
    check_client,
    check_pkce,
    check_resource,
    issuer_for,
    of_document,
    place_in,
    scopes_to_ask,
    undocumented,
    wants_dpop,
)

if TYPE_CHECKING:
    from aiohttp import ClientSession

Consent = Callable[[str], Awaitable[str]]
"""Shows a person the page at a URL, and gives the URL to which the server then redirected."""
Ask = Callable[[Login], Awaitable[str]]
"""Shows a person a login's page, and gives the URL to which the server then redirected."""


@dataclass
class ResourceLogin:
    """How to log in for the resource at `url`, and the client that does, once there is one.

    `app` is the client in use, without an id until there is one; `app_path` is its file, None where the program gave
    an object.
    """

    url: str
    app: OAuth2App
    app_path: str | None
    scopes: list[str] = field(default_factory=list)
    client_name: str = "SlyAPI"
    client_metadata_url: str | None = None
    clock: Callable[[], float] = time.time

    @classmethod
    def of(cls, url: str, app: OAuth2App | StrPath) -> "ResourceLogin":
        """Reads the client, if there is one. Raises `ConfigError`, `CredentialsError`."""
        check_endpoint(url, "The resource's URL")
        if isinstance(app, OAuth2App):
            return cls(url, app, None)
        login = cls(url, OAuth2App("", None, "", ""), lasting_path(app))
        login.read_client()
        return login

    def read_client(self) -> None:
        """Takes over the client that is in the file, which another process may have made."""
        if self.app_path is not None:
            try:
                app = OAuth2App.from_json_file(self.app_path)
            except CredentialsNotFoundError:
                return
            if app != self.app:
                self.app = app

    async def first_refusal(self) -> Wish:
        """What the resource answers to a request without a token. Raises `NetworkError`."""
        reply = await transport.send(Request(Method.GET, self.url))
        return Wish(challenge_of(reply.challenges), Secrets())

    async def metadata(self, wish: Wish, client: "ClientSession | None") -> ResourceMetadata | None:
        """What the resource publishes (RFC 9728); None where it publishes nothing."""
        return await resource_metadata(self.url, client, named=place_in(wish.challenge))

    async def plan(self, wish: Wish, user: OAuth2User | None, client: "ClientSession | None") -> Plan:
        """What a login asks for. Raises `ConfigError` and `BadReplyError` for what does not fit, `NetworkError`."""
        found = await self.metadata(wish, client)
        issuer = issuer_for(self.url, found, self.app.issuer)
        server = await find_issuer_metadata(issuer, client)
        if server is not None:
            check_pkce(server)
        elif found is not None and found.issuers:
            raise no_metadata(issuer)
        else:
            server = undocumented(issuer)
        scopes = scopes_to_ask(self.scopes, wish, found, server, user)
        return Plan(check_resource(found, self.url), server, scopes, wants_dpop(wish.challenge, found))

    async def client_for(
        self, plan: Plan, redirect_uri: str, client: "ClientSession | None", *, unusable: str | None = None
    ) -> OAuth2App:
        """The client at the plan's server: the one in the file, else a document's, else a new registration, saved.

        `unusable`: the id of a client that is made anew, if it was made here.
        Raises `ConfigError` where there is no way to become one, `SaveError`, and what `OAuth2App.register` raises.
        """
        async with self._lock():
            self.read_client()
            if not check_client(self.app, plan) or (self.app.id == unusable and self.is_made_here):
                made = await self._made(plan, redirect_uri, client)
                self.app = replace(made, scopes=[], resource=plan.resource, extra={**made.extra, MADE_FOR: self.url})
                self._write()
            if plan.dpop and not self.app.dpop:
                self.app = replace(self.app, dpop=True)
                self._write()
        return self.app

    @property
    def is_made_here(self) -> bool:
        """Whether the client may be made anew: no person registered it."""
        return MADE_FOR in self.app.extra

    def _write(self) -> None:
        if self.app_path is not None:
            write_json_file(self.app_path, self.app.to_dict())

    async def _made(self, plan: Plan, redirect_uri: str, client: "ClientSession | None") -> OAuth2App:
        if self.client_metadata_url and plan.server.get("client_id_metadata_document_supported") is True:
            return of_document(plan, self.client_metadata_url, redirect_uri)
        if "registration_endpoint" in plan.server:
            # without scopes: those of the first challenge would forbid a later step-up
            return await OAuth2App._register_at(
                plan.server, client_name=self.client_name, redirect_uris=[redirect_uri], client=client
            )
        raise ConfigError(
            f"{printable(plan.issuer, 100)} registers no clients by itself.",
            next_step="Register a client in its console, and put it into the client file.",
        )

    @asynccontextmanager
    async def _lock(self) -> AsyncGenerator[None, None]:
        if self.app_path is None:
            yield
        else:
            async with file_lock(self.app_path):
                yield

    async def log_in(
        self,
        wish: Wish,
        user: OAuth2User | None,
        redirect_uri: str,
        ask: Ask,
        client: "ClientSession | None",
        *,
        unusable: str | None = None,
    ) -> OAuth2User:
        """The user who consented; `unusable` as for `client_for`. Raises what the steps raise, and `RedirectError`."""
        plan = await self.plan(wish, user, client)
        app = await self.client_for(plan, redirect_uri, client, unusable=unusable)
        login = await app._new_login(redirect_uri, plan.scopes, client, resource=plan.resource, now=self.clock())
        redirect = await ask(login)
        return await app.finish_login(login, redirect, client, now=self.clock())
