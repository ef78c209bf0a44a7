"""The other side of a benchmark: an HTTP server on loopback that answers by a table, so cheaply that it does not count.

The rule: standard library only, and no work per request but to find the reply; it runs in a process of its own.

`/small`, `/big` (100 KB), `/pages?pageToken=N&size=S&last=L` (S items a page), `POST /token` after a pause, at
once (`/token_now`) or refused (`/refuse`); `/asked` tells how many token requests there were.
"""

import asyncio
import json
import sys
from functools import cache
from urllib.parse import parse_qsl, urlsplit

TOKEN_PAUSE = 0.2
"""Seconds that a token request takes."""
_asked = 0


def reply(status: int, value: object) -> bytes:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


def item(number: int) -> dict[str, object]:
    return {"id": number, "name": f"item {number}", "price": number / 8, "tags": ["a", "b"], "stock": number % 3 == 0}


@cache
def answer(target: str) -> bytes:
    """The reply to a GET."""
    parts = urlsplit(target)
    if parts.path == "/small":
        return reply(200, item(7))
    if parts.path == "/big":
        return reply(200, {"items": [item(number) for number in range(1250)]})
    if parts.path == "/pages":
        query = {name: int(value) for name, value in parse_qsl(parts.query)}
        page, size = query.get("pageToken", 0), query["size"]
        told: dict[str, object] = {"items": [item(page * size + number) for number in range(size)]}
        return reply(200, told | ({"nextPageToken": str(page + 1)} if page + 1 < query["last"] else {}))
    return reply(404, None)


@cache
def tokens() -> bytes:
    """The reply to a token request."""
    return reply(200, {"access_token": "new-token" * 7, "token_type": "Bearer", "expires_in": 3600})


class Connection(asyncio.Protocol):
    """One client's connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._left = b""

    def data_received(self, data: bytes) -> None:
        self._left += data
        while b"\r\n\r\n" in self._left:
            head, _, rest = self._left.partition(b"\r\n\r\n")
            method, target, *_ = head.split(b" ", 2)
            length = 0
            if method == b"POST":
                (length,) = (int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:")
                if len(rest) < length:
                    return
            self._left = rest[length:]
            if method == b"GET" and b"uthorization: " not in head and target != b"/asked":
                self._transport.write(reply(401, None))
            else:
                self._answers(target.decode())

    def _answers(self, target: str) -> None:
        global _asked
        if target == "/token_now":
            self._transport.write(tokens())
        elif target in ("/token", "/refuse"):
            _asked += 1
            told = (200, {"access_token": "new-token", "token_type": "Bearer", "expires_in": 3600})
            refused = (400, {"error": "invalid_grant"})
            asyncio.get_running_loop().call_later(
                TOKEN_PAUSE, self._transport.write, reply(*(told if target == "/token" else refused))
            )
        else:
            self._transport.write(reply(200, _asked) if target == "/asked" else answer(target))


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=2000)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until the parent lets go


if __name__ == "__main__":
    asyncio.run(main())
