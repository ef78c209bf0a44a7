"""Steps that nobody cuts short: what a cancel, a time limit and the end of an event loop do to them."""
from __future__ import annotations

import asyncio
import gc

import pytest

from SlyAPI.oauth2.renewal.uncancellable import is_cancelled, uncancellable


async def test_a_cancel_takes_effect_after_the_step() -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    async def step() -> None:
        begun.set()
        await go.wait()
        done.append("step")

    async def work() -> None:
        async with uncancellable() as steps:
            await steps.finish(step())
            done.append("rest of the block")
        done.append("never")

    task = asyncio.create_task(work())
    await begun.wait()
    for _ in range(3):
        for other in asyncio.all_tasks() - {asyncio.current_task()}:
            other.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["step", "rest of the block"]


async def test_a_time_limit_within_a_step_works_and_is_not_taken_for_a_cancel() -> None:
    async def step() -> bool:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        return is_cancelled()

    async with uncancellable() as steps:
        assert await steps.finish(step()) is False


async def test_a_step_has_its_grace_from_the_cancel_on() -> None:
    begun = asyncio.Event()

    async def step() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def work() -> None:
        async with uncancellable() as steps:
            await steps.finish(step(), grace=0.01)

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await task


def test_asyncio_run_waits_for_the_step() -> None:
    done: list[str] = []

    async def step() -> None:
        await asyncio.sleep(0.02)
        done.append("step")

    async def work() -> None:
        async with uncancellable() as steps:
            await steps.finish(step())

    async def main() -> asyncio.Task[None]:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task

    assert asyncio.run(main()).cancelled()
    assert done == ["step"]


async def test_an_error_of_the_step_is_the_blocks_unless_it_was_cancelled() -> None:
    async def step() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        async with uncancellable() as steps:
            await steps.finish(step())


@pytest.mark.parametrize("error", [ValueError, OSError, asyncio.CancelledError])
@pytest.mark.filterwarnings("ignore")  # asyncio complains of such programs, and rightly
def test_the_blocks_of_a_closed_loop_end_whatever_their_program_raises(error: type[BaseException]) -> None:
    async def program() -> None:
        try:
            async with uncancellable() as steps:
                await steps.finish(asyncio.Event().wait())
        finally:
            raise error

    async def another() -> int:
        async with uncancellable() as steps:
            return await steps.finish(asyncio.sleep(0, 1))

    loop = asyncio.new_event_loop()
    left = loop.create_task(program())
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    assert asyncio.run(another()) == 1
    assert not left.done()
    del left
    gc.collect()  # what such a program left is complained of here, not in the next test
