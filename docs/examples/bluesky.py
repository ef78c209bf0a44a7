"""Posts and reads as a Bluesky user (AT Protocol).

    python docs/examples/bluesky.py login alice.bsky.social     a handle, a DID, or the URL of a server
    python docs/examples/bluesky.py post "Hello from Python"
    python docs/examples/bluesky.py posts
    python docs/examples/bluesky.py logout

The client and the account's tokens are kept in `bluesky-app.json` and `bluesky-user.json`. `bluesky_identity.py` finds
the account.
"""
from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from bluesky_identity import Account, Directory

from SlyAPI import AsyncLazy, OAuth2, OAuth2App, OAuth2User, SlyError, WebAPI
from SlyAPI.errors import ConfigError, IdentityError
from SlyAPI.json_file import write_json_file
from SlyAPI.oauth2 import browser_consent
from SlyAPI.paging import CursorPages

if TYPE_CHECKING:
    from aiohttp import ClientSession

SCOPES = ["atproto", "repo:app.bsky.feed.post"]
# A client for development, which has no document of its own. The redirect URI stands for every port.
CLIENT_ID = "http://localhost/?" + urlencode({"redirect_uri": "http://127.0.0.1/", "scope": " ".join(SCOPES)})
FOLDER = Path()


# --- the login ---


async def log_in(start: str, directory: Directory, client_id: str = CLIENT_ID) -> tuple[OAuth2App, OAuth2User]:
    """The client and the user of a login that begins with a handle, a DID or a server's URL.

    Raises `IdentityError` if the server is not the account's, and what the steps raise.
    """
    if start.startswith(("https://", "http://")):
        account, hint, app = None, None, await client_at(start.rstrip("/"), directory, client_id)
    else:
        account, hint = await directory.account(start), start.removeprefix("@")
        app = await client_of(account.pds, directory, client_id)
    async with browser_consent() as browser:
        login = await app.push_login(browser.redirect_uri, SCOPES, login_hint=hint, client=directory.session)
        user = await app.finish_login(login, await browser.ask(login), directory.session)
        account = await confirmed(account, user, app, directory)
    user.extra = {**(user.extra or {}), "pds": account.pds}
    return app, user


async def client_of(pds: str, directory: Directory, client_id: str) -> OAuth2App:
    """The client at the authorization server that a PDS names."""
    return await OAuth2App.discover(resource=pds, id=client_id, dpop=True, client=directory.session)


async def client_at(server: str, directory: Directory, client_id: str) -> OAuth2App:
    """The client at a server that is a PDS, or the authorization server of several."""
    with suppress(ConfigError):  # it is not a PDS
        return await client_of(server, directory, client_id)
    return await OAuth2App.discover(server, client_id, dpop=True, client=directory.session)


async def confirmed(account: Account | None, user: OAuth2User, app: OAuth2App, directory: Directory) -> Account:
    """The account that the tokens are for. Any server can name any account, so every client has to check this.

    It is the account that the login began with; or, if it began with a server, one whose PDS trusts that server.
    """
    if "atproto" not in user.scopes or user.subject is None:
        raise IdentityError("The server did not sign in an account of AT Protocol.")
    if account is None:
        account = await directory.account(user.subject)
        if (await client_of(account.pds, directory, app.id)).issuer != app.issuer:
            raise IdentityError(f"{app.issuer} signed in {user.subject}, an account of another server.")
    if user.subject != account.did:
        raise IdentityError(f"{app.issuer} signed in {user.subject}, not {account.did}.")
    return account


# --- the API ---


class Bluesky(WebAPI):
    """What a PDS does for its user (https://docs.bsky.app)."""

    def __init__(self, auth: OAuth2, session: ClientSession | None = None) -> None:
        super().__init__(auth, session=session)
        self.did, pds = auth.user.subject, (auth.user.extra or {})["pds"]
        self.base_url = f"{pds}/xrpc"

    async def publish(self, text: str) -> str:
        """The address of a new post."""
        record = {"$type": "app.bsky.feed.post", "text": text, "createdAt": datetime.now(UTC).isoformat()}
        body = {"repo": self.did, "collection": "app.bsky.feed.post", "record": record}
        return str((await self.post_json("/com.atproto.repo.createRecord", json=body))["uri"])

    def posts(self, limit: int | None = None) -> AsyncLazy[str]:
        """The texts of the user's posts, the newest first."""
        params = {"repo": self.did, "collection": "app.bsky.feed.post"}
        pages = CursorPages("cursor", "cursor")
        found = self.paginated("/com.atproto.repo.listRecords", params, limit, pages=pages, items="records")
        return found.map(lambda record: str(record["value"]["text"]))


# --- the program ---


async def main(words: Sequence[str], directory: Directory, folder: Path = FOLDER) -> None:
    app_path, user_path = folder / "bluesky-app.json", folder / "bluesky-user.json"
    match words:
        case ["login", start]:
            app, user = await log_in(start, directory)
            write_json_file(app_path, app.to_dict())
            write_json_file(user_path, user.to_dict())
            print(f"Signed in as {user.subject}.")
        case ["post", text]:
            async with Bluesky(OAuth2(app_path, user_path), directory.session) as api:
                print(await api.publish(text))
        case ["posts"]:
            async with Bluesky(OAuth2(app_path, user_path), directory.session) as api:
                async for text in api.posts(limit=20):
                    print(text)
        case ["logout"]:
            await OAuth2(app_path, user_path).revoke(directory.session)
            print("Signed out.")
        case _:
            print(__doc__)


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1:], Directory()))
    except SlyError as error:
        raise SystemExit(str(error)) from None
