"""YouTube Data API v3, as its reference has it: channels, videos, search, playlistItems, commentThreads, members.

https://developers.google.com/youtube/v3/docs
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.compat.google import YOUTUBE_MEMBERS, Asked, Google, GoogleError, invalid, page_of

BASE = "/youtube/v3"
_TIME = "2020-01-02T03:04:05Z"
_ORDERS = ("date", "rating", "relevance", "title", "videoCount", "viewCount")


@dataclass
class YouTube:
    """`channels` channels, the first of which is mine, and has `videos` videos with `comments` comments each."""

    channels: int = 130
    videos: int = 120
    comments: int = 5
    members: int = 3

    def serve(self, google: Google) -> None:
        google.endpoints |= {
            f"GET {BASE}/channels": (self._channels, ()),
            f"GET {BASE}/videos": (self._videos, ()),
            f"GET {BASE}/search": (self._search, ()),
            f"GET {BASE}/playlistItems": (self._playlist_items, ()),
            f"GET {BASE}/commentThreads": (self._comment_threads, ()),
            f"GET {BASE}/members": (self._members, (YOUTUBE_MEMBERS,)),
            f"GET {BASE}/membershipsLevels": (self._levels, (YOUTUBE_MEMBERS,)),
        }

    def _channels(self, asked: Asked) -> Mapping[str, Any]:
        parts = _parts(asked)
        name, value = _filter(asked, "id", "mine", "forHandle", "forUsername", "managedByMe")
        if name in ("mine", "managedByMe"):
            _own(asked, name)
            found = [0]
        elif name == "id":
            found = [int(each[2:]) for each in _ids(value) if each.startswith("UC") and int(each[2:]) < self.channels]
        else:
            found = [7] if value in ("seven", "@seven") else []
        answer = page_of([_only(_channel(number), parts) for number in found], asked, 5, 50)
        return answer if found else {key: answer[key] for key in answer if key != "items"}  # as Google does

    def _videos(self, asked: Asked) -> Mapping[str, Any]:
        parts = _parts(asked)
        _, value = _filter(asked, "id", "chart", "myRating")
        known = [int(each[1:]) for each in _ids(value) if each.startswith("v") and int(each[1:]) < self.videos]
        return page_of([_only(_video(number), parts) for number in known], asked, 5, 50)

    def _search(self, asked: Asked) -> Mapping[str, Any]:
        params = asked.params
        if _parts(asked) != {"snippet"} or params.get("type") != "video":
            raise invalid("Invalid combination of parameters.", "invalidSearchFilter")
        if params.get("order", "relevance") not in _ORDERS:
            raise invalid("Invalid value for order", "invalidParameter")
        if params.get("safeSearch", "moderate") not in ("moderate", "none", "strict"):
            raise invalid("Invalid value for safeSearch", "invalidParameter")
        for name in ("publishedAfter", "publishedBefore"):
            if name in params and not (len(params[name]) == 20 and params[name][10] + params[name][19] == "TZ"):
                raise invalid(f"Invalid value for {name}: not an RFC 3339 date-time", "invalidParameter")
        if "forMine" in params:
            _own(asked, "forMine")
        numbers = range(self.videos) if params.get("q") != "nothing" else range(0)
        rows = [{"id": {"kind": "youtube#video", "videoId": f"v{n}"}, "snippet": _video(n)["snippet"]} for n in numbers]
        return page_of(rows, asked, 5, 50)

    def _playlist_items(self, asked: Asked) -> Mapping[str, Any]:
        parts = _parts(asked)
        _, value = _filter(asked, "id", "playlistId")
        if value != "UU0":
            raise GoogleError(404, "NOT_FOUND", "The playlist cannot be found.", "playlistNotFound")
        rows = [
            {
                "kind": "youtube#playlistItem",
                "id": f"item{n}",
                "snippet": {**_video(n)["snippet"], "playlistId": value},
                "contentDetails": {"videoId": f"v{n}"},
            }
            for n in range(self.videos)
        ]
        return page_of([_only(row, parts) for row in rows], asked, 5, 50)

    def _comment_threads(self, asked: Asked) -> Mapping[str, Any]:
        _parts(asked)
        _, value = _filter(asked, "id", "videoId", "allThreadsRelatedToChannelId")
        if value == "v1":
            raise GoogleError(403, "", "The video has disabled comments.", "commentsDisabled")
        if not value.startswith("v"):
            raise GoogleError(404, "NOT_FOUND", "The video could not be found.", "videoNotFound")
        words = asked.params.get("searchTerms", "")
        rows = [_thread(n) for n in range(self.comments) if words in f"Comment {n}"]
        return page_of(rows, asked, 20, 100)

    def _members(self, asked: Asked) -> Mapping[str, Any]:
        if _parts(asked) != {"snippet"}:
            raise invalid("Invalid part", "invalidParameter")
        rows = [_member(n) for n in range(self.members)]
        if asked.params.get("membersMode") == "updates" and "pageToken" not in asked.params:
            return {"nextPageToken": f"CA+/={self.members - 1}", "items": []}
        page = page_of(rows, asked, 5, 1000)
        return {"nextPageToken": f"CA+/={self.members}", **page} if "membersMode" in asked.params else page

    def _levels(self, asked: Asked) -> Mapping[str, Any]:
        if _parts(asked) != {"id", "snippet"}:
            raise invalid("Invalid part", "invalidParameter")
        return {"items": [{"id": "L1", "snippet": {"levelDetails": {"displayName": "Gold"}}}]}


def _parts(asked: Asked) -> set[str]:
    parts = set(asked.params.get("part", "").split(","))
    if parts == {""}:
        raise invalid("No part selected.", "missingRequiredParameter")
    return parts


def _filter(asked: Asked, *names: str) -> tuple[str, str]:
    """The one filter of a list method."""
    given = [name for name in names if name in asked.params]
    if len(given) != 1:
        raise invalid(f"No filter selected. Expected one of: {', '.join(names)}", "missingRequiredParameter")
    return given[0], asked.params[given[0]]


def _own(asked: Asked, name: str) -> None:
    if asked.params[name] != "true":
        raise invalid(f"Invalid value for {name}: {asked.params[name]}", "invalidParameter")
    if not asked.credential:
        raise GoogleError(401, "UNAUTHENTICATED", "The request is not properly authorized.", "required")


def _ids(value: str) -> list[str]:
    ids = value.split(",")
    if len(ids) > 50:
        raise invalid("The request specifies an invalid filter parameter.", "invalidFilters")
    return ids


def _only(resource: dict[str, Any], parts: set[str]) -> dict[str, Any]:
    return {key: value for key, value in resource.items() if key in ("id", "kind") or key in parts}


def _channel(number: int) -> dict[str, Any]:
    return {
        "id": f"UC{number}",
        "snippet": {
            "title": f"Channel {number}",
            "description": "About",
            "customUrl": f"@channel{number}",
            "publishedAt": "2019-05-06T07:08:09.123456Z",
            "thumbnails": {"default": {"url": "https://img.example/1.jpg"}},
        },
        "contentDetails": {"relatedPlaylists": {"likes": "", "uploads": f"UU{number}"}},
        "statistics": {"viewCount": "1000", "subscriberCount": "10", "hiddenSubscriberCount": False, "videoCount": "3"},
    }


def _video(number: int) -> dict[str, Any]:
    return {
        "id": f"v{number}",
        "snippet": {
            "publishedAt": _TIME,
            "channelId": "UC0",
            "title": f"Video {number} ü",
            "description": "What it is",
            "thumbnails": {"default": {"url": "https://img.example/v.jpg", "width": 120, "height": 90}},
            "channelTitle": "Channel 0",
            "tags": ["one", "two"],
            "liveBroadcastContent": "none",
            "localized": {"title": f"Video {number} ü", "description": "What it is"},
        },
        "contentDetails": {"duration": "PT1H2M3S", "dimension": "2d", "definition": "hd", "caption": "false"},
        "status": {"uploadStatus": "processed", "privacyStatus": "public", "license": "youtube", "embeddable": True},
        "statistics": {"viewCount": "99", "likeCount": "9", "commentCount": "5"},
    }


def _comment(name: str, text: str) -> dict[str, Any]:
    snippet = {
        "authorDisplayName": "@ada",
        "authorChannelId": {"value": "UC5"},
        "textDisplay": text,
        "publishedAt": _TIME,
    }
    return {"id": name, "snippet": snippet}


def _thread(number: int) -> dict[str, Any]:
    top = _comment(f"c{number}", f"Comment {number}")
    return {
        "id": f"c{number}",
        "snippet": {"topLevelComment": top, "totalReplyCount": 1},
        "replies": {"comments": [_comment(f"c{number}.r", "A reply")]},
    }


def _member(number: int) -> dict[str, Any]:
    return {
        "snippet": {
            "memberDetails": {
                "channelId": f"UC{100 + number}",
                "displayName": f"Member {number}",
                "profileImageUrl": "https://img.example/m.jpg",
            },
            "membershipsDetails": {
                "highestAccessibleLevel": "L1",
                "highestAccessibleLevelDisplayName": "Gold",
            },
            "membershipsDuration": {"memberSince": "2021-01-01T00:00:00+00:00", "memberTotalDurationMonths": 5},
            "membershipsDurationAtLevel": {"memberSince": _TIME, "memberTotalDurationMonths": 2},
        }
    }
