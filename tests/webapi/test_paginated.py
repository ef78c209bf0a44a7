"""`WebAPI.paginated` over sockets: what is asked for, when, and what is left behind."""
from __future__ import annotations

import asyncio
import gc
import inspect
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from SlyAPI import ApiError, AsyncLazy, Auth, HeaderApiKey, UrlApiKey, WebAPI
from SlyAPI.errors import BadReplyError, OriginError
from SlyAPI.paging import CursorPages, LinkPages, NextUrlPages, NumberedPages, OffsetPages, Page, Pages
from SlyAPI.webapi.page_walk import walk
from tests.support.paged import Answers, api_of, by_token

if TYPE_CHECKING:
    from SlyAPI.web import ParamsDict
    from tests.conftest import Serve, Server
    from tests.support.serving import Handler

THREE: Answers = {
    None: {"items": [{"n": 0}, {"n": 1}], "nextPageToken": "b"},
    "b": {"items": [{"n": 2}, {"n": 3}], "nextPageToken": "c"},
    "c": {"items": [{"n": 4}]},
}


def numbers(items: list[dict[str, Any]]) -> list[int]:
    return [item["n"] for item in items]


def queries(server: Server) -> list[dict[str, str]]:
    return [dict(seen.query) for seen in server.seen]


async def read(lazy: AsyncLazy[dict[str, Any]], seen: list[int]) -> None:
    async for item in lazy:
        seen.append(item["n"])


def tasks_beside_this_one() -> set[asyncio.Task[Any]]:
    here = {asyncio.current_task()}
    return {task for task in asyncio.all_tasks() - here if "walk" in repr(task) or "_page" in repr(task)}


# --- as in 0.6 ---


async def test_every_page_is_walked_and_the_params_are_left_alone(serve: Serve) -> None:
    server = await serve(by_token(THREE))
    params: ParamsDict = {"part": ["id", "snippet"], "mine": True, "none": None}
    lazy = api_of(server).paginated("/things", params, None)
    assert isinstance(lazy, AsyncLazy)
    assert not inspect.iscoroutine(lazy)
    assert numbers(await lazy) == [0, 1, 2, 3, 4]
    assert params == {"part": ["id", "snippet"], "mine": True, "none": None}
    own = {"part": "id,snippet", "mine": "true"}
    assert queries(server) == [own, own | {"pageToken": "b"}, own | {"pageToken": "c"}]


async def test_nothing_is_asked_before_it_is_needed(serve: Serve) -> None:
    server = await serve(by_token(THREE))
    lazy = api_of(server).paginated("/things", {}, None).map(lambda item: item["n"])
    await asyncio.sleep(0)
    assert server.seen == []
    asked: list[int] = []
    async for _ in lazy:
        asked.append(len(server.seen))
    assert asked == [1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("limit", "items", "requests"), [(0, 0, 0), (-1, 0, 0), (1, 1, 1), (2, 2, 1), (3, 3, 2), (4, 4, 2), (9, 5, 3)]
)
@pytest.mark.parametrize("prefetch", [False, True])
async def test_a_limit_stops_the_items_and_the_requests(
    serve: Serve, limit: int, items: int, requests: int, prefetch: bool
) -> None:
    server = await serve(by_token(THREE))
    assert numbers(await api_of(server).paginated("/t", {}, limit, prefetch=prefetch)) == list(range(items))
    assert len(server.seen) == requests


async def test_a_page_without_items_that_names_a_next_one_goes_on(serve: Serve) -> None:
    server = await serve(
        by_token({None: {"nextPageToken": "b"}, "b": {"items": [], "nextPageToken": "c"}, "c": {"items": [{"n": 0}]}})
    )
    assert numbers(await api_of(server).paginated("/things", {}, 1)) == [0]


async def test_the_second_style_of_0_6_goes_on_too(serve: Serve) -> None:
    answers: Answers = {None: {"data": [{"n": 0}], "meta": {"next_token": "b"}}, "b": {"data": [{"n": 1}], "meta": {}}}
    server = await serve(by_token(answers, "pagination_token"))
    assert numbers(await api_of(server).paginated("/2/tweets", {}, None)) == [0, 1]


async def test_the_callers_own_token_is_where_the_walk_begins(serve: Serve) -> None:
    server = await serve(by_token(THREE))
    assert numbers(await api_of(server).paginated("/things", {"pageToken": "b"}, None)) == [2, 3, 4]


async def test_a_token_is_encoded_once(serve: Serve) -> None:
    odd = "a+b/=&%2F ü"
    server = await serve(by_token({None: {"items": [], "nextPageToken": odd}, odd: {"items": [{"n": 0}]}}))
    assert numbers(await api_of(server).paginated("/things")) == [0]


async def test_overridden_get_json_and_get_full_url_are_used(serve: Serve) -> None:
    class Own(WebAPI):
        calls = 0

        def get_full_url(self, path: str) -> str:
            return f"{super().get_full_url(path)}.json"

        async def get_json(  # type: ignore[override]  # pyright: ignore  # as SlyAPI 0.6 had it
            self, path: str, params: Any = None, json: Any = None, headers: Any = None
        ) -> Any:
            self.calls += 1
            return await super().get_json(path, params, json, headers)

    server = await serve(by_token(THREE))
    api = Own(Auth.none())
    api.base_url = server.origin
    assert len(await api.paginated("/things", {}, None)) == 5
    assert (api.calls, {seen.path for seen in server.seen}) == (3, {"/things.json"})


async def test_an_error_comes_behind_the_items_that_were_read(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if "pageToken" in request.query:
            raise web.HTTPServiceUnavailable
        return web.json_response(THREE[None])

    server = await serve(handler)
    for prefetch in (False, True):
        seen = list[int]()
        with pytest.raises(ApiError, match="503"):
            await read(api_of(server).paginated("/things", {}, None, prefetch=prefetch), seen)
        assert seen == [0, 1]


# --- other styles ---


def slices(style: str, total: int = 5, size: int = 2) -> Handler:
    """A server with `total` numbers on pages of `size`, in the style that is asked for."""

    async def handler(request: web.Request) -> web.StreamResponse:
        query = request.query
        start = int(query.get("offset", "0")) if style == "offset" else (int(query.get("page", "1")) - 1) * size
        rows = [{"n": n} for n in range(total)][start : start + size]
        following = f"?page={start // size + 2}" if start + size < total else ""
        if style == "link":
            links = f'<{request.path}{following}&kept=%2B>; rel="next", </>; rel="first"'
            return web.json_response(rows, headers={"Link": links if following else "</>; rel=first"})
        url = f"{request.url.origin()}{request.path}{following}" if following else None
        return web.json_response({"results": rows, "next": url, "count": total, "pages": -(-total // size)})

    return handler


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize(
    ("style", "pages", "requests"),
    [
        ("link", LinkPages(), 3),
        ("url", NextUrlPages(), 3),
        ("offset", OffsetPages(), 4),
        ("offset", OffsetPages(total="count"), 3),
        ("page", NumberedPages(), 4),
        ("page", NumberedPages(last="pages"), 3),
        ("page", NumberedPages(more="next"), 3),
    ],
)
async def test_every_style_gives_all_items(
    serve: Serve, style: str, pages: Pages, requests: int, prefetch: bool
) -> None:
    server = await serve(slices(style))
    where = None if style == "link" else "results"
    lazy = api_of(server).paginated(
        "/rows", {"own": "x"}, pages=pages, items=where, headers={"X-Own": "yes"}, prefetch=prefetch
    )
    assert numbers(await lazy) == [0, 1, 2, 3, 4]
    assert len(server.seen) == requests
    assert {seen.headers.get("X-Own") for seen in server.seen} == {"yes"}
    assert dict(server.seen[0].query)["own"] == "x"
    if style in ("offset", "page"):
        assert all(("own", "x") in seen.query for seen in server.seen), "a URL is taken as it is, a number is not"
    if style == "link":
        assert server.last.query == [("page", "3"), ("kept", "+")]


async def test_a_next_url_that_holds_the_api_key_does_not_send_it_twice(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        url = None if "page" in request.query else f"{request.url.origin()}/x?api%5Fkey=k%26y&page=2&b"
        return web.json_response({"items": [{"n": 0}], "next": url})

    server = await serve(handler)
    assert len(await api_of(server, UrlApiKey("api_key", "k&y")).paginated("/x", pages=NextUrlPages())) == 2
    assert server.last.query == [("page", "2"), ("b", ""), ("api_key", "k&y")]


@pytest.mark.parametrize("style", ["link", "url"])
@pytest.mark.parametrize("auth", [Auth.none(), HeaderApiKey("X-Key", "secret-5EC9E7")], ids=["no auth", "key"])
@pytest.mark.parametrize(
    "elsewhere",
    ["{other}/x", "//{host}/x", "{own}@{host}/x", "\\\\{host}/x", "ftp://{own_host}/x", "javascript:1", "//[/"],
)
async def test_a_next_url_never_leaves_the_origin_and_the_items_before_it_are_kept(
    serve: Serve, auth: Auth, style: str, elsewhere: str
) -> None:
    other = await serve()

    async def handler(request: web.Request) -> web.StreamResponse:
        own = str(request.url.origin())
        url = elsewhere.format(
            other=other.origin, host=other.origin.partition("//")[2], own=own, own_host=own.partition("//")[2]
        )
        return web.json_response({"items": [{"n": 0}], "next": url}, headers={"Link": f"<{url}>; rel=next"})

    server = await serve(handler)
    pages = LinkPages() if style == "link" else NextUrlPages()
    seen = list[int]()
    with pytest.raises((OriginError, BadReplyError), match=r"origin|not a URL"):
        await read(api_of(server, auth).paginated("/x", {}, None, pages=pages), seen)
    assert (seen, other.seen, len(server.seen)) == ([0], [], 1)


async def test_a_next_url_may_be_relative_to_where_a_redirect_led(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/old/list":
            raise web.HTTPFound("/new/list")
        links = {"Link": "<more>; rel=next"} if request.path == "/new/list" else {}
        return web.json_response([{"n": 0}], headers=links)

    server = await serve(handler)
    assert len(await api_of(server).paginated("/old/list", pages=LinkPages())) == 2
    assert [seen.path for seen in server.seen] == ["/old/list", "/new/list", "/new/more"]


# --- without end ---


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("length", [1, 2, 5])
async def test_a_cursor_that_comes_again_is_an_error_behind_the_items(
    serve: Serve, length: int, prefetch: bool
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        at = int(request.query.get("cursor", "0"))
        return web.json_response({"items": [{"n": at}], "next_cursor": str(at % length + 1)})

    server = await serve(handler)
    seen = list[int]()
    with pytest.raises(BadReplyError, match="would never end") as caught:
        await read(api_of(server).paginated("/things", {}, None, pages=CursorPages(), prefetch=prefetch), seen)
    assert seen[: length + 1] == list(range(length + 1))
    assert f"{server.origin}/things" in str(caught.value)
    assert len(server.seen) == len(seen) <= 3 * length
    assert tasks_beside_this_one() == set()


async def test_a_limit_that_is_reached_first_saves_from_a_cursor_that_comes_again(serve: Serve) -> None:
    server = await serve(by_token({None: THREE[None], "b": {"items": [{"n": 2}], "nextPageToken": "b"}}))
    assert numbers(await api_of(server).paginated("/things", {}, 3)) == [0, 1, 2]


async def test_a_url_that_comes_again_is_an_error(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response([{"n": 0}], headers={"Link": "</things?page=2>; rel=next"})

    server = await serve(handler)
    with pytest.raises(BadReplyError, match="would never end"):
        await api_of(server).paginated("/things", pages=LinkPages())
    assert len(server.seen) == 2


@pytest.mark.parametrize("pages", [OffsetPages(), NumberedPages()], ids=["offset", "page"])
async def test_a_server_that_ignores_the_number_is_an_error_before_an_item_comes_twice(
    serve: Serve, pages: Pages
) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.json_response([{"n": 0}, {"n": 1}])

    server = await serve(handler)
    seen = list[int]()
    with pytest.raises(BadReplyError, match="would never end"):
        await read(api_of(server).paginated("/things", pages=pages), seen)
    assert seen == [0, 1]


async def test_pages_without_items_do_not_go_on_for_ever() -> None:
    requests: list[int] = []

    async def fetch(request: Any) -> Page:
        at = int(request.get("cursor", 0))
        requests.append(at)
        return Page({"next_cursor": str(at + 1)}, [at] if at == 15 else [])

    with pytest.raises(BadReplyError, match="20 pages without items"):
        async for _ in walk(fetch, CursorPages(), {}, most_empty=20):
            pass
    assert len(requests) == 16 + 21


@given(before=st.integers(1, 100), length=st.integers(1, 100))
async def test_a_circle_of_any_length_is_found(before: int, length: int) -> None:
    requests: list[int] = []

    async def fetch(request: Any) -> Page:
        at = int(request.get("cursor", 0))
        requests.append(at)
        following = before if at == before + length - 1 else at + 1
        return Page({"next_cursor": str(following)}, [at])

    with pytest.raises(BadReplyError, match="would never end"):
        async for _ in walk(fetch, CursorPages(), {}):
            pass
    assert len(requests) <= 3 * (before + length)


async def test_a_walk_of_many_pages_keeps_no_more_than_one_of_few() -> None:
    async def fetch(request: Any) -> Page:
        at = int(request.get("cursor", 0))
        return Page({"next_cursor": str(at + 1) if at < pages else None}, [at])

    async def peak() -> int:
        tracemalloc.start()
        try:
            async for _ in walk(fetch, CursorPages(), {}):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    pages = 2000
    few = await peak()
    pages = 40_000
    assert await peak() < few + 20_000


# --- one page ahead ---


class Gate:
    """A server whose pages behind the first wait until they are let through."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.opened = asyncio.Event()
        self.hung_up = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        token = request.query.get("pageToken")
        if token is not None:
            self.asked.set()
            try:
                await self.opened.wait()
            except asyncio.CancelledError:
                self.hung_up.set()
                raise
        return web.json_response(THREE[token])


async def test_the_next_page_is_fetched_while_the_caller_works(serve: Serve) -> None:
    gate = Gate()
    server = await serve(gate)
    items = aiter(api_of(server).paginated("/things", {}, None, prefetch=True))
    assert (await anext(items))["n"] == 0
    await asyncio.wait_for(gate.asked.wait(), 10)  # nobody asked for the third item yet
    gate.opened.set()
    assert [item["n"] async for item in items] == [1, 2, 3, 4]
    assert [query.get("pageToken") for query in queries(server)] == [None, "b", "c"]


@pytest.mark.parametrize("how", ["break", "aclose", "map aclose", "throw", "del"])
async def test_who_stops_early_leaves_no_task_behind(serve: Serve, how: str) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))
    gate = Gate()
    api = api_of(await serve(gate))
    lazy: AsyncLazy[Any] = api.paginated("/things", {}, None, prefetch=True)
    if how == "map aclose":
        lazy = lazy.map(lambda item: item["n"])
    items = aiter(lazy)
    await anext(items)
    await asyncio.wait_for(gate.asked.wait(), 10)
    assert tasks_beside_this_one()
    if how == "throw":
        assert isinstance(items, AsyncGenerator)
        with pytest.raises(ZeroDivisionError):
            await items.athrow(ZeroDivisionError())
    elif how in ("break", "del"):
        del items, lazy
        gc.collect()
        await asyncio.wait_for(until_quiet(), 10)
    else:
        await lazy.aclose()
    assert tasks_beside_this_one() == set()
    assert told == []
    gate.opened.set()
    assert await api.get_json("/things") == THREE[None], "the client goes on"


async def until_quiet() -> None:
    while under_way := [task for task in tasks_beside_this_one() if not task.done()]:
        await asyncio.wait(under_way)


async def test_a_caller_who_is_cancelled_takes_the_page_ahead_along(serve: Serve) -> None:
    gate = Gate()
    api = api_of(await serve(gate))

    async def look() -> None:
        async with aclosing(api.paginated("/things", {}, None, prefetch=True)) as lazy:
            async for _ in lazy:
                pass

    task = asyncio.create_task(look())
    await asyncio.wait_for(gate.asked.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tasks_beside_this_one() == set()


async def test_an_error_of_the_page_ahead_that_nobody_wants_is_not_told(serve: Serve) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))
    failed = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if "pageToken" in request.query:
            failed.set()
            raise web.HTTPForbidden
        return web.json_response(THREE[None])

    api = api_of(await serve(handler))
    lazy = api.paginated("/things", {}, None, prefetch=True)
    await anext(aiter(lazy))
    await asyncio.wait_for(failed.wait(), 10)
    await until_quiet()
    await lazy.aclose()
    del lazy
    gc.collect()
    await asyncio.sleep(0)
    assert told == []


# --- chains of pages ---

SIZES = st.lists(st.integers(0, 4), min_size=1, max_size=8)


@given(sizes=SIZES, limit=st.none() | st.integers(0, 20), prefetch=st.booleans(), second=st.booleans())
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_any_chain_of_pages_gives_its_items_up_to_the_limit(
    sizes: list[int], limit: int | None, prefetch: bool, second: bool
) -> None:
    """Page by page: what the walk gives is a slice of all items, and no page is asked for that is not needed."""
    asked: list[int] = []

    class Chain(WebAPI):
        async def get_json(self, path: str, params: Any = None, *rest: Any, **more: Any) -> Any:
            at = int(params.get("pagination_token" if second else "pageToken", 0))
            asked.append(at)
            await asyncio.sleep(0)
            rows = [{"n": sum(sizes[:at]) + n} for n in range(sizes[at])]
            token = str(at + 1) if at + 1 < len(sizes) else None
            return {"data": rows, "meta": {"next_token": token}} if second else {"items": rows, "nextPageToken": token}

    rows = await Chain(Auth.none()).paginated("/x", {}, limit, prefetch=prefetch)
    everything = list(range(sum(sizes)))
    assert numbers(rows) == (everything if limit is None else everything[:limit])
    needed = len(sizes)
    if limit is not None:
        needed = next((n for n in range(len(sizes) + 1) if sum(sizes[:n]) >= limit), len(sizes))
    assert asked == list(range(needed))
