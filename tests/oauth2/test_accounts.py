"""An account: client, user and API belong together, or nothing is sent. `login`: tests/cli/test_login.py."""

from __future__ import annotations

import copy
import json
import pickle
from os.path import abspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import ClientCredentials, OAuth2, OAuth2App, OAuth2User, SqliteStore, WebAPI
from SlyAPI.errors import ConfigError, CredentialsError, CredentialsNotFoundError, GrantEndedError, OriginError
from tests.conftest import Practice

if TYPE_CHECKING:
    from tests.conftest import Practise, Serve


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLYAPI_HOME", str(tmp_path / "accounts"))
    monkeypatch.delenv("SLYAPI_STORE", raising=False)
    return tmp_path / "accounts"


async def account(practice: Practice, home: Path, name: str = "work", **changed: Any) -> OAuth2User:
    """An account of the practice provider, as `login` leaves it; its user."""
    user, folder = await practice.grant(), home / name
    user.issued_to = {**(user.issued_to or {}), "account": name}
    folder.mkdir(parents=True)
    api = {"base_url": practice.provider.api_url, "api": [practice.provider.origin]}
    for file, value in {"client": practice.app.to_dict(), "user": user.to_dict(), "account": api | changed}.items():
        (folder / f"{file}.json").write_text(json.dumps(value))
    return user


def signer(practice: Practice, name: str = "work") -> OAuth2:
    return OAuth2.account(name, clock=practice.clock)


async def test_an_account_signs_at_its_base_url_and_keeps_its_tokens(practise: Practise, home: Path) -> None:
    practice = await practise()
    before = await account(practice, home)
    async with WebAPI(signer(practice)) as api:
        await api.get_json("/notes")
        practice.clock.now += 101
        await api.get_json("/notes")
    after = OAuth2User.from_json_file(home / "work" / "user.json")
    assert after.refresh_token != before.refresh_token
    assert after.issued_to == before.issued_to, "the refreshed tokens are the account's too"


async def test_the_tokens_are_in_the_store_of_the_environment(
    practise: Practise, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    practice, store = await practise(), SqliteStore(tmp_path / "users.db")
    await store.user("work").save(await account(practice, home))
    (home / "work" / "user.json").unlink()
    monkeypatch.setenv("SLYAPI_STORE", f"sqlite:{tmp_path}/users.db")
    practice.clock.now += 101
    async with WebAPI(signer(practice)) as api:
        await api.get_json("/notes")
        await store.user("work").delete()
        practice.clock.now += 101
        with pytest.raises(CredentialsNotFoundError) as caught:
            await api.get_json("/notes")
    assert "login work" in caught.value.next_step


async def by_web_api(auth: OAuth2, url: str) -> None:
    await WebAPI(auth, url).get_json("")


async def by_middleware(auth: OAuth2, url: str) -> None:
    async with aiohttp.ClientSession(middlewares=(auth,)) as session, session.get(url):
        pass


@pytest.mark.parametrize("made", [lambda auth: auth, copy.copy, lambda auth: pickle.loads(pickle.dumps(auth))])
async def test_no_other_origin_gets_the_tokens(practise: Practise, serve: Serve, home: Path, made: Any) -> None:
    practice, other = await practise(), await serve()
    await account(practice, home)
    auth = made(OAuth2.account("work"))
    with pytest.raises(OriginError):
        auth.at(other.origin)
    with pytest.raises(OriginError):
        await by_web_api(auth, f"{other.origin}/x")
    await by_middleware(auth, f"{other.origin}/x")
    assert not [seen for seen in other.seen if "Authorization" in seen.headers]
    await by_middleware(auth, practice.provider.api_url)


SWAPPED: dict[str, dict[str, Any]] = {
    "another client": {"client": {"id": "other"}},
    "another provider": {"client": {"token_uri": "https://other.example/token"}},
    "another account's user": {"user": "theirs"},
}


@pytest.mark.parametrize("how", SWAPPED)
async def test_files_that_were_swapped_by_hand_send_nothing(practise: Practise, home: Path, how: str) -> None:
    practice = await practise()
    await account(practice, home)
    await account(practice, home, "theirs")
    folder, changed = home / "work", SWAPPED[how]
    if "user" in changed:
        (folder / "user.json").write_bytes((home / "theirs" / "user.json").read_bytes())
    client = practice.app.to_dict() | changed.get("client", {})
    (folder / "client.json").write_text(json.dumps(client))
    asked = len(practice.provider.log)
    for later in (0, 101):
        practice.clock.now += later
        with pytest.raises(CredentialsError, match="nothing was sent"):
            await WebAPI(signer(practice)).get_json("/notes")
    with pytest.raises(CredentialsError, match="nothing was sent"):
        await signer(practice).revoke()
    assert len(practice.provider.log) == asked


async def test_an_ended_grant_names_the_command_that_logs_in(practise: Practise, home: Path) -> None:
    practice = await practise()
    practice.app.revoke_uri = practice.provider.revoke_url
    await account(practice, home)
    await practice.app.revoke(OAuth2User.from_json_file(home / "work" / "user.json"))
    practice.clock.now += 101
    with pytest.raises(GrantEndedError) as caught:
        await WebAPI(signer(practice)).get_json("/notes")
    assert "login work" in caught.value.next_step
    (home / "work" / "user.json").unlink()
    with pytest.raises(CredentialsNotFoundError) as missing:
        OAuth2.account("work")
    assert "login work" in missing.value.next_step


async def test_an_account_of_the_program_itself_gets_its_tokens_anew(practise: Practise, home: Path) -> None:
    practice = await practise(grant_types=["client_credentials"])
    folder = home / "robot"
    folder.mkdir(parents=True)
    (folder / "client.json").write_text(json.dumps(practice.app.to_dict()))
    api = {"base_url": practice.provider.api_url, "api": [practice.provider.origin], "machine_scopes": ["notes"]}
    (folder / "account.json").write_text(json.dumps(api))
    async with WebAPI(signer(practice, "robot")) as robot:
        await robot.get_json("/notes")
    kept = ClientCredentials(OAuth2App.from_json_file(folder / "client.json"), "notes", folder / "user.json")
    assert await kept.token() == OAuth2User.from_json_file(folder / "user.json").token


@pytest.mark.parametrize(
    "changed",
    [
        *({"api": value} for value in ([], None, "x", [7], ["https://api.example"], ["file:///etc"])),
        *({"base_url": None}, {"base_url": "http://api.example"}, {"machine_scopes": "x"}),
    ],
)
async def test_an_account_file_that_names_no_api_is_not_used(practise: Practise, home: Path, changed: Any) -> None:
    await account(await practise(), home, **changed)
    with pytest.raises(CredentialsError) as caught:
        OAuth2.account("work")
    assert "account.json" in str(caught.value)
    assert "login work" in caught.value.next_step


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a/b", "../work", "a\\b", "a.json", "-x", "a b", "a\n", "a\x1b[2J", "é", "x" * 65),
        *("con", "NUL", "lpt1", "get", "Post", "DELETE", "work\0", None, 7),
    ],
)
def test_a_name_that_is_no_word_or_no_folder_is_refused(home: Path, name: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        OAuth2.account(name)
    assert str(caught.value).isprintable()
    assert not isinstance(caught.value, CredentialsError)


@given(st.text(max_size=70))
def test_any_text_as_a_name_is_an_error_that_shows_safely(name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLYAPI_HOME", "/nowhere/at/all")
        with pytest.raises((ConfigError, CredentialsNotFoundError)) as caught:
            OAuth2.account(name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("asked", "word"), [("Work", "mean work"), ("wrok", "mean work"), ("other", "login other")])
async def test_a_missing_account_names_the_near_one_or_the_command(
    practise: Practise, home: Path, asked: str, word: str
) -> None:
    await account(await practise(), home)
    with pytest.raises(CredentialsNotFoundError) as caught:
        OAuth2.account(asked)
    assert word in caught.value.next_step


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"SLYAPI_HOME": "/a", "XDG_CONFIG_HOME": "/b"}, "/a"),
        ({"XDG_CONFIG_HOME": "/b"}, "/b/slyapi"),
        ({"XDG_CONFIG_HOME": "b"}, "/home/me/.config/slyapi"),
        ({}, "/home/me/.config/slyapi"),
    ],
)
def test_accounts_are_where_the_platform_keeps_configuration(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], place: str
) -> None:
    from SlyAPI.oauth2.accounts import accounts_home

    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    assert abspath(accounts_home(variables, "linux")) == abspath(place)
    if not variables:
        assert abspath(accounts_home({}, "darwin")) == abspath("/home/me/Library/Application Support/slyapi")
        assert abspath(accounts_home({"APPDATA": "/r"}, "win32").replace("\\", "/")) == abspath("/r/slyapi")


