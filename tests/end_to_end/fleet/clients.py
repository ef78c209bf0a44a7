"""The client processes of a fleet, forked from this one so that a new one is there at once.

    python clients.py KIND PLACE USERS APP_FILE API_URL

KIND says what PLACE is: `file`, `folder` or `sqlite`, `redis` or `postgres` for a URL. USERS is how many there
are, of whom each call takes one at random. A line `start` forks a client of four tasks that call
the API steadily, until SIGTERM. What they say on stdout is one line each: `pid N`, `ok SECONDS` for a call,
`failed WHY`, `end N`; `died N CODE` is what this process says of one that is gone. All end when stdin does.
"""
from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from contextlib import suppress

from SlyAPI import OAuth2, OAuth2App, WebAPI
from SlyAPI.stores import FileStore, PostgresStore, RedisStore, SqliteStore, StoredUser, TokenStore, user_file

TASKS = 4
PACE = 0.05
"""Seconds between two calls of a task."""


LEASE = 5.0
"""Seconds until the lock of a process that died is free, in stores on a server."""


def entries(kind: str, place: str, users: int) -> list[StoredUser]:
    """The users that all share."""
    if kind == "file":
        return [user_file(place)]
    shared = store(kind, place)
    return [shared.user(f"user{number}") for number in range(users)]


def store(kind: str, place: str) -> TokenStore:
    if kind == "redis":
        return RedisStore(place, lease=LEASE)
    if kind == "postgres":
        return PostgresStore(place, lease=LEASE)
    return FileStore(place) if kind == "folder" else SqliteStore(place)


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # in one piece, as long as it is shorter than PIPE_BUF


async def call(apis: list[WebAPI], task: int, stop: asyncio.Event) -> None:
    while not stop.is_set():
        began = time.monotonic()
        try:
            await random.choice(apis).get_json("/me", {"task": f"{os.getpid()}-{task}"})
            say(f"ok {time.monotonic() - began:.3f}")
        except Exception as error:
            say(f"failed {type(error).__name__}: {' '.join(str(error).split())[:300]}")
        await asyncio.sleep(PACE)


async def client(kind: str, place: str, users: str, app_file: str, url: str) -> None:
    random.seed()  # a forked child would choose as its siblings do
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    say(f"pid {os.getpid()}")
    app = OAuth2App.from_json_file(app_file)
    # the one file as programs name it: by its path
    signers = [OAuth2(app, place if kind == "file" else entry) for entry in entries(kind, place, int(users))]
    apis = [WebAPI(signer) for signer in signers]
    for api in apis:
        api.base_url = url
    await asyncio.gather(*(call(apis, task, stop) for task in range(TASKS)))
    say(f"end {os.getpid()}")


def tell_of_the_dead(*_: object) -> None:
    with suppress(ChildProcessError):
        while (dead := os.waitpid(-1, os.WNOHANG))[0]:
            say(f"died {dead[0]} {os.waitstatus_to_exitcode(dead[1])}")


def main(*arguments: str) -> None:
    entries(arguments[0], arguments[1], 1)  # what its package takes to import is taken once
    if OAuth2App.from_json_file(arguments[3]).dpop:
        import joserfc.jwk  # noqa: F401
    signal.signal(signal.SIGCHLD, tell_of_the_dead)
    started: list[int] = []
    for _ in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(0)
            asyncio.run(client(*arguments))
            os._exit(0)
        started.append(pid)
    for pid in started:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
