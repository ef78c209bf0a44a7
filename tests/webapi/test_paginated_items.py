"""`WebAPI.paginated(items=...)`: a place that no page has is told from a list that is left out because it is empty."""

from typing import TYPE_CHECKING, Any

import pytest

from SlyAPI.errors import BadReplyError
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
    assert f"nothing at {where!r}, but objects in a list at {named}." in str(caught.value)
    assert "hush" not in str(caught.value)
    assert caught.value.kind == "configuration"


@pytest.mark.parametrize(
    "body",
    [{}, {"total": 0}, {"rows": [], "labels": ROWS}, {"rows": None, "labels": ROWS}, {"labels": ["a"]}, {"labels": []}],
    ids=str,
)
async def test_a_page_that_leaves_an_empty_list_out_has_no_items(serve: "Serve", body: Any) -> None:
    server = await serve(by_token({None: body}))
    assert await api_of(server).paginated("/rows", items="rows") == []


async def test_a_last_page_may_leave_the_items_out_once_another_had_them(serve: "Serve") -> None:
    pages: dict[str | None, Any] = {None: {"rows": ROWS, "nextPageToken": "b"}, "b": {"labels": ROWS}}
    server = await serve(by_token(pages))
    assert await api_of(server).paginated("/rows", items="rows") == ROWS


async def test_without_a_place_told_another_list_is_no_error(serve: "Serve") -> None:
    server = await serve(by_token({None: {"results": ROWS}}))
    assert await api_of(server).paginated("/rows") == []


async def test_one_walk_knows_nothing_of_the_places_of_another(serve: "Serve") -> None:
    server = await serve(by_token({None: {"rows": ROWS}, "b": {"labels": ROWS}}))
    api = api_of(server)
    assert await api.paginated("/rows", items="rows") == ROWS
    with pytest.raises(BadReplyError):
        await api.paginated("/rows", {"pageToken": "b"}, items="rows")
