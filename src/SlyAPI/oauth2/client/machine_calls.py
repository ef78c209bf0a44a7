"""Calls for tokens without a person: a program's own, one for another token, one for an assertion; and introspection.

The rule: each is a form, the round trip of `Client`, and a reader.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import TokenError, clean_traceback
from ...tokens.client_auth import ClientAuth
from ...tokens.scopes import Scopes, join_scopes, split_scopes
from ...tokens.user import OAuth2User
from ...web.secret_values import SecretForm
from ..messages.jwt_bearer import jwt_bearer_form
from ..messages.resource import Details, Resource, with_details
from ..messages.token_endpoint import GRANT_AGAIN, refuses_client_auth
from ..messages.token_exchange import exchange_token_form
from ..messages.token_request import client_credentials_form
from .identity_calls import IdentityCalls

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from ..messages.introspection import TokenInfo


class MachineCalls(IdentityCalls):
    """Client credentials (RFC 6749 §4.4), exchange (RFC 8693), assertions (RFC 7523), introspection (RFC 7662)."""

    @clean_traceback
    async def request_token(
        self,
        scopes: Scopes = (),
        *,
        resource: Resource | None = None,
        token_params: Mapping[str, str | None] | None = None,
        authorization_details: Details | None = None,
        client: "ClientSession | None" = None,
        now: float | None = None,
    ) -> OAuth2User:
        """A token of the client's own (RFC 6749 §4.4); `ClientCredentials` keeps one and renews it.

        `authorization_details` are those of RFC 9396, kept for each renewal as `token_params` are. `client` lends its
        connections, `now` is in epoch seconds. Raises `TokenError`, `BadReplyError`, `NetworkError`, `ConfigError`.
        """
        params = with_details(token_params, authorization_details)
        form = client_credentials_form(self._machine_scope(scopes))
        user = await self._machine_call(form, scopes, resource, params, client, now)
        user.refresh_token = None  # RFC 6749 §4.4.3: of no use, since the client can ask again
        return user

    @clean_traceback
    async def exchange_token(
        self,
        subject_token: str,
        subject_token_type: str = "access_token",
        *,
        actor_token: str | None = None,
        actor_token_type: str | None = None,
        audience: str | None = None,
        resource: Resource | None = None,
        scopes: Scopes = (),
        requested_token_type: str | None = None,
        token_params: Mapping[str, str | None] | None = None,
        authorization_details: Details | None = None,
        client: "ClientSession | None" = None,
        now: float | None = None,
    ) -> OAuth2User:
        """A token in exchange for another one (RFC 8693); its kind is `issued_token_type`, a URN.

        Types are `access_token refresh_token id_token jwt saml1 saml2 id-jag`, or a URI. The rest is as in
        `request_token`.
        """
        params = with_details(token_params, authorization_details)
        form = exchange_token_form(
            subject_token,
            subject_token_type,
            actor_token=actor_token,
            actor_token_type=actor_token_type,
            audience=audience,
            scope=self._machine_scope(scopes),
            requested_token_type=requested_token_type,
        )
        return await self._machine_call(form, scopes, resource, params, client, now)

    @clean_traceback
    async def exchange_assertion(
        self,
        assertion: str,
        scopes: Scopes = (),
        *,
        resource: Resource | None = None,
        token_params: Mapping[str, str | None] | None = None,
        authorization_details: Details | None = None,
        client: "ClientSession | None" = None,
        now: float | None = None,
    ) -> OAuth2User:
        """A token for an assertion that another issuer signed (RFC 7523 §2.1). The rest is as in `request_token`."""
        params = with_details(token_params, authorization_details)
        form = jwt_bearer_form(assertion, self._machine_scope(scopes))
        return await self._machine_call(form, scopes, resource, params, client, now)

    @clean_traceback
    async def introspect(self, token: str, *, client: "ClientSession | None" = None) -> "TokenInfo":
        """What the provider knows of a token (RFC 7662). Raises `ConfigError`, `TokenError`, `BadReplyError`."""
        from ..messages.introspection import introspection_form, read_introspection_reply  # which few need

        form = introspection_form(token)

        async def ask(method: ClientAuth) -> "TokenInfo":
            reply, sent = await self._send("introspect_uri", form, method, client, None)
            return read_introspection_reply(reply, sent)

        return (await self._first_call(ask))[0]

    def _machine_scopes(self, scopes: Scopes) -> list[str]:
        # without those that the provider's refresh tokens need, which no machine gets
        return split_scopes([*split_scopes(scopes), *self.scopes])

    def _machine_scope(self, scopes: Scopes) -> str:
        return join_scopes(self._machine_scopes(scopes), self._facts.delimiter)

    async def _machine_call(
        self,
        form: SecretForm,
        scopes: Scopes,
        resource: Resource | None,
        token_params: Mapping[str, str | None] | None,
        client: "ClientSession | None",
        now: float | None,
    ) -> OAuth2User:
        resources: Sequence[str] = self._resources(resource)
        requested = self._machine_scopes(scopes)
        try:
            user, method = await self._first_call(
                lambda method: self._token_call(
                    form,
                    method,
                    client,
                    now,
                    resources=resources,
                    requested=requested or None,
                    token_params=token_params,
                ),
                _refuses_client,
            )
        except TokenError as error:
            if GRANT_AGAIN in error.next_step:  # no person can
                error.next_step = "Check what was sent, and what the provider allows this client."
            raise
        user.client_auth = method
        return user


def _refuses_client(error: TokenError) -> bool:
    """Whether the client alone was refused, so that the same subject token or assertion may be sent once more."""
    return error.error in ("invalid_client", f"http_{error.status}") and refuses_client_auth(error)
