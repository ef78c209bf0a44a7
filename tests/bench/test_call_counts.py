"""How many functions of SlyAPI a call on a live token enters: its cost as a count that does not depend on the machine.

The rule: a quarter of slack; beyond it, a rise costs every request of every user, so the commit says what it buys.
"""
from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import SlyAPI
from SlyAPI import WebAPI
from SlyAPI.web import Method, Request
from tests.bench.calls import PARAMS, api_at
from tests.bench.measure import server

pytestmark = pytest.mark.slow

OURS = str(Path(SlyAPI.__file__).parent)
COUNTED = {"one": 21, "params": 22, "page": 33, "sign": 3}
"""Entries of functions in src/SlyAPI when they were last counted; a coroutine that is resumed does not count again."""
MOST = {what: count * 5 // 4 for what, count in COUNTED.items()}


async def entered(call: Callable[[], Awaitable[Any]]) -> Counter[str]:
    """The functions of SlyAPI that one more call enters, after a first one."""
    await call()
    seen: Counter[str] = Counter()
    begun: set[int] = set()
    held: list[FrameType] = []  # so that no id is given twice

    def hear(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS) and id(frame) not in begun:
            begun.add(id(frame))
            held.append(frame)
            seen[frame.f_code.co_qualname] += 1

    gc.collect()
    gc.disable()  # what other tests have left ends by functions of ours too
    sys.setprofile(hear)
    try:
        await call()
    finally:
        sys.setprofile(None)
        gc.enable()
    return seen


@pytest.fixture
async def api() -> AsyncGenerator[WebAPI, None]:
    with server() as url:
        async with api_at(url) as api:
            yield api


async def test_a_get_on_a_live_token_enters_few_functions(api: WebAPI) -> None:
    seen = await entered(lambda: api.get_json("/small"))
    assert seen.total() <= MOST["one"], seen


async def test_a_get_with_parameters_enters_few_functions(api: WebAPI) -> None:
    seen = await entered(lambda: api.get_json("/small", PARAMS))
    assert seen.total() <= MOST["params"], seen


async def test_a_page_more_enters_few_functions_and_an_item_more_none(api: WebAPI) -> None:
    async def walk(pages: int, size: int) -> None:
        async for _ in api.paginated("/pages", {"size": str(size), "last": str(pages)}):
            pass

    two, ten, longer = [
        (await entered(partial(walk, pages, size))).total() for pages, size in ((2, 10), (10, 10), (10, 50))
    ]
    assert ten - two <= 8 * MOST["page"]
    assert longer == ten


async def test_a_signature_on_a_live_token_is_one_coroutine(api: WebAPI) -> None:
    request = Request(Method.GET, api.base_url)
    seen = await entered(lambda: api.auth.sign(None, request))
    assert seen.total() <= MOST["sign"], seen


async def test_a_get_on_a_live_token_begins_no_task(api: WebAPI) -> None:
    await api.get_json("/small")
    made: list[object] = []

    def note(loop: asyncio.AbstractEventLoop, coro: Any, **how: Any) -> asyncio.Task[Any]:
        made.append(coro)
        return asyncio.Task(coro, loop=loop, **how)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(note)
    try:
        await api.get_json("/small")
    finally:
        loop.set_task_factory(None)
    assert made == []
