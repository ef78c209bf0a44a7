"""A login's authorization request: in the URL, signed (JAR, RFC 9101), pushed (RFC 9126); and a signed response (JARM).

The rule: what is signed or pushed is what the URL of `begin_login` would say; what is not verified does not count.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from urllib.parse import urlencode

from ...errors import ConfigError, IdentityError, RedirectError, clean_traceback
from ...tokens.client_auth import ClientAuth
from ...tokens.scopes import Scopes, join_scopes, split_scopes
from ...tokens.times import from_epoch
from ...web.secret_values import SecretForm, Secrets
from ...web.urls import check_endpoint
from ..messages.authorization_code import AuthorizationURL, authorization_url, new_verifier, s256_challenge
from ..messages.resource import Details, Resource, resources_of, with_details
from .client import clock
from .identity_calls import IdentityCalls
from .login import Login, new_state, query_of

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from ..messages.pushed_request import PushedRequest

Params = Mapping[str, str | None]


class LoginWishes(TypedDict, total=False):
    """What `begin_login` takes by name."""

    prompt: Scopes | None
    login_hint: str | None
    max_age: int | None
    acr_values: Scopes | None
    auth_params: Params | None
    resource: Resource | None
    authorization_details: Details | None
    now: float | None


class LoginRequests(IdentityCalls):
    """The ways in which a login's request reaches the provider, and its response us."""

    def _request_url(
        self, redirect_uri: str, state: str, scopes: Scopes, auth_params: Params | None, resource: Resource | None
    ) -> AuthorizationURL:
        """The whole request as a URL, with a new verifier."""
        check_endpoint(self.auth_uri, "auth_uri", allow_http=self.allow_http)
        facts = self._facts
        use_pkce = (facts.pkce or self.profile is not None) if self.pkce is None else self.pkce
        verifier = new_verifier() if use_pkce else ""
        challenge = s256_challenge(verifier) if verifier else ""
        mode = {} if self.response_mode is None else {"response_mode": self.response_mode}
        url = authorization_url(
            self.auth_uri,
            client_id=self.id,
            redirect_uri=redirect_uri,
            state=state + challenge,
            scope=self._scope_parameter(scopes),
            challenge=challenge,
            extras={**facts.auth_params, **mode, **self.auth_params, **(auth_params or {})},
            resources=self._resources(resource),
        )
        return AuthorizationURL(url, verifier, challenge)

    def _begun(self, redirect_uri: str, scopes: Scopes, **wishes: Unpack[LoginWishes]) -> Login:
        """A login whose `url` has the whole request."""
        if self.profile is not None:
            from .profile import check_profile, check_redirect_uri

            check_profile(self)
            check_redirect_uri(redirect_uri)
        prompt, acr_values = wishes.get("prompt"), wishes.get("acr_values")
        max_age, resource = wishes.get("max_age"), wishes.get("resource")
        if max_age is not None and max_age < 0:
            raise ConfigError("max_age is a number of seconds, 0 or more.")
        named = {
            "prompt": None if prompt is None else join_scopes(prompt),
            "login_hint": wishes.get("login_hint"),
            "max_age": None if max_age is None else str(max_age),
            "acr_values": None if acr_values is None else join_scopes(acr_values),
        }
        params = with_details(wishes.get("auth_params"), wishes.get("authorization_details"))
        params |= {name: text for name, text in named.items() if text is not None}
        wanted = scopes if isinstance(scopes, str) else list(scopes)
        nonce = None
        if "openid" in self.all_scopes(wanted):
            params["nonce"] = nonce = params.get("nonce") or new_state()
        dpop_key = self._new_dpop_key() if self.dpop else None
        if dpop_key is not None:
            from ..messages.jose import thumbprint

            params["dpop_jkt"] = thumbprint(dpop_key)
        own = None if resource is None else tuple(resources_of(resource))
        link = self._request_url(redirect_uri, new_state(), wanted, params, own)
        return Login(
            link.url,
            link.state,
            link.verifier,
            redirect_uri,
            split_scopes(wanted),
            self.id,
            self._redirect_issuer,
            clock(wishes.get("now")),
            own,
            nonce=nonce,
            max_age=max_age,
            dpop_key=dpop_key,
        )

    @clean_traceback
    async def sign_login(self, redirect_uri: str, scopes: Scopes, **wishes: Unpack[LoginWishes]) -> Login:
        """Begins a login as `begin_login` does, with the request as a JWT signed by the client's `key` (RFC 9101).

        Where the provider takes pushed requests, `push_login` with `sign_requests` is the better way: the browser then
        carries a short name alone. Open the login's `url` before `expires_at`. Raises `ConfigError`.
        """
        from ..messages.pushed_request import divided
        from ..messages.signed_request import LIFETIME, signed_url

        self._refuse_unpushed()
        login = self._begun(redirect_uri, scopes, **wishes)
        auth_uri, form, resources = divided(login.url)
        now = clock(wishes.get("now"))
        request = await self._request_object(form, resources, now)
        url = signed_url(auth_uri, form, self.id, request)
        return login.at(url, from_epoch(now + LIFETIME))

    def _refuse_unpushed(self) -> None:
        """Raises `ConfigError` where requests have to be pushed."""
        if self.profile is not None:
            from .profile import unpushed

            raise unpushed()
        if self.require_par:
            raise ConfigError(
                "This provider accepts pushed authorization requests only (RFC 9126).",
                next_step="Use: await app.push_login(...), with the same arguments.",
            )

    async def _request_object(self, form: SecretForm, resources: list[str], now: float) -> str:
        """The request as a signed JWT. Raises `ConfigError`."""
        from ..messages.jose import signed_jwt
        from ..messages.signed_request import TYP, request_claims

        if not self.issuer:
            raise ConfigError(
                "A signed request names the issuer, which the client lacks (RFC 9101 §4).",
                next_step="Make the client from its issuer, with OAuth2App.discover.",
            )
        at = now + self.clock_skew
        claims = request_claims(form, resources, client_id=self.id, issuer=self.issuer, now=at)
        return await self._in_time(signed_jwt(claims, self._signing_key(), {"typ": TYP}))

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
        from ..messages.pushed_request import divided, pushed_url, read_pushed_reply

        login = self._begun(redirect_uri, scopes, **wishes)
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
        return self._begun(redirect_uri, scopes, **wishes)

    async def _plain_redirect(
        self, state: str, redirect: Any, client: "ClientSession | None" = None, now: float | None = None
    ) -> Any:
        """The redirect's parameters, of a signed response (JARM) after its verification. Raises `RedirectError`."""
        if self.response_mode is None:
            return redirect
        from ..messages.signed_response import check_unverified_state, read_response, response_in

        at = clock(now)
        token = response_in(query_of(redirect), state)
        check_unverified_state(token, state)
        try:
            expected = self._expected("response_alg")
            verified = await self._verified(token, expected, client, at, unsolicited=True)  # a browser's word
            there = at + self.clock_skew
            found = read_response(verified.claims, issuer=expected.issuer, client_id=self.id, now=there)
            return urlencode(found, errors="surrogatepass")
        except IdentityError as error:
            refused = RedirectError(
                f"The signed response is refused: {error.args[0]}",
                next_step="Begin the login again.",
                kind=error.kind,  # a key may be published in a moment
                retry_after=error.retry_after,
            )
        raise refused
