"""The address of a loopback redirect URI, and the listening sockets for it.

The rule: loopback interfaces only, unless the caller names another address; one port, shared with no other program.
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

from ..errors import ConfigError, ListenError, printable
from ..web.urls import is_loopback_uri

_URI = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_WITH_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?!\d)")  # not `localhost:8080`
_PORT_0 = re.compile(r"(?<=:)0+(?=[/?]|$)")
_NO_SUCH_FAMILY = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}
_TRIES = 20
_LOOPBACK_V4 = ipaddress.IPv4Network("127.0.0.0/8")


@dataclass(frozen=True)
class Address:
    """The parts of a redirect URI: `host` is `localhost` or an address without brackets, `path` at least `/`."""

    redirect_uri: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, redirect_uri: str) -> Address:
        """Reads an http redirect URI on a loopback host (RFC 8252 §7.3). Raises `ConfigError` for any other."""
        if not _URI.fullmatch(redirect_uri):
            raise _unusable(redirect_uri, "it contains characters that are not allowed in a URI")
        try:
            parts = urlsplit(redirect_uri)
            port = parts.port
        except ValueError as error:
            raise _unusable(redirect_uri, str(error)) from None
        if parts.scheme != "http":
            raise _unusable(redirect_uri, "its scheme is not http")
        if "#" in redirect_uri or "@" in parts.netloc:  # RFC 6749 §3.1.2
            raise _unusable(redirect_uri, "it has a fragment or a user name")
        host = _loopback_host(parts.hostname or "")
        if host is None:
            raise _unusable(redirect_uri, "its host is not localhost, 127.0.0.1 or [::1]")
        return cls(redirect_uri, host, 80 if port is None else port, parts.path or "/")

    def with_port(self, port: int) -> Address:
        """The same URI with the real port instead of port 0; nothing else changes."""
        return replace(self, redirect_uri=_PORT_0.sub(str(port), self.redirect_uri, count=1), port=port)

    @property
    def hosts(self) -> frozenset[str]:
        """The Host headers that a browser sends for this URI, in lower case (RFC 9110 §7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return frozenset([f"{host}:{self.port}", host] if self.port == 80 else [f"{host}:{self.port}"])


def check_redirect_uri(uri: str) -> None:
    """Raises `ConfigError` unless it is an absolute URI without fragment (RFC 6749 §3.1.2), and usable on loopback."""
    if not _WITH_SCHEME.match(uri) or not _URI.fullmatch(uri) or "#" in uri:
        raise ConfigError(
            f"The redirect URI {printable(uri, 200)!r} is not an absolute URI.",
            next_step="Give the registered one, such as http://localhost:8080.",
        )
    if is_loopback_uri(uri):
        Address.of(uri)


def _loopback_host(host: str) -> str | None:
    """`host` as a browser writes it, if it is a loopback host; short spellings (127.1) are not accepted."""
    if host == "localhost":
        return host
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    return str(ip) if ip in _LOOPBACK_V4 or str(ip) == "::1" else None


def _unusable(redirect_uri: str, why: str) -> ConfigError:
    return ConfigError(
        f"Cannot listen for the redirect URI {redirect_uri[:200]!r}: {why}.",
        next_step="Use a loopback URI that is registered with the provider, such as http://localhost:8080.",
    )


def listening_sockets(
    address: Address, port: int | None = None, bind: str | None = None
) -> list[socket.socket]:
    """Sockets for `address`, all on one port; `port` (0: any) and `bind` override where. Raises `ListenError`."""
    port = address.port if port is None else port
    if not 0 <= port <= 65535:
        raise ConfigError(f"{port} is not a port.", next_step="Choose a port from 1 to 65535.")
    hosts = _addresses(address, bind)
    for left in reversed(range(_TRIES)):
        try:
            return _listen_on_all(hosts, port)
        except OSError as error:
            # A port that is free on 127.0.0.1 may be in use on ::1; for port 0 try another one.
            if left and not port and error.errno == errno.EADDRINUSE:
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
            f"{bind!r} is not an IP address.", next_step="Give an address such as --bind 0.0.0.0."
        ) from None


def _listen_on_all(hosts: list[str], port: int) -> list[socket.socket]:
    """Listens on each address; skips an address family that this machine lacks, if another one works."""
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for host in hosts:
            try:
                sock = _listen(host, port)
            except OSError as error:
                if error.errno not in _NO_SUCH_FAMILY:
                    raise
                missing = error
            else:
                sockets.append(sock)
                port = sock.getsockname()[1]
        if missing is not None and not sockets:
            raise missing
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _listen(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, reuse_option(sys.platform), 1)
        # Accepted connections inherit it: one that is dropped without an answer leaves no TIME_WAIT, which would
        # block the port for a minute.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger(True))
        if ":" in host:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, False)  # `::` is every address, of IPv4 too
        sock.bind((host, port))
        sock.listen(512)  # at once: until then another socket may bind the same port
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def reuse_option(platform: str) -> int:
    """The option by which an earlier run does not block the port, and no other program takes it over.

    On Windows that is SO_EXCLUSIVEADDRUSE, since SO_REUSEADDR lets another program bind a port in use. Elsewhere
    SO_REUSEADDR only permits binding while connections of an earlier run are in TIME_WAIT.
    """
    return ~4 if platform == "win32" else socket.SO_REUSEADDR  # ws2def.h; `socket` has the name on Windows alone


def linger(reset: bool, platform: str = sys.platform) -> bytes:
    """The value of SO_LINGER: whether closing resets the connection."""
    return struct.pack("hh" if platform == "win32" else "ii", reset, 0)


def _cannot_listen(hosts: list[str], port: int, error: OSError) -> ListenError:
    where = f"port {port} of {' and '.join(hosts)}"
    if error.errno == errno.EADDRINUSE:
        why, step = "another program uses it", "Close that program, choose another port (--port N)"
    elif error.errno in (errno.EACCES, errno.EPERM):
        why, step = "permission denied", "Choose a port above 1023 (--port N)"
    else:
        why, step = error.strerror or str(error), "Choose an address of this machine (--bind ADDR)"
    return ListenError(f"Cannot listen on {where}: {why}.", next_step=f"{step}, or paste the address (--paste).")
