"""Ctrl-C while an event loop runs, or while a refresh must not be interrupted; other signals that end a program."""

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from .console import Console, Interrupted, report

T = TypeVar("T")
_END_SIGNALS = ("SIGTERM", "SIGHUP", "SIGBREAK")
"""What service managers and closed terminals send; Windows has the last one, and not SIGHUP."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run(main)`, which every signal that ends a program ends as Ctrl-C does."""
    with end_signals_as_ctrl_c():
        return asyncio.run(main)


@contextmanager
def end_signals_as_ctrl_c(system: Any = signal) -> Iterator[None]:
    """Lets the signals that end a program do what Ctrl-C does, so that a refresh in flight is saved.

    A signal that the program or its parent (`nohup`) handles or ignores stays so. `system` is the module `signal`.
    """

    def press(number: int, frame: object) -> None:
        handler = system.getsignal(system.SIGINT)
        if callable(handler):
            return handler(system.SIGINT, frame)  # type: ignore[no-any-return]
        system.signal(number, system.SIG_DFL)  # Ctrl-C is ignored, as in a background job of a shell
        system.raise_signal(number)

    taken: list[int] = []
    if threading.current_thread() is threading.main_thread():
        present = [number for name in _END_SIGNALS if (number := getattr(system, name, None)) is not None]
        taken += [number for number in present if system.getsignal(number) == system.SIG_DFL]
    for number in taken:
        system.signal(number, press)
    try:
        yield
    finally:
        for number in taken:
            system.signal(number, system.SIG_DFL)


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
