"""The console in this process: who is asked where, what an answer means, which code an error has."""
from __future__ import annotations

import asyncio
import getpass
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import errors
from SlyAPI.flow.console import Console, Interrupted, NoAnswerError, exit_code, report
from SlyAPI.flow.typed_lines import typed_lines

CHOICES = [("READ", "read"), ("WRITE", "write"), ("ALL", "all.of.it")]


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Console:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    return Console()


def answers(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_question_goes_to_stderr_and_stdout_stays_clean(
    console: Console, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, "  mine.json  \n")
    assert console.ask("Client file", "--app", "app.json") == "mine.json"
    assert capsys.readouterr() == ("", "Client file [app.json]: ")


@pytest.mark.parametrize("text", ["", "\n", "   \n"])
def test_no_answer_is_the_default_or_names_the_flag(
    console: Console, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    answers(monkeypatch, text)
    assert console.ask("Client file", "--app", "app.json") == "app.json"
    answers(monkeypatch, text)
    with pytest.raises(NoAnswerError, match="--app"):
        console.ask("Client file", "--app")


def test_closed_streams_are_no_answer(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    monkeypatch.setattr("sys.stderr", None)
    assert console.interactive is False
    assert console.ask("Client file", "--app", "app.json") == "app.json"
    console.say("into the void")


@pytest.mark.parametrize(("text", "yes"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("", False), ("x\n", False)])
def test_only_a_yes_is_a_yes(console: Console, monkeypatch: pytest.MonkeyPatch, text: str, yes: bool) -> None:
    answers(monkeypatch, text)
    assert console.confirm("Replace it?") is yes


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("1\n", ["read"]),
        ("3, 1\n", ["all.of.it", "read"]),
        ("1-3 2\n", ["read", "write", "all.of.it"]),
        ("ALL\n", ["read", "write", "all.of.it"]),
        ("\n", ["read", "write", "all.of.it"]),
        ("", ["read", "write", "all.of.it"]),
    ],
)
def test_a_menu_takes_numbers(
    console: Console, monkeypatch: pytest.MonkeyPatch, text: str, chosen: list[str]
) -> None:
    answers(monkeypatch, text)
    assert console.choose_several("Which?", CHOICES, "--scope") == chosen


def test_a_wrong_choice_without_a_person_ends_it(
    console: Console, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, "\x1b[31m7\n1\n")
    with pytest.raises(NoAnswerError, match="--scope"):
        console.choose_several("Which?", CHOICES, "--scope")
    assert "\x1b" not in capsys.readouterr().err


@given(st.text(max_size=30))
def test_whatever_is_typed_chooses_from_the_menu_or_nothing(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.StringIO(text + "\n"))
        patch.setattr("sys.stderr", io.StringIO())
        try:
            chosen = Console().choose_several("Which?", CHOICES, "--scope")
        except NoAnswerError:
            return
    assert chosen
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= {"read", "write", "all.of.it"}


def all_kinds(kind: type[errors.SlyError] = errors.SlyError) -> Iterator[type[errors.SlyError]]:
    for sub in kind.__subclasses__():
        if sub.__module__.startswith("SlyAPI"):
            yield sub
            yield from all_kinds(sub)


def test_every_error_has_a_code_of_its_own_meaning() -> None:
    made = {
        errors.ApiError: errors.ApiError(500),
        errors.TokenError: errors.TokenError(400, "e", message="m"),
        errors.GrantEndedError: errors.GrantEndedError(400, "e", message="m"),
        errors.DeniedError: errors.DeniedError("m", error="e"),
    }
    for kind in all_kinds():
        assert exit_code(made.get(kind) or kind("m")) in (2, 3, 4, 5, 6, 7, 8, 9), kind
    assert exit_code(Interrupted()) == 130
    assert exit_code(RuntimeError()) == 1


def test_a_failure_is_what_happened_then_how_things_stand_and_what_to_do(
    console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    console.status = "user.json was not changed."
    assert report(console, errors.ConfigError("It broke.", next_step="Fix it.")) == 2
    assert capsys.readouterr().err == "It broke.\nuser.json was not changed. Fix it.\n"
    assert report(console, errors.SaveError("Not written; it is as it was.")) == 3
    assert capsys.readouterr().err == "Not written; it is as it was.\n"
    assert report(console, Interrupted()) == 130
    assert capsys.readouterr().err == "Stopped. user.json was not changed.\n"


# pasting


async def lines_of(raw: bytes, monkeypatch: pytest.MonkeyPatch, platform: str = sys.platform) -> list[str]:
    ours, theirs = os.pipe()
    os.write(theirs, raw)
    os.close(theirs)
    with os.fdopen(ours) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        return [line async for line in typed_lines(platform)]


async def test_lines_come_as_they_are_and_the_last_needs_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await lines_of(b"one\r\n\n two \nthree", monkeypatch) == ["one", "", "two", "three"]
    assert await lines_of(b"\xff\xfe\n", monkeypatch) == ["\ufffd\ufffd"]
    assert await lines_of(b"", monkeypatch) == []


@pytest.mark.parametrize("error", [NotImplementedError, OSError(10038, "not a socket")], ids=["proactor", "selector"])
async def test_lines_come_on_windows_whatever_its_event_loop_watches(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def no_readers(*_: object) -> None:
        raise error

    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", no_readers)
    assert await lines_of(b"one\r\n\n two \nthree", monkeypatch, "win32") == ["one", "", "two", "three"]
    assert await lines_of(b"", monkeypatch, "win32") == []


# hidden input, with a stand-in for the module that Windows has for it


class FakeMsvcrt:
    """A console that gives one character after the other, and shows what is written to it."""

    def __init__(self, typed: str) -> None:
        self._typed = iter(typed)
        self.shown = ""

    def getwch(self) -> str:
        return next(self._typed)

    def putwch(self, character: str) -> None:
        self.shown += character


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], FakeMsvcrt]:
    """The console of a Windows machine on which this was typed."""

    def typing(text: str) -> FakeMsvcrt:
        console = FakeMsvcrt(text)
        terminal = io.StringIO()
        monkeypatch.setattr("sys.stdin", terminal)
        monkeypatch.setattr("sys.__stdin__", terminal)
        monkeypatch.setattr(Console, "interactive", True)
        monkeypatch.setattr(getpass, "msvcrt", console, raising=False)
        monkeypatch.setattr(getpass, "getpass", vars(getpass)["win_getpass"])
        return console

    return typing


def test_a_secret_is_not_shown_on_windows_and_may_be_corrected(windows: Callable[[str], FakeMsvcrt]) -> None:
    typed = windows("hunter3\b2\r")
    assert Console().ask("Client secret", "--secret", hidden=True) == "hunter2"
    assert "hunter" not in typed.shown
    assert "Client secret: " in typed.shown


def test_ctrl_c_at_a_hidden_question_interrupts_it_on_windows(windows: Callable[[str], FakeMsvcrt]) -> None:
    windows("sec\x03")
    with pytest.raises(Interrupted):
        Console().ask("Client secret", "--secret", hidden=True)


async def test_lines_of_a_file_or_of_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("one\ntwo\n")
    with (tmp_path / "lines").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert [line async for line in Console().lines()] == ["one", "two"]
    monkeypatch.setattr("sys.stdin", None)
    assert [line async for line in Console().lines()] == []
    monkeypatch.setattr("sys.stdin", io.StringIO("no file"))
    assert [line async for line in Console().lines()] == []
