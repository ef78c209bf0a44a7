"""The signals that end a program, on each system by a fake of its signal module: they do what Ctrl-C does."""
from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest

from SlyAPI.flow.signals import end_signals_as_ctrl_c

UNIX = {"SIGINT": 2, "SIGTERM": 15, "SIGHUP": 1}
WINDOWS = {"SIGINT": 2, "SIGTERM": 15, "SIGBREAK": 21}
SYSTEMS = pytest.mark.parametrize("numbers", [UNIX, WINDOWS], ids=["unix", "windows"])


class FakeSignal:
    """The system's module `signal`: handlers by number; a raised signal without a handler ends the program."""

    SIG_DFL, SIG_IGN = "default", "ignored"

    def __init__(self, numbers: dict[str, int], **handlers: Any) -> None:
        self.__dict__.update(numbers)
        self.handlers: dict[int, Any] = dict.fromkeys(numbers.values(), self.SIG_DFL)
        self.handlers |= {numbers[name]: handler for name, handler in handlers.items()}
        self.ended_by: list[int] = []

    def getsignal(self, number: int) -> Any:
        return self.handlers[number]

    def signal(self, number: int, handler: Callable[[int, object], None]) -> None:
        self.handlers[number] = handler

    def raise_signal(self, number: int) -> None:
        if callable(self.handlers[number]):
            self.handlers[number](number, None)
        elif self.handlers[number] == self.SIG_DFL:
            self.ended_by.append(number)


@SYSTEMS
def test_each_signal_that_ends_a_program_does_what_ctrl_c_does(numbers: dict[str, int]) -> None:
    pressed: list[int] = []
    system = FakeSignal(numbers, SIGINT=lambda number, _: pressed.append(number))
    with end_signals_as_ctrl_c(system):
        for number in numbers.values():
            system.raise_signal(number)
    assert pressed == [numbers["SIGINT"]] * len(numbers)
    assert system.ended_by == []


@SYSTEMS
def test_afterwards_everything_is_as_it_was(numbers: dict[str, int]) -> None:
    system = FakeSignal(numbers)
    before = dict(system.handlers)
    with pytest.raises(ValueError, match="within"), end_signals_as_ctrl_c(system):
        raise ValueError("within")
    assert system.handlers == before


@SYSTEMS
@pytest.mark.parametrize("own", [FakeSignal.SIG_IGN, None, lambda *_: None], ids=["ignored", "of C", "of the program"])
def test_a_signal_that_is_ignored_or_handled_stays_so(numbers: dict[str, int], own: Any) -> None:
    system = FakeSignal(numbers, SIGTERM=own)
    with end_signals_as_ctrl_c(system):
        assert system.handlers[numbers["SIGTERM"]] is own


@pytest.mark.parametrize("ctrl_c", [FakeSignal.SIG_IGN, FakeSignal.SIG_DFL, None])  # ignored: Windows alone
def test_where_ctrl_c_has_no_handler_the_program_still_ends(ctrl_c: Any) -> None:
    system = FakeSignal(UNIX, SIGINT=ctrl_c)
    with end_signals_as_ctrl_c(system):
        system.raise_signal(UNIX["SIGTERM"])
    assert system.ended_by == [UNIX["SIGTERM"]]


async def test_outside_the_main_thread_no_handler_is_set() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def in_thread() -> bool:
        with end_signals_as_ctrl_c():
            return before == {number: signal.getsignal(number) for number in before}

    assert await asyncio.to_thread(in_thread)
