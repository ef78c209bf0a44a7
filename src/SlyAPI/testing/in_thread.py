"""An asynchronous context, such as a running provider, for tests that have no event loop.

The rule: one thread for each context, with an event loop of its own, which ends with the context.
"""
from __future__ import annotations

import asyncio
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def entered_in_thread(context: AbstractAsyncContextManager[T]) -> Generator[T]:
    """Enters the context in a thread, gives what it gives, and leaves it at the end; raises what entering raises."""
    started: Future[tuple[T, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def stay() -> None:
        try:
            async with context as given:
                stop = asyncio.Event()
                started.set_result((given, asyncio.get_running_loop(), stop))
                await stop.wait()
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = Thread(target=lambda: asyncio.run(stay()), name="SlyAPI.testing", daemon=True)
    thread.start()
    given, loop, stop = started.result()
    try:
        yield given
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
