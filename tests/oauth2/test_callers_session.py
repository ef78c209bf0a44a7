"""A session of the program's own, which the program may close whenever it wants, also during a refresh."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from SlyAPI import OAuth2

if TYPE_CHECKING:
    from tests.conftest import Practice, Practise


class SomethingElseError(Exception):
    """What makes a program leave its block."""


async def asked(practice: Practice) -> None:
    """Waits until the provider was asked to refresh."""
    while not practice.refreshes:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def by_middleware(practice: Practice, auth: OAuth2, ends: Awaitable[None]) -> None:
    async with aiohttp.ClientSession(middlewares=(auth,)) as session, asyncio.TaskGroup() as group:
        group.create_task(session.get(f"{practice.provider.api_url}/me"))
        await ends


async def by_client(practice: Practice, auth: OAuth2, ends: Awaitable[None]) -> None:
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        group.create_task(practice.api(auth, session=session).get_json("/me"))
        await ends


async def by_closed_session(practice: Practice, auth: OAuth2, ends: Awaitable[None]) -> None:
    session = aiohttp.ClientSession()
    calling = asyncio.create_task(practice.api(auth, session=session).get_json("/me"))
    try:
        await ends
    finally:
        await session.close()
        with suppress(Exception):
            await calling


PROGRAMS: list[Callable[[Any, Any, Any], Awaitable[None]]] = [by_middleware, by_client, by_closed_session]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
async def test_a_session_that_is_closed_amid_a_refresh_loses_nothing(
    practise: Practise, program: Callable[[Any, Any, Any], Awaitable[None]]
) -> None:
    practice = await practise(delay_after_rotation=0.1)
    path = await practice.granted_file()
    auth = practice.auth(path)
    practice.clock.now += 1000

    async def ends() -> None:
        await asked(practice)
        raise SomethingElseError

    with pytest.raises((SomethingElseError, ExceptionGroup)):
        await program(practice, auth, ends())
    await auth.wait_for_refresh()
    assert await practice.api(practice.auth(path)).get_json("/me")
    assert (practice.refreshes, practice.provider.reuses) == (1, 0)
