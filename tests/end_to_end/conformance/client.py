"""An MCP client for `@modelcontextprotocol/conformance`: its `auth/*` scenarios start this program with a URL.

The rule: public names of SlyAPI alone; what the scenario wants is in the environment, as the judge documents it.
"""
from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

from SlyAPI import AssertionGrant, Auth, ClientCredentials, OAuth2, OAuth2App
from SlyAPI.errors import SlyError

SCENARIO = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
VERSION = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "2025-11-25")
GIVEN: dict[str, str] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
STATELESS = VERSION >= "2026-07-28"
DOCUMENT = "https://conformance-test.local/client-metadata.json"
ME = {"name": "slyapi-conformance", "version": "1.0.0"}


async def consent(url: str) -> str:
    """The person: opens the page, which redirects at once."""
    async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=False) as reply:
        return reply.headers["Location"]


async def for_resource(url: str, folder: Path) -> Auth:
    app: OAuth2App | Path = folder / "app.json"
    if "client_secret" in GIVEN:
        app = await OAuth2App.discover(GIVEN["issuer"], GIVEN["client_id"], GIVEN["client_secret"])
    return OAuth2.for_resource(url, app, folder / "user.json", consent=consent, client_metadata_url=DOCUMENT)


async def by_credentials(url: str, folder: Path) -> Auth:
    app = await OAuth2App.discover(
        None,
        GIVEN["client_id"],
        GIVEN.get("client_secret"),
        resource=url,
        key=GIVEN.get("private_key_pem"),
        key_alg=GIVEN.get("signing_algorithm"),
    )
    return ClientCredentials(app, (), folder / "machine.json")


async def by_workload(url: str, folder: Path) -> Auth:
    app = await OAuth2App.discover(None, GIVEN["client_id"], resource=url, client_auth="none")
    return AssertionGrant(app, GIVEN["valid_jwt"], (), folder / "machine.json")


async def by_enterprise(url: str, folder: Path) -> Auth:
    """The identity provider's id_token becomes an ID-JAG, which becomes the token of the resource."""
    app = await OAuth2App.discover(None, GIVEN["client_id"], GIVEN["client_secret"], resource=url)
    idp = OAuth2App(GIVEN["idp_client_id"], None, "", GIVEN["idp_token_endpoint"])

    async def id_jag() -> str:
        user = await idp.exchange_token(
            GIVEN["idp_id_token"], "id_token", audience=app.issuer, resource=url, requested_token_type="id-jag"
        )
        return user.token

    return AssertionGrant(app, id_jag, (), folder / "machine.json")


WAYS = {
    "auth/client-credentials-basic": by_credentials,
    "auth/client-credentials-jwt": by_credentials,
    "auth/wif-jwt-bearer": by_workload,
    "auth/enterprise-managed-authorization": by_enterprise,
}


class Mcp:
    """Messages of the protocol, each a POST to one URL."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url, self.count = session, url, 0

    async def send(self, method: str, params: dict[str, Any] | None = None, *, answered: bool = True) -> None:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": dict(params or {})}
        headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": VERSION}
        if STATELESS:
            prefix = "io.modelcontextprotocol"
            about = {"protocolVersion": VERSION, "clientInfo": ME, "clientCapabilities": {}}
            message["params"]["_meta"] = {f"{prefix}/{name}": value for name, value in about.items()}
            headers["Mcp-Method"] = method
            if "name" in message["params"]:
                headers["Mcp-Name"] = message["params"]["name"]
        if answered:
            self.count += 1
            message["id"] = self.count
        async with self.session.post(self.url, json=message, headers=headers) as reply:
            text = await reply.text()
            if reply.status >= 400:
                raise SystemExit(f"{method}: HTTP {reply.status} {text[:200]}")

    async def run(self) -> None:
        if not STATELESS:
            await self.send("initialize", {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": ME})
            await self.send("notifications/initialized", answered=False)
        await self.send("tools/list")
        await self.send("tools/call", {"name": "test-tool", "arguments": {}})


async def main(url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        auth = await WAYS.get(SCENARIO, for_resource)(url, Path(folder))
        async with aiohttp.ClientSession(middlewares=(auth,)) as session:
            await Mcp(session, url).run()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[-1]))
    except SlyError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
