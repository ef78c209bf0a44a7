"""What many tests share: a server that remembers, a practice provider with a clock, and a search for secrets."""
from __future__ import annotations

import json
import re
import signal
import socket
import sys
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, settings

from SlyAPI import OAuth2, OAuth2App, OAuth2User, WebAPI
from SlyAPI.oauth2.messages.authorization_code import read_redirect
from SlyAPI.testing import PracticeProvider, pytest_plugin
from SlyAPI.web import Reply
from tests.support.serving import Handler, all_by, served

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

    from tests.support import servers

# A machine that is busy with something else makes no test fail.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
# a shell lets what it starts in the background ignore Ctrl-C, and so would every program that a test stops by it
signal.signal(signal.SIGINT, signal.default_int_handler)
# and nohup, or a machine that starts the tests without a terminal, lets them ignore the end of one
if sys.platform != "win32":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

REDIRECT_URI = "http://127.0.0.1:8080"


@dataclass
class Clock:
    """Epoch seconds that a test moves."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@dataclass(repr=False)
class Seen:
    """One request as it came over the wire."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(repr=False)
class Server:
    """A web server on a port of its own, hence an origin of its own, and what it saw."""

    handler: Handler
    clock: Callable[[], float]
    origin: str = ""
    seen: list[Seen] = field(default_factory=list[Seen])

    @property
    def last(self) -> Seen:
        return self.seen[-1]

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Server, None]:
        async with served(all_by(self._handle)) as self.origin:
            yield self

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(Seen(request.method, request.path, list(request.query.items()), request.headers, body))
        response = await self.handler(request)
        if not response.prepared:
            response.headers.setdefault("Date", formatdate(self.clock(), usegmt=True))
        return response


async def _ok(request: web.Request) -> web.StreamResponse:
    if request.path == "/missing":
        raise web.HTTPNotFound
    return web.json_response({"ok": True})


Serve = Callable[..., Awaitable[Server]]


@pytest.fixture
async def serve(clock: Clock) -> AsyncGenerator[Serve, None]:
    """Starts a server: `server = await serve(handler)`; without one it says `{"ok": true}`, and 404 for `/missing`."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler = _ok) -> Server:
            return await stack.enter_async_context(Server(handler, clock).running())

        yield start


@dataclass(repr=False)
class Practice:
    """A practice provider that runs, one client of it, and the clock that both go by."""

    provider: PracticeProvider
    clock: Clock
    app: OAuth2App
    folder: Path

    @property
    def refreshes(self) -> int:
        """How often the token endpoint was asked to refresh, refusals included."""
        asked = [seen for seen in self.provider.log if seen.parameters.get("grant_type") == "refresh_token"]
        return len(asked)

    async def grant(self, scopes: str = "weather.read notes") -> OAuth2User:
        """The whole grant, with a person who says yes."""
        url, verifier, challenge = self.app.auth_url_with_pkce(REDIRECT_URI, "state", scopes)
        async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
            code = read_redirect(answer.headers["Location"], state="state" + challenge)
        return await self.app.exchange_code(code, verifier, scopes, REDIRECT_URI, now=self.clock())

    async def granted_file(self, name: str = "user.json") -> Path:
        """A user file as a grant leaves it."""
        path = self.folder / name
        path.write_text(json.dumps((await self.grant()).to_dict()))
        path.chmod(0o600)
        return path

    def auth(self, user: OAuth2User | Path | str, **more: Any) -> OAuth2:
        return OAuth2(self.app, user, clock=self.clock, **more)

    def api(self, auth: OAuth2, **more: Any) -> WebAPI:
        api = WebAPI(auth, **more)
        api.base_url = self.provider.api_url
        return api


Practise = Callable[..., Awaitable[Practice]]


@pytest.fixture
async def practise(tmp_path: Path) -> AsyncGenerator[Practise, None]:
    """Starts a practice provider (tokens live 100 s) with the settings that a test names."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> Practice:
            clock = Clock()
            usual: dict[str, Any] = {
                "client_secret": "client-secret-5EC9E7",
                "redirect_uris": [REDIRECT_URI],
                "consent": "allow",
                "access_token_lifetime": 100.0,
                "clock": clock,
            }
            provider = PracticeProvider(**{**usual, **settings})
            await stack.enter_async_context(provider.running())
            secret = {**usual, **settings}["client_secret"]
            app = OAuth2App("practice-client", secret, provider.authorize_url, provider.token_url)
            return Practice(provider, clock, app, tmp_path)

        yield start


def _told_by(error: BaseException) -> str:
    """All that an error tells anyone: its texts, its attributes, and a traceback with the locals of our frames."""
    told = [str(error), repr(error), repr(error.args)]
    for value in vars(error).values():
        told.append(repr(value))
        if isinstance(value, Reply):
            told += [repr(dict(value.headers)), value.text(), value.url]
    # the frame of the test itself knows the secret
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    told += traceback.TracebackException(type(error), error, frames, capture_locals=True).format()
    for other in (error.__cause__, error.__context__):
        if other is not None:
            told.append(_told_by(other))
    return "\n".join(told)


@pytest.fixture
def told_by() -> Callable[[BaseException], str]:
    """All that an error tells anyone, to search for secrets in."""
    return _told_by


@pytest.fixture
def unused_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--sample", type=int, metavar="N", help="run only N cases of each parametrized test")


def pytest_configure(config: pytest.Config) -> None:
    """Registers SlyAPI's own fixtures in an environment that was made before they had an entry point."""
    if not config.pluginmanager.has_plugin("slyapi"):
        config.pluginmanager.register(pytest_plugin, "slyapi")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leaves out files that are POSIX's own (`pytestmark = pytest.mark.posix`), and may import what is not here."""
    if sys.platform != "win32" or not collection_path.name.startswith("test_"):
        return None
    return True if re.search(r"^pytestmark = .*\bposix\b", collection_path.read_text("utf-8"), re.M) else None


SERVERS = {"redis_server", "valkey_server", "postgres_server", "redis_cluster", "redis_sentinel"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests on a server run in one process, so that each server is started once however many processes test.

    With `--sample N`, N cases of each parametrized test are kept: the first ones of N equal parts of its table.
    """
    if (most := config.getoption("--sample")) is not None:
        cases: dict[str, list[pytest.Item]] = {}
        for item in items:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
        kept = {item for found in cases.values() for item in found[:: -(-len(found) // most)]}
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]
    if sys.platform == "win32":
        ours = [item for item in items if not item.get_closest_marker("posix") and not uses_server(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in ours])
        items[:] = ours
    for item in items:
        if uses_server(item):
            item.add_marker(pytest.mark.xdist_group("servers"))


def uses_server(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)  # what a test is parametrized with, if it is
    values = callspec.params.values() if callspec is not None else ()
    return bool(SERVERS & {*getattr(item, "fixturenames", ()), *map(str, values)})


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.RedisServer]:
    """A Redis server for all tests: each takes a prefix of its own, and none stops it."""
    from tests.support import servers

    with servers.redis() as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[servers.RedisGroup]:
    """Three masters, to be used as `redis_server` is."""
    from tests.support import servers

    with servers.redis_cluster() as group:
        yield group


@pytest.fixture(scope="session")
def redis_sentinel() -> Iterator[servers.RedisGroup]:
    """A master with a replica and three sentinels, to be used as `redis_server` is."""
    from tests.support import servers

    with servers.redis_sentinel(1) as group:
        yield group


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[servers.RedisServer]:
    """A Valkey server, to be used as `redis_server` is."""
    from tests.support import servers

    with servers.valkey() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.PostgresServer]:
    """A PostgreSQL server for all tests: each takes a table of its own, and none stops it."""
    from tests.support import servers

    with servers.postgres() as server:
        yield server
