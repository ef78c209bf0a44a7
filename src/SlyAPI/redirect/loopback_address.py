"""Where a loopback redirect URI says to listen, and the listening sockets for it.

The rule: loopback interfaces only, unless the caller names another address; one port, which is nobody else's.
"""
from __future__ import annotations

import errno
import ipaddress
import re
import socket
import struct
import sys
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from ..errors import ConfigError, ListenError

_URI = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_PORT_0 = re.compile(r"(?<=:)0+(?=[/?]|$)")
_NO_SUCH_FAMILY = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}
_TRIES = 20


@dataclass(frozen=True)
class Address:
    """What a redirect URI says: `host` is `localhost` or an address without brackets, `path` at least `/`."""

    redirect_uri: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, redirect_uri: str) -> Address:
        """Read an http redirect URI on a loopback host (RFC 8252 §7.3); any other is a `ConfigError`."""
        if not _URI.fullmatch(redirect_uri):
            raise _unusable(redirect_uri, "it has characters that no URI may have")
        try:
            parts = urlsplit(redirect_uri)
            port = parts.port
        except ValueError as error:
            raise _unusable(redirect_uri, str(error)) from None
        if parts.scheme != "http":
            raise _unusable(redirect_uri, "only http:// can be listened for here")
        if "#" in redirect_uri or "@" in parts.netloc:  # RFC 6749 §3.1.2
            raise _unusable(redirect_uri, "it may not have a fragment or a user name")
        host = _loopback_host(parts.hostname or "")
        if host is None:
            raise _unusable(redirect_uri, "its host is not localhost, 127.0.0.1 or [::1]")
        return cls(redirect_uri, host, 80 if port is None else port, parts.path or "/")

    def with_port(self, port: int) -> Address:
        """The same with the real port in the place of port 0; nothing else of the URI changes."""
        return replace(self, redirect_uri=_PORT_0.sub(str(port), self.redirect_uri, count=1), port=port)

    @property
    def hosts(self) -> frozenset[str]:
        """The Host headers of a browser that follows this URI, in lower case (RFC 9110 §7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return frozenset({f"{host}:{self.port}"} | ({host} if self.port == 80 else set()))


def _loopback_host(host: str) -> str | None:
    """`host` as a browser writes it, if it is this machine; no short spelling (127.1) is taken."""
    if host == "localhost":
        return host
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    return str(ip) if ip.is_loopback and (ip.version == 4 or str(ip) == "::1") else None


def _unusable(redirect_uri: str, why: str) -> ConfigError:
    return ConfigError(
        f"The redirect URI {redirect_uri[:200]!r} cannot be listened for: {why}.",
        next_step="Use one such as http://localhost:8080 that is registered with the provider.",
    )


def listening_sockets(
    address: Address, port: int | None = None, bind: str | None = None
) -> list[socket.socket]:
    """Sockets that listen for `address`, all on one port; `port` (0: any) and `bind` say to listen elsewhere.

    Raises `ListenError` where the port is taken or not allowed, or the address is not this machine's.
    """
    port = address.port if port is None else port
    if not 0 <= port <= 65535:
        raise ConfigError(f"There is no port {port}.", next_step="Choose one from 1 to 65535.")
    hosts = _addresses(address, bind)
    for attempt in range(_TRIES):
        try:
            return _listen_on_all(hosts, port)
        except OSError as error:
            # A port that is free on 127.0.0.1 may be taken on ::1: with port 0, another one will do.
            if port == 0 and error.errno == errno.EADDRINUSE and attempt < _TRIES - 1:
                continue
            raise _cannot_listen(hosts, port, error) from error
    raise AssertionError("unreachable")


def _addresses(address: Address, bind: str | None) -> list[str]:
    if bind is None:
        return ["127.0.0.1", "::1"] if address.host == "localhost" else [address.host]
    try:
        return [str(ipaddress.ip_address(bind.strip("[]")))]
    except ValueError:
        raise ConfigError(
            f"{bind!r} is not an IP address to listen on.", next_step="Give one such as --bind 0.0.0.0."
        ) from None


def _listen_on_all(hosts: list[str], port: int) -> list[socket.socket]:
    """Listen on each address; one whose family this machine lacks is left out if another one is there."""
    sockets: list[socket.socket] = []
    try:
        for host in hosts:
            try:
                sockets.append(_listen(host, port))
            except OSError as error:
                if error.errno not in _NO_SUCH_FAMILY or (host == hosts[-1] and not sockets):
                    raise
            else:
                port = sockets[0].getsockname()[1]
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _listen(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            # There SO_REUSEADDR would let another program take over a port that is listened on.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            # Here it only says that connections of an earlier run that wait for their end are no obstacle.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it: one that is dropped without an answer leaves no TIME_WAIT, which
        # would hold the port for a minute.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger(True))
        if ":" in host:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
        sock.bind((host, port))
        sock.listen(512)  # at once: until then two sockets may be bound to one port
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def linger(reset: bool) -> bytes:
    """The value of SO_LINGER: whether closing drops the connection at once."""
    return struct.pack("hh" if sys.platform == "win32" else "ii", reset, 0)


def _cannot_listen(hosts: list[str], port: int, error: OSError) -> ListenError:
    where = f"port {port} of {' and '.join(hosts)}"
    if error.errno == errno.EADDRINUSE:
        return ListenError(
            f"Cannot listen on {where}: another program uses it.",
            next_step="Close that program, choose another port (--port N), or go without one (--paste).",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return ListenError(
            f"Cannot listen on {where}: this user may not.",
            next_step="Choose a port above 1023 (--port N), or go without one (--paste).",
        )
    return ListenError(
        f"Cannot listen on {where}: {error.strerror or error}.",
        next_step="Choose an address of this machine (--bind ADDR), or go without one (--paste).",
    )
