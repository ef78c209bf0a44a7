"""Where `call --output` may not write: onto what the call itself reads and saves."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ...errors import WouldOverwriteError
from ...json_file import display_path
from ...oauth2 import OAuth2App
from ...oauth2.client.client_file import saved_path
from ..chosen_user import ChosenUser
from .request import CallRequest

_OF_SQLITE = ("-wal", "-shm", "-journal")


def own_files(request: CallRequest, app: OAuth2App | None, chosen: ChosenUser) -> list[str]:
    """The files of a call: client, key, certificate, user, store (a folder stands for all in it), and the body."""
    paths = [request.app, chosen.path, chosen.place]
    if isinstance(request.data, Path):
        paths.append(str(request.data))
    if app is not None:
        source = app.client_assertion
        for value in (app.key, app.certificate, source.get("file") if isinstance(source, Mapping) else None):
            path = saved_path(value)
            paths += map(str, path) if isinstance(path, list | tuple) else [str(path)] if path else []
    return [path for path in paths if path]


def check_output(output: str, own: Iterable[str]) -> None:
    """Raises `WouldOverwriteError` if `output` is one of these files, or in one of these folders, by any spelling."""
    target = _plain(output)
    for path in own:
        folder, name = os.path.split(path)
        beside = [os.path.join(folder, f".{name}.lock"), *(path + ending for ending in _OF_SQLITE)]
        if any(_same(output, each) or target == _plain(each) for each in (path, *beside)):
            raise _refusal(path)
        if os.path.isdir(path) and target.startswith(os.path.join(_plain(path), "")):
            raise _refusal(path)


def _refusal(path: str) -> WouldOverwriteError:
    message = f"--output would overwrite {display_path(path)}, which this call uses."
    return WouldOverwriteError(message, next_step="Give another file.")


def _plain(path: str) -> str:
    return os.path.normcase(os.path.realpath(path))


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)  # hard links, and names that differ in case
    except (OSError, ValueError):
        return False
