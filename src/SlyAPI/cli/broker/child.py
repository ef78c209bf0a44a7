"""Runs the child of `exec`: the pass in its environment, signals and the exit code passed on.

The rule: the child is ended as it would be without us in between.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from ...errors import ConfigError, printable
from ...stores.at import KEYS_VARIABLE, STORE_VARIABLE

_PASSED_ON = ("SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_BY_THE_TERMINAL = ("SIGINT", "SIGQUIT")
"""What a terminal sends to the child as well."""


async def run_child(program: list[str], variables: dict[str, str]) -> int:
    """Its exit code; 128 and the signal's number where a signal ended it. Raises `ConfigError` if it cannot run."""
    private = (STORE_VARIABLE, KEYS_VARIABLE)  # which lead to tokens
    environment = {name: value for name, value in os.environ.items() if name not in private} | variables
    try:
        child = await asyncio.create_subprocess_exec(*program, env=environment)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "its name contains a NUL"
        raise ConfigError(f"{printable(program[0], 200)} could not be started: {why}.") from None
    with _passing_signals_to(child):
        code = await child.wait()
    return 128 - code if code < 0 else code


@contextmanager
def _passing_signals_to(child: asyncio.subprocess.Process) -> Iterator[None]:
    """Signals that would end us go to the child; one that is ignored stays so, and the child inherited that."""
    if sys.platform == "win32":
        before = signal.signal(signal.SIGINT, lambda number, frame: None)  # the console sends it to the child too
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
        return
    loop = asyncio.get_running_loop()
    present = [getattr(signal, name) for name in _PASSED_ON]
    taken = [number for number in present if signal.getsignal(number) != signal.SIG_IGN]
    for number in taken:
        loop.add_signal_handler(number, partial(_pass_on, child, number))
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


def _pass_on(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if number.name in _BY_THE_TERMINAL and _is_in_foreground():
        return
    with suppress(ProcessLookupError):
        child.send_signal(number)


def _is_in_foreground() -> bool:
    """Whether the terminal sends Ctrl-C to our group, and so to the child."""
    for stream in (0, 2, 1):
        with suppress(OSError):
            return os.tcgetpgrp(stream) == os.getpgrp()
    return False
