"""Users in JSON files: one file for each in a folder, or the one file that `grant` wrote.

The rule: a user's file is read, replaced and locked where all links lead; nothing else in its folder is touched.
"""

import logging
import os
import re
from collections.abc import AsyncGenerator, Callable, Generator, Hashable
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ..errors import (
    ConfigError,
    CredentialsError,
    CredentialsNotFoundError,
    SaveError,
    UnavailableError,
    clean_traceback,
)
from ..json_file import StrPath, check_writable, display_path, read_json_file, unavailable, write_json_file, written_at
from ..json_file.owners import is_foreign
from ..json_file.windows import WINDOWS, is_device, patiently
from ..web.secret_values import SecretJson
from .contract import StoredUser, TokenStore, lasting_path, missing, real_path, refuse_user, superseded
from .file_lock import file_lock, folder_lock
from .in_thread import in_thread

if TYPE_CHECKING:
    from .token_ends import Page, Token

log: logging.Logger = logging.getLogger("SlyAPI")

_Stored = Callable[[], SecretJson | None]
"""Reads what a user's file holds."""

_PLAIN = re.compile(r"[a-z0-9_@+-][a-z0-9_@+.-]*")
_LONGEST = 230  # file systems take 255 bytes, and a temporary name is longer than the name
_TEMPORARY = r"\.[0-9a-f]{12}\.tmp"  # what `write_json_file` writes first; a killed process leaves it behind
_IN_MEMORY = (
    "If the provider never changes the refresh token, load the user and give OAuth2 the OAuth2User: "
    "new tokens then stay in memory."
)
_LONGEST_WRITE = 60.0  # seconds after which it counts as left behind


class FileStore(TokenStore):
    """One JSON file for each user in `folder`, which is made, for its owner alone, by the first save.

    The files are those of `OAuth2(app, "user.json")`. Names with other characters than lower-case
    letters, digits and `_@+.-` are percent-encoded. Raises `ConfigError` for a name of over 230 bytes.
    """

    __module__ = "SlyAPI.stores"

    _files = r".+\.json"  # the names of the users' files, as a pattern; empty: just the one file

    def __init__(self, folder: StrPath) -> None:
        self.folder: str = lasting_path(folder)
        self._swept = self._reported = False

    def __repr__(self) -> str:
        return f"FileStore({display_path(self.folder)!r})"

    def path(self, name: str) -> str:
        """The file of one user."""
        return os.path.join(self.folder, _file_name(name))

    def entry_key(self, name: str) -> Hashable:
        """The file of one user, where all links lead."""
        return "file", real_path(self.path(name))

    @clean_traceback
    async def load(self, name: str) -> dict[str, Any]:
        """The value in the user's file. Raises `CredentialsError` if it does not hold a JSON object."""
        value = await in_thread(self._read, name) if WINDOWS else self._read(name)  # where it may wait for a program
        if value is None:
            raise missing(self, name)
        self._report_owner(self.path(name))
        return value

    def _read(self, name: str) -> SecretJson | None:
        path = self.path(name)
        try:
            value = read_json_file(path)
        except CredentialsNotFoundError:
            return None
        if not isinstance(value, dict):
            raise CredentialsError(f"{display_path(path)} does not contain a user's tokens: it is not a JSON object.")
        found = SecretJson(value)
        if "access_token" in found:  # a token reply as it came: it counts from when the file was written
            found.written_at = written_at(path)
        return found

    @clean_traceback
    async def save(self, name: str, value: dict[str, Any]) -> None:
        """Replaces the user's file, off the event loop because fsync waits for the disk."""
        refuse_user(value)
        await in_thread(self._write, name, value, lambda _: True)

    @clean_traceback
    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        """Replaces the user's file if it still holds `old`, in one step. Raises `SupersededError`, `SaveError`."""

        def is_known(stored: _Stored) -> bool:
            with suppress(CredentialsError):  # it is something else
                return stored() in (old, new)
            return False

        await in_thread(self._write, name, new, is_known)

    def _has_folder(self) -> bool:
        return os.path.isdir(self.folder)

    def _write(self, name: str, value: dict[str, Any] | None, may_write: Callable[[_Stored], bool]) -> None:
        path = self.path(name)
        try:
            make_folder(self.folder)
        except OSError as error:
            raise SaveError(f"The folder {display_path(self.folder)} cannot be made ({error.strerror}).") from None
        try:
            if value is None:
                check_writable(path, turn=self._turn(name, may_write))
            else:
                write_json_file(path, value, turn=self._turn(name, may_write))
        except SaveError as error:
            if error.kind == "configuration":
                error.next_step = f"{error.next_step} {_IN_MEMORY}"
            raise
        if not self._swept:
            self._swept = True
            _take_away_what_the_killed_left(real_path(path), self._files)

    @contextmanager
    def _turn(self, name: str, may_write: Callable[[_Stored], bool]) -> Generator[None, None, None]:
        """Held while the new file takes the name, so that no other process writes between comparison and rename."""
        with folder_lock(os.path.dirname(real_path(self.path(name)))):
            if not may_write(lambda: self._read(name)):
                raise superseded(self, name)
            yield

    async def delete(self, name: str) -> None:
        """Deletes the user's file, and a link that leads to it."""
        await in_thread(self._delete, self.path(name))

    def _delete(self, path: str) -> None:
        if not self._has_folder():
            return
        try:
            with folder_lock(os.path.dirname(real_path(path))):
                for file in (real_path(path), path):
                    with suppress(FileNotFoundError):
                        patiently(os.unlink, file)
        except SaveError:
            raise
        except OSError as error:
            raise SaveError(f"{display_path(path)} could not be deleted ({error.strerror}).") from None

    def _report_owner(self, path: str) -> None:
        """Logs a file of another account, once: that account can read and change the tokens."""
        if self._reported or not hasattr(os, "geteuid") or os.geteuid() == 0:
            return
        with suppress(OSError):
            owner = os.stat(path).st_uid
            self._reported = is_foreign(owner)
            if self._reported:
                log.warning("%s belongs to another account (%d), which can use its tokens.", display_path(path), owner)

    async def names(self) -> list[str]:
        """The names of all users that have a file in the folder."""
        files = await in_thread(self._listed, os.listdir, self.folder)
        return [name for file in files if (name := _user_of(file)) is not None]

    @clean_traceback
    async def ending(self, token: "Token", before: float, after: float = -inf) -> "AsyncGenerator[Page, None]":
        """Pages of the users whose token ends in that time, the soonest first; reads every file of the folder."""
        from .token_ends import PAGE, UNKNOWN, check_token, end_of

        check_token(token)

        def values(names: list[str]) -> "Page":
            return [(name, self._value_or_none(name)) for name in names]

        def soon(names: list[str]) -> list[tuple[float, str]]:
            ends = [(end_of(self._value_or_none(name) or {}, token), name) for name in names]
            return sorted(found for found in ends if found[0] == UNKNOWN or after < found[0] <= before)

        found = await in_thread(soon, await self.names())
        for start in range(0, len(found), PAGE):
            yield await in_thread(values, [name for _, name in found[start : start + PAGE]])

    def _value_or_none(self, name: str) -> SecretJson | None:
        with suppress(CredentialsError, UnavailableError):
            return self._read(name)
        return None

    def _listed(self, look: Callable[..., list[str]], *values: str) -> list[str]:
        try:
            return look(*values)
        except FileNotFoundError:
            return []
        except (NotADirectoryError, PermissionError) as error:
            raise CredentialsError(f"{display_path(self.folder)} cannot be read ({error.strerror}).") from None
        except OSError as error:
            raise unavailable(self.folder, "read", error) from None

    def task_lock(self, task: str) -> AbstractAsyncContextManager[None]:
        """A background task's lock: a file `.slyapi-TASK.lock` in the folder."""
        return self._lock(os.path.join(self.folder, f"slyapi-{_encoded(task)}"))

    def lock(self, name: str) -> AbstractAsyncContextManager[None]:
        """One user's lock: a file `.NAME.json.lock` next to the user's file, which need not exist."""
        return self._lock(self.path(name))

    def _lock(self, path: str) -> AbstractAsyncContextManager[None]:
        with suppress(OSError):  # the save reports it
            make_folder(self.folder)
        return file_lock(path)


class _OneFile(FileStore):
    """A store of one file, whatever the name."""

    _files = ""

    def __init__(self, path: StrPath) -> None:
        self._path = lasting_path(path)
        super().__init__(os.path.dirname(self._path))

    def __repr__(self) -> str:
        return f"the folder {display_path(self.folder)!r}"

    def path(self, name: str) -> str:
        return self._path


def file_of(store: TokenStore) -> str:
    """The path of a store that is one user file; "" for any other."""
    return store._path if isinstance(store, _OneFile) else ""


def user_file(path: StrPath) -> StoredUser:
    """The user in one file: what `OAuth2(app, "user.json")` keeps current."""
    return StoredUser(_OneFile(path), os.path.basename(os.fspath(path)))


def make_folder(folder: str) -> None:
    """Makes what is missing of the path, each part for its owner alone (`os.makedirs` does so with the last)."""
    if folder and not os.path.isdir(folder):
        make_folder(os.path.dirname(folder))
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)


def _take_away_what_the_killed_left(path: str, files: str) -> None:
    """Removes old temporary files of killed processes in the folder: they contain tokens."""
    temporary = re.compile(rf"\.({files or re.escape(os.path.basename(path))}){_TEMPORARY}")
    with suppress(OSError):
        old = os.stat(path).st_mtime - _LONGEST_WRITE
        with os.scandir(os.path.dirname(path)) as files_there:
            for file in files_there:
                if temporary.fullmatch(file.name) and file.stat(follow_symlinks=False).st_mtime < old:
                    os.unlink(file)


def _user_of(file: str) -> str | None:
    """The name of the user whose file has this name; None for another file."""
    name = unquote(file.removesuffix(".json"), errors="surrogatepass")
    return name if name and f"{_encoded(name)}.json" == file else None


def _encoded(name: str) -> str:
    if is_device(name):  # for folders that Windows can read too
        return _percent(name[0]) + _encoded(name[1:])
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
