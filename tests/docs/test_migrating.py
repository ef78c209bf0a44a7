"""docs/migrating.md: the programs before and after do the same; the other libraries' files are carried over."""
from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from SlyAPI import OAuth2App, OAuth2User
from SlyAPI.errors import CredentialsError
from SlyAPI.testing import PracticeProvider
from tests.docs.test_docs import ROOT, blocks_of

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "migrating.md"
BLOCKS = {block.kind: block.text for block in blocks_of(PAGE)}
LIBRARIES = ["requests-oauthlib", "Authlib", "google-auth"]
GOOGLE = "import google.oauth2.credentials as c; c._GOOGLE_OAUTH2_TOKEN_ENDPOINT = 'https://provider.example.net/token'\n"
"""google-auth asks Google whatever its file says."""


@dataclass(repr=False)
class Place:
    folder: Path
    provider: PracticeProvider
    user: OAuth2User

    async def prints(self, program: str) -> str:
        text = program.replace("https://api.example.net", self.provider.api_url)
        text = text.replace("https://provider.example.net/token", self.provider.token_url)
        (self.folder / "program.py").write_text(text)
        env = {**os.environ, "OAUTHLIB_INSECURE_TRANSPORT": "1", "AUTHLIB_INSECURE_TRANSPORT": "1"}
        ran = await asyncio.create_subprocess_exec(
            *(sys.executable, "program.py"), cwd=self.folder, env=env, stdout=-1, stderr=-1
        )
        out, err = await asyncio.wait_for(ran.communicate(), 60)
        assert ran.returncode == 0, err.decode()
        return out.decode()

    def json(self, name: str) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.folder / name).read_text())
        return read

    def write(self, name: str, value: dict[str, Any]) -> None:
        (self.folder / name).write_text(json.dumps(value))

    def expired(self, library: str) -> dict[str, Any]:
        """The tokens as the library keeps them, an hour after they ended."""
        user = self.user
        if library == "google-auth":
            client = {"client_id": "practice-client", "client_secret": "practice-secret"}
            tokens = {"token": user.token, "refresh_token": user.refresh_token, "expiry": "2024-01-01T00:00:00Z"}
            return {**tokens, **client, "token_uri": "https://oauth2.googleapis.com/token", "scopes": user.scopes}
        return {
            "access_token": user.token, "refresh_token": user.refresh_token, "token_type": "Bearer",
            "expires_in": 3600, "expires_at": time.time() - 3600, "scope": user.scopes,
        }


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place, None]:
    provider = PracticeProvider(client_secret="practice-secret", consent="allow", access_token_lifetime=3600)
    async with provider.running():
        app = OAuth2App("practice-client", "practice-secret", provider.authorize_url, provider.token_url)
        user = await granted(app)
        place = Place(tmp_path, provider, user)
        client = {"client_id": app.id, "client_secret": app.secret}
        uris = {"auth_uri": app.auth_uri, "token_uri": app.token_uri, "redirect_uris": ["http://localhost"]}
        place.write("app.json", {"installed": {**client, **uris}})
        yield place


async def granted(app: OAuth2App) -> OAuth2User:
    import aiohttp

    from SlyAPI.oauth2.messages.authorization_code import read_redirect

    where, scopes = "http://localhost:8080", ["weather.read", "notes"]
    url, verifier, challenge = app.auth_url_with_pkce(where, "state", scopes)
    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
        code = read_redirect(answer.headers["Location"], state="state" + challenge)
    return await app.exchange_code(code, verifier, scopes, where)


def before(library: str) -> str:
    return (GOOGLE if library == "google-auth" else "") + BLOCKS[f"before {library}"]


async def carry(place: Place, library: str) -> None:
    if library == "google-auth":
        await place.prints(BLOCKS["carry google-auth"])
    else:
        (place.folder / "user.json").write_bytes((place.folder / "token.json").read_bytes())


@pytest.mark.parametrize("library", LIBRARIES)
async def test_the_program_before_and_after_prints_the_same_and_survives_expiry(place: Place, library: str) -> None:
    place.write("token.json", place.expired(library))
    assert await place.prints(before(library)) == "Robin Practice\n"
    assert place.provider.refreshes == 1  # and the library wrote its own file
    await carry(place, library)
    assert await place.prints(BLOCKS["after"]) == "Robin Practice\n"
    assert place.provider.refreshes == 1  # the token that it saved is still good

    user = place.folder / "user.json"
    saved = place.json("user.json")
    user.write_text(json.dumps({**saved, "expires_at": 1}))
    assert await place.prints(BLOCKS["after"]) == "Robin Practice\n"
    assert place.provider.refreshes == 2
    assert place.json("user.json")["refresh_token"] != saved["refresh_token"]  # rotated, and kept
    assert await place.prints(BLOCKS["after"]) == "Robin Practice\n"
    assert place.provider.refreshes == 2


@pytest.mark.parametrize("library", LIBRARIES)
async def test_expired_tokens_are_known_to_be_so_from_the_other_librarys_file(place: Place, library: str) -> None:
    place.write("token.json", place.expired(library))
    await carry(place, library)
    assert await place.prints(BLOCKS["after"]) == "Robin Practice\n"
    assert place.provider.refreshes == 1
    told = OAuth2User.from_json_file(place.folder / "user.json")
    assert told.scopes == ["weather.read", "notes"]


def test_a_token_dict_ends_when_it_says_and_not_an_hour_after_it_is_read() -> None:
    user = OAuth2User.from_json_obj({"access_token": "t", "expires_in": 3600, "expires_at": 1_700_000_000.5})
    assert user.expires_at is not None
    assert user.expires_at.timestamp() == 1_700_000_000.5


WRONG: list[dict[str, Any]] = [
    {},
    {"token": "s3cret"},
    {"access_token": "s3cret", "expires_at": 1},
    {"token": "s3cret\r\n", "expiry": "2030-01-01T00:00:00Z"},
    {"token": "s3cret", "expiry": "s3cret"},
    {"token": None, "expiry": "2030-01-01T00:00:00Z"},
    {"type": "authorized_user", "client_id": "i", "client_secret": "s3cret", "refresh_token": "s3cret"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=map(str, range(len(WRONG))))
def test_what_is_no_token_of_google_auth_is_named_and_not_shown(wrong: dict[str, Any]) -> None:
    with pytest.raises(CredentialsError) as caught:
        OAuth2User.from_google_auth(wrong)
    assert "s3cret" not in str(caught.value)
