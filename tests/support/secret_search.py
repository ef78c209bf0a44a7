"""Looks for secrets in all that a person, a log or an error tracker could show of an object or a failure.

The rule: a secret counts as shown when its core is, however what surrounds it is encoded, or in base64.
"""
from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import pprint
import reprlib
import sys
import traceback
import warnings
from base64 import b64encode
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from SlyAPI.errors import SlyError
from SlyAPI.web import Reply
from tests.support.echoing_server import NEW

_TESTS = str(Path(__file__).parent.parent)
_DEEPEST = 8


@dataclass(frozen=True, repr=False)
class Kept:
    """Secrets by name; each has a `core` of letters and digits, with characters around it that get encoded."""

    cores: Mapping[str, str]

    def shown_in(self, text: str) -> set[str]:
        """The names of the secrets that the text shows, as they are or in base64."""
        flat = text.replace("\\x00", "").replace("\0", "").replace("\\n", "").replace("\n", "")
        return {name for name, core in self.cores.items() if any(piece in flat for piece in (core, *_in_base64(core)))}

    def assert_hidden(self, texts: Iterable[str]) -> None:
        """Fails with the lines that show a secret."""
        texts = set(texts)
        if not self.shown_in("\n \n".join(texts)):  # the space, so that the end of one does not go on in the next
            return
        shown = {
            f"{name}: {line.strip()[:400]}"
            for text in texts
            for name in self.shown_in(text)
            for line in text.splitlines()
            if self.shown_in(line)
        }
        assert not shown, "\n".join(sorted(shown))


@cache
def _in_base64(core: str) -> tuple[str, ...]:
    """The part of the core's base64 that is the same whatever stands before and behind it, at each offset."""
    packed = [b64encode(b"-" * before + core.encode()).decode().rstrip("=") for before in range(3)]
    return tuple(text[4 if before else 0 : -2] for before, text in enumerate(packed))


KEPT = Kept(
    {
        "client secret": "C1ientSecretCore",
        "code": "C0deCore00000000",
        "verifier": "Ver1fierCore0000",
        "state": "StateC0re0000000",
        "access token": "AccessT0kenCore0",
        "refresh token": "RefreshT0kenCore",
        "API key": "ApiKeyC0re000000",
        "new token": NEW,
    }
)


def secret(name: str, before: str, after: str) -> str:
    return f"{before}{KEPT.cores[name]}{after}"


CLIENT_SECRET = secret("client secret", "GOCSPX-/+ü", "\"<&>='% x")
CODE = secret("code", "4/0+", "=& %'\"<")
VERIFIER = secret("verifier", "~.", "-_" * 14)
STATE = secret("state", "/+", "=&<")
ACCESS = secret("access token", "ya29.a0/+", "==~<&")
REFRESH = secret("refresh token", "1//0+ ", "=&%<")
API_KEY = secret("API key", "AIza/+", "=&%<\"'")


OURS = Kept({name: core for name, core in KEPT.cores.items() if name != "new token"})
"""Those that the client knows."""


def texts_of(value: object) -> Iterator[str]:
    """Every way in which Python writes an object."""
    yield repr(value)
    yield str(value)
    yield format(value)
    yield f"{value}"
    yield "%s %r" % (value, value)  # noqa: UP031 - how logging writes it
    yield pprint.pformat(value, width=1)
    yield reprlib.repr(value)
    yield ascii(value)


def held_by(value: object, seen: set[int] | None = None, depth: int = 0) -> Iterator[str]:
    """The texts of a value and, recursively, of its members and attributes."""
    seen = set() if seen is None else seen
    if id(value) in seen or depth > _DEEPEST:
        return
    seen.add(id(value))
    if isinstance(value, bytes):
        yield value.decode("latin-1")
    yield from texts_of(value)
    if isinstance(value, Reply):
        yield value.text()
    members: list[object] = []
    if isinstance(value, Mapping):
        members += [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        members += list(value)
    members += [part for name, part in attributes(value) if not name.startswith("__")]
    for member in members:
        if not isinstance(member, int | float | bool | None | type):
            yield from held_by(member, seen, depth + 1)


def attributes(value: object) -> list[tuple[str, object]]:
    """The attributes of an object of ours, or of an exception, by name: of its `__dict__` and its slots."""
    if not (type(value).__module__.startswith("SlyAPI") or isinstance(value, BaseException)):
        return []
    slots = [name for base in type(value).__mro__ for name in getattr(base, "__slots__", ())]
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return list({**found, **getattr(value, "__dict__", {})}.items())


def told_by(error: BaseException, seen: set[int] | None = None, *, frames: bool | None = None) -> Iterator[str]:
    """All that an error tells: its texts and attributes, its traceback with locals, its cause and context.

    An unexpected exception keeps its frames, for a bug report (docs/security.md), so their locals are not looked at.
    """
    seen = set() if seen is None else seen
    frames = isinstance(error, SlyError) or not isinstance(error, Exception) if frames is None else frames
    if id(error) in seen:
        return
    seen.add(id(error))
    yield from held_by(error)
    for name in ("args", "filename", "filename2", "strerror", "object", "doc", "name", "path", "msg", "__notes__"):
        yield from held_by(getattr(error, name, None))
    yield from _pickled(error)
    yield "".join(traceback.format_exception(error))
    if frames:
        yield from _frames_of(error.__traceback__)
    for other in (error.__cause__, error.__context__):
        if other is not None:
            yield from told_by(other, seen, frames=frames)
    for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from told_by(inner, seen, frames=frames)


def _pickled(error: BaseException) -> Iterator[str]:
    """An error as it goes to another process, or into the result of a job queue."""
    with suppress(TypeError, AttributeError, pickle.PicklingError):  # what another library raised may refuse
        yield pickle.dumps(error).decode("latin-1")


def _frames_of(trace: TracebackType | None) -> Iterator[str]:
    """The frames with their locals' reprs, as error trackers keep them; not those of the tests, which know."""
    frames: list[tuple[FrameType, int]] = [
        (frame, line) for frame, line in traceback.walk_tb(trace) if not frame.f_code.co_filename.startswith(_TESTS)
    ]
    yield from traceback.StackSummary.extract(iter(frames), capture_locals=True).format()
    for frame, _ in frames:
        for value in list(frame.f_locals.values()):
            if isinstance(value, Iterable | BaseException) and not isinstance(value, type):
                yield from texts_of(value)


@dataclass(repr=False)
class Watched:
    """What was logged and warned of meanwhile."""

    texts: list[str] = field(default_factory=list[str])


class _Ear(logging.Handler):
    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.NOTSET)
        self._texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        self._texts.append(f"{record.name} {record.getMessage()} {vars(record)!r}")
        if record.exc_info and record.exc_info[1]:
            self._texts += told_by(record.exc_info[1])
        if record.levelno >= logging.WARNING:
            self._texts += _stack(sys._getframe(1))


def _stack(frame: FrameType | None) -> Iterator[str]:
    """Our frames at this moment with their locals, as error trackers attach them to a log record."""
    while frame is not None:
        if "SlyAPI" in frame.f_code.co_filename and not frame.f_code.co_filename.startswith(_TESTS):
            for name, value in frame.f_locals.items():
                yield f"{frame.f_code.co_qualname}: {name} = {value!r}"
        frame = frame.f_back


def _lost(lost: sys.UnraisableHookArgs) -> Iterator[str]:
    """What Python reports of an error that nobody can catch, as in a finalizer."""
    yield f"{lost.err_msg} {lost.object!r}"
    if lost.exc_value is not None:
        yield from told_by(lost.exc_value)


@contextmanager
def watching() -> Iterator[Watched]:
    """Hears every logger at DEBUG, every warning, and the running loop in debug mode, where each step is slow."""
    watched = Watched()
    ear, root = _Ear(watched.texts), logging.getLogger()
    levels = {logger: logger.level for logger in (root, *map(logging.getLogger, list(root.manager.loggerDict)))}
    for logger in levels:
        logger.setLevel(logging.DEBUG)
    root.addHandler(ear)
    loop, unraisable = asyncio.get_running_loop(), sys.unraisablehook
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            sys.unraisablehook = lambda lost: watched.texts.extend(_lost(lost))
            yield watched
            gc.collect(1)  # only then it is known that an error was never retrieved, a file never closed
            watched.texts += [str(warning.message) for warning in warned]
    finally:
        sys.unraisablehook = unraisable
        loop.set_debug(False)
        root.removeHandler(ear)
        for logger, level in levels.items():
            logger.setLevel(level)


async def shows_nothing(call: Awaitable[Any], *objects: object, kept: Kept = KEPT) -> BaseException | None:
    """Makes a call and looks at all that it shows, and that the objects show after it; gives its error."""
    caught: BaseException | None = None
    with watching() as watched:
        try:
            await call
        except (Exception, asyncio.CancelledError) as error:
            caught = error
        await asyncio.sleep(0)
    texts = [*watched.texts, *(repr(one) for one in objects)]
    if caught is not None:
        texts += told_by(caught)
    kept.assert_hidden(texts)
    return caught
