"""Runs programs as a user would: child processes in one folder, with the environment of a person's desktop.

The rule: a child that a test leaves behind is ended with it; what it wrote is kept for the failure report.
"""
from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_SECONDS = 60


async def until_it_waits(process: Process) -> None:
    """Waits until `process` waits for something itself, as it does when a person presses a key.

    Python loses a signal that comes between its last look for one and the wait that follows: one in some thousands of
    those sent at the moment at which a prompt is shown. A person presses again; a test would wait for ever.
    """
    stat = Path(f"/proc/{process.pid}/stat")
    async with asyncio.timeout(_SECONDS):
        while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "R":  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@dataclass(frozen=True)
class Ended:
    """What a program left: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


def _text(raw: bytes) -> str:
    return raw.decode().replace(os.linesep, "\n")


class Child:
    """A running program."""

    def __init__(self, process: Process, terminal: int | None) -> None:
        self.process = process
        self._terminal = terminal

    def types(self, line: str) -> None:
        """Types or pastes one line, and Enter, at the child's terminal or pipe."""
        if self._terminal is not None:
            os.write(self._terminal, f"{line}\n".encode())
        else:
            assert self.process.stdin is not None
            self.process.stdin.write(f"{line}\n".encode())

    async def presses_ctrl_c(self) -> None:
        if sys.platform == "win32":
            pytest.skip("there is no SIGINT for another process")
        await until_it_waits(self.process)
        self.process.send_signal(signal.SIGINT)

    async def says(self, words: str) -> str:
        """Waits until a line on stderr holds `words`, and gives that line."""
        assert self.process.stderr is not None
        async with asyncio.timeout(_SECONDS):
            async for line in self.process.stderr:
                if words in (text := line.decode()):
                    return text.strip()
        raise AssertionError(f"the program ended without saying {words!r}")

    async def ends(self) -> Ended:
        """Waits for the end; `err` lacks what `says` has read."""
        out, err = await asyncio.wait_for(self.process.communicate(), _SECONDS)
        assert self.process.returncode is not None
        return Ended(self.process.returncode, _text(out), _text(err))

    async def close(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.communicate()
        if self._terminal is not None:
            os.close(self._terminal)


class Desk:
    """A folder to work in. Every program runs on this Python, with warnings shown as errors."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.env = env
        self._children: list[Child] = []

    async def starts(self, *argv: str, stdin: str = "nothing") -> Child:
        """Starts `python ARGV...`; `stdin` is nothing, a pipe, or a terminal."""
        if stdin == "terminal" and sys.platform == "win32":
            pytest.skip("there are no pseudo-terminals")
        terminal, handle = os.openpty() if stdin == "terminal" else (None, PIPE if stdin == "pipe" else DEVNULL)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", *argv, stdin=handle, stdout=PIPE, stderr=PIPE, cwd=self.folder, env=self.env
        )
        if terminal is not None:
            os.close(handle)
        self._children.append(Child(process, terminal))
        return self._children[-1]

    async def slyapi(self, *argv: str, stdin: str = "nothing") -> Child:
        """Starts `python -m SlyAPI ARGV...`."""
        return await self.starts("-m", "SlyAPI", *argv, stdin=stdin)

    def writes(self, name: str, obj: dict[str, Any] | str) -> Path:
        """A file in the folder: JSON, or text."""
        path = self.folder / name
        path.write_text(obj if isinstance(obj, str) else json.dumps(obj))
        return path

    def reads(self, name: str) -> dict[str, Any]:
        """A JSON object in the folder."""
        obj: dict[str, Any] = json.loads((self.folder / name).read_text())
        return obj

    async def close(self) -> None:
        for child in self._children:
            await child.close()


@asynccontextmanager
async def desk_at(folder: Path, env: dict[str, str]) -> AsyncGenerator[Desk, None]:
    """A desk whose programs end with the block."""
    it = Desk(folder, env)
    try:
        yield it
    finally:
        await it.close()
