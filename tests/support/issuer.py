"""An issuer that signs whatever a test wants, by PyJWT and cryptography, so that another library judges ours."""
from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from SlyAPI import OAuth2App, OAuth2User
from SlyAPI.oauth2.client.login import Login

NOW = 1_800_000_000.0
REDIRECT_URI = "http://127.0.0.1:8080"
CLIENT_SECRET = "client-secret-5EC9E7-long-enough-for-HS256"


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@cache
def private_key(alg: str, number: int = 0) -> Any:
    """A key for this algorithm; other numbers are other keys."""
    if alg in ("RS256", "PS256", "RS512"):
        return rsa.generate_private_key(65537, 2048)
    if alg == "RS256-short":
        return rsa.generate_private_key(65537, 1024)
    if alg in ("ES256", "ES384"):
        return ec.generate_private_key(ec.SECP256R1() if alg == "ES256" else ec.SECP384R1())
    return ed25519.Ed25519PrivateKey.generate()


def jwk_of(key: Any, **members: Any) -> dict[str, Any]:
    """The public JWK of a private key, or with `whole=True` the private one."""
    whole = members.pop("whole", False)
    algorithm = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256"}
    name = next((alg for kind, alg in algorithm.items() if isinstance(key, kind)), "EdDSA")
    made = jwt.get_algorithm_by_name(name).to_jwk(key if whole else key.public_key(), as_dict=True)
    return {**{name: value for name, value in made.items() if name != "key_ops"}, **members}


def compact(header: Any, payload: Any, key: Any, alg: str) -> str:
    """A JWS in compact form (RFC 7515 §3.1); header and payload as objects, or as bytes that stay as they are."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signing_input = ".".join(map(b64url, parts))
    if alg == "none":
        return f"{signing_input}."
    algorithm = jwt.get_algorithm_by_name(alg)
    return f"{signing_input}.{b64url(algorithm.sign(signing_input.encode(), key))}"


@dataclass
class Issuer:
    """Token endpoint, keys and userinfo at one origin, with `now` of its own."""

    alg: str = "RS256"
    origin: str = ""
    keys: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    key_headers: dict[str, str] = field(default_factory=dict[str, str])
    key_status: int = 200
    key_body: bytes | None = None
    asked_keys: int = 0
    id_token: str | None = field(default=None, repr=False)
    access_token: str = field(default="access-token-5EC9E7", repr=False)
    userinfo: Any = None
    userinfo_type: str = "application/json"
    seen: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def __post_init__(self) -> None:
        self.keys = [jwk_of(self.key, kid="k0", alg=self.alg, use="sig")]

    @property
    def key(self) -> Any:
        return private_key(self.alg)

    def app(self, **settings: Any) -> OAuth2App:
        usual = {
            "issuer": self.origin,
            "jwks_uri": f"{self.origin}/jwks",
            "userinfo_uri": f"{self.origin}/userinfo",
            "logout_uri": f"{self.origin}/logout",
            "id_token_alg": self.alg,
            "client_auth": "basic",
        }
        uris = (f"{self.origin}/auth", f"{self.origin}/token")
        return OAuth2App("client", CLIENT_SECRET, *uris, **{**usual, **settings})

    def claims(self, nonce: str | None = "n", **changes: Any) -> dict[str, Any]:
        """Claims of an id_token that is right, with changes; None removes one."""
        half = hashlib.new({"ES384": "sha384", "EdDSA": "sha512"}.get(self.alg, "sha256"), self.access_token.encode())
        claims = {
            "iss": self.origin,
            "sub": "robin",
            "aud": "client",
            "iat": int(NOW),
            "exp": int(NOW) + 300,
            "auth_time": int(NOW) - 5,
            "nonce": nonce,
            "at_hash": b64url(half.digest()[: half.digest_size // 2]),
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def sign(self, claims: Any, header: Mapping[str, Any] | None = None, *, key: Any = None) -> str:
        merged = {"alg": self.alg, "kid": "k0", **(header or {})}
        return compact({k: v for k, v in merged.items() if v is not None}, claims, key or self.key, self.alg)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/jwks":
            self.asked_keys += 1
            body = json.dumps({"keys": self.keys}).encode() if self.key_body is None else self.key_body
            return web.Response(body=body, status=self.key_status, headers=self.key_headers)
        if request.path == "/userinfo":
            text = self.userinfo if isinstance(self.userinfo, str) else json.dumps(self.userinfo)
            return web.Response(text=text, content_type=self.userinfo_type)
        self.seen.append(dict(await request.post()))
        reply = {"access_token": self.access_token, "refresh_token": "refresh-5EC9E7", "expires_in": 100}
        return web.json_response(reply | ({} if self.id_token is None else {"id_token": self.id_token}))


Make = Callable[[Issuer, dict[str, Any]], str]


async def signed_in(
    issuer: Issuer, app: OAuth2App, make: Make | None = None, *, now: float = NOW, **wishes: Any
) -> OAuth2User:
    """A whole login whose id_token `make` makes of the claims that would be right."""
    login: Login = app.begin_login(REDIRECT_URI, "openid", now=now, **wishes)
    claims = issuer.claims(login.nonce)
    issuer.id_token = issuer.sign(claims) if make is None else make(issuer, claims)
    return await app.finish_login(login.to_dict(), f"{REDIRECT_URI}?state={login.state}&code=c", now=now)
