"""The settings of an example, and the practice provider to sign in at if no other is named.

    --provider openid --client client.json     at any OpenID provider, by the client file of scaffold --issuer URL
    --provider google --client google.json     at Google; a client of the type "Web application"
    --provider github --client github.json     at GitHub, which has no OpenID
    --store URL                                where the tokens are (SlyAPI.stores.store_at), else sqlite:users.db;
                                               one with a password better by SLYAPI_STORE in the environment
    --host ADDR                                where it listens, else this machine alone
    --port N                                   the port there, else 8000
    --url https://app.example                  where browsers find it, if a proxy stands before it
    SESSION_KEY                                in the environment: signs the cookies, the same in every process

Register at the provider, below the application's URL: /callback as redirect URI, /signed-out to return to after signing
out there (post_logout_redirect_uris), and /backchannel-logout as backchannel_logout_uri, which its server must reach.
"""
from __future__ import annotations

import argparse
import errno
import os
import secrets
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from accounts import Accounts
from services import SERVICES, Service

from SlyAPI import OAuth2App
from SlyAPI.errors import ConfigError, ListenError
from SlyAPI.stores import PostgresStore, RedisStore, TokenStore, store_at
from SlyAPI.testing import PracticeProvider

PEOPLE = ("Ada Practice", "Bo Practice", "Chris Practice")


def read_settings(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, with its defaults."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--provider", choices=SERVICES, default="practice", help="where people sign in (practice)")
    parser.add_argument("--client", help="the client file, as python -m SlyAPI scaffold writes it")
    store = os.environ.get("SLYAPI_STORE") or "sqlite:users.db"
    parser.add_argument("--store", default=store, help="where the tokens are ($SLYAPI_STORE, else sqlite:users.db)")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="the port to listen on (8000)")
    parser.add_argument("--url", help="where browsers find it, if a proxy stands before it")
    settings = parser.parse_args(argv)
    settings.url = (settings.url or f"http://127.0.0.1:{settings.port}").rstrip("/")
    if settings.provider != "practice" and not settings.client:
        parser.error(f"--provider {settings.provider} needs --client FILE")
    return settings


def listener(settings: argparse.Namespace) -> socket.socket:
    """The socket on which the application listens. Raises `ListenError`, which says what to type."""
    host, port = settings.host, settings.port
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        busy = error.errno == errno.EADDRINUSE
        problem = "another program uses it" if busy else error.strerror or type(error).__name__
        other = f"Close that program, or add --port {port + 1 if port < 65535 else 8000}."
        step = other if busy else "Check --host and --port."
    except OverflowError:
        problem, step = "a port is a number up to 65535", "Check --host and --port."
    raise ListenError(f"Cannot listen on port {port} of {host}: {problem}.", next_step=step)


@asynccontextmanager
async def accounts_for(settings: argparse.Namespace) -> AsyncGenerator[Accounts, None]:
    """The accounts of this application, at the provider that the settings name."""
    # without SESSION_KEY, everybody signs in again after a restart
    key = os.environ.get("SESSION_KEY", "").encode() or secrets.token_bytes(32)
    store, service = store_at(settings.store), SERVICES[settings.provider]
    async with AsyncExitStack() as stack:
        if isinstance(store, RedisStore | PostgresStore):
            await stack.enter_async_context(store)  # closes its connections at the end
        if isinstance(store, PostgresStore):
            await store.migrate()
        yield await _accounts(settings, store, service, key, stack)


async def _accounts(
    settings: argparse.Namespace, store: TokenStore, service: Service, key: bytes, stack: AsyncExitStack
) -> Accounts:
    if settings.client:
        app = OAuth2App.from_json_file(settings.client)
        if settings.provider == "openid":
            if not app.userinfo_uri:
                raise ConfigError("The client file has no userinfo_uri.", next_step="Write it by scaffold --issuer.")
            service = replace(service, api=app.userinfo_uri)
        elif settings.provider == "practice":  # your own, which runs elsewhere
            service = replace(service, api=app.token_uri.removesuffix("/token") + "/api")
        return await stack.enter_async_context(Accounts(app, service, store, settings.url, key))
    secret = secrets.token_urlsafe(24)
    provider = PracticeProvider(
        client_name="Weather Diary",
        client_secret=secret,
        redirect_uris=[f"{settings.url}/callback"],
        people=PEOPLE,
        delay_per_page=0.4,
        openid=True,
        signing_algs=["ES256"],
        client_metadata={
            "post_logout_redirect_uris": [f"{settings.url}/signed-out"],
            "backchannel_logout_uri": f"{settings.url}/backchannel-logout",
        },
    )
    app = await OAuth2App.discover(await stack.enter_async_context(provider.running()), "practice-client", secret)
    service = replace(service, api=provider.api_url)
    return await stack.enter_async_context(Accounts(app, service, store, settings.url, key))
