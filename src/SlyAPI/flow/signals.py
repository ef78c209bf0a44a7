"""Ctrl-C and the other signals that end a program: at a question, in an event loop, and during a refresh.

The rule: every one of them ends a command in order, with the terminal as it was, and no refresh is lost.
"""

import os
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from .console import Console, Interrupted, report

T = TypeVar("T")
_END_SIGNALS = ("SIGTERM", "SIGHUP", "SIGBREAK")
"""What service managers and closed terminals send; Windows has the last one, and not SIGHUP."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run(main)`; on Windows Ctrl-C is noticed at once, which does not wake every event loop there."""
    import asyncio  # `show` runs without an event loop

    async def awake() -> None:
        while True:  # noqa: ASYNC110 - nothing happens; the loop only wakes
            await asyncio.sleep(_WAKE_SECONDS)

    async def watched() -> T:
        ticking = asyncio.create_task(awake())
        try:
            return await main
        finally:
            ticking.cancel()

    return asyncio.run(watched() if os.name == "nt" else main)


_WAKE_SECONDS = 0.2


@contextmanager
def end_signals_as_ctrl_c(system: Any = signal) -> Iterator[None]:
    """Lets the signals that end a program do what Ctrl-C does, so that a refresh in flight is saved.

    A signal that the program or its parent (`nohup`) handles or ignores stays so. Where Ctrl-C is ignored, as in a
    background job of a shell, it stays without effect. `system` is the module `signal`. Does nothing outside the main
    thread, where Python sets no handlers.
    """

    def press(number: int, frame: object) -> None:
        handler = system.getsignal(system.SIGINT)
        if callable(handler):
            return handler(system.SIGINT, frame)  # type: ignore[no-any-return]
        system.signal(number, system.SIG_DFL)
        system.raise_signal(number)

    present = [number for name in _END_SIGNALS if (number := getattr(system, name, None)) is not None]
    taken = [number for number in present if system.getsignal(number) == system.SIG_DFL]
    blocked = system.getsignal(system.SIGINT) == system.SIG_IGN and hasattr(system, "pthread_sigmask")
    try:
        for number in taken:
            system.signal(number, press)
        if blocked:  # the handler that all others end by has to be there
            system.pthread_sigmask(system.SIG_BLOCK, {system.SIGINT})
            system.signal(system.SIGINT, system.default_int_handler)
    except ValueError:
        taken, blocked = [], False
    try:
        yield
    finally:
        if blocked:
            system.signal(system.SIGINT, system.SIG_IGN)
            system.pthread_sigmask(system.SIG_UNBLOCK, {system.SIGINT})
        for number in taken:
            system.signal(number, system.SIG_DFL)


@contextmanager
def ctrl_c_as_interrupted() -> Iterator[None]:
    """Turns Ctrl-C into `Interrupted`, also inside `asyncio.run`, which cancels the main task on Ctrl-C.

    The interpreter's default handler stays installed: `asyncio.run` replaces only that one, and otherwise Ctrl-C would
    raise in whichever task runs at that moment.
    """
    from asyncio import CancelledError

    pressed: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: object) -> None:
        pressed.append(number)
        if callable(before):
            before(number, frame)  # type: ignore[arg-type]

    in_loop = callable(before) and before is not signal.default_int_handler
    try:
        if in_loop:
            signal.signal(signal.SIGINT, note)
    except ValueError:  # not in the main thread
        in_loop = False
    try:
        yield
    except (KeyboardInterrupt, CancelledError) as error:
        if isinstance(error, KeyboardInterrupt) or pressed:
            raise Interrupted from None
        raise
    finally:
        if in_loop:
            signal.signal(signal.SIGINT, before)


@contextmanager
def second_ctrl_c_exits(console: Console, why: str) -> Iterator[None]:
    """Says why the first Ctrl-C does not end the program at once; a second one does, whatever still runs."""

    def leave(number: int, frame: object) -> None:
        os._exit(report(console, Interrupted()))

    before = signal.signal(signal.SIGINT, leave)
    try:
        console.say("", why)
        yield
    finally:
        signal.signal(signal.SIGINT, before)
