"""Users in JSON files: one file for each in a folder, or the one file that `grant` wrote.

The rule: a user's file is read, replaced and locked where all links lead; nothing else in its folder is touched.
"""

import asyncio
import os
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import unquote

from ..errors import ConfigError, CredentialsError, CredentialsNotFoundError, SaveError, clean_traceback
from ..json_file import StrPath, display_path, read_json_file, write_json_file
from ..web.masking import SecretJson
from .contract import StoredUser, TokenStore, lasting_path, missing, real_path
from .file_lock import file_lock

_PLAIN = re.compile(r"[a-z0-9_@+-][a-z0-9_@+.-]*")
_LONGEST = 230  # file systems take 255 bytes, and a temporary name is longer than the name
_TEMPORARY = r"\.[0-9a-f]{12}\.tmp"  # what `write_json_file` writes first; a process killed amid it leaves it
_LONGEST_WRITE = 60.0  # seconds after which it is taken for such a one


class FileStore(TokenStore):
    """One JSON file for each user in `folder`, which is made, for its owner alone, by the first save.

    The files are those of `OAuth2(app, "user.json")`. Names with other characters than lower-case
    letters, digits and `_@+.-` are percent-encoded. Raises `ConfigError` for a name of over 230 bytes.
    """

    __module__ = "SlyAPI.stores"

    _files = r".+\.json"  # the names of files in the folder that are ours alone; empty: just the one file

    def __init__(self, folder: StrPath) -> None:
        self.folder = lasting_path(folder)
        self._swept = False

    def __repr__(self) -> str:
        return f"FileStore({display_path(self.folder)!r})"

    def path(self, name: str) -> str:
        """The file of one user."""
        return os.path.join(self.folder, _file_name(name))

    @clean_traceback
    async def load(self, name: str) -> dict[str, Any]:
        """The value in the user's file. Raises `CredentialsError` if it does not hold a JSON object."""
        path = self.path(name)
        try:
            value = read_json_file(path)
        except CredentialsNotFoundError:
            raise missing(self, name) from None
        if not isinstance(value, dict):
            raise CredentialsError(f"{display_path(path)} does not hold a user's tokens: it is not a JSON object.")
        return SecretJson(value)

    @clean_traceback
    async def save(self, name: str, value: dict[str, Any]) -> None:
        """Replaces the user's file, off the event loop because fsync waits for the disk."""
        await asyncio.to_thread(self._save, self.path(name), value)

    def _save(self, path: str, value: dict[str, Any]) -> None:
        try:
            _make_folder(self.folder)
        except OSError as error:
            raise SaveError(f"The folder {display_path(self.folder)} cannot be made ({error.strerror}).") from None
        write_json_file(path, value)
        if not self._swept:
            self._swept = True
            _take_away_what_the_killed_left(real_path(path), self._files)

    async def delete(self, name: str) -> None:
        """Takes the user's file away, and a link that leads to it."""
        path = self.path(name)
        try:
            for file in (real_path(path), path):
                with suppress(FileNotFoundError):
                    os.unlink(file)
        except OSError as error:
            raise SaveError(f"{display_path(path)} could not be deleted ({error.strerror}).") from None

    async def names(self) -> list[str]:
        """The names of all users that have a file in the folder."""
        try:
            found = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CredentialsError(f"{display_path(self.folder)} cannot be read ({error.strerror}).") from None
        encoded = [file.removesuffix(".json") for file in found if file.endswith(".json")]
        names = [(unquote(part, errors="surrogatepass"), part) for part in encoded]
        return [name for name, part in names if name and _encoded(name) == part]

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[None, None]:
        """One user's lock: on the user's file itself, so that none is left behind."""
        async with file_lock(self.path(name)):
            yield


class _OneFile(FileStore):
    """The store whose every name is the one file."""

    _files = ""

    def __init__(self, path: StrPath) -> None:
        self._path = lasting_path(path)
        super().__init__(os.path.dirname(self._path))

    def __repr__(self) -> str:
        return f"the folder {display_path(self.folder)!r}"

    def path(self, name: str) -> str:
        return self._path


def user_file(path: StrPath) -> StoredUser:
    """The user in one file: what `OAuth2(app, "user.json")` keeps current."""
    return StoredUser(_OneFile(path), os.path.basename(os.fspath(path)))


def _make_folder(folder: str) -> None:
    """Makes what is missing of the path, each part for its owner alone (`os.makedirs` does so with the last)."""
    if folder and not os.path.isdir(folder):
        _make_folder(os.path.dirname(folder))
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)


def _take_away_what_the_killed_left(path: str, files: str) -> None:
    """Removes old temporary files beside the one just written: they hold tokens, and nobody will finish them."""
    temporary = re.compile(rf"\.({files or re.escape(os.path.basename(path))}){_TEMPORARY}")
    with suppress(OSError):
        old = os.stat(path).st_mtime - _LONGEST_WRITE
        with os.scandir(os.path.dirname(path)) as files_there:
            for file in files_there:
                if temporary.fullmatch(file.name) and file.stat(follow_symlinks=False).st_mtime < old:
                    os.unlink(file)


def _encoded(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    # upper case too, for file systems that fold it; a leading dot would hide the file or leave the folder
    return "".join(
        char if re.fullmatch(r"[a-z0-9_@+-]", char) or (char == "." and place) else _percent(char)
        for place, char in enumerate(name)
    )


def _file_name(name: str) -> str:
    encoded = _encoded(name)
    if not name or len(encoded) > _LONGEST:
        raise ConfigError("A user's name is empty or too long for a file's name.", next_step="Use a short id as name.")
    return encoded + ".json"


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
