"""What each style of paging reads out of a page. No socket."""
from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from SlyAPI import SlyError
from SlyAPI.errors import BadReplyError, ConfigError
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
from SlyAPI.webapi.page_items import items_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def page(body: Any, sent: dict[str, Any] | None = None, **headers: str) -> Page:
    return Page(body, items_of(body), sent or {}, headers)


# --- items ---


@pytest.mark.parametrize(
    ("body", "items"),
    [
        ({"items": [1, 2]}, [1, 2]),
        ({"data": [1, 2]}, [1, 2]),
        ({"items": [], "data": [1]}, []),
        ({"items": None, "data": [1]}, [1]),
        ([1, 2], [1, 2]),
        ({}, []),
        ({"data": None}, []),
        (None, []),
    ],
)
def test_items_are_under_items_or_data_or_are_the_whole_answer(body: Any, items: list[Any]) -> None:
    assert items_of(body) == items


def test_items_may_lie_deeper_or_under_a_name_with_a_dot() -> None:
    assert items_of({"response": {"docs": [1]}}, "response.docs") == [1]
    assert items_of({"response.docs": [2]}, "response.docs") == [2]
    assert items_of({"response": None}, "response.docs") == []


@pytest.mark.parametrize(("body", "where"), [({"items": {}}, None), ("text", None), ({"all": 5}, "all"), (7, None)])
def test_what_is_no_list_of_items_is_an_error_that_says_where_it_looked(body: Any, where: str | None) -> None:
    with pytest.raises(BadReplyError, match=where or "items|top"):
        items_of(body, where)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b", 1),
        ("list.0.id", 5),
        ("list.-1.id", 6),
        ("list.2.id", None),
        ("list.-3.id", None),
        ("list.x", None),
        ("a.b.c", None),
        ("@odata.nextLink", "url"),
        ("", None),
    ],
)
def test_a_value_is_found_by_keys_with_dots_between(path: str, value: Any) -> None:
    assert value_at({"a": {"b": 1}, "list": [{"id": 5}, {"id": 6}], "@odata.nextLink": "url"}, path) == value


# --- tokens and cursors ---


@pytest.mark.parametrize(
    ("body", "following"),
    [
        ({"nextPageToken": "abc"}, {"pageToken": "abc"}),
        ({"meta": {"next_token": "abc"}}, {"pagination_token": "abc"}),
        ({"nextPageToken": ""}, None),
        ({"nextPageToken": None, "meta": {"next_token": "x"}}, {"pagination_token": "x"}),
        ({"meta": {"result_count": 0}}, None),
        ({"meta": None}, None),
        ({}, None),
        ([], None),
    ],
)
def test_tokens_of_both_kinds_of_0_6_are_read(body: Any, following: Any) -> None:
    assert TokenPages().after(page(body)) == following


def test_a_cursor_is_where_the_api_has_it() -> None:
    slack = CursorPages("response_metadata.next_cursor", "cursor")
    assert slack.after(page({"response_metadata": {"next_cursor": "dXNlcg=="}})) == {"cursor": "dXNlcg=="}
    assert slack.after(page({"response_metadata": {"next_cursor": ""}})) is None
    assert CursorPages().after(page({"next_cursor": 17})) == {"cursor": 17}
    assert CursorPages().after(page({"next_cursor": 0})) is None


def test_the_id_of_the_last_item_may_be_the_cursor_and_more_says_whether_to_go_on() -> None:
    stripe = CursorPages("data.-1.id", "starting_after", more="has_more")
    assert stripe.after(page({"data": [{"id": "a"}, {"id": "b"}], "has_more": True})) == {"starting_after": "b"}
    assert stripe.after(page({"data": [{"id": "a"}, {"id": "b"}], "has_more": False})) is None
    assert stripe.after(page({"data": [], "has_more": True})) is None


@pytest.mark.parametrize("cursor", [True, 1.5, ["x"], {"a": 1}])
def test_a_cursor_that_is_no_text_is_an_error(cursor: Any) -> None:
    with pytest.raises(BadReplyError, match="next_cursor"):
        CursorPages().after(page({"next_cursor": cursor}))


# --- URLs ---


@pytest.mark.parametrize(
    ("style", "body", "url"),
    [
        (NextUrlPages(), {"next": "/x?page=2"}, "/x?page=2"),
        (NextUrlPages(), {"next": None}, None),
        (NextUrlPages(), {}, None),
        (NextUrlPages("@odata.nextLink"), {"@odata.nextLink": "https://a/x"}, "https://a/x"),
        (NextUrlPages("_links.next"), {"_links": {"next": {"href": "/x"}}}, "/x"),
        (NextUrlPages("links.next"), {"links": {"next": {"meta": 5}}}, None),
    ],
)
def test_the_url_in_the_body_is_taken_as_it_is(style: Pages, body: Any, url: str | None) -> None:
    assert style.after(page(body)) == url


def test_a_next_url_that_is_no_text_is_an_error() -> None:
    with pytest.raises(BadReplyError, match="'next'"):
        NextUrlPages().after(page({"next": ["a"]}))


@pytest.mark.parametrize(
    ("header", "url"),
    [
        ('<https://a/x?page=2>; rel="next", <https://a/x?page=9>; rel="last"', "https://a/x?page=2"),
        ('<https://a/x?page=1>; rel="prev", <https://a/x?page=3>; rel="next"', "https://a/x?page=3"),
        ("<?page=2>;rel=next", "?page=2"),
        ('</a,b;c>; REL="Next"', "/a,b;c"),
        ('</x>; rel="last next"', "/x"),
        ('</x>; title="a, <b>; rel=next"; rel="last"', None),
        (r'</x>; title="a \" b"; rel="next"', "/x"),
        ("</x>; rel=last; rel=next", None),
        ("</a>; rel='prev', <?p=%2F>; title='a, <b>; rel=x'; rel='next'", "?p=%2F"),
        ("</x>; rel='last next', </y>; rel='next'", "/x"),
        ("</x>; title=it's; rel=next", "/x"),
        ('</x>; rel="next"; anchor="/other"', None),
        ('</x>; rel="nextish"', None),
        ("</x> ; rel = next , </y>; rel=next", "/x"),
        (", ,</x>; rel=next", "/x"),
        ("</a>; ; rel=next", "/a"),
        ("</x>", None),
        ("", None),
    ],
)
def test_the_link_header_is_read_as_rfc_8288_says(header: str, url: str | None) -> None:
    assert link_to("next", header) == url


@pytest.mark.parametrize("header", ["</a>;;</b>; rel=next", "nonsense", "<unclosed; rel=next"])
def test_a_link_header_that_cannot_be_read_ends_no_walk_quietly(header: str) -> None:
    with pytest.raises(BadReplyError, match="Link header"):
        link_to("next", header)


def test_several_link_headers_are_one_list() -> None:
    headers = CIMultiDict([("Link", "</1>; rel=first"), ("link", "</2>; rel=next")])
    assert LinkPages().after(Page([], [], {}, headers)) == "/2"
    assert LinkPages("first").after(Page([], [], {}, headers)) == "/1"
    assert LinkPages().after(Page([], [])) is None


@pytest.mark.parametrize(
    "piece", ["<", "</x>;", "</x>; a=", '</x>; a="', ' ;a="\\', " " * 9, ";a='", ";a", "a = ", "</x>; rel=next,", '";"']
)
def test_a_hostile_link_header_costs_no_more_than_its_length(piece: str) -> None:
    for start in ("", "</x>", "</x>; a", '</x>; a="'):
        began = time.process_time()
        with suppress(BadReplyError):
            link_to("prev", start + piece * (100_000 // len(piece)))
        assert time.process_time() - began < 20  # a guard against hours, not a measure


@given(st.text(alphabet='<>;=", \\anext/?rl\n'))
def test_a_link_header_never_breaks_its_reader(header: str) -> None:
    url = None
    with suppress(BadReplyError):
        url = link_to("next", header)
    assert url is None or url in header


@given(st.lists(st.tuples(st.text("abc/?=&,; ", min_size=1), st.sampled_from(["next", "prev", "last"])), max_size=5))
def test_the_first_next_link_of_a_list_is_found(links: list[tuple[str, str]]) -> None:
    header = ", ".join(f'<{url}>; title="x, <y>; rel=next"; rel="{rel}"' for url, rel in links)
    assert link_to("next", header) == next((url.strip() for url, rel in links if rel == "next"), None)


# --- counting ---


def test_an_offset_grows_by_the_items_that_came_until_none_come() -> None:
    style = OffsetPages("skip", start=0)
    assert style.first() == {"skip": 0}
    assert style.after(page([1, 2, 3], {"skip": 0})) == {"skip": 3}
    assert style.after(page([1], {"skip": "6"})) == {"skip": 7}, "the caller's own start may be text"
    assert style.after(page([], {"skip": 7})) is None


@pytest.mark.parametrize(
    ("sent", "total", "following"), [(1, 4, {"startIndex": 4}), (4, 6, None), (4, "7", {"startIndex": 7}), (4, 0, None)]
)
def test_an_offset_ends_at_the_total(sent: int, total: Any, following: Any) -> None:
    style = OffsetPages("startIndex", start=1, total="totalResults")
    assert style.after(page({"items": [1, 2, 3], "totalResults": total}, {"startIndex": sent})) == following


def test_page_numbers_go_up_to_the_last() -> None:
    style = NumberedPages(last="total_pages")
    assert style.first() == {"page": 1}
    assert style.after(page({"data": [1], "total_pages": 2}, {"page": 1})) == {"page": 2}
    assert style.after(page({"data": [1], "total_pages": 2}, {"page": 2})) is None
    assert NumberedPages("p", start=0, more="more").after(page({"data": [1], "more": True}, {"p": 0})) == {"p": 1}
    assert NumberedPages("p", start=0, more="more").after(page({"data": [1], "more": False}, {"p": 0})) is None


def test_what_does_not_count_is_an_error_on_either_side() -> None:
    with pytest.raises(BadReplyError, match="'total'"):
        OffsetPages(total="total").after(page({"items": [1], "total": "many"}, {"offset": 0}))
    with pytest.raises(ConfigError, match="'page'"):
        NumberedPages().after(page([1], {"page": "first"}))


# --- all ---

STYLES: list[Pages] = [
    TokenPages(),
    CursorPages("a.b", more="c"),
    CursorPages("a.-1.b"),
    NextUrlPages("a"),
    LinkPages(),
    OffsetPages(total="a"),
    NumberedPages(last="a.b"),
]


@given(st.sampled_from(STYLES), st.dictionaries(st.sampled_from(["a", "b", "c", "items", "data", "meta"]), JSON))
def test_no_answer_makes_a_style_raise_anything_but_our_error(style: Pages, body: dict[str, Any]) -> None:
    try:
        following = style.after(page(body, dict(style.first())))
    except SlyError:
        return
    assert following is None or following
    values = [] if following is None or isinstance(following, str) else following.values()
    assert all(isinstance(value, str | int) for value in values)


def test_styles_are_values() -> None:
    assert CursorPages("a", "b") == CursorPages("a", "b")
    assert len({LinkPages(), LinkPages(), NextUrlPages()}) == 2
