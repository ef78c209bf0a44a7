"""The account that a token reply names (`sub`): kept with the user, and the same one at every refresh."""
from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from SlyAPI import OAuth2, OAuth2App, OAuth2User, WebAPI
from SlyAPI.errors import IdentityError
from tests.conftest import REDIRECT_URI

if TYPE_CHECKING:
    from tests.conftest import Serve, Server

ALICE = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
SAME: dict[str, Any] = {"sub": ALICE}


async def tokens_for(serve: Serve, more: dict[str, Any]) -> Server:
    async def handle(request: web.Request) -> web.StreamResponse:
        reply = {"access_token": "new", "token_type": "bearer", "expires_in": 60, "refresh_token": "next"}
        return web.json_response(reply | more)

    return await serve(handle)


def app_at(server: Server) -> OAuth2App:
    return OAuth2App("c", None, f"{server.origin}/auth", f"{server.origin}/token")


@pytest.mark.parametrize(
    ("more", "subject"), [(SAME, ALICE), ({}, None), ({"sub": 17}, None), ({"sub": None}, None)], ids=str
)
async def test_the_account_that_a_token_reply_names_is_kept(
    serve: Serve, more: dict[str, Any], subject: str | None
) -> None:
    app = app_at(await tokens_for(serve, more))
    user = await app.exchange_code("code", "v" * 43, "notes", REDIRECT_URI)
    assert user.subject == subject
    assert OAuth2User.from_json_obj(json.loads(json.dumps(user.to_dict()))).subject == subject


@pytest.mark.parametrize(
    ("before", "more", "refused"),
    [
        (SAME, SAME, False),
        (SAME, {}, False),
        ({}, SAME, False),
        (SAME, {"sub": "did:plc:z72i7hdynmk6r22z27h6tvur"}, True),
        (SAME, {"sub": ALICE.upper()}, True),
        (SAME, {"sub": None}, True),
        (SAME, {"sub": [ALICE]}, True),
    ],
    ids=str,
)
async def test_nothing_is_saved_of_a_refresh_for_another_account(
    serve: Serve, tmp_path: Path, before: dict[str, Any], more: dict[str, Any], refused: bool
) -> None:
    server = await tokens_for(serve, more)
    path = tmp_path / "user.json"
    expired = {"token": "old", "refresh_token": "once", "expires_at": "2020-01-01T00:00:00Z", "scopes": ["notes"]}
    path.write_text(json.dumps(expired | before))
    path.chmod(0o600)
    auth = OAuth2(app_at(server), path)
    async with WebAPI(auth) as api:
        api.base_url = server.origin
        if refused:
            with pytest.raises(IdentityError):
                await api.get_json("/me")
        else:
            await api.get_json("/me")
    kept = json.loads(path.read_text())
    assert kept["refresh_token"] == ("once" if refused else "next")
    assert kept.get("sub") == before.get("sub")
