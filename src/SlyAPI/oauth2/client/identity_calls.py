"""The token request of all grants, and who the person is: id_tokens, userinfo, logout (OpenID Connect).

The rule: what is not verified is not kept; an answer that names another person is not saved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlencode

from ...errors import ApiError, ConfigError, IdentityError, SlyError, clean_traceback
from ...tokens.client_auth import ClientAuth
from ...tokens.user import Identity, OAuth2User, authorization
from ...transport import requests as transport
from ...web.events import refresh_log as log
from ...web.json import read_reply
from ...web.messages import Method, Reply, Request, retry_after
from ...web.secret_values import SecretForm, SecretJson, Secrets
from ...web.urls import bare_url, check_endpoint
from ..messages.token_endpoint import read_token_reply
from ..messages.token_request import merged_params, with_params
from .bound_tokens import check_bound, note_client
from .client import Client, clock
from .issuer_keys import LIMIT

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from ..messages.identity import LogoutToken
    from ..messages.signed_tokens import Jwt


class Expected(NamedTuple):
    """What an id_token must contain: its issuer, and how it is signed."""

    issuer: str
    algs: tuple[str, ...]
    jwks_uri: str


_SAME = {"EdDSA": ("EdDSA", "Ed25519"), "Ed25519": ("EdDSA", "Ed25519")}
"""Two names of one algorithm (RFC 9864)."""


class IdentityCalls(Client):
    """The token request, and the calls of OpenID Connect Core, RP-Initiated Logout and Back-Channel Logout."""

    @clean_traceback
    async def userinfo(
        self, user: OAuth2User, client: "ClientSession | None" = None, *, now: float | None = None
    ) -> dict[str, Any]:
        """What the provider says of the person (OpenID Connect Core §5.3), who is the one of `user.identity`.

        Raises `IdentityError` for another person or a signed answer that does not verify, `ApiError` for a refusal,
        `ConfigError` where no endpoint is known, or the tokens are noted to be of another client or issuer.
        """
        check_bound(user, self)
        uri = self._endpoint("userinfo_uri")
        headers = {"Accept": "application/json, application/jwt", "Authorization": authorization(user)}
        request = Request(Method.GET, uri, headers=headers, certificate=self.certificate)
        reply = await self._ask_userinfo(request, user, client, clock(now))
        if reply.status != 200:
            raise _refused(reply, Secrets((user.token,)))
        if reply.headers.get("Content-Type", "").partition(";")[0].strip().casefold() == "application/jwt":
            claims = await self._signed_userinfo(reply, client, clock(now))
        else:
            claims = read_reply(reply, request)
        if not isinstance(claims, dict) or not isinstance(claims.get("sub"), str):
            raise IdentityError("The userinfo reply identifies nobody: sub is missing (OpenID Connect Core §5.3).")
        if user.identity is not None and claims["sub"] != user.identity.subject:
            raise IdentityError("The userinfo are of another person (OpenID Connect Core §5.3.2).")
        return claims

    async def _ask_userinfo(
        self, request: Request, user: OAuth2User, client: "ClientSession | None", now: float
    ) -> Reply:
        """The reply to a request with the user's token; one with a proof is repeated once for a nonce (RFC 9449 §9)."""
        from ..messages.jose import load_signing_key

        if user.dpop_key is None:
            return await transport.send(request, client, timeout=self.token_timeout)
        key = load_signing_key(user.dpop_key)
        request.headers["DPoP"] = await self._proof(key, request, now, user.token)
        reply = await transport.send(request, client, timeout=self.token_timeout)
        if reply.status == 401 and self._nonces.asked_for(request.url, reply.headers):
            request.headers["DPoP"] = await self._proof(key, request, now, user.token)
            reply = await transport.send(request, client, timeout=self.token_timeout)
        self._nonces.take(request.url, reply.headers)
        return reply

    @clean_traceback
    def logout_url(
        self, user: OAuth2User, post_logout_redirect_uri: str | None = None, state: str | None = None
    ) -> str:
        """The address that ends the person's session at the provider, for their browser (RP-Initiated Logout §2).

        Asks nobody. The browser comes back to `post_logout_redirect_uri`, which is registered, with `state`.
        Raises `ConfigError` as `userinfo` does.
        """
        check_bound(user, self)
        if not self.logout_uri:
            raise ConfigError("No logout endpoint is known.", next_step='Put "logout_uri" into the client file.')
        uri = check_endpoint(self.logout_uri, "logout_uri", allow_http=self.allow_http)
        who: dict[str, str | None] = {"id_token_hint": user.id_token} if user.id_token else {"client_id": self.id}
        params = who | {"post_logout_redirect_uri": post_logout_redirect_uri, "state": state}
        try:
            query = urlencode({name: text for name, text in params.items() if text is not None})
            return f"{uri}{'&' if '?' in uri else '?'}{query}"
        except UnicodeEncodeError:
            pass  # raised below: the codec's error, which holds the text, must not be its context
        raise ConfigError("A parameter of the logout address contains an unpaired surrogate (U+D800 to U+DFFF).")

    @clean_traceback
    async def read_logout_token(
        self, token: str, client: "ClientSession | None" = None, *, now: float | None = None
    ) -> "LogoutToken":
        """Whose sessions end, by a logout token that the provider posted (Back-Channel Logout §2.6).

        End the sessions, then call `finish_logout`: until then the token may be sent again. Raises `IdentityError`, to
        which the application answers HTTP 400.
        """
        from ..messages.identity import read_logout_token

        at = clock(now)
        expected = self._expected()
        logout = read_logout_token(
            await self._verified(token, expected, client, at, unsolicited=True), **self._terms(expected, at)
        )
        if self._used.has(logout.name, at):
            raise IdentityError("This logout token was received before (jti).")
        return logout

    def finish_logout(self, logout: "LogoutToken", *, now: float | None = None) -> None:
        """Says that a logout's sessions have ended: this process does not read its token again (its `jti`)."""
        from ..messages.identity import LOGOUT_AGE

        at = clock(now)
        self._used.ends(logout.name, at + 2 * LOGOUT_AGE, at)

    async def _token_call(
        self,
        form: SecretForm,
        method: ClientAuth,
        client: "ClientSession | None",
        now: float | None,
        *,
        resources: Sequence[str] = (),
        requested: list[str] | None = None,
        previous: OAuth2User | None = None,
        nonce: str | None = None,
        max_age: float | None = None,
        dpop_key: SecretJson | None = None,
        token_params: Mapping[str, str | None] | None = None,
    ) -> OAuth2User:
        """The user in the token endpoint's reply to this form; its tokens are bound to `dpop_key` (RFC 9449).

        A user who is refreshed keeps their key, or none; new tokens of a client with `dpop` have a new key. The
        id_token of a login with a `nonce` is verified, and dropped elsewhere. `token_params` stay for each renewal.
        """
        if previous is not None:
            dpop_key = self._key_of(previous)
        elif self.dpop and dpop_key is None:
            dpop_key = self._new_dpop_key()
        kept = merged_params(((previous and previous.extra) or {}).get("token_params"), token_params)
        form = with_params(form, merged_params(self.token_params, kept))
        reply, sent = await self._send("token_uri", form, method, client, now, resources, dpop_key=dpop_key)
        at = clock(now)
        user = read_token_reply(
            reply,
            now=at + self.clock_skew,
            requested=requested,
            previous=previous,
            secrets=sent if previous is None else Secrets((*sent, previous.token)),
            refresh_life_unit=self._facts.refresh_life_unit,
            dpop_key=dpop_key,
        )
        note_client(user, self, previous)
        if kept:
            user.extra = {**(user.extra or {}), "token_params": kept}
        if nonce is not None:
            user.identity = await self._identity(user, client, at, nonce=nonce, max_age=max_age)
        else:
            await self._keep_identity(user, previous, client, at)
        return user

    async def _keep_identity(
        self, user: OAuth2User, previous: OAuth2User | None, client: "ClientSession | None", at: float
    ) -> None:
        """Keeps the identity of a refreshed user; an id_token that nobody verified is dropped."""
        if previous is None or previous.identity is None:
            user.id_token = None if previous is None else previous.id_token
        elif user.id_token != previous.id_token:
            user.identity = await self._refreshed_identity(user, previous, client, at)

    def _key_of(self, user: OAuth2User) -> SecretJson | None:
        """The key that the user's tokens are bound to. Raises `ConfigError` where a profile wants them bound."""
        if self.profile is not None and user.dpop_key is None and self.certificate is None:
            from .profile import not_bound

            raise not_bound()
        return user.dpop_key

    async def _refreshed_identity(
        self, user: OAuth2User, previous: OAuth2User, client: "ClientSession | None", now: float
    ) -> Identity:
        """The identity in the id_token of a refresh (OpenID Connect Core §12.2)."""
        from ..messages.identity import read_id_token
        from ..messages.signed_tokens import unverified

        before = previous.identity
        assert before is not None
        try:
            return await self._identity(user, client, now, previous=previous)
        except SlyError as error:
            if isinstance(error, IdentityError) and error.kind != "transient":
                if user.refresh_token == previous.refresh_token or self._names_another(user, before):
                    raise
                # the refresh token that was sent is used up: without the new one, a mistake of the provider's, such as
                # a key published too late, would end the grant of everybody who refreshes meanwhile
                ends = user.refresh_expires_at
                error._kept = replace(previous, refresh_token=user.refresh_token, refresh_expires_at=ends)
                raise
            # the refresh token may be rotated: keys that cannot be fetched now must not lose it. Its claims are still
            # checked, which came by TLS from the token endpoint (§3.1.3.7, 6), and the identity stays as it was.
            expected = self._expected()
            terms = self._terms(expected, now)
            read_id_token(unverified(user.id_token), **terms, access_token=user.token, previous=before)
            log.warning("The refreshed id_token is not kept, because its keys are not available: %s", error)
            user.id_token = previous.id_token
            return before

    def _names_another(self, user: OAuth2User, person: Identity) -> bool:
        """Whether an id_token that is refused can be read, and is of another person or client."""
        from ..messages.signed_tokens import unverified

        try:
            claims = unverified(user.id_token).claims
        except IdentityError:
            return False
        audience = claims.get("aud")
        ours = self.id == audience or (isinstance(audience, list) and self.id in audience)
        return not ours or (claims.get("iss"), claims.get("sub")) != (person.issuer, person.subject)

    async def _identity(
        self,
        user: OAuth2User,
        client: "ClientSession | None",
        now: float,
        *,
        nonce: str | None = None,
        max_age: float | None = None,
        previous: OAuth2User | None = None,
    ) -> Identity:
        from ..messages.identity import read_id_token

        if user.id_token is None:
            raise IdentityError("The provider sent no id_token, though the scope openid asks for one.")
        expected = self._expected()
        return read_id_token(
            await self._verified(user.id_token, expected, client, now),
            **self._terms(expected, now),
            nonce=nonce,
            nonce_required=self._facts.id_token_nonce,
            access_token=user.token,
            max_age=max_age,
            previous=None if previous is None else previous.identity,
        )

    def _check_verifies(self) -> None:
        """Raises `ConfigError` where no id_token can be verified: before a code or refresh token is sent and lost."""
        from ..messages.jose import library

        library()
        self._expected()

    def _terms(self, expected: Expected, now: float) -> dict[str, Any]:
        return {
            "issuer": expected.issuer,
            "client_id": self.id,
            "now": now + self.clock_skew,
            "template_claim": self._facts.issuer_claim,
        }

    def _expected(self, setting: Literal["id_token_alg", "response_alg"] = "id_token_alg") -> Expected:
        """Who signs what this client reads, with the algorithms of a setting. Raises `ConfigError` where unknown."""
        from ..messages.jose import ASYMMETRIC
        from ..messages.signed_tokens import SHORTEST_SECRET
        from .profile import ALGORITHMS

        issuer = self.issuer or self._facts.id_token_issuer or self._facts.issuer
        jwks_uri = self.jwks_uri or self._facts.jwks_uri or ""
        wanted = getattr(self, setting) or ("RS256" if self.profile is None else ALGORITHMS)
        algs = {name for alg in ([wanted] if isinstance(wanted, str) else wanted) for name in _SAME.get(alg, (alg,))}
        if self.profile is not None:
            algs &= {*ALGORITHMS}
        by_secret = algs == {"HS256"}
        missing = [name for name, value in (("issuer", issuer), ("jwks_uri", jwks_uri or by_secret)) if not value]
        if issuer is None or missing:
            raise ConfigError(
                f"What the provider signs cannot be verified: the client has no {' and no '.join(missing)}.",
                next_step="Make the client from its issuer (scaffold --issuer), or leave out "
                + ("the scope openid." if setting == "id_token_alg" else "response_mode."),
            )
        if by_secret and len((self.secret or "").encode()) < SHORTEST_SECRET:
            raise ConfigError(
                f"{setting} HS256 needs the client's secret, of {SHORTEST_SECRET} octets or more (RFC 7518 §3.2).",
                next_step="Register RS256 or ES256 for what the provider signs.",
            )
        if not by_secret:
            check_endpoint(jwks_uri, "jwks_uri", allow_http=self.allow_http)
        if not by_secret and not algs <= {*ASYMMETRIC}:
            raise ConfigError(f"{setting} is one of {', '.join(ASYMMETRIC)}, or HS256 alone.")
        return Expected(issuer, tuple(sorted(algs)), jwks_uri)

    async def _verified(
        self,
        token: str,
        expected: Expected,
        client: "ClientSession | None",
        now: float,
        *,
        unsolicited: bool = False,
    ) -> "Jwt":
        """The token, if its signature holds; `unsolicited` as in `IssuerKeys.read`."""
        from ..messages.signed_tokens import read_jwt, secret_jwk

        if expected.algs == ("HS256",):
            return read_jwt(token, [secret_jwk(self.secret or "")], expected.algs)

        async def fetch(request: Request) -> Reply:
            return await transport.send(request, client, timeout=self.token_timeout, limit=LIMIT)

        read = self._issuer_keys.read
        return await read(token, expected.algs, expected.jwks_uri, fetch, now, unsolicited=unsolicited)

    async def _signed_userinfo(self, reply: Reply, client: "ClientSession | None", now: float) -> dict[str, Any]:
        from ..messages.identity import read_userinfo
        from ..messages.jose import ASYMMETRIC
        from .profile import ALGORITHMS

        expected = self._expected()
        if "HS256" not in expected.algs:  # its algorithm is registered on its own
            expected = expected._replace(algs=ASYMMETRIC if self.profile is None else ALGORITHMS)
        token = await self._verified(reply.text().strip(), expected, client, now)
        return read_userinfo(token, issuer=expected.issuer, client_id=self.id, template_claim=self._facts.issuer_claim)


def _refused(reply: Reply, secrets: Secrets) -> ApiError:
    kept = reply.without(secrets)
    return ApiError(
        reply.status,
        kept.text()[:300],
        kept,
        message=f"The userinfo at {bare_url(reply.url)} were refused: HTTP {reply.status}.",
        next_step="The token may have ended, or lacks the scope openid." if reply.status in (401, 403) else "",
        retry_after=retry_after(reply.headers),
    )
