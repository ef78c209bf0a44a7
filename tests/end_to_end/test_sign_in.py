"""Sign-ins at a provider that others wrote: whose id_token it is, userinfo, a refresh, and the end of the session."""
from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from SlyAPI import OAuth2App, OAuth2User
from tests.end_to_end.chromium import Person
from tests.end_to_end.oidc_server import OidcServer
from tests.support.serving import all_by, served


async def sign_in(app: OAuth2App, person: Person, who: str, **wishes: Any) -> OAuth2User:
    arrived: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/":
            arrived.append(str(request.url))
        return web.Response(text="<title>Done</title>", content_type="text/html")

    async with served(all_by(answer)) as origin:
        scopes = "openid profile offline_access"
        login = app.begin_login(f"{origin}/", scopes, prompt="consent", max_age=3600, **wishes)
        kept = json.loads(json.dumps(login.to_dict()))
        await person.consents(login.url, login=who)
        return await app.finish_login(kept, arrived[-1])


@pytest.mark.parametrize("name", ["public", "basic"])
async def test_a_sign_in_at_oidc_provider(oidc: OidcServer, person: Person, name: str) -> None:
    client = oidc.clients[name]
    app = await OAuth2App.discover(oidc.issuer, client.id, client.secret)
    user = await sign_in(app, person, "bob")
    assert user.identity is not None
    assert (user.identity.issuer, user.identity.subject) == (oidc.issuer, "bob")
    assert user.identity.authenticated_at is not None
    assert (await app.userinfo(user))["name"] == "bob of the tests"

    again = OAuth2App.from_json_obj(json.loads(json.dumps(app.to_dict())))
    fresh = await again.refresh(None, OAuth2User.from_json_obj(json.loads(json.dumps(user.to_dict()))))
    assert fresh.identity == user.identity
    assert fresh.token != user.token

    async with aiohttp.ClientSession() as session, session.get(app.logout_url(user)) as page:
        assert page.status == 200
