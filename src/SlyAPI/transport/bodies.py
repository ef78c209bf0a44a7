"""Bodies that are sent piece by piece: files, paths, asynchronous iterables, and multipart forms of them.

The rule: nothing is read before it is sent; a second sending starts where the first one started.
"""

import asyncio
import os
import secrets
import stat
import threading
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..json_file import display_path
from ..web.params import ConfigError, as_form, as_pairs

Progress = Callable[[int], object]
"""Called with the number of bytes sent or received since the last call; tqdm's `bar.update` fits."""
Total = Callable[[int | None], object]
"""Called with the size (None: unknown) whenever a body starts at its first byte; tqdm's `bar.reset` fits."""

_PIECE = 1 << 18
"""Bytes that are read of a file at once: each reading takes a thread."""
_SENT = 1 << 16
"""Bytes that are sent at once, for which a time limit holds."""
_BINARY = "application/octet-stream"
_OPEN_IT = "Open it with mode 'rb', and keep it open until it is sent."


@runtime_checkable
class Readable(Protocol):
    """An open file in binary mode, or an object that reads like one."""

    def read(self, size: int, /) -> bytes: ...


Content = str | bytes | os.PathLike[str] | Readable | AsyncIterable[bytes]
"""Text and bytes as they are, a path, an open binary file, or an asynchronous iterable of pieces."""
File = Content | tuple[str, Content] | tuple[str, Content, str]
"""The content of a file, optionally with its name and its Content-Type, which are guessed otherwise."""
Files = Mapping[str, File] | Sequence[tuple[str, File]]
"""Files by the name of their form field; pairs where a name occurs more than once."""


class Body:
    """A body in pieces, which aiohttp iterates over each time it sends it.

    `size` in bytes, None where unknown; `again`: whether it can be sent a second time;
    `failure`: the exception that ended reading it early.
    """

    def __init__(self, sources: "Sequence[_Source]", content_type: str, progress: Progress | None, total: Total | None):
        sizes = [source.size for source in sources]
        self.size: int | None = None if None in sizes else sum(size or 0 for size in sizes)
        self.again: bool = all(source.again for source in sources)
        self.content_type = content_type
        self.compressed = False
        self.failure: Exception | None = None
        self._sources = sources
        self._progress = progress
        self._total = total

    def headers(self, own: Mapping[str, str] | None) -> dict[str, str]:
        """The caller's headers and those of the body; the caller's Content-Type wins."""
        given = dict(own or {})
        if not any(name.lower() == "content-type" for name in given):
            given["Content-Type"] = self.content_type
        if self.compressed:
            given["Content-Encoding"] = "gzip"
        return given if self.size is None else {**given, "Content-Length": str(self.size)}

    def gzipped(self) -> "Body":
        """The same body, compressed while it is sent (RFC 9110 §8.4.1.3), so that its size is unknown before."""
        body = Body([_Gzip(self._sources)], self.content_type, self._progress, self._total)
        body.compressed = True
        return body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces()

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            if self._total is not None:
                self._total(self.size)
            for source in self._sources:
                async for piece in source.pieces():
                    if not isinstance(piece, bytes | bytearray | memoryview):
                        raise TypeError(f"a piece of a body is a {type(piece).__name__}, not bytes")
                    async for part in _Bytes(bytes(piece)).pieces():
                        yield part
                        if self._progress is not None:
                            self._progress(len(part))
        except Exception as error:  # aiohttp would report a broken connection
            self.failure = error
            raise


def body_of(content: Content, progress: Progress | None = None, total: Total | None = None, kind: str = "") -> Body:
    """A body of one content alone, of the media type `kind`."""
    kind = kind or ("text/plain; charset=utf-8" if isinstance(content, str) else _BINARY)
    return Body([_source(content)], kind, progress, total)


def form_of(data: Any) -> Any:
    """A form as aiohttp takes it: its fields as text, or a `Body` where there is a file."""
    if isinstance(data, Mapping):
        files = {name: value for name, value in data.items() if _is_file(value)}
        fields = as_form({name: value for name, value in data.items() if name not in files})
        return multipart(fields, files) if files else fields
    if isinstance(data, list | tuple):
        return as_pairs(data)
    if hasattr(data, "is_multipart"):  # an `aiohttp.FormData`
        return data
    return body_of(data)


def _is_file(value: Any) -> bool:
    return isinstance(value, bytes | bytearray | memoryview | Readable)


def multipart(
    fields: Mapping[str, str | list[str]], files: Files, progress: Progress | None = None, total: Total | None = None
) -> Body:
    """A form with files in it (RFC 7578), its fields first."""
    boundary = secrets.token_hex(16)  # content that contains it could forge parts
    sources: list[_Source] = []
    for name, value in fields.items():
        for text in [value] if isinstance(value, str) else value:
            sources.append(_Bytes(_head(boundary, name) + f"\r\n{text}\r\n".encode()))
    pairs: Any = list(files.items()) if isinstance(files, Mapping) else files
    if not (isinstance(pairs, list | tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs)):
        raise ConfigError("files is not a mapping or pairs.", next_step='Write files={"name": Path("photo.jpg")}')
    for name, file in pairs:
        filename, content, kind = _file(name, file)
        head = _head(boundary, name, filename) + f"Content-Type: {kind}\r\n\r\n".encode()
        sources += [_Bytes(head), _source(content), _Bytes(b"\r\n")]
    sources.append(_Bytes(f"--{boundary}--\r\n".encode()))
    return Body(sources, f"multipart/form-data; boundary={boundary}", progress, total)


def _file(name: str, file: File) -> tuple[str, Content, str]:
    filename, content, kind = "", file, ""
    if isinstance(file, tuple):
        filename, content, kind = file if len(file) == 3 else (*file, "")
    if not filename:
        path = content if isinstance(content, os.PathLike) else getattr(content, "name", None)
        filename = os.path.basename(path) if isinstance(path, str | os.PathLike) else name
    import mimetypes  # its tables are large, and most programs send no files

    kind = kind or mimetypes.guess_type(filename)[0] or _BINARY
    if not kind.isprintable() or not kind.isascii():
        raise ConfigError(f"The Content-Type of the file {name!r} is not valid.")
    return filename, content, kind  # type: ignore[return-value]


def _head(boundary: str, name: str, filename: str | None = None) -> bytes:
    file = f'; filename="{_quoted(filename)}"' if filename is not None else ""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"{file}\r\n'
    return head.encode("utf-8", "replace")  # unpaired surrogates: Python's for bytes of a file name outside UTF-8


def _quoted(name: str) -> str:
    """A name as browsers write it (HTML, multipart/form-data): quotation marks and line ends cannot end it early."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


class _Source(Protocol):
    size: int | None
    again: bool

    def pieces(self) -> AsyncIterator[bytes]: ...


def _source(content: Any) -> _Source:
    if isinstance(content, str):
        return _Bytes(as_bytes(content))
    if isinstance(content, bytes | bytearray | memoryview):
        return _Bytes(bytes(content))
    if isinstance(content, os.PathLike):
        return _OnDisk(Path(content))
    if hasattr(content, "__aiter__"):
        return _Once(content)
    if isinstance(content, Readable):
        return _Open(content)
    raise ConfigError(
        f"a {type(content).__name__} cannot be a body.",
        next_step="Give text, bytes, a path, a binary file or an async iterable of bytes.",
    )


def as_bytes(text: str) -> bytes:
    """The text in UTF-8. Raises `ConfigError` for an unpaired surrogate."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ConfigError("The text of the body contains an unpaired surrogate (U+D800 to U+DFFF).") from None


class _Bytes:
    again = True

    def __init__(self, raw: bytes) -> None:
        self.size: int | None = len(raw)
        self._raw = raw

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        for at in range(0, len(self._raw), _SENT):
            yield self._raw[at : at + _SENT]


class _Gzip:
    """Sources one after the other, as one body in gzip (RFC 1952)."""

    size: int | None = None

    def __init__(self, sources: "Sequence[_Source]") -> None:
        self._sources = sources
        self.again: bool = all(source.again for source in sources)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        packer = zlib.compressobj(wbits=31)  # gzip's header and checksum
        for source in self._sources:
            async for piece in source.pieces():
                if packed := await asyncio.to_thread(packer.compress, piece):
                    yield packed
        yield packer.flush()


class _Once:
    """An asynchronous iterable: it can be sent once, and its size is unknown."""

    size: int | None = None
    again = False

    def __init__(self, iterable: AsyncIterable[bytes]) -> None:
        self._iterable = iterable
        self._begun = False

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        if self._begun:
            raise ConfigError("This body was sent before and cannot be sent a second time.")
        self._begun = True
        async for piece in self._iterable:
            yield piece


class _Open:
    """An open file, from its current position; it stays open. One call at a time can use it: it has one position."""

    def __init__(self, file: Any) -> None:
        try:
            nothing = file.read(0)
        except (OSError, ValueError) as error:
            raise ConfigError(f"A file cannot be read ({type(error).__name__}).", next_step=_OPEN_IT) from None
        if not isinstance(nothing, bytes):
            raise TypeError("the file is open as text: open it with mode 'rb'")
        self._file = file
        self._lock = threading.Lock()
        self._start = _position(file)
        self.again = self._start is not None
        self.size: int | None = None
        if self._start is not None:
            self.size = max(0, file.seek(0, os.SEEK_END) - self._start)
            file.seek(self._start)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        sent = 0
        while self.size is None or sent < self.size:
            piece = await asyncio.to_thread(self._read, sent)
            if not piece:
                break
            sent += len(piece)
            yield piece
        if self.size is not None and sent < self.size:
            # else the server would wait for the rest of the announced size
            raise ConfigError("The file became shorter while it was sent.", next_step="Send it again.")

    def _read(self, sent: int) -> bytes:
        if self._start is None or self.size is None:
            return bytes(self._file.read(_PIECE))
        with self._lock:  # a cancelled call may still be reading in its thread
            self._file.seek(self._start + sent)
            return bytes(self._file.read(min(_PIECE, self.size - sent)))


def _position(file: Any) -> int | None:
    try:
        return int(file.tell()) if file.seekable() else None
    except (AttributeError, OSError):
        return None


class _OnDisk:
    """A file by its path, opened each time it is sent."""

    again = True

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            status = os.stat(path)
        except (OSError, ValueError) as error:
            raise _cannot_be_sent(path, error) from None
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{display_path(path)} is not a regular file.")
        self.size: int | None = status.st_size

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            opening = await asyncio.to_thread(open, self._path, "rb")
        except OSError as error:
            raise _cannot_be_sent(self._path, error) from None
        with opening as file:
            opened = _Open(file)
            opened.size = self.size  # what was announced
            async for piece in opened.pieces():
                yield piece


def _cannot_be_sent(path: Path, error: Exception) -> ConfigError:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return ConfigError(f"{display_path(path)} cannot be sent ({reason}).")
