"""Accounts on the command line: a login that keeps a client, a person's tokens and an API together, by one name."""
from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from SlyAPI import OAuth2User, SqliteStore
from SlyAPI.testing import GRANT_TYPES
from tests.support.place import SECRET, Place, failure, place_at, secrets_in
from tests.support.program import Ended

pytestmark = pytest.mark.slow


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place, None]:
    async with place_at(tmp_path, grant_types=GRANT_TYPES) as place:
        place.client(revoke_uri=place.provider.revoke_url)
        place.env["SLYAPI_HOME"] = str(tmp_path / "accounts")
        yield place


def folder(place: Place, name: str = "work") -> Path:
    return Path(place.env["SLYAPI_HOME"]) / name


def held(place: Place, name: str = "work") -> OAuth2User:
    return OAuth2User.from_json_file(folder(place, name) / "user.json")


async def logs_in(place: Place, *more: str, name: str = "work") -> Ended:
    """`login work` with the client in app.json, for the practice API."""
    return await place.runs("login", name, *more, "--app", "app.json", "--api", place.provider.api_url)


async def test_login_keeps_a_grant_that_every_command_finds_by_name(place: Place) -> None:
    ended = await logs_in(place, "notes")
    assert ended.code == 0, ended
    assert "call work /" in ended.err
    called = await place.runs("call", "work", "/notes")
    assert called.code == 0, called
    token = (await place.runs("token", "work")).out.strip()
    assert token == held(place).token
    assert (await place.runs("refresh", "work")).code == 0
    assert held(place).token != token
    shown = await place.runs("show", "work")
    assert (shown.code, "notes" in shown.out) == (0, True)
    assert "tokens go to" in (await place.runs("doctor", "work")).out
    listed = await place.runs("accounts")
    assert listed.out.startswith("work  127.0.0.1, notes, ")
    assert (await place.runs("accounts", "--names")).out == "work\n"
    assert json.loads((await place.runs("accounts", "--json")).out)["accounts"][0]["scopes"] == ["notes"]
    assert not secrets_in(place, ended.out, ended.err, shown.out, listed.out)
    assert (await place.runs("revoke", "work")).code == 0
    assert not (folder(place) / "user.json").exists()
    if sys.platform != "win32":
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder(place).glob("*.json")} == {0o600}
        assert stat.S_IMODE(folder(place).stat().st_mode) == 0o700


async def test_a_second_login_adds_scopes_and_asks_for_no_client(place: Place) -> None:
    await logs_in(place, "notes")
    ended = await place.runs("login", "work", "weather.read", "--json")
    assert json.loads(ended.out)["scopes"] == ["weather.read", "notes"]
    assert json.loads((folder(place) / "account.json").read_text())["base_url"] == place.provider.api_url


async def test_logout_ends_the_grant_and_forgets_it(place: Place) -> None:
    await logs_in(place, "notes")
    token = held(place).token
    assert json.loads((await place.runs("logout", "work", "--json")).out)["revoked"] is True
    assert [seen.parameters["token"] for seen in place.provider.log if seen.endpoint == "revoke"]
    assert {path.name for path in folder(place).glob("*.json")} == {"client.json", "account.json"}
    failure(place, await place.runs("call", "work", "/notes"), 3, "not logged in", "login work")
    failure(place, await place.runs("show", "work"), 3, "not logged in", "login work")
    assert "not logged in" in (await place.runs("accounts")).out
    assert (await place.runs("login", "work", "notes")).code == 0, "the client was kept"
    assert held(place).token != token
    assert (await place.runs("logout", "work", "--client")).code == 0
    assert not folder(place).exists()
    failure(place, await place.runs("call", "work", "/notes"), 3, "no account work", "login work")


async def test_logout_where_nobody_can_end_the_grant(place: Place) -> None:
    place.client()
    await logs_in(place, "notes")
    ended = await place.runs("logout", "work")
    assert (ended.code, "settings" in ended.err) == (0, True)
    assert not (folder(place) / "user.json").exists()
    place.client(revoke_uri="http://127.0.0.1:1/revoke")
    await logs_in(place, "notes", name="other")
    failure(place, await place.runs("logout", "other"), 7, "--force")
    assert held(place, "other").token
    assert (await place.runs("logout", "other", "--force")).code == 0
    assert not (folder(place, "other") / "user.json").exists()


async def test_a_call_goes_to_the_accounts_api_and_nowhere_else(place: Place) -> None:
    await logs_in(place, "notes")
    whole = await place.runs("call", "work", f"{place.provider.api_url}/notes")
    assert whole.code == 0
    asked = len(place.provider.log)
    failure(place, await place.runs("call", "work", "https://other.example/notes"), 2, "nothing was sent")
    failure(place, await place.runs("call", "work", "//other.example/notes"), 2, "nothing was sent")
    assert len(place.provider.log) == asked


async def test_the_tokens_of_accounts_may_be_in_a_store(place: Place) -> None:
    place.env["SLYAPI_STORE"] = "sqlite:users.db"
    assert (await logs_in(place, "notes")).code == 0
    assert not (folder(place) / "user.json").exists()
    store = SqliteStore(place.folder / "users.db")
    before = await store.user("work").load()
    assert (await place.runs("refresh", "work")).code == 0
    assert (await store.user("work").load()).token != before.token
    assert (await place.runs("call", "work", "/notes")).code == 0
    assert "notes" in (await place.runs("accounts")).out
    assert (await place.runs("logout", "work")).code == 0
    assert await store.names() == []


async def test_an_account_of_the_program_itself(place: Place) -> None:
    ended = await logs_in(place, "notes", "--client-credentials")
    assert ended.code == 0, ended
    assert (await place.runs("call", "work", "/notes")).code == 0
    token = held(place).token
    assert (await place.runs("refresh", "work")).code == 0
    assert held(place).token != token
    assert "the program itself" in (await place.runs("accounts")).out


async def test_a_person_is_led_from_the_console_to_a_kept_grant(place: Place) -> None:
    """On a terminal, with the issuer alone; then by name alone."""
    terminal = await place.terminal("login", "work", "--app", "app.json")
    await terminal.says("address of the API")
    terminal.types(place.provider.api_url)
    await terminal.says("Scopes, separated by spaces")
    terminal.types("notes")
    await terminal.says("Logged in.")
    assert await terminal.ends() == 0
    github = await place.terminal("login", "github")
    await github.says("https://github.com/settings/developers")
    await github.says("Client id: ")
    github.types("abc")
    await github.says("Client secret")
    github.types(SECRET)
    await github.says("Scopes")
    await github.presses_ctrl_c()
    assert await github.ends() == 130
    assert not secrets_in(place, github.screen)
    kept = json.loads((folder(place, "github") / "client.json").read_text())
    assert (kept["id"], kept["secret"]) == ("abc", SECRET)
    api = json.loads((folder(place, "github") / "account.json").read_text())
    assert api["base_url"] == "https://api.github.com"


REFUSED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "a path": (("login", "../work"), 2, "cannot be the name"),
    "a file": (("login", "work.json"), 2, "cannot be the name"),
    "a device": (("login", "NUL"), 2, "device"),
    "a method": (("logout", "get"), 2, "HTTP method"),
    "a control character": (("login", "a\x1b[2J"), 2, "cannot be the name"),
    "an unknown provider": (("login", "new", "--provider", "gitbub"), 2, "mean github"),
    "nobody to ask for the client": (("login", "github"), 2, "--id"),
    "nobody to ask for the API": (("login", "new", "--app", "app.json"), 2, "--api"),
    "an API in plain http": (("login", "new", "--app", "app.json", "--api", "http://api.example"), 2, "plain http"),
    "a user file as the client": (("login", "new", "--app", "user.json", "--api", "https://a.example"), 3, "user file"),
    "another provider's client": (("login", "work", "--provider", "google", "--id", "x"), 9, "has another client"),
    "a name that differs in case": (("login", "Work"), 2, "Use work"),
    "no such account": (("token", "wrok"), 3, "Did you mean work?"),
    "an existing file": (("show", "plain"), 2, "./plain"),
    "a server of one's own": (("login", "mastodon", "--id", "x"), 2, "--app FILE"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_cannot_be_an_account_is_an_error_that_says_what_to_do(place: Place, what: str) -> None:
    argv, code, word = REFUSED[what]
    await logs_in(place, "notes")
    place.user("plain")
    place.user("user.json")
    before = {path: path.read_bytes() for path in folder(place).glob("*.json")}
    failure(place, await place.runs(*argv), code, word, talk="nobody" in what)
    assert {path: path.read_bytes() for path in folder(place).glob("*.json")} == before
    assert os.listdir(folder(place).parent) == ["work"]


async def test_a_login_that_fails_keeps_the_grant_of_before(place: Place) -> None:
    await logs_in(place, "notes")
    before = {path: path.read_bytes() for path in folder(place).glob("*.json")}
    place.provider.consent = "deny"
    failure(place, await place.runs("login", "work", "weather.read"), 4, talk=True)
    place.client(id="other")
    failure(place, await logs_in(place, "--force", "--timeout", "0.5"), 5, talk=True)
    assert {path: path.read_bytes() for path in folder(place).glob("*.json")} == before


async def test_files_without_a_dot_still_work_where_there_are_two(place: Place) -> None:
    await place.grants()
    for name in ("app", "user"):
        (place.folder / f"{name}.json").rename(place.folder / name)
    assert (await place.runs("token", "app", "user")).code == 0
    assert (await place.runs("show", "./user")).code == 0


async def test_a_broken_account_does_not_hide_the_others(place: Place) -> None:
    await logs_in(place, "notes")
    folder(place, "bad").mkdir()
    (folder(place, "bad") / "account.json").write_text("{")
    listed = await place.runs("accounts")
    assert listed.code == 0
    assert [line.split()[0] for line in listed.out.splitlines()] == ["bad", "work"]
