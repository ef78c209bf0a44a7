"""A provider's own parameters of the token request: who sets them, which win, and what stays with a token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from SlyAPI import AssertionGrant, ClientCredentials, OAuth2App, OAuth2User, TokenExchange
from SlyAPI.errors import ConfigError, CredentialsError
from SlyAPI.testing import GRANT_TYPES
from tests.conftest import REDIRECT_URI
from tests.testing.signing import ClientKey

if TYPE_CHECKING:
    from tests.conftest import Practice, Practise


def sent(practice: Practice, name: str) -> list[str | None]:
    """A parameter of the token requests, in order."""
    return [seen.parameters.get(name) for seen in practice.provider.log if seen.endpoint == "token"]


async def machine(practise: Practise, **params: Any) -> Practice:
    practice = await practise(grant_types=GRANT_TYPES)
    practice.app.token_params = params
    return practice


async def test_a_calls_parameters_win_and_none_removes_the_clients(practise: Practise) -> None:
    practice = await machine(practise, tenant="one", region="eu")
    await practice.app.request_token()
    await practice.app.request_token(token_params={"tenant": "two", "region": None})
    assert sent(practice, "tenant") == ["one", "two"]
    assert sent(practice, "region") == ["eu", None]


async def test_a_machines_stored_token_for_other_parameters_is_another_one(practise: Practise) -> None:
    practice = await machine(practise)
    path = practice.folder / "machine.json"
    for params in (None, {"tenant": "one"}, {"tenant": "one"}, {"tenant": "two"}):
        await ClientCredentials(practice.app, (), path, token_params=params, clock=practice.clock).token()
    assert sent(practice, "tenant") == [None, "one", "two"]


async def by_login(practice: Practice, **params: Any) -> OAuth2User:
    login = practice.app.begin_login(REDIRECT_URI, ["notes"], now=practice.clock())
    async with aiohttp.ClientSession() as browser, browser.get(login.url, allow_redirects=False) as answer:
        redirect = answer.headers["Location"]
    return await practice.app.finish_login(login.to_dict(), redirect, now=practice.clock(), **params)


async def by_device(practice: Practice, **params: Any) -> OAuth2User:
    practice.app.device_uri = f"{practice.provider.origin}/device_authorization"
    device = await practice.app.begin_device(["notes"], now=practice.clock())
    clock = practice.clock
    return await practice.app.finish_device(device, clock=clock, sleep=lambda _: asyncio.sleep(0), **params)


async def by_a_later_refresh(practice: Practice, **params: Any) -> OAuth2User:
    return await practice.app.refresh(None, await practice.grant(), now=practice.clock(), **params)


@pytest.mark.parametrize("way", [by_login, by_device, by_a_later_refresh])
async def test_parameters_of_a_call_stay_with_the_user_at_each_renewal(
    practise: Practise, way: Callable[..., Awaitable[OAuth2User]]
) -> None:
    practice = await machine(practise, region="eu")
    user = await way(practice, token_params={"tenant": "one", "region": None})
    path = practice.folder / "user.json"
    path.write_text(json.dumps(user.to_dict()))
    path.chmod(0o600)
    practice.clock.now += 101
    async with practice.api(practice.auth(path)) as api:
        await api.get_json("/notes")
    assert (sent(practice, "tenant")[-2:], sent(practice, "region")[-2:]) == (["one", "one"], [None, None])
    path.write_text(json.dumps({**user.to_dict(), "token_params": ["tenant"]}))
    with pytest.raises(ConfigError, match="token_params"):
        await practice.app.refresh(None, OAuth2User.from_json_file(path), now=practice.clock())


@pytest.mark.parametrize("grant", [TokenExchange, AssertionGrant])
async def test_an_exchange_or_assertion_sends_them_with_each_new_token(practise: Practise, grant: Any) -> None:
    key = ClientKey()
    practice = await machine(practise)
    practice.provider.trust_issuer("https://idp.example", key.jwks)

    async def subject() -> str:
        if grant is TokenExchange:
            return (await practice.app.request_token(now=practice.clock())).token
        now = int(practice.clock())
        claims = {"iss": "https://idp.example", "sub": "robot", "aud": practice.provider.token_url, "jti": str(now)}
        return key.sign({**claims, "iat": now, "exp": now + 300})

    auth = grant(practice.app, subject, scopes=["notes"], token_params={"tenant": "one"}, clock=practice.clock)
    for _ in range(2):
        await auth.token()
        practice.clock.now += 101
    assert [tenant for tenant in sent(practice, "tenant") if tenant] == ["one", "one"]


@pytest.mark.parametrize("name", ["grant_type", "client_secret", "refresh_token", "scope", "resource"])
async def test_a_parameter_that_the_request_sets_is_refused_before_it_is_sent(practise: Practise, name: str) -> None:
    practice = await machine(practise)
    before = len(sent(practice, name))
    with pytest.raises(ConfigError, match=name):
        await practice.app.request_token("notes", token_params={name: "another"})
    assert len(sent(practice, name)) == before


def test_the_client_file_keeps_them_and_refuses_what_cannot_be_one() -> None:
    obj = {"id": "an-id", "secret": "", "auth_uri": "", "token_uri": "https://login.example/token"}
    app = OAuth2App.from_json_obj({**obj, "token_params": {"audience": "https://api.example"}})
    assert app.to_dict()["token_params"] == {"audience": "https://api.example"}
    for wrong in ({"code": "x"}, {"audience": 1}, ["audience"]):
        with pytest.raises(CredentialsError):
            OAuth2App.from_json_obj({**obj, "token_params": wrong})
