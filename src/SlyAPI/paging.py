"""How each style of API names the next page: token, cursor, Link header, next URL, offset, page number. Pure.

The rule: pages come from a stranger; one whose next page cannot be read is an error, never the end.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .errors import BadReplyError, ConfigError
from .web.messages import ParamsDict
from .web.urls import bare_url

__all__ = [
    "CursorPages",
    "LinkPages",
    "NextUrlPages",
    "NumberedPages",
    "OffsetPages",
    "Page",
    "Pages",
    "TokenPages",
]

Parameters = Mapping[str, str | int]


@dataclass(slots=True, repr=False)
class Page:
    """One page as it came. `sent`: the parameters of its request; `headers` and `url`: those of the reply.

    Its repr shows none of them: a server may echo credentials.
    """

    body: Any
    items: list[Any]
    sent: ParamsDict = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    url: str = ""

    def __repr__(self) -> str:
        return f"<Page of {len(self.items)} items from {bare_url(self.url)}>"

    def value(self, path: str) -> Any:
        """The value at `path` in the body, None where there is none (see `value_at`)."""
        return value_at(self.body, path)


class Pages(ABC):
    """A style of paging. Derive from it for an API that has one of its own."""

    reads_headers: ClassVar[bool] = False
    """Whether `after` reads the headers of a page."""
    counts: ClassVar[bool] = False
    """Whether requests count items or pages. A server that ignores the number sends the same page for ever."""

    def first(self) -> Parameters:
        """Parameters of the first page; the caller's own take precedence."""
        return {}

    @abstractmethod
    def after(self, page: Page) -> Parameters | str | None:
        """The request for the page after this one: parameters, or its URL; None at the end.

        Parameters replace those of the first page by name. A URL is used as it is, relative to the page's own.
        """


@dataclass(frozen=True, slots=True)
class CursorPages(Pages):
    """The reply contains a cursor (or token) for the next request.

    `answer`: its path, as for `value_at`: `"meta.next"`, or `"data.-1.id"` for the id of the last
    item. `query`: the parameter that sends it. `more`: the path of a value that is false on the last
    page, for an API that gives a cursor there too.
    """

    answer: str = "next_cursor"
    query: str = "cursor"
    more: str | None = None

    def after(self, page: Page) -> Parameters | None:
        if self.more is not None and not page.value(self.more):
            return None
        cursor = value_at(page.body, self.answer)
        if not cursor:  # None, "" and 0 mean that there is no next page
            return None
        if isinstance(cursor, str) or type(cursor) is int:
            return {self.query: cursor}
        raise BadReplyError(f"A page has no cursor under {self.answer!r}, but a {type(cursor).__name__}.")


@dataclass(frozen=True, slots=True)
class TokenPages(Pages):
    """The first of several tokens that the reply contains: Google's, or X's (as in SlyAPI 0.6)."""

    styles: tuple[CursorPages, ...] = (
        CursorPages("nextPageToken", "pageToken"),
        CursorPages("meta.next_token", "pagination_token"),
    )

    def after(self, page: Page) -> Parameters | None:
        for style in self.styles:
            following = style.after(page)
            if following:
                return following
        return None


@dataclass(frozen=True, slots=True)
class NextUrlPages(Pages):
    """The reply contains the URL of the next page (or an object with it under `href`), None at the end."""

    answer: str = "next"

    def after(self, page: Page) -> str | None:
        url = page.value(self.answer)
        url = url.get("href") if isinstance(url, dict) else url
        if not url or isinstance(url, str):
            return url or None
        raise BadReplyError(f"A page has no URL under {self.answer!r}, but a {type(url).__name__}.")


@dataclass(frozen=True, slots=True)
class LinkPages(Pages):
    """The `Link` header names the next page (RFC 8288)."""

    rel: str = "next"
    reads_headers: ClassVar[bool] = True

    def after(self, page: Page) -> str | None:
        getall = getattr(page.headers, "getall", None)  # RFC 9110 §5.3: several Link headers are one list
        values: Iterable[str] = getall("Link", ()) if getall else [page.headers.get("Link", "")]
        return link_to(self.rel, ", ".join(values))


@dataclass(frozen=True, slots=True)
class OffsetPages(Pages):
    """Each request says how many items to skip.

    The end is a page without items; or earlier, after `total` items, or where `more` is false (both are
    paths of values in the reply, as for `value_at`).
    """

    query: str = "offset"
    start: int = 0
    total: str | None = None
    more: str | None = None
    counts: ClassVar[bool] = True

    def first(self) -> Parameters:
        return {self.query: self.start}

    def after(self, page: Page) -> Parameters | None:
        skip = _number_sent(page, self.query) + len(page.items)
        return {self.query: skip} if _goes_on(page, self.more, self.total, skip - self.start) else None


@dataclass(frozen=True, slots=True)
class NumberedPages(Pages):
    """Each request says which page to send.

    The end is a page without items; or earlier, after page `last`, or where `more` is false (both are
    paths of values in the reply, as for `value_at`).
    """

    query: str = "page"
    start: int = 1
    last: str | None = None
    more: str | None = None
    counts: ClassVar[bool] = True

    def first(self) -> Parameters:
        return {self.query: self.start}

    def after(self, page: Page) -> Parameters | None:
        number = _number_sent(page, self.query)
        return {self.query: number + 1} if _goes_on(page, self.more, self.last, number) else None


def value_at(body: Any, path: str) -> Any:
    """The value at a key of the body, or at a path of keys with dots between; a number is an index in a list.

    >>> value_at({"meta": {"next": "abc"}, "data": [{"id": 1}, {"id": 2}]}, "data.-1.id")
    2
    """
    if isinstance(body, dict):
        if path in body:
            return body[path]  # '@odata.nextLink' has a dot of its own
        if "." not in path:
            return None
    for key in path.split("."):
        if isinstance(body, dict):
            body = body.get(key)
        elif isinstance(body, list) and key.removeprefix("-").isdecimal():
            body = body[int(key)] if -len(body) <= int(key) < len(body) else None
        else:
            return None
    return body


# All quantifiers are possessive, so matching cannot backtrack (no ReDoS).
_SINGLE = r"'[^']*+'(?=\s*+(?:[,;]|$))"  # no quotes in RFC 8288, but some servers write them
_LINK = re.compile(
    rf'[\s,]*+<([^>]*+)>((?:\s*+;\s*+[^\s=;,"<>]*+(?:\s*+=\s*+(?:"(?:[^"\\]|\\.)*+"|{_SINGLE}|[^\s",;]*+))?+)*+)\s*+(?:,|$)'
)
_PARAMETER = re.compile(rf';\s*+([^\s=;,"<>]*+)(?:\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|({_SINGLE}|[^\s",;]*+)))?+')


def link_to(rel: str, header: str) -> str | None:
    """The target of the first link with that relation in a `Link` header, None without one (RFC 8288 §3).

    Raises `BadReplyError` for a header that cannot be read to its end.
    """
    at = 0
    while match := _LINK.match(header, at):
        at = match.end()
        parameters: dict[str, str] = {}
        for name, quoted, plain in _PARAMETER.findall(match[2]):
            # §3.3: the first rel counts
            parameters.setdefault(name.lower(), quoted or plain.strip("'"))
        # §3.2: a link with an anchor is about another resource than this page
        if rel.lower() in parameters.get("rel", "").lower().split() and "anchor" not in parameters:
            return match[1].strip()
    if header[at:].strip(" ,\t"):
        raise BadReplyError("A page's Link header cannot be read, so its next page is not known.", kind="permanent")
    return None


def _number_sent(page: Page, query: str) -> int:
    number = page.sent.get(query)
    try:
        return int(number)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        raise ConfigError(f"The parameter {query!r} counts items or pages, but is not a number.") from None


def _goes_on(page: Page, more: str | None, end: str | None, reached: int) -> bool:
    """Whether more pages follow after `reached`, for a style that counts."""
    if not page.items or (more is not None and not page.value(more)):
        return False
    if end is None:
        return True
    number = page.value(end)
    if isinstance(number, str) and number.isdecimal():
        number = int(number[:20])
    if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
        return reached < number
    raise BadReplyError(
        f"A page has no number under {end!r} that counts items or pages.",
        next_step="Leave it out: the end is then a page without items.",
        kind="configuration",
    )
