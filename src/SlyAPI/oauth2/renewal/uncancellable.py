"""Steps that must not be cut short: a token request whose reply holds the only valid refresh token, and its save.

The rule: a cancel takes effect after the step. Each step runs in a task that `asyncio.all_tasks()` does not list, so
that only its own time limits reach it; the task that waits for it is listed, so `asyncio.run` waits for both.
"""

import asyncio
import atexit
import math
import os
import signal
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from contextvars import Context
from typing import Any, Self, TypeVar, cast

T = TypeVar("T")

LAST_TRY = 5.0
"""Seconds that a save or a hook has left when its program ends."""
SHORT_PAUSE = 0.25
"""Seconds that such a step waits between two tries then, at most."""
EXIT_TIMEOUT = 40.0
"""Seconds for which the end of the program waits for event loops of other threads: a request, and a last try."""


class uncancellable:
    """`async with uncancellable() as steps: reply = await steps.finish(request())`.

    Raises `CancelledError` at the end of the block if the task was cancelled during a step or pause. What the block
    awaits outside of these can be cancelled as ever.
    """

    ends_at: float | None = None
    """When a save has to be over, in the event loop's time, once the surrounding task was cancelled."""

    def __init__(self) -> None:
        self.hurry: asyncio.Event = asyncio.Event()
        """While it is set, each `pause` is short; set by a cancel too, to end the one that is under way."""

    @property
    def ending(self) -> bool:
        """Whether the surrounding task was cancelled."""
        return self.ends_at is not None

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        _at_work.add(task)
        return self

    async def __aexit__(self, *_: object) -> None:
        _at_work.discard(self._task)
        if self.ending:
            _ctrl_c.release()
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
                self._end()
            if not step.done() and loop.time() >= end:
                step.cancel()
                end = math.inf
        if (error := step.result().error) is not None:
            raise error
        return cast(T, step.result().value)

    async def pause(self, seconds: float) -> None:
        """Waits for the next try: not longer than `SHORT_PAUSE` while `hurry` is set, or at the end."""
        try:
            if self.ending or self.hurry.is_set():
                return await asyncio.sleep(min(seconds, SHORT_PAUSE))
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.hurry.wait()
        except asyncio.CancelledError:
            self._end()

    def over(self) -> bool:
        """Whether the program ends, and the time for a last try is over."""
        return self.ends_at is not None and self._task.get_loop().time() >= self.ends_at

    def _end(self) -> None:
        if self.ends_at is None:
            self.ends_at = self._task.get_loop().time() + LAST_TRY
            _ctrl_c.hold()
        self.hurry.set()


class _CtrlC:
    """Ctrl-C while a program waits for its last steps: the first one waits too, the next one ends the program.

    `asyncio.run` handles one Ctrl-C; another would close the event loop amid the reply.
    """

    def __init__(self) -> None:
        self._holders = 0
        self._before: Any = None

    def hold(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._holders += 1
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler) and handler != self._handle:
                self._before = handler
                signal.signal(signal.SIGINT, self._handle)

    def release(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._holders -= 1
            if not self._holders and signal.getsignal(signal.SIGINT) == self._handle:
                signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, self._before)
        if not self._holders:
            self._before(number, frame)


_ctrl_c = _CtrlC()


class _Outcome:
    """How a work ended. Without a `repr`: the debug mode of asyncio prints the results and errors of its tasks."""

    def __init__(self, value: object = None, error: Exception | None = None) -> None:
        self.value, self.error = value, error


async def _noting_end(work: Coroutine[Any, Any, object], ended: "asyncio.Future[None]") -> _Outcome:
    try:
        return _Outcome(await work)
    except Exception as error:
        return _Outcome(error=error)
    finally:
        if not ended.done() and not ended.get_loop().is_closed():  # else nobody waits
            ended.set_result(None)


def is_cancelled() -> bool:
    """Whether somebody cancelled the current task; else a `CancelledError` in it is some code's own doing."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


_at_work = set[asyncio.Task[Any]]()
"""The tasks in such a block, of all event loops. Strong references: an event loop keeps only weak ones."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_at_work.clear)  # they go on in the parent alone


@atexit.register
def _finish_all() -> None:
    """Does what `asyncio.run` does for loops that were never closed, and for those of threads that are ended."""
    for loop in {task.get_loop() for task in list(_at_work)}:
        if loop.is_running():
            with suppress(RuntimeError):  # it ended just now
                loop.call_soon_threadsafe(_cancel_all, loop)
        elif not loop.is_closed():
            _cancel_all(loop)
            loop.run_until_complete(asyncio.wait(_of(loop)))
    for _ in range(int(EXIT_TIMEOUT * 100)):
        if not any(task.get_loop().is_running() for task in list(_at_work)):
            break
        time.sleep(0.01)


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in _of(loop):
        task.cancel()


def _of(loop: asyncio.AbstractEventLoop) -> set[asyncio.Task[Any]]:
    return {task for task in list(_at_work) if task.get_loop() is loop}
