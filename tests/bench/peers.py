"""The same signed GET by each peer, in the environment where it is installed: `python -m tests.bench.peers URL`.

The rule: each peer as its own documentation has it called, with a token that lives for long.
"""

import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from importlib import import_module

from tests.bench.driving import TOKEN, Call, Mode, drive

LIVES = 10_000_000
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the benchmark's server has no TLS


@asynccontextmanager
async def slyapi(url: str) -> AsyncGenerator[Call, None]:
    """0.6.1: its expiry is naive and in UTC."""
    ours = import_module("SlyAPI")
    app = ours.OAuth2App("id", "secret", f"{url}/auth", f"{url}/token")
    api = ours.WebAPI(ours.OAuth2(app, ours.OAuth2User(TOKEN, "refresh", datetime(2100, 1, 1))))
    api.base_url = url
    yield lambda: api.get_json("/small")


@asynccontextmanager
async def authlib(url: str) -> AsyncGenerator[Call, None]:
    client_class = import_module("authlib.integrations.httpx_client").AsyncOAuth2Client
    token = {"access_token": TOKEN, "token_type": "Bearer", "expires_at": int(time.time()) + LIVES}
    async with client_class("id", "secret", token=token, token_endpoint=f"{url}/token") as client:

        async def call() -> object:
            reply = await client.get(f"{url}/small")
            return reply.raise_for_status().json()

        yield call


@asynccontextmanager
async def requests_oauthlib(url: str) -> AsyncGenerator[Call, None]:
    token = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": LIVES}
    with import_module("requests_oauthlib").OAuth2Session("id", token=token) as session:

        async def call() -> object:
            reply = session.get(f"{url}/small")
            reply.raise_for_status()
            return reply.json()

        yield call


@asynccontextmanager
async def aiogoogle(url: str) -> AsyncGenerator[Call, None]:
    library, models = import_module("aiogoogle"), import_module("aiogoogle.models")
    user = {"access_token": TOKEN, "refresh_token": "refresh", "expires_at": "2100-01-01T00:00:00+00:00"}
    client = {"client_id": "id", "client_secret": "secret"}
    async with library.Aiogoogle(user_creds=user, client_creds=client) as google:
        yield lambda: google.as_user(models.Request(method="GET", url=f"{url}/small"))


@asynccontextmanager
async def gidgethub(url: str) -> AsyncGenerator[Call, None]:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        github = import_module("gidgethub.aiohttp").GitHubAPI(session, "bench", oauth_token=TOKEN)
        yield lambda: github.getitem(f"{url}/small")


MODES: dict[str, Mode] = {
    mode.__name__: mode for mode in (slyapi, authlib, requests_oauthlib, aiogoogle, gidgethub)
}

if __name__ == "__main__":
    drive(MODES)
