"""What a client is at one provider, how it authenticates, and the one round trip to its token endpoint.

The rule: every grant is a form (`x_form`), this round trip, and a reader; other files add the grants.
"""

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ...errors import ConfigError, CredentialsError, RequestTimeoutError, TokenError, clean_traceback
from ...json_file import StrPath, display_path, read_json_file
from ...tokens.client_auth import BY_ASSERTION, ClientAuth
from ...tokens.scopes import Scopes, join_scopes, split_scopes
from ...tokens.user import OAuth2User
from ...transport import requests as transport
from ...web.messages import NOTICEABLE_SKEW, Reply, Request, skew
from ...web.next_steps import PROGRAM
from ...web.secret_values import SecretForm, SecretJson, Secrets
from ...web.urls import check_endpoint
from ..messages.dpop import Nonces, choose_algorithm, dpop_proof, proof_error
from ..messages.resource import Resource, resources_of
from ..messages.token_endpoint import refuses_client_auth
from ..messages.token_request import basic_of, token_request
from .client_file import ENDPOINTS, OWN_KEYS, client_members, path_beside, read_members, saved_setting
from .issuer_keys import IssuerKeys
from .login import FinishedLogins
from .providers import UNKNOWN, Provider, provider_of
from .request_slots import TOKEN_REQUESTS, RequestSlots, Slot

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from ...sources import Source
    from ...transport.certificates import Certificate
    from ..messages.jose import KeyLike, SigningKey

T = TypeVar("T")
OnRefresh = Callable[[OAuth2User], Awaitable[None] | None]
"""Called with a user's new tokens after they were saved."""


@dataclass
class Client:
    """The fields of `OAuth2App`, whose docstring explains them, and the round trip that all grants share."""

    id: str
    secret: str | None = None
    auth_uri: str = ""
    token_uri: str = ""
    on_refresh: OnRefresh | None = field(default=None, compare=False)
    auth_params: Mapping[str, str | None] = field(default_factory=dict, kw_only=True)
    token_params: Mapping[str, str | None] = field(default_factory=dict, kw_only=True)
    client_auth: ClientAuth | None = field(default=None, kw_only=True)
    pkce: bool | None = field(default=None, kw_only=True)
    redirect_uri: str | None = field(default=None, kw_only=True)
    scopes: list[str] = field(default_factory=list, kw_only=True)
    issuer: str | None = field(default=None, kw_only=True)
    iss_in_redirect: bool = field(default=False, kw_only=True)
    response_mode: str | None = field(default=None, kw_only=True)
    response_alg: str | list[str] | None = field(default=None, kw_only=True)
    resource: Resource | None = field(default=None, kw_only=True)
    revoke_uri: str | None = field(default=None, kw_only=True)
    introspect_uri: str | None = field(default=None, kw_only=True)
    device_uri: str | None = field(default=None, kw_only=True)
    par_uri: str | None = field(default=None, kw_only=True)
    register_uri: str | None = field(default=None, kw_only=True)
    userinfo_uri: str | None = field(default=None, kw_only=True)
    jwks_uri: str | None = field(default=None, kw_only=True)
    logout_uri: str | None = field(default=None, kw_only=True)
    mtls_aliases: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    key: "KeyLike | None" = field(default=None, kw_only=True)
    key_id: str | None = field(default=None, kw_only=True)
    key_alg: str | None = field(default=None, kw_only=True)
    certificate: "Certificate | None" = field(default=None, kw_only=True)
    assertion_audience: str | None = field(default=None, kw_only=True)
    client_assertion: "Source | Mapping[str, Any] | None" = field(default=None, kw_only=True)
    client_assertion_type: str | None = field(default=None, kw_only=True)
    registration_access_token: str | None = field(default=None, kw_only=True)
    registration_client_uri: str | None = field(default=None, kw_only=True)
    pkce_offered: bool | None = field(default=None, kw_only=True)
    require_par: bool = field(default=False, kw_only=True)
    sign_requests: bool = field(default=False, kw_only=True)
    id_token_alg: str | list[str] | None = field(default=None, kw_only=True)
    dpop_algs: list[str] | None = field(default=None, kw_only=True)
    dpop: bool = field(default=False, kw_only=True)
    profile: str | None = field(default=None, kw_only=True)
    allow_http: bool = field(default=False, kw_only=True)
    clock_skew: float = field(default=0.0, init=False, compare=False)
    token_timeout: float = field(default=transport.TOKEN_TIMEOUT, kw_only=True)
    token_requests: int = field(default=TOKEN_REQUESTS, kw_only=True)
    leeway: float = field(default=30.0, kw_only=True)
    save_timeout: float = field(default=20.0, kw_only=True)
    extra: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    _finished: FinishedLogins = field(default_factory=FinishedLogins, init=False, repr=False, compare=False)
    _slots: RequestSlots = field(default_factory=RequestSlots, init=False, repr=False, compare=False)
    _nonces: Nonces = field(default_factory=Nonces, init=False, repr=False, compare=False)
    _issuer_keys: IssuerKeys = field(default_factory=IssuerKeys, init=False, repr=False, compare=False)
    _used: FinishedLogins = field(default_factory=FinishedLogins, init=False, repr=False, compare=False)
    _path: StrPath | None = field(default=None, init=False, repr=False, compare=False)
    """The client file, for messages."""
    _found_auth: ClientAuth | None = field(default=None, init=False, repr=False, compare=False)
    """The method that the token endpoint accepted, where the client does not name one."""

    def __post_init__(self) -> None:
        check_leeway(self.leeway)
        if self.response_mode is not None:
            from ..messages.signed_response import check_response_mode

            check_response_mode(self.response_mode)
        if self.profile is not None:
            self.require_par, self.iss_in_redirect = bool(self.auth_uri), True

    def __repr__(self) -> str:
        secret = "***" if self.secret else None
        return f"OAuth2App({self.id!r}, {secret!r}, {self.auth_uri!r}, {self.token_uri!r})"

    @classmethod
    @clean_traceback
    def from_json_file(cls, path: StrPath, on_refresh: OnRefresh | None = None) -> Self:
        """The client in a file: our format, Google's download, or RFC 7591 names.

        Relative paths of `key`, `certificate` and `client_assertion` count from the file's folder. Raises
        `CredentialsNotFoundError`, or `CredentialsError` naming what the file is instead.
        """
        if not isinstance(path, str | os.PathLike):
            raise ConfigError("A client file is a path.", next_step="For its content: OAuth2App.from_json_obj(content)")
        found = read_json_file(path, made_with=f"{PROGRAM} scaffold", is_client=True)
        app = cls.from_json_obj(found, on_refresh, name=display_path(path))
        app._path = path
        for name in ("key", "certificate", "client_assertion"):
            setattr(app, name, path_beside(path, getattr(app, name)))
        return app

    @classmethod
    @clean_traceback
    def from_json_obj(cls, obj: Any, on_refresh: OnRefresh | None = None, *, name: str = "The client JSON") -> Self:
        """The client in a JSON object of one of those formats; `name` is for messages. Raises `CredentialsError`."""
        try:
            return cls(on_refresh=on_refresh, **read_members(client_members(obj, name)))
        except CredentialsError:
            raise
        except ConfigError as error:
            raise CredentialsError(f"{name} cannot be used: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """The file format: `{id, secret, auth_uri, token_uri}`, and further keys that were set.

        A `key` or `certificate` that is a path is written as a path. Key text and callables stay out; a warning in
        the log says so.
        """
        saved: dict[str, Any] = SecretJson(id=self.id, secret=self.secret or "")
        saved |= {"auth_uri": self.auth_uri, "token_uri": self.token_uri}
        more = SecretJson((key, saved_setting(key, getattr(self, key))) for key in OWN_KEYS[4:])
        answers = ("pkce", "pkce_offered")  # where False differs from an absent one
        saved |= {key: value for key, value in more.items() if value or (value is False and key in answers)}
        saved |= self.extra
        return saved

    @property
    def _facts(self) -> Provider:
        return self.provider or UNKNOWN

    @property
    def _redirect_issuer(self) -> str | None:
        """The issuer that a redirect's `iss` must name (RFC 9207)."""
        return self.issuer or self._facts.issuer

    @property
    def provider(self) -> Provider | None:
        """The provider in the table, if it is there."""
        return provider_of(self.token_uri, self.auth_uri)

    def all_scopes(self, scopes: Scopes) -> list[str]:
        """The scopes of a grant: those given, the client's own, and those that the provider's refresh tokens need."""
        return split_scopes([*split_scopes(scopes), *self.scopes, *self._facts.scopes])

    def _scope_parameter(self, scopes: Scopes) -> str:
        wanted = self.all_scopes(scopes)
        unchanged = isinstance(scopes, str) and wanted == split_scopes(scopes)
        return join_scopes(scopes if unchanged else wanted, self._facts.delimiter)

    def _client_auth_for(self, user: OAuth2User) -> ClientAuth:
        """The one method for a user's tokens: the client's, the grant's, or the provider's."""
        # 0.6 sent the secret in the form; a user file without a method is from such a grant
        ours = self.client_auth if self.client_assertion is None else self._known_client_auth()
        return ours or user.client_auth or self._known_client_auth() or "post"

    def _known_client_auth(self) -> ClientAuth | None:
        if self.client_assertion is not None:
            from ..messages.client_assertion import check_client_assertion  # few need it

            check_client_assertion(self.client_assertion, self.client_assertion_type, self.secret, self.key)
            return "private_key_jwt"
        if self.client_auth is not None:
            return self.client_auth
        if self.key is not None:
            return "private_key_jwt"
        if self.secret:
            return self._facts.client_auth if self.provider else None
        return "tls_client_auth" if self.certificate is not None else self._facts.public_auth

    async def _first_call(
        self,
        call: Callable[[ClientAuth], Awaitable[T]],
        may_repeat: Callable[[TokenError], bool] = refuses_client_auth,
    ) -> tuple[T, ClientAuth | None]:
        """The result, and the method to remember; where none is known, Basic is tried first, then the form."""
        known = self._known_client_auth()
        if known is not None:
            return await call(known), None
        first: ClientAuth = self._found_auth or "basic"
        try:
            result = await call(first)
        except TokenError as error:
            if not may_repeat(error):
                raise
            first = "post" if first == "basic" else "basic"
            result = await call(first)
        self._found_auth = first  # for this process; a user's tokens remember it across restarts
        return result, first

    async def _send(
        self,
        endpoint: str,
        form: SecretForm,
        method: ClientAuth,
        client: "ClientSession | None",
        now: float | None,
        resources: Sequence[str] = (),
        *,
        dpop_key: SecretJson | None = None,
    ) -> tuple[Reply, Secrets]:
        """The reply of the endpoint (`token_uri`, `revoke_uri`, ...) to a form, and what no message may repeat.

        All requests with the client's authentication go this way. One with a proof is repeated once where the server
        refuses the proof and its clock turns out to be another than ours, and once where it wants its nonce.
        """
        if self.profile is not None:
            from .profile import check_profile

            check_profile(self)
        key = None
        if dpop_key is not None:
            from ..messages.jose import load_signing_key  # few need it

            key = load_signing_key(dpop_key)

        async def once() -> tuple[Reply, Secrets]:
            uri, fields = self._endpoint(endpoint), form
            if method in BY_ASSERTION:
                fields = SecretForm(form | await self._assertion(method, clock(now) + self.clock_skew))
            request = token_request(uri, fields, method, self.id, self.secret or "", resources=resources)
            request.certificate = self.certificate
            if key is not None:
                request.headers["DPoP"] = await self._proof(key, request, clock(now))
            reply = await self._round_trip(request, client, clock(now))
            return reply, fields.secrets((self.secret or "", basic_of(request)))

        known = self.clock_skew
        reply, sent = await once()
        if key is None:
            return reply, sent
        if proof_error(reply) == "invalid_dpop_proof" and abs(self.clock_skew - known) >= NOTICEABLE_SKEW:
            self._nonces.take(reply.url, reply.headers)
            reply, sent = await once()
        if self._nonces.take(reply.url, reply.headers) and proof_error(reply) == "use_dpop_nonce":
            reply, sent = await once()
            self._nonces.take(reply.url, reply.headers)
        return reply, sent

    async def _proof(self, key: "SigningKey", request: Request, now: float, access_token: str | None = None) -> str:
        """The `DPoP` header of a request, dated by the provider's clock."""
        nonce = self._nonces.of(request.url)
        return await dpop_proof(
            key, request.method.value, request.url, now=now + self.clock_skew, nonce=nonce, access_token=access_token
        )

    def _new_dpop_key(self) -> SecretJson:
        """A key for one user's tokens. Raises `ConfigError` where the provider takes none of ours."""
        from ..messages.jose import new_key

        offered = self.dpop_algs
        if offered is not None and self.profile is not None:
            from .profile import allowed

            offered = allowed(offered)
        return new_key(choose_algorithm(offered))

    async def _assertion(self, method: ClientAuth, now: float) -> dict[str, str]:
        """The form fields that prove who the client is (RFC 7523 §2.2)."""
        from ..messages.client_assertion import client_assertion, read_client_assertion  # which few need
        from ..messages.jose import load_signing_key
        from ..messages.signed_tokens import secret_jwk

        if self.client_assertion is not None:
            return await self._in_time(read_client_assertion(self.client_assertion, self.client_assertion_type))
        if method == "private_key_jwt":
            key = self._signing_key()
        elif self.secret:
            key = load_signing_key(secret_jwk(self.secret), alg="HS256")
        else:
            raise ConfigError("client_secret_jwt needs the client's secret.")
        # RFC 7523 §3 leaves the audience open; the issuer cannot be confused with another server's endpoint
        audience = self.assertion_audience or self.issuer or self.token_uri
        return await self._in_time(client_assertion(self.id, audience, key, now=now))

    async def _in_time(self, signing: Awaitable[T]) -> T:
        """What is signed, perhaps elsewhere, or read. Raises `RequestTimeoutError` where that takes too long."""
        try:
            async with asyncio.timeout(self.token_timeout):
                return await signing
        except TimeoutError:
            pass
        raise RequestTimeoutError(
            f"The key or client_assertion gave nothing within {self.token_timeout:g} s.",
            next_step="Check where the key or the assertion comes from.",
        )

    def _signing_key(self) -> "SigningKey":
        from ..messages.jose import load_signing_key

        if self.key is None:
            raise ConfigError(
                "The client signs its assertions or requests, but has no key.",
                next_step='Give OAuth2App(..., key="KEY.pem"), or put "key" into the client file.',
            )
        if self.profile is None:
            return load_signing_key(self.key, alg=self.key_alg, key_id=self.key_id)
        from .profile import check_key

        key = load_signing_key(self.key, alg=self.key_alg, key_id=self.key_id, rsa_alg="PS256")
        check_key(key)
        return key

    def _endpoint(self, name: str) -> str:
        """The address of `token_uri`, `revoke_uri` or another endpoint, with a certificate its alias (RFC 8705 §5)."""
        uri = getattr(self, name) or (getattr(self._facts, name) if name in _IN_TABLE else None)
        if self.certificate is not None:
            uri = self.mtls_aliases.get(ENDPOINTS.get(name, "token_endpoint")) or uri
        if not uri:
            raise ConfigError(
                f"No {_KINDS.get(name, 'token')} endpoint is known for this provider.",
                next_step=f'Put "{name}" into the client file{_OTHERWISE.get(name, "")}.',
            )
        return check_endpoint(uri, name, allow_http=self.allow_http)

    def _resources(self, resource: Resource | None, user: OAuth2User | None = None) -> list[str]:
        """The resources of a call: its own, else those of the grant, else the client's (RFC 8707 §2)."""
        if resource is None and user is not None:
            resource = (user.extra or {}).get("resource")
        return resources_of(self.resource if resource is None else resource)

    def _slot(self) -> Slot:
        """The place of one token request among those of this event loop."""
        return self._slots.slot(self.token_uri, self.token_requests, self.token_timeout)

    async def _round_trip(self, request: Request, client: "ClientSession | None", now: float) -> Reply:
        """The one way to the provider: at most so many requests at once; notes how far its clock is ahead."""
        check_endpoint(request.url, "token_uri", allow_http=self.allow_http)
        async with self._slots.slot(request.url, self.token_requests, self.token_timeout) as slot:
            reply = await transport.send(request, client, timeout=slot.left)
        self.clock_skew = skew(reply.headers, now)
        return reply


Client.__init__ = clean_traceback(Client.__init__)  # type: ignore[method-assign]  # whose frame has the secret
_IN_TABLE = ("revoke_uri", "userinfo_uri")
"""The endpoints that the table of providers has for clients that do not name them."""
_OTHERWISE = {
    "revoke_uri": ", or end the access on the provider's site",
    "device_uri": ", or grant with --paste, which takes the last address of any browser",
}
"""What else helps where the provider has no such endpoint."""
_KINDS = {
    "revoke_uri": "revocation",
    "introspect_uri": "introspection",
    "device_uri": "device authorization",
    "par_uri": "pushed authorization request",
    "register_uri": "registration",
    "userinfo_uri": "userinfo",
    "logout_uri": "logout",
}


def check_leeway(leeway: float) -> float:
    """Seconds before expiry. Raises `ConfigError`."""
    if not 0 <= leeway < math.inf:
        raise ConfigError("leeway is a number of seconds, 0 or more.")
    return leeway


def clock(now: float | None) -> float:
    """Epoch seconds: `now`, or the machine's clock."""
    return time.time() if now is None else now
