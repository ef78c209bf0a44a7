"""Where requests may go: the origin and the path of a base URL. Opens no connection.

The rule: a credential goes to the base URL's origin and nowhere else.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from ..errors import ConfigError, OriginError, printable
from ..web.redirects import leaves_base_path
from ..web.urls import bare_url, parsed_url, whole_url

if TYPE_CHECKING:
    from yarl import URL


_LEFT_OUT = "[\\t\\r\\n\\ud800-\\udfff]"
_CHECK_VALUES = "Check the values that the path is made of."


class Origin:
    """The origin that credentials may go to: scheme, host and port of a base URL (RFC 6454 §4)."""

    __slots__ = ("_has_path", "_origin", "base_url", "prefix")

    def __init__(self, base_url: str) -> None:
        self.base_url: str = base_url
        self._origin = _origin(base_url)
        self._has_path = self._origin is not None and parsed_url(base_url).path != "/"
        self.prefix: str = f"{self._origin}/" if self._origin else ""

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
            next_step="Set base_url to the API's address, or make a client for the other: WebAPI(auth, base_url)",
        )

    def check_path(self, url: str) -> None:
        """Raises `ConfigError` for a URL whose `..` lead out of the base URL's path, however they are encoded.

        Also for one of which aiohttp leaves something out: it is another resource's, and may have new `..`.
        """
        if re.search(_LEFT_OUT, url):
            raise ConfigError(
                f"{printable(bare_url(url), 200)} contains a tab, a line end or an unpaired surrogate, "
                "so nothing was sent.",
                next_step=_CHECK_VALUES,
            )
        if self._has_path and leaves_base_path(self.base_url, url):
            raise ConfigError(
                f"{printable(bare_url(url), 200)} leaves the path of base_url by '..', so nothing was sent.",
                next_step=_CHECK_VALUES,
            )


_ABSOLUTE = re.compile(r"//|[A-Za-z][A-Za-z0-9+.-]*://")


def full_url(base: str, path: str) -> str:
    """`path` below `base`, or an absolute URL below it. Raises `OriginError` elsewhere, `ConfigError` for no text."""
    if not issubclass(type(path), str):
        problem = f"the path is a {type(path).__name__}, not text."
        raise ConfigError(problem, next_step='Give a text, such as f"/notes/{key}".')
    if _ABSOLUTE.match(path):
        if not path.startswith("//") and (not base or _is_below(base, path)):
            return path
        raise origin_of(base).refusal(path)
    if not base or "?" in base:
        return base + path
    if base.endswith("/"):
        return base + path.removeprefix("/")
    return f"{base}/{path}" if path[:1].isalnum() or path[:1] in ("_", "@", "~") else base + path


def check_whole(method: str, url: str, base: str) -> None:
    """Raises `ConfigError` for a URL without a host, or with a fragment, which is never sent."""
    if "://" not in url:
        lacks = "the base_url of this WebAPI has no scheme" if base else "this WebAPI has no base_url"
        raise ConfigError(
            f"{method} {printable(bare_url(url), 200)}: {lacks}, so the path makes no URL.",
            next_step=f'Write WebAPI(auth, "https://{printable(bare_url(base), 200) or "api.example"}")',
        )
    if "#" in url:
        raise ConfigError(
            f"{method} {printable(bare_url(url), 200)}: the path contains '#', and what follows it is never sent.",
            next_step='Quote the values in a path: urllib.parse.quote(value, safe="")',
        )


def _is_below(base: str, url: str) -> bool:
    if not origin_of(base).admits(url):
        return False
    above, path = parsed_url(base).path.rstrip("/"), parsed_url(url).path
    return path == above or path.startswith(f"{above}/")


@lru_cache(maxsize=1024)
def origin_of(base_url: str) -> Origin:
    """The origin of a base URL; cached, because many clients share one."""
    return Origin(base_url)


def _origin(url: str) -> "URL | None":
    read = whole_url(url)
    return None if read is None else read.origin()
