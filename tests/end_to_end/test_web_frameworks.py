"""The programs of docs/fastapi.md at a real browser: two people, two tabs, people without a name, who says no.

The rule: each program runs as the page has it, with other ports; a traceback or a warning in its output is a failure.
"""
from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from aiohttp import web

from tests.support.issuer import Issuer
from tests.support.serving import all_by, served

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page

    from tests.end_to_end.chromium import Person

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "fastapi.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```python \{(.+?)\}\n(.*?)^```$", PAGE, re.M | re.S))
UVICORN, FLASK = ("uvicorn", "main:site", "--port"), ("flask", "--app", "main:site", "run", "--port")
RUN_BY = {"fastapi": UVICORN, "flask": FLASK, "django": UVICORN}


def free_ports() -> tuple[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return str(one.getsockname()[1]), str(other.getsockname()[1])


@asynccontextmanager
async def running(folder: Path, port: str, name: str, *words: str) -> AsyncGenerator[None, None]:
    """`python WORDS`, from when it listens on `port`; what it wrote is in the file NAME.log."""
    env = os.environ | {"SESSION_KEY": "a-key-of-the-tests", "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "default"}
    command = (sys.executable, *words)
    with (folder / f"{name}.log").open("wb") as log:
        program = await asyncio.create_subprocess_exec(*command, cwd=folder, env=env, stdout=log, stderr=log)
        try:
            async with asyncio.timeout(60):
                while not (await answers_at(port) and (folder / "app.json").exists()):
                    assert program.returncode is None, (folder / f"{name}.log").read_text()
            yield
        finally:
            if program.returncode is None:
                program.terminate()
                await program.wait()


async def answers_at(port: str) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", int(port))
    except OSError:
        await asyncio.sleep(0.05)
        return False
    writer.close()
    return True


class Site:
    """One of the programs beside the practice provider of the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.provider_port = free_ports()
        self.url = f"http://localhost:{self.port}"

    def write(self, file: str, text: str) -> None:
        text = text.replace("8000", self.port).replace("9000", self.provider_port)
        (self.folder / file).write_text(text, encoding="utf-8")

    @asynccontextmanager
    async def serving(self, text: str, *command: str) -> AsyncGenerator[None, None]:
        self.write("main.py", text)
        async with running(self.folder, self.port, "main", "-m", *command, self.port):
            yield
        said = (self.folder / "main.log").read_text()
        assert not re.search(r"Traceback|Warning:|Unclosed|never", said), said

    async def asks(self, context: BrowserContext) -> Page:
        """A tab that asked to sign in, up to the provider's question."""
        page = await context.new_page()
        await page.goto(f"{self.url}/login")
        assert f":{self.provider_port}/" in page.url
        return page

    async def decides(self, page: Page, who: str, decision: str = "Allow") -> str:
        """Answers the provider's question; the text on which that ends."""
        await page.get_by_label(who, exact=True).check()
        async with page.expect_navigation(url=f"{self.url}/**"):
            await page.get_by_role("button", name=decision, exact=True).click(no_wait_after=True)
        await page.wait_for_load_state()
        return await page.inner_text("body")


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    it = Site(tmp_path)
    it.write("provider.py", BLOCKS["fastapi provider"])
    async with running(tmp_path, it.provider_port, "provider", "provider.py"):
        yield it


def weather_for(name: str) -> str:
    return f"Hello, {name}. Monday will be sunny."


@pytest.mark.parametrize("framework", RUN_BY)
async def test_two_people_sign_in_in_several_tabs_and_a_login_serves_once(
    framework: str, site: Site, person: Person
) -> None:
    assert person.context.browser is not None
    elsewhere = await person.context.browser.new_context()
    async with site.serving(BLOCKS[framework], *RUN_BY[framework]):
        first, second = await site.asks(person.context), await site.asks(person.context)
        visited: list[str] = []
        first.on("request", lambda request: visited.append(request.url))
        assert await site.decides(first, "Ada") == weather_for("Ada")
        assert await site.decides(second, "Ada") == weather_for("Ada")
        assert await site.decides(await site.asks(elsewhere), "Bo") == weather_for("Bo")
        await first.goto(site.url)
        assert await first.inner_text("body") == weather_for("Ada")
        (used,) = [url for url in visited if "/callback" in url]
        answer = await first.goto(used)
        assert answer is not None
        assert (answer.status, "Try again, or sign in at /login." in await first.inner_text("body")) == (400, True)
        denied = await site.decides(await site.asks(elsewhere), "Bo", "Deny")
        assert "Try again, or sign in at /login." in denied
        (site.folder / "users.db").rename(site.folder / "gone.db")  # the session is of somebody who is not stored
        await first.goto(site.url)
        assert f":{site.provider_port}/" in first.url


@pytest.mark.parametrize("framework", RUN_BY)
async def test_a_person_without_a_name_is_welcome(framework: str, site: Site, person: Person) -> None:
    text = BLOCKS[framework].replace('"profile", ', "")
    async with site.serving(text, *RUN_BY[framework]):
        assert await site.decides(await site.asks(person.context), "Bo") == weather_for("you")


async def test_a_provider_without_openid_says_who_somebody_is_by_its_api(site: Site, person: Person) -> None:
    async def account(request: web.Request) -> web.Response:
        assert (request.path, request.headers["Authorization"][:7]) == ("/user", "Bearer ")
        return web.json_response({"id": 583231, "login": "octocat", "name": None, "more": []})

    async with served(all_by(account)) as github:
        variant = BLOCKS["fastapi github"].replace("https://api.github.com", github)
        text = BLOCKS["fastapi"] + variant.replace("read:user", "weather.read")  # which the page's API wants
        async with site.serving(text, *UVICORN):
            assert await site.decides(await site.asks(person.context), "Ada") == weather_for("octocat")


def test_the_test_of_the_page_passes_beside_its_program(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(BLOCKS["fastapi"], encoding="utf-8")
    (tmp_path / "test_main.py").write_text(BLOCKS["fastapi test"], encoding="utf-8")
    words = ["-m", "pytest", "-q", "-W", "error", "-o", "asyncio_mode=auto", "-o", "pythonpath=."]
    words += ["-o", "asyncio_default_fixture_loop_scope=function"]
    ran = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout


async def test_an_api_answers_its_callers_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer, now = Issuer("ES256"), int(time.time())
    async with served(all_by(issuer.handle)) as issuer.origin:
        (tmp_path / "api.json").write_text(json.dumps(issuer.app().to_dict()), encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        names: dict[str, Any] = {"__name__": "api"}
        exec(BLOCKS["fastapi api"], names)
        claims = {"iss": issuer.origin, "sub": "robin", "aud": names["API"], "scope": "notes", "exp": now + 60}
        rows = [(claims, 200, ""), ({**claims, "scope": ""}, 403, "insufficient_scope"), ({}, 401, "invalid_token")]
        transport = httpx.ASGITransport(names["site"])
        async with httpx.AsyncClient(transport=transport, base_url=names["API"]) as client:
            for told, status, error in rows:
                headers = {"Authorization": f"Bearer {issuer.sign(told, {'typ': 'at+jwt'})}"}
                answer = await client.get("/notes", headers=headers)
                assert (answer.status_code, error in answer.headers.get("WWW-Authenticate", "")) == (status, True)
            assert (await client.get("/notes")).headers["WWW-Authenticate"].startswith("Bearer resource_metadata=")
            assert (await client.get(names["PLACE"])).json()["authorization_servers"] == [issuer.origin]


def test_the_program_is_as_short_as_the_page_promises() -> None:
    assert len(BLOCKS["fastapi"].splitlines()) <= 60
