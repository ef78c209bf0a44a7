"""Work that waits for a disk, off the event loop; in place where a loop or an interpreter that ends has no threads.

The rule: what a save begins, it ends.
"""

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """The result of the call, as `asyncio.to_thread` gives it."""
    work = partial(function, *arguments, **named)
    try:
        result = asyncio.get_running_loop().run_in_executor(None, copy_context().run, work)
    except RuntimeError:  # the executor was shut down
        return work()
    return await result
