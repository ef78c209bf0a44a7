"""A server that sends back what it was sent, in as many shapes as servers in the wild, and some that none should."""
from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from html import escape
from urllib.parse import quote, unquote_plus


@dataclass(frozen=True, repr=False)
class Sent:
    """One request as it came."""

    head: str
    body: str

    @property
    def text(self) -> str:
        """The request as it came, and decoded: its form, its query and its Basic credentials."""
        decoded = [unquote_plus(self.head), unquote_plus(self.body)]
        for line in self.head.splitlines():
            if "basic " in line.lower():
                decoded.append(b64decode(line.rpartition(" ")[2]).decode())
                decoded.append(unquote_plus(decoded[-1]))
        return " ".join([self.head, self.body, *decoded])

    @property
    def values(self) -> list[str]:
        """The single values sent, decoded, and each of them in base64."""
        parts = self.body.replace("?", "&").split("&") + self.head.split(" ", 2)[1].split("&")
        values = [unquote_plus(part.partition("=")[2]) for part in parts]
        values += [line.rpartition(" ")[2] for line in self.head.splitlines() if "authorization" in line.lower()]
        values += [line.partition(": ")[2] for line in self.head.splitlines() if line.lower().startswith("x-")]
        values = [value for value in values if value]
        return values + [b64encode(value.encode()).decode() for value in values]


NEW = "N3wT0kenCore0000"
"""A token that a reply brings."""
Answer = Callable[[Sent], bytes | None]
"""The raw reply; None is silence."""


@dataclass(repr=False)
class Echo:
    """The server; `answer` may be changed while it runs."""

    answer: Answer
    origin: str = ""
    sent: list[Sent] = field(default_factory=list[Sent])
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    silent: list[asyncio.StreamWriter] = field(default_factory=list[asyncio.StreamWriter])

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lengths = [line for line in head.splitlines() if line.lower().startswith("content-length:")]
            body = await reader.readexactly(int(lengths[0].partition(":")[2]) if lengths else 0)
            self.sent.append(Sent(head, body.decode()))
            self.asked.set()
            raw = self.answer(self.sent[-1])
            if raw is None:
                self.silent.append(writer)
                return
            else:
                writer.write(raw)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def echoing(answer: Answer) -> AsyncGenerator[Echo, None]:
    """An echoing server that runs, on a port of its own."""
    echo = Echo(answer)
    server = await asyncio.start_server(echo.handle, "127.0.0.1", 0)
    echo.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield echo
    finally:
        server.close()
        for writer in echo.silent:
            writer.close()


def raw(status: int, body: str | bytes, *headers: str, reason: str = "Told") -> bytes:
    """A reply in bytes."""
    packed = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    fields = [f"HTTP/1.1 {status} {reason}", *headers, f"Content-Length: {len(packed)}", "Connection: close"]
    return "\r\n".join([*fields, "", ""]).encode("utf-8", "surrogatepass") + packed


def _json(status: int, *headers: str, **members: object) -> bytes:
    return raw(status, json.dumps(members), "Content-Type: application/json", *headers)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _new(sent: Sent) -> str:
    """A new token made of what was sent, which no header may carry."""
    return f"new\r\n{sent.text}"


SHAPES: dict[str, Answer] = {
    "described": lambda sent: _json(400, error="invalid_grant", error_description=sent.text),
    "described with 401": lambda sent: _json(401, error="invalid_client", error_description=sent.text),
    "described with 200": lambda sent: _json(200, error="bad", error_description=sent.text),
    "as the error's code": lambda sent: _json(400, error=sent.text),
    "as an error object": lambda sent: _json(400, error={"message": sent.text, "type": sent.text, "code": 1}),
    "value by value": lambda sent: _json(403, message=" | ".join(sent.values)),
    "as an unknown member": lambda sent: _json(500, **{sent.text: [sent.text, {"deep": sent.text}]}),
    "as a form": lambda sent: raw(400, f"error=invalid_grant&error_description={quote(sent.text)}"),
    "as a page": lambda sent: raw(400, f"<html><p>{escape(sent.text)}", "Content-Type: text/html"),
    "as a page with 200": lambda sent: raw(200, f"<html><p>{escape(sent.text)}", "Content-Type: text/html"),
    "as plain text": lambda sent: raw(503, sent.text, "Content-Type: text/plain"),
    "as plain text with 200": lambda sent: raw(200, sent.text),
    "as half a JSON": lambda sent: raw(200, json.dumps({"access_token": sent.text})[:-2]),
    "as an array": lambda sent: raw(200, json.dumps([sent.text])),
    "as a JSON text": lambda sent: raw(200, json.dumps(sent.text)),
    "as a deep nest": lambda sent: raw(200, '{"a":' * 5000 + json.dumps(sent.text)),
    "in UTF-16": lambda sent: raw(400, sent.text.encode("utf-16")),
    "over and over": lambda sent: raw(400, sent.text * 50),
    "as an endless token": lambda sent: raw(200, json.dumps({"access_token": sent.text * 10_000})),
    "as a token that cannot be sent": lambda sent: _json(200, access_token=_new(sent), token_type="bearer"),
    "as two tokens": lambda sent: raw(200, '{"access_token":"b",' + json.dumps({"access_token": sent.text})[1:]),
    "as the token's type": lambda sent: _json(200, access_token="a", token_type=sent.values[0]),
    "as a refresh token of no use": lambda sent: _json(200, access_token="a", refresh_token=_new(sent)),
    "as tokens beside an error": lambda sent: _json(400, error="no", access_token=NEW, refresh_token=sent.text),
    "as tokens cut short beside an error": lambda sent: raw(500, '{"a": 1, "access_token": "' + NEW),
    "as tokens in a form beside an error": lambda sent: raw(400, f"error=no&access_token={NEW}"),
    "in headers": lambda sent: _json(
        400, f"X-Echo: {_one_line(sent.text)}", f'WWW-Authenticate: Bearer realm="{_one_line(sent.text)}"'
    ),
    "in the reason phrase": lambda sent: raw(400, "no", reason=_one_line(sent.text)),
    "in a cookie": lambda sent: raw(400, "no", f"Set-Cookie: {_one_line(sent.text)}", "Set-Cookie: a b@=c"),
    "as Retry-After": lambda sent: raw(429, "wait", f"Retry-After: {_one_line(sent.text)}"),
    "in a redirect": lambda sent: raw(302, "", f"Location: https://elsewhere.invalid/?{quote(sent.text)}"),
    "in a redirect's path": lambda sent: raw(307, "", f"Location: /moved/{quote(_one_line(sent.text))}"),
    "in a redirect to no http": lambda sent: raw(302, "", f"Location: other:{quote(sent.text)}"),
    "in an encoding that it is not": lambda sent: raw(200, sent.text, "Content-Encoding: gzip"),
    "in an unknown encoding": lambda sent: raw(400, sent.text, "Content-Type: text/plain; charset=none-such"),
    "in a head that is none": lambda sent: sent.text.encode() + b"\r\n\r\n",
    "in a header that is none": lambda sent: raw(200, "{}", f"{sent.text}\r\n : \x00"),
    "cut short": lambda sent: raw(200, sent.text + "and more")[:-8],
    "not at all": lambda sent: b"",
    "never": lambda sent: None,
}
"""What may come back. Every shape is a failure of a token request; an API may answer some of them."""
