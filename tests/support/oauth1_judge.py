"""An OAuth 1.0a server of oauthlib's under aiohttp.web: it reads what came over the wire, by no code of ours."""
from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from importlib import import_module
from typing import Any

from aiohttp import web

from tests.support.serving import all_by, served

_oauthlib: Any = import_module("oauthlib.oauth1")  # it has no types
_Validator: Any = _oauthlib.RequestValidator

CLIENT_KEY, CLIENT_SECRET = "client-key-of-30-characters-or", "client secret & = % ü of some length"


@dataclass
class Token:
    """A temporary or a lasting token, and what it stands for."""

    secret: str
    callback: str = ""
    verifier: str = ""


@dataclass
class Judge(_Validator):  # type: ignore[misc]
    """The server's memory, and its answers to oauthlib's questions. Timestamps may be 300 s off its clock."""

    clock: Callable[[], float]
    methods: set[str] = field(default_factory=lambda: {"HMAC-SHA1", "HMAC-SHA256", "RSA-SHA1", "PLAINTEXT"})
    rsa_key: str = ""
    temporary: dict[str, Token] = field(default_factory=dict[str, Token])
    tokens: dict[str, Token] = field(default_factory=dict[str, Token])
    nonces: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    log: list[web.Request] = field(default_factory=list[web.Request])
    origin: str = ""
    answer: Callable[[web.Request], web.StreamResponse | None] = lambda request: None
    """A test's own answer, before the server is asked."""

    def __post_init__(self) -> None:
        super().__init__()
        self.server = _oauthlib.WebApplicationServer(self)

    enforce_ssl = False
    timestamp_lifetime = 10**11  # by the machine's clock; ours is below
    dummy_client = dummy_request_token = dummy_access_token = "no-such-thing-of-30-characters"

    @property
    def allowed_signature_methods(self) -> set[str]:
        return self.methods

    def check_client_key(self, client_key: str) -> bool:
        return bool(client_key)

    check_request_token = check_access_token = check_verifier = check_nonce = check_client_key

    def check_realms(self, realms: list[str]) -> bool:
        return True

    def get_default_realms(self, client_key: str, request: Any) -> list[str]:
        return []

    def get_realms(self, token: str, request: Any) -> list[str]:
        return []

    def validate_client_key(self, client_key: str, request: Any) -> bool:
        return client_key == CLIENT_KEY

    def get_client_secret(self, client_key: str, request: Any) -> str:
        return CLIENT_SECRET

    def get_rsa_key(self, client_key: str, request: Any) -> str:
        return self.rsa_key

    def get_request_token_secret(self, client_key: str, token: str, request: Any) -> str:
        return self.temporary[token].secret if token in self.temporary else ""

    def get_access_token_secret(self, client_key: str, token: str, request: Any) -> str:
        return self.tokens[token].secret if token in self.tokens else ""

    def get_redirect_uri(self, token: str, request: Any) -> str:
        return self.temporary[token].callback

    def validate_redirect_uri(self, client_key: str, redirect_uri: str, request: Any) -> bool:
        return redirect_uri == "oob" or redirect_uri.startswith(("http://localhost", "http://127.0.0.1"))

    def validate_timestamp_and_nonce(
        self, client_key: str, timestamp: str, nonce: str, request: Any, **tokens: Any
    ) -> bool:
        fresh = (timestamp, nonce) not in self.nonces
        self.nonces.add((timestamp, nonce))
        return fresh and abs(int(timestamp) - self.clock()) <= 300

    def validate_request_token(self, client_key: str, token: str, request: Any) -> bool:
        return token in self.temporary

    def validate_access_token(self, client_key: str, token: str, request: Any) -> bool:
        return token in self.tokens

    def validate_requested_realms(self, client_key: str, realms: list[str], request: Any) -> bool:
        return True

    def validate_realms(self, *args: Any, **more: Any) -> bool:
        return True

    def verify_request_token(self, token: str, request: Any) -> bool:
        return token in self.temporary

    def verify_realms(self, token: str, realms: list[str], request: Any) -> bool:
        return True

    def validate_verifier(self, client_key: str, token: str, verifier: str, request: Any) -> bool:
        return token in self.temporary and self.temporary[token].verifier == verifier != ""

    def save_request_token(self, token: dict[str, str], request: Any) -> None:
        self.temporary[token["oauth_token"]] = Token(token["oauth_token_secret"], request.redirect_uri)

    def save_verifier(self, token: str, verifier: dict[str, str], request: Any) -> None:
        self.temporary[token].verifier = verifier["oauth_verifier"]

    def save_access_token(self, token: dict[str, str], request: Any) -> None:
        self.tokens[token["oauth_token"]] = Token(token["oauth_token_secret"])

    def invalidate_request_token(self, client_key: str, token: str, request: Any) -> None:
        del self.temporary[token]

    # --- over HTTP ---

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Judge, None]:
        async with served(all_by(self._handle)) as self.origin:
            yield self

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        response = await self._answer(request)
        response.headers.setdefault("Date", formatdate(self.clock(), usegmt=True))
        return response

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.log.append(request)
        own = self.answer(request)
        if own is not None:
            return own
        asked = (await self._as_it_came(request), request.method, await request.text(), dict(request.headers))
        endpoint = {
            "/Request": self.server.create_request_token_response,
            "/Authorize": self.server.create_authorization_response,
            "/Access": self.server.create_access_token_response,
        }.get(request.path)
        if endpoint is None:
            return self._resource(*asked)
        try:
            headers, body, status = endpoint(*asked)
        except _oauthlib.OAuth1Error as error:
            return web.Response(status=error.status_code, text=error.urlencoded)
        return web.Response(status=status, text=body, headers=headers)

    async def _as_it_came(self, request: web.Request) -> str:
        """The address by the request line and the Host header."""
        return f"http://{request.headers['Host']}{request.rel_url.raw_path_qs}"

    def _resource(self, uri: str, method: str, body: str, headers: dict[str, str]) -> web.Response:
        valid, asked = self.server.validate_protected_resource_request(uri, method, body, headers)
        if not valid:
            return web.json_response({"error": "the signature is not right"}, status=401)
        return web.json_response({"signed": True, "method": asked.signature_method})
