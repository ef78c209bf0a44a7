"""SlySheets 0.2.3, unmodified, on this SlyAPI: reading, writing, a refresh in the middle, errors."""
from __future__ import annotations

import json
import stat

import pytest

from tests.compat.conftest import Place

VALUES = "/v4/spreadsheets/sheet1/values/'Byer og land'!"


async def test_every_way_of_reading(place: Place) -> None:
    found = await place.tells("reading")
    assert found == {
        "title": "Cities ü",
        "link": "https://docs.google.com/spreadsheets/d/sheet1/edit#gid=0",
        "tz": "Europe/Oslo",
        "pages": [
            [0, "Byer og land", 5, "https://docs.google.com/spreadsheets/d/sheet1/edit#gid=0#gid=0"],
            [77, "Über", 5, "https://docs.google.com/spreadsheets/d/sheet1/edit#gid=0#gid=77"],
        ],
        "rows": 1000,
        "range": [["name", "people", "since"], ["Oslo", 700, 43831.5], ["Bergen", 280, None]],
        "whole": [["Oslo", 700, 43831.5]],
        "row": ["Oslo", 700, 43831.5, None, None],
        "several": [["name", "people"], ["Oslo", 700]],
        "cell": 700,
        "empty": None,
        "column": ["name", "Oslo", "Bergen"],
        "named": ["people", 700, 280],
        "dicts": [
            {"name": "Oslo", "people": 700, "since": 43831.5, "None": None},
            {"name": "Bergen", "people": 280, "since": None, "None": None},
        ],
        "date": found["date"],
        "missing": {"type": "KeyError", "told": "'Page none does not exist'"},
    }
    assert found["date"].startswith("2020-01-01T")
    assert {asked.method for asked in place.google.asked} == {"GET"}
    rendered = [asked.params for asked in place.google.asked if asked.params]
    assert all(params == {"valueRenderOption": "UNFORMATTED_VALUE"} for params in rendered)


async def test_every_way_of_writing(place: Place) -> None:
    found = await place.tells("writing")
    assert found["now"] == [
        ["name", "people", "since"],
        [None, None, None],
        ["Bergen", 280, None],
        ["Bodø", 41, None],
        ["it's 100% & more?", 1.5, None],
        ["Alta", 20, None],
        ["Moss", 50, None],
        ["Voss", 15, 3],
        ["Vadsø", 7, None],
        ["Narvik", None, None],
    ]
    written = [asked for asked in place.google.asked if asked.method != "GET"]
    assert [(asked.method, asked.path.removeprefix(VALUES)) for asked in written] == [
        ("PUT", "A4:C4"),
        ("PUT", "A5"),
        ("PUT", "B5"),
        *[("POST", "A1:append")] * 4,
        ("POST", "A2:C2:clear"),
    ]
    assert all(asked.params == {"valueInputOption": "RAW"} for asked in written[:-1])
    assert (written[-1].params, written[-1].body) == ({}, {})


async def test_a_token_that_has_expired_is_refreshed_once_and_kept(place: Place) -> None:
    before = place.user()
    place.expires()
    found = await place.tells("many_at_once")
    assert found["cells"] == ["name", "Oslo", "Bergen", "Cities ü"]
    assert place.google.provider.refreshes == 1
    now = place.user()
    assert now["token"] == found["token"] != before["token"]
    assert now["refresh_token"] == found["refresh_token"] == before["refresh_token"]
    assert stat.S_IMODE((place.folder / "user.json").stat().st_mode) == 0o600
    assert len({asked.credential for asked in place.google.asked}) == 1, "no call went out with the old token"
    await place.tells("many_at_once")
    assert place.google.provider.refreshes == 1


async def test_a_token_that_google_ends_in_the_middle_is_refreshed_once(place: Place) -> None:
    place.google.tokens_end_after = 1
    found = await place.tells("many_at_once")
    assert found["cells"] == ["name", "Oslo", "Bergen", "Cities ü"]
    assert place.google.provider.refreshes == 1
    assert place.user()["token"] == found["token"]


async def test_an_object_at_module_level_serves_one_event_loop_after_the_other(place: Place) -> None:
    place.expires()
    assert await place.tells("two_loops") == ["Cities ü", "Cities ü"]
    assert place.google.provider.refreshes == 1


async def test_errors_say_what_google_said_and_the_next_call_works(place: Place) -> None:
    found = await place.tells("sheet_errors")
    assert found["unknown"]["status"] == 404
    assert "Requested entity was not found." in found["unknown"]["reason"]
    assert "404" in found["unknown"]["told"]
    assert found["outside"]["status"] == 400
    assert found["no page"]["type"] == "ValueError"
    assert found["next"] == "name"


@pytest.mark.parametrize("how", ["revoked", "refresh token used up"])
async def test_a_grant_that_is_over_is_an_api_error_with_the_code_each_time(place: Place, how: str) -> None:
    place.expires()
    if how == "revoked":
        place.google.provider.end_all_grants()
    else:
        told = place.user() | {"refresh_token": "1//gone"}
        (place.folder / "user.json").write_text(json.dumps(told))
    found = await place.tells("one_title")
    assert [each["reason"] for each in found] == ["invalid_grant"] * 2
    assert all("grant" in each["told"] for each in found)
    assert place.google.asked == [], "the API is not called"
