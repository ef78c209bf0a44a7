"""Finds the items of a page, and notices a walk that would end early. Pure.

The rule: a page that cannot be understood is an error, which names keys and quotes no values.
"""

import re
from collections.abc import Mapping
from typing import Any

from ..errors import BadReplyError, printable
from ..paging import CursorPages, LinkPages, NextUrlPages, Page, Pages, TokenPages, value_at

_MORE = ("has_more", "hasMore", "has_next", "hasNext", "has_next_page", "hasNextPage")
_NOT_LAST = ("is_last", "isLast")
_NEXT = {
    *("next", "next_page", "nextPage", "next_url", "nextUrl", "next_link", "nextLink", "@odata.nextLink"),
    *("next_cursor", "nextCursor", "next_page_token", "nextPageToken", "next_token", "nextToken", "nextRecordsUrl"),
}
_ABOUT = {"meta", "paging", "pagination", "links", "_links", "response_metadata", "page_info", "pageInfo", "page"}


def check_end(pages: Pages, page: Page) -> None:
    """Raises `BadReplyError` for a last page that names a next one in a way that `pages` does not read.

    Not for a style that finds its end in another way: a page without items, `more`, `total`, `last`, its own code.
    """
    if type(pages) not in (CursorPages, TokenPages, NextUrlPages, LinkPages) or getattr(pages, "more", None):
        return
    if place := _names_more(page):
        raise BadReplyError(
            f"The walk ends at a page that names another one: {place}.",
            next_step="Give `pages` in the style of this API (docs/webapi-reference.md).",
            kind="configuration",
        )


def _names_more(page: Page) -> str | None:
    """The member, or the header, by which a page names a next one."""
    if isinstance(page.body, dict):
        below = [(f"{key}.", value) for key, value in page.body.items() if key in _ABOUT and isinstance(value, dict)]
        for above, members in [("", page.body), *below]:
            for key in _MORE:
                if members.get(key) is True:
                    return f"{above}{key}"
            for key in _NOT_LAST:
                if members.get(key) is False:
                    return f"{above}{key}"
            for key in _NEXT & members.keys():
                if members[key] and not isinstance(members[key], list | bool):
                    return f"{above}{key}"
    return "the Link header" if LinkPages().after(page) else None


def items_of(body: Any, where: str | None = None, *, strict: bool = False) -> list[Any]:
    """The items of a page: at `where`, else the body itself if it is a list, else under `items`, `data`, or its
    only list.

    None or nothing there means a page without items. Raises `BadReplyError` for anything but a list, for several
    lists without `items` and `data`, and, if `strict`, for a page that has members but no list.
    """
    if where is not None:
        found = value_at(body, where)
    elif isinstance(body, dict):
        where = next((key for key in ("items", "data") if body.get(key) is not None), None) or _only_list(body, strict)
        found = body.get(where)
    else:
        found, where = body, "the top"
    if found is None:
        return []
    if isinstance(found, list):
        return found
    raise BadReplyError(
        f"A page has no list of items at {where!r}, but a {type(found).__name__}.",
        next_step="Give their path: items='results', or --items results.",
        kind="configuration",
    )


_ABOUT_PAGES = {
    *("page", "pages", "token", "cursor", "next", "previous", "prev", "first", "last", "offset", "limit", "total"),
    *("count", "size", "more", "kind", "etag", "meta", "metadata", "link", "links", "paging", "pagination", "info"),
    *("ok", "success", "status", "self"),
}
"""Words in the names of members that are about the page, not its items."""


def _only_list(body: Mapping[str, Any], strict: bool) -> str:
    """The key of the page's only list, `data` without one. Raises `BadReplyError` for several, or if `strict`."""
    lists = [key for key, value in body.items() if isinstance(value, list) and key not in ("errors", "warnings")]
    if len(lists) == 1:
        return lists[0]
    if not lists:
        if not strict or all(_is_about_pages(key) for key, value in body.items() if value is not None):
            return "data"
        problem = "has no list of items"
    else:
        problem = f"has several lists: {_named(lists)}"
    raise BadReplyError(
        f"A page {problem}.",
        next_step="Give the path of the items: items='results', or --items results.",
        kind="configuration",
    )


def _is_about_pages(key: str) -> bool:
    words = re.findall(r"[A-Z]?[a-z]+", key)
    return not _ABOUT_PAGES.isdisjoint(word.lower() for word in words)


def check_no_error(body: Any) -> None:
    """Raises `BadReplyError` for a page that reports an error in the API's own words, with a status of 200."""
    if not isinstance(body, dict):
        return
    refused = body.get("ok") is False or body.get("success") is False
    if not refused and (body.get("errors") or body.get("error")):
        # GraphQL and X report errors of single items beside the others
        refused = not any(isinstance(value, list | dict) for key, value in body.items() if value and key not in _ERRORS)
    if refused:
        said = next((value for key in _ERRORS if (value := body.get(key))), None)
        shown = f": {printable(said, 200)}" if isinstance(said, str) else ""
        raise BadReplyError(
            f"A page reports an error{shown}.",
            next_step="Check the request by the API's documentation.",
            kind="permanent",
        )


_ERRORS = ("error", "errors", "error_description", "message", "detail")


class ItemsAt:
    """Finds the items of the pages of one walk, and notices a misspelt path.

    APIs omit an empty list, so a page without it has no items. But if no page had the path so far, and
    this one has a list elsewhere, the path is misspelt. `strict`: as for `items_of`.
    """

    __slots__ = ("_known", "_strict", "_where")

    def __init__(self, where: str | None, *, strict: bool = False) -> None:
        self._where = where
        self._strict = strict
        self._known = False

    def __call__(self, body: Any) -> list[Any]:
        """As `items_of`. Raises `BadReplyError` for a misspelt path too, naming keys only, no values."""
        check_no_error(body)
        items = items_of(body, self._where, strict=self._strict and not self._known)
        self._known = self._known or bool(items)
        if self._where is not None and not self._known:
            self._known = _has(body, self._where)
            if not self._known and (others := _lists_in(body)):
                raise BadReplyError(
                    f"A page has nothing at {self._where!r}, but a list at {', '.join(others)}.",
                    next_step="Give the right `items`, or leave it out for a bare list, `items` or `data`.",
                    kind="configuration",
                )
        return items


def _has(body: Any, path: str) -> bool:
    """Whether there is a key at `path`, even with null or an empty list."""
    above, dot, last = path.rpartition(".")
    holder = value_at(body, above) if dot else body
    return isinstance(body, dict) and (path in body or (isinstance(holder, dict) and last in holder))


_MOST_NAMED = 5
_NAME = re.compile(r"[A-Za-z_@-]{1,24}(?:\.[A-Za-z_@-]{1,24})?")
"""A key fit for a message: a server may use a credential as a key."""


def _lists_in(body: Any) -> list[str]:
    """The paths of lists of objects in a page: at the top, or one level down."""
    if not isinstance(body, dict):
        return ["the top"] if isinstance(body, list) and body else []
    found = [key for key, value in body.items() if value and isinstance(value, list)]
    inner = ((key, value) for key, value in body.items() if isinstance(value, dict))
    found += [
        f"{key}.{name}" for key, value in inner for name in value if value[name] and isinstance(value[name], list)
    ]
    return [_shown(key) for key in found[:_MOST_NAMED]]


def _shown(key: str) -> str:
    return key if _NAME.fullmatch(key) else "another key"


def _named(keys: list[str]) -> str:
    return ", ".join(map(_shown, keys[:_MOST_NAMED]))
