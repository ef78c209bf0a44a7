"""Messages and questions on the terminal. They go to stderr, so that stdout carries data only.

The rule: every question names its flag, for the error where nobody can answer.
"""

import os
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import (
    ApiError,
    BadReplyError,
    ConfigError,
    CredentialsError,
    DeniedError,
    GrantTimeoutError,
    IdentityError,
    LimitError,
    ListenError,
    NetworkError,
    RedirectError,
    SaveError,
    SlyError,
    UnavailableError,
    WouldOverwriteError,
    printable,
)
from ..json_file import StrPath, display_path
from .terminal import can_draw, columns, has_colour, is_plain, is_terminal, table, wrapped

_LONGEST_WORD = 1 << 16
"""Characters: an address of a consent page is one word."""


def unchanged(path: StrPath) -> str:
    """The status of a file before anything is written to it."""
    return f"{display_path(path)} was not {'changed' if os.path.lexists(path) else 'written'}."


class NoAnswerError(ConfigError):
    """A value is missing and nobody can be asked for it."""


class Interrupted(Exception):
    """The user pressed Ctrl-C."""


class Console:
    """The user's terminal, or the pipe in its place.

    `status`: what has been changed so far, and what has not; every failure message includes it.
    `unanswered`: the last question reached the end of the input. `bar`: what `Progress` shows below the lines.
    """

    def __init__(self) -> None:
        self.status = ""
        self.unanswered: bool = False
        self.bar: Any = None

    @property
    def interactive(self) -> bool:
        """Whether a user can answer: stdin is a terminal."""
        return is_terminal(sys.stdin)

    def say(self, *lines: str, heading: str = "") -> None:
        """Writes lines to stderr, after a heading in bold; `wrapped` breaks long ones. Never fails."""
        width = columns(sys.stderr)
        pieces = [piece for line in lines for piece in wrapped(printable_line(line), width)]
        if heading:
            pieces = [*map(_bold, wrapped(printable_line(heading), width)), *pieces]
        text = "".join(f"{piece}\n" for piece in pieces)
        with suppress(OSError, ValueError, AttributeError):
            try:
                if self.bar is not None:
                    self.bar.clear()
                sys.stderr.write(text)
                sys.stderr.flush()
            except RuntimeError:  # reentrant: Ctrl-C interrupted a write, and its handler writes too
                os.write(2, text.encode())

    def show_picture(self, lines: Sequence[str]) -> bool:
        """Shows lines of block characters, black on white, if stderr is a terminal that can; whether it was."""
        with suppress(OSError, ValueError, AttributeError, LookupError):
            if not lines or not can_draw(sys.stderr) or max(map(len, lines)) > (columns(sys.stderr) or 0):
                return False
            "".join(lines).encode(sys.stderr.encoding or "ascii")  # an encoding without them is a ValueError
            # readers of QR codes want dark on light, whatever the colours of the terminal
            sys.stderr.write("".join(f"\x1b[30;107m{line}\x1b[0m\n" for line in lines) + "\n")
            sys.stderr.flush()
            return True
        return False

    @property
    def shows_progress(self) -> bool:
        """Whether somebody watches: stderr is a terminal."""
        return is_terminal(sys.stderr)

    def ask(self, question: str, flag: str, default: str | None = None, *, hidden: bool = False) -> str:
        """The stripped answer, else `default`. Raises `NoAnswerError`, which names `flag`, if there is neither."""
        offered = f" [{default}]" if default else ""
        self.unanswered = False
        try:
            with _ctrl_c_raises():
                prompt = "\n".join(wrapped(f"{printable_line(question + offered)}:", columns(sys.stderr)))
                answer = self._read(f"{prompt} ", hidden)
        except EOFError:
            answer = ""
            self.unanswered = True
            self.say("")
        except UnicodeDecodeError:
            raise NoAnswerError(f"The answer to {question!r} is not text in this terminal's encoding.") from None
        if answer.strip():
            return answer.strip()
        if default is None:
            raise NoAnswerError(f"{question}: no answer, and no default.", next_step=f"Give {flag}.")
        return default

    def _read(self, prompt: str, hidden: bool) -> str:
        if sys.stdin is None or sys.stdin.closed:
            raise EOFError
        if hidden and self.interactive:
            import getpass

            return getpass.getpass(prompt, stream=sys.stderr)
        # `input(prompt)` would write to stdout when that is redirected
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(prompt)
            sys.stderr.flush()
        try:
            return input()
        except (OSError, RuntimeError, ValueError) as error:
            if isinstance(error, UnicodeDecodeError):
                raise
            raise EOFError from None

    def confirm(self, question: str) -> bool:
        """Whether the answer is yes; an empty answer is no."""
        return self.ask(f"{question} (y/N)", "--force", "").casefold() in ("y", "yes")

    def choose_several(self, question: str, choices: Sequence[tuple[str, str]], flag: str) -> list[str]:
        """The values chosen from `(label, value)` by number; an empty answer chooses all."""
        width = max((len(label) for label, _ in choices), default=0)
        rows = [(f"  {number:>2}  {label}", value) for number, (label, value) in enumerate(choices, 1)]
        self.say(*table(rows, width + 8, columns(sys.stderr), plain=is_plain()), heading=question)
        while True:
            answer = self.ask("Numbers, such as 1,3 or 2-4; Enter for all", flag, "") or "all"
            chosen = _numbers(answer, len(choices))
            if chosen is not None:
                return [choices[number - 1][1] for number in chosen]
            self.say(f"{printable(answer, 40)!r} is not a list of numbers from 1 to {len(choices)}.")
            if not self.interactive:
                raise NoAnswerError("The choice is not valid.", next_step=f"Give {flag}.")

    def lines(self) -> AsyncGenerator[str, None]:
        """Lines as they are typed or pasted, without blocking the event loop; ends with the input."""
        from .typed_lines import typed_lines  # and the event loop with it

        return typed_lines()


def printable_line(line: str) -> str:
    """`line` with all its spaces, each word by `printable`: what a stranger chose cannot control the terminal."""
    if line.isascii() and line.isprintable():
        return line
    return " ".join(printable(word, _LONGEST_WORD) for word in line.split(" "))


def _bold(text: str) -> str:
    """`text` in bold, where stderr has colours."""
    return f"\x1b[1m{text}\x1b[0m" if has_colour(sys.stderr) else text


def _numbers(answer: str, most: int) -> list[int] | None:
    """The numbers in `1,3`, `2-4` or `all`, without duplicates; None for anything else."""
    if answer.casefold() == "all":
        return list(range(1, most + 1))
    chosen: list[int] = []
    for part in answer.replace(",", " ").split():
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(part) > 12:
            return None
        low, high = int(first), int(last or first)
        if not 1 <= low <= high <= most:
            return None
        chosen += range(low, high + 1)
    return list(dict.fromkeys(chosen)) or None


@contextmanager
def _ctrl_c_raises() -> Iterator[None]:
    """Lets Ctrl-C interrupt a question inside `asyncio.run`, whose own handler would only cancel the task later."""
    import signal  # as `getpass`: most commands ask no question
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted from None
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.default_int_handler)


_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (Interrupted, 130),
    (CredentialsError, 3),
    (SaveError, 3),
    (UnavailableError, 3),
    (RedirectError, 4),
    (IdentityError, 4),
    (GrantTimeoutError, 5),
    (LimitError, 5),
    (ApiError, 6),
    (BadReplyError, 6),
    (NetworkError, 7),
    (ListenError, 8),
    (WouldOverwriteError, 9),
    (ConfigError, 2),
)


def exit_code(error: BaseException) -> int:
    """The process exit code of an error; `--help` lists them."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return 1


def unused_proxy(environ: Mapping[str, str]) -> str:
    """The environment variable with a proxy, which is not used unless it is given; "" if there is none."""
    names = [f"{kind}_proxy" for kind in ("https", "all", "http")]
    return next((name for each in names for name in (each.upper(), each) if environ.get(name)), "")


def report(console: Console, error: BaseException) -> int:
    """Says in one or two lines what happened, what was changed and what to do; gives the exit code."""
    status, step = console.status, getattr(error, "next_step", "")
    if isinstance(error, Interrupted):
        # the cursor is behind the ^C of the terminal
        console.say(*([""] if console.interactive else []), f"Stopped. {status or 'Nothing was changed.'}")
        return exit_code(error)
    if isinstance(error, SlyError):
        message = str(error.args[0])
        if isinstance(error, DeniedError):
            step = step or "Run it again to consent."
        variable = unused_proxy(os.environ)
        if isinstance(error, NetworkError) and variable and "proxy" not in f"{message} {step}".lower():
            step += f" {variable} is set, but not used; if you need it, give --proxy URL."
        if isinstance(error, SaveError):  # its message contains the status
            status = ""
    else:
        message = f"Internal error: {type(error).__name__}."
        step = "Please report it, with the traceback that SLYAPI_TRACEBACK=1 shows."
    console.say(*filter(None, [message, f"{status} {step}".strip()]))
    return exit_code(error)
