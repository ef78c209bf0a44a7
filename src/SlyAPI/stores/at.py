"""The store that a URL names, for settings and command lines.

The rule: no message repeats the URL, which may hold a password.
"""

from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from ..errors import ConfigError, clean_traceback
from .contract import TokenStore
from .file import FileStore
from .keyring import KeyringStore
from .postgres import PostgresStore
from .redis import RedisStore
from .sqlite import SqliteStore

_FORMS = "file:FOLDER, sqlite:PATH, keyring:SERVICE, redis://HOST, postgresql://HOST/NAME"
_SERVED: dict[str, Callable[[str], TokenStore]] = {
    **dict.fromkeys(("redis", "rediss", "unix"), RedisStore),
    **dict.fromkeys(("postgresql", "postgres"), PostgresStore),
}


@clean_traceback
def store_at(url: str) -> TokenStore:
    """The store at `url`: `file:FOLDER`, `sqlite:PATH`, `keyring:SERVICE`, or a URL of Redis or PostgreSQL.

    Paths may be relative, or absolute after `//` as in `sqlite:///srv/users.db`; `%20` is a space. Nothing
    is opened yet. Raises `ConfigError` for another URL, `MissingExtraError` if the package is not installed.

    >>> store_at("file:users")  # doctest: +ELLIPSIS
    FileStore('...users')
    """
    scheme = url.partition(":")[0].lower() if isinstance(url, str) else ""
    if scheme in _SERVED:
        return _SERVED[scheme](url)
    rest = _rest(url) if scheme in ("file", "sqlite", "keyring") else ""
    if scheme == "keyring":
        return KeyringStore(rest) if rest else KeyringStore()
    if not rest:
        raise ConfigError("That is not the URL of a store.", next_step=f"Give one of: {_FORMS}")
    return FileStore(rest) if scheme == "file" else SqliteStore(rest)


def _rest(url: str) -> str:
    """The path in the URL; "" if the URL names another machine."""
    after = url.partition(":")[2]
    if not after.startswith("//"):
        return unquote(after)
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return unquote(parts.path) if parts.netloc in ("", "localhost") else ""
