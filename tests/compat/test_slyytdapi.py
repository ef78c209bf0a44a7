"""SlyYTDAPI 0.4.12, unmodified, on this SlyAPI: an API key or a user, search, pages, members, errors."""
from __future__ import annotations

from tests.compat.conftest import Place


def calls(place: Place, name: str) -> list[dict[str, str]]:
    """The parameters of every call of one list method, in order."""
    return [asked.params for asked in place.google.asked if asked.path == f"/youtube/v3/{name}"]


def ids(start: int, end: int) -> list[str]:
    return [f"v{number}" for number in range(start, end)]


async def test_channels_by_every_name_and_many_at_once(place: Place) -> None:
    found = await place.tells("channels")
    assert found == {
        "one": ["UC3", "Channel 3", "@channel3", 1000, "UU3", "2019-05-06T07:08:09.123456"],
        "handle": "UC7",
        "username": "UC7",
        "urls": ["UC7", "UC7", "UC9"],
        "many": sorted(f"UC{number}" for number in range(130)),
        "not there": {"type": "IndexError", "told": "list index out of range"},
    }
    asked = calls(place, "channels")
    assert set(asked[0]["part"].split(",")) == {"snippet", "contentDetails", "statistics"}
    assert asked[2] == {"part": "snippet", "forHandle": "@seven"}, "None is left out"
    assert asked[3] == {"part": "snippet", "forUsername": "seven"}
    assert {call.credential for call in place.google.asked} == {""}, "an API key sends no header"


async def test_videos_in_chunks_and_what_hangs_on_them(place: Place) -> None:
    found = await place.tells("videos")
    assert found == {
        "one": ["v3", "Video 3 ü", 3723, 99, "2020-01-02T03:04:05", "https://youtu.be/v3"],
        "dict": "Video 3 ü",
        "many": ids(0, 120),
        "channel": "Channel 0",
        "comments": ["Comment 0", "Comment 1", "Comment 2"],
    }
    assert [len(asked["id"].split(",")) for asked in calls(place, "videos")] == [1, 50, 50, 20]
    (comments,) = calls(place, "commentThreads")
    assert comments["maxResults"] == "3"


async def test_search_walks_its_pages_to_the_limit_and_encodes_once(place: Place) -> None:
    found = await place.tells("searching")
    assert found == {
        "found": ids(0, 60),
        "first": ids(0, 3),
        "nothing": [],
        "of a channel": 7,
        "mapped": ["Video 0 ü", "Video 1 ü"],
    }
    asked = calls(place, "search")
    few, first, second = asked[:3]
    assert few == {"part": "snippet", "safeSearch": "moderate", "order": "relevance", "type": "video", "q": "few"}
    assert first == {
        **few,
        "safeSearch": "none",
        "order": "date",
        "q": "a & b = ü+1",
        "publishedAfter": "2020-01-02T01:04:05Z",
        "maxResults": "50",
    }
    assert second == first | {"pageToken": "CA+/=50"}
    assert [each["q"] for each in asked[3:] if "q" in each] == ["nothing", "x"], "no page was asked for in vain"


async def test_a_playlist_and_comments_page_by_page(place: Place) -> None:
    found = await place.tells("pages")
    assert found["playlist"] == ids(0, 120)
    assert (found["some"], found["none"]) == (55, 0)
    assert found["comments"] == [[f"c{n}", f"Comment {n}", ["A reply"]] for n in range(5)]
    sizes = [(asked.get("maxResults"), asked.get("pageToken")) for asked in calls(place, "playlistItems")]
    assert sizes[:-2] == [(None, None), *((None, f"CA+/={start}") for start in range(5, 120, 5))]
    assert sizes[-2:] == [("50", None), ("50", "CA+/=50")], "a limit of 0 asks for nothing"


async def test_what_only_the_owner_may_see(place: Place) -> None:
    place.expires()
    found = await place.tells("mine")
    assert found == {
        "me": "Channel 0",
        "mine": 4,
        "members": [[f"Member {n}", "Gold", 5] for n in range(3)],
        "one": 1,
        "levels": ["Gold"],
        "polled": [0, 1],
    }
    assert place.google.provider.refreshes == 1
    assert calls(place, "channels") == [{"part": "snippet", "maxResults": "1", "mine": "true"}]
    assert calls(place, "search")[0]["forMine"] == "true"
    every, some, *polls = calls(place, "members")
    assert every == {"part": "snippet", "mode": "all_current", "filterByMemberChannelId": "", "maxResults": "1000"}
    assert (some["filterByMemberChannelId"], some["hasAccessToLevel"]) == ("UC100,UC101", "L1")
    assert [poll.get("pageToken") for poll in polls] == [None, "CA+/=2"]


async def test_errors_have_the_status_and_the_reason_and_not_the_key(place: Place) -> None:
    found = await place.tells("youtube_errors")
    assert [found[name]["status"] for name in ("comments off", "no playlist", "not mine", "wrong key")] == [
        *(403, 404, 401, 400)
    ]
    assert "commentsDisabled" in found["comments off"]["reason"]
    assert "API key not valid" in found["wrong key"]["told"]
    assert found["next"] == "v1"
    assert place.google.api_key not in str(found)
    assert "AIza-wrong-key-5EC9E7" not in str(found)


async def test_a_quota_that_ends_in_the_middle_of_the_pages_keeps_what_was_read(place: Place) -> None:
    place.google.quota = 4
    found = await place.tells("quota")
    assert found["seen"] == 20
    assert found["error"]["status"] == 403
    assert "quotaExceeded" in found["error"]["reason"]
    assert len(place.google.asked) == 5, "it was not tried again"
