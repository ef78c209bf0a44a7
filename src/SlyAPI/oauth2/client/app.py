"""The client registration at one provider. Each method builds a request, sends it and reads the reply."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, GrantEndedError, clean_traceback
from ...tokens.client_auth import ClientAuth
from ...tokens.scopes import Scopes
from ...tokens.user import OAuth2User
from ...web.secret_values import SecretJson
from ..messages.authorization_code import AuthorizationURL, exchange_form
from ..messages.resource import Details, Resource
from ..messages.revocation import read_revocation_reply, revocation_form
from ..messages.token_endpoint import GRANT_AGAIN
from ..messages.token_request import refresh_form
from .bound_tokens import check_bound
from .client import OnRefresh, clock
from .device_calls import DeviceCalls
from .incoming_calls import IncomingCalls
from .login import LIFETIME, Login, read_answer
from .login_requests import LoginRequests
from .registration_calls import RegistrationCalls

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["OAuth2App", "OnRefresh"]


class OAuth2App(LoginRequests, DeviceCalls, IncomingCalls, RegistrationCalls):
    """A client at one provider. `secret` is None or empty for a public client.

    `on_refresh` is called for every user of this client whose tokens were refreshed. `auth_params` are added to
    every authorization URL, over those that the provider is known to need (None removes one).
    `token_params` are the provider's own parameters of every token request (None removes one); those of a call win,
    and are kept with the user.
    `client_auth`: how the token endpoint takes id and secret; None for the table of providers, or trying.
    `pkce=False` switches RFC 7636 off, for a provider known to break on it (None: by the table).
    `scopes` are requested in addition to those of each grant. The redirect's `iss` must be `issuer`.
    `revoke_uri` is the revocation endpoint (RFC 7009); None for the table's. `allow_http` permits plain http to
    other machines. `clock_skew`: seconds by which the provider's clock was ahead of ours in its last token reply.
    `token_timeout`: seconds for a token request, including the wait for a slot; one event loop sends at most
    `token_requests` at once, so that a thousand users whose tokens expire together do not open a thousand
    connections. `leeway`: seconds before expiry at which a token is refreshed, at most a tenth of its remaining life.
    `save_timeout`: seconds for which a call waits until new tokens are saved in a store that is unavailable, less than
    a store's lease and at most half the tokens' life; then the save continues in the background. `extra` keeps
    further keys of the file.

    `resource` names the API that tokens are for (RFC 8707), one or several. `key` (a path, PEM text, a JWK, or a
    callable that signs, with `key_alg`) and `key_id` are for `private_key_jwt`, and need the package joserfc;
    `assertion_audience` replaces the issuer, or the token endpoint, as audience of its assertions. `client_assertion`,
    in place of secret and key: where JWTs come from that a platform signs (`SlyAPI.sources`, or what a client file has,
    such as `{"kubernetes": True}`), read for each request; `client_assertion_type`: jwt-bearer or jwt-spiffe.
    `certificate`: one PEM file, or a pair of certificate and key, presented to the provider and to the API (RFC 8705);
    then `mtls_aliases` replace the endpoints that they name.

    `sign_requests`: authorization requests are JWTs signed by `key` (RFC 9101). `response_mode="jwt"` asks for a
    redirect that is a signed JWT (JARM), with the algorithm `response_alg`. `profile="fapi2"` refuses what the FAPI 2.0
    Security Profile forbids, with the clause, and pushes every request.
    """

    __module__ = "SlyAPI.oauth2"

    @clean_traceback
    def auth_url_with_pkce(
        self,
        redirect_uri: str,
        state: str,
        scopes: Scopes,
        *,
        auth_params: Mapping[str, str | None] | None = None,
        resource: Resource | None = None,
    ) -> AuthorizationURL:
        """The address to open in the user's browser (RFC 6749 §4.1.1 with RFC 7636, S256), and the verifier to keep.

        `scopes` is text as the provider spells it, or a list. The state in the URL is `state` followed by the
        challenge: `AuthorizationURL.state`. `auth_params` override the client's own. Raises `ConfigError`.
        """
        if self.profile is not None:
            from .profile import unpushed

            raise unpushed()
        return self._request_url(redirect_uri, state, scopes, auth_params, resource)

    @clean_traceback
    def begin_login(
        self,
        redirect_uri: str,
        scopes: Scopes,
        *,
        prompt: Scopes | None = None,
        login_hint: str | None = None,
        max_age: int | None = None,
        acr_values: Scopes | None = None,
        auth_params: Mapping[str, str | None] | None = None,
        resource: Resource | None = None,
        authorization_details: Details | None = None,
        now: float | None = None,
    ) -> Login:
        """Begins a login: open its `url` in the user's browser, and keep its `to_dict()` in their session.

        `redirect_uri` is registered with the provider; `scopes` and `auth_params` are those of `auth_url_with_pkce`.
        `prompt`, `login_hint`, `max_age` (seconds since the user last signed in) and `acr_values` (text or lists) are
        those of OpenID Connect Core §3.1.2.1 and RFC 9470, and override `auth_params`. `authorization_details` are the
        objects of RFC 9396; what is granted of them is in the user. `now` is in epoch seconds,
        None for the machine's clock. Raises `ConfigError`.
        """
        self._refuse_unpushed()
        if self.sign_requests:
            raise ConfigError(
                "This client signs its authorization requests (RFC 9101).",
                next_step="Use: await app.sign_login(...), or push_login, with the same arguments.",
            )
        return self._begun(
            redirect_uri,
            scopes,
            prompt=prompt,
            login_hint=login_hint,
            max_age=max_age,
            acr_values=acr_values,
            auth_params=auth_params,
            resource=resource,
            authorization_details=authorization_details,
            now=now,
        )

    @clean_traceback
    async def finish_login(
        self,
        kept: Login | Mapping[str, Any] | None,
        redirect: str | Mapping[str, Any],
        client: "ClientSession | None" = None,
        *,
        resource: Resource | None = None,
        token_params: Mapping[str, str | None] | None = None,
        lifetime: float = LIFETIME,
        now: float | None = None,
    ) -> OAuth2User:
        """Ends a login with the redirect as it arrived: its URL, or its query as a framework's mapping.

        `kept` is the kept `Login.to_dict()`, None if there is none; remove it from the session, so that it is used
        once. `lifetime` in seconds. Raises `StateMismatchError` for a redirect that this session did not request,
        `LoginEndedError` for a late or repeated one, `DeniedError` (its `denied`: whether the user refused),
        `RedirectError` for any other without a code, and the errors of `exchange_code`.

        With `openid` among the scopes, the user's `identity` is who the person is, by an id_token that was verified.
        Then raises `IdentityError` too, and nothing is left of the answer; the package joserfc is needed.
        """
        login = kept if isinstance(kept, Login) else Login.from_dict(kept)
        code = read_answer(
            login,
            await self._plain_redirect(login.state, redirect, client, now),
            self._finished,
            client_id=self.id,
            issuer=self._redirect_issuer,
            issuer_required=self.iss_in_redirect,
            lifetime=lifetime,
            now=clock(now),
        )
        return await self.exchange_code(
            code,
            login.verifier,
            login.scopes,
            login.redirect_uri,
            client,
            resource=login.resource if resource is None else resource,
            nonce=login.nonce,
            max_age=login.max_age,
            dpop_key=login.dpop_key,
            token_params=token_params,
            now=now,
        )

    @clean_traceback
    async def exchange_code(
        self,
        code: str,
        verifier: str,
        scopes: Scopes,
        redirect_uri: str,
        client: "ClientSession | None" = None,
        *,
        resource: Resource | None = None,
        nonce: str | None = None,
        max_age: float | None = None,
        dpop_key: Mapping[str, Any] | None = None,
        token_params: Mapping[str, str | None] | None = None,
        now: float | None = None,
    ) -> OAuth2User:
        """Exchanges the redirect's code for the user's tokens (RFC 6749 §4.1.3).

        `scopes` are those requested, for the comparison; `redirect_uri` is byte for byte the one in the URL.
        If the provider's client authentication is unknown, Basic is tried first (RFC 6749 §2.3.1), then the form,
        and the user remembers what worked. `now` in epoch seconds, None for the machine's clock. Raises
        `TokenError`, `BadReplyError`, `NetworkError`. With the request's `nonce` (and `max_age`, in seconds) the
        id_token is verified, as `finish_login` says; `dpop_key` is the private JWK of the request's `dpop_jkt`.
        """
        form = exchange_form(code, verifier, redirect_uri)
        resources = self._resources(resource)
        if nonce is not None:
            self._check_verifies()

        async def exchange(method: ClientAuth) -> OAuth2User:
            return await self._token_call(
                form,
                method,
                client,
                now,
                resources=resources,
                requested=self.all_scopes(scopes),
                nonce=nonce,
                max_age=max_age,
                dpop_key=None if dpop_key is None else SecretJson(dpop_key),
                token_params=token_params,
            )

        user, remembered = await self._first_call(exchange)
        user.client_auth = remembered
        if resource is not None:
            user.extra = {**(user.extra or {}), "resource": resources}
        return user

    def can_refresh(self, user: OAuth2User) -> bool:
        """Whether the user can get new tokens without granting again."""
        return bool(user.refresh_token)

    @clean_traceback
    async def refresh(
        self,
        client: "ClientSession | None",
        user: OAuth2User,
        *,
        resource: Resource | None = None,
        token_params: Mapping[str, str | None] | None = None,
        now: float | None = None,
    ) -> OAuth2User:
        """The user with new tokens (RFC 6749 §6); the refresh token stays unless the reply has a new one.

        `client` lends its connections (None: our own session), `now` is in epoch seconds. Raises
        `GrantEndedError` if the refresh token is refused for good, `CredentialsError` if it is noted to be of another
        client or issuer, `IdentityError` for a refused id_token, `TokenError`, `BadReplyError`, `NetworkError`.
        """
        check_bound(user, self)
        if not user.refresh_token:
            raise GrantEndedError(
                401,
                "no_refresh_token",
                message="The access token has expired and there is no refresh token.",
                next_step=GRANT_AGAIN,
            )
        if user.identity is not None:
            self._check_verifies()
        method = self._client_auth_for(user)
        form = refresh_form(user.refresh_token)
        resources = self._resources(resource, user)
        return await self._token_call(
            form, method, client, now, resources=resources, previous=user, token_params=token_params
        )

    @clean_traceback
    async def revoke(
        self, user: OAuth2User, client: "ClientSession | None" = None, *, now: float | None = None
    ) -> None:
        """Ends the user's grant at the provider (RFC 7009); a grant that has ended before is not an error.

        Raises `ConfigError` if no revocation endpoint is known, or the tokens are noted to be of another client or
        issuer (`CredentialsError`), `TokenError`, `NetworkError`.
        """
        check_bound(user, self)
        form = revocation_form(user)
        # AT Protocol's servers end a bound token for the holder of its key alone, and answer 200 to everybody
        method, key = self._client_auth_for(user), user.dpop_key
        reply, sent = await self._send("revoke_uri", form, method, client, now, dpop_key=key)
        read_revocation_reply(reply, sent)
