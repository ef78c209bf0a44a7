"""Ctrl-C while an event loop runs, or while a refresh must not be interrupted."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .console import Console, Interrupted, report


@contextmanager
def ctrl_c_as_interrupted() -> Iterator[None]:
    """Turns Ctrl-C into `Interrupted`, also inside `asyncio.run`, which cancels the main task on Ctrl-C.

    The interpreter's default handler stays installed: `asyncio.run` replaces only that one, and otherwise Ctrl-C would
    raise in whichever task runs at that moment.
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
    """Says why the first Ctrl-C does not end the program at once; a second one does, whatever still runs."""

    def leave(number: int, frame: object) -> None:
        os._exit(report(console, Interrupted()))

    before = signal.signal(signal.SIGINT, leave)
    try:
        console.say("", why)
        yield
    finally:
        signal.signal(signal.SIGINT, before)
