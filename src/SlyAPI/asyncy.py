"""Names that SlyAPI 0.6 has here. New code imports `AsyncLazy` from `SlyAPI`."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from .webapi.lazy import AsyncLazy, AsyncTrans

T = TypeVar("T")

__all__ = ["AsyncLazy", "AsyncTrans", "unmanage_async_context"]


def unmanage_async_context(manager: AbstractAsyncContextManager[T]) -> "tuple[asyncio.Task[T], asyncio.Event]":
    """Holds an async context manager open without an `async with` block.

    Returns `(task, close)`: `await task` is the value of the context, `close.set()` leaves it. Needs a
    running event loop. An error of entering is raised by `await task`; a later one goes to the event
    loop's exception handler.
    """
    loop = asyncio.get_running_loop()
    entered: asyncio.Future[T] = loop.create_future()
    close = asyncio.Event()

    async def hold() -> None:
        try:
            async with manager as value:
                if not entered.done():  # else the waiter was cancelled, and nobody would set `close`
                    entered.set_result(value)
                    await close.wait()
        except Exception as error:
            if entered.done():
                raise
            entered.set_exception(error)
        finally:
            if not entered.done():
                entered.cancel()

    async def enter() -> T:
        holder = asyncio.ensure_future(hold())
        _holders.add(holder)
        holder.add_done_callback(_holders.discard)
        return await entered

    return loop.create_task(enter()), close


_holders: set[asyncio.Future[None]] = set()
