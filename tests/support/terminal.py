"""A person's terminal: a child process on a pseudo-terminal of its own, what it shows, and what is typed.

The rule: what is waited for is text on the screen, never time.
"""
from __future__ import annotations

import asyncio
import os
import re
import signal
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pyte
import pytest

from tests.support.program import until_it_waits

_SECONDS = 30.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """One program on a terminal; its stdout may go to a pipe, as in `program > file`."""

    def __init__(self, process: Process, master: int, columns: int = 80) -> None:
        self.process = process
        self.columns = columns
        self.raw = ""
        self._master = master
        self._read = 0
        self._news = asyncio.Event()
        self._over = False
        os.set_blocking(master, False)
        asyncio.get_running_loop().add_reader(master, self._more)

    @classmethod
    async def runs(
        cls,
        argv: Sequence[str],
        folder: Path,
        env: Mapping[str, str],
        *,
        stdout: int | None = None,
        columns: int = 80,
    ) -> Terminal:
        """Starts `argv` as a shell in a terminal would; `stdout=PIPE` takes its stdout away from the screen."""
        if sys.platform == "win32":
            pytest.skip("there are no pseudo-terminals")
        import fcntl
        import pty
        import termios

        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=slave,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            cwd=folder,
            env=dict(env),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        return cls(process, master, columns)

    def _more(self) -> None:
        try:
            chunk = os.read(self._master, 65536)
        except BlockingIOError:
            return
        except OSError:  # Linux: the other side is closed
            chunk = b""
        if not chunk:
            self._over = True
            asyncio.get_running_loop().remove_reader(self._master)
        self.raw += chunk.decode(errors="replace")
        self._news.set()

    @property
    def screen(self) -> str:
        """All that was shown, without colours and carriage returns."""
        return _ESCAPES.sub("", self.raw).replace("\r", "")

    @property
    def shown(self) -> list[str]:
        """The lines as a person sees them at this moment, broken where the terminal breaks them."""
        screen = pyte.Screen(self.columns, 500)
        pyte.Stream(screen).feed(self.raw)
        return [line.rstrip() for line in screen.display[: screen.cursor.y + 1]]

    async def says(self, words: str) -> str:
        """Waits until `words` are shown after what was waited for before; gives the text up to them."""
        async with asyncio.timeout(_SECONDS):
            while (at := self.screen.find(words, self._read)) < 0:
                if self._over:
                    raise AssertionError(f"the program ended without saying {words!r}:\n{self.screen}")
                self._news.clear()
                await self._news.wait()
        said, self._read = self.screen[self._read : at + len(words)], at + len(words)
        return said

    async def line(self, words: str) -> str:
        """Waits for a whole line that holds `words`, and gives it."""
        before = (await self.says(words)).rpartition("\n")[2]
        return before + (await self.says("\n")).rstrip("\n")

    def types(self, line: str) -> None:
        """Types a line and Enter."""
        self.presses(line + "\n")

    def presses(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    async def presses_ctrl_c(self) -> None:
        await until_it_waits(self.process)
        self.presses("\x03")

    def presses_ctrl_d(self) -> None:
        self.presses("\x04")

    async def ends(self) -> int:
        """Waits for the end of the program and of what it shows; its exit code."""
        async with asyncio.timeout(_SECONDS):
            code = await self.process.wait()
            while not self._over:
                self._news.clear()
                await self._news.wait()
        return code

    async def written(self) -> str:
        """What the program wrote into its stdout's pipe."""
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.read(), _SECONDS)).decode()

    async def close(self) -> None:
        """Ends the program if it still runs."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        with suppress(ValueError):
            asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)


__all__ = ["PIPE", "Terminal"]
