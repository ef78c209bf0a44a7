"""The readers of an API's replies: paging, quotas, typed answers, and addresses that a server names.

The rule is that of `promise`.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from SlyAPI.errors import SlyError
from SlyAPI.limits import quota_from_headers
from SlyAPI.paging import (
    CursorPages,
    LinkPages,
    NextUrlPages,
    NumberedPages,
    OffsetPages,
    Page,
    Pages,
    TokenPages,
    link_to,
    value_at,
)
from SlyAPI.web.redirects import leads_inside, leaves_base_path
from SlyAPI.webapi.answers import answer_type
from SlyAPI.webapi.origin import Origin
from SlyAPI.webapi.page_items import items_of
from tests.fuzz.promise import NOW, Target, as_json, check_error, json_of

BASE = "https://api.example/v1"


# --- a Link header ---


def check_link(data: bytes) -> None:
    header = data.decode("utf-8", "surrogateescape")
    try:
        target = link_to("next", header)
    except SlyError as error:
        return check_error(error)
    assert target is None or target in header
    assert target is None or f"<{target}" in header.replace(" ", "").replace("\t", "") or "<" in header
    assert LinkPages().after(Page({}, [], headers={"Link": header})) == target


LINKS = [
    '<https://api.example/v1?page=2>; rel="next", <https://api.example/v1?page=9>; rel=last',
    '<a>; rel="prev next"; title="a\\"b", <b>; anchor="#x"; rel=next',
    "<" * 200 + ";rel=next" * 50,
    "<a>" + ";" * 500,
]


# --- a page ---

STYLES: list[Pages] = [
    *(CursorPages(), CursorPages("meta.next", more="more"), TokenPages(), NextUrlPages(), NextUrlPages("links.next")),
    *(OffsetPages(total="total"), OffsetPages(more="more"), NumberedPages(last="total"), NumberedPages()),
]


def check_page(data: bytes) -> None:
    body = json_of(data)
    for path in ("items", "data.-1.id", "a.0.b", "meta.next", "-1"):
        value_at(body, path)
    for where in (None, "items", "data.0"):
        try:
            items = items_of(body, where)
        except SlyError as error:
            check_error(error)
            continue
        assert isinstance(items, list)
        for style in STYLES:
            try:
                after = style.after(Page(body, items, {**style.first()}))
            except SlyError as error:
                check_error(error)
            else:
                texts = after.values() if isinstance(after, dict) else [after]
                assert all(text is None or type(text) in (str, int) for text in texts)


PAGES: list[object] = [
    {"items": [{"id": 1}], "next_cursor": "abc", "next": "https://api.example/2", "total": "12", "more": True},
    {"data": [{"id": 1}], "meta": {"next": 5}, "links": {"next": {"href": "x"}}, "nextPageToken": 0.5},
    {"items": {"a": 1}, "next": {"href": [1]}, "total": True, "more": ""},
    [[1], {"id": None}],
    5,
]


# --- what a reply says of a quota: a line for each header ---

QUOTA_HEADERS = ("RateLimit", "RateLimit-Remaining", "RateLimit-Reset", "X-RateLimit-Reset", "Retry-After", "Date")


def check_quota(data: bytes) -> None:
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    headers = dict(zip(QUOTA_HEADERS, lines, strict=False)) | {"X-RateLimit-Remaining": lines[-1]}
    for status in (200, 429):
        quota = quota_from_headers(headers, status, NOW)
        assert quota is None or (quota.left >= 0 and math.isfinite(quota.reset) and quota.reset >= 0)


DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
QUOTAS = [
    f'"burst";r=5;t=30, "daily";r=900;t=4000\n5\n30\n1900000000\n120\n{DATE}\n0',
    f"limit=10, remaining=5, reset=30\n1e9\n-1\n{'9' * 15}\n{DATE}\nx\n5",
    '"a;b";r=' + "9" * 20 + ";t=1\n\n\n\n\n\n0.5",
]


# --- where a server leads: a line for a URL ---


def check_place(data: bytes) -> None:
    url = data.decode("utf-8", "surrogateescape")
    leads_inside(BASE, url)
    leaves_base_path(BASE, url)
    origin = Origin(BASE)
    if origin.admits(url):
        host = None
        with suppress(ValueError):
            host = urlsplit(url).hostname
        assert host is None or host.rstrip(".") == "api.example"
    check_error(origin.refusal(url))
    with suppress(SlyError):
        origin.check_path(url)


PLACES = [
    *("https://api.example/v1/%2e%2e/admin", "https://api.example@evil.example/", "https://api.example:443/v1"),
    "//[::]@",  # an IndexError of yarl
    *(
        "//evil.example/x",
        "https:\\\\evil.example",
        "http://0x7f.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://API.example./",
    ),
    *("/v1/..;/x", "https://api.example\t/v1", "https://evil.example#@api.example/"),
]


# --- a typed answer ---


@dataclass
class Owner:
    id: int
    name: str | None = None


@dataclass
class Thing:
    id: str
    owner: Owner | list[Owner] | None
    sizes: dict[str, float]
    tags: tuple[str, ...] = ()
    more: Any = None


def check_answer(data: bytes) -> None:
    value = json_of(data)
    for hint in (Thing, list[Thing], Owner | Thing, dict[str, Thing | int], tuple[int, str]):
        try:
            found: Any = answer_type(hint).read(value, "GET https://api.example/v1")
        except SlyError as error:
            check_error(error)
        else:
            assert found is not None
            if isinstance(found, Thing):
                assert isinstance(found.id, str)
                assert all(type(size) is float for size in found.sizes.values())


ANSWERS: list[object] = [
    {"id": "a", "owner": {"id": 1, "name": "b"}, "sizes": {"x": 1, "y": 2.5}, "tags": ["c"], "more": [None]},
    [{"id": "a", "owner": [{"id": 1}], "sizes": {}}, {"id": "b", "owner": None, "sizes": {"": 10**400}}],
    {"id": 5, "owner": {"id": True}, "sizes": {"\u202e": "x"}},
    {"a": 1, "b": {"id": "c", "owner": None, "sizes": []}},
    [1, "a"],
]

TARGETS = {
    "link": Target(check_link, [text.encode() for text in LINKS]),
    "page": Target(check_page, as_json(PAGES)),
    "quota": Target(check_quota, [text.encode() for text in QUOTAS]),
    "place": Target(check_place, [text.encode() for text in PLACES]),
    "answer": Target(check_answer, as_json(ANSWERS)),
}
