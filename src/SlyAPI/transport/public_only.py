"""Connections to public addresses alone, for addresses that a stranger's document names (SSRF, CWE-918; RFC 9728 §7.7).

The rule: judged is the address that is connected to, after DNS, so no name and no later change of DNS leads inside.
"""

import socket
from typing import Any

from ..web.redirects import is_private_host


class NotPublicError(OSError):
    """The address is this machine's, or in a private or link-local network, or NAT64 maps it there."""


def public_socket(addr_info: Any) -> socket.socket:
    """A socket factory for `aiohttp.TCPConnector`. Raises `NotPublicError` before anything is connected."""
    family, kind, protocol, _, address = addr_info
    if is_private_host(str(address[0])):
        raise NotPublicError("the address is not public")
    return socket.socket(family, kind, protocol)
