"""The calls that are measured, each twice: as people write it by hand on aiohttp, and with SlyAPI.

The rule: both ask the same server for the same, and do the same with the answer.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp

from SlyAPI import OAuth2, OAuth2App, OAuth2User, WebAPI
from SlyAPI.web import ParamsDict
from tests.bench.driving import HEADERS, TOKEN, Call, Mode, drive
from tests.bench.refreshes import TABLE as REFRESHES

PARAMS: dict[str, str | int] = {"q": "a b", "max": 50, "order": "date"}
PARTS = ["id", "snippet"]
PAGES, SIZE = 10, 20
AT_ONCE = 64


def api_at(url: str, *, token: str = TOKEN, lives: bool = True, endpoint: str = "token") -> WebAPI:
    """A client with a token that lives for long, or has expired."""
    app = OAuth2App("id", "secret", f"{url}/auth", f"{url}/{endpoint}")
    api = WebAPI(OAuth2(app, OAuth2User(token, "refresh", datetime(2100 if lives else 2001, 1, 1, tzinfo=UTC))))
    api.base_url = url
    return api


def by_hand(make: Callable[[aiohttp.ClientSession, str], Call]) -> Mode:
    @asynccontextmanager
    async def mode(url: str) -> AsyncGenerator[Call, None]:
        async with aiohttp.ClientSession() as session:
            yield make(session, url)

    return mode


def with_slyapi(make: Callable[[WebAPI], Call]) -> Mode:
    @asynccontextmanager
    async def mode(url: str) -> AsyncGenerator[Call, None]:
        async with api_at(url) as api:
            yield make(api)

    return mode


def hand_get(path: str, params: dict[str, str | int] | None = None) -> Mode:
    def make(session: aiohttp.ClientSession, url: str) -> Call:
        async def call() -> object:
            async with session.get(url + path, params=params, headers=HEADERS) as reply:
                return await reply.json()

        return call

    return by_hand(make)


def hand_at_once(count: int) -> Mode:
    def make(session: aiohttp.ClientSession, url: str) -> Call:
        async def one() -> object:
            async with session.get(f"{url}/small", headers=HEADERS) as reply:
                return await reply.json()

        return lambda: asyncio.gather(*(one() for _ in range(count)))

    return by_hand(make)


def hand_pages(pages: int, size: int, *, listed: bool = False) -> Mode:
    def make(session: aiohttp.ClientSession, url: str) -> Call:
        async def call() -> int:
            seen, params = 0, {"size": str(size), "last": str(pages)}
            items: list[object] = []
            while True:
                async with session.get(f"{url}/pages", params=params, headers=HEADERS) as reply:
                    page = await reply.json()
                if listed:
                    items += page["items"]
                else:
                    for _ in page["items"]:
                        seen += 1
                if not page.get("nextPageToken"):
                    return seen
                params["pageToken"] = page["nextPageToken"]

        return call

    return by_hand(make)


def hand_new() -> Mode:
    @asynccontextmanager
    async def mode(url: str) -> AsyncGenerator[Call, None]:
        async def call() -> object:
            async with aiohttp.ClientSession() as session, session.get(f"{url}/small", headers=HEADERS) as reply:
                return await reply.json()

        yield call

    return mode


def sly_new() -> Mode:
    @asynccontextmanager
    async def mode(url: str) -> AsyncGenerator[Call, None]:
        async def call() -> object:
            async with api_at(url) as api:
                return await api.get_json("/small")

        yield call

    return mode


def sly_second() -> Mode:
    """The first call of a client, while another one is open."""

    @asynccontextmanager
    async def mode(url: str) -> AsyncGenerator[Call, None]:
        async with api_at(url) as first:
            await first.get_json("/small")

            async def call() -> object:
                api = WebAPI(first.auth)
                api.base_url = url
                return await api.get_json("/small")

            yield call

    return mode


def sly_get(path: str, params: ParamsDict | None = None) -> Mode:
    return with_slyapi(lambda api: lambda: api.get_json(path, params))


def sly_at_once(count: int) -> Mode:
    return with_slyapi(lambda api: lambda: asyncio.gather(*(api.get_json("/small") for _ in range(count))))


def sly_pages(pages: int, size: int) -> Mode:
    def make(api: WebAPI) -> Call:
        async def call() -> int:
            seen = 0
            async for _ in api.paginated("/pages", {"size": str(size), "last": str(pages)}):
                seen += 1
            return seen

        return call

    return with_slyapi(make)


def sly_list(pages: int, size: int) -> Mode:
    return with_slyapi(lambda api: lambda: api.paginated("/pages", {"size": str(size), "last": str(pages)}))


@asynccontextmanager
async def sly_sign(url: str) -> AsyncGenerator[Call, None]:
    from SlyAPI.web import Method, Request

    auth, request = api_at(url).auth, Request(Method.GET, url)
    yield lambda: auth.sign(None, request)


@asynccontextmanager
async def nothing(url: str) -> AsyncGenerator[Call, None]:
    async def call() -> None: ...

    yield call


def of_the_table(table: dict[str, tuple[Mode, Mode]]) -> dict[str, Mode]:
    by_hand = {f"hand:{case}": both[0] for case, both in table.items()}
    return by_hand | {f"sly:{case}": both[1] for case, both in table.items()}


MODES = of_the_table(
    {
        "small": (hand_get("/small"), sly_get("/small")),
        "params": (hand_get("/small", PARAMS), sly_get("/small", PARAMS)),
        "list_param": (
            hand_get("/small", {"part": ",".join(PARTS), "max": 50}),
            sly_get("/small", {"part": PARTS, "max": 50}),
        ),
        "new": (hand_new(), sly_new()),
        "second": (hand_get("/small"), sly_second()),
        "at_once": (hand_at_once(AT_ONCE), sly_at_once(AT_ONCE)),
        "pages": (hand_pages(PAGES, SIZE), sly_pages(PAGES, SIZE)),
        "pages_50": (hand_pages(PAGES, 50), sly_pages(PAGES, 50)),
        "list": (hand_pages(PAGES, SIZE, listed=True), sly_list(PAGES, SIZE)),
        "big": (hand_get("/big"), sly_get("/big")),
        "sign": (nothing, sly_sign),
        **REFRESHES,
        **{f"at_once_{count}": (hand_at_once(count), sly_at_once(count)) for count in (1, 10, 100, 1000)},
        **{f"items_{10**n}": (hand_pages(10 ** (n - 1), 10), sly_pages(10 ** (n - 1), 10)) for n in range(1, 6)},
    }
)

if __name__ == "__main__":
    drive(MODES)
