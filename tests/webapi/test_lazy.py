"""AsyncLazy, and the old name's module."""
from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import pytest

import SlyAPI
from SlyAPI.asyncy import AsyncLazy, AsyncTrans, unmanage_async_context
from SlyAPI.webapi.lazy import PagedLazy


def counting(fetched: list[int], end: int = 3) -> AsyncLazy[int]:
    async def count() -> AsyncGenerator[int, None]:
        for number in range(end):
            fetched.append(number)
            yield number

    return AsyncLazy(count())


async def test_nothing_is_fetched_before_it_is_asked_for() -> None:
    fetched: list[int] = []
    lazy = counting(fetched).map(str)
    assert fetched == []
    async for item in lazy:
        assert item == "0"
        break
    assert fetched == [0]


async def test_awaiting_gives_the_list() -> None:
    assert await counting([]) == [0, 1, 2]


async def test_the_generator_is_there_as_gen_as_in_0_6() -> None:
    lazy = counting([])
    assert await anext(lazy.gen) == 0
    await lazy.gen.aclose()
    assert await lazy == []


async def test_map_changes_every_item_and_can_be_mapped_again() -> None:
    assert await counting([]).map(lambda number: number + 1).map(str) == ["1", "2", "3"]
    assert [item async for item in counting([]).map(str)] == ["0", "1", "2"]


async def test_an_error_comes_where_the_item_would_have_come() -> None:
    lazy = counting([]).map(lambda number: 1 / (1 - number))
    seen: list[float] = []

    async def look() -> None:
        async for item in lazy:
            seen.append(item)

    with pytest.raises(ZeroDivisionError):
        await look()
    assert seen == [1.0]


@pytest.mark.parametrize("mapped", [False, True])
async def test_closing_early_ends_the_generator_at_once(mapped: bool) -> None:
    steps: list[str] = []

    async def count() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            steps.append("ended")

    lazy: AsyncLazy[object] = AsyncLazy(count()).map(str) if mapped else AsyncLazy(count())
    async with aclosing(lazy):
        async for _ in lazy:
            break
        assert steps == []
    assert steps == ["ended"]
    await lazy.aclose()
    assert await lazy == []


async def test_anything_that_can_be_iterated_may_be_wrapped() -> None:
    class Counter:
        def __init__(self) -> None:
            self.number = 0

        def __aiter__(self) -> Counter:
            return self

        async def __anext__(self) -> int:
            self.number += 1
            if self.number > 3:
                raise StopAsyncIteration
            return self.number

    wrapped: Any = Counter()
    lazy: AsyncLazy[int] = AsyncLazy(wrapped)
    assert await lazy.map(str) == ["1", "2", "3"]
    assert await AsyncLazy[int](AsyncLazy(Counter())) == [1, 2, 3]  # type: ignore[arg-type]  # pyright: ignore
    await lazy.aclose()


def in_pages(sizes: list[int], steps: list[str]) -> PagedLazy[int]:
    async def pages() -> AsyncGenerator[list[int], None]:
        try:
            for number, size in enumerate(sizes):
                steps.append(f"page {number}")
                yield [number * 10 + item for item in range(size)]
        finally:
            steps.append("ended")

    return PagedLazy(pages())


async def test_pages_are_single_items_to_who_iterates_and_whole_to_who_awaits() -> None:
    steps: list[str] = []
    assert await in_pages([2, 0, 1], steps) == [0, 1, 20]
    assert [item async for item in in_pages([2, 0, 1], steps).map(str)] == ["0", "1", "20"]
    assert steps == ["page 0", "page 1", "page 2", "ended"] * 2


async def test_the_list_after_some_items_is_the_rest_of_them() -> None:
    lazy = in_pages([3, 2], [])
    async for item in lazy:
        assert item == 0
        break
    assert await lazy == [1, 2, 10, 11]


@pytest.mark.parametrize("begun", [False, True])
async def test_pages_end_when_their_items_are_closed(begun: bool) -> None:
    steps: list[str] = []
    lazy = in_pages([3, 2], steps)
    if begun:
        await anext(aiter(lazy))
    await lazy.aclose()
    assert steps == (["page 0", "ended"] if begun else [])
    assert await lazy == []
    assert len(steps) in (0, 2)


async def test_wrap_makes_a_function_lazy_and_keeps_its_name() -> None:
    @AsyncLazy.wrap
    async def pages(last: int, *, step: int = 1) -> AsyncGenerator[int, None]:
        """All pages."""
        for number in range(0, last, step):
            yield number

    assert isinstance(pages(3), AsyncLazy)
    assert await pages(5, step=2) == [0, 2, 4]
    assert (inspect.getdoc(pages), getattr(pages, "__name__", "")) == ("All pages.", "pages")


def test_the_old_name_is_the_same_class() -> None:
    assert AsyncTrans is AsyncLazy is SlyAPI.AsyncLazy is SlyAPI.AsyncTrans
    assert str(AsyncTrans[int]).endswith("AsyncLazy[int]"), "annotations are evaluated at import"


# --- unmanage_async_context ---


class Trouble(Exception):
    """What a context raises."""


def context(steps: list[str], fails: str = "") -> AbstractAsyncContextManager[str]:
    @asynccontextmanager
    async def manage() -> AsyncGenerator[str, None]:
        await asyncio.sleep(0)
        if fails == "enter":
            raise Trouble
        steps.append("enter")
        try:
            yield "value"
        finally:
            steps.append("leave")
        if fails == "leave":
            raise Trouble

    return manage()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_context_is_held_until_close_is_set() -> None:
    steps: list[str] = []
    task, close = unmanage_async_context(context(steps))
    assert await task == "value"
    await settle()
    assert steps == ["enter"]
    close.set()
    await settle()
    assert steps == ["enter", "leave"]


async def test_close_before_the_value_is_awaited_leaves_at_once() -> None:
    steps: list[str] = []
    task, close = unmanage_async_context(context(steps))
    close.set()
    assert await task == "value"
    await settle()
    assert steps == ["enter", "leave"]


async def test_what_entering_raises_reaches_whoever_awaits() -> None:
    task, _ = unmanage_async_context(context([], fails="enter"))
    with pytest.raises(Trouble):
        await task


async def test_a_waiter_who_is_cancelled_leaves_the_context_too() -> None:
    steps: list[str] = []
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))
    task, _ = unmanage_async_context(context(steps))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await settle()
    assert steps in ([], ["enter", "leave"])
    assert told == []
