"""Steps that must not be cut short: a token request whose reply holds the only valid refresh token, and its save.

The rule: a cancel takes effect after the step. Each step runs in a task that `asyncio.all_tasks()` does not list, so
that only its own time limits reach it; the task that waits for it is listed, so `asyncio.run` waits for both.
"""

import asyncio
import atexit
import inspect
import math
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context
from typing import Any, ParamSpec, Self, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

LAST_TRY = 5.0
"""Seconds that a save or a hook has left when its program ends."""
SHORT_PAUSE = 0.25
"""Seconds that such a step waits between two tries then, at most."""


class uncancellable:
    """`async with uncancellable() as steps: reply = await steps.finish(request())`.

    Raises `CancelledError` at the end of the block if the task was cancelled during a step. What the block awaits
    outside of its steps can be cancelled as ever.
    """

    ending = False
    """Whether the surrounding task was cancelled."""

    def __init__(self) -> None:
        self.hurry = asyncio.Event()
        """While it is set, each `pause` is short; set by a cancel too, to end the one that is under way."""

    async def __aenter__(self) -> Self:
        free_closed_loops()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        _at_work.setdefault((os.getpid(), task.get_loop()), set()).add(task)
        return self

    async def __aexit__(self, *_: object) -> None:
        place = os.getpid(), self._task.get_loop()
        tasks = _at_work.get(place, set())  # none where `free_closed_loops` ends it
        tasks.discard(self._task)
        if not tasks:
            _at_work.pop(place, None)
        if self.ending:
            raise asyncio.CancelledError

    async def finish(
        self, work: Coroutine[Any, Any, T], grace: float = math.inf, context: Context | None = None
    ) -> T:
        """The result of `work`, which has `grace` seconds to end after the surrounding task is cancelled.

        Raises what `work` raises, and `CancelledError` where its time was over, or it cancelled itself.
        """
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        step = loop.create_task(_noting_end(work, ended), context=context)
        asyncio._unregister_task(step)
        end = loop.time() + grace if self.ending else math.inf
        while not step.done():
            try:
                if self.ending:
                    await asyncio.wait([step], timeout=None if end == math.inf else max(0.0, end - loop.time()))
                else:
                    await ended  # a turn of the event loop sooner than `asyncio.wait`
            except asyncio.CancelledError:
                if not self.ending:
                    end = loop.time() + grace
                self.ending = True
                self.hurry.set()
            if not step.done() and loop.time() >= end:
                step.cancel()
                end = math.inf
        return step.result()

    async def pause(self, seconds: float) -> None:
        """Waits, within a step, for the next try: not longer than `SHORT_PAUSE` while `hurry` is set, or at the end."""
        if self.ending or self.hurry.is_set():
            return await asyncio.sleep(min(seconds, SHORT_PAUSE))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.hurry.wait()


async def _noting_end(work: Coroutine[Any, Any, T], ended: "asyncio.Future[None]") -> T:
    try:
        return await work
    finally:
        if not ended.done() and not ended.get_loop().is_closed():  # else nobody waits
            ended.set_result(None)


def is_cancelled() -> bool:
    """Whether somebody cancelled the current task; else a `CancelledError` in it is some code's own doing."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


_at_work: dict[tuple[int, asyncio.AbstractEventLoop], set[asyncio.Task[Any]]] = {}
"""The tasks in such a block, by process and event loop. Strong references: an event loop keeps only weak ones."""


def free_closed_loops() -> None:
    """Ends the blocks of event loops that were closed too early, so that their locks are free."""
    for place in [place for place in list(_at_work) if place[0] == os.getpid() and place[1].is_closed()]:
        for task in _at_work.pop(place, set()):
            coroutine = task.get_coro()
            if inspect.iscoroutine(coroutine):
                # of the program that it belongs to, or since what it holds of the loop cannot be given back
                with suppress(Exception, asyncio.CancelledError):
                    coroutine.close()


@atexit.register
def _finish_all() -> None:
    """Does what `asyncio.run` does for loops that were never closed (`get_event_loop().run_until_complete(...)`)."""
    for (process, loop), tasks in list(_at_work.items()):
        if process == os.getpid() and not loop.is_running() and not loop.is_closed():
            for task in tasks:
                task.cancel()
            loop.set_default_executor(_InPlace())
            loop.run_until_complete(asyncio.wait(set(tasks)))


class _InPlace(ThreadPoolExecutor):
    """Runs a function where it is submitted: Python has ended its worker threads before it calls `_finish_all`."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        future = Future[T]()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future
