"""The access tokens that requests to an API of one's own bring along.

The rule: a JWT is verified here by the issuer's keys; only what is not a JWT is asked about.
"""

from typing import TYPE_CHECKING

from ...errors import ConfigError, IdentityError, clean_traceback
from ...tokens.scopes import Scopes
from .client import clock
from .identity_calls import Expected
from .machine_calls import MachineCalls

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from ..incoming.access_token import AccessToken, Proof


class IncomingCalls(MachineCalls):
    """Reads what the callers of an API present."""

    @clean_traceback
    async def read_access_token(
        self,
        text: str | None,
        *,
        audience: str,
        scopes: Scopes = (),
        accept_jwt: bool = False,
        proof: "Proof | None" = None,
        certificate: bytes | str | None = None,
        session: "ClientSession | None" = None,
        now: float | None = None,
    ) -> "AccessToken":
        """What the access token of a request to your API grants (RFC 9068); one that is not a JWT by introspection.

        `audience` is your API's identifier, `scopes` are what the request needs. `accept_jwt`: this issuer marks access
        tokens as plain JWTs (Entra, Cognito, Keycloak). A token that is bound to a key needs `proof` (the `DPoP`
        header, the method and the URL of the request) or `certificate` (the caller's, DER or PEM). `now` is in epoch
        seconds. Raises `IdentityError`, whose `status` (401 or 403) and `www_authenticate()` are the answer,
        `NetworkError` and its siblings where the issuer cannot be asked.
        """
        from ..incoming.access_token import PROOF_AGE, check_binding, check_scopes

        at = clock(now)
        if not text:
            missing = IdentityError("The request has no access token.")
            missing.error = ""
            raise missing
        found = await self._read_incoming(text, audience, accept_jwt, session, at)
        name = check_binding(found, text, proof, certificate, at)
        if name is not None and not self._used.ends(name, at + 2 * PROOF_AGE, at):
            raise IdentityError("This DPoP proof was used before (jti).")
        check_scopes(found, scopes)
        return found

    async def _read_incoming(
        self, text: str, audience: str, accept_jwt: bool, session: "ClientSession | None", now: float
    ) -> "AccessToken":
        from ..incoming.access_token import is_jwt, read_access_token, read_introspected

        if is_jwt(text):
            expected = self._expected_of_api()
            return read_access_token(
                await self._verified(text, expected, session, now, unsolicited=True),
                issuer=expected.issuer,
                audience=audience,
                now=now,
                accept_jwt=accept_jwt,
                template_claim=self._facts.issuer_claim,
            )
        if self.introspect_uri is None:
            raise IdentityError("The token is not a JWT, and no introspection endpoint is known.")
        info = await self.introspect(text, client=session)
        return read_introspected(info, issuer=self.issuer, audience=audience, now=now)

    def _expected_of_api(self) -> Expected:
        """The issuer of access tokens, by any algorithm that its keys are for. Raises `ConfigError`."""
        from ..messages.jose import ASYMMETRIC
        from .profile import ALGORITHMS

        expected = self._expected()
        if not expected.jwks_uri:
            raise ConfigError("Access tokens cannot be verified: the client has no jwks_uri.")
        return expected._replace(algs=ASYMMETRIC if self.profile is None else ALGORITHMS)
