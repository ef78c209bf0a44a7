"""Large bodies over loopback, as a stream, into a file and out of one: wall time by hand on aiohttp and with SlyAPI.

The rule: both write and read the same files in the same rounds, and both make a downloaded file durable; the shortest
round counts. `python -m tests.bench.transfers BYTES ROUNDS`; the server is the same module in a process of its own.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any

import aiohttp

from SlyAPI import Auth, WebAPI

PIECE = 1 << 18
_LIMIT = 1 << 20


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """GET /N answers with N bytes; POST takes what comes and answers with its size."""
    while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
        if head.startswith("GET"):
            size = int(head.split()[1].removeprefix("/"))
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
            for _ in range(size // PIECE):
                writer.write(bytes(PIECE))
                await writer.drain()
        else:
            (length,) = (int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:"))
            left = length
            while left:
                left -= len(await reader.read(min(left, PIECE)))
            body = json.dumps({"size": length}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def _serve() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=_LIMIT)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)


Transfer = Callable[[], Awaitable[object]]


def _opened(path: Path, mode: str) -> IO[Any]:
    return open(path, mode)  # as people do, in the event loop


def _by_hand(session: aiohttp.ClientSession, url: str, size: int, folder: Path) -> dict[str, Transfer]:
    async def stream() -> None:
        async with session.get(f"{url}/{size}") as reply:
            async for _ in reply.content.iter_any():
                pass

    async def download() -> None:
        async with session.get(f"{url}/{size}") as reply:
            with _opened(folder / "by hand", "wb") as file:
                async for piece in reply.content.iter_any():
                    file.write(piece)
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())

    async def upload() -> None:
        with _opened(folder / "sent", "rb") as file:
            async with session.post(url, data=file, headers={"Content-Length": str(size)}) as reply:
                await reply.json(content_type=None)

    return {"stream": stream, "download": download, "upload": upload}


def _with_slyapi(api: WebAPI, size: int, folder: Path) -> dict[str, Transfer]:
    async def stream() -> None:
        async with api.stream(f"/{size}") as reply:
            async for _ in reply:
                pass

    return {
        "stream": stream,
        "download": lambda: api.download(f"/{size}", folder / "downloaded"),
        "upload": lambda: api.post("/", data=folder / "sent"),
    }


async def measured(url: str, size: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds of wall time of each transfer, by hand and with SlyAPI."""
    least: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sent").write_bytes(bytes(size))
        api = WebAPI(Auth.none())
        api.base_url = url
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session, api:
            sides = (_by_hand(session, url, size, folder), _with_slyapi(api, size, folder))
            for _ in range(rounds):
                for what in sides[0]:
                    for side, transfers in enumerate(sides):
                        begun = time.perf_counter()
                        await transfers[what]()
                        took = least.setdefault(what, [1e9, 1e9])
                        took[side] = min(took[side], time.perf_counter() - begun)
    return {what: (by_hand, ours) for what, (by_hand, ours) in least.items()}


def main() -> None:
    size, rounds = int(sys.argv[1]), int(sys.argv[2])
    command = [sys.executable, "-m", "tests.bench.transfers"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        url = server.stdout.readline().strip()
        print(json.dumps(asyncio.run(measured(url, size, rounds))))
        server.stdin.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main()
    else:
        asyncio.run(_serve())
