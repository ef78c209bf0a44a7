"""Finds the next page of an API whose style of paging nobody named, for `call --paginate`. Pure.

The rule: only what is unmistakable counts as a next page; a page without a list of items is an error, not an end.
"""

from collections.abc import Mapping
from typing import ClassVar

from ...paging import CursorPages, LinkPages, Page, Pages, TokenPages, value_at

_URLS = ("next", "links.next", "_links.next", "paging.next", "pagination.next", "@odata.nextLink", "nextRecordsUrl")
"""Members that name the URL of the next page: Django, JSON:API, HAL, Facebook, Spotify, Microsoft, Salesforce."""
_CURSORS = (CursorPages(), CursorPages("response_metadata.next_cursor"), CursorPages("meta.next_cursor"))
_LINK = LinkPages()
_TOKENS = TokenPages()


class AnyPages(Pages):
    """The `Link` header, else a URL or a token in the body, in every style that this library knows by name."""

    reads_headers: ClassVar[bool] = True

    def after(self, page: Page) -> Mapping[str, str | int] | str | None:
        if following := _LINK.after(page):
            return following
        for path in _URLS:
            url = value_at(page.body, path) if isinstance(page.body, dict) else None
            url = url.get("href") if isinstance(url, dict) else url
            if isinstance(url, str) and url.startswith(("https://", "http://", "/", "?")):
                return url
        for style in (_TOKENS, *_CURSORS):
            if token := style.after(page):
                return token
        return None
