"""What all endpoints of one provider share: its memory, its settings, its log.

The rule: no IO here; an endpoint is a function of server, request and what was seen of it.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Literal

from aiohttp import web

from .grants import AuthorizationRequest, Refused
from .ledger import Ledger

ClientAuth = Literal["any", "basic", "post"]
Consent = Literal["ask", "allow", "deny"]


@dataclass
class Seen:
    """One request as an endpoint saw it, for tests to look at.

    `outcome` is "ok", "asked" (the consent page was shown) or the error code; `client_auth` is
    "basic", "post", "none", or empty where no client had to say who it is.
    """

    endpoint: str
    method: str
    parameters: dict[str, str] = field(default_factory=dict, repr=False)
    client_auth: str = ""
    status: int = 0
    outcome: str = "ok"


@dataclass
class Server:
    """The state and the settings of one provider; the settings may be turned while it runs."""

    ledger: Ledger = field(repr=False)
    scopes: dict[str, str]
    client_auth: ClientAuth
    consent: Consent
    granted_scopes: Callable[[tuple[str, ...]], Iterable[str]] | None
    clock: Callable[[], float]
    delay_after_rotation: float
    people: tuple[str, ...] = ("Robin Practice",)
    delay_per_page: float = 0.0
    notes: dict[str, list[str]] = field(default_factory=dict, init=False)
    log: list[Seen] = field(default_factory=list, init=False, repr=False)
    tickets: dict[str, tuple[AuthorizationRequest, float]] = field(
        default_factory=dict, init=False, repr=False
    )
    listening_at: str | None = field(default=None, init=False)

    @property
    def origin(self) -> str:
        """Where the provider listens, which is its issuer too; RuntimeError while it does not run."""
        if self.listening_at is None:
            raise RuntimeError("the practice provider is not running: async with provider.running(): ...")
        return self.listening_at

    @property
    def authorize_url(self) -> str:
        """The authorization endpoint."""
        return f"{self.origin}/authorize"

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"{self.origin}/token"

    @property
    def revoke_url(self) -> str:
        """The revocation endpoint."""
        return f"{self.origin}/revoke"

    @property
    def api_url(self) -> str:
        """The root of the protected API, without a slash at its end."""
        return f"{self.origin}/api"


Endpoint = Callable[[Server, web.Request, Seen], Awaitable[web.Response]]


def handler_for(server: Server, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The endpoint as a handler of aiohttp: logged, guarded, what it refuses answered as JSON."""

    async def handler(request: web.Request) -> web.Response:
        seen = Seen(request.path.strip("/"), request.method)
        server.log.append(seen)
        try:
            # a name that an attacker points at 127.0.0.1 must not reach us (DNS rebinding)
            if request.headers.getall("Host", []) != [server.origin.removeprefix("http://")]:
                raise Refused("wrong_host", f"this provider is {server.origin}", 421)
            response = await endpoint(server, request, seen)
        except Refused as refused:
            seen.outcome = refused.error
            response = web.json_response(
                {"error": refused.error, "error_description": refused.description},
                status=refused.status,
                headers=refused.headers,
            )
        seen.status = response.status
        response.headers["Date"] = formatdate(server.clock(), usegmt=True)
        # RFC 6749 §5.1: what holds tokens is never cached
        response.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache"})
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return handler
