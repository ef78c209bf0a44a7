"""`WebAPI.paginated(items=...)`: a place that no page has is told from a list that is left out because it is empty."""

from typing import TYPE_CHECKING, Any

import pytest

from SlyAPI.errors import BadReplyError
from SlyAPI.paging import TokenPages
from tests.support.paged import api_of, by_token

if TYPE_CHECKING:
    from tests.conftest import Serve


ROWS = [{"n": 0}, {"n": 1}]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"results": ROWS, "secret": "hush"}, "results"),
        ({"data": {"rows": ROWS, "total": 2}}, "data.rows"),
        ({"a": ROWS, "b": ROWS}, "a, b"),
        ({"re\x1b[2Jsults": ROWS}, "another key"),
        ({"AIzaSyD3f4": ROWS, "@graph": ROWS}, "another key, @graph"),
        (ROWS, "the top"),
    ],
    ids=["top", "one step in", "several", "control characters", "what may be a credential", "a bare list"],
)
@pytest.mark.parametrize("where", ["resluts", "data.resluts"])
async def test_a_misspelt_place_of_the_items_is_an_error_that_names_where_there_are_some(
    serve: "Serve", body: Any, named: str, where: str
) -> None:
    server = await serve(by_token({None: body}))
    with pytest.raises(BadReplyError) as caught:
        await api_of(server).paginated("/rows", items=where)
    assert f"nothing at {where!r}, but a list at {named}." in str(caught.value)
    assert "hush" not in str(caught.value)
    assert caught.value.kind == "configuration"


@pytest.mark.parametrize(
    "body",
    [{}, {"total": 0}, {"rows": [], "labels": ROWS}, {"rows": None, "labels": ROWS}, {"labels": []}],
    ids=str,
)
async def test_a_page_that_leaves_an_empty_list_out_has_no_items(serve: "Serve", body: Any) -> None:
    server = await serve(by_token({None: body}))
    assert await api_of(server).paginated("/rows", items="rows") == []


async def test_a_last_page_may_leave_the_items_out_once_another_had_them(serve: "Serve") -> None:
    pages: dict[str | None, Any] = {None: {"rows": ROWS, "nextPageToken": "b"}, "b": {"labels": ROWS}}
    server = await serve(by_token(pages))
    assert await api_of(server).paginated("/rows", items="rows") == ROWS


@pytest.mark.parametrize("key", ["results", "value", "records", "odd name", "entries"])
@pytest.mark.parametrize(
    "more", [{}, {"items": None}, {"total": 2, "next": None}, {"errors": [], "labels": {"a": []}}], ids=str
)
async def test_without_items_the_only_list_of_the_page_is_taken(serve: "Serve", key: str, more: Any) -> None:
    server = await serve(by_token({None: {key: ROWS, "nextPageToken": "b", **more}, "b": {key: [], **more}}))
    assert await api_of(server).paginated("/rows") == ROWS


async def test_several_lists_are_an_error_that_names_them(serve: "Serve") -> None:
    server = await serve(by_token({None: {"results": ROWS, "facets": [], "secret": "hush"}}))
    with pytest.raises(BadReplyError, match=r"several lists: results, facets\..*items='results'"):
        await api_of(server).paginated("/rows")


@pytest.mark.parametrize(
    "page", [{}, {"kind": "x", "etag": "y"}, {"total": 0, "next": None}, {"meta": {"result_count": 0}}], ids=str
)
async def test_a_page_with_nothing_but_paging_members_is_empty(serve: "Serve", page: Any) -> None:
    server = await serve(by_token({None: page}))
    assert await api_of(server).paginated("/rows", pages=TokenPages()) == []


async def test_a_page_without_a_list_is_an_error_but_in_the_form_of_0_6(serve: "Serve") -> None:
    server = await serve(by_token({None: {"name": "Oslo", "people": 5}}))
    assert await api_of(server).paginated("/rows", {}, None) == []
    with pytest.raises(BadReplyError, match="no list of items"):
        await api_of(server).paginated("/rows", pages=TokenPages())


@pytest.mark.parametrize("items", [None, "data"])
@pytest.mark.parametrize("page", ["first", "second"])
@pytest.mark.parametrize(
    "error",
    [
        {"ok": False, "error": "not_authed"},
        {"success": False, "data": []},
        {"errors": [{"message": "hush"}]},
        {"error": {"code": 5}},
        {"error": "over the limit"},
    ],
    ids=str,
)
async def test_an_error_in_an_apis_own_words_is_an_error_on_every_page(
    serve: "Serve", error: Any, page: str, items: str | None
) -> None:
    good = {"data": ROWS, "nextPageToken": "b"}
    server = await serve(by_token({None: error} if page == "first" else {None: good, "b": error}))
    seen = []

    async def walk() -> None:
        async for row in api_of(server).paginated("/rows", items=items):
            seen.append(row)

    with pytest.raises(BadReplyError, match="reports an error"):
        await walk()
    assert seen == ([] if page == "first" else ROWS)
