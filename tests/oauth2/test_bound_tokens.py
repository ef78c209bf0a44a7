"""Tokens go to the client and issuer that they are from, where the user file notes those."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from SlyAPI import OAuth2, OAuth2App, OAuth2User, WebAPI
from SlyAPI.errors import CredentialsError
from SlyAPI.stores import MemoryStore
from tests.support.issuer import CLIENT_SECRET, NOW, Issuer

if TYPE_CHECKING:
    from tests.conftest import Practise, Serve

TOKENS = {"token": "access-5EC9E7", "refresh_token": "refresh-5EC9E7", "expires_at": "2020-01-01T00:00:00Z"}


def client_of(issuer: Issuer, **settings: Any) -> OAuth2App:
    return issuer.app(revoke_uri=f"{issuer.origin}/revoke", **settings)


def api_with(auth: OAuth2, issuer: Issuer) -> WebAPI:
    api = WebAPI(auth)
    api.base_url = issuer.origin
    return api


async def by_path(app: OAuth2App, user: dict[str, Any], issuer: Issuer, folder: Path) -> object:
    (folder / "user.json").write_text(json.dumps(user))
    return await api_with(OAuth2(app, folder / "user.json"), issuer).get_json("/any")


async def by_entry(app: OAuth2App, user: dict[str, Any], issuer: Issuer, folder: Path) -> object:
    store = MemoryStore()
    await store.save("robin", user)
    return await OAuth2(app, store.user("robin")).refresh_now()


async def revoked(app: OAuth2App, user: dict[str, Any], issuer: Issuer, folder: Path) -> object:
    await OAuth2(app, OAuth2User.from_json_obj(user)).revoke()
    return None


async def userinfo(app: OAuth2App, user: dict[str, Any], issuer: Issuer, folder: Path) -> object:
    issuer.userinfo = {"sub": "robin"}
    return await app.userinfo(OAuth2User.from_json_obj(user), now=NOW)


async def logout_url(app: OAuth2App, user: dict[str, Any], issuer: Issuer, folder: Path) -> object:
    return app.logout_url(OAuth2User.from_json_obj({**user, "id_token": "a.b.c"}))


def issued_to(client: str, token_uri: str, issuer: str | None = None) -> dict[str, Any]:
    return {"issued_to": {"client": client, "token_uri": token_uri, "issuer": issuer}}


Way = Callable[[OAuth2App, dict[str, Any], Issuer, Path], Awaitable[object]]
WAYS: list[Way] = [by_path, by_entry, revoked, userinfo, logout_url]
NOTED: dict[str, tuple[dict[str, Any], bool]] = {
    "nothing": ({}, True),
    "this client": ({"client_id": "client"}, True),
    "this client and issuer": ({"client_id": "client", "issuer": "HERE"}, True),
    "this client, and no issuer": ({"client_id": "client", "issuer": None}, True),
    "another client": ({"client_id": "other", "issuer": "HERE"}, False),
    "another client, and no issuer": ({"client_id": "other"}, False),
    "another issuer": ({"client_id": "client", "issuer": "https://other.example"}, False),
    "an issuer with a slash more": ({"client_id": "client", "issuer": "HERE/"}, False),
    "a number": ({"client_id": 7}, False),
    "issued to this client": (issued_to("client", "HERE/token"), True),
    "issued to this client, at an older address": (issued_to("client", "HERE/v1/token"), True),
    "issued to this client by this issuer": (issued_to("client", "HERE/token", "HERE"), True),
    "issued to this client by another issuer of the host": (issued_to("client", "HERE/token", "HERE/other"), False),
    "issued to this client at another provider": (issued_to("client", "https://other.example/token"), False),
    "issued to another client": (issued_to("other", "HERE/token"), False),
}


@pytest.mark.parametrize("noted", NOTED)
@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
async def test_tokens_go_to_the_client_and_issuer_that_their_file_notes(
    serve: Serve, tmp_path: Path, way: Way, noted: str
) -> None:
    issuer, (more, fits) = Issuer(), NOTED[noted]
    server = await serve(issuer.handle)
    issuer.origin = server.origin
    user = json.loads(json.dumps({**TOKENS, **more}).replace("HERE", issuer.origin))
    if fits:
        await way(client_of(issuer), user, issuer, tmp_path)
        return
    with pytest.raises(CredentialsError) as refused:
        await way(client_of(issuer), user, issuer, tmp_path)
    assert refused.value.kind == "configuration"
    assert server.seen == []
    assert TOKENS["refresh_token"] not in str(refused.value)
    assert CLIENT_SECRET not in str(refused.value)


async def test_every_grant_and_refresh_notes_whom_the_tokens_were_issued_to(practise: Practise) -> None:
    practice = await practise()
    noted = {"client": practice.app.id, "token_uri": practice.app.token_uri}
    user = await practice.grant()
    assert user.to_dict()["issued_to"] == noted
    old = OAuth2User.from_json_obj({name: value for name, value in user.to_dict().items() if name != "issued_to"})
    assert (await practice.app.refresh(None, old)).to_dict()["issued_to"] == noted


@pytest.mark.parametrize(
    ("issued_at", "now_at"),
    [
        ("https://www.googleapis.com/oauth2/v4/token", "https://oauth2.googleapis.com/token"),
        ("https://api.twitter.com/2/oauth2/token", "https://api.x.com/2/oauth2/token"),
        ("https://login.windows.net/common/oauth2/token", "https://login.microsoftonline.com/t/oauth2/v2.0/token"),
    ],
)
def test_a_provider_at_its_older_address_is_the_same(issued_at: str, now_at: str) -> None:
    user = OAuth2User.from_json_obj({**TOKENS, **issued_to("client", issued_at), "id_token": "a.b.c"})
    assert OAuth2App("client", None, "", now_at, logout_uri="https://p.example/logout").logout_url(user)
