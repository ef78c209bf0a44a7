"""Walks over the pages of one call, optionally fetching one page ahead.

The rule: no page is requested before it is needed, and no request outlives the walk.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin

from ..errors import BadReplyError, SlyError, clean_traceback
from ..paging import Page, Pages
from ..web.messages import ParamsDict
from ..web.urls import bare_url, whole_url
from .page_items import check_end

MOST_EMPTY_PAGES = 1000
"""Pages without items that a server may send in a row."""

PageRequest = ParamsDict | str
"""The parameters of a page, or its URL."""
FetchPage = Callable[[PageRequest], Coroutine[Any, Any, Page]]
ReadItems = Callable[[list[Any]], list[Any]]


@clean_traceback
async def walk(
    fetch: FetchPage,
    pages: Pages,
    params: ParamsDict,
    limit: int | None = None,
    *,
    prefetch: bool = False,
    read: ReadItems | None = None,
    most_empty: int = MOST_EMPTY_PAGES,
) -> AsyncGenerator[list[Any], None]:
    """The items of page after page, at most `limit`, through `read`; `params` are those of the first page.

    An unusable next page is an error after the items of its page. Raises what `fetch` and `read` raise, and
    `BadReplyError` for pages that would never end.
    """
    guard = _CycleGuard(pages.counts, most_empty)
    request: PageRequest | None = params if limit is None or limit > 0 else None
    ahead: asyncio.Task[Page] | None = None
    try:
        while request is not None:
            page = await (ahead or fetch(request))
            guard.check_page(page)
            items, problem = page.items, None
            if limit is not None:
                items = items[:limit]
                limit -= len(items)
            request = None
            try:
                if limit != 0:
                    request = _next(pages, page, params)
                    guard.check_next(page, request) if request is not None else check_end(pages, page)
            except SlyError as error:
                request, problem = None, error
            ahead = asyncio.ensure_future(fetch(request)) if prefetch and request is not None else None
            yield items if read is None else read(items)
            if problem is not None:
                raise problem
    finally:
        if ahead is not None:
            await _cancel(ahead)


def _next(pages: Pages, page: Page, params: ParamsDict) -> PageRequest | None:
    """The request for the page after this one. Raises `BadReplyError` for a URL that cannot be parsed."""
    following = pages.after(page)
    if following is None:
        return None
    if not isinstance(following, str):
        return {**params, **following}
    if whole_url(following, page.url) is not None:
        with suppress(ValueError):
            return urljoin(page.url, following)  # which keeps the escapes
    raise BadReplyError(f"GET {bare_url(page.url)}: the URL of the next page is not a URL.")


class _CycleGuard:
    """Notices endless pages in constant memory: compares each request with the 1st, 2nd, 4th, 8th ... (Brent)."""

    def __init__(self, counts: bool, most_empty: int) -> None:
        self._counts = counts
        self._most_empty = most_empty
        self._empty = 0
        self._body: Any = None
        self._milestone: PageRequest | None = None
        self._requests = 0

    def check_page(self, page: Page) -> None:
        """Raises `BadReplyError` for too many pages without items, or the same page for another number."""
        self._empty = 0 if page.items else self._empty + 1
        if self._empty > self._most_empty:
            raise _endless(page, f"{self._most_empty} pages without items came in a row")
        if self._counts:
            if page.items and page.body == self._body:
                raise _endless(page, "requests with different numbers return the same page")
            self._body = page.body

    def check_next(self, page: Page, request: PageRequest) -> None:
        """Raises `BadReplyError` for a next page that was read before."""
        if request == self._milestone:
            raise _endless(page, "a page names one that was read before as the next")
        self._requests += 1
        if self._requests & (self._requests - 1) == 0:  # a power of two
            self._milestone = request


def _endless(page: Page, why: str) -> BadReplyError:
    return BadReplyError(
        f"GET {bare_url(page.url)}: {why}, so the pages would never end.",
        next_step="Check that `pages` is how this API pages; or stop at a `limit`.",
        kind="permanent",
    )


async def _cancel(task: asyncio.Task[Page]) -> None:
    """Ends the task, and retrieves its exception, which nobody else does."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
