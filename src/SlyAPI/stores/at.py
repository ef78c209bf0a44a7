"""The store that a URL names, and the words that name a user, for settings and command lines.

The rule: no message repeats the URL, which may hold a password.
"""

import os
import re
from collections.abc import Callable
from urllib.parse import quote, unquote, urlsplit

from ..errors import ConfigError, clean_traceback
from ..json_file.windows import WINDOWS
from .contract import StoredUser, TokenStore
from .encrypted import EncryptedStore
from .file import FileStore, file_of
from .keyring import KeyringStore
from .postgres import PostgresStore
from .redis import RedisStore
from .redis_url import SCHEMES
from .sqlite import SqliteStore

STORE_VARIABLE = "SLYAPI_STORE"
"""The environment variable for a store's URL: unlike `--store`, other users cannot read it in the list of processes."""
KEYS_VARIABLE = "SLYAPI_STORE_KEYS"
"""The environment variable with the keys of an encrypted store, separated by spaces; the first one encrypts."""
_DRIVE = re.compile(r"[A-Za-z]:")
_FORMS = "file:FOLDER, sqlite:PATH, keyring:SERVICE, redis://HOST, postgresql://HOST/NAME"
_SERVED: dict[str, Callable[[str], TokenStore]] = {
    **dict.fromkeys(SCHEMES, RedisStore),
    **dict.fromkeys(("postgresql", "postgres"), PostgresStore),
}


@clean_traceback
def store_at(url: str) -> TokenStore:
    """The store at `url`: `file:FOLDER`, `sqlite:PATH`, `keyring:SERVICE`, or a URL of Redis or PostgreSQL.

    Paths may be relative, or absolute after `//` as in `sqlite:///srv/users.db`, on Windows `sqlite:///C:/users.db`;
    `%20` is a space. Nothing is opened yet. Raises `ConfigError` for another URL, `MissingExtraError` if the package is
    not installed.

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


def store_of_environment() -> TokenStore | None:
    """The store that `SLYAPI_STORE` names, None where it is not set. Raises as `store_at`."""
    url = os.environ.get(STORE_VARIABLE, "")
    return encrypted_by_environment(store_at(url)) if url else None


def encrypted_by_environment(store: TokenStore) -> TokenStore:
    """The store, encrypted if `SLYAPI_STORE_KEYS` has keys."""
    keys = os.environ.get(KEYS_VARIABLE, "").split()
    return EncryptedStore(store, keys) if keys else store


def _rest(url: str, windows: bool = WINDOWS) -> str:
    """The path in the URL; "" if the URL names another machine, which only Windows has in a path."""
    after = url.partition(":")[2]
    if not after.startswith("//"):
        return unquote(after)
    try:
        parts = urlsplit(url.replace("\\", "/") if windows else url)
    except ValueError:
        return ""
    path = unquote(parts.path)
    if windows and parts.netloc not in ("", "localhost"):
        return f"//{parts.netloc}{path}" if not _DRIVE.fullmatch(parts.netloc) else parts.netloc + path
    if windows and _DRIVE.match(path, 1):
        return path[1:]
    return path if parts.netloc in ("", "localhost") else ""


_SAFE = "/\\:" if WINDOWS else "/"


def command_words(entry: StoredUser) -> list[str]:
    """`--user FILE`, or `--store URL --name NAME`, with the word URL for a server or a store of another class."""
    if file := file_of(entry.store):
        return ["--user", _from_here(file)]
    store = entry.store.store if isinstance(entry.store, EncryptedStore) else entry.store
    url = "URL"
    if isinstance(store, SqliteStore):
        url = f"sqlite:{quote(_from_here(store.path), safe=_SAFE)}"
    elif isinstance(store, FileStore):
        url = f"file:{quote(_from_here(store.folder), safe=_SAFE)}"
    elif isinstance(store, KeyringStore):
        url = f"keyring:{quote(store.service)}"
    return ["--store", url, "--name", entry.name]


def _from_here(path: str) -> str:
    """The path, relative if it is below the working directory."""
    try:
        here = os.getcwd()
    except OSError:  # it was deleted
        return path
    below = path.startswith(f"{here}{os.sep}")
    return path[len(here) + 1 :] if below else path
