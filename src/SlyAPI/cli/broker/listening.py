"""Where the broker listens: a port of the loopback interface, or a Unix socket of this user alone.

The rule: nothing of another machine or another user reaches it.
"""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ...errors import ConfigError, ListenError
from ...json_file import display_path
from ...redirect.loopback_address import Address, linger, listening_sockets


@dataclass(frozen=True, slots=True)
class Listening:
    """The open sockets. `hosts`: the accepted values of Host, None on a Unix socket, where any will do."""

    sockets: list[socket.socket]
    url: str
    hosts: frozenset[str] | None = None
    path: str = ""


@contextmanager
def listening(port: int = 0, path: str | None = None) -> Iterator[Listening]:
    """Listens on a port (0: any free one), or at a path. Raises `ListenError`, `ConfigError`."""
    opened = _on_path(path) if path else _on_port(port)
    made = os.stat(path) if path else None
    try:
        yield opened
    finally:
        for one in opened.sockets:
            one.close()
        with suppress(OSError):
            if path and made and os.path.samestat(made, os.lstat(path)):  # not one that replaced ours
                os.unlink(path)


def _on_port(port: int) -> Listening:
    sockets = listening_sockets(Address.of("http://localhost:0"), port)
    for one in sockets:  # a reset would drop the end of a reply
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger(False))
    host, port = sockets[0].getsockname()[:2]
    names = ["127.0.0.1", "[::1]", "localhost"]
    hosts = frozenset([*(f"{name}:{port}" for name in names), *(names if port == 80 else ())])
    return Listening(sockets, f"http://{f'[{host}]' if ':' in host else host}:{port}", hosts)


def _on_path(path: str) -> Listening:
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigError("Python has no Unix sockets on this system.", next_step="Give --port N.")
    _remove_left_over(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # 0600 from the beginning
    try:
        sock.bind(path)
        sock.listen(512)
        sock.setblocking(False)
    except (OSError, ValueError) as error:
        sock.close()
        raise _cannot_listen(path, getattr(error, "strerror", None) or str(error)) from None
    finally:
        os.umask(mask)
    return Listening([sock], "http://localhost", None, os.path.abspath(path))


def _remove_left_over(path: str) -> None:
    """Removes the socket of a broker that was killed. Raises `ListenError` where somebody listens."""
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return  # nothing there; or binding reports it
    if not stat.S_ISSOCK(mode):
        raise _cannot_listen(path, "there is a file already")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.settimeout(1)
        try:
            other.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError as error:
            raise _cannot_listen(path, error.strerror or "it does not answer") from None
        else:
            raise _cannot_listen(path, "another program uses it")


def _cannot_listen(path: str, why: str) -> ListenError:
    return ListenError(f"Cannot listen at {display_path(path)}: {why}.", next_step="Choose another --socket PATH.")
