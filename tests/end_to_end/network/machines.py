"""Machines: network namespaces with an address each, or ports of loopback where namespaces may not be made.

The rule: whether they may is found out by trying, and what was made is gone with the block.

A socket belongs to the namespace in which it was made, whoever uses it: so a test can listen on the loopback
interface of a machine, and what runs there need not know where the rest is.
"""
from __future__ import annotations

import ctypes
import itertools
import os
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.support.servers import free_port

_numbers = itertools.count()


@dataclass(frozen=True)
class Machine:
    """Programs on it are started behind `prefix`, and listen on `host:port`."""

    host: str
    port: int
    namespace: str = ""

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.namespace) if self.namespace else ()

    def listens(self, port: int) -> socket.socket:
        """A socket that listens on loopback of this machine; port 0 is any free one."""
        with ThreadPoolExecutor(1) as another_thread:  # which alone is in the namespace, and ends
            return another_thread.submit(self._listen, port).result()

    def _listen(self, port: int) -> socket.socket:
        if self.namespace:
            with open(f"/run/netns/{self.namespace}", "rb") as there:
                if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), 0):
                    raise OSError(ctypes.get_errno(), "setns")
        return socket.create_server(("127.0.0.1", port), backlog=1000)


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """So many machines, which we can reach; all on this one where there are no namespaces."""
    with ExitStack() as stack:
        try:
            made = [stack.enter_context(_namespace()) for _ in range(count)]
        except (OSError, subprocess.CalledProcessError):  # no root, no ip, or a container that forbids it
            stack.close()
            made = [Machine("127.0.0.1", free_port()) for _ in range(count)]
        yield made


@contextmanager
def _namespace() -> Iterator[Machine]:
    number = next(_numbers)
    name = f"sly{os.getpid()}n{number}"
    net = f"10.{200 + os.getpid() % 50}.{number % 250}"
    ours, theirs = f"sly{os.getpid() % 100_000}a{number}", f"sly{os.getpid() % 100_000}b{number}"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        _ip("addr", "add", f"{net}.1/24", "dev", ours)
        _ip("link", "set", ours, "up")
        for words in (
            ("addr", "add", f"{net}.2/24", "dev", theirs),
            ("link", "set", theirs, "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", name, *words)
        machine = Machine(f"{net}.2", 8000, name)
        subprocess.run([*machine.prefix, "true"], check=True, capture_output=True)
        machine.listens(0).close()
        yield machine
    finally:
        _ip("netns", "del", name, check=False)
        _ip("link", "del", ours, check=False)  # else it lives on until the kernel has tidied up


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True)
