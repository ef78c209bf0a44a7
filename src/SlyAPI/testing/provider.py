"""A strict OAuth 2 provider with a small protected API, on loopback, to practise on and to test against.

The rule: it shares no code with the client, so that a bug in the client cannot be mirrored in its judge.
"""

from __future__ import annotations

import errno
import json
import math
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Unpack

from aiohttp import web

from . import api, metadata
from .clients import registration
from .endpoint import ERRORS, ClientAuth, Consent, Endpoint, Fault, Server, handler_for, reaches
from .features import DEVICE_CODE, Features
from .ledger.grants import Client, Rules, TrustedIssuer, digest
from .ledger.ledger import Ledger, ledger_from_json, ledger_to_json
from .login import authorization, device, logout
from .messages import jose
from .messages.request_reader import checked_redirect_uri
from .tokens import dpop, identity, tokens

Route = tuple[str, str, Endpoint]


def routes_of(server: Server) -> list[Route]:
    """Method, path and endpoint of each."""
    routes: list[Route] = [
        ("GET", "/authorize", authorization.authorize),
        ("POST", "/consent", authorization.answer_consent),
        ("POST", "/par", authorization.push),
        ("POST", "/token", tokens.token),
        ("POST", "/revoke", tokens.revoke),
        ("POST", "/introspect", tokens.introspect),
        ("GET", "/api/forecast", api.forecast),
        ("GET", "/api/notes", api.notes),
        ("POST", "/api/notes", api.add_note),
        ("GET", "/api/archive", api.archive),
        ("GET", "/api/vault", api.vault),
        ("GET", "/api/me", api.me),
    ]
    routes += [("GET", path, metadata.server_metadata) for path in metadata.places(server)]
    routes += [("GET", path, metadata.resource_metadata) for path in metadata.RESOURCE_PLACES]
    if DEVICE_CODE in server.grant_types:
        routes += [
            ("POST", "/device_authorization", device.begin),
            ("GET", "/device", device.show),
            ("POST", "/device", device.answer),
        ]
    if server.registration:
        routes += [
            ("POST", "/register", registration.register),
            ("GET", "/register/{client_id}", registration.read_registration),
            ("PUT", "/register/{client_id}", registration.update_registration),
            ("DELETE", "/register/{client_id}", registration.delete_registration),
        ]
    if server.openid:
        routes += [
            ("GET", "/jwks", identity.publish_keys),
            ("GET", "/userinfo", identity.userinfo),
            ("POST", "/userinfo", identity.userinfo),
            ("GET", "/logout", logout.end_session),
            ("POST", "/logout", logout.end_session),
        ]
    return routes


SCOPES: Mapping[str, str] = {
    "weather.read": "Read the weather forecast",
    "notes": "Read and write your notes",
}
_BODY_LIMIT = 64 * 1024


class PracticeProvider(Server):
    """An authorization server and an API that takes its tokens: `async with provider.running() as origin`.

    - Without a `client_secret` the client is public; `client_metadata` adds what it registered (RFC 7591 §2).
    - A `redirect_uri` must be equal to a registered one; a loopback one registered without a port may have any.
    - Lifetimes and delays are in seconds; `clock` gives seconds since 1970.
    - Within `reuse_leeway` the refresh token rotated last may come back, as at providers that forgive a client which
      died before it saved the new one.
    - `granted_scopes` narrows what the person grants of the requested scopes.
    - Of several `people` each says on the consent page who they are, or the client does by `login_hint`; each has
      notes of their own.
    - `delay_per_page` is how long a page of the archive takes.
    - `features` are those of `SlyAPI.testing.features.FeatureSettings`, all off by default.

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
        client_metadata: Mapping[str, Any] | None = None,
        **features: Unpack[Features],
    ) -> None:
        lifetimes = access_token_lifetime, refresh_token_lifetime, code_lifetime
        super().__init__(
            ledger=Ledger(Rules(*lifetimes, rotation, revoke_old_access_token, reuse_leeway)),
            scopes=dict(scopes),
            client_auth=client_auth,
            consent=consent,
            granted_scopes=granted_scopes,
            clock=clock,
            delay_after_rotation=delay_after_rotation,
            people=tuple(people),
            delay_per_page=delay_per_page,
            **features,
        )
        self._switch_on()
        self.add_client(client_id, client_secret, redirect_uris, name=client_name, **(client_metadata or {}))

    def _switch_on(self) -> None:
        """Make the keys and nonces that the features need; ValueError for settings that do not fit together."""
        if not self.people:
            raise ValueError("people names at least one person")
        if self.openid:
            self.scopes: dict[str, str] = {**identity.SCOPES, **self.scopes}
            self.keys = identity.new_keys(self)
        if self.signed_responses and not self.openid:
            raise ValueError("signed_responses needs openid, whose keys sign them")
        if self.dpop != "off":
            jose.require()
        elif self.dpop_nonces:
            raise ValueError("dpop_nonces needs dpop='allowed' or dpop='required'")
        if self.dpop_nonces:
            self.demand_dpop_nonces()

    def add_client(
        self,
        client_id: str,
        client_secret: str | None,
        redirect_uris: Iterable[str],
        *,
        name: str = "",
        **metadata: Any,
    ) -> None:
        """Register one more app; ValueError for a redirect_uri that is relative or has a fragment.

        `metadata` has the names of RFC 7591 §2, such as `token_endpoint_auth_method`, `jwks`, `grant_types`,
        `id_token_signed_response_alg`, `post_logout_redirect_uris`, `backchannel_logout_uri`; not checked.
        """
        uris = tuple(checked_redirect_uri(uri) for uri in redirect_uris)
        secret_digest = None if client_secret is None else digest(client_secret)
        self.ledger.clients[client_id] = Client(
            client_id, name or client_id, secret_digest, uris, metadata, secret=client_secret or ""
        )

    def trust_issuer(
        self, issuer: str, jwks: Mapping[str, Sequence[Mapping[str, Any]]], subjects: Iterable[str] | None = None
    ) -> None:
        """Accept assertions that this issuer signed with a key of `jwks`, for these subjects (None: for any).

        A client of the method `private_key_jwt` may authenticate by them, where `subjects` names the workload.
        """
        allowed = None if subjects is None else frozenset(subjects)
        self.trusted[issuer] = TrustedIssuer(issuer, tuple(jwks["keys"]), allowed)

    def accept_tokens_of(self, other: PracticeProvider) -> None:
        """Let the API take another provider's access tokens too, as one that changes its authorization server."""
        self.token_issuers.append(other)

    def jwks(self) -> dict[str, Any]:
        """The public keys of the id_tokens, as `/jwks` publishes them."""
        return identity.jwks(self)

    def rotate_keys(self, *, keep_old: bool = True) -> None:
        """Sign with new keys from now on; the old ones stay published unless `keep_old` is False."""
        old = self.keys if keep_old else []
        self.keys: list[jose.SigningKey] = [*identity.new_keys(self), *old]

    def demand_dpop_nonces(self, *places: str) -> None:
        """Demand a new nonce in every DPoP proof at these places, "token" and "api"; without places at both."""
        # one for both: they share an origin, by which a client may remember nonces
        nonce = dpop.new_nonce()
        for place in places or ("token", "api"):
            self.nonces[place] = nonce

    def decide_device(self, user_code: str, *, allow: bool = True, person: str = "") -> None:
        """Answer a device's request for the person; LookupError where no device waits with this code."""
        if not device.decide(self, user_code, allow=allow, person=person):
            raise LookupError(f"no device waits with the code {user_code}")

    def logout_token(self, client_id: str, person: str = "", session_id: str = "", **changes: Any) -> str:
        """A back-channel logout token for a client; `changes` replace claims, None removes one."""
        return identity.logout_token(self, client_id, person or self.people[0], session_id, changes)

    async def sign_out(self, person: str = "") -> list[int]:
        """End all sessions of a person and send the logout tokens; the statuses of the replies, 0 for none."""
        name = person or self.people[0]
        sessions = {
            (grant.client_id, grant.session_id)
            for grant in self.ledger.grants.values()
            if grant.person == name and grant.session_id and not grant.ended
        }
        statuses = [await logout.sign_out(self, client_id, name, session) for client_id, session in sorted(sessions)]
        return [status for status in statuses if status is not None]

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

    def fail_next(
        self,
        endpoint: str,
        status: int = 429,
        *,
        error: str = "",
        retry_after: float | str | None = None,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
    ) -> None:
        """Refuse the next requests to an endpoint: rate limits, outages, `slow_down`, denials.

        `endpoint` is a path without its first slash, such as `token`, `jwks`, `api/notes`, or `api` for all below it;
        `retry_after` is in seconds, or an HTTP date; `headers` may hold a `WWW-Authenticate`. ValueError for an
        endpoint that this provider does not have.
        """
        endpoint = endpoint.strip("/")
        paths = [path.strip("/") for _, path, _ in routes_of(self)]
        if not any(reaches(endpoint, path) for path in paths):
            raise ValueError(f"this provider has no endpoint {endpoint!r}; it has: {', '.join(dict.fromkeys(paths))}")
        sent = dict(headers or {})
        if retry_after is not None:
            sent["Retry-After"] = retry_after if isinstance(retry_after, str) else str(math.ceil(retry_after))
        error = error or ERRORS.get(status, "invalid_request")
        self.faults.append(Fault(endpoint, status, error, sent, times))

    def revoke_access_tokens(self) -> None:
        """End every access token before its time; the refresh tokens live on."""
        self.ledger.end_access_tokens()

    def expire_access_tokens(self) -> None:
        """Let every access token expire now; the refresh tokens live on."""
        self.ledger.expire(self.clock(), refresh_tokens=False)

    def expire_refresh_tokens(self) -> None:
        """Let every refresh token expire now; the access tokens live on."""
        self.ledger.expire(self.clock(), refresh_tokens=True)

    def spend_refresh_tokens(self) -> None:
        """Let every refresh token count as used: the next refresh with one is a reuse, and ends its grant."""
        self.ledger.spend_refresh_tokens(self.clock())

    def end_all_grants(self) -> None:
        """End every grant: none of their tokens is accepted any more."""
        self.ledger.end_grants()

    def to_json(self) -> dict[str, Any]:
        """What to keep over a restart, as plain JSON; of tokens and secrets it holds digests only."""
        return {
            "practice_provider": 1,
            "client_auth": self.client_auth,
            "scopes": self.scopes,
            "people": self.people,
            "notes": self.notes,
            **ledger_to_json(self.ledger),
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
        **features: Unpack[Features],
    ) -> PracticeProvider:
        """The provider that `to_json` saved; ValueError for anything else."""
        provider = cls(
            consent=consent,
            granted_scopes=granted_scopes,
            clock=clock,
            delay_after_rotation=delay_after_rotation,
            **features,
        )
        try:
            if saved["practice_provider"] != 1:
                raise KeyError("practice_provider")
            provider.client_auth = saved["client_auth"]
            provider.scopes = {**(identity.SCOPES if provider.openid else {}), **saved["scopes"]}
            provider.people = tuple(saved["people"])
            provider.notes = {person: list(notes) for person, notes in saved["notes"].items()}
            provider.ledger = ledger_from_json(saved)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError("this is not what PracticeProvider.to_json gave") from error
        return provider

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncGenerator[str, None]:
        """Listen on 127.0.0.1 (port 0: any free one) and give the origin, `http://127.0.0.1:PORT`."""
        if self.listening_at is not None:
            raise RuntimeError("this practice provider runs already")
        application = web.Application(client_max_size=_BODY_LIMIT)
        for method, path, endpoint in routes_of(self):
            # not add_get, which takes HEAD as well: a HEAD must not hand out a code
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


_MISSING = "Run this in the folder that python -m SlyAPI demo makes. There is no practice provider here"


@asynccontextmanager
async def kept_provider(path: str | os.PathLike[str], **settings: Any) -> AsyncGenerator[PracticeProvider, None]:
    """The provider whose state `keep` put into the file at `path`, running where it ran; saved again at the end.

    `settings` are those of `PracticeProvider.from_json`. Raises FileNotFoundError, ValueError for another file, OSError
    where the port is taken.
    """
    try:
        with open(path, encoding="utf-8") as file:
            saved = json.load(file)
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, _MISSING, os.fspath(path)) from None
    provider = PracticeProvider.from_json(saved["provider"], **settings)
    async with provider.running(saved["port"]):
        try:
            yield provider
        finally:
            keep(provider, path)


def keep(provider: PracticeProvider, path: str | os.PathLike[str]) -> None:
    """Puts a running provider's state and port into a file, for `kept_provider`."""
    port = int((provider.listening_at or "").rpartition(":")[2])
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"port": port, "provider": provider.to_json()}, file)
