"""A token endpoint for service accounts, and the API behind it, under aiohttp.web: PyJWT reads the assertions."""
from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.serving import served

EMAIL = "robot@project.example"


def new_key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


def pem(key: RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@dataclass(repr=False)
class AccountJudge:
    """Trades an assertion for a token, as Google does: it may be good for an hour, and be dated 60 s off at most."""

    key: RSAPrivateKey
    clock: Callable[[], float]
    lifetime: float = 100.0
    delay: Callable[[], Any] | None = None
    answer: Callable[[web.Request, dict[str, str]], web.Response | None] = lambda request, form: None
    """A test's own answer to a token request."""
    origin: str = ""
    forms: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    stated: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    headers: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    tokens: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict[str, tuple[float, dict[str, Any]]])

    def key_file(self, **more: Any) -> dict[str, Any]:
        """The key file as the console gives it."""
        return {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "key-1",
            "private_key": pem(self.key),
            "client_email": EMAIL,
            "client_id": "1234",
            "auth_uri": f"{self.origin}/auth",
            "token_uri": f"{self.origin}/token",
            **more,
        }

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[AccountJudge, None]:
        application = web.Application()
        application.router.add_post("/token", self._token)
        application.router.add_route("*", "/{path:.*}", self._api)
        application.on_response_prepare.append(self._date)
        async with served(application) as self.origin:
            yield self

    async def _date(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(self.clock(), usegmt=True)

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        if self.delay is not None:
            await self.delay()
        return self.answer(request, form) or self._grant(form)

    def _grant(self, form: dict[str, str]) -> web.Response:
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return refused("unsupported_grant_type")
        by_our_clock = {"verify_exp": False, "verify_iat": False, "require": ["iss", "aud", "iat", "exp"]}
        try:
            stated = jwt.decode(
                form["assertion"],
                self.key.public_key(),
                algorithms=["RS256"],
                audience=f"{self.origin}/token",
                issuer=EMAIL,
                options=by_our_clock,  # type: ignore[arg-type]
            )
        except jwt.InvalidTokenError as error:
            return refused("invalid_grant", f"Invalid JWT: {error}")
        self.headers.append(jwt.get_unverified_header(form["assertion"]))
        self.stated.append(stated)
        now = self.clock()
        if stated["exp"] - stated["iat"] > 3600 or stated["exp"] <= now or stated["iat"] > now + 60:
            return refused("invalid_grant", "Invalid JWT: Token must be in a reasonable timeframe.")
        token = f"token-{len(self.tokens) + 1}"
        self.tokens[token] = (now + self.lifetime, stated)
        return web.json_response({"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"})

    async def _api(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        ends, stated = self.tokens.get(token, (0.0, {}))
        if ends <= self.clock():
            return web.json_response({"error": "who are you?"}, status=401)
        return web.json_response({"as": stated.get("sub", EMAIL), "scope": stated.get("scope")})


def refused(error: str, description: str = "", status: int = 400) -> web.Response:
    return web.json_response({"error": error, "error_description": description}, status=status)
