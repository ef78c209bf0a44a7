"""Fixtures: the environment of published libraries, a Google, and a place where their programs run."""
from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from tests.compat.environment import python_of_the_libraries
from tests.compat.google import CLIENT_SECRET, SCOPES, Google, running_google
from tests.compat.google_sheets import Sheet, Spreadsheets
from tests.compat.google_youtube import YouTube
from tests.support.program import Ended

_PROGRAM = Path(__file__).with_name("program.py")


@pytest.fixture(scope="session")
def python() -> Path:
    return python_of_the_libraries()


@dataclass(repr=False)
class Place:
    """A folder with `app.json`, `user.json` and `key`, and the Google they are for."""

    folder: Path
    python: Path
    google: Google
    sheets: Spreadsheets
    youtube: YouTube

    @property
    def env(self) -> dict[str, str]:
        home = str(self.folder)
        return {"PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8", "TERM": "xterm", "TZ": "America/New_York"}

    async def runs(self, *argv: str, typed: str = "", **env: str) -> Ended:
        """`python ARGV...` to its end; `typed` comes through a pipe."""
        command = (str(self.python), "-W", "error", *argv)
        child = await asyncio.create_subprocess_exec(
            *command, cwd=self.folder, env=self.env | env, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        out, err = await asyncio.wait_for(child.communicate(typed.encode()), 60)
        assert child.returncode is not None
        return Ended(child.returncode, out.decode(), err.decode())

    async def tells(self, story: str) -> Any:
        """What a story of `program.py` found. It may write nothing to stderr: no warning, nothing "Unclosed"."""
        ended = await self.runs(str(_PROGRAM), story, self.google.origin)
        assert (ended.code, ended.err) == (0, "")
        return json.loads((self.folder / "found.json").read_text())

    def user(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.folder / "user.json").read_text())
        return told

    def expires(self, before: timedelta = timedelta(seconds=1)) -> None:
        """Makes the access token one that has expired, here and at Google; writes the time as 0.6 did."""
        self.google.provider.revoke_access_tokens()
        told = self.user() | {"expires_at": (datetime.now(UTC) - before).strftime("%Y-%m-%dT%H:%M:%SZ")}
        (self.folder / "user.json").write_text(json.dumps(told))


def client_of(google: Google, kind: str = "web") -> dict[str, Any]:
    """A client file as Google's console gives it."""
    return {
        kind: {
            "client_id": "practice-client",
            "project_id": "project-1",
            "auth_uri": google.provider.authorize_url,
            "token_uri": google.provider.token_url,
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "client_secret": CLIENT_SECRET,
            "redirect_uris": ["http://localhost"],
        }
    }


async def granted(google: Google, scopes: str) -> dict[str, Any]:
    """A user file as 0.6 left it, from a grant that owes nothing to our code."""
    provider, verifier = google.provider, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636 B
    query = {
        "response_type": "code",
        "client_id": "practice-client",
        "redirect_uri": "http://localhost:8080",
        "scope": scopes,
        "state": "a-state-of-some-length",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    async with aiohttp.ClientSession() as person:
        async with person.get(provider.authorize_url, params=query, allow_redirects=False) as answer:
            code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": query["redirect_uri"]}
        form |= {"code_verifier": verifier, "client_id": "practice-client", "client_secret": CLIENT_SECRET}
        async with person.post(provider.token_url, data=form) as answer:
            told = await answer.json()
    expires_at = datetime.now(UTC) + timedelta(seconds=told["expires_in"])
    return {
        "token": told["access_token"],
        "refresh_token": told["refresh_token"],
        "expires_at": expires_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "token_type": "Bearer",
        "scopes": scopes.split(),
    }


@pytest.fixture
async def place(tmp_path: Path, python: Path) -> AsyncGenerator[Place, None]:
    async with running_google() as google:
        sheet = Sheet(0, "Byer og land")
        sheet.write(0, 0, [["name", "people", "since"], ["Oslo", 700, 43831.5], ["Bergen", 280, ""]])
        sheets = Spreadsheets({"sheet1": [sheet, Sheet(77, "Über")]})
        youtube = YouTube()
        sheets.serve(google)
        youtube.serve(google)
        it = Place(tmp_path, python, google, sheets, youtube)
        (tmp_path / "app.json").write_text(json.dumps(client_of(google)))
        (tmp_path / "user.json").write_text(json.dumps(await granted(google, " ".join(SCOPES))))
        (tmp_path / "user.json").chmod(0o600)
        (tmp_path / "key").write_text(google.api_key)
        yield it
