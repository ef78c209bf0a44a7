"""A provider's own parameters of the token request: who sets them, which win, and what stays with a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from SlyAPI import ClientCredentials, OAuth2App, OAuth2User
from SlyAPI.errors import ConfigError, CredentialsError
from SlyAPI.testing import GRANT_TYPES

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


async def test_parameters_of_a_call_stay_with_the_user_at_each_renewal(practise: Practise) -> None:
    practice = await practise()
    granted = await practice.grant()
    user = await practice.app.refresh(None, granted, token_params={"tenant": "one"}, now=practice.clock())
    again = OAuth2User.from_json_obj(user.to_dict())
    await practice.app.refresh(None, again, now=practice.clock())
    assert sent(practice, "tenant")[-2:] == ["one", "one"]


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
