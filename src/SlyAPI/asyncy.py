"""Names that SlyAPI 0.6 kept here. New code takes `AsyncLazy` from `SlyAPI`."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from .webapi.lazy import AsyncLazy, AsyncTrans

T = TypeVar("T")

__all__ = ["AsyncLazy", "AsyncTrans", "unmanage_async_context"]


def unmanage_async_context(manager: AbstractAsyncContextManager[T]) -> "tuple[asyncio.Task[T], asyncio.Event]":
    """Holds an async context manager open without an `async with` block.

    Gives `(task, close)`: `await task` is the value of the context, `close.set()` leaves it. Needs a
    running event loop. What entering or leaving raises reaches whoever awaits `task`, or the loop's
    exception handler when it comes after that.
    """
    loop = asyncio.get_running_loop()
    entered: asyncio.Future[T] = loop.create_future()
    close = asyncio.Event()

    async def hold() -> None:
        try:
            async with manager as value:
                if not entered.done():  # else the waiter was cancelled, and nobody could ask to leave
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
