"""A place to use the command line in: a folder, a practice provider that runs, and a browser that is not one."""
from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from SlyAPI import OAuth2User
from SlyAPI.testing import PracticeProvider
from tests.support.folders import listed
from tests.support.program import Desk, Ended
from tests.support.stand_in_browser import StandInBrowser, stand_in_browser
from tests.support.terminal import Terminal

SECRET = "client-secret-5EC9E7"
SCOPES = ("weather.read", "notes")


class Place(Desk):
    """A desk with app.json for the practice provider. `env` is that of a person with a browser and an empty HOME."""

    def __init__(self, folder: Path, env: dict[str, str], provider: PracticeProvider, browser: StandInBrowser) -> None:
        super().__init__(folder, env)
        self.provider = provider
        self.browser = browser
        self._terminals: list[Terminal] = []
        self.client()

    def client(self, name: str = "app.json", **changed: object) -> dict[str, Any]:
        """Writes the client file, some of it changed or (None) left out."""
        client: dict[str, Any] = {
            "id": "practice-client",
            "secret": SECRET,
            "auth_uri": self.provider.authorize_url,
            "token_uri": self.provider.token_url,
            "redirect_uri": "http://127.0.0.1:0",
        }
        client = {key: value for key, value in {**client, **changed}.items() if value is not None}
        self.writes(name, client)
        return client

    def user(self, name: str = "user.json", **changed: object) -> dict[str, Any]:
        """Writes a user file that no provider knows."""
        user = OAuth2User("token-of-before", "refresh-token-of-before", scopes=["notes"]).to_dict() | changed
        self.writes(name, user)
        (self.folder / name).chmod(0o600)
        return user

    async def runs(self, *argv: str, lines: tuple[str, ...] | None = None) -> Ended:
        """`python -m SlyAPI ARGV...` without a terminal, to its end; `lines` come through a pipe."""
        child = await self.slyapi(*argv, stdin="nothing" if lines is None else "pipe")
        for line in lines or ():
            child.types(line)
        if child.process.stdin is not None:
            child.process.stdin.close()
        return await child.ends()

    async def grants(self, *more: str) -> Ended:
        """`grant app.json user.json` for both scopes."""
        return await self.runs("grant", "app.json", "user.json", *SCOPES, *more)

    async def shell(self, line: str) -> Ended:
        """A line of the shell, where `slyapi` is the command line."""
        if sys.platform == "win32":
            pytest.skip("there is no sh")
        child = await self.starts("-c", _SHELL, line.replace("slyapi", f"exec {sys.executable} -W error -m SlyAPI"))
        return await child.ends()

    async def terminal(self, *argv: str, stdout: int | None = None, columns: int = 80) -> Terminal:
        """`python -m SlyAPI ARGV...` on a terminal."""
        return await self.program_on_terminal("-m", "SlyAPI", *argv, stdout=stdout, columns=columns)

    async def program_on_terminal(self, *argv: str, stdout: int | None = None, columns: int = 80) -> Terminal:
        """`python ARGV...` on a terminal."""
        command = [sys.executable, "-W", "error", *argv]
        self._terminals.append(await Terminal.runs(command, self.folder, self.env, stdout=stdout, columns=columns))
        return self._terminals[-1]

    def files(self) -> set[str]:
        return {*listed(self.folder)}

    @property
    def asked(self) -> dict[str, str]:
        """The parameters of the last authorization request."""
        return [seen.parameters for seen in self.provider.log if seen.endpoint == "authorize"][-1]

    @property
    def exchanged(self) -> dict[str, str]:
        """The form of the last token request."""
        return [seen.parameters for seen in self.provider.log if seen.endpoint == "token"][-1]

    async def close(self) -> None:
        for terminal in self._terminals:
            await terminal.close()
        await super().close()


_SHELL = "import os, sys; os.execv('/bin/sh', ['sh', '-c', sys.argv[1]])"


@asynccontextmanager
async def place_at(path: Path, **settings: Any) -> AsyncGenerator[Place, None]:
    """A place whose provider says yes to everything, unless `settings` say otherwise."""
    folder, home = path / "folder", path / "home"
    folder.mkdir()
    home.mkdir()
    usual: dict[str, Any] = {"client_secret": SECRET, "consent": "allow", "access_token_lifetime": 3600.0}
    usual["redirect_uris"] = ["http://127.0.0.1", "http://localhost", "http://localhost/back"]
    provider = PracticeProvider(**{**usual, **settings})
    async with stand_in_browser(path) as browser, provider.running():
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "TERM": "xterm"}
        if sys.platform == "win32":  # whose programs need some more
            env |= {name: os.environ[name] for name in ("SYSTEMROOT", "PYTHONPATH") if name in os.environ}
            env |= {"USERPROFILE": str(home), "LOCALAPPDATA": str(home), "PYTHONUTF8": "1"}
        place = Place(folder, env | {"BROWSER": browser.command}, provider, browser)
        try:
            yield place
        finally:
            await place.close()


def secrets_in(place: Place, *texts: str) -> list[str]:
    """Which secrets of this place the texts hold: the client secret, and every value of the user files."""
    known = [SECRET, "refresh-token-of-before", "token-of-before"]
    for path in place.folder.glob("*.json"):
        try:
            told = json.loads(path.read_text())
        except ValueError:
            continue
        known += [str(told[key]) for key in ("token", "refresh_token", "secret") if told.get(key)]
    for seen in place.provider.log:
        known += [seen.parameters[key] for key in ("code", "code_verifier", "refresh_token") if key in seen.parameters]
    return [secret for secret in known if any(secret in text for text in texts)]


def failure(place: Place, ended: Ended, code: int, *words: str, talk: bool = False) -> str:
    """The message of a failure: one or two lines without traceback or secret. `talk`: other lines came before."""
    assert ended.code == code, ended
    assert "Traceback" not in ended.err
    assert not secrets_in(place, ended.err, ended.out)
    assert "\x1b" not in ended.err
    for word in words:
        assert word in ended.err, ended.err
    if not talk:
        assert 1 <= len(ended.err.strip().splitlines()) <= 2, ended.err
    return ended.err


def redirect_uri_in(link: str) -> str:
    return parse_qs(urlsplit(link).query)["redirect_uri"][0]


def state_in(link: str) -> str:
    return parse_qs(urlsplit(link).query)["state"][0]


def link_in(text: str) -> str:
    """The authorization URL that was printed."""
    found = re.search(r"^https?://\S+/authorize\?\S+$", text, re.MULTILINE)
    assert found, text
    return found[0]
