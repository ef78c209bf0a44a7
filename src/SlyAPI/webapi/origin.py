"""Where requests may go: the origin and the path of a base URL, and which hosts are public. Opens no connection.

The rule: a credential goes to the base URL's origin and nowhere else.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ..errors import ConfigError, OriginError, printable
from ..web.urls import bare_url

if TYPE_CHECKING:
    from yarl import URL

_LOCAL_NAMES = ("localhost", "local", "internal", "home.arpa")
"""Domains of a machine or a private network (RFC 6761 §6.3, RFC 6762 §3, RFC 8375)."""
_MOST_ENCODINGS = 5


class Origin:
    """The origin that credentials may go to: scheme, host and port of a base URL (RFC 6454 §4)."""

    __slots__ = ("_has_path", "_origin", "base_url", "prefix")

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._origin = _origin(base_url)
        self._has_path = self._origin is not None and parsed(base_url).path != "/" and "?" not in base_url
        self.prefix = f"{self._origin}/" if self._origin else ""

    def admits(self, url: str) -> bool:
        """Whether a credential may go to `url`; compares the text first, which is faster than parsing."""
        if self.prefix and url.startswith(self.prefix):
            return True
        return self._origin is not None and _origin(url) == self._origin

    def refusal(self, url: str) -> OriginError:
        """The error for a URL that is not admitted."""
        return OriginError(
            f"{printable(bare_url(url), 200)} is not at the origin of base_url "
            f"({printable(bare_url(self.base_url), 200) or 'which is not set'}), so nothing was sent there.",
            next_step="Set base_url to the API's address, or use another WebAPI for the other server.",
        )

    def check_path(self, url: str) -> None:
        """Raises `ConfigError` for a URL made of `base_url` and a path whose `..` lead out of the base URL's path.

        However the `..` is encoded: a proxy or a server may decode it (RFC 3986 §5.2.4).
        """
        if not self._has_path or not url.startswith(self.base_url):
            return
        path = re.split("[?#]", url[len(self.base_url) :])[0]
        for _ in range(_MOST_ENCODINGS):
            path = unquote(path)
        first, *segments = path.replace("\\", "/").split("/")
        if self.base_url.endswith("/"):
            segments.insert(0, first)  # else it belongs to the base URL's last segment
        depth = 0
        for segment in segments:
            name = segment.partition(";")[0]  # RFC 3986 §3.3: some servers remove parameters first
            depth += -1 if name == ".." else name not in ("", ".")
            if depth < 0:
                raise ConfigError(
                    f"{printable(bare_url(url), 200)} leaves the path of base_url by '..', so nothing was sent.",
                    next_step="Check the values that the path is made of.",
                )


@lru_cache(maxsize=1024)
def origin_of(base_url: str) -> Origin:
    """The origin of a base URL; cached, because many clients share one."""
    return Origin(base_url)


def parsed(url: str) -> "URL":
    """The URL as aiohttp reads it. Raises `ValueError`."""
    from yarl import URL  # aiohttp has imported it

    return URL(url)


def _origin(url: str) -> "URL | None":
    try:
        return parsed(url).origin() if url and "\\" not in url else None
    except ValueError:
        return None


def is_public(host: str | None) -> bool:
    """Whether the host, by its name alone, is on the public network: not loopback, private or link-local."""
    from ipaddress import ip_address  # aiohttp has imported it

    host = (host or "").rstrip(".").lower()
    try:
        return ip_address(host).is_global
    except ValueError:
        pass
    # a last label that begins with a digit is an IPv4 address in another spelling, such as 127.1 or 0x7f000001
    last = host.rpartition(".")[2]
    return last != host and not last[:1].isdigit() and not f".{host}".endswith(tuple(f".{n}" for n in _LOCAL_NAMES))
