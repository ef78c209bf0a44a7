"""Walks over the pages of one call, one page ahead if asked to.

The rule: nothing is asked for before it is needed, and nothing stays under way when the walk ends.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any
from urllib.parse import urljoin

from ..errors import BadReplyError, SlyError
from ..paging import Page, Pages
from ..web.masking import SecretJson
from ..web.messages import Method, ParamsDict, Request
from ..web.urls import bare_url
from .answers import read_answer

MOST_EMPTY_PAGES = 1000
"""Pages without items, one after the other, that a server may send before it is not believed to end."""

MOST_REMEMBERED = 1000
"""Pages that are remembered, to know at once one that comes again; in a longer circle it is known later."""

Ask = ParamsDict | Request
"""Parameters, or what asks for the URL of a page; it prints no value that came from a server."""
Fetch = Callable[[Ask], Coroutine[Any, Any, Page]]


async def walk(
    fetch: Fetch, pages: Pages, params: ParamsDict, limit: int | None, prefetch: bool
) -> AsyncGenerator[list[dict[str, Any]], None]:
    """The items of page after page, `limit` of them at most. `fetch` takes parameters, or the request for a page.

    What is wrong with a page's word on the next one is raised behind its items. Raises what `fetch`
    raises, and `BadReplyError` for pages that would never end.
    """
    road = _Road(pages, params)
    ask: Ask | None = params if limit is None or limit > 0 else None
    ahead: asyncio.Task[Page] | None = None
    try:
        while ask is not None:
            page = await (ahead or fetch(ask))
            if pages.counts or not page.items:
                road.passes(page)
            items, ask, trouble = page.items, None, None
            if limit is not None:
                items = items[:limit]
                limit -= len(items)
            try:
                ask = road.after(page) if limit != 0 else None
            except SlyError as error:
                trouble = error
            ahead = asyncio.ensure_future(fetch(ask)) if prefetch and ask is not None else None
            yield items
            items = []
            if trouble is not None:
                raise trouble
    finally:
        if ahead is not None:
            await _end(ahead)


async def read_pages(
    pages: AsyncGenerator[list[Any], None], returns: Any, asked: str
) -> AsyncGenerator[list[Any], None]:
    """The items of each page as `returns` says; raises what `read_answer` does, before any item of that page."""
    try:
        async for items in pages:
            try:
                items = read_answer(list[returns], items, asked, "items")
            except SlyError:
                items = []  # so that no traceback shows what a server echoed
                raise
            yield items
            items = []
    finally:
        await pages.aclose()


class _Road:
    """The way through the pages, and enough of those that were passed to know one that comes again."""

    def __init__(self, pages: Pages, params: ParamsDict) -> None:
        self._pages = pages
        self._params = params
        self._asked = set[int]()  # hashes of the last that were asked for: a long walk stays small
        self._milestone: int | None = None
        self._passed = 0
        self._empty = 0
        self._before: Any = None

    def passes(self, page: Page) -> None:
        """Raises `BadReplyError` for a page that shows that there is no end."""
        if not page.items:
            self._empty += 1
            if self._empty > MOST_EMPTY_PAGES:
                raise _endless(page, f"{MOST_EMPTY_PAGES} pages without items came one after the other")
        if self._pages.counts:
            if page.items and page.body == self._before:
                raise _endless(page, "two pages asked for by different numbers are the same")
            self._before = page.body

    def after(self, page: Page) -> Ask | None:
        """What asks for the next page. Raises `BadReplyError` for one that was asked for before."""
        if page.items:
            self._empty = 0
        told = self._pages.after(page)
        if told is None:
            return None
        if isinstance(told, str):
            following = _request(page, told)
            ask: Ask = following
            mark = hash(following.url)
        else:
            ask = SecretJson(self._params, **told)
            mark = hash(tuple(told.items()))
        told = None  # so that no traceback shows what a server echoed
        if ask is _NOWHERE:
            raise BadReplyError(f"GET {bare_url(page.url)}: a page names a next one by what is no URL.")
        if mark in self._asked or mark == self._milestone:
            raise _endless(page, "a page names as the next one a page that was read before")
        self._passed += 1
        if self._passed & (self._passed - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: a circle of any length meets one
            self._milestone = mark
        if len(self._asked) == MOST_REMEMBERED:
            self._asked.clear()
        self._asked.add(mark)
        return ask


_NOWHERE = Request(Method.GET, "")


def _request(page: Page, url: str) -> Request:
    """What asks for the URL as a page names it; `_NOWHERE` for what is none."""
    try:
        return Request(Method.GET, urljoin(page.url, url)) if "\\" not in url else _NOWHERE  # some read it as a slash
    except ValueError:
        return _NOWHERE


def _endless(page: Page, why: str) -> BadReplyError:
    return BadReplyError(
        f"GET {bare_url(page.url)}: {why}, so the pages would never end.",
        next_step="Check that `pages` is how this API pages; or stop at a `limit`.",
        kind="permanent",
    )


async def _end(task: asyncio.Task[Page]) -> None:
    """Leaves nothing of the task behind, neither itself nor an error that nobody asked for."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
