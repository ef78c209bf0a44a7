"""Ctrl-C where an event loop runs, or work must not be cut short."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .console import Console, Interrupted, report


@contextmanager
def ctrl_c_as_interrupted() -> Iterator[None]:
    """Turns Ctrl-C into `Interrupted`, also inside `asyncio.run`, which cancels the main task for it.

    The interpreter's own handler stays where it is: `asyncio.run` puts its own in that one's place only, and
    without it Ctrl-C would be an exception in whatever task runs just then.
    """
    pressed: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    main_thread = threading.current_thread() is threading.main_thread()
    in_loop = main_thread and callable(before) and before is not signal.default_int_handler

    def note(number: int, frame: object) -> None:
        pressed.append(number)
        if callable(before):
            before(number, frame)  # type: ignore[arg-type]

    if in_loop:
        signal.signal(signal.SIGINT, note)
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        if isinstance(error, KeyboardInterrupt) or pressed:
            raise Interrupted from None
        raise
    finally:
        if in_loop:
            signal.signal(signal.SIGINT, before)


@contextmanager
def second_ctrl_c_exits(console: Console, why: str) -> Iterator[None]:
    """Says why the first Ctrl-C does not end the program at once; another one does, whatever still runs."""

    def leave(number: int, frame: object) -> None:
        os._exit(report(console, Interrupted()))

    before = signal.signal(signal.SIGINT, leave)
    try:
        console.say("", why)
        yield
    finally:
        signal.signal(signal.SIGINT, before)
