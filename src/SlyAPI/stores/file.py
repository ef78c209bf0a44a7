"""Users in JSON files: one file each in a folder, or the one file that `grant` wrote."""

import asyncio
import os
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

from ..errors import ConfigError, CredentialsError, CredentialsNotFoundError, SaveError
from ..json_file import StrPath, read_json_file, shown, write_json_file
from .contract import StoredUser, TokenStore, missing
from .file_lock import file_lock

_PLAIN = re.compile(r"[a-z0-9_@+-][a-z0-9_@+.-]*")
_LONGEST = 240  # file systems take 255 bytes, and a temporary name is longer than the name


class FileStore(TokenStore):
    """One JSON file for each user in `folder`, which is made, for its owner alone, by the first save.

    The files are those of `OAuth2(app, "user.json")`. Names with other characters than lower-case
    letters, digits and `_@+.-` are percent-encoded. Raises `ConfigError` for a name of over 240 bytes.
    """

    def __init__(self, folder: StrPath) -> None:
        self.folder = os.fspath(folder)

    def __repr__(self) -> str:
        return f"FileStore({shown(self.folder)!r})"

    def path(self, name: str) -> str:
        """The file of one user."""
        return os.path.join(self.folder, _file_name(name))

    async def load(self, name: str) -> dict[str, Any]:
        """The value in the user's file. Raises `CredentialsError` for a file that is none."""
        path = self.path(name)
        try:
            value = read_json_file(path)
        except CredentialsNotFoundError:
            value = None
        if value is None:
            raise missing(self, name)
        if not isinstance(value, dict):
            raise CredentialsError(f"{shown(path)} does not hold a user's tokens: it is not a JSON object.")
        return value

    async def save(self, name: str, value: dict[str, Any]) -> None:
        """Replaces the user's file, off the event loop because fsync waits for the disk."""
        await asyncio.to_thread(self._save, self.path(name), value)

    def _save(self, path: str, value: dict[str, Any]) -> None:
        if not os.path.isdir(self.folder):
            try:
                os.makedirs(self.folder, 0o700, exist_ok=True)
            except OSError as error:
                raise SaveError(f"The folder {shown(self.folder)} cannot be made ({error.strerror}).") from None
        write_json_file(path, value)

    async def delete(self, name: str) -> None:
        """Takes the user's file away."""
        path = self.path(name)
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise SaveError(f"{shown(path)} could not be deleted ({error.strerror}).") from None

    async def names(self) -> list[str]:
        """The names of all users that have a file in the folder."""
        try:
            found = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CredentialsError(f"{shown(self.folder)} cannot be read ({error.strerror}).") from None
        names = [unquote(file.removesuffix(".json")) for file in found if file.endswith(".json")]
        return [name for name in names if _file_name(name) in found]

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[None, None]:
        """One user's lock: on the user's file itself, so that none is left behind."""
        async with file_lock(self.path(name)):
            yield


class _OneFile(FileStore):
    """The store whose every name is the one file."""

    def __init__(self, path: StrPath) -> None:
        self._path = os.fspath(path)
        super().__init__(os.path.dirname(self._path) or ".")

    def __repr__(self) -> str:
        return f"the folder {shown(self.folder)!r}"

    def path(self, name: str) -> str:
        return self._path


def user_file(path: StrPath) -> StoredUser:
    """The user in one file: what `OAuth2(app, "user.json")` keeps current."""
    return StoredUser(_OneFile(path), os.path.basename(os.fspath(path)))


def _file_name(name: str) -> str:
    if _PLAIN.fullmatch(name):
        encoded = name
    else:
        # upper case too, for file systems that fold it; a leading dot would hide the file or leave the folder
        encoded = "".join(
            char if re.fullmatch(r"[a-z0-9_@+-]", char) or (char == "." and place) else _percent(char)
            for place, char in enumerate(name)
        )
    if not name or len(encoded) > _LONGEST:
        raise ConfigError("A user's name is empty or too long for a file's name.", next_step="Use a short id as name.")
    return encoded + ".json"


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
