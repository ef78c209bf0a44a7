"""Whose a file, a link or a folder is, and which of them another account could have left there.

The rule: what another account may have planted gets no secret, and leads nowhere. Windows has no such accounts.
"""

import os
import stat
from contextlib import suppress

from .windows import DEVICE, WINDOWS, StrPath, is_device

PLANTED = "belongs to another account, which could leave it there because everybody may make files there"


def refuse_unsafe_path(path: StrPath) -> None:
    """Raises `ValueError` for a device of Windows, and for a link that another account could leave there (CWE-61)."""
    if WINDOWS and is_device(path):
        raise ValueError(DEVICE)
    with suppress(OSError):
        link = os.lstat(path)
        if not stat.S_ISLNK(link.st_mode) or is_trusted(path, link.st_uid):
            return
        if os.stat(os.path.dirname(os.path.abspath(path))).st_mode & 0o022:
            raise ValueError("is a link that another account left in a shared folder")


def refuse_planted_file(path: StrPath) -> None:
    """Raises `ValueError` for a file that another account could leave in a folder like /tmp (CWE-377)."""
    with suppress(OSError):
        owner = os.stat(path).st_uid
        if is_foreign(owner):
            refuse_planted_folder(os.path.realpath(path), owner)


def refuse_planted_folder(real_path: str, owner: int) -> None:
    from pathlib import Path  # shell prompts run `show`

    with suppress(OSError):
        folders = map(os.lstat, Path(real_path).parents)  # a link among them came later
        lent_by = next((folder for folder in folders if folder.st_uid != owner), None)
        if lent_by is not None and lent_by.st_mode & stat.S_IWOTH:
            raise ValueError(PLANTED)


def is_shared(folder: str) -> bool:
    """Whether an account that is neither ours nor root may make files there: everybody, or the folder's owner."""
    place = os.stat(folder)
    return bool(place.st_mode & stat.S_IWOTH) or is_foreign(place.st_uid)


def is_trusted(path: StrPath, owner: int) -> bool:
    """Whether a file of this owner is ours, root's, or of the owner of its folder, who may do anything there."""
    return not is_foreign(owner) or owner == os.stat(os.path.dirname(os.path.abspath(path))).st_uid


def is_foreign(owner: int) -> bool:
    """Whether an account is neither ours nor root; never on Windows, which has no such accounts."""
    return hasattr(os, "geteuid") and owner not in (0, os.geteuid())
