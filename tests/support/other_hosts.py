"""A web of our own: https hosts with any names, which one session alone finds.

The rule: what the session asks for is what a real host with that name would be asked for, its certificate included.
"""
from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.support.certificates import make_certificate
from tests.support.serving import Handler, all_by, served


class _Names(AbstractResolver):
    """Finds `hosts` at one port of this machine, and the addresses of this machine as ever."""

    def __init__(self, hosts: Sequence[str], port: int) -> None:
        self._hosts, self._port = hosts, port

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        if host not in (*self._hosts, "localhost"):
            raise OSError(socket.EAI_NONAME, "Name or service not known")
        at = self._port if host in self._hosts else port
        return [ResolveResult(hostname=host, host="127.0.0.1", port=at, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def session_with_hosts(
    folder: Path, hosts: Sequence[str], handler: Handler
) -> AsyncGenerator[aiohttp.ClientSession, None]:
    """A session for which `handler` answers at https://HOST; `request.host` says for which host."""
    make_certificate(folder, "hosts", hosts=hosts)
    here = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    here.load_cert_chain(folder / "hosts.pem")
    async with served(all_by(handler), ssl_context=here) as origin:
        names = _Names(hosts, int(origin.rpartition(":")[2]))
        there = ssl.create_default_context(cafile=str(folder / "hosts.crt"))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=names, ssl=there)) as session:
            yield session
