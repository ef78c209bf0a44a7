"""No secret is shown by what holds it: objects, files and stores, whole, broken or full."""
from __future__ import annotations

import asyncio
import copy
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import HeaderApiKey, OAuth1, OAuth1App, OAuth1User, OAuth2, OAuth2App, OAuth2User, UrlApiKey, WebAPI
from SlyAPI.errors import CredentialsError, MissingExtraError, SaveError, WouldOverwriteError
from SlyAPI.flow.grant import GrantOptions
from SlyAPI.flow.scaffold import ScaffoldOptions, client_json, write_client
from SlyAPI.json_file import read_json_file, write_json_file
from SlyAPI.oauth2 import DeviceLogin, Identity, LogoutToken, ServiceAccount, TokenInfo
from SlyAPI.oauth2.client.login import Login
from SlyAPI.oauth2.messages.authorization_code import AuthorizationURL, exchange_form
from SlyAPI.oauth2.messages.jose import load_signing_key, new_key
from SlyAPI.oauth2.messages.token_request import token_request
from SlyAPI.stores import FileStore, KeyringStore, MemoryStore, SqliteStore, StoredUser, TokenStore, user_file
from SlyAPI.web import Method, Reply, Request
from SlyAPI.web.secret_values import SecretJson, Secrets
from tests.support.echoing_server import echoing
from tests.support.secret_holders import GOOD, HTTPS, app_at, caught, expired, user, written
from tests.support.secret_search import (
    ACCESS,
    API_KEY,
    CLIENT_SECRET,
    CODE,
    KEPT,
    REFRESH,
    STATE,
    VERIFIER,
    shows_nothing,
    texts_of,
)


class Locked:
    """A keyring that refuses, in its own words."""

    def get_password(self, service: str, name: str) -> str | None:
        raise RuntimeError(f"locked: {ACCESS}")

    def set_password(self, service: str, name: str, password: str) -> None:
        raise RuntimeError(f"locked: {password}")


class Open:
    """A keyring in which something else lies."""

    def __init__(self, kept: str) -> None:
        self.kept = kept

    def get_password(self, service: str, name: str) -> str | None:
        return self.kept


# --- objects ---


def objects(folder: Path) -> list[object]:
    app, memory = app_at(), MemoryStore()
    one = OAuth1App("key", CLIENT_SECRET, f"{HTTPS}/r", f"{HTTPS}/a", f"{HTTPS}/t")
    form = exchange_form(CODE, VERIFIER, "http://localhost")
    url = app.auth_url_with_pkce("http://localhost", STATE, ["a"])
    sent = token_request(app.token_uri, form, "basic", app.id, CLIENT_SECRET)
    stored = memory.user("alice")
    login = Login(f"{HTTPS}/a?{urlencode({'state': STATE})}", STATE, VERIFIER, "http://localhost", ["a"], "i", None, 0)
    jwk, claims = SecretJson(new_key(), note=CLIENT_SECRET), {"note": ACCESS}
    who = Identity(HTTPS, "subject", claims)
    code = {"device_code": CODE, "user_code": "AB-CD", "verification_uri": HTTPS, "expires_at": 9e9, "interval": 5}
    device = DeviceLogin.from_dict(code)
    return [
        *(app, user(), expired(), user(extra={"id_token": ACCESS}), form, Secrets((CODE, STATE)), sent, url),
        *(OAuth2(app, user()), OAuth2(app, stored), UrlApiKey("key", API_KEY), HeaderApiKey("X-Key", API_KEY)),
        *(memory, stored, FileStore(folder), SqliteStore(folder / "db"), KeyringStore("s", Locked()), user_file("u")),
        AuthorizationURL(f"{HTTPS}/auth?{urlencode({'state': STATE})}", VERIFIER, ""),
        replace(app, extra={"note": CLIENT_SECRET}),
        Request(Method.POST, f"https://me:{quote(API_KEY, safe='')}@api.example/?k={API_KEY}", {"key": API_KEY}),
        Request(Method.POST, f"{HTTPS}/?key={API_KEY}", {}, {"Authorization": ACCESS}, form),
        Reply(200, {"X": ACCESS}, ACCESS.encode(), f"{HTTPS}/?code={CODE}"),
        WebAPI(OAuth2(app, user())),
        *(login, login.to_dict()),
        *(one, OAuth1User(ACCESS, REFRESH), OAuth1(one, OAuth1User(ACCESS, REFRESH))),
        *(user(id_token=ACCESS, dpop_key=jwk, identity=who), who, LogoutToken(HTTPS, "s", None, claims)),
        *(replace(app, key=dict(jwk), registration_access_token=ACCESS), replace(login, dpop_key=jwk)),
        *(replace(login, dpop_key=jwk).to_dict(), load_signing_key(jwk), TokenInfo(active=True, extra=claims)),
        *(device, device.to_dict(), ServiceAccount("e@a.example", "1", CLIENT_SECRET, HTTPS, HTTPS)),
        GrantOptions(),
        ScaffoldOptions(given={"secret": CLIENT_SECRET}),
    ]


def test_no_object_prints_a_secret_alone_or_in_a_list_or_as_a_copy(tmp_path: Path) -> None:
    for one in objects(tmp_path):
        for value in (one, [one], {"it": one}, (one,), copy.copy(one)):
            KEPT.assert_hidden(texts_of(value))


HOLDERS = {
    ("OAuth1App", "secret"),
    ("OAuth1User", "key"),
    ("OAuth1User", "secret"),
    ("OAuth2App", "secret"),
    ("OAuth2App", "extra"),
    ("OAuth2User", "token"),
    ("OAuth2User", "refresh_token"),
    ("OAuth2User", "extra"),
    ("Login", "url"),
    ("Login", "state"),
    ("Login", "verifier"),
    ("OAuth2User", "id_token"),
    ("OAuth2App", "key"),
    ("OAuth2App", "registration_access_token"),
    ("DeviceLogin", "device_code"),
    ("Identity", "claims"),
    ("LogoutToken", "claims"),
    ("TokenInfo", "extra"),
    ("ServiceAccount", "private_key"),
    ("Answer", "code"),
    ("Request", "url"),
    ("Request", "query_params"),
    ("Request", "headers"),
    ("Reply", "url"),
    ("Reply", "headers"),
    ("Reply", "body"),
    ("ScaffoldOptions", "given"),
}
"""The attributes that are there to hold a secret (docs/security.md)."""


async def test_an_attribute_that_prints_a_secret_is_one_that_is_there_to_hold_it(tmp_path: Path) -> None:
    async with echoing(lambda sent: GOOD) as server:
        used = OAuth2(app_at(server.origin), expired())
        await used.refresh_now()
        stored = MemoryStore().user("alice")
        await stored.save(user())
        from_store = OAuth2(app_at(server.origin), stored)
        await from_store.sign(None, Request(Method.GET, server.origin))
    for one in [*objects(tmp_path), used, from_store]:
        names = [name for base in type(one).__mro__ for name in getattr(base, "__slots__", ())]
        for name in {*names, *getattr(one, "__dict__", ())}:
            if hasattr(one, name) and (type(one).__name__, name) not in HOLDERS:
                KEPT.assert_hidden(texts_of(getattr(one, name)))


# --- files and stores ---

CLIENT = {"id": "i", "secret": CLIENT_SECRET, "auth_uri": f"{HTTPS}/a", "token_uri": f"{HTTPS}/t"}
USER = user().to_dict()
BROKEN: dict[str, Any] = {
    "half a client": json.dumps(CLIENT)[:-1],
    "half a user": json.dumps(USER)[:-1],
    "a client in UTF-16": json.dumps(CLIENT).encode("utf-16"),
    "a list": [CLIENT, USER],
    "a text": ACCESS,
    "a client without a URI": {**CLIENT, "token_uri": ""},
    "a client with the secret for a URI": {**CLIENT, "auth_uri": CLIENT_SECRET},
    "a client with the secret for a method": {**CLIENT, "client_auth": CLIENT_SECRET},
    "a client with the secret for a flag": {**CLIENT, "pkce": CLIENT_SECRET},
    "a client with the secret in a list": {**CLIENT, "secret": [CLIENT_SECRET]},
    "a client with the secret in parameters": {**CLIENT, "auth_params": {"x": [CLIENT_SECRET]}},
    "a Google download without a URI": {"web": {"client_secret": CLIENT_SECRET}},
    "a user with a token for a time": {**USER, "expires_at": ACCESS},
    "a user with a token for a scheme": {**USER, "token_type": ACCESS},
    "a user with a token among the scopes": {**USER, "scopes": {"a": ACCESS}},
    "a user whose token no header may carry": {**USER, "token": f"{ACCESS}\r\n"},
    "a user whose refresh token is a list": {**USER, "refresh_token": [REFRESH]},
    "a user with a token for a method": {**USER, "client_auth": REFRESH},
    "a token answer of another scheme": {"access_token": ACCESS, "token_type": REFRESH},
    "a service account": {"type": "service_account", "private_key": CLIENT_SECRET},
    "an OAuth 1 file": {"key": ACCESS, "secret": CLIENT_SECRET},
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_is_something_else_is_named_and_not_shown(content: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "broken.json", content)
    calls: list[Callable[[], Any]] = [
        lambda: OAuth2App.from_json_file(path),
        lambda: OAuth2User.from_json_file(path),
        lambda: OAuth2(path, path),
        lambda: OAuth1App.from_json_file(path),
        lambda: OAuth1User.from_json_file(path),
        lambda: OAuth1(path, path),
        lambda: client_json(ScaffoldOptions(source=path, given={"secret": CLIENT_SECRET})),
        lambda: write_client(path, client_json(ScaffoldOptions(given=CLIENT)), force=False),
    ]
    if not isinstance(content, str | bytes):
        calls += [lambda: OAuth2App.from_json_obj(content), lambda: OAuth2User.from_json_obj(content)]
    errors_met = [caught(call) for call in calls]
    assert any(errors_met)


@given(whole=st.sampled_from([CLIENT, USER]), at=st.integers(min_value=0), more=st.binary(max_size=2))
def test_a_file_cut_or_broken_anywhere_is_not_shown(
    whole: dict[str, Any], at: int, more: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = json.dumps(whole).encode()
    path = written(tmp_path_factory.getbasetemp() / "cut.json", text[: at % len(text)] + more)
    for read in (OAuth2App.from_json_file, OAuth2User.from_json_file, read_json_file):
        caught(lambda read=read: read(path), CredentialsError)  # type: ignore[misc]


@pytest.mark.parametrize("path", ["/dev/null/x", ".", "/no/such/folder/x", "/dev/full", "\0"])
def test_a_file_that_cannot_be_written_is_not_shown(path: str) -> None:
    for value in (CLIENT, USER, {"a": object(), "b": ACCESS}):
        assert caught(lambda value=value: write_json_file(path, value), SaveError)  # type: ignore[misc]


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def stores_of_something_else(folder: Path, content: str) -> list[StoredUser]:
    import sqlite3

    written(folder / "alice.json", content)
    database = SqliteStore(folder / "users.db")
    asyncio.run(database.save("alice", {}))
    with sqlite3.connect(folder / "users.db") as connection:
        connection.execute("UPDATE slyapi_users SET value = ?", (content,))
    connection.close()
    memory = MemoryStore()
    asyncio.run(memory.save("alice", json.loads(content) if content.startswith("[") else {"token": [ACCESS]}))
    kept: list[TokenStore] = [FileStore(folder), database, KeyringStore("s", Open(content)), memory]
    return [store.user("alice") for store in kept]


@pytest.mark.parametrize("content", [json.dumps(USER)[:-1], json.dumps([USER]), json.dumps({"token": [ACCESS]})])
def test_what_a_store_holds_instead_is_not_shown(content: str, tmp_path: Path) -> None:
    for stored in stores_of_something_else(tmp_path, content):
        error = asyncio.run(shows_nothing(stored.load(), stored))
        assert isinstance(error, CredentialsError), stored


def stores_that_fail(folder: Path) -> list[TokenStore]:
    written(folder / "file", "")
    written(folder / "no.db", "not a database " * 100)
    return [
        *(FileStore(folder / "file"), FileStore("/dev/null/x"), FileStore(folder / "f" / ("n" * 300))),
        *(SqliteStore("/dev/null/x"), SqliteStore(folder), SqliteStore(folder / "no.db"), KeyringStore("s", Locked())),
    ]


async def test_a_store_that_fails_shows_nothing(tmp_path: Path) -> None:
    for store in stores_that_fail(tmp_path):
        stored = store.user("alice")
        assert isinstance(await shows_nothing(stored.save(user()), stored), SaveError), store
        await shows_nothing(stored.load(), stored)
        await shows_nothing(stored.delete(), stored)


async def test_a_user_that_json_cannot_hold_is_not_shown_by_any_store(tmp_path: Path) -> None:
    odd = user(extra={"odd": object(), "told": ACCESS})
    for store in (MemoryStore(), FileStore(tmp_path), SqliteStore(tmp_path / "db"), KeyringStore("s", Open(""))):
        assert isinstance(await shows_nothing(store.user("alice").save(odd), store), SaveError)


async def test_of_a_deleted_user_nothing_stays_in_the_file(tmp_path: Path) -> None:
    stores = (SqliteStore(tmp_path / "users.db"), FileStore(tmp_path / "users"))
    for store in stores:
        await store.save("bob", {"token": "of another"})
        await store.user("alice").save(user())
        await store.user("alice").save(OAuth2User("short"))
        await store.delete("alice")
    left = [path.read_bytes().decode("latin-1") for path in files_in(tmp_path)]
    assert left
    KEPT.assert_hidden(left)


async def test_what_is_left_of_a_save_is_for_its_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        for store in (SqliteStore(tmp_path / "users.db"), FileStore(tmp_path / "users")):
            async with store.lock("alice"):
                await store.user("alice").save(user())
                paths = files_in(tmp_path)
                assert all(path.stat().st_mode & 0o077 == 0 for path in paths), store
                assert not any(KEPT.shown_in(str(path)) for path in paths)
    finally:
        os.umask(old)


def test_what_would_be_overwritten_or_is_not_installed_is_named_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "app.json", CLIENT)
    client = client_json(ScaffoldOptions(given=CLIENT))
    assert caught(lambda: write_client(path, client, force=False), WouldOverwriteError)
    monkeypatch.setitem(__import__("sys").modules, "keyring", None)
    assert caught(lambda: KeyringStore("s"), MissingExtraError)
