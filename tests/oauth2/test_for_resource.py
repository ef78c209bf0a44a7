"""From a resource's URL alone: a login at the first 401, its client and tokens kept, every mismatch refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from SlyAPI import OAuth2, WebAPI
from SlyAPI.stores import MemoryStore

if TYPE_CHECKING:
    from tests.conftest import Practice, Practise

REDIRECT_URI = "http://localhost:8080"


class Person:
    """A person who consents to whatever they are asked, and counts how often; `changed` alters the redirect."""

    def __init__(self, changed: Callable[[str], str] = lambda url: url) -> None:
        self.asked: list[str] = []
        self.changed = changed

    async def __call__(self, url: str) -> str:
        self.asked.append(url)
        async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=False) as reply:
            assert reply.status in (302, 303), await reply.text()
            return self.changed(reply.headers["Location"])


async def resource(practise: Practise, **settings: Any) -> Practice:
    return await practise(**{"registration": True, "resource_metadata": "challenge", **settings})


def signer(practice: Practice, person: Person, user: Any = None, app: Any = None, **settings: Any) -> OAuth2:
    return OAuth2.for_resource(
        practice.provider.api_url,
        practice.folder / "app.json" if app is None else app,
        practice.folder / "user.json" if user is None else user,
        consent=person,
        clock=practice.clock,
        **settings,
    )


@asynccontextmanager
async def api_of(practice: Practice, auth: OAuth2) -> AsyncGenerator[WebAPI, None]:
    async with WebAPI(auth) as api:
        api.base_url = practice.provider.api_url
        yield api


def asked(practice: Practice, endpoint: str = "token") -> list[dict[str, str]]:
    return [seen.parameters for seen in practice.provider.log if seen.endpoint == endpoint]


# --- the first call ---


async def test_the_first_call_registers_logs_in_and_saves_and_the_next_ones_do_none_of_it(practise: Practise) -> None:
    practice, person = await resource(practise), Person()
    async with api_of(practice, signer(practice, person)) as api:
        await api.get_json("/notes")
        await api.get_json("/notes")
    assert len(person.asked) == 1
    async with api_of(practice, signer(practice, person)) as api:
        await api.get_json("/notes")
    assert len(person.asked) == 1
    kept = json.loads((practice.folder / "user.json").read_text())
    assert kept["resource"] == [practice.provider.api_url]
    assert kept["scopes"] == ["notes"]
    assert [form["grant_type"] for form in asked(practice)] == ["authorization_code"]
    assert asked(practice)[0]["resource"] == practice.provider.api_url


async def test_the_files_work_without_for_resource_and_a_refresh_names_the_resource(practise: Practise) -> None:
    practice, person = await resource(practise, require_resource=True), Person()
    async with api_of(practice, signer(practice, person)) as api:
        await api.get_json("/notes")
    practice.clock.now += 101
    auth = OAuth2(practice.folder / "app.json", practice.folder / "user.json", clock=practice.clock)
    async with api_of(practice, auth) as api:
        await api.get_json("/notes")
    assert asked(practice)[-1]["grant_type"] == "refresh_token"
    assert asked(practice)[-1]["resource"] == practice.provider.api_url


@pytest.mark.parametrize("place", ["challenge", "path", "root"])
async def test_the_metadata_are_found_wherever_they_may_be(practise: Practise, place: str) -> None:
    practice, person = await resource(practise, resource_metadata=place), Person()
    async with api_of(practice, signer(practice, person)) as api:
        await api.get_json("/notes")
    assert len(person.asked) == 1


async def test_all_calls_that_wait_share_one_login(practise: Practise) -> None:
    practice, person = await resource(practise), Person()
    async with api_of(practice, signer(practice, person)) as api:
        await asyncio.gather(*(api.get_json("/notes") for _ in range(20)))
    assert len(person.asked) == 1
    assert len(asked(practice)) == 1


async def test_a_user_in_a_store_is_saved_there(practise: Practise) -> None:
    practice, person, store = await resource(practise), Person(), MemoryStore()
    async with api_of(practice, signer(practice, person, store.user("robin"))) as api:
        await api.get_json("/notes")
    assert (await store.user("robin").load()).refresh_token
