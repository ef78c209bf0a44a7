"""What all endpoints of one provider share: its state, its settings, its log.

The rule: no IO here; an endpoint is a function of server, request and log entry.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Literal

from aiohttp import web

from .features import FeatureSettings
from .ledger.grants import AuthorizationRequest, Device, Refused, TrustedIssuer
from .ledger.ledger import Ledger
from .messages.jose import SigningKey

ERRORS = {429: "temporarily_unavailable", 500: "server_error", 503: "temporarily_unavailable"}


@dataclass
class Fault:
    """A refusal for the next `times` requests to an endpoint, or to one below it (`api` is for all of the API)."""

    endpoint: str
    status: int
    error: str
    headers: dict[str, str]
    times: int
    fired: bool = False


def reaches(planned: str, endpoint: str) -> bool:
    """Whether a fault at `planned` is for this endpoint: the same path, or one above it; `{name}` is any segment."""
    wanted, path = planned.split("/"), endpoint.split("/")
    return len(wanted) <= len(path) and all(
        one == other or other.startswith("{") for one, other in zip(wanted, path, strict=False)
    )


def take(faults: list[Fault], endpoint: str) -> None:
    """Refuse this request if a fault is planned for it; the first one planned counts."""
    for planned in faults:
        if reaches(planned.endpoint, endpoint):
            planned.fired = True
            planned.times -= 1
            if planned.times <= 0:
                faults.remove(planned)
            refused = Refused(planned.error, "a test asked for this failure", planned.status)
            refused.headers.update(planned.headers)
            raise refused


ClientAuth = Literal["any", "basic", "post"]
Consent = Literal["ask", "allow", "deny"]
Waiting = dict[str, tuple[AuthorizationRequest, float]]
"""Requests by the digest of their name, and until when they are good, in epoch seconds."""


@dataclass
class Seen:
    """One request as an endpoint saw it, for tests to look at.

    `outcome` is "ok", "asked" (a page with a question was shown) or the error code; `client_auth` is "basic", "post",
    "client_secret_jwt", "private_key_jwt", "none", or empty where no client authenticates.
    """

    endpoint: str
    method: str
    parameters: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    client_auth: str = ""
    status: int = 0
    outcome: str = "ok"


@dataclass(kw_only=True, eq=False)
class Server(FeatureSettings):
    """The state and the settings of one provider; the settings may change while it runs."""

    ledger: Ledger = field(repr=False)
    scopes: dict[str, str]
    client_auth: ClientAuth
    consent: Consent
    granted_scopes: Callable[[tuple[str, ...]], Iterable[str]] | None
    clock: Callable[[], float]
    delay_after_rotation: float
    people: tuple[str, ...] = ("Robin Practice",)
    delay_per_page: float = 0.0
    notes: dict[str, list[str]] = field(default_factory=dict[str, list[str]], init=False)
    log: list[Seen] = field(default_factory=list[Seen], init=False, repr=False)
    tickets: Waiting = field(default_factory=Waiting, init=False, repr=False)
    pushed: Waiting = field(default_factory=Waiting, init=False, repr=False)
    devices: dict[str, Device] = field(default_factory=dict[str, Device], init=False, repr=False)
    trusted: dict[str, TrustedIssuer] = field(default_factory=dict[str, TrustedIssuer], init=False, repr=False)
    keys: list[SigningKey] = field(default_factory=list[SigningKey], init=False, repr=False)
    nonces: dict[str, str] = field(default_factory=dict[str, str], init=False, repr=False)
    used: dict[str, float] = field(default_factory=dict[str, float], init=False, repr=False)
    faults: list[Fault] = field(default_factory=list[Fault], init=False, repr=False)
    token_issuers: list[Server] = field(default_factory=list["Server"], init=False, repr=False)
    listening_at: str | None = field(default=None, init=False)

    @property
    def origin(self) -> str:
        """Where the provider listens; RuntimeError while it does not run."""
        if self.listening_at is None:
            raise RuntimeError("the practice provider is not running: async with provider.running(): ...")
        return self.listening_at

    @property
    def issuer(self) -> str:
        """The issuer's identifier: the origin and `issuer_path`."""
        return self.origin + self.issuer_path

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

    @property
    def response_modes(self) -> tuple[str, ...]:
        """The accepted values of `response_mode`, the usual one first."""
        return ("query", "jwt", "query.jwt") if self.signed_responses else ("query",)

    def first_use(self, name: str, until: float) -> bool:
        """Whether this name (of a `jti`) was not seen before; it is remembered until then, in epoch seconds."""
        now = self.clock()
        self.used = {known: ends for known, ends in self.used.items() if ends > now}
        if name in self.used:
            return False
        self.used[name] = until
        return True


Endpoint = Callable[[Server, web.Request, Seen], Awaitable[web.Response]]


def handler_for(server: Server, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The endpoint as a handler of aiohttp: logged, guarded, its refusals sent as JSON."""

    async def handler(request: web.Request) -> web.Response:
        seen = Seen(request.path.strip("/"), request.method)
        server.log.append(seen)
        try:
            # a name that an attacker points at 127.0.0.1 must not reach us (DNS rebinding)
            if request.headers.getall("Host", []) != [server.origin.removeprefix("http://")]:
                raise Refused("wrong_host", f"this provider is {server.origin}", 421)
            take(server.faults, seen.endpoint)
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
        if "Cache-Control" not in response.headers:
            # RFC 6749 §5.1: what holds tokens is never cached
            response.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache"})
        response.headers["X-Content-Type-Options"] = "nosniff"
        nonce = server.nonces.get(nonce_place(seen.endpoint))
        if nonce is not None:
            response.headers["DPoP-Nonce"] = nonce
        return response

    return handler


def nonce_place(endpoint: str) -> str:
    """Which server's nonces an endpoint uses: "api" or "token" (RFC 9449 §8 and §9)."""
    return "api" if endpoint.partition("/")[0] in ("api", "userinfo") else "token"
