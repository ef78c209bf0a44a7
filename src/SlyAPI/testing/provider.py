"""A strict OAuth 2 provider with a small protected API, on loopback, to practise on and to test against.

The rule: it shares no code with the client, so that a bug in the client cannot be mirrored in its judge.
"""
from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from . import api, authorization, tokens
from .endpoint import ClientAuth, Consent, Endpoint, Server, handler_for
from .grants import Client, Rules, digest
from .ledger import Ledger
from .request_reader import checked_redirect_uri

SCOPES: Mapping[str, str] = {
    "weather.read": "Read the weather forecast",
    "notes": "Read and write your notes",
}
_BODY_LIMIT = 64 * 1024
_ENDPOINTS: list[tuple[str, str, Endpoint]] = [
    ("GET", "/authorize", authorization.authorize),
    ("POST", "/consent", authorization.answer_consent),
    ("POST", "/token", tokens.token),
    ("POST", "/revoke", tokens.revoke),
    ("GET", "/.well-known/oauth-authorization-server", tokens.metadata),
    ("GET", "/api/forecast", api.forecast),
    ("GET", "/api/notes", api.notes),
    ("POST", "/api/notes", api.add_note),
    ("GET", "/api/archive", api.archive),
    ("GET", "/api/me", api.me),
]


class PracticeProvider(Server):
    """An authorization server and an API that takes its tokens: `async with provider.running() as origin`.

    Without a `client_secret` the client is public. A `redirect_uri` must be equal to a registered one; a
    loopback one that was registered without a port may have any. Lifetimes and the delay are in seconds,
    `clock` gives seconds since 1970. Within `reuse_leeway` the refresh token rotated last may come back, as at
    providers that forgive a client which died before it saved the new one. `granted_scopes` narrows what the
    person grants of what was asked. Of several `people` each says on the consent page who they are, or the client
    does by `login_hint`; each has notes of their own. `delay_per_page` is how long a page of the archive takes.
    `log` holds what every endpoint saw.
    """

    def __init__(
        self,
        *,
        client_id: str = "practice-client",
        client_secret: str | None = None,
        client_name: str = "",
        redirect_uris: Iterable[str] = ("http://localhost:8080",),
        access_token_lifetime: float = 5.0,
        refresh_token_lifetime: float | None = None,
        code_lifetime: float = 60.0,
        client_auth: ClientAuth = "any",
        rotation: bool = True,
        revoke_old_access_token: bool = False,
        reuse_leeway: float = 0.0,
        consent: Consent = "ask",
        granted_scopes: Callable[[tuple[str, ...]], Iterable[str]] | None = None,
        scopes: Mapping[str, str] = SCOPES,
        clock: Callable[[], float] = time.time,
        delay_after_rotation: float = 0.0,
        people: Iterable[str] = ("Robin Practice",),
        delay_per_page: float = 0.0,
    ) -> None:
        rules = Rules(
            access_token_lifetime,
            refresh_token_lifetime,
            code_lifetime,
            rotation,
            revoke_old_access_token,
            reuse_leeway,
        )
        super().__init__(
            Ledger(rules),
            dict(scopes),
            client_auth,
            consent,
            granted_scopes,
            clock,
            delay_after_rotation,
            tuple(people),
            delay_per_page,
        )
        self.add_client(client_id, client_secret, redirect_uris, name=client_name)

    def add_client(
        self, client_id: str, client_secret: str | None, redirect_uris: Iterable[str], *, name: str = ""
    ) -> None:
        """Register one more app; ValueError for a redirect_uri that is relative or has a fragment."""
        uris = tuple(checked_redirect_uri(uri) for uri in redirect_uris)
        secret_digest = None if client_secret is None else digest(client_secret)
        self.ledger.clients[client_id] = Client(client_id, name or client_id, secret_digest, uris)

    @property
    def exchanges(self) -> int:
        """How many codes became tokens."""
        return self.ledger.exchanges

    @property
    def refreshes(self) -> int:
        """How many refreshes succeeded."""
        return self.ledger.refreshes

    @property
    def reuses(self) -> int:
        """How often a rotated refresh token came back, which each time ended its grant."""
        return self.ledger.reuses

    @property
    def forgiven(self) -> int:
        """How often the refresh token rotated last came back within `reuse_leeway` and was good again."""
        return self.ledger.forgiven

    def revoke_access_tokens(self) -> None:
        """End every access token before its time; the refresh tokens live on."""
        self.ledger.end_access_tokens()

    def end_all_grants(self) -> None:
        """End every grant: no token of theirs is good any more."""
        self.ledger.end_grants()

    def to_json(self) -> dict[str, Any]:
        """What to keep over a restart, as plain JSON; of tokens and secrets it holds digests only."""
        return {
            "practice_provider": 1,
            "client_auth": self.client_auth,
            "scopes": self.scopes,
            "people": self.people,
            "notes": self.notes,
            **self.ledger.to_json(),
        }

    @classmethod
    def from_json(
        cls,
        saved: Mapping[str, Any],
        *,
        consent: Consent = "ask",
        granted_scopes: Callable[[tuple[str, ...]], Iterable[str]] | None = None,
        clock: Callable[[], float] = time.time,
        delay_after_rotation: float = 0.0,
    ) -> PracticeProvider:
        """The provider that `to_json` saved; ValueError for anything else."""
        provider = cls(
            consent=consent,
            granted_scopes=granted_scopes,
            clock=clock,
            delay_after_rotation=delay_after_rotation,
        )
        try:
            if saved["practice_provider"] != 1:
                raise KeyError("practice_provider")
            provider.client_auth = saved["client_auth"]
            provider.scopes = dict(saved["scopes"])
            provider.people = tuple(saved["people"])
            provider.notes = {person: list(notes) for person, notes in saved["notes"].items()}
            provider.ledger = Ledger.from_json(saved)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError("this is not what PracticeProvider.to_json gave") from error
        return provider

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncGenerator[str, None]:
        """Listen on 127.0.0.1 (port 0: any free one) and give the origin, `http://127.0.0.1:PORT`."""
        if self.listening_at is not None:
            raise RuntimeError("this practice provider runs already")
        application = web.Application(client_max_size=_BODY_LIMIT)
        for method, path, endpoint in _ENDPOINTS:
            # add_route, for add_get takes HEAD as well, and a HEAD must not hand out a code
            application.router.add_route(method, path, handler_for(self, endpoint))
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            self.listening_at = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self.listening_at
        finally:
            await runner.cleanup()
            self.listening_at = None
