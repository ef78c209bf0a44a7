"""Several people at one provider: who consents is who the tokens are for, and each has notes of their own."""
from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from SlyAPI import WebAPI

if TYPE_CHECKING:
    from tests.conftest import Practise
    from tests.testing.conftest import Practice, Start

PEOPLE = ("Ada", "Bo <b>")


async def token_of(practice: Practice, person: str) -> str:
    return str((await practice.tokens(login_hint=person))["access_token"])


async def test_the_hint_says_who_consents_and_each_has_notes_of_their_own(start: Start) -> None:
    async with start(people=PEOPLE) as practice:
        tokens = {person: await token_of(practice, person) for person in (*PEOPLE, "a stranger")}
        told = {person: (await practice.call("/me", token)).json for person, token in tokens.items()}
        assert [one["name"] for one in told.values()] == ["Ada", "Bo <b>", "Ada"]
        assert told["Ada"]["id"] == told["a stranger"]["id"] != told["Bo <b>"]["id"]
        body = json.dumps({"text": "mine"})
        await practice.call("/notes", tokens["Ada"], "POST", body=body, Content_Type="application/json")
        counts = [len((await practice.call("/notes", tokens[person])).json["items"]) for person in tokens]
        assert counts == [1, 0, 1]


async def test_a_refreshed_token_is_for_the_same_person_also_after_a_restart(start: Start) -> None:
    async with start(people=PEOPLE) as practice:
        tokens = await practice.tokens(login_hint="Bo <b>")
        kept = json.loads(json.dumps(practice.provider.to_json()))
        practice.provider = type(practice.provider).from_json(kept, consent="allow", clock=practice.clock)
        async with practice.provider.running():
            fresh = (await practice.refresh(tokens["refresh_token"])).json["access_token"]
            assert (await practice.call("/me", fresh)).json["name"] == "Bo <b>"


@pytest.mark.parametrize(("person", "name"), [("Bo <b>", "Bo <b>"), (None, "Ada"), ("nobody", None)])
async def test_the_person_says_on_the_page_who_they_are(start: Start, person: str | None, name: str | None) -> None:
    async with start(people=PEOPLE, consent="ask") as practice:
        page = (await practice.authorize(login_hint="Bo <b>")).text
        assert re.findall(r'name="person" value="([^"]+)"( checked)?', page) == [
            ("Ada", ""),
            ("Bo &lt;b&gt;", " checked"),
        ]
        ticket = re.findall(r'name="ticket" value="([^"]+)"', page)[0]
        pairs = [("ticket", ticket), ("decision", "allow"), *([("person", person)] if person else [])]
        reply = await practice.post(practice.provider.origin + "/consent", pairs)
        if name is None:
            assert reply.status == 400
            return
        token = (await practice.exchange(reply.sent_back["code"])).json["access_token"]
        assert (await practice.call("/me", token)).json["name"] == name


async def test_the_archive_has_pages(practise: Practise) -> None:
    practice = await practise()
    api: WebAPI = practice.api(practice.auth(await practice.grant()))
    days = await api.paginated("/archive", {}, None)
    assert [day["day"] for day in days] == list(range(100))
    assert [seen.endpoint for seen in practice.provider.log].count("api/archive") == 10


@pytest.mark.parametrize("token", ["x", "5", "100", "-1"])
async def test_a_page_of_the_archive_that_was_not_named_is_refused(start: Start, token: str) -> None:
    async with start() as practice:
        reply = await practice.call(f"/archive?pageToken={token}", await token_of(practice, "Ada"))
        assert (reply.status, reply.error) == (400, "invalid_page")
