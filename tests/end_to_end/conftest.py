"""Fixtures of the end-to-end tests: a real authorization server and a person at a real browser.

The rule: a missing server or browser is an error, never a skip.
"""
from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.end_to_end.chromium import Person, person_at_a_browser
from tests.end_to_end.oidc_everything import Everything, with_everything
from tests.end_to_end.oidc_server import OidcServer, running_server
from tests.support.program import Desk, desk_at

_failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remembers a failure, so that `person` can take its pictures before the tabs close."""
    report = yield
    item.stash[_failed] = item.stash.get(_failed, False) or report.failed
    return report


@pytest_asyncio.fixture
async def start_oidc() -> AsyncIterator[Callable[..., Awaitable[OidcServer]]]:
    """`await start_oidc(access_token_seconds=2, redirect_uris=[...])`; ended with the test."""
    async with AsyncExitStack() as stack:

        async def start(**settings: object) -> OidcServer:
            return await stack.enter_async_context(running_server(**settings))  # type: ignore[arg-type]

        yield start


@pytest_asyncio.fixture
async def oidc() -> AsyncIterator[OidcServer]:
    """A running oidc-provider whose access tokens live a minute."""
    async with running_server() as server:
        yield server


@pytest_asyncio.fixture
async def everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Everything]:
    """A running oidc-provider with everything switched on; a client with a certificate trusts its TLS address."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    async with with_everything(tmp_path) as server:
        yield server


@pytest_asyncio.fixture
async def person(request: pytest.FixtureRequest) -> AsyncIterator[Person]:
    """A person at Chromium; after a failure .tests/screenshots/ shows every open tab."""
    async with person_at_a_browser() as someone:
        yield someone
        if request.node.stash.get(_failed, False):
            await someone.pictures(request.node.name)


@pytest_asyncio.fixture
async def distant_person() -> AsyncIterator[Person]:
    """A person at another machine: the provider answers there, and `localhost` is not ours."""
    async with person_at_a_browser(["127.0.0.1"]) as someone:
        yield someone


@pytest_asyncio.fixture
async def desk(person: Person, tmp_path: Path) -> AsyncIterator[Desk]:
    """The person's desk: an empty folder, and programs whose links open in the person's browser."""
    async with desk_at(tmp_path, person.env) as it:
        yield it
