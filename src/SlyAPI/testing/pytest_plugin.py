"""Fixtures of pytest: a practice provider, a user who has granted, a client that signs as them, and a clock.

The rule: loaded at each start of pytest, so it imports nothing else until a fixture is used. The one module here that
uses the client, by its public names as a program does; nothing else here imports it, so the judge stays apart.
"""
from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from SlyAPI import OAuth2App, OAuth2User, WebAPI

    from .clock import Clock
    from .provider import PracticeProvider

T = TypeVar("T")

CLIENT_ID = "practice-client"
CLIENT_SECRET = "practice-secret"
REDIRECT_URI = "http://127.0.0.1"
_MARKER = "practice_provider(**settings): settings of the practice provider, of SlyAPI.testing.PracticeProvider"


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker, for `--strict-markers`."""
    config.addinivalue_line("markers", _MARKER)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Which attributes of two objects of SlyAPI differ, without their values, which pytest would print: tokens."""
    if op != "==" or not type(left).__module__.startswith("SlyAPI"):
        return None
    one, other = _attributes(left), _attributes(right)
    names = [str(name) for name in {**one, **other} if one.get(name) != other.get(name)]
    return [f"{left!r} == {right!r}", f"Different, and not shown: {', '.join(names)}"]


def _attributes(value: object) -> dict[Any, Any]:
    """The members of a dict, or the attributes by which a dataclass is compared."""
    if isinstance(value, dict):
        return value
    fields = getattr(value, "__dataclass_fields__", {})
    return {name: getattr(value, name) for name, field in fields.items() if field.compare}


@pytest.fixture
def practice_clock() -> Clock:
    """The clock of `practice_provider` and `signed_client`: `advance(seconds)`, and `practice_clock()` since 1970."""
    from .clock import Clock

    return Clock()


@pytest.fixture
def practice_provider(request: pytest.FixtureRequest, practice_clock: Clock) -> Iterator[PracticeProvider]:
    """A `PracticeProvider` on loopback, in a thread of its own, that consents by itself.

    Its client is `practice-client` with the secret `practice-secret`; access tokens live an hour.
    `@pytest.mark.practice_provider(...)` on a test, class or module changes its settings. A fault of `fail_next` that
    no request met fails the test at its end.
    """
    from .in_thread import entered_in_thread
    from .provider import PracticeProvider

    settings: dict[str, Any] = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "clock": practice_clock}
    settings |= {"redirect_uris": [REDIRECT_URI, "http://localhost"], "consent": "allow"}
    settings |= {"access_token_lifetime": 3600.0}
    for marker in reversed(list(request.node.iter_markers("practice_provider"))):  # the nearest one counts
        if marker.args:
            pytest.fail(f"the marker practice_provider takes keywords, such as openid=True, not {marker.args}")
        settings |= marker.kwargs
    provider = PracticeProvider(**settings)
    with entered_in_thread(provider.running()):
        yield provider
    unused = [f"{fault.endpoint} ({fault.status})" for fault in provider.faults if not fault.fired]
    if unused:
        pytest.fail(f"planned by fail_next, and never asked for: {', '.join(unused)}", pytrace=False)


@pytest.fixture
def practice_app(practice_provider: PracticeProvider) -> OAuth2App:
    """The client of `practice_provider`, with all its endpoints."""
    client = next(iter(practice_provider.ledger.clients.values()))  # a test may add others
    uri = next(iter(client.redirect_uris), REDIRECT_URI)
    return _run(_discovered(practice_provider, client.client_id, client.secret or None, uri))


@pytest.fixture
def granted_user(practice_provider: PracticeProvider, practice_app: OAuth2App) -> OAuth2User:
    """The tokens of a user who has granted all scopes to `practice_app`, now."""
    return _run(_granted(practice_provider, practice_app))


@pytest.fixture
def signed_client(
    practice_provider: PracticeProvider, practice_app: OAuth2App, granted_user: OAuth2User, practice_clock: Clock
) -> WebAPI:
    """A `WebAPI` at the API of `practice_provider`, signed as `granted_user`, with `practice_clock` as its clock."""
    from SlyAPI import OAuth2, WebAPI

    client = WebAPI(OAuth2(practice_app, granted_user, clock=practice_clock))
    client.base_url = practice_provider.api_url
    return client


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Its result, from an event loop in a thread: the test's own loop, if it has one, notices nothing."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


async def _discovered(provider: PracticeProvider, client_id: str, secret: str | None, uri: str) -> OAuth2App:
    from SlyAPI import OAuth2App

    seen = len(provider.log)
    dpop = provider.dpop == "required"
    app = await OAuth2App.discover(provider.issuer, client_id, secret, redirect_uri=uri, dpop=dpop)
    del provider.log[seen:]  # a test finds there what its program sent, and nothing else
    return app


async def _granted(provider: PracticeProvider, app: OAuth2App) -> OAuth2User:
    import aiohttp

    seen, consent = len(provider.log), provider.consent
    provider.consent = "allow"
    scopes, uri, now = list(provider.scopes), app.redirect_uri or REDIRECT_URI, provider.clock()
    if provider.require_par:
        login = await app.push_login(uri, scopes, now=now)
    else:
        login = app.begin_login(uri, scopes, now=now)
    async with aiohttp.ClientSession() as browser, browser.get(login.url, allow_redirects=False) as page:
        user = await app.finish_login(login, page.headers.get("Location", ""), now=now)
    provider.consent = consent
    del provider.log[seen:]
    return user
