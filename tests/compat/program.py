"""Drives SlySheets and SlyYTDAPI, as they are on PyPI, through their public methods: `program.py STORY ORIGIN`.

The rule: it runs in the environment of those libraries, uses nothing of ours but by their means, and redirects them
by their own `base_url`. What a story found goes as JSON into `found.json`.
"""
# mypy: ignore-errors
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

Story = Callable[[str], Coroutine[Any, Any, Any]]
STORIES: dict[str, Story] = {}


def story(function: Story) -> Story:
    STORIES[function.__name__] = function
    return function


async def tried(call: Awaitable[Any]) -> dict[str, Any]:
    """What a call raises, as a program that uses these libraries can tell it."""
    from SlyAPI.web import ApiError

    try:
        return {"answer": str(await call)}
    except ApiError as error:
        return {"status": error.status, "reason": error.reason, "told": str(error)}
    except Exception as error:
        return {"type": type(error).__name__, "told": str(error)}


# --- SlySheets ---


def spreadsheet(origin: str, name: str = "sheet1"):
    from SlySheets.sheets import OAuth2, Spreadsheet

    Spreadsheet.base_url = f"{origin}/v4/spreadsheets"
    return Spreadsheet(OAuth2("app.json", "user.json"), name)


@story
async def reading(origin: str) -> Any:
    sheet = spreadsheet(origin)
    page = await sheet.page("Byer og land")
    return {
        "title": await sheet.title(),
        "link": sheet.link(),
        "tz": str(await sheet.tz()),
        "pages": [[each.id, each.title, each.n_columns, each.link()] for each in await sheet.pages()],
        "rows": await page.grid_row_count(),
        "range": await page.range("A1:C3"),
        "whole": await sheet.range("'Byer og land'!A2:C2"),
        "row": await page.row(1),
        "several": await page.rows(0, 1, 2),
        "cell": await page.cell("B2"),
        "empty": await page.cell("E9"),
        "column": await page.column(0),
        "named": await page.column_named("people"),
        "dicts": await page.rows_dicts(1, 2),
        "date": (await page.date_at_cell("C2")).isoformat(),
        "missing": await tried(sheet.page("none")),
    }


@story
async def writing(origin: str) -> Any:
    sheet = spreadsheet(origin)
    page = await sheet.page("Byer og land")
    await page.set_range("A4:C4", [["Bodø", 41, None]])
    await page.set_cell("A5", "it's 100% & more?")
    await sheet.set_cell("'Byer og land'!B5", 1.5)
    await page.append(["Alta", 20, None])
    await page.extend([["Moss", 50, ""], ["Voss", 15, 3]])
    await page.append_dict({"people": 7, "name": "Vadsø", "other": "left out"})
    await page.extend_dicts([{"name": "Narvik"}])
    await page.delete_range("A2:C2")
    async with page.batch() as batch:
        batch.set_range("A1:A1", [["x"]])
    return {"now": await page.range("A1:C10")}


@story
async def many_at_once(origin: str) -> Any:
    sheet = spreadsheet(origin)
    page = await sheet.page("Byer og land")
    cells = await asyncio.gather(*(page.cell(f"A{row}") for row in range(1, 4)), sheet.title())
    return {"cells": cells, "token": sheet.auth.user.token, "refresh_token": sheet.auth.user.refresh_token}


@story
async def sheet_errors(origin: str) -> Any:
    missing = spreadsheet(origin, "no such")
    sheet = spreadsheet(origin)
    page = await sheet.page("Byer og land")
    return {
        "unknown": await tried(missing.title()),
        "outside": await tried(page.set_range("A1:A1", [["a", "b"]])),
        "no page": await tried(sheet.cell("A1")),
        "next": await page.cell("A1"),
    }


@story
async def one_title(origin: str) -> Any:
    sheet = spreadsheet(origin)
    return [await tried(sheet.title()), await tried(sheet.title())]


@story
async def two_loops(origin: str) -> Any:
    """What `main` below does twice: see there."""
    return await MODULE_LEVEL["sheet"].title()


MODULE_LEVEL: dict[str, Any] = {}


# --- SlyYTDAPI ---


def youtube(origin: str, key: str = "", members: bool = False):
    from SlyYTDAPI import OAuth2, YouTubeData, YouTubeData_WithMembers

    YouTubeData.base_url = f"{origin}/youtube/v3"
    if key:
        return YouTubeData(key)
    return (YouTubeData_WithMembers if members else YouTubeData)(OAuth2("app.json", "user.json"))


def key() -> str:
    return Path("key").read_text()


@story
async def channels(origin: str) -> Any:
    from SlyYTDAPI.ytdapi import Part

    yt = youtube(origin, key())
    one = await yt.channel("UC3", {Part.SNIPPET, Part.DETAILS, Part.STATISTICS})
    before = one.display_name
    await one.update()
    return {
        "one": [one.id, before, one.at_username, one.view_count, one.uploads_playlist.id, one.created_at.isoformat()],
        "handle": (await yt.channel_by_handle("@seven")).id,
        "username": (await yt.channel_by_username("seven")).id,
        "urls": [
            (await yt.channel_by_url(f"https://www.youtube.com/{end}")).id
            for end in ("@seven", "c/seven", "channel/UC9")
        ],
        "many": sorted(each.id for each in await yt.channels([f"UC{n}" for n in range(130)], Part.ID)),
        "not there": await tried(yt.channel("UC999")),
    }


@story
async def videos(origin: str) -> Any:
    from SlyYTDAPI.ytdapi import Part

    yt = youtube(origin, key())
    one = await yt.video("v3", Part.ALL_PUBLIC())
    return {
        "one": [one.id, one.title, one.duration, one.view_count, one.published_at.isoformat(), one.link(short=True)],
        "dict": one.to_dict()["title"],
        "many": [each.id async for each in yt.videos([f"v{n}" for n in range(120)])],
        "channel": (await one.channel()).display_name,
        "comments": [each.body async for each in one.comments(limit=3)],
    }


@story
async def searching(origin: str) -> Any:
    from SlyYTDAPI.ytdapi import Order, SafeSearch

    yt = youtube(origin, key())
    after = datetime(2020, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    found = yt.search_videos("a & b = ü+1", after=after, order=Order.DATE, safeSearch=SafeSearch.UNSAFE, limit=60)
    first: list[str] = []
    async for video in yt.search_videos("few", limit=None):
        first.append(video.id)
        if len(first) == 3:
            break
    return {
        "found": [video.id async for video in found],
        "first": first,
        "nothing": [video.id for video in await yt.search_videos("nothing")],
        "of a channel": len(await (await yt.channel("UC0")).videos(limit=7)),
        "mapped": await yt.search_videos("x", limit=2).map(lambda video: video.title),
    }


@story
async def pages(origin: str) -> Any:
    yt = youtube(origin, key())
    comments = await yt.comments("v5", query="Comment")
    return {
        "playlist": [video.id for video in await yt.get_playlist_videos("UU0")],
        "some": len(await yt.get_playlist_videos("UU0", limit=55)),
        "none": len(await yt.get_playlist_videos("UU0", limit=0)),
        "comments": [[each.id, each.body, [reply.body for reply in each.replies]] for each in comments],
    }


@story
async def mine(origin: str) -> Any:
    yt = youtube(origin, members=True)
    return {
        "me": (await yt.my_channel()).display_name,
        "mine": len(await yt.search_videos(mine=True, limit=4)),
        "members": [[each.channel_name, each.level.name, each.total_months] for each in await yt.get_my_members()],
        "one": len(await yt.get_my_members("L1", ["UC100", "UC101"], limit=1)),
        "levels": [each.name for each in await yt.get_my_levels()],
        "polled": [len(await yt.poll_new_members()) for _ in range(2)],
    }


@story
async def youtube_errors(origin: str) -> Any:
    yt = youtube(origin, key())
    return {
        "comments off": await tried(yt.comments("v1").__aiter__().__anext__()),
        "no playlist": await tried(yt.get_playlist_videos("nope")._list()),
        "not mine": await tried(yt.my_channel()),
        "wrong key": await tried(youtube(origin, "AIza-wrong-key-5EC9E7").video("v1")),
        "next": (await yt.video("v1")).id,
    }


@story
async def quota(origin: str) -> Any:
    yt = youtube(origin, key())
    seen: list[str] = []

    async def walk() -> None:
        async for video in yt.get_playlist_videos("UU0"):
            seen.append(video.id)

    return {"error": await tried(walk()), "seen": len(seen)}


def main(name: str, origin: str) -> None:
    if name == "two_loops":  # an object at module level, used in one event loop after the other
        MODULE_LEVEL["sheet"] = spreadsheet(origin)
        found = [asyncio.run(STORIES[name](origin)) for _ in range(2)]
    else:
        found = asyncio.run(STORIES[name](origin))
    Path("found.json").write_text(json.dumps(found))


main(*sys.argv[1:])
