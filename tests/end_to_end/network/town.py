"""Two machines with the example application behind nginx, one store, a strict provider, and people who visit.

The rule: a page is whole, or it is 503 with Retry-After while the store is away; anything else is a failure.
"""
from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from SlyAPI.stores import store_at
from SlyAPI.testing import PracticeProvider
from SlyAPI.testing.ledger.grants import digest
from tests.end_to_end.network.machines import Machine, machines
from tests.end_to_end.network.nginx import nginx
from tests.end_to_end.network.tcp_proxy import TcpProxy, tcp_proxy
from tests.support.servers import Served

PEOPLE = tuple(f"Person {letter}" for letter in "ABCDEFGH")
SECRET = "town-secret-5EC9E7"
PACE = 0.05
SAVE_PATIENCE = 1.5
"""Seconds for which a page waits for a save; less than some of the outages."""


@dataclass
class Program:
    """The application on one machine, which may be killed and started again."""

    machine: Machine
    to_store: TcpProxy
    store_url: str
    command: list[str]
    log: Path
    process: Process | None = None

    async def starts(self) -> None:
        """Returns when it serves."""
        env = {**os.environ, "SESSION_KEY": "one key for all machines", "SLYAPI_STORE": self.store_url}
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.machine.prefix, *self.command, stdin=DEVNULL, stdout=PIPE, stderr=log, env=env
            )
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            line = await self.process.stdout.readline()
        assert line.startswith(b"Open "), self.log.read_text()[-2000:]

    async def dies(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def stops(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            try:
                async with asyncio.timeout(15):
                    await self.process.wait()
            except TimeoutError:
                await self.dies()


@dataclass
class Visitor:
    """Somebody who is signed in, and opens their page again and again."""

    name: str
    url: str
    http: aiohttp.ClientSession
    pages: int = 0
    away: int = 0
    began: float = 0.0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list[str])
    redirect: str = ""

    async def signs_in(self) -> None:
        """As a browser does; the provider is told who sits here."""
        async with self.http.get(f"{self.url}/login", allow_redirects=False) as answer:
            to_provider = f"{answer.headers['Location']}&login_hint={self.name.replace(' ', '+')}"
        async with self.http.get(to_provider, allow_redirects=False) as answer:
            self.redirect = answer.headers["Location"]
        async with self.http.get(self.redirect, allow_redirects=False) as answer:
            assert (answer.status, answer.headers.get("Location")) == (303, "/"), await answer.text()

    async def opens(self) -> None:
        """Opens the page once, and notes how that went."""
        self.began = time.monotonic()
        try:
            async with self.http.get(f"{self.url}/", allow_redirects=False) as answer:
                text = await answer.text()
                if answer.status == 200 and f"Hello, {self.name}<" in text:
                    self.pages += 1
                elif answer.status == 503 and answer.headers.get("Retry-After", "").isdecimal():
                    self.away += 1
                else:
                    self.failures.append(f"{answer.status} {' '.join(text.split())[-300:]}")
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failures.append(repr(error))
        self.slowest = max(self.slowest, time.monotonic() - self.began)

    async def visits(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            await self.opens()
            await asyncio.sleep(PACE)


@dataclass
class Town:
    """What is there, and what people saw."""

    provider: PracticeProvider
    server: Served
    programs: list[Program]
    url: str
    nginx_log: Path
    people: list[Visitor] = field(default_factory=list[Visitor])

    @property
    def failures(self) -> list[str]:
        return [failure for person in self.people for failure in person.failures]

    @property
    def away(self) -> int:
        return sum(person.away for person in self.people)

    def more_away(self, before: int) -> bool:
        """Whether people have been shown 503 since, or everybody waits for a save."""
        now = time.monotonic()
        return self.away > before + 4 or all(now - person.began > 3 for person in self.people)

    @property
    def pages(self) -> int:
        return sum(person.pages for person in self.people)

    @property
    def slowest(self) -> float:
        return max(person.slowest for person in self.people)

    async def until(self, condition: Callable[[], bool], within: float = 60.0) -> None:
        try:
            async with asyncio.timeout(within):
                while not condition():
                    assert not self.failures, self.why()
                    await asyncio.sleep(0.005)
        except TimeoutError:
            waiting = {person.name: round(time.monotonic() - person.began, 1) for person in self.people}
            raise AssertionError(f"{self}; seconds for which people wait: {waiting}") from None

    def why(self) -> str:
        """What people saw that they should not, and what nginx and the programs have to say of it."""
        logs = [self.nginx_log, *(program.log for program in self.programs)]
        told = "\n".join(f"{log.name}: {log.read_text()[-3000:]}" for log in logs)
        return f"{self}: {self.failures}\n{told}"

    async def everybody_is_served(self, within: float = 60.0) -> float:
        """Waits until each person has had a page, begun after now; gives the seconds that took."""
        began, before = time.monotonic(), {person.name: person.pages for person in self.people}
        # the next page may have been asked for before now
        await self.until(lambda: all(person.pages >= before[person.name] + 2 for person in self.people), within)
        return time.monotonic() - began

    async def a_refresh(self) -> None:
        """Waits until the provider has rotated a token, whose answer is now on its way."""
        before = self.provider.refreshes
        await self.until(lambda: self.provider.refreshes > before)

    def __str__(self) -> str:
        provider = self.provider
        return (
            f"{self.pages} pages, {self.away} times 503, slowest {self.slowest:.1f} s; {provider.refreshes} refreshes, "
            f"{provider.reuses} reuses, {provider.forgiven} forgiven; machines at "
            f"{', '.join(program.machine.host for program in self.programs)}"
        )


@asynccontextmanager
async def town(
    server: Served, folder: Path, *, lease: float = 30.0, timeout: float = 2.0, reuse_leeway: float = 0.0
) -> AsyncGenerator[Town, None]:
    """Everybody is signed in, and visits until the block ends."""
    async with AsyncExitStack() as stack:
        hosts = stack.enter_context(machines(2))
        url, nginx_log = await stack.enter_async_context(nginx([f"{machine.host}:{machine.port}" for machine in hosts]))
        provider = PracticeProvider(
            client_secret=SECRET,
            redirect_uris=[f"{url}/callback"],
            people=PEOPLE,
            consent="allow",
            access_token_lifetime=1.5,
            delay_after_rotation=0.05,
            reuse_leeway=reuse_leeway,
            openid=True,
            signing_algs=["ES256"],
        )
        await stack.enter_async_context(provider.running())
        programs: list[Program] = []
        it = Town(provider, server, programs, url, nginx_log)
        for number, machine in enumerate(hosts):
            programs.append(await _program(stack, it, machine, folder, number, lease, timeout))
            await programs[-1].starts()
            stack.push_async_callback(programs[-1].stops)
        await _people_come(stack, it)
        yield it


async def _program(
    stack: AsyncExitStack, it: Town, machine: Machine, folder: Path, number: int, lease: float, timeout: float
) -> Program:
    """The application on a machine, which reaches store and provider by a proxy each."""
    to_store = await stack.enter_async_context(tcp_proxy(it.server.port, machine.listens))
    if machine.namespace:  # there, the provider's address is a loopback of its own
        port = urlsplit(it.provider.origin).port or 0
        await stack.enter_async_context(tcp_proxy(port, machine.listens, port))
    client = {
        "id": "practice-client",
        "secret": SECRET,
        "auth_uri": it.provider.authorize_url,
        "token_uri": it.provider.token_url,
        "revoke_uri": it.provider.revoke_url,
        "issuer": it.provider.origin,
        "iss_in_redirect": True,
        "jwks_uri": f"{it.provider.origin}/jwks",
        "id_token_alg": "ES256",
    }
    file = folder / f"client-{number}.json"
    file.write_text(json.dumps(client))
    store = it.server.url.replace(f"127.0.0.1:{it.server.port}", f"127.0.0.1:{to_store.port}")
    command = [
        *(sys.executable, "-W", "error::ResourceWarning", str(Path(__file__).with_name("example_app.py"))),
        *(str(lease), str(timeout), str(SAVE_PATIENCE), "--provider", "practice", "--client", str(file)),
        *("--host", machine.host, "--port", str(machine.port), "--url", it.url),
    ]
    return Program(machine, to_store, store, command, folder / f"app-{number}.log")


async def _people_come(stack: AsyncExitStack, it: Town) -> None:
    for name in PEOPLE:
        jar = aiohttp.CookieJar(unsafe=True)  # cookies of an address
        limit = aiohttp.ClientTimeout(total=100)
        http = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar, timeout=limit))
        it.people.append(Visitor(name, it.url, http))
    await asyncio.gather(*(person.signs_in() for person in it.people))
    ended = asyncio.Event()
    visits = [asyncio.create_task(person.visits(ended)) for person in it.people]

    async def all_leave() -> None:
        ended.set()
        await asyncio.gather(*visits)

    stack.push_async_callback(all_leave)
    await it.everybody_is_served()


async def names_stored(it: Town) -> int:
    """How many people the store holds whose refresh token is live at the provider."""
    live = {key for key, token in it.provider.ledger.refresh_tokens.items() if token.state == "live"}
    store = store_at(it.server.url)
    users = [await store.user(name).load() for name in await store.names()]
    return sum(digest(user.refresh_token or "") in live for user in users)
