"""Signed authorization requests (JAR, RFC 9101) and responses (JARM): signs ours, verifies the provider's.

The rule: what is signed is what would be sent plain; what is not verified does not count.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack
from urllib.parse import urlencode

from ..errors import ConfigError, IdentityError, RedirectError, clean_traceback
from ..tokens.scopes import Scopes
from ..tokens.times import from_epoch
from ..web.secret_values import SecretForm
from .client import clock
from .identity_calls import IdentityCalls
from .login import Login, query_of
from .resource import Resource

if TYPE_CHECKING:
    from aiohttp import ClientSession


class LoginWishes(TypedDict, total=False):
    """What `begin_login` takes by name."""

    prompt: Scopes | None
    login_hint: str | None
    max_age: int | None
    acr_values: Scopes | None
    auth_params: Mapping[str, str | None] | None
    resource: Resource | None
    now: float | None


class _Begins(Protocol):
    def _begun(self, redirect_uri: str, scopes: Scopes, **wishes: Unpack[LoginWishes]) -> Login: ...


def begun(app: Any, redirect_uri: str, scopes: Scopes, **wishes: Unpack[LoginWishes]) -> Login:
    """The login that `begin_login` would begin."""
    begins: _Begins = app
    return begins._begun(redirect_uri, scopes, **wishes)


class SignedMessages(IdentityCalls):
    """A login whose request, or response, is a signed JWT."""

    @clean_traceback
    async def sign_login(self, redirect_uri: str, scopes: Scopes, **wishes: Unpack[LoginWishes]) -> Login:
        """Begins a login as `begin_login` does, with the request as a JWT signed by the client's `key` (RFC 9101).

        Where the provider takes pushed requests, `push_login` with `sign_requests` is the better way: the browser then
        carries a short name alone. Open the login's `url` before `expires_at`. Raises `ConfigError`.
        """
        from .pushed_request import divided
        from .signed_request import LIFETIME, signed_url

        self._refuse_unpushed()
        login = begun(self, redirect_uri, scopes, **wishes)
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
        from .jose import signed_jwt
        from .signed_request import TYP, request_claims

        if not self.issuer:
            raise ConfigError(
                "A signed request names the issuer, which the client lacks (RFC 9101 §4).",
                next_step="Make the client from its issuer, with OAuth2App.discover.",
            )
        at = now + self.clock_skew
        claims = request_claims(form, resources, client_id=self.id, issuer=self.issuer, now=at)
        return await self._in_time(signed_jwt(claims, self._signing_key(), {"typ": TYP}))

    async def _plain_redirect(
        self, state: str, redirect: Any, client: "ClientSession | None" = None, now: float | None = None
    ) -> Any:
        """The redirect's parameters, of a signed response (JARM) after its verification. Raises `RedirectError`."""
        if self.response_mode is None:
            return redirect
        from .signed_response import check_state, read_response, response_in
        from .signed_tokens import unverified

        at = clock(now)
        token = response_in(query_of(redirect), state)
        try:
            check_state(unverified(token).claims.get("state"), state)
            expected = self._expected("response_alg")
            verified = await self._verified(token, expected, client, at)
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
